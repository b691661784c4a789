"""The client on a model with every signature."""

import numpy as np
import pytest
from full_model import save_full_model
from serving_photos import FILLED_LABEL, GRAY, huge_png, make_photo
from wire import scripted

from portrait_tf.errors import PortraitError
from portrait_tf.photos import write_png
from serving.client import (
    FailedPreconditionError,
    InternalError,
    PortraitClient,
)

IMAGE, MASK = make_photo(20, 30)
HOLE = MASK[..., 0] > 0


@pytest.fixture(scope="module")
def client(full):
    with PortraitClient(f"localhost:{full.grpc_port}") as client:
        yield client


@pytest.mark.parametrize("batch", [None, 2])
def test_parse(client, batch):
    image, mask = make_photo(20, 30, batch)
    result = client.parse(image, mask)
    np.testing.assert_array_equal(result.parsing, (mask > 0) * FILLED_LABEL)
    joints = np.arange(48, dtype=np.float32).reshape(16, 3)
    expected = joints if batch is None else np.stack([joints] * 2)
    np.testing.assert_array_equal(result.joints, expected)
    assert result.joints.dtype == np.float32


@pytest.mark.parametrize("batch", [None, 2])
@pytest.mark.parametrize("has_channel", [True, False])
def test_complete_with_parsing(client, batch, has_channel):
    image, mask = make_photo(20, 30, batch)
    labels = np.random.default_rng(1).integers(0, 20, mask.shape, np.uint8)
    labels[..., 6, 8, 0] = 255
    completed = client.complete_with_parsing(
        image, mask, labels if has_channel else labels[..., 0]
    )
    arrived = np.where(labels == 255, FILLED_LABEL, labels)
    np.testing.assert_array_equal(completed, np.where(mask > 0, 10 * arrived, image))


@pytest.mark.parametrize("batch", [None, 2])
def test_complete_with_joints(client, batch):
    image, mask = make_photo(20, 30, batch)
    joints = np.zeros((*mask.shape[:-3], 16, 3), np.float32)
    joints[..., 5, :] = 77, -3.5, 1
    result = client.complete_with_joints(image, mask, joints)
    np.testing.assert_array_equal(result.completed, np.where(mask > 0, 77, image))
    np.testing.assert_array_equal(result.parsing, (mask > 0) * FILLED_LABEL)
    np.testing.assert_array_equal(result.joints, joints)
    found = client.parse(image, mask * 0, joints)
    np.testing.assert_array_equal(found.joints, joints)
    assert not found.parsing.any() and found.parsing.shape == mask.shape


def test_joints_that_cannot_be(client):
    joints = np.zeros((16, 3), np.float32)
    for given, message in (
        (joints[None], r"joints: expected the shape \[16, 3\], received \[1, 16, 3\]"),
        (joints[:, :2], r"shape \[16, 3\] or \[batch, 16, 3\], received"),
        (joints + 0.5, "received 0.5 for R_Ankle"),
        (joints + np.float32([np.nan, 0, 1]), "x and y of R_Ankle as finite numbers"),
    ):
        for call in (client.complete_with_joints, client.parse):
            with pytest.raises(PortraitError, match=message):
                call(IMAGE, MASK, given)


def test_a_parsing_map_from_a_file(client, tmp_path):
    labels = np.random.default_rng(1).integers(0, 20, (20, 30), np.uint8)
    path = tmp_path / "labels.png"
    write_png(path, labels)
    expected = np.where(HOLE[..., None], 10 * labels[..., None], IMAGE)
    for given in (path, str(path), path.read_bytes()):
        completed = client.complete_with_parsing(IMAGE, MASK, given)
        np.testing.assert_array_equal(completed, expected)
    write_png(path, IMAGE)
    for given, message in (
        (path, "expected: a PNG whose 8-bit gray values"),
        (labels[:, :29], r"parsing map has shape \[20, 29\]; exp"),
        (labels.astype(np.float32), "parsing map is an array of float32"),
    ):
        with pytest.raises(PortraitError, match=message):
            client.complete_with_parsing(IMAGE, MASK, given)


@pytest.mark.parametrize("signature", [None, "extrapolate", "serving_default"])
@pytest.mark.parametrize("batch", [None, 2])
def test_extrapolate(client, signature, batch):
    image, _ = make_photo(20, 30, batch)
    result = client.extrapolate(
        image, top=0.1, bottom=0.25, right=0.5, signature=signature
    )
    shape = (20 + 2 + 5, 30 + 15)
    assert result.completed.shape == (*image.shape[:-3], *shape, 3)
    assert result.parsing.shape == (*image.shape[:-3], *shape, 1)
    known = result.completed[..., 2:22, :30, :]
    np.testing.assert_array_equal(known, image)
    assert (result.completed[..., 22:, :, :] == GRAY).all()
    assert (result.parsing[..., :, 30:, :] == FILLED_LABEL).all()
    assert not result.parsing[..., 2:22, :30, :].any()


@pytest.mark.parametrize("side", range(4))
@pytest.mark.parametrize("signature", [None, "encoded"])
def test_extrapolate_by_pixels(client, side, signature):
    pixels = [0, 0, 0, 0]
    for pixels[side] in (1, 7, 19):
        top, bottom, left, right = pixels
        result = client.extrapolate(IMAGE, *pixels, unit="pixels", signature=signature)
        assert result.completed.shape == (20 + top + bottom, 30 + left + right, 3)
        known = result.completed[top : top + 20, left : left + 30]
        np.testing.assert_array_equal(known, IMAGE)


@pytest.mark.parametrize("batch", [None, 2])
@pytest.mark.parametrize("signature", ["serving_default", "encoded"])
def test_only_the_photo_is_sent(client, signature, batch):
    image, mask = make_photo(20, 30, batch)
    whole = client.complete(image, mask, signature=signature)
    result = client.complete(image, mask, signature=signature, parsing=False)
    assert result.parsing is None
    np.testing.assert_array_equal(result.completed, whole.completed)
    (many,) = client.complete_many([(image, mask)], parsing=False)
    assert many.parsing is None
    for chosen in (None, signature):
        whole = client.extrapolate(image, bottom=0.5, signature=chosen)
        result = client.extrapolate(image, bottom=0.5, signature=chosen, parsing=False)
        assert result.parsing is None
        np.testing.assert_array_equal(result.completed, whole.completed)


def test_what_is_not_asked_for_is_filtered_by_the_server():
    with scripted() as (script, client):
        client.complete(IMAGE, MASK)
        client.complete(IMAGE, MASK, parsing=False)
        script.outputs = {"completed_bytes": [b""], "completed": IMAGE[None]}
        for call in (
            lambda: client.complete(IMAGE, MASK, signature="encoded", parsing=False),
            lambda: client.extrapolate(IMAGE, top=0.5, parsing=False),
        ):
            with pytest.raises(InternalError):
                call()
    assert script.filters == [
        [], ["completed"], ["completed_bytes"], ["completed", "size"]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "the margins are 0, or less than a pixel"),
        ({"top": 1.5}, "'top' is 1.5; expected 0 to 1 of the photo"),
        ({"left": -0.1}, "'left' is -0.1; expected 0 to 1"),
        ({"left": float("nan")}, "'left' is nan; expected 0 to 1"),
        ({"left": "0.5"}, "'left' is '0.5'; expected 0 to 1"),
        ({"top": 0.01}, "less than a pixel of a photo of 20x30"),
        ({"top": 21, "unit": "pixels"}, "'top' is 21; expected whole pixels from 0"),
        ({"top": 2.5, "unit": "pixels"}, "'top' is 2.5; expected whole pixels"),
        (
            {"top": float("nan"), "unit": "pixels"},
            "'top' is nan; expected whole pixels",
        ),
        ({"top": 1, "unit": "metres"}, "unit is 'metres'; expected"),
        ({"top": 1, "signature": "parse"}, "signature 'parse' does not extrapolate"),
    ],
)
def test_margins_that_cannot_be(client, arguments, message):
    with pytest.raises(PortraitError, match=message):
        client.extrapolate(IMAGE, **arguments)


def test_a_model_without_pose_and_without_signatures(serve, tmp_path):
    names = ("serving_default", "parse")
    server = serve(save_full_model(tmp_path, pose=False, names=names))
    with PortraitClient(f"localhost:{server.grpc_port}") as client:
        assert client.parse(IMAGE, MASK).joints is None
        with pytest.raises(FailedPreconditionError, match='"extrapolate" not found'):
            client.extrapolate(IMAGE, top=0.5)
        with pytest.raises(FailedPreconditionError, match="complete_with_parsing"):
            client.complete_with_parsing(IMAGE, MASK, MASK * 0)
        with pytest.raises(FailedPreconditionError, match="complete_with_joints"):
            client.parse(IMAGE, MASK, np.zeros((16, 3), np.float32))
        assert client.extrapolate(
            IMAGE, top=0.5, signature="serving_default"
        ).completed.shape == (30, 30, 3)


def complete(client):
    return client.complete(IMAGE, MASK)


def complete_files(client):
    return client.complete(IMAGE, MASK, signature="encoded")


def extrapolate(client):
    return client.extrapolate(IMAGE, bottom=0.5)


CANVAS = np.zeros((1, 30, 30, 4), np.uint8)


@pytest.mark.parametrize(
    ("call", "outputs", "message"),
    [
        (
            complete,
            {"completed": IMAGE[None]},
            r"no output 'parsing', only \['completed'\]",
        ),
        (
            complete,
            {"completed": IMAGE[None, :9], "parsing": MASK[None]},
            r"has uint8 of shape \[1, 9, 30, 3\] as output 'completed'",
        ),
        (
            complete,
            {"completed": IMAGE[None] / 255, "parsing": MASK[None]},
            r"float64 of shape \[1, 20, 30, 3\] as output 'completed'",
        ),
        (
            complete_files,
            dict.fromkeys(("completed_bytes", "parsing_bytes"), [b"no picture"]),
            "output 'completed_bytes' that is no PNG of 20x30 pixels",
        ),
        (
            complete_files,
            dict.fromkeys(("completed_bytes", "parsing_bytes"), [huge_png()]),
            "that is no PNG of 20x30 pixels",
        ),
        (
            extrapolate,
            {"completed": CANVAS[..., :3], "parsing": CANVAS[..., :1],
             "size": np.int32([[40, 30]])},
            r"output 'size' \[\[40, 30\]\] for 'co",
        ),
    ],
)  # fmt: skip
def test_answers_of_another_model(call, outputs, message):
    with (
        scripted(outputs=outputs) as (_, client),
        pytest.raises(InternalError, match=message) as caught,
    ):
        call(client)
    assert "is 'portrait' a portrait-tf model?" in str(caught.value)
