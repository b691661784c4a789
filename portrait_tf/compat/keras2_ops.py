"""`keras.ops` over TensorFlow: those of its names that this library uses.

Each does as Keras 3.15's on its TensorFlow backend, for the arguments that occur here;
a name that is missing is an `AttributeError`. Numbers stand beside tensors of any
floating-point type, as they do there.
"""

import types

import numpy as np
import tensorflow as tf

# TensorFlow's own names, where it does the same.
from tensorflow import (
    abs,
    einsum,
    equal,
    exp,
    floor,
    logical_and,
    matmul,
    ones_like,
    pad,
    reshape,
    stack,
    stop_gradient,
    transpose,
    zeros_like,
)
from tensorflow.math import cumsum, log, square
from tensorflow.nn import relu

__all__ = [
    "abs",
    "all",
    "arange",
    "argmax",
    "average_pool",
    "cast",
    "clip",
    "concatenate",
    "cond",
    "conv",
    "convert_to_numpy",
    "convert_to_tensor",
    "cumsum",
    "depthwise_conv",
    "einsum",
    "equal",
    "exp",
    "flip",
    "floor",
    "fori_loop",
    "image",
    "log",
    "log10",
    "logical_and",
    "matmul",
    "max",
    "max_pool",
    "maximum",
    "mean",
    "min",
    "minimum",
    "one_hot",
    "ones",
    "ones_like",
    "pad",
    "relu",
    "repeat",
    "reshape",
    "shape",
    "softmax",
    "split",
    "sqrt",
    "square",
    "stack",
    "stop_gradient",
    "sum",
    "take",
    "transpose",
    "where",
    "zeros",
    "zeros_like",
]


def _alike(x: object, y: object) -> tuple[object, object]:
    """Two arguments of one type: a number takes the other's, integers become floats."""
    # A variable of Keras' optimizers may stand in a tensor's place.
    types_ = [
        tf.as_dtype(one.dtype) if hasattr(one, "dtype") else None for one in (x, y)
    ]
    first, second = types_
    if first is None and second is None:
        return x, y
    if first is None or second is None:
        known = first or second
        number = x if first is None else y
        if not known.is_floating and isinstance(number, float):
            known = tf.float32
        return tf.cast(x, known), tf.cast(y, known)
    if first == second:
        return x, y
    if first.is_floating == second.is_floating:
        common = first if first.size >= second.size else second
    else:
        common = first if first.is_floating else second
    return tf.cast(x, common), tf.cast(y, common)


def maximum(x: object, y: object) -> object:
    return tf.maximum(*_alike(x, y))


def minimum(x: object, y: object) -> object:
    return tf.minimum(*_alike(x, y))


def where(condition: object, x: object, y: object) -> object:
    return tf.where(condition, *_alike(x, y))


def clip(x: object, low: object, high: object) -> object:
    return minimum(maximum(x, low), high)


def sum(x: object, axis: object = None, keepdims: bool = False) -> object:
    return tf.reduce_sum(x, axis, keepdims)


def mean(x: object, axis: object = None, keepdims: bool = False) -> object:
    return tf.reduce_mean(x, axis, keepdims)


def max(x: object, axis: object = None, keepdims: bool = False) -> object:
    return tf.reduce_max(x, axis, keepdims)


def min(x: object, axis: object = None, keepdims: bool = False) -> object:
    return tf.reduce_min(x, axis, keepdims)


def all(x: object, axis: object = None, keepdims: bool = False) -> object:
    return tf.reduce_all(x, axis, keepdims)


def argmax(x: object, axis: int) -> object:
    return tf.argmax(x, axis, output_type=tf.int32)


def sqrt(x: object) -> object:
    return tf.sqrt(x)


def log10(x: object) -> object:
    return tf.math.log(x) / np.log(10.0).astype(np.float32)


def softmax(x: object, axis: int = -1) -> object:
    return tf.nn.softmax(x, axis)


def cast(x: object, dtype: object) -> object:
    return tf.cast(x, dtype)


def convert_to_tensor(x: object, dtype: object = None) -> object:
    return tf.convert_to_tensor(x, dtype)


def convert_to_numpy(x: object) -> np.ndarray:
    return np.array(x)


def shape(x: object) -> tuple:
    """Whole numbers where they are known, scalars of the graph where they are not."""
    static = tuple(x.shape)
    if None not in static:
        return static
    dynamic = tf.shape(x)
    return tuple(
        dynamic[axis] if length is None else length
        for axis, length in enumerate(static)
    )


def arange(stop: int, dtype: str | None = None) -> object:
    return tf.range(stop, dtype=dtype)


def zeros(shape: object, dtype: str = "float32") -> object:
    return tf.zeros(shape, dtype)


def ones(shape: object, dtype: str = "float32") -> object:
    return tf.ones(shape, dtype)


def one_hot(x: object, count: int, axis: int = -1, dtype: str = "float32") -> object:
    return tf.one_hot(tf.cast(x, tf.int32), count, axis=axis, dtype=dtype)


def concatenate(xs: list, axis: int = 0) -> object:
    return tf.concat(xs, axis)


def split(x: object, parts: object, axis: int = 0) -> list:
    """Equal parts, if `parts` is a number; else it holds where to cut."""
    if not isinstance(parts, int):
        cuts = [0, *parts, x.shape[axis]]
        parts = [stop - start for start, stop in zip(cuts, cuts[1:], strict=False)]
    return tf.split(x, parts, axis)


def take(x: object, indices: object, axis: int | None = None) -> object:
    if axis is None:
        x, axis = tf.reshape(x, [-1]), 0
    return tf.gather(x, indices, axis=axis)


def flip(x: object, axis: int) -> object:
    return tf.reverse(x, [axis])


def repeat(x: object, repeats: int, axis: int) -> object:
    return tf.repeat(x, repeats, axis)


def average_pool(
    x: object, size: int, strides: int | None = None, padding: str = "valid"
) -> object:
    return tf.nn.avg_pool2d(x, size, strides or size, padding.upper())


def max_pool(
    x: object, size: int, strides: int | None = None, padding: str = "valid"
) -> object:
    return tf.nn.max_pool2d(x, size, strides or size, padding.upper())


def conv(x: object, kernel: object, strides: int = 1, padding: str = "valid") -> object:
    return tf.nn.conv2d(x, kernel, strides, padding.upper())


def depthwise_conv(
    x: object, kernel: object, strides: int = 1, padding: str = "valid"
) -> object:
    strides = (1, strides, strides, 1)
    return tf.nn.depthwise_conv2d(x, kernel, strides, padding.upper())


def cond(condition: object, yes: object, no: object) -> object:
    return tf.cond(condition, yes, no)


def fori_loop(start: int, stop: int, body: object, value: object) -> object:
    return tf.while_loop(
        lambda index, _: index < stop,
        lambda index, value: (index + 1, body(index, value)),
        (start, value),
    )[1]


def _resize(
    x: object,
    size: tuple,
    interpolation: str = "bilinear",
    antialias: bool = False,
) -> object:
    resized = tf.image.resize(x, size, interpolation, antialias=antialias)
    return tf.cast(resized, x.dtype)


image = types.SimpleNamespace(resize=_resize)
