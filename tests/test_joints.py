"""Joints that a user gives: their forms, where they go, and what they change."""

import json
import pathlib
import re

import numpy as np
import pytest
from command_line import run
from processes import python_output

from portrait_tf import Portrait
from portrait_tf.data.synthetic import synthesize, write_synthetic
from portrait_tf.errors import PortraitError
from portrait_tf.geometry import joints_of_parts, place_joints
from portrait_tf.inference.engines import PipelineEngine
from portrait_tf.inference.extrapolation import (
    Margins,
    extrapolate_photo,
    whole_body_margins,
)
from portrait_tf.inference.joints import joint_notes, sample_joints
from portrait_tf.inference.large_photos import complete_photo, parse_photo
from portrait_tf.inference.pipeline import Pipeline
from portrait_tf.inference.whole_body import LEVELS, MEANS
from portrait_tf.labels import (
    FLIPPED_JOINTS,
    JOINTS,
    LABELS,
    VOID_LABEL,
    check_joints,
)
from portrait_tf.photos import read_photo, write_png
from portrait_tf.photos.joints import (
    decode_joints,
    describe_joints,
    joints_by_name,
)
from portrait_tf.portrait import prepare_completion

ANKLE, COAT = JOINTS.index("L_Ankle"), LABELS.index("Coat")


@pytest.fixture(scope="module")
def unhinted(tiny_pipeline):
    """An engine whose stage 1 takes no joints."""
    from portrait_tf.models import ParsingNetwork

    network = ParsingNetwork(
        size=(32, 32), widths=(8, 16, 16, 24), blocks=(1, 1), feature_width=16
    )
    return PipelineEngine(Pipeline(network, tiny_pipeline.completion_network))


def below(size):
    """A hole over the lower half."""
    mask = np.zeros(size, np.uint8)
    mask[size[0] // 2 :] = 255
    return mask


def batch_of(size):
    """A person and such a hole, as networks take them."""
    return synthesize(1, size).photo[None], below(size)[None, ..., None]


def one_joint(x, y, index=ANKLE):
    return joints_by_name({index: (x, y)})


class TestForms:
    def test_names_in_short_in_full_and_by_number(self):
        for key in ("L_Ankle", "l_ankle", "left_ankle", "LEFT_ANKLE", 5, np.int64(5)):
            joints = joints_by_name({key: (3, -4.5)})
            assert joints.dtype == np.float32 and joints[ANKLE].tolist() == [3, -4.5, 1]
            assert np.count_nonzero(joints) == 3
        assert joints_by_name({"pelvis": (1, 2)})[6].tolist() == [1, 2, 1]
        # Keys of JSON are text.
        file = '{"joints": {"5": {"x": 3, "y": -4.5}}}'
        np.testing.assert_array_equal(decode_joints(file, "j.json"), joints)

    def test_wrong_names_and_places(self):
        for given, words in (
            (
                {"ankle": (1, 2)},
                "expected joints of R_Ankle, .*, or 0 to 15, rec.*'ank",
            ),
            ({16: (1, 2)}, "received 16"),
            ({"left_ankle": (1, 2), 5: (1, 2)}, "expected L_Ankle once"),
            ({"left_ankle": (1, 2, 3)}, r"x and y of L_Ankle, received \(1, 2, 3\)"),
            ({"left_ankle": 7}, "x and y of L_Ankle, received 7"),
            ({"left_ankle": ("a", 2)}, "x and y of L_Ankle, received"),
            ({5: (float("nan"), 2)}, "x and y of L_Ankle as finite numbers, rec.* nan"),
            ({5: (1, float("inf"))}, "as finite numbers, received 1, inf"),
            ({5: (1, 1e308)}, r"as finite numbers, received 1, 1e\+308"),
            ({5: (1, 10**400)}, r"x and y of L_Ankle, received \(1, 10000"),
            ({5: (1, 10**5000)}, "x and y of L_Ankle, received too large a number"),
        ):
            with pytest.raises(PortraitError, match=words):
                joints_by_name(given)

    def test_a_file_that_is_nested_too_deeply(self):
        with pytest.raises(PortraitError, match="j.json: expected JSON: "):
            decode_joints("[" * 100_000, "j.json")

    def test_arrays(self):
        joints = np.full((2, 16, 3), np.nan)
        joints[..., 2] = 0
        joints[1, 5] = 4, 5, 1
        found = check_joints(joints)
        assert found[1, 5].tolist() == [4, 5, 1] and np.count_nonzero(found) == 3
        unsure = joints.copy()
        unsure[1, 5, 2] = 0.83
        broken = joints.copy()
        broken[1, 5, 0] = np.nan
        for wrong, words in (
            (joints[0, :15], r"shape \[16, 3\] or .*received float64 \[15, 3\]"),
            (joints[None], "received float64"),
            (np.full((16, 3), "a"), "expected numbers"),
            (unsure, "1 where a joint is given and 0 .*received 0.83 for L_Ankle"),
            (broken, "x and y of L_Ankle as finite numbers, received nan, 5"),
        ):
            with pytest.raises(PortraitError, match=words):
                check_joints(wrong)

    def test_a_file_is_read_as_it_is_written_and_edited(self, tmp_path):
        rng = np.random.default_rng(0)
        joints = rng.uniform(-5, 40, (16, 3)).round(1)
        text = describe_joints(joints, (40, 30), "a.png")
        found = decode_joints(text, "a.json", (40, 30))
        np.testing.assert_allclose(found[:, :2], joints[:, :2], atol=1e-4)
        assert (found[:, 2] == 1).all()
        edited = json.loads(text)
        edited["joints"] = {"L_Ankle": {"x": 7, "y": 50}}
        found = decode_joints(json.dumps(edited), "a.json", (40, 30))
        assert found[ANKLE].tolist() == [7, 50, 1] and np.count_nonzero(found) == 3
        edited["joints"]["R_Ankle"] = None
        for wrong, words in (
            (json.dumps(edited), "x and y of R_Ankle, or no entry .*received null"),
            (describe_joints(None, (40, 30), "a"), "'joints' has x and y by joint"),
            ("[1]", r"received \[1\]"),
            ("{", "a.json: expected JSON"),
        ):
            with pytest.raises(PortraitError, match=words):
                decode_joints(wrong, "a.json", (40, 30))
        with pytest.raises(PortraitError, match=r"size \[30, 40\] .*one of \[40, 30\]"):
            decode_joints(text, "a.json", (30, 40))


class TestPipeline:
    def test_the_hint_is_where_the_user_says(self, tiny_pipeline):
        """Brought to the working frame and back, of a photo that is scaled."""
        size = (64, 48)
        joints = np.zeros((1, 16, 3), np.float32)
        joints[0, ANKLE], joints[0, 3] = (10.5, 61, 1), (40, -7, 1)
        place = tiny_pipeline.place(np.zeros((1, *size, 3)))
        hints = tiny_pipeline.hints(joints, size, place).numpy()
        frame = joints_of_parts(hints, tiny_pipeline.size)
        found = place_joints(frame, size, place).numpy()
        np.testing.assert_allclose(
            found[0, [ANKLE, 3], :2], joints[0, [ANKLE, 3], :2], atol=1e-4
        )
        assert not hints[0, 0].any()

    @pytest.mark.parametrize("size", [(32, 32), (50, 21), (17, 60)])
    def test_a_joint_changes_the_hole_and_nothing_else(self, tiny_pipeline, size):
        photo, mask = batch_of(size)
        results = [
            tiny_pipeline.complete_with_joints(photo, mask, one_joint(x, y)[None])
            for x, y in ((2, size[0] - 3), (size[1] - 3, size[0] - 3))
        ]
        known = mask[0, ..., 0] == 0
        for result in results:
            assert set(result) == {"completed", "parsing", "joints"}
            assert result["joints"].shape == (1, 16, 3)
            np.testing.assert_array_equal(
                result["completed"][0][known], photo[0][known]
            )
        one, two = (result["completed"].numpy() for result in results)
        assert (one != two).any(-1).mean() > 0.05

    def test_no_joint_is_a_plain_call(self, tiny_pipeline):
        photo, mask = batch_of((40, 30))
        joints = np.full((1, 16, 3), np.nan, np.float32)
        joints[..., 2] = 0
        found = tiny_pipeline.complete_with_joints(photo, mask, joints)
        plain = tiny_pipeline(photo, mask)
        np.testing.assert_array_equal(found["completed"], plain["completed"])
        np.testing.assert_array_equal(found["parsing"], plain["parsing"])
        seen = tiny_pipeline.joints(photo, mask)
        np.testing.assert_allclose(found["joints"], seen, atol=1e-3)

    def test_averaged_answers_are_told_of_the_same_place(self, tiny_pipeline):
        """Mirrored, and at another scale: the mirrored photo's answer is the mirror."""
        network = tiny_pipeline.parsing_network
        pipeline = Pipeline(
            network, tiny_pipeline.completion_network, flip=True, scales=(1.0, 1.5)
        )
        photo, mask = batch_of((32, 32))
        joints = one_joint(9, 28)[None]
        mirrored = joints[:, FLIPPED_JOINTS]
        mirrored[..., 0] = np.where(mirrored[..., 2] > 0, 31 - mirrored[..., 0], 0)
        answers = [
            pipeline.parse(photo[:, :, ::step], mask, one)["joints"].numpy()
            for step, one in ((1, joints), (-1, mirrored))
        ]
        there = answers[1][:, FLIPPED_JOINTS]
        there[..., 0] = 31 - there[..., 0]
        np.testing.assert_allclose(answers[0], there, atol=0.05)
        plain = pipeline.parse(photo, mask)["joints"]
        assert np.abs(answers[0] - plain).max() > 0.01

    def test_mistakes(self, tiny_pipeline, unhinted):
        photo, mask = batch_of((32, 32))
        joints = one_joint(3, 30)[None]
        nowhere = joints.copy()
        nowhere[0, ANKLE, 0] = np.inf
        for wrong, words in (
            (joints[:, :9], r"shape \[16, 3\]"),
            (joints * np.float32([1, 1, 0.5]), "received 0.5 for L_Ankle"),
            (nowhere, "x and y of L_Ankle as finite numbers, received inf, 30"),
        ):
            with pytest.raises(PortraitError, match=words):
                tiny_pipeline.complete_with_joints(photo, mask, wrong)
        for call in (
            lambda: unhinted.pipeline.complete_with_joints(photo, mask, joints),
            lambda: unhinted.complete(photo[0], mask[0, ..., 0], joints=joints[0]),
            lambda: unhinted.parse(photo[0], mask[0, ..., 0], joints[0]),
            lambda: Portrait(unhinted).complete(
                photo[0], mask[0, ..., 0], joints={5: (3, 30)}
            ),
        ):
            with pytest.raises(PortraitError, match="a stage 1 that takes joints"):
                call()


class Recorder:
    """An engine that keeps what it is told of joints; a person stands on the left."""

    working_size = (32, 24)

    def __init__(self):
        self.told = []

    def complete(self, photo, mask, parsing=None, joints=None):
        self.told.append((photo.shape[:2], joints))
        labels = np.where(photo[..., 0] > 150, np.uint8(5), np.uint8(0))
        return photo.copy(), labels if parsing is None else parsing

    def parse(self, photo, mask=None, joints=None):
        self.told.append((photo.shape[:2], joints))
        labels = np.where(photo[..., 0] > 150, np.uint8(5), np.uint8(0))
        return labels, np.ones((16, 3), np.float32)


class TestLargePhotos:
    def test_joints_go_through_the_crop(self):
        """A red person in a corner of a large photo, seen alone, shrunk."""
        photo = np.full((960, 1280, 3), 90, np.uint8)
        photo[300:700, 1000:1100] = (220, 20, 20)
        mask = np.zeros((960, 1280), np.uint8)
        mask[600:700, 1000:1100] = 255
        engine = Recorder()
        result = complete_photo(engine, photo, mask, joints=one_joint(1049.5, 659.5))
        assert len(engine.told) == 2
        (_, first), (size, joints) = engine.told
        crop = result.crops[0]
        assert first is not None and crop.left > 0 and crop.top > 0
        expected = [
            (1050 - crop.left) * size[1] / crop.width - 0.5,
            (660 - crop.top) * size[0] / crop.height - 0.5,
        ]
        np.testing.assert_allclose(joints[ANKLE, :2], expected, atol=1e-3)
        assert joints[ANKLE, 2] == joints[:, 2].sum() == 1

    def test_of_two_people_they_are_the_ones_who_stand_there(self):
        photo = np.full((960, 1280, 3), 90, np.uint8)
        mask = np.zeros((960, 1280), np.uint8)
        for left in (100, 1000):
            photo[300:700, left : left + 100] = (220, 20, 20)
            mask[600:700, left : left + 100] = 255
        for x, told in ((150, 0), (1050, 1)):
            engine = Recorder()
            result = complete_photo(engine, photo, mask, joints=one_joint(x, 650))
            crops = {crop.left > 500: index for index, crop in enumerate(result.crops)}
            seen = [joints for _, joints in engine.told[-2:]]
            assert seen[crops[bool(told)]] is not None
            assert seen[crops[not told]] is None

    @pytest.mark.parametrize("size", [(32, 24), (150, 100)])
    def test_a_map_goes_before_joints(self, engine, size):
        photo, mask = synthesize(1, size).photo, below(size)
        given = np.full(size, VOID_LABEL, np.uint8)
        joints = [one_joint(x, size[0] - 9) for x in (4, size[1] - 5)]
        drawn = given.copy()
        drawn[mask != 0] = COAT
        one, two = (
            complete_photo(engine, photo, mask, parsing=drawn, joints=each)
            for each in joints
        )
        np.testing.assert_array_equal(one.completed, two.completed)
        given[: -size[0] // 4] = COAT
        one, two = (
            complete_photo(engine, photo, mask, parsing=given, joints=each)
            for each in joints
        )
        assert (one.completed != two.completed).any()
        assert (one.parsing[(mask != 0) & (given == COAT)] == COAT).all()

    def test_stage_1_alone_follows(self, engine):
        photo, mask = synthesize(1, (150, 100)).photo, below((150, 100))
        maps = [
            parse_photo(engine, photo, mask, one_joint(x, 140))[0] for x in (10, 90)
        ]
        assert (maps[0] != maps[1]).any()


class TestPortrait:
    def test_names_arrays_and_files_are_one(self, engine, tmp_path):
        photo, mask = synthesize(1, (48, 32)).photo, below((48, 32))
        text = describe_joints(np.zeros((16, 3)), (48, 32), "a.png")
        content = json.loads(text)
        content["joints"] = {"L_Ankle": {"x": 5, "y": 40}}
        (tmp_path / "j.json").write_text(json.dumps(content))
        portrait = Portrait(engine)
        results = [
            portrait.complete(photo, mask, joints=joints).completed
            for joints in (
                {"left_ankle": (5, 40)},
                one_joint(5, 40),
                tmp_path / "j.json",
            )
        ]
        np.testing.assert_array_equal(results[0], results[1])
        np.testing.assert_array_equal(results[0], results[2])
        plain = portrait.complete(photo, mask)
        assert (plain.completed != results[0]).any()
        same = portrait.complete(photo, mask, joints={})
        np.testing.assert_array_equal(plain.completed, same.completed)
        with pytest.raises(
            PortraitError, match=r"joints: expected the shape \[16, 3\]"
        ):
            portrait.complete(photo, mask, joints=one_joint(5, 40)[None])

    def test_of_an_extrapolation_they_are_in_pixels_of_the_photo(self, engine):
        """The same place on the canvas, as a hole and as a margin."""
        photo = synthesize(1, (30, 24)).photo
        joints = {"left_ankle": (5, 33)}
        result = Portrait(engine).extrapolate(
            photo, top="2px", bottom="8px", left="3px", joints=joints
        )
        canvas = np.pad(photo, ((2, 8), (3, 0), (0, 0)), constant_values=128)
        mask = np.full(canvas.shape[:2], 255, np.uint8)
        mask[2:32, 3:] = 0
        same = Portrait(engine).complete(canvas, mask, joints={5: (8, 35)})
        np.testing.assert_array_equal(result.completed, same.completed)
        np.testing.assert_array_equal(result.completed[2:32, 3:], photo)

    def test_every_step_of_a_large_margin_follows(self, engine):
        photo = synthesize(1, (30, 24)).photo
        results = [
            extrapolate_photo(
                engine, photo, Margins(0, 60, 0, 0), None, one_joint(x, 80)
            )
            for x in (2, 21)
        ]
        assert (results[0].parsing[30:] != results[1].parsing[30:]).any()
        assert (results[0].completed[30:] != results[1].completed[30:]).any()

    def test_notes_tell_of_joints_that_contradict_the_photo(self):
        class Sees(Recorder):
            def parse(self, photo, mask=None, joints=None):
                assert joints is None
                seen = np.zeros((16, 3), np.float32)
                seen[ANKLE], seen[0], seen[1] = (8, 20, 0.9), (12, 40, 0.9), (3, 9, 0.1)
                return np.full(photo.shape[:2], 5, np.uint8), seen

        photo = np.zeros((32, 24, 3), np.uint8)
        engine = Sees()
        engine.working_size = (64, 64)
        hole = np.zeros((42, 24), np.uint8)
        hole[32:] = 255
        # 42 rows of person: 2.1 pixels are no contradiction.
        for given, words in (
            ({5: (8, 21)}, []),
            ({5: (8, 30)}, ["L_Ankle is given at 8, 30 .x, y., 10 pixels .24% of"]),
            ({5: (8, 36)}, ["L_Ankle .* from where stage 1 sees it, at 8, 20"]),
            ({0: (4, 38)}, []),
            ({0: (4, 30)}, ["R_Ankle"]),
            ({1: (20, 20)}, []),
            ({0: (4, 50)}, ["R_Ankle is given at 4, 50 .x, y., beyond the result"]),
        ):
            notes = joint_notes(engine, photo, hole, joints_by_name(given))
            assert len(notes) == len(words), (given, notes)
            for note, word in zip(notes, words, strict=True):
                assert re.search(word, note), note


class TestCandidates:
    def test_poses_are_drawn_as_widely_as_stage_1_doubts(self):
        """What is sure stays; of a peak p, the heat map says how far it may be."""
        found = np.full((16, 3), 50.0)
        found[:, 2] = 0.5
        found[:3, 2] = 1, 0.2, 0.01
        free = np.arange(16) != 15
        rng = np.random.default_rng(0)
        drawn = np.stack([sample_joints(found, free, 200, rng) for _ in range(2000)])
        assert (drawn[:, [2, 15]] == 0).all()
        assert (drawn[:, [0, 1, *range(3, 15)], 2] == 1).all()
        np.testing.assert_allclose(drawn[:, 0, :2], 50)
        spread = drawn[..., :2].std(axis=0).mean(-1)
        assert spread[1] == pytest.approx(0.021 * 200 * 2, rel=0.05)
        assert spread[4] == pytest.approx(0.021 * 200, rel=0.05)
        # Knee and ankle move together; the other leg does not.
        moves = drawn[:, [4, 5, 10], 0] - 50
        together = np.corrcoef(moves.T)
        assert together[0, 1] > 0.7 and abs(together[0, 2]) < 0.1

    def test_answers_differ_in_the_hole_and_begin_with_the_usual_one(self, engine):
        photo, mask = synthesize(1, (48, 32)).photo, below((48, 32))
        portrait = Portrait(engine)
        answers = portrait.candidates(photo, mask, count=3, seed=4)
        again = portrait.candidates(photo, mask, count=3, seed=4)
        plain = portrait.complete(photo, mask)
        np.testing.assert_array_equal(answers[0].completed, plain.completed)
        for one, same in zip(answers, again, strict=True):
            np.testing.assert_array_equal(one.completed, same.completed)
            np.testing.assert_array_equal(one.completed[:24], photo[:24])
        other = portrait.candidates(photo, mask, count=2, seed=5)[1]
        for one, two in ((0, 1), (1, 2), (0, 2)):
            assert (answers[one].completed != answers[two].completed).any()
        assert (other.completed != answers[1].completed).any()
        with pytest.raises(PortraitError, match="1 or more, received 0"):
            portrait.candidates(photo, mask, count=0)

    def test_a_joint_that_is_given_is_in_all_of_them(self):
        engine = Recorder()
        photo = np.full((32, 24, 3), 200, np.uint8)
        prepared = prepare_completion(photo, below((32, 24)), joints={5: (4, 30)})
        Portrait(engine).candidates(prepared, count=3)
        told = [joints for _, joints in engine.told if joints is not None]
        assert len(told) >= 3
        for joints in told:
            assert joints[5].tolist() == [4, 30, 1]


class TestWholeBody:
    def body(self, joints):
        """A person who fills the photo to its lower edge, by an engine that agrees."""

        class Sees:
            working_size = (192, 128)
            told = []

            def parse(self, photo, mask=None, joints=None):
                self.told.append(joints)
                found = np.ones((16, 3), np.float32)
                labels = np.zeros(photo.shape[:2], np.uint8)
                labels[photo[..., 0] > 150] = 5
                rows = np.flatnonzero(labels.any(1))
                top, middle = rows[0], photo.shape[1] / 2
                height = 5 * np.count_nonzero(labels.any(0))
                found[:, 0] = middle
                levels = dict(zip(LEVELS, MEANS, strict=True))
                for index, name in enumerate(JOINTS):
                    found[index, 1] = top + height * levels.get(
                        name.split("_")[-1], 0.4
                    )
                return labels, found

        photo = np.full((192, 128, 3), 60, np.uint8)
        photo[110:, 50:80] = 200
        engine = Sees()
        joints = None if joints is None else joints_by_name(joints)
        return engine, whole_body_margins(engine, photo, joints)

    def test_the_frame_grows_to_fit_given_ankles(self):
        _, plain = self.body(None)
        engine, low = self.body({"left_ankle": (60, 300), "right_ankle": (70, 290)})
        assert plain.bottom > 0 and engine.told[-1] is not None
        # Feet go on below ankles.
        assert 192 + low.bottom > 300 + 10 and low.bottom > plain.bottom + 30
        _, high = self.body({"left_ankle": (60, 210), "right_ankle": (70, 205)})
        assert 0 < high.bottom < low.bottom and 192 + high.bottom > 210

    def test_the_frame_grows_to_a_hand_beside_it(self):
        _, margins = self.body({"left_wrist": (150, 120)})
        assert margins.right >= 150 - 128 and margins.left == 0


@pytest.mark.usefixtures("tiny_commands")
class TestCommandLine:
    @pytest.fixture
    def photo(self, tmp_path):
        write_png(tmp_path / "photos" / "a.png", synthesize(1, (48, 32)).photo)
        write_png(tmp_path / "mask.png", below((48, 32)))
        return tmp_path / "photos" / "a.png"

    def test_what_parse_writes_is_edited_and_given_back(self, photo, tmp_path):
        mask, out = ["--mask", tmp_path / "mask.png"], tmp_path / "out.png"
        assert run("parse", photo, *mask, "-o", tmp_path)[0] == 0
        path = tmp_path / "a-joints.json"
        pictures = []
        for x in (3, 28):
            content = json.loads(path.read_text())
            content["joints"] = {"L_Ankle": {"x": x, "y": 44}}
            path.write_text(json.dumps(content))
            code, output = run("complete", photo, *mask, "--joints-in", path, "-o", out)
            assert code == 0, output
            pictures.append(read_photo(out))
        assert (pictures[0] != pictures[1]).any()
        np.testing.assert_array_equal(pictures[0][:24], pictures[1][:24])
        for x in (3, 28):
            content["joints"]["L_Ankle"] = {"x": x, "y": 52}
            path.write_text(json.dumps(content))
            code, output = run(
                "extrapolate", photo, "--bottom", "12px", "--joints-in", path, "-o", out
            )
            assert code == 0, output
            pictures.append(read_photo(out))
        assert (pictures[2] != pictures[3]).any()

    def test_candidates_are_numbered_and_on_a_sheet(self, photo, tmp_path):
        out, maps = tmp_path / "out.jpg", tmp_path / "maps.png"
        start = ["complete", photo, "--mask", tmp_path / "mask.png", "-o", out]
        code, output = run(*start, "--candidates", 3, "--parsing-out", maps)
        assert code == 0, output
        names = {path.name for path in tmp_path.iterdir() if path.is_file()}
        numbered = {f"out-{n}.jpg" for n in (1, 2, 3)}
        assert names == numbered | {f"maps-{n}.png" for n in (1, 2, 3)} | {
            "mask.png", "out-sheet.png",
        }  # fmt: skip
        height, width, _ = read_photo(tmp_path / "out-sheet.png").shape
        assert height > 480 and width > 3 * 320
        start[1] = photo.parent
        code, output = run(*start, "--candidates", 2)
        assert code == 2 and "is a folder; one photo is expected" in output

    def test_folders_pair_them_by_name(self, photo, tmp_path):
        write_png(photo.with_name("b.png"), synthesize(2, (48, 32)).photo)
        mask = ["--mask", tmp_path / "mask.png"]
        code, output = run("parse", photo.parent, *mask, "-o", tmp_path / "parsed")
        assert code == 0, output
        (tmp_path / "parsed" / "joints" / "b.json").unlink()
        code, output = run(
            "complete", photo.parent, *mask, "-o", tmp_path / "out",
            "--joints-in", tmp_path / "parsed" / "joints",
        )  # fmt: skip
        assert code == 1 and "1 photos completed" in output
        assert "b.png: no joints file of this name" in output

    def test_mistakes(self, photo, tmp_path):
        (tmp_path / "j.json").write_text('{"joints": {"Toe": {"x": 1, "y": 2}}}')
        start = ["complete", photo, "--mask", tmp_path / "mask.png", "-o", "o.png"]
        for path, words in (
            (tmp_path / "none.json", "none.json: cannot read the joints file"),
            (tmp_path / "j.json", "j.json: expected joints of R_Ankle"),
            (tmp_path, "is a folder; a joints file is expected for one photo"),
        ):
            code, output = run(*start, "--joints-in", path)
            assert code == 2 and words in output, output


@pytest.mark.long
def test_the_benchmark_tells_whether_bodies_follow(tmp_path):
    """With the bundled weights: shoes go where the ankles are."""
    write_synthetic(tmp_path / "data", train=1, val=6, size=(192, 128))
    command = ["-m", "benchmarks.joints", tmp_path / "data"]
    command += ["--pictures", tmp_path / "pictures"]
    said = python_output(*command, cwd=pathlib.Path(__file__).parents[1])
    lines = [line.split("|")[1:-1] for line in said.splitlines()]
    cells = {(row[0].strip(), row[1].strip()): row[2:] for row in lines}
    silhouettes = [float(cells["lower_third", way][-1]) for way in ("without", "true")]
    assert silhouettes[0] < silhouettes[1]
    names = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert names == {"truth", "masks", "without", "true", "moved"}
    told = json.loads((tmp_path / "pictures" / "moved" / "joints.json").read_text())
    assert len(told) == 12
