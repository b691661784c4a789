"""The names of Keras 3 on the addons stack, and the one backend of both stacks."""

import os

import keras
import numpy as np
import pytest
from processes import python

from portrait_tf.compat import keras2_ops

X = np.random.default_rng(0).normal(size=(2, 4, 6, 3)).astype(np.float32)
KERNEL = np.random.default_rng(1).normal(size=(3, 3, 3, 5)).astype(np.float32)


@pytest.mark.default_stack("Keras 2.15 has no keras.ops")
@pytest.mark.parametrize(
    "call",
    [
        lambda ops: [ops.maximum(X, 0.1), ops.minimum(0.5, ops.cast(X, "float16"))],
        lambda ops: ops.where(X > 0, X, 0.0) * ops.clip(X, -0.5, 0.5),
        lambda ops: [f(X, axis=(1, 2)) for f in (ops.sum, ops.mean, ops.max, ops.min)],
        lambda ops: [ops.sum(X, axis=-1, keepdims=True), ops.all(ops.equal(X, X))],
        lambda ops: ops.argmax(X, axis=-1),
        lambda ops: ops.log10(ops.abs(X) + 1.0) + ops.sqrt(ops.square(X)),
        lambda ops: ops.softmax(X, axis=-1) + ops.softmax(X),
        lambda ops: ops.arange(5, dtype="float32"),
        lambda ops: ops.zeros((2, 3)) + ops.ones((2, 3), dtype="float32"),
        lambda ops: ops.one_hot(np.array([2, 0]), 4),
        lambda ops: ops.concatenate([X, X], -1),
        lambda ops: [*ops.split(X, 2, axis=0), *ops.split(X, [1, 3], axis=1)],
        lambda ops: ops.take(X, np.array([1, 0]), axis=2) + ops.take(X, 3),
        lambda ops: ops.flip(X, axis=-1),
        lambda ops: ops.pad(X, [(0, 0), (1, 0), (0, 2), (0, 0)]),
        lambda ops: ops.repeat(X, 2, axis=-1),
        lambda ops: ops.average_pool(X, 2, 2) + ops.max_pool(X, 2, 2, padding="same"),
        lambda ops: ops.conv(X, KERNEL, strides=2, padding="same"),
        lambda ops: ops.depthwise_conv(X, KERNEL[..., :1], padding="same"),
        lambda ops: ops.image.resize(X, (3, 5), interpolation="bilinear"),
        lambda ops: ops.cond(ops.all(X < 9.0), lambda: X + 1, lambda: X),
        lambda ops: ops.einsum("bhwc,bhwd->bcd", X, ops.transpose(X, (0, 1, 2, 3))),
    ],
)  # fmt: skip
def test_ops_do_what_keras_3_does(call):
    found, expected = call(keras2_ops), call(keras.ops)
    if not isinstance(expected, list):
        found, expected = [found], [expected]
    for one, two in zip(found, expected, strict=True):
        assert one.shape == two.shape and one.dtype == two.dtype
        np.testing.assert_allclose(np.array(one), np.array(two), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_another_backend_is_refused(backend):
    code = "from portrait_tf.startup import load_keras; load_keras()"
    ended = python("-c", code, env={**os.environ, "KERAS_BACKEND": backend})
    assert ended.returncode
    assert ended.stderr.splitlines()[-1].endswith(
        f"expected Keras' backend tensorflow, received KERAS_BACKEND {backend!r}"
    )
