import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from portrait_tf.data.augment import prepare
from portrait_tf.data.masks import EVALUATION_TASKS
from portrait_tf.evaluation.classical import CLASSICAL, available
from portrait_tf.evaluation.confusion import GROUP_PHOTOS, Confusion, GroupScores
from portrait_tf.evaluation.evaluate import Evaluation, mean_scores, score_photo
from portrait_tf.evaluation.holes import HoleSet
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


def evaluate(engine, *holes, progress=None):
    return mean_scores(Evaluation(engine, HoleSet(*holes)).score(progress))


def test_a_pipeline_has_every_score(tiny_pipeline, portraits):
    engine, seen = PipelineEngine(tiny_pipeline), []
    arguments = (engine, portraits, (32, 32), 1, 2)
    scores = evaluate(*arguments, progress=lambda *p: seen.append(p))
    assert seen == [(1, 2), (2, 2)]
    assert scores["kernel_distances"] == {}
    assert set(scores["peers"]) == {"telea", "navier_stokes"}
    for tasks in (scores["completion"], *scores["peers"].values()):
        assert tuple(tasks) == EVALUATION_TASKS
        for one in tasks.values():
            assert set(one) == {"psnr_hole", "ssim", "l1"}
    assert set(scores["parsing"]) == {"miou", "miou_hole", "pixel_accuracy", "pckh"}
    assert all(0 <= value <= 1 for value in scores["parsing"].values())
    assert scores == evaluate(*arguments)


def test_an_engine_that_knows_the_truth_wins(portraits):
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


@pytest.fixture(scope="module")
def stripes():
    rows, columns = np.indices((48, 40))
    photo = np.stack([columns % 8 * 30, 255 - columns % 8 * 30, rows * 0 + 60], -1)
    mask = np.zeros((48, 40), np.uint8)
    mask[14:32, 12:28] = 255
    return photo.astype(np.uint8), mask


class TestClassical:
    @pytest.mark.parametrize("name", [name for name in CLASSICAL if available(name)])
    def test_known_pixels_stay_and_the_hole_is_not_read(self, name, stripes):
        photo, mask = stripes
        spoilt = np.where(mask[..., None] > 0, np.uint8(200), photo)
        done = CLASSICAL[name](photo, mask)
        np.testing.assert_array_equal(done, CLASSICAL[name](spoilt, mask))
        np.testing.assert_array_equal(done[mask == 0], photo[mask == 0])
        assert done.dtype == np.uint8 and done.shape == photo.shape

    def test_patchmatch_continues_a_texture(self, stripes):
        photo, mask = stripes
        hole = mask > 0
        patches, telea = (
            np.abs(CLASSICAL[name](photo, mask)[hole].astype(int) - photo[hole]).mean()
            for name in ("patchmatch", "telea")
        )
        assert patches < 3 < telea

    @pytest.mark.parametrize("known", [0, 1, 4, 24])
    def test_patchmatch_where_hardly_anything_is_known(self, known):
        rng = np.random.default_rng(0)
        photo = rng.integers(0, 256, (20, 24, 3)).astype(np.uint8)
        mask = np.full((20, 24), 255, np.uint8)
        mask[:known, :known] = 0
        done = CLASSICAL["patchmatch"](photo, mask)
        np.testing.assert_array_equal(done[mask == 0], photo[mask == 0])
