"""TensorFlow Serving's messages, as far as a client needs them; TensorFlow is not.

Fields have the names, numbers and types of `tensorflow_serving/apis` and
`tensorflow/core`, or types that are the same on the wire: `int32` for an enumeration,
`bytes` for packed numbers, which NumPy reads a hundred times faster than protobuf. What
is left out here is skipped when it is read.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.messages import build_messages

PREDICT = "/tensorflow.serving.PredictionService/Predict"
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"

DTYPES = {
    **{1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8"},
    **{7: "string", 8: "complex64", 9: "int64", 10: "bool", 14: "bfloat16"},
    **{17: "uint16", 18: "complex128", 19: "float16", 20: "resource", 21: "variant"},
    **{22: "uint32", 23: "uint64"},
}
"""Names of TensorFlow's `DataType`."""

STATES = {
    **{0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING"},
    50: "END",
}
"""Names of `ModelVersionStatus.State`."""

_MESSAGES = """
Int64Value: 1 int64 value
Any: 1 string type_url, 2 bytes value
Dim: 1 int64 size
TensorShapeProto: 2 repeated Dim dim, 3 bool unknown_rank
TensorProto: 1 int32 dtype, 2 TensorShapeProto tensor_shape, 4 bytes tensor_content,
    5 bytes float_val, 7 bytes int_val, 8 repeated bytes string_val
TensorInfo: 2 int32 dtype, 3 TensorShapeProto tensor_shape
SignatureDef: 1 map TensorInfo inputs, 2 map TensorInfo outputs
SignatureDefMap: 1 map SignatureDef signature_def
ModelSpec: 1 string name, 2 Int64Value version, 3 string signature_name,
    4 string version_label
PredictRequest: 1 ModelSpec model_spec, 2 map TensorProto inputs,
    3 repeated string output_filter
PredictResponse: 1 map TensorProto outputs
GetModelMetadataRequest: 1 ModelSpec model_spec, 2 repeated string metadata_field
GetModelMetadataResponse: 1 ModelSpec model_spec, 2 map Any metadata
StatusProto: 2 string error_message
ModelVersionStatus: 1 int64 version, 2 int32 state, 3 StatusProto status
GetModelStatusRequest: 1 ModelSpec model_spec
GetModelStatusResponse: 1 repeated ModelVersionStatus model_version_status
"""

_VALUES = {
    "float32": "float_val",
    "int32": "int_val",
    "string": "string_val",
    "uint8": "int_val",
}


MESSAGES = build_messages(_MESSAGES)
"""The classes, by name."""


def encode_tensor(value: np.ndarray | list[bytes]) -> Any:
    """A `TensorProto` of a `uint8` or `float32` array, or of strings `[B]`."""
    is_array = isinstance(value, np.ndarray)
    dtype = value.dtype.name if is_array else "string"
    number = next(key for key, name in DTYPES.items() if name == dtype)
    proto = MESSAGES["TensorProto"](dtype=number)
    for size in value.shape if is_array else (len(value),):
        proto.tensor_shape.dim.add(size=size)
    if is_array:
        proto.tensor_content = value.tobytes()
    else:
        proto.string_val.extend(value)
    return proto


def decode_tensor(
    proto: Any, dtype: str, shape: Sequence[int | range]
) -> np.ndarray | list[bytes]:
    """The value of a `TensorProto`, in either form; of strings `[B]` a list.

    Nothing is allocated before the size is known to be right.

    Args:
        proto: The tensor.
        dtype: The expected dtype: `float32`, `int32`, `string` or `uint8`.
        shape: The expected sizes, each a number or a range.

    Raises:
        ValueError: It is another tensor, or says two things of its size.
    """
    found, sizes = describe_tensor(proto)
    ranges = [one if isinstance(one, range) else [one] for one in shape]
    if (
        (found, len(sizes or ())) != (dtype, len(shape))
        or sizes is None
        or not all(size in one for size, one in zip(sizes, ranges, strict=True))
    ):
        raise ValueError(f"{found} of shape {sizes and list(sizes)}")
    count = math.prod(sizes)
    content, values = proto.tensor_content, getattr(proto, _VALUES[dtype])
    if dtype == "string":
        values = _split_strings(content, count) if content else list(values)
    elif content:
        if len(content) != count * np.dtype(dtype).itemsize:
            raise ValueError(f"{len(content)} bytes for {dtype} of shape {list(sizes)}")
        return np.frombuffer(content, dtype).reshape(sizes)
    else:
        values = _unpack(values, dtype)
    if len(values) > count:
        raise ValueError(f"{len(values)} values for {dtype} of shape {list(sizes)}")
    # The last of them stands for all that are not written; without any, nothing does.
    missing = count - len(values)
    if dtype == "string":
        return values + [values[-1] if values else b""] * missing
    if missing and not len(values):
        return np.zeros(sizes, dtype)
    return np.pad(values, (0, missing), "edge").reshape(sizes)


def describe_tensor(info: Any) -> tuple[str, tuple[int | None, ...] | None]:
    """Dtype name, and sizes (None: any) or None for any rank."""
    dtype = DTYPES.get(info.dtype, f"dtype {info.dtype}")
    if info.tensor_shape.unknown_rank:
        return dtype, None
    sizes = (dim.size for dim in info.tensor_shape.dim)
    return dtype, tuple(None if size < 0 else size for size in sizes)


def _unpack(packed: bytes, dtype: str) -> np.ndarray:
    """The numbers of a packed field; ValueError if they are of another dtype."""
    if dtype == "int32":
        values, at = [], 0
        while at < len(packed):
            value, at = _read_varint(packed, at)
            values.append(value & 0xFFFFFFFF)
        return np.array(values, np.uint32).view(np.int32)
    if dtype == "float32":
        return np.frombuffer(packed, "<f4")
    parts = np.frombuffer(packed, np.uint8)
    is_second = np.concatenate([[False], parts >= 0x80])
    # A number from 128 on has a second byte, 1; the first one is the number itself.
    if is_second[-1] or (parts[is_second[:-1]] != 1).any():
        raise ValueError("numbers that are not of 8 bits")
    return parts[~is_second[:-1]]


def _split_strings(content: bytes, count: int) -> list[bytes]:
    """Strings as TensorFlow writes them into one: all lengths as varints, then all.

    Source: tensorflow/core/platform/tensor_coding.cc, `EncodeStringList`.
    """
    lengths, at = [], 0
    for _ in range(count):
        length, at = _read_varint(content, at)
        lengths.append(length)
    ends = list(itertools.accumulate(lengths, initial=at))
    if ends[-1] != len(content):
        raise ValueError(f"{len(content)} bytes that are not {count} strings")
    return [content[start:end] for start, end in itertools.pairwise(ends)]


def _read_varint(content: bytes, at: int) -> tuple[int, int]:
    """A number, and where the next one starts."""
    value = 0
    for shift, byte in enumerate(content[at : at + 10]):
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value, at + shift + 1
    raise ValueError(f"a number without an end in {len(content)} bytes")
