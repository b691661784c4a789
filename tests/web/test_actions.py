"""What the page's buttons do, without a browser and without networks."""

import base64
import io
import json
import os
import time

import cv2
import numpy as np
import pytest
from PIL import Image
from processes import python

from portrait_tf.apps.web import actions, examples, sessions
from portrait_tf.apps.web.actions import Limits
from portrait_tf.apps.web.pictures import SIDES, preview_size, read_painting
from portrait_tf.errors import PortraitError
from portrait_tf.photos import encode_png, open_photo
from portrait_tf.photos.drawing import data_url
from portrait_tf.portrait import Portrait

SIZE = (60, 40)


class TeleaEngine:
    """A real completion, without TensorFlow; what it was told of labels it paints.

    What it was told of joints last is in `told`.
    """

    working_size, told = SIZE, None

    def complete(self, photo, mask, parsing=None, joints=None):
        self.told = joints
        done = cv2.inpaint(photo, mask, 2, cv2.INPAINT_TELEA)
        if parsing is not None:
            given = (parsing < 20) & (mask > 0)
            done[given] = parsing[given, None] * 10
        return done, np.full_like(mask, 5)

    def parse(self, photo, mask=None, joints=None):
        if joints is not None:
            self.told = joints
        return np.full(photo.shape[:2], 13, np.uint8), np.ones((16, 3), np.float32)


@pytest.fixture
def portrait():
    return Portrait(TeleaEngine())


@pytest.fixture
def visitors(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    return sessions.Sessions(root)


def save_photo(path, size=SIZE):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def open_session(visitors, folder, size=SIZE, key="visitor"):
    save_photo(folder / "photo.png", size)
    return visitors.open(key, actions.read_upload(folder / "photo.png", Limits()))


def painted(session, hole=None, own=None, mode="hole", joints=None, **margins):
    height, width = session.preview
    if hole is None:
        hole = np.zeros((height, width), np.uint8)
    return json.dumps(
        {
            "id": session.scene,
            "mode": mode,
            "hole": data_url(hole, lossless=True),
            "own": None if own is None else data_url(own, lossless=True),
            "margins": {side: 0.0 for side in SIDES} | margins,
            "joints": joints or {},
        }
    )


def a_hole(session):
    hole = np.zeros(session.preview, np.uint8)
    hole[20:30, 10:20] = 255
    return hole


def picture_of(url):
    content = base64.b64decode(url.split(",", 1)[1])
    return np.asarray(Image.open(io.BytesIO(content)))


def test_an_upload_is_read_and_removed(tmp_path):
    folder = tmp_path / "hash"
    folder.mkdir()
    pixels = save_photo(folder / "photo.png")
    photo = actions.read_upload(folder / "photo.png", Limits())
    np.testing.assert_array_equal(photo.pixels, pixels)
    assert str(photo.path) == "photo.png"
    assert not folder.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no photo at all", "cannot decode"),
        (b"", "cannot decode"),
        (b"\xff\xd8\xff\xe0 broken", "cut off"),
        (encode_png(np.zeros((1001, 1000), np.uint8)), "at most 1 megapixels"),
    ],
)
def test_a_wrong_upload_is_refused_and_removed(tmp_path, content, message):
    path = tmp_path / "holiday.jpg"
    path.write_bytes(content)
    with pytest.raises(PortraitError, match=message) as caught:
        actions.read_upload(path, Limits(megapixels=1.0))
    assert str(caught.value).startswith("holiday.jpg: ")
    assert str(tmp_path) not in str(caught.value)
    assert not path.exists()


def test_a_hole_is_filled_in_the_photo_and_nowhere_else(portrait, visitors, tmp_path):
    session = open_session(visitors, tmp_path)
    hole = a_hole(session)
    result = actions.complete(portrait, session, painted(session, hole), Limits())
    done, before = open_photo(result.photo).pixels, session.photo.pixels
    assert (done[hole == 0] == before[hole == 0]).all()
    assert (done[hole > 0] != before[hole > 0]).any()
    np.testing.assert_array_equal(open_photo(result.mask).pixels[..., 0], hole)
    assert result.photo.name == "photo-whole.png" and result.size == SIZE
    pair, body = json.loads(result.pair), json.loads(result.body)
    assert picture_of(pair["after"]).shape == (*SIZE, 3)
    assert (picture_of(body["labels"]) == 5).all() and body["id"] == session.scene


def test_a_large_photo_keeps_its_resolution(portrait, visitors, tmp_path):
    size = (1500, 900)
    session = open_session(visitors, tmp_path, size)
    assert session.preview == (1024, 614)
    hole = np.zeros(session.preview, np.uint8)
    hole[100:150, 200:260] = 255
    result = actions.complete(portrait, session, painted(session, hole), Limits())
    mask = open_photo(result.mask).pixels[..., 0]
    assert mask.shape == size and set(np.unique(mask)) == {0, 255}
    share = np.count_nonzero(mask) / mask.size
    assert share == pytest.approx(np.count_nonzero(hole) / hole.size, rel=0.02)
    done, before = open_photo(result.photo).pixels, session.photo.pixels
    assert (done[mask == 0] == before[mask == 0]).all()
    assert json.loads(result.pair)["height"] == 1024


def test_borders_are_extended(portrait, visitors, tmp_path):
    session = open_session(visitors, tmp_path)
    text = painted(session, a_hole(session), mode="borders", bottom=0.5, left=0.25)
    result = actions.complete(portrait, session, text, Limits())
    done = open_photo(result.photo).pixels
    assert done.shape == (90, 50, 3) and result.mask is None and result.body is None
    np.testing.assert_array_equal(done[:60, 10:], session.photo.pixels)
    assert (result.photo.name, result.size) == ("photo-extended.png", (90, 50))


def test_a_map_of_ones_own_reaches_the_engine(portrait, visitors, tmp_path):
    session = open_session(visitors, tmp_path)
    hole = a_hole(session)
    own = np.full(session.preview, 255, np.uint8)
    own[22:26, 12:16] = 9
    result = actions.complete(portrait, session, painted(session, hole, own), Limits())
    done = open_photo(result.photo).pixels
    assert (done[22:26, 12:16] == 90).all() and not (done[26:30, 16:20] == 90).all()


def test_the_body_is_found_on_the_preview(portrait, visitors, tmp_path):
    session = open_session(visitors, tmp_path, (1500, 900))
    body = json.loads(actions.find_body(portrait, session, painted(session), Limits()))
    assert picture_of(body["labels"]).shape == session.preview
    assert np.shape(body["joints"]) == (16, 3)


@pytest.mark.parametrize("size", [SIZE, (1536, 1024)])
def test_joints_that_are_placed_lead_body_and_picture(
    portrait, visitors, tmp_path, size
):
    session = open_session(visitors, tmp_path, size)
    text = painted(session, a_hole(session), joints={"5": [12, 25]})
    body = json.loads(actions.find_body(portrait, session, text, Limits()))
    assert body["joints"][5] == [12, 25, 1] and body["joints"][0] != [0, 0, 0]
    actions.complete(portrait, session, text, Limits())
    ((index, *_),) = np.argwhere(portrait.engine.told[:, 2])
    assert index == 5
    if size == SIZE:
        assert portrait.engine.told[5].tolist() == [12, 25, 1]


def test_four_poses_to_choose_from(portrait, visitors, tmp_path):
    session = open_session(visitors, tmp_path)
    for text, name in (
        (painted(session, a_hole(session)), "photo-whole"),
        (painted(session, mode="borders", bottom=0.5), "photo-extended"),
    ):
        results = actions.candidates(portrait, session, text, Limits())
        assert session.results == results
        names = [one.photo.name for one in results]
        assert names == [f"{name}{end}.png" for end in ("", "-2", "-3", "-4")]
        assert all(one.photo.exists() for one in results)
        # The last ones are drawn from stage 1's doubts.
        assert portrait.engine.told is not None
        single = actions.complete(portrait, session, text, Limits())
        assert single.size == results[0].size and not results[1].photo.exists()


def test_joints_are_placed_beyond_the_border(portrait, visitors, tmp_path):
    session = open_session(visitors, tmp_path)
    text = painted(
        session, mode="borders", joints={"5": [12, 70]}, bottom=0.5, left=0.25
    )
    body = json.loads(actions.find_body(portrait, session, text, Limits()))
    assert picture_of(body["labels"]).shape == SIZE
    # What stage 1 finds on the canvas is told in pixels of the preview.
    assert body["joints"][5] == [12, 70, 1] and body["joints"][0][0] < 0
    actions.complete(portrait, session, text, Limits())
    assert portrait.engine.told[5, 2] == portrait.engine.told[:, 2].sum() == 1
    with pytest.raises(PortraitError, match="megapixels"):
        actions.find_body(portrait, session, text, Limits(megapixels=0.001))


def test_mistakes_are_sentences(portrait, visitors, tmp_path):
    session = open_session(visitors, tmp_path)
    whole = np.full(session.preview, 255, np.uint8)
    other = np.zeros((8, 8), np.uint8)
    for text, message in (
        (painted(session), "nothing is painted"),
        (painted(session, whole), "all of the photo"),
        (painted(session, mode="borders"), "no border is moved"),
        (painted(session, mode="borders", top=-0.5), "'top'"),
        (painted(session, mode="borders", top=1.0), "at most 0.004 megapixels"),
        (painted(session, other), "received 8x8"),
        (painted(session).replace(session.scene, "another"), "another photo"),
        (painted(session, joints={"16": [1, 2]}), "the joints: expected joints of"),
        (painted(session, joints={"5": [1]}), "expected x and y of L_Ankle"),
        (painted(session, joints=[1]), "no painting"),
        ("{}", "another photo"),
        ("[]", "no painting"),
        ("nonsense", "no painting"),
        (None, "another photo"),
        (json.dumps({"id": session.scene}), "no painting"),
    ):
        with pytest.raises(PortraitError, match=message):
            actions.complete(portrait, session, text, Limits(megapixels=0.004))
    text = painted(session).replace("data:image/png", "http://elsewhere/")
    with pytest.raises(PortraitError, match="as PNG"):
        read_painting(text, session.scene, session.preview)


def test_sessions_keep_one_result_and_leave_nothing(portrait, visitors, tmp_path):
    session = open_session(visitors, tmp_path)
    text = painted(session, a_hole(session))
    first = actions.complete(portrait, session, text, Limits())
    second = actions.complete(portrait, session, text, Limits())
    assert second.photo.exists() and not first.photo.exists()
    assert first.photo.parent.name != second.photo.parent.name
    other = open_session(visitors, tmp_path, key="another visitor")
    assert other.scene != session.scene
    assert visitors.get("visitor") is session
    visitors.close("visitor")
    assert not second.photo.exists() and not list(visitors.root.rglob("*.png"))
    with pytest.raises(PortraitError, match="please open one"):
        visitors.get("visitor")
    visitors.close("visitor")


def test_old_sessions_and_stray_files_are_swept(portrait, visitors, tmp_path):
    session = open_session(visitors, tmp_path)
    result = actions.complete(
        portrait, session, painted(session, a_hole(session)), Limits()
    )
    stray, young = visitors.root / "tmpabc", visitors.root / "hash"
    stray.write_bytes(b"half of an upload")
    young.mkdir()
    long_ago = time.time() - 2 * sessions.STRAY_SECONDS
    os.utime(stray, (long_ago, long_ago))
    os.utime(session.folder, (long_ago, long_ago))
    visitors.sweep()
    assert not stray.exists() and young.exists() and result.photo.exists()
    session.used -= 2 * sessions.IDLE_SECONDS
    visitors.sweep()
    assert not result.photo.exists()


def test_the_longest_idle_visitor_goes_first(visitors, tmp_path):
    for number in range(sessions.MOST_SESSIONS + 1):
        open_session(visitors, tmp_path, key=str(number))
        visitors.get("1") if number else None
    with pytest.raises(PortraitError):
        visitors.get("0")
    visitors.get("1")


def test_examples_are_synthetic_photos():
    photos = examples.example_photos()
    assert len(photos) == 4 and len({one.pixels.tobytes() for one in photos}) == 4
    for photo in photos:
        assert preview_size(photo.size) == photo.size


def test_without_gradio_one_sentence_names_the_extra(tmp_path):
    """In a process where Gradio cannot be found; TensorFlow is not even loaded."""
    code = (
        "import sys; sys.modules['gradio'] = None\n"
        "from portrait_tf.apps import cli\n"
        "try: cli.main()\n"
        "finally: print('tensorflow' in sys.modules)"
    )
    done = python("-c", code, "web")
    assert done.returncode == 2 and done.stdout.strip() == "False"
    assert done.stderr.count("\n") == 1
    assert "pip install 'portrait-tf[web]'" in done.stderr
