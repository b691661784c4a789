import numpy as np
import pytest
import tensorflow as tf
from skimage.metrics import peak_signal_noise_ratio

from portrait_tf.labels import NUM_JOINTS, NUM_LABELS
from portrait_tf.layers import heatmap_peaks
from portrait_tf.metrics import ParsingIoU, PCKh, hole_psnr


def logits_for(labels):
    return np.eye(NUM_LABELS, dtype=np.float32)[labels] * 5


class TestParsingIoU:
    truth = np.array([[[0, 0, 5], [5, 5, 255]]])
    predicted = np.array([[[0, 5, 5], [5, 9, 9]]])

    def test_by_hand(self):
        metric = ParsingIoU()
        metric.update_state(self.truth, logits_for(self.predicted))
        # Label 0: 1 of 2; label 5: 2 of 4; label 9: 0 of 1. Void is left out.
        assert float(metric.result()) == pytest.approx((1 / 2 + 2 / 4 + 0) / 3)

    def test_in_a_region(self):
        metric = ParsingIoU()
        region = np.array([[[1, 0, 1], [1, 0, 1]]], np.float32)
        metric.update_state(self.truth, logits_for(self.predicted), region)
        assert float(metric.result()) == pytest.approx(1)


class TestPCKh:
    def joints(self):
        joints = np.zeros((1, NUM_JOINTS, 3), np.float32)
        joints[0, :, 0] = np.arange(NUM_JOINTS) * 10
        joints[0, :, 2] = 1
        joints[0, 9, :2], joints[0, 8, :2] = (80, 0), (80, 20)
        return joints

    def score(self, joints, predicted):
        metric = PCKh()
        metric.update_state(joints, predicted)
        return float(metric.result())

    def test_half_a_head_is_the_limit(self):
        joints = self.joints()
        predicted = joints.copy()
        assert self.score(joints, predicted) == pytest.approx(1)
        predicted[0, 0, 1] += 10
        assert self.score(joints, predicted) == pytest.approx(1)
        predicted[0, 1, 1] += 10.1
        assert self.score(joints, predicted) == pytest.approx(13 / 14)

    def test_pelvis_and_spine_do_not_count(self):
        joints = self.joints()
        predicted = joints.copy()
        predicted[0, 6:8] += 100
        assert self.score(joints, predicted) == pytest.approx(1)

    def test_missing_joints_and_heads_are_skipped(self):
        joints = self.joints()
        predicted = joints.copy()
        predicted[0, 0] += 100
        joints[0, 0, 2] = 0
        assert self.score(joints, predicted) == pytest.approx(1)
        headless = self.joints()
        headless[0, 9, 2] = 0
        both = np.concatenate([joints, headless])
        wrong = np.concatenate([predicted, headless + 100])
        assert self.score(both, wrong) == pytest.approx(1)


def test_peaks_are_found_to_parts_of_a_cell():
    heatmaps = np.zeros((1, 8, 4, 2), np.float32)
    heatmaps[0, 3, 1, 0] = heatmaps[0, 3, 2, 0] = 0.5
    heatmaps[0, 7, 0, 1] = 0.8
    peaks = np.array(heatmap_peaks(heatmaps))[0]
    # Between the centers of columns 1 and 2, at the center of row 3.
    np.testing.assert_allclose(peaks[0], [2 / 4, 3.5 / 8, 0.5], atol=1e-6)
    np.testing.assert_allclose(peaks[1], [0.5 / 4, 7.5 / 8, 0.8], atol=1e-6)


def test_hole_psnr_against_scikit_image():
    rng = np.random.default_rng(0)
    truth = rng.uniform(-1, 1, (2, 8, 8, 3)).astype(np.float32)
    completed = np.clip(truth + rng.normal(0, 0.2, truth.shape), -1, 1)
    completed = completed.astype(np.float32)
    mask = np.zeros((2, 8, 8, 1), np.float32)
    mask[:, 2:5, 1:7] = 1
    found = hole_psnr(tf.constant(truth), tf.constant(completed), tf.constant(mask))
    for index in range(2):
        hole = mask[index, ..., 0] > 0
        expected = peak_signal_noise_ratio(
            truth[index][hole], completed[index][hole], data_range=2
        )
        assert float(found[index]) == pytest.approx(expected, rel=1e-5)
