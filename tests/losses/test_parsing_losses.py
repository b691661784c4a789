import numpy as np
import pytest

from portrait_tf.labels import NUM_JOINTS, NUM_LABELS
from portrait_tf.layers import joint_heatmaps
from portrait_tf.losses import (
    group_overlap,
    inverse_sqrt_weights,
    parsing_balanced,
    parsing_cross_entropy,
    pose_error,
    root_pose_error,
)


def test_cross_entropy_against_numpy():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 3, 4, NUM_LABELS)).astype(np.float32)
    labels = rng.integers(0, NUM_LABELS, (2, 3, 4)).astype(np.int32)
    labels[0, 0, :2] = 255
    weights = rng.uniform(0.5, 3, (2, 3, 4)).astype(np.float32)
    shifted = logits - logits.max(-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    total = weight = 0.0
    for index in np.ndindex(labels.shape):
        if labels[index] < NUM_LABELS:
            total -= weights[index] * log_p[index][labels[index]]
            weight += weights[index]
    loss = float(parsing_cross_entropy(labels, logits, weights))
    assert loss == pytest.approx(total / weight, rel=1e-5)


def test_cross_entropy_of_void_alone_is_zero():
    labels = np.full((1, 2, 2), 255, np.int32)
    logits = np.ones((1, 2, 2, NUM_LABELS), np.float32)
    assert float(parsing_cross_entropy(labels, logits, np.ones((1, 2, 2)))) == 0


class TestGroupOverlap:
    """A hole of 4 pixels; labels 9 (Pants) and 12 (Skirt) are legs, 18 is a shoe."""

    mask = np.ones((1, 1, 4, 1), np.float32)

    def loss(self, labels, probabilities, mask=mask):
        logits = np.log(np.maximum(probabilities, 1e-9)).astype(np.float32)
        return float(group_overlap(np.int32([[labels]]), logits[None, None], mask))

    def certain(self, *labels):
        return np.eye(NUM_LABELS)[list(labels)]

    def test_labels_of_one_group_are_one(self):
        assert self.loss([9, 9, 0, 0], self.certain(12, 9, 0, 0)) < 1e-5

    def test_each_group_that_occurs_counts_alike(self):
        # Legs are wholly missed; the background's Dice is 2 * 3 / (3 + 4).
        loss = self.loss([9, 0, 0, 0], self.certain(0, 0, 0, 0))
        assert loss == pytest.approx((1 + 1 - 6 / 7) / 2, abs=1e-5)

    def test_a_decision_overlaps_more_than_a_hedge(self):
        shoe = self.certain(18)[0]
        ground = self.certain(0)[0]
        halves = np.stack([(shoe + ground) / 2] * 2 + [ground] * 2)
        whole = np.stack([shoe, ground, ground, ground])
        truths = ([18, 0, 0, 0], [0, 18, 0, 0])
        hedged = np.mean([self.loss(truth, halves) for truth in truths])
        decided = np.mean([self.loss(truth, whole) for truth in truths])
        assert decided < hedged

    def test_void_and_known_pixels_do_not_count(self):
        mask = self.mask.copy()
        mask[0, 0, 3] = 0
        loss = self.loss([9, 255, 0, 18], self.certain(9, 0, 0, 0), mask)
        assert loss < 1e-5


def test_heatmaps_peak_at_the_joint_and_fall_as_a_gaussian():
    joints = np.zeros((1, NUM_JOINTS, 3), np.float32)
    # The center of row 4 of 8, column 1 of 4.
    joints[0, 3] = (1.5 / 4, 4.5 / 8, 1)
    maps = np.array(joint_heatmaps(joints, (8, 4), 0.25))
    assert maps.shape == (1, 8, 4, NUM_JOINTS)
    assert maps[0, 4, 1, 3] == pytest.approx(1)
    # Sigma is 0.25 * 8 = 2 cells: exp(-d^2 / 8).
    assert maps[0, 6, 1, 3] == pytest.approx(np.exp(-0.5))
    assert maps[0, 4, 2, 3] == pytest.approx(np.exp(-0.125))
    assert not maps[..., [j for j in range(NUM_JOINTS) if j != 3]].any()


def test_pose_error_of_an_empty_answer_is_one():
    rng = np.random.default_rng(0)
    target = rng.uniform(size=(2, 4, 4, NUM_JOINTS)).astype(np.float32)
    assert float(pose_error(target, np.zeros_like(target))) == pytest.approx(1)
    assert float(pose_error(target, target)) == 0
    assert float(pose_error(target, target / 2)) == pytest.approx(0.25)


def probabilities(logits):
    exponents = np.exp(logits - logits.max(-1, keepdims=True))
    return exponents / exponents.sum(-1, keepdims=True)


def case(seed=0):
    """Logits, labels with void, and weights, small enough for loops."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, (2, 3, 4)).astype(np.int32)
    labels[0, 0, :2] = 255
    logits = rng.normal(size=(2, 3, 4, NUM_LABELS)).astype(np.float32)
    return labels, logits, rng.uniform(0.5, 3, (2, 3, 4)).astype(np.float32)


def test_label_smoothing_against_numpy():
    labels, logits, weights = case()
    log_p = np.log(probabilities(logits))
    total = weight = 0.0
    for index in np.ndindex(labels.shape):
        if labels[index] < NUM_LABELS:
            target = np.full(NUM_LABELS, 0.1 / NUM_LABELS)
            target[labels[index]] += 0.9
            total -= weights[index] * (target * log_p[index]).sum()
            weight += weights[index]
    loss = float(parsing_cross_entropy(labels, logits, weights, 0.1))
    assert loss == pytest.approx(total / weight, rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "wrong", "missed"), [("dice", 0.5, 0.5), ("tversky", 0.3, 0.7)]
)
def test_overlap_against_numpy(kind, wrong, missed):
    labels, logits, weights = case()
    p = probabilities(logits)
    losses = []
    for label in range(4):
        tp = fp = fn = 0.0
        for index in np.ndindex(labels.shape):
            if labels[index] == 255:
                continue
            if labels[index] == label:
                tp += weights[index] * p[index][label]
                fn += weights[index] * (1 - p[index][label])
            else:
                fp += weights[index] * p[index][label]
        losses.append(1 - tp / (tp + wrong * fp + missed * fn))
    loss = float(parsing_balanced(kind, labels, logits, weights))
    assert loss == pytest.approx(np.mean(losses), rel=1e-5)


def test_focal_against_numpy():
    labels, logits, weights = case()
    p = probabilities(logits)
    total = weight = 0.0
    for index in np.ndindex(labels.shape):
        if labels[index] < NUM_LABELS:
            right = p[index][labels[index]]
            total -= weights[index] * (1 - right) ** 2 * np.log(right)
            weight += weights[index]
    loss = float(parsing_balanced("focal", labels, logits, weights))
    assert loss == pytest.approx(total / weight, rel=1e-4)


@pytest.mark.parametrize("kind", ["dice", "tversky", "focal"])
def test_void_and_weights_of_zero_do_not_count(kind):
    labels, logits, weights = case()
    other = logits.copy()
    other[labels == 255] += 5
    weights[1] = 0
    other[1] = 0
    one, two = (
        float(parsing_balanced(kind, labels, x, weights)) for x in (logits, other)
    )
    assert one == pytest.approx(two, rel=1e-6)
    void = np.full_like(labels, 255)
    assert float(parsing_balanced(kind, void, logits, weights)) == 0


def test_inverse_sqrt_weights():
    labels = np.array([[[0, 0, 0, 0], [0, 0, 0, 0], [5, 5, 5, 255], [9, 255, 0, 0]]])
    found = np.array(inverse_sqrt_weights(labels.astype(np.int32)))
    counts = {0: 10, 5: 3, 9: 1}
    for index in np.ndindex(labels.shape):
        part = counts.get(labels[index])
        expected = (14 / part) ** 0.5 if part else 0
        assert found[index] == pytest.approx(expected, rel=1e-5)


def test_root_pose_error_is_a_mean_of_roots():
    rng = np.random.default_rng(0)
    target, found = rng.uniform(size=(2, 2, 4, 4, NUM_JOINTS)).astype(np.float32)
    roots = [np.sqrt(((a - b) ** 2).sum()) for a, b in zip(target, found, strict=True)]
    assert float(root_pose_error(target, found)) == pytest.approx(np.mean(roots))
    assert float(root_pose_error(target, target)) < 1e-5
