import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score

from portrait_tf.evaluation.confusion import Confusion
from portrait_tf.labels import NUM_LABELS


@pytest.fixture
def maps():
    """Truth with void, a prediction that is often right, and a region."""
    rng = np.random.default_rng(0)
    truth = rng.choice([0, 2, 5, 9, 13, 16, 255], (3, 20, 14)).astype(np.uint8)
    wrong = rng.choice([0, 2, 5, 9, 13, 17], truth.shape)
    right = (rng.random(truth.shape) < 0.6) & (truth < NUM_LABELS)
    region = (rng.random(truth.shape) < 0.4).astype(np.uint8) * 255
    return truth, np.where(right, truth, wrong).astype(np.uint8), region


@pytest.mark.parametrize("in_region", [False, True])
def test_against_scikit_learn(maps, in_region):
    truth, predicted, region = maps
    confusion = Confusion()
    for one in zip(truth, predicted, region, strict=True):
        confusion.add(*one[:2], one[2] if in_region else None)
    counted = truth < NUM_LABELS
    if in_region:
        counted &= region > 0
    truth, predicted = truth[counted], predicted[counted]
    labels = np.arange(NUM_LABELS)
    expected = confusion_matrix(truth, predicted, labels=labels)
    np.testing.assert_array_equal(confusion.counts, expected)
    assert confusion.pixels == counted.sum() > 100
    assert confusion.pixel_accuracy() == pytest.approx(accuracy_score(truth, predicted))
    occur = np.union1d(truth, predicted)
    iou = jaccard_score(truth, predicted, labels=occur, average=None)
    np.testing.assert_allclose(confusion.iou()[occur], iou)
    assert np.isnan(np.delete(confusion.iou(), occur)).all()
    assert confusion.mean_iou() == pytest.approx(iou.mean())
    assert confusion.mean_iou([5, 9, 1]) == pytest.approx(iou[[2, 3]].mean())
    true = np.unique(truth)
    rows = confusion_matrix(truth, predicted, labels=labels, normalize="true")
    assert confusion.mean_accuracy() == pytest.approx(np.diag(rows)[true].mean())


def test_nothing_to_count():
    confusion = Confusion()
    confusion.add(np.full((4, 4), 255, np.uint8), np.zeros((4, 4), np.uint8))
    assert confusion.pixels == 0
    for score in ("pixel_accuracy", "mean_accuracy", "mean_iou"):
        assert getattr(confusion, score)() is None
    confusion.add(np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8))
    assert confusion.mean_iou([3]) is None and confusion.mean_iou([0]) == 1


def test_iou_of_groups_is_that_of_merged_labels(maps):
    truth, predicted, _ = maps
    confusion = Confusion()
    confusion.add(truth, predicted)
    groups = np.arange(NUM_LABELS) % 3
    groups[19] = 3  # occurs nowhere
    counted = truth < NUM_LABELS
    expected = jaccard_score(
        groups[truth[counted]], groups[predicted[counted]], average=None
    )
    found = confusion.group_iou(groups)
    assert found[:3] == pytest.approx(expected) and np.isnan(found[3])
