"""`TensorProto` to numpy and back, as TensorFlow's own reader and encoders do it.

A tensor travels as raw bytes (`tensor_content`) or in the typed field of
its dtype (`int_val`, `float_val`, ...), where a list that is too short stands for its
last value repeated. The content of strings is their lengths, as varints, then their
bytes. Strings are numpy arrays of `bytes` with dtype object.
"""

import math

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from serving.local_server.request_error import RequestError, invalid_argument

MAX_REPEATED_BYTES = 2**26
"""A repeated value may fill a photo of 4096 x 4096 bytes a channel, not much more: a
request of 100 bytes must not be able to ask for a terabyte."""

_TYPED_FIELDS = {
    **dict.fromkeys((tf.uint8, tf.int8, tf.uint16, tf.int16, tf.int32), "int_val"),
    **{tf.int64: "int64_val", tf.uint32: "uint32_val", tf.uint64: "uint64_val"},
    **{tf.float16: "half_val", tf.float32: "float_val", tf.float64: "double_val"},
    **{tf.bool: "bool_val", tf.string: "string_val"},
}


def decode(proto: tensor_pb2.TensorProto, alias: str) -> np.ndarray:
    """The values of a tensor, as an array of its shape and dtype, perhaps read-only.

    Raises:
        RequestError: INVALID_ARGUMENT, naming `alias`, when content and declaration
            disagree, or the dtype has no typed field.
    """
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    try:
        dtype = tf.as_dtype(proto.dtype)
    except TypeError:
        raise _parsing_error(alias) from None
    known = not proto.tensor_shape.unknown_rank and min(shape, default=0) >= 0
    if not known or dtype not in _TYPED_FIELDS:
        raise _parsing_error(alias)
    numpy_dtype = np.dtype(dtype.as_numpy_dtype)
    size = math.prod(shape) * numpy_dtype.itemsize
    has_numbers = bool(proto.tensor_content) and dtype != tf.string
    if not has_numbers and size > max(MAX_REPEATED_BYTES, 8 * proto.ByteSize()):
        raise _parsing_error(alias)
    try:
        if has_numbers:
            return np.frombuffer(proto.tensor_content, numpy_dtype).reshape(shape)
        with tf.device("CPU"):
            values = tf.io.parse_tensor(proto.SerializeToString(), dtype).numpy()
        return np.asarray(values, numpy_dtype)
    except (tf.errors.OpError, ValueError) as error:
        raise _parsing_error(alias) from error


def encode(
    array: np.ndarray, dtype: tf.DType, *, as_content: bool
) -> tensor_pb2.TensorProto:
    """A tensor to send: raw bytes, or typed fields, TensorFlow Serving's default."""
    array = np.asarray(array, object if dtype == tf.string else None)
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    flat = array.ravel()
    if as_content and dtype == tf.string:
        lengths = b"".join(_varint(len(item)) for item in flat)
        proto.tensor_content = lengths + b"".join(flat)
    elif as_content:
        proto.tensor_content = array.tobytes()
    else:
        values = flat.view(np.uint16) if dtype == tf.float16 else flat
        getattr(proto, _TYPED_FIELDS[dtype]).extend(values.tolist())
    return proto


def _varint(value: int) -> bytes:
    """Seven bits a byte, lowest first, the top bit set on all but the last."""
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _parsing_error(alias: str) -> RequestError:
    return invalid_argument(f"tensor parsing error: {alias}")
