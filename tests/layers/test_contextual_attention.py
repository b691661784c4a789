"""Contextual attention, held to the same written out in loops."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from portrait_tf.layers import ContextualAttention


def naive_sample(features, mask, scale, fuse):
    """One photo's `[H, W, C]` and `[H, W]`, patch by patch."""
    height, width, channels = features.shape
    rows, columns = -(-height // 2), -(-width // 2)
    half, holes = features[::2, ::2], np.zeros((rows, columns))
    for row in range(height):
        for column in range(width):
            if mask[row, column]:
                holes[row // 2, column // 2] = 1

    def patch(image, top, left, side):
        cut = np.zeros((side, side, *image.shape[2:]))
        for row in range(side):
            for column in range(side):
                y, x = top + row, left + column
                if 0 <= y < image.shape[0] and 0 <= x < image.shape[1]:
                    cut[row, column] = image[y, x]
        return cut

    places = [(row, column) for row in range(rows) for column in range(columns)]
    small = {(r, c): patch(half, r - 1, c - 1, 3) for r, c in places}
    usable = [(r, c) for r, c in places if not patch(holes, r - 1, c - 1, 3).any()]
    score = {
        (one, two): (small[one] * small[two]).sum()
        / max(np.sqrt((small[two] ** 2).sum()), 1e-4)
        for one in places
        for two in places
    }
    for axis in (1, 0) if fuse else ():
        step = np.eye(2, dtype=int)[axis]

        def moved(place, by, step=step):
            return tuple(int(x) for x in np.add(place, by * step))

        score = {
            (one, two): sum(
                score.get((moved(one, by), moved(two, by)), 0) for by in (-1, 0, 1)
            )
            for one, two in score
        }
    total, count = np.zeros(features.shape), np.zeros((height, width, 1))
    for one in places:
        answer = np.zeros((4, 4, channels))
        if usable:
            weights = np.array([scale * score[one, two] for two in usable])
            weights = np.exp(weights - weights.max())
            for weight, (r, c) in zip(weights / weights.sum(), usable, strict=True):
                answer += weight * patch(features, 2 * r - 1, 2 * c - 1, 4)
        for row in range(4):
            for column in range(4):
                y, x = 2 * one[0] - 1 + row, 2 * one[1] - 1 + column
                if 0 <= y < height and 0 <= x < width:
                    total[y, x] += answer[row, column]
                    count[y, x] += 1
    return total / count


def some_inputs(size, channels=3, seed=0):
    """Three photos: a hole of some size, one pixel, nothing known."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(3, *size, channels)).astype(np.float32) * 0.3
    mask = np.zeros((3, *size, 1), np.float32)
    mask[0, 2:5, 1:4] = 1
    mask[1, 1, 1] = 1
    mask[2] = 1
    return features, mask


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("size", [(12, 8), (9, 7), (10, 11)])
def test_it_is_what_the_loops_compute(size, fuse):
    features, mask = some_inputs(size)
    answer = np.array(ContextualAttention(10.0, fuse)([features, mask]))
    for sample in range(3):
        expected = naive_sample(
            features[sample].astype(float), mask[sample, ..., 0], 10.0, fuse
        )
        np.testing.assert_allclose(answer[sample], expected, rtol=1e-3, atol=1e-4)
    # The loops are not zero by mistake, and no valid patch gives zeros.
    assert np.abs(answer[:2]).max() > 0.1 and not answer[2].any()


@pytest.mark.parametrize("fuse", [True, False])
def test_blocks_do_not_change_the_answer(fuse):
    features, mask = some_inputs((13, 10))
    whole = ContextualAttention(10.0, fuse, block=None)
    expected = np.array(whole([features, mask]))
    calls = [ContextualAttention(10.0, fuse, block) for block in (1, 2, 3, 7, 50)]
    calls.append(tf.function(calls[2], autograph=False))
    for call in calls:
        np.testing.assert_allclose(
            call([features, mask]), expected, rtol=1e-4, atol=1e-5
        )


def test_the_gradient_does_not_depend_on_blocks_either():
    features, mask = some_inputs((8, 10))
    features = tf.constant(features)
    gradients = []
    for block in (None, 2):
        layer = ContextualAttention(block=block)
        with tf.GradientTape() as tape:
            tape.watch(features)
            loss = tf.reduce_sum(layer([features, mask]) ** 2)
        gradients.append(np.array(tape.gradient(loss, features)))
    np.testing.assert_allclose(*gradients, rtol=1e-3, atol=1e-4)
    assert np.isfinite(gradients[0]).all() and np.abs(gradients[0][0]).max() > 0.01


def test_unknown_sizes_are_refused():
    with pytest.raises(ValueError, match="must be static, received \\(None, 8\\)"):
        ContextualAttention()(
            [keras.Input((None, 8, 3)), keras.Input((None, 8, 1))]
        )  # fmt: skip


def test_half_precision_is_finite_and_close():
    features, mask = some_inputs((8, 8), channels=32)
    half = ContextualAttention(dtype="mixed_float16")([10 * features, mask])
    full = np.array(ContextualAttention()([10 * features, mask]))
    assert half.dtype == "float16" and np.isfinite(np.array(half)).all()
    np.testing.assert_allclose(half, full, atol=0.2)
