"""`TensorProto` to numpy and back.

Conventions: a tensor travels either as raw bytes (`tensor_content`, little-endian)
or in the typed field of its dtype (`int_val`, `float_val`, ...), where a list that is
too short stands for its last value repeated. Strings are numpy arrays of `bytes` with
dtype object. Every size is checked before memory is taken: a request of 100 bytes
must not be able to ask for a terabyte.
"""

import math

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from serving.local_server.request_error import invalid_argument

MAX_REPEATED_BYTES = 2**26
"""A repeated value may fill a photo of 4096 x 4096 bytes a channel, not much more."""

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


def dtype_of(proto: tensor_pb2.TensorProto) -> tf.DType | None:
    """The dtype a tensor declares; None where the number is none of TensorFlow's."""
    try:
        return tf.as_dtype(proto.dtype)
    except TypeError:
        return None


def shape_of(proto: tensor_pb2.TensorProto, alias: str) -> tuple[int, ...]:
    """The shape a tensor declares.

    Raises:
        RequestError: INVALID_ARGUMENT, for an unknown rank or a negative size.
    """
    sizes = tuple(dim.size for dim in proto.tensor_shape.dim)
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in sizes):
        raise invalid_argument(
            f"tensor parsing error: {alias}: its shape must be fully known"
        )
    return sizes


def decode(proto: tensor_pb2.TensorProto, alias: str) -> np.ndarray:
    """The values of a tensor.

    Args:
        proto: A tensor of any dtype that has a typed field.
        alias: The name of the input, for messages.

    Returns:
        An array of the declared shape and dtype, possibly read-only.

    Raises:
        RequestError: INVALID_ARGUMENT, when content and declaration disagree.
    """
    dtype = dtype_of(proto)
    shape = shape_of(proto, alias)
    field = _TYPED_FIELDS.get(dtype)
    if field is None:
        raise invalid_argument(f"tensor parsing error: {alias}: dtype is unsupported")
    count = math.prod(shape)
    try:
        if proto.tensor_content:
            return _decode_content(proto.tensor_content, dtype, count).reshape(shape)
        return _decode_typed(getattr(proto, field), dtype, count).reshape(shape)
    except (ValueError, OverflowError) as error:
        raise invalid_argument(f"tensor parsing error: {alias}: {error}") from error


def _decode_content(content: bytes, dtype: tf.DType, count: int) -> np.ndarray:
    if dtype == tf.string:
        raise ValueError("strings are expected in string_val, not in tensor_content")
    expected = count * dtype.size
    if len(content) != expected:
        raise ValueError(
            f"tensor_content has {len(content)} bytes, its shape needs {expected}"
        )
    return np.frombuffer(content, dtype.as_numpy_dtype)


def _decode_typed(values, dtype: tf.DType, count: int) -> np.ndarray:  # noqa: ANN001
    if len(values) > count:
        raise ValueError(f"{len(values)} values are sent, its shape needs {count}")
    size = count * np.dtype(dtype.as_numpy_dtype).itemsize
    if len(values) < count and size > MAX_REPEATED_BYTES:
        raise ValueError(f"{len(values)} values are sent, its shape needs {count}")
    if dtype == tf.string:
        array = np.empty(count, object)
        array[: len(values)] = list(values)
        array[len(values) :] = values[-1] if values else b""
        return array
    if dtype == tf.float16:
        given = np.array(list(values), np.uint16).view(np.float16)
    elif _field_is_wider(dtype):
        # As TensorFlow does: an int_val of 256 is a uint8 of 0.
        given = np.array(list(values), np.int64).astype(dtype.as_numpy_dtype)
    else:
        given = np.array(list(values), dtype.as_numpy_dtype)
    if len(given) == count:
        return given
    array = np.full(count, given[-1] if len(given) else 0, dtype.as_numpy_dtype)
    array[: len(given)] = given
    return array


def _field_is_wider(dtype: tf.DType) -> bool:
    """Whether the typed field of `dtype` can hold numbers that `dtype` cannot."""
    return _TYPED_FIELDS[dtype] == "int_val" and dtype != tf.int32


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
        as_content: Raw bytes, which numpy writes and reads at memory speed; False
            for typed fields, TensorFlow Serving's default. Strings are always typed.
        into: An empty tensor to fill; None for a new one.
    """
    array = np.asarray(array, object if dtype == tf.string else None)
    proto = tensor_pb2.TensorProto() if into is None else into
    proto.dtype = dtype.as_datatype_enum
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if as_content and dtype != tf.string:
        proto.tensor_content = array.tobytes()
        return proto
    flat = array.ravel()
    field = tensor_pb2.TensorProto.DESCRIPTOR.fields_by_name[_TYPED_FIELDS[dtype]]
    if dtype == tf.string:
        proto.string_val.extend(flat.tolist())
    elif flat.size:
        proto.MergeFromString(_pack(flat, field.number))
    return proto


def _pack(flat: np.ndarray, number: int) -> bytes:
    """A packed repeated field on the wire; a list of Python's would take 50 times as
    long.
    """
    if flat.dtype in (np.float32, np.float64):
        content = flat.astype(flat.dtype.newbyteorder("<")).tobytes()
    elif flat.dtype == np.float16:
        content = _varints(flat.view(np.uint16).astype(np.uint64))
    else:
        # Negative numbers travel as 64 bits, whatever their field's width.
        wide = np.uint64 if flat.dtype == np.uint64 else np.int64
        content = _varints(flat.astype(wide).view(np.uint64))
    key = np.array([number << 3 | 2, len(content)], np.uint64)
    return _varints(key) + content


def _varints(values: np.ndarray) -> bytes:
    """Seven bits a byte, lowest first, the top bit set on all but the last."""
    lengths = np.ones(len(values), np.int64)
    for count in range(1, 10):
        lengths += values >= np.uint64(1 << 7 * count)
    ends = np.cumsum(lengths)
    content = np.empty(ends[-1], np.uint8)
    starts = ends - lengths
    for count in range(lengths.max()):
        there = lengths > count
        part = values[there] >> np.uint64(7 * count) & np.uint64(0x7F)
        more = (lengths[there] > count + 1).astype(np.uint64) << np.uint64(7)
        content[starts[there] + count] = part | more
    return content.tobytes()
