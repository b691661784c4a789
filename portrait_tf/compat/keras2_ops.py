"""`keras.ops` over TensorFlow: those of its names that this library uses.

Each does what Keras 3.15's does on TensorFlow, for the arguments that occur here; a
missing name is an `AttributeError`. Numbers stand beside tensors of any floating-point
type.
"""

import types

import numpy as np
import tensorflow as tf

# The same under another name, or under its own.
from tensorflow import (
    abs,
    cast,
    cond,
    convert_to_tensor,
    einsum,
    equal,
    exp,
    floor,
    logical_and,
    matmul,
    ones,
    ones_like,
    pad,
    repeat,
    reshape,
    sqrt,
    stack,
    stop_gradient,
    transpose,
    zeros,
)
from tensorflow import range as arange
from tensorflow import reduce_all as all
from tensorflow import reduce_max as max
from tensorflow import reduce_mean as mean
from tensorflow import reduce_min as min
from tensorflow import reduce_sum as sum
from tensorflow.math import cumsum, log, square
from tensorflow.nn import relu, softmax

from portrait_tf.compat import Tensor


def _alike(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Two arguments of one type: a number takes the other's, integers become floats."""
    types_ = [
        tf.as_dtype(one.dtype) if hasattr(one, "dtype") else None for one in (x, y)
    ]
    first, second = types_
    if first is None and second is None or first == second:
        return x, y
    if first is None or second is None:
        known = first or second
        number = x if first is None else y
        if not known.is_floating and isinstance(number, float):
            known = tf.float32
    elif first.is_floating == second.is_floating:
        known = first if first.size >= second.size else second
    else:
        known = first if first.is_floating else second
    return tf.cast(x, known), tf.cast(y, known)


def maximum(x: Tensor, y: Tensor) -> Tensor:
    return tf.maximum(*_alike(x, y))


def minimum(x: Tensor, y: Tensor) -> Tensor:
    return tf.minimum(*_alike(x, y))


def where(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return tf.where(condition, *_alike(x, y))


def clip(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return minimum(maximum(x, low), high)


def argmax(x: Tensor, axis: int) -> Tensor:
    return tf.argmax(x, axis, output_type=tf.int32)


def log10(x: Tensor) -> Tensor:
    return log(x) / np.log(10.0).astype(np.float32)


def convert_to_numpy(x: Tensor) -> np.ndarray:
    return np.array(x)


def shape(x: Tensor) -> tuple:
    """Integers where they are known, scalars of the graph where they are not."""
    dynamic = None if None not in x.shape else tf.shape(x)
    return tuple(
        dynamic[axis] if length is None else length
        for axis, length in enumerate(x.shape)
    )


def one_hot(x: Tensor, count: int, axis: int = -1, dtype: str = "float32") -> Tensor:
    return tf.one_hot(tf.cast(x, tf.int32), count, axis=axis, dtype=dtype)


def concatenate(xs: list, axis: int = 0) -> Tensor:
    return tf.concat(xs, axis)


def split(x: Tensor, parts: int | list[int], axis: int = 0) -> list:
    """Equal parts if `parts` is a number; else it holds where to cut."""
    if not isinstance(parts, int):
        cuts = [0, *parts, x.shape[axis]]
        parts = [stop - start for start, stop in zip(cuts, cuts[1:], strict=False)]
    return tf.split(x, parts, axis)


def take(x: Tensor, indices: Tensor, axis: int | None = None) -> Tensor:
    if axis is None:
        x, axis = tf.reshape(x, [-1]), 0
    return tf.gather(x, indices, axis=axis)


def flip(x: Tensor, axis: int) -> Tensor:
    return tf.reverse(x, [axis])


def average_pool(
    x: Tensor, size: int, strides: int | None = None, padding: str = "valid"
) -> Tensor:
    return tf.nn.avg_pool2d(x, size, strides or size, padding.upper())


def max_pool(
    x: Tensor, size: int, strides: int | None = None, padding: str = "valid"
) -> Tensor:
    return tf.nn.max_pool2d(x, size, strides or size, padding.upper())


def conv(x: Tensor, kernel: Tensor, strides: int = 1, padding: str = "valid") -> Tensor:
    return tf.nn.conv2d(x, kernel, strides, padding.upper())


def depthwise_conv(
    x: Tensor, kernel: Tensor, strides: int = 1, padding: str = "valid"
) -> Tensor:
    strides = (1, strides, strides, 1)
    return tf.nn.depthwise_conv2d(x, kernel, strides, padding.upper())


def _resize(
    x: Tensor, size: tuple, interpolation: str = "bilinear", antialias: bool = False
) -> Tensor:
    resized = tf.image.resize(x, size, interpolation, antialias=antialias)
    return tf.cast(resized, x.dtype)


image = types.SimpleNamespace(resize=_resize)
