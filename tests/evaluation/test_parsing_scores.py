"""Stage 1's scores, worked by hand and from end to end."""

import base64
import hashlib
import json
import re

import cv2
import numpy as np
import pytest
import tensorflow as tf
from command_line import run as run_command

from portrait_tf.config import save_config
from portrait_tf.data.augment import prepare
from portrait_tf.data.lip import LipDataset
from portrait_tf.data.masks import EVALUATION_TASKS, evaluation_mask
from portrait_tf.data.sample import Sample
from portrait_tf.data.synthetic import synthesize
from portrait_tf.evaluation.holes import HoleSet
from portrait_tf.evaluation.parsing import (
    TASKS,
    TaskScores,
    band_width,
    border_band,
    draw_parsing,
    predictor,
    score_parsing,
)
from portrait_tf.evaluation.parsing_report import render_page
from portrait_tf.inference.averaging import AveragedParsing
from portrait_tf.labels import JOINTS, LABELS, color_parsing
from portrait_tf.runs.folder import build_network
from portrait_tf.runs.storage import save_arrays


def test_the_band_about_the_holes_edge():
    mask = np.zeros((3, 3), np.uint8)
    mask[1:, 1:] = 255
    # One pixel on each side; neither corner touches the other side by an edge.
    assert band_width(3) == 1
    expected = [[0, 1, 1], [1, 1, 1], [1, 1, 0]]
    np.testing.assert_array_equal(border_band(mask), expected)
    # Four at the demo's size, and none at the border of the photo.
    mask = np.zeros((192, 128), np.uint8)
    mask[128:] = 255
    expected = np.zeros(mask.shape, bool)
    expected[124:132] = True
    np.testing.assert_array_equal(border_band(mask), expected)
    for value in (0, 255):
        assert not border_band(np.full((8, 8), value, np.uint8)).any()


def test_label_scores_by_hand():
    truth = np.array([[0, 0, 5], [0, 5, 5], [255, 5, 9]], np.uint8)
    parsing = np.array([[0, 5, 5], [0, 5, 9], [0, 5, 9]], np.uint8)
    mask = np.array([[0, 0, 0], [0, 1, 1], [0, 1, 1]], np.uint8)
    scores = TaskScores()
    scores.add_parsing(truth, parsing, mask)
    found = scores.result(frequent=[0, 5])
    expected = {
        # Of 8 pixels 0 -> 5 and 5 -> 9 are wrong, one each.
        "whole": (8, 6 / 8, (2 / 3 + 3 / 4 + 1) / 3, (2 / 3, 3 / 5, 1 / 2)),
        # 5 -> 5 twice, 5 -> 9 and 9 -> 9.
        "hole": (4, 3 / 4, (2 / 3 + 1) / 2, (None, 2 / 3, 1 / 2)),
        # All but two corners and the void pixel; 9 is predicted, but never true.
        "band": (6, 4 / 6, (1 / 2 + 3 / 4) / 2, (1 / 2, 3 / 5, 0)),
    }
    for region, (pixels, accuracy, mean_accuracy, iou) in expected.items():
        one = found[region]
        assert one["pixels"] == pixels
        assert one["pixel_accuracy"] == pytest.approx(accuracy)
        assert one["mean_accuracy"] == pytest.approx(mean_accuracy)
        for label, value in zip((0, 5, 9), iou, strict=True):
            assert one["iou"][LABELS[label]] == pytest.approx(value)
        known = [value for value in iou if value is not None]
        assert one["mean_iou"] == pytest.approx(np.mean(known))
        frequent = [value for value in iou[:2] if value is not None]
        assert one["mean_iou_frequent"] == pytest.approx(np.mean(frequent))
        assert one["iou"]["Hat"] is None


class TestPose:
    """Two people whose heads are 20 px tall, so that 10 px off is still found."""

    knee, wrist, elbow, neck, head = 1, 10, 11, 8, 9

    @pytest.fixture
    def found(self):
        joints = np.zeros((2, 16, 3), np.float32)
        joints[:, self.head] = (20, 5, 1)
        joints[:, self.neck] = (20, 25, 1)
        joints[:, self.knee] = (20, 60, 1)
        joints[:, self.wrist] = (39.4, 40, 1)
        joints[0, self.elbow] = (5, 40, 1)
        predicted = joints.copy()
        predicted[0, self.knee, 1] += 10  # found, in the hole
        predicted[1, self.knee, 1] -= 11  # missed, in the hole
        predicted[1, self.wrist, 0] -= 30  # missed, in the hole, marked hidden
        predicted[0, self.elbow] += 50  # missed, outside of the hole, marked hidden
        masks = np.zeros((2, 80, 40), np.uint8)
        masks[:, 50:] = 255
        masks[1, 40, 39] = 255
        hidden = np.zeros((2, 16), bool)
        hidden[1, self.wrist] = hidden[0, self.elbow] = True
        scores = TaskScores()
        scores.add_pose(joints, predicted, masks, hidden)
        return scores.result([])["pckh"]

    def rates(self, one):
        return {name: tuple(v.values()) for name, v in one["joints"].items()}

    def test_rates(self, found):
        rates = self.rates(found["all"])
        assert rates["R_Knee"] == (0.5, 2) and rates["R_Wrist"] == (0.5, 2)
        assert rates["R_Elbow"] == (0, 1) and rates["Neck"] == (1, 2)
        assert rates["L_Hip"] == (None, 0)
        assert len(rates) == 14 and not {"Pelvis", "Spine"} & set(rates)
        assert found["all"]["mean"] == pytest.approx((0.5 + 0.5 + 0 + 1 + 1) / 5)
        assert found["all"]["count"] == 9
        # In the hole, too, the head outside of it is the measure.
        rates = self.rates(found["in_hole"])
        assert rates["R_Knee"] == (0.5, 2) and rates["R_Wrist"] == (0, 1)
        assert rates["R_Elbow"] == rates["Head"] == (None, 0)
        assert found["in_hole"]["mean"] == pytest.approx((0.5 + 0) / 2)
        rates = self.rates(found["marked_hidden"])
        assert rates["R_Wrist"] == (0, 1) and rates["R_Elbow"] == (0, 1)
        assert found["marked_hidden"]["mean"] == 0
        assert found["marked_hidden"]["count"] == 2


SIZE = (48, 32)


@pytest.fixture(scope="module")
def people() -> list:
    """Four people whose photos fill the frame, so that no hole lies in its border."""
    return [synthesize(seed, (96, 64)) for seed in (0, 1, 2, 3)]


def holes_of(people, count=None):
    return HoleSet(people, SIZE, count=count, tasks=TASKS)


@pytest.fixture
def prepared(people):
    return [prepare(sample, SIZE) for sample in people]


@pytest.fixture
def oracle(prepared):
    """Knows the photos, and what is in them, by the pixels outside of the hole."""

    def predict(images, masks):
        answers = []
        for image, mask in zip(images, masks, strict=True):
            assert not image[mask[..., 0] > 0].any()
            difference = [
                np.abs((one["image"] / 127.5 - 1) * (1 - mask) - image).max()
                for one in prepared
            ]
            assert min(difference) < 1e-5
            answers.append(prepared[int(np.argmin(difference))])
        parsings = np.stack([one["parsing"] for one in answers])
        joints = np.stack([one["joints"] for one in answers])
        return np.where(parsings == 255, 0, parsings), joints

    return predict


class TestWhole:
    def test_the_truth_scores_one(self, oracle, people):
        seen = []
        scores = score_parsing(
            oracle, holes_of(people), 4, 3, lambda *place: seen.append(place)
        )
        assert seen == [(3, 4), (4, 4)]
        assert set(scores["tasks"]) == {*EVALUATION_TASKS, "all", "none"}
        for task, one in scores["tasks"].items():
            for region in ("whole", "hole", "band"):
                empty = task == "none" and region != "whole"
                for name in ("mean_iou", "mean_iou_frequent", "pixel_accuracy"):
                    assert one[region][name] == (None if empty else 1)
            assert one["pckh"]["all"]["mean"] == 1
        whole = [scores["tasks"][t]["whole"]["pixels"] for t in EVALUATION_TASKS]
        assert scores["tasks"]["all"]["whole"]["pixels"] == sum(whole)
        assert scores["tasks"]["none"]["whole"]["pixels"] == whole[0]
        json.dumps(scores, allow_nan=False)

    def test_frequent_labels_are_counted_in_the_maps_as_published(self, oracle, people):
        scores = score_parsing(oracle, holes_of(people, 3), min_photos=3)
        for label, name in enumerate(LABELS):
            photos = sum((one.parsing == label).any() for one in people[:3])
            expected = {"photos": photos, "frequent": photos == 3}
            assert scores["labels"][name] == expected
        assert 0 < sum(one["frequent"] for one in scores["labels"].values()) < 20

    def test_a_wrong_answer_in_the_hole_alone(self, oracle, people):
        def blind(images, masks):
            parsings, joints = oracle(images, masks)
            return np.where(masks[..., 0] > 0, 7, parsings), joints

        scores = score_parsing(blind, holes_of(people))
        scores = scores["tasks"]["lower_third"]
        assert scores["hole"]["pixel_accuracy"] < scores["band"]["pixel_accuracy"] < 1
        pixels = {name: scores[name]["pixels"] for name in ("hole", "whole")}
        missed = pixels["hole"] * (1 - scores["hole"]["pixel_accuracy"])
        assert scores["whole"]["pixel_accuracy"] == pytest.approx(
            1 - missed / pixels["whole"]
        )

    def test_photos_without_labels_or_joints(self, people):
        bare = [Sample(one.name, one.photo) for one in people]
        nothing = np.zeros((48, 32), np.uint8), np.zeros((16, 3), np.float32)

        def predict(images, masks):
            return tuple(np.stack([one] * len(images)) for one in nothing)

        scores = score_parsing(predict, holes_of(bare))
        for one in scores["tasks"].values():
            assert one["whole"]["mean_iou"] is None and one["whole"]["pixels"] == 0
            assert one["pckh"]["all"]["mean"] is None
            assert one["pckh"]["all"]["count"] == 0
        assert draw_parsing(predict, holes_of(bare), scores) == {}

    def test_examples_are_the_best_the_median_and_the_worst(self, oracle, people):
        def poor(images, masks):
            parsings, joints = oracle(images, masks)
            parsings = parsings.copy()
            parsings[:, 40:] = 7
            return parsings, joints

        scores = score_parsing(poor, holes_of(people))
        drawn = draw_parsing(poor, holes_of(people), scores)
        for task, examples in drawn.items():
            of_photos = sorted(
                one["mean_iou_hole"] for one in scores["masks"] if one["task"] == task
            )
            assert [(one.place, one.score) for one in examples] == [
                ("best", of_photos[-1]), ("median", of_photos[1]),
                ("worst", of_photos[0]),
            ]  # fmt: skip
        alone = holes_of(people, 1)
        drawn = draw_parsing(poor, alone, score_parsing(poor, alone))
        places = {t: [one.place for one in some] for t, some in drawn.items()}
        assert places == dict.fromkeys(EVALUATION_TASKS, ["best"])

    def test_the_chain_and_stage_1_alone_agree(self, tiny_pipeline, people):
        sample = prepare(people[0], (32, 32))
        mask = evaluation_mask("strokes", 3, (32, 32))
        photo = sample["image"][None]
        chain = tiny_pipeline(photo, mask[None, ..., None])["parsing"][0, ..., 0]
        joints = tiny_pipeline.joints(photo, mask[None, ..., None])
        hole = (mask > 0)[None, ..., None].astype(np.float32)
        predict = predictor(AveragedParsing(tiny_pipeline.parsing_network))
        alone = predict((photo / np.float32(127.5) - 1) * (1 - hole), hole)
        # A pixel or two between labels of nearly one probability.
        assert (alone[0][0] != chain.numpy()).mean() < 0.01
        np.testing.assert_allclose(alone[1], joints, atol=1e-3)


def decoded(page):
    for caption, source in page.images:
        pattern = r"data:image/(jpeg|png);base64,(.+)"
        kind, data = re.fullmatch(pattern, source).groups()
        content = np.frombuffer(base64.b64decode(data), np.uint8)
        yield caption, kind, cv2.imdecode(content, cv2.IMREAD_COLOR)[..., ::-1]


def test_the_page_holds_the_pictures_and_no_foreign_tags(
    oracle, people, prepared, read_page, monkeypatch
):
    monkeypatch.setattr(people[0], "name", "<script>alert(1)</script>")
    scores = score_parsing(oracle, holes_of(people), min_photos=2)
    scores["setup"] = {"data": "<img src=x>", "flip": False, "min_photos": 2}
    drawn = draw_parsing(oracle, holes_of(people), scores)
    text = render_page(scores, drawn)
    assert "<script" not in text and "<img src=x" not in text and "http" not in text
    page = read_page(text)
    pictures = list(decoded(page))
    examples = [one for some in drawn.values() for one in some]
    assert [one[:2] for one in pictures] == [
        ("input", "jpeg"), ("truth", "png"), ("predicted", "png"),
    ] * len(examples)  # fmt: skip
    for index, example in enumerate(examples):
        photo, truth, parsing = (one[2] for one in pictures[3 * index : 3 * index + 3])
        assert np.abs(photo.astype(int) - example.pictures["input"]).mean() < 8
        np.testing.assert_array_equal(truth, example.pictures["truth"])
        np.testing.assert_array_equal(parsing, example.pictures["predicted"])
    # A map is the truth enlarged, except for the line around the hole.
    first = next(one for one in scores["masks"] if one["photo"] == examples[0].name)
    known = prepared[first["index"]]
    mask = evaluation_mask(
        "square", first["seed"], SIZE, known["joints"], known["parsing"]
    )
    drawn = color_parsing(known["parsing"]).repeat(3, 0).repeat(3, 1)
    line = (pictures[1][2] != drawn).any(axis=-1)
    assert 0 < line.mean() < 0.1
    assert (pictures[1][2][line] == 255).all()
    assert (mask.repeat(3, 0).repeat(3, 1)[line] > 0).all()
    for word in (*LABELS, "R_Ankle", "Wide strokes", "No hole"):
        assert word in page.words


def command(*arguments):
    return run_command("evaluate", "parsing", *arguments)


class TestCommand:
    @pytest.fixture
    def run(self, tiny_config, tmp_path):
        """A run whose stage 1 alone is there, with random weights."""
        tf.keras.utils.set_random_seed(0)
        network = build_network("parsing", tiny_config)
        save_config(tiny_config, tmp_path / "run" / "config.yaml")
        path = tmp_path / "run" / "parsing" / "checkpoint.npz"
        save_arrays(path, {"network": network.weights}, {})
        return tmp_path / "run"

    def test_from_end_to_end(self, data, run, tmp_path, read_page):
        files = {name: tmp_path / f"scores.{name}" for name in ("json", "html")}
        code, output = command(
            "--data", data, "--run", run, "--json", files["json"], "--html",
            files["html"], "--masks", tmp_path / "masks", "--min-photos", 2,
            "--seed", 4, "--count", 3, "--scales", 0.5, 1, "--flip",
        )  # fmt: skip
        assert code == 0, output
        for word in ("Lower third", "frequent labels", "PCKh", "RightShoe", "band"):
            assert word in output
        scores = json.loads(files["json"].read_text())
        assert scores["setup"] == {
            "data": str(data), "split": "val", "photos": 3, "network": str(run),
            "checkpoint": "last",
            "size": [32, 32], "scales": [0.5, 1.0], "flip": True, "seed": 4,
            "min_photos": 2,
        }  # fmt: skip
        assert set(scores["tasks"]["square"]["pckh"]["all"]["joints"]) <= set(JOINTS)
        self.check_masks(scores, LipDataset(data, "val"), tmp_path / "masks")
        assert len(read_page(files["html"].read_text()).images) == 3 * 3 * 4

    def check_masks(self, scores, reader, folder):
        assert len(scores["masks"]) == 3 * 4
        assert {one["task"] for one in scores["masks"]} == set(EVALUATION_TASKS)
        for one in scores["masks"]:
            sample = reader[one["index"]]
            assert sample.name == one["photo"]
            known = prepare(sample, (32, 32))
            mask = evaluation_mask(
                one["task"], one["seed"], (32, 32), known["joints"], known["parsing"]
            )
            assert hashlib.sha256(mask.tobytes()).hexdigest() == one["sha256"]
            assert np.count_nonzero(mask) == one["hole_pixels"]
            path = folder / one["task"] / f"{one['photo']}.png"
            written = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            np.testing.assert_array_equal(written, mask)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--run", "none"], "none: expected the folder of a trained"),
            (["--run", "."], "has no trained parsing stage"),
            (["--html", "."], "is a folder; a file is expected"),
            (["--masks", "file"], "is a file"),
            (["--masks", "."], "expected a new folder or an empty one, found file"),
            (["--scales", 0.5, 1, "--flip", 2], "unexpected extra argument"),
            (["--scales", "one"], "--scales"),
            (["--scales", 0], "--scales"),
        ],
    )
    def test_mistakes(self, data, tmp_path, monkeypatch, arguments, message):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "file").write_text("")
        code, output = command("--data", data, *arguments)
        assert code == 2 and message in output
