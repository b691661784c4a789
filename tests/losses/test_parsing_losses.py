import numpy as np
import pytest

from portrait_tf.labels import NUM_JOINTS, NUM_LABELS
from portrait_tf.losses import joint_heatmaps, parsing_cross_entropy, pose_error


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


def test_heatmaps_peak_at_the_joint_and_fall_as_a_gaussian():
    joints = np.zeros((1, NUM_JOINTS, 3), np.float32)
    # The centre of row 4 of 8, column 1 of 4.
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
