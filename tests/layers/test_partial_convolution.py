"""Partial convolution, held to its formula written out in loops."""

import numpy as np
import pytest
from tiny import assert_equal_arrays

from portrait_tf.layers import PartialConv2D


def naive(values, known, kernel, bias, strides):
    """`ratio = window / (sum + eps) * clip(sum, 0, 1)`,
    `out = ((raw - b) * ratio + b) * new_mask`, as the paper's authors compute it."""
    batch, height, width, channels = values.shape
    side, filters = kernel.shape[0], kernel.shape[-1]
    rows, columns = -(-height // strides), -(-width // strides)
    total = [
        max((count - 1) * strides + side - length, 0)
        for count, length in ((rows, height), (columns, width))
    ]
    padding = [(0, 0), *((extra // 2, extra - extra // 2) for extra in total), (0, 0)]
    values, known = np.pad(values * known, padding), np.pad(known, padding)
    out = np.zeros((batch, rows, columns, filters))
    new_mask = np.zeros((batch, rows, columns, filters))
    for sample in range(batch):
        for row in range(rows):
            for column in range(columns):
                window = (
                    sample,
                    slice(row * strides, row * strides + side),
                    slice(column * strides, column * strides + side),
                )
                count = known[window].sum()
                clipped = np.clip(count, 0, 1)
                ratio = side * side * channels / (count + 1e-8) * clipped
                for filter_ in range(filters):
                    b = bias[filter_]
                    raw = (values[window] * kernel[..., filter_]).sum() + b
                    out[sample, row, column, filter_] = (
                        (raw - b) * ratio + b
                    ) * clipped
                new_mask[sample, row, column] = clipped
    return out, new_mask


def some_inputs(shape=(2, 7, 6, 3), seed=0):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=shape).astype(np.float32)
    # A mask a channel, some windows without any known value.
    known = (rng.uniform(size=shape) < 0.4).astype(np.float32)
    known[0, :4, :4] = 0
    known[-1] = 0
    known[-1, 3, 2, 1] = 1
    return values, known


def with_random_weights(layer, shape):
    layer.build([shape, shape])
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    return layer


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize(("kernel_size", "strides"), [(3, 1), (3, 2), (5, 2), (7, 2)])
def test_it_is_the_formula(kernel_size, strides, use_bias):
    values, known = some_inputs()
    layer = with_random_weights(
        PartialConv2D(4, kernel_size, strides, use_bias), values.shape
    )
    bias = np.array(layer.bias) if use_bias else np.zeros(4)
    expected = naive(values, known, np.array(layer.kernel), bias, strides)
    assert_equal_arrays(layer([values, known]), expected, rtol=1e-4, atol=1e-4)
    assert layer.compute_output_shape([values.shape] * 2) == [expected[0].shape] * 2
    assert layer.compute_output_shape([(None, None, None, 3)] * 2)[0] == (
        None, None, None, 4,
    )  # fmt: skip


def test_half_precision_agrees_where_counts_are_large():
    shape = (2, 6, 6, 600)
    values, known = some_inputs(shape)
    values *= 0.01
    full = with_random_weights(PartialConv2D(2, 3), shape)
    half = PartialConv2D(2, 3, dtype="mixed_float16")
    half.build([shape, shape])
    half.set_weights(full.get_weights())
    expected, mask = (np.array(part) for part in full([values, known]))
    answer, half_mask = (np.array(part) for part in half([values, known]))
    assert answer.dtype == np.float16 and np.isfinite(answer).all()
    np.testing.assert_allclose(answer, expected, rtol=0.02, atol=0.02)
    np.testing.assert_array_equal(half_mask, mask)
