"""`TensorProto` to numpy and back, as TensorFlow's own reader and encoders do it.

Conventions: a tensor travels as raw bytes (`tensor_content`) or in the typed field of
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
    tf.uint8: "int_val",
    tf.int8: "int_val",
    tf.uint16: "int_val",
    tf.int16: "int_val",
    tf.int32: "int_val",
    tf.int64: "int64_val",
    tf.uint32: "uint32_val",
    tf.uint64: "uint64_val",
    tf.float16: "half_val",
    tf.float32: "float_val",
    tf.float64: "double_val",
    tf.bool: "bool_val",
    tf.string: "string_val",
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
    array: np.ndarray,
    dtype: tf.DType,
    *,
    as_content: bool,
    into: tensor_pb2.TensorProto | None = None,
) -> tensor_pb2.TensorProto:
    """A tensor to send.

    Args:
        array: Values of any shape; `bytes` objects for strings.
        dtype: Their TensorFlow dtype.
        as_content: Raw bytes; False for typed fields, TensorFlow Serving's default.
        into: An empty tensor to fill; None for a new one.
    """
    array = np.asarray(array, object if dtype == tf.string else None)
    proto = tensor_pb2.TensorProto() if into is None else into
    proto.dtype = dtype.as_datatype_enum
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    flat = array.ravel()
    if not flat.size:
        return proto
    if as_content and dtype == tf.string:
        lengths = np.array([len(item) for item in flat], np.uint64)
        proto.tensor_content = _varints(lengths) + b"".join(flat)
    elif as_content:
        proto.tensor_content = array.tobytes()
    elif dtype == tf.string:
        proto.string_val.extend(flat.tolist())
    else:
        fields = tensor_pb2.TensorProto.DESCRIPTOR.fields_by_name
        proto.MergeFromString(_pack(flat, fields[_TYPED_FIELDS[dtype]].number))
    return proto


def _pack(flat: np.ndarray, number: int) -> bytes:
    """A packed repeated field; a list of Python's numbers takes 50 times longer."""
    if flat.dtype in (np.float32, np.float64):
        content = flat.astype(flat.dtype.newbyteorder("<")).tobytes()
    elif flat.dtype == np.float16:
        content = _varints(flat.view(np.uint16).astype(np.uint64))
    else:
        # Negative numbers travel as 64 bits, whatever their field's width.
        wide = np.uint64 if flat.dtype == np.uint64 else np.int64
        content = _varints(flat.astype(wide).view(np.uint64))
    return _varints(np.array([number << 3 | 2, len(content)], np.uint64)) + content


def _varints(values: np.ndarray) -> bytes:
    """Seven bits a byte, lowest first, the top bit set on all but the last."""
    lengths = np.ones(len(values), np.int64)
    for count in range(1, 10):
        lengths += values >= np.uint64(1 << 7 * count)
    ends = np.cumsum(lengths)
    content = np.empty(ends[-1], np.uint8)
    for count in range(lengths.max()):
        there = lengths > count
        part = values[there] >> np.uint64(7 * count) & np.uint64(0x7F)
        more = (lengths[there] > count + 1).astype(np.uint64) << np.uint64(7)
        content[(ends - lengths)[there] + count] = part | more
    return content.tobytes()


def _parsing_error(alias: str) -> RequestError:
    return invalid_argument(f"tensor parsing error: {alias}")
