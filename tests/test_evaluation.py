import cv2
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from portrait_tf.data.masks import EVALUATION_TASKS
from portrait_tf.evaluation.confusion import Confusion
from portrait_tf.evaluation.evaluate import (
    GROUP_PHOTOS,
    GroupScores,
    ParsingScores,
    evaluate,
    score_photo,
)
from portrait_tf.inference.engines import PipelineEngine
from portrait_tf.labels import LABELS


def test_scores_of_a_photo():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)
    mask = np.zeros((32, 32), np.uint8)
    mask[4:20, 8:16] = 255
    completed = truth.copy()
    completed[mask > 0] = 128
    scores = score_photo(truth, completed, mask)
    hole = mask > 0
    assert scores["psnr_hole"] == pytest.approx(
        peak_signal_noise_ratio(truth[hole], completed[hole], data_range=255)
    )
    assert scores["l1"] == pytest.approx(np.abs(truth[hole].astype(int) - 128).mean())
    assert 0 < scores["ssim"] < 1
    assert score_photo(truth, truth, mask)["ssim"] == pytest.approx(1)


def test_parsing_scores_by_hand():
    truth = np.array([[0, 0, 5], [5, 5, 255]], np.uint8)
    predicted = np.array([[0, 5, 5], [5, 9, 9]], np.uint8)
    mask = np.array([[1, 0, 1], [1, 0, 1]], np.uint8)
    scores = ParsingScores()
    scores.add(truth, predicted, mask)
    assert scores.result() == pytest.approx(
        {"miou": (1 / 2 + 2 / 4 + 0) / 3, "miou_hole": 1, "pixel_accuracy": 3 / 5}
    )


def test_label_groups_by_hand():
    label = LABELS.index
    truth = np.array(
        [[0, label("Hat"), label("Face"), label("Coat"), label("LeftShoe"), 255]],
        np.uint8,
    )
    predicted = np.array(
        [[label("Hair"), label("Hair"), label("Face"), 0, label("RightShoe"), 0]],
        np.uint8,
    )
    scores = GroupScores()
    for number in range(GROUP_PHOTOS):
        counted = Confusion()
        # The shoe is in the hole of one photo less.
        counted.add(truth, predicted, np.array([[1, 1, 1, 1, number > 0, 1]]))
        scores.add("square", counted)
    found = scores.result()
    assert found["square"]["groups"] == pytest.approx(
        {"background": 0, "head": 2 / 3, "torso": 0, "arms": None, "legs": None}
        | {"shoes": 1}
    )
    assert found["square"]["photos"] == {
        "background": 10, "head": 10, "torso": 10, "arms": 0, "legs": 0, "shoes": 9,
    }  # fmt: skip
    assert found["square"]["mean"] == pytest.approx((0 + 2 / 3 + 0) / 3)
    # Found: hat, face and nine shoes; missed: the coat; too much: the background.
    assert found["square"]["silhouette"] == pytest.approx(29 / 49)
    assert found["strokes"]["mean"] is found["strokes"]["silhouette"] is None


def test_the_whole_report(tiny_pipeline, portraits):
    engine = PipelineEngine(tiny_pipeline)
    seen = []
    scores = evaluate(
        engine, portraits, (32, 32), seed=1, count=2, progress=lambda *p: seen.append(p)
    )
    assert seen == [(1, 2), (2, 2)]
    assert set(scores) == {
        "completion", "parsing", "peers", "label_groups", "kernel_distances",
    }  # fmt: skip
    assert scores["kernel_distances"] == {}
    assert set(scores["peers"]) == {"telea", "navier_stokes"}
    for tasks in (scores["completion"], *scores["peers"].values()):
        assert tuple(tasks) == EVALUATION_TASKS
        for one in tasks.values():
            assert set(one) == {"psnr_hole", "ssim", "l1"}
    assert set(scores["parsing"]) == {"miou", "miou_hole", "pixel_accuracy", "pckh"}
    assert all(0 <= value <= 1 for value in scores["parsing"].values())
    assert scores == evaluate(engine, portraits, (32, 32), seed=1, count=2)


def test_an_engine_that_knows_the_truth_wins(portraits):
    from portrait_tf.data.augment import prepare

    class Oracle:
        def __init__(self):
            prepared = [prepare(sample, (32, 32)) for sample in portraits]
            self.answers = {one["image"].tobytes(): one for one in prepared}

        def complete(self, photo, mask):
            known = self.answers[photo.tobytes()]
            parsing = np.where(known["parsing"] == 255, 0, known["parsing"])
            return known["image"], parsing.astype(np.uint8)

    scores = evaluate(Oracle(), portraits, (32, 32))
    for task in EVALUATION_TASKS:
        assert scores["completion"][task]["l1"] == 0
        assert scores["peers"]["telea"][task]["l1"] > 0
    assert scores["parsing"]["miou"] == scores["parsing"]["miou_hole"] == 1
    assert scores["parsing"]["pckh"] is None
    for one in scores["label_groups"].values():
        # Nobody is in the right quarter.
        assert {1} <= {*one["groups"].values(), one["silhouette"]} <= {1, None}
    assert scores["label_groups"]["square"]["silhouette"] == 1


def test_peers_are_opencv(portraits):
    from portrait_tf.evaluation.evaluate import PEERS

    photo = portraits[0].photo
    mask = np.zeros(photo.shape[:2], np.uint8)
    mask[20:40, 20:40] = 255
    np.testing.assert_array_equal(
        PEERS["telea"](photo, mask), cv2.inpaint(photo, mask, 3, cv2.INPAINT_TELEA)
    )
    np.testing.assert_array_equal(
        PEERS["navier_stokes"](photo, mask), cv2.inpaint(photo, mask, 3, cv2.INPAINT_NS)
    )
