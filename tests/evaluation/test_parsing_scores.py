"""Stage 1's scores, worked by hand and from end to end."""

import base64
import hashlib
import html.parser
import json
import re

import cv2
import numpy as np
import pytest
import tensorflow as tf
from typer.testing import CliRunner

from portrait_tf.apps import cli
from portrait_tf.config import save_config
from portrait_tf.data.augment import prepare
from portrait_tf.data.lip import LipDataset
from portrait_tf.data.masks import EVALUATION_TASKS, evaluation_mask
from portrait_tf.data.sample import Sample
from portrait_tf.data.synthetic import synthetic_portrait, write_synthetic
from portrait_tf.errors import PortraitError
from portrait_tf.evaluation.parsing import (
    TaskScores,
    band_width,
    border_band,
    draw_examples,
    evaluate_parsing,
    predictor,
)
from portrait_tf.evaluation.report import render_html
from portrait_tf.inference.averaging import AveragedParsing
from portrait_tf.labels import JOINTS, LABELS, color_parsing
from portrait_tf.photos.drawing import show_hole
from portrait_tf.runs.folder import build_network
from portrait_tf.runs.storage import save_arrays


class TestBand:
    def test_by_hand(self):
        mask = np.zeros((3, 3), np.uint8)
        mask[1:, 1:] = 255
        # One pixel on each side; neither corner touches the other side by an edge.
        assert band_width(3) == 1
        expected = [[0, 1, 1], [1, 1, 1], [1, 1, 0]]
        np.testing.assert_array_equal(border_band(mask), expected)

    def test_four_pixels_at_the_demo_size_and_none_at_the_border_of_the_photo(self):
        mask = np.zeros((192, 128), np.uint8)
        mask[128:] = 255
        rows = np.flatnonzero(border_band(mask).all(axis=1))
        assert rows.tolist() == list(range(124, 132))
        assert border_band(mask).sum() == 8 * 128

    def test_no_hole_and_nothing_else(self):
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

    def test_all_joints(self, found):
        rates = self.rates(found["all"])
        assert rates["R_Knee"] == (0.5, 2) and rates["R_Wrist"] == (0.5, 2)
        assert rates["R_Elbow"] == (0, 1) and rates["Neck"] == (1, 2)
        assert rates["L_Hip"] == (None, 0)
        assert len(rates) == 14 and not {"Pelvis", "Spine"} & set(rates)
        assert found["all"]["mean"] == pytest.approx((0.5 + 0.5 + 0 + 1 + 1) / 5)
        assert found["all"]["count"] == 9

    def test_in_the_hole_the_head_outside_still_measures(self, found):
        rates = self.rates(found["in_hole"])
        assert rates["R_Knee"] == (0.5, 2) and rates["R_Wrist"] == (0, 1)
        assert rates["R_Elbow"] == rates["Head"] == (None, 0)
        assert found["in_hole"]["mean"] == pytest.approx((0.5 + 0) / 2)

    def test_marked_hidden(self, found):
        rates = self.rates(found["marked_hidden"])
        assert rates["R_Wrist"] == (0, 1) and rates["R_Elbow"] == (0, 1)
        assert found["marked_hidden"] == {
            "mean": 0, "count": 2, "joints": found["marked_hidden"]["joints"],
        }  # fmt: skip


SIZE = (48, 32)


@pytest.fixture(scope="module")
def people() -> list:
    """Four people whose photos fill the frame, so that no hole lies in its border."""
    return [synthetic_portrait(seed, (96, 64)) for seed in (0, 1, 2, 3)]


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
        return np.where(parsings == 255, 0, parsings), np.stack(
            [one["joints"] for one in answers]
        )

    return predict


class TestWhole:
    def test_the_truth_scores_one(self, oracle, people):
        seen = []
        scores = evaluate_parsing(
            oracle,
            people,
            SIZE,
            batch_size=3,
            min_photos=4,
            progress=lambda *place: seen.append(place),
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
        scores = evaluate_parsing(oracle, people, SIZE, count=3, min_photos=3)
        for label, name in enumerate(LABELS):
            photos = sum((one.parsing == label).any() for one in people[:3])
            assert scores["labels"][name] == {
                "photos": photos,
                "frequent": photos == 3,
            }
        assert 0 < sum(one["frequent"] for one in scores["labels"].values()) < 20

    def test_a_wrong_answer_in_the_hole_alone(self, oracle, people):
        def blind(images, masks):
            parsings, joints = oracle(images, masks)
            return np.where(masks[..., 0] > 0, 7, parsings), joints

        scores = evaluate_parsing(blind, people, SIZE)["tasks"]["lower_third"]
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

        scores = evaluate_parsing(predict, bare, SIZE)
        for one in scores["tasks"].values():
            assert one["whole"]["mean_iou"] is None and one["whole"]["pixels"] == 0
            assert one["pckh"]["all"] | {"joints": 0} == {
                "mean": None, "count": 0, "joints": 0,
            }  # fmt: skip
        assert draw_examples(predict, bare, SIZE, scores) == []

    def test_examples_are_the_best_the_median_and_the_worst(self, oracle, people):
        def poor(images, masks):
            parsings, joints = oracle(images, masks)
            parsings = parsings.copy()
            parsings[:, 40:] = 7
            return parsings, joints

        scores = evaluate_parsing(poor, people, SIZE)
        examples = draw_examples(poor, people, SIZE, scores)
        assert [one.place for one in examples] == ["best", "median", "worst"] * 4
        for task in EVALUATION_TASKS:
            of_photos = sorted(
                one["mean_iou_hole"] for one in scores["masks"] if one["task"] == task
            )
            shown = [one.mean_iou_hole for one in examples if one.task == task]
            assert shown == [of_photos[-1], of_photos[1], of_photos[0]]
        alone = evaluate_parsing(poor, people, SIZE, count=1)
        places = [one.place for one in draw_examples(poor, people, SIZE, alone)]
        assert places == ["best"] * 4

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


class Page(html.parser.HTMLParser):
    """Checks that tags close in order; gathers pictures and words."""

    void = {"meta", "img", "br"}

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.words = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        if tag not in self.void:
            self.open.append(tag)
        for name, value in attributes:
            assert name not in ("href", "onload")
            if name == "src":
                self.images.append((dict(attributes)["alt"], value))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.words.append(text)

    def pictures(self):
        for caption, source in self.images:
            kind, data = re.fullmatch(
                r"data:image/(jpeg|png);base64,(.+)", source
            ).groups()
            picture = cv2.imdecode(
                np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR
            )
            yield caption, kind, picture[..., ::-1]


def test_the_page_holds_the_pictures_and_no_foreign_tags(oracle, people, prepared):
    people[0].name, before = "<script>alert(1)</script>", people[0].name
    try:
        scores = evaluate_parsing(oracle, people, SIZE, min_photos=2)
        scores["setup"] = {"data": "<img src=x>", "flip": False, "min_photos": 2}
        examples = draw_examples(oracle, people, SIZE, scores)
        text = render_html(scores, examples)
    finally:
        people[0].name = before
    assert "<script" not in text and "<img src=x" not in text
    assert "http" not in text.replace("http-equiv", "")
    page = Page(text)
    pictures = list(page.pictures())
    assert [one[:2] for one in pictures] == [
        ("input", "jpeg"), ("truth", "png"), ("predicted", "png"),
    ] * len(examples)  # fmt: skip
    for index, example in enumerate(examples):
        photo, truth, parsing = (one[2] for one in pictures[3 * index : 3 * index + 3])
        assert np.abs(photo.astype(int) - example.photo).mean() < 8
        np.testing.assert_array_equal(truth, example.truth)
        np.testing.assert_array_equal(parsing, example.parsing)
    # A map is the truth enlarged, but for the line round the hole.
    first = next(one for one in scores["masks"] if one["photo"] == examples[0].name)
    known = prepared[first["index"]]
    mask = evaluation_mask(
        "square", first["seed"], SIZE, known["joints"], known["parsing"]
    )
    drawn = cv2.resize(
        color_parsing(known["parsing"]), (96, 144), interpolation=cv2.INTER_NEAREST
    )
    line = (pictures[1][2] != drawn).any(axis=-1)
    assert 0 < line.mean() < 0.1
    assert (pictures[1][2][line] == 255).all()
    assert (np.repeat(np.repeat(mask, 3, 0), 3, 1)[line] > 0).all()
    shown = show_hole(known["image"], mask)
    assert np.abs(pictures[0][2].astype(int) - shown).mean() < 8
    for word in (*LABELS, "R_Ankle", "Wide strokes", "No hole"):
        assert word in page.words


class TestCommand:
    @pytest.fixture
    def data(self, tmp_path):
        folder = tmp_path / "lip"
        write_synthetic(folder, 0, 4, seed=2, size=(64, 48))
        return folder

    @pytest.fixture
    def run(self, tiny_config, tmp_path):
        """A run whose stage 1 alone is there, with random weights."""
        tf.keras.utils.set_random_seed(0)
        network = build_network("parsing", tiny_config)
        save_config(tiny_config, tmp_path / "run" / "config.yaml")
        path = tmp_path / "run" / "parsing" / "checkpoint.npz"
        save_arrays(path, {"network": network.weights}, {})
        return tmp_path / "run"

    def command(self, *arguments):
        arguments = ["evaluate", "parsing", *map(str, arguments)]
        result = CliRunner().invoke(cli.app, arguments)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    def test_from_end_to_end(self, data, run, tmp_path):
        files = {name: tmp_path / f"scores.{name}" for name in ("json", "html")}
        code, output = self.command(
            "--data", data, "--run", run, "--json", files["json"], "--html",
            files["html"], "--masks", tmp_path / "masks", "--min-photos", 2,
            "--seed", 4, "--count", 3, "--scales", 0.5, 1, "--flip",
        )  # fmt: skip
        assert code == 0, output
        for word in ("lower_third", "frequent labels", "PCKh", "RightShoe", "band"):
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
        page = Page(files["html"].read_text())
        assert len(list(page.pictures())) == 3 * 3 * 4
        code, _ = self.command("--data", data, "--run", run, "--count", 1)
        assert code == 0

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

    def test_mistakes(self, data, tmp_path):
        for arguments, message in (
            (["--run", tmp_path / "none"], "none: expected the folder of a trained"),
            (["--run", tmp_path], "has no trained parsing stage"),
            (["--html", tmp_path], "is a folder; a file is expected"),
            (["--masks", data / "TrainVal_images" / "val_id.txt"], "is a file"),
        ):
            with pytest.raises(PortraitError, match=message):
                self.command("--data", data, *arguments)
        for arguments, message in (
            (["--scales", 0.5, 1, "--flip", 2], "unexpected extra argument"),
            (["--scales", "one"], "--scales"),
            (["--scales", 0], "--scales"),
        ):
            code, output = self.command("--data", data, *arguments)
            assert code == 2 and message in output
