"""TensorFlow Serving's JSON forms of requests and answers.

A request is `{"signature_name": ..., "instances": [...]}` (row form: one entry an
example) or `{..., "inputs": ...}` (column form: whole tensors). A signature with one
input takes its value bare, with several an object by input name. Binary strings are
`{"b64": "..."}`; in answers they are those whose name ends in `_bytes`.
"""

import base64
import json
import math
import re
import reprlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from serving.local_server.model import DEFAULT_SIGNATURE, LoadedModel, Signature
from serving.local_server.request_error import (
    RequestError,
    invalid_argument,
    unimplemented,
)

_DTYPES = {
    tf.float32, tf.float64, tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.uint32,
    tf.uint64, tf.bool, tf.string,
}  # fmt: skip
_KINDS = {"b": {bool}, "i": {int}, "u": {int}, "f": {int, float}, "O": {str, dict}}
"""The types of Python's JSON that are read as each of NumPy's kinds."""

_MAX_RANK = 64  # NumPy's; TensorFlow's is 254.
_JSON_NAMES = {
    type(None): "Null", dict: "Object", list: "Array", str: "String",
    int: "Number", float: "Number",
}  # fmt: skip


def parse_predict(
    body: bytes, model: LoadedModel
) -> tuple[Signature, dict[str, np.ndarray], bool]:
    """The signature, inputs and row form (or not) of a predict request's body.

    Raises:
        RequestError: INVALID_ARGUMENT, for anything that cannot be read; UNIMPLEMENTED
            for a dtype that has no JSON form.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid_argument(f"JSON Parse error: {error}") from error
    said = f"JSON Value: {_shown(document)}"
    if not isinstance(document, dict):
        raise invalid_argument(f"{said} Is not object")
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid_argument(
            f"{said} not formatted correctly. 'signature_name' key must be a string"
            " value."
        )
    signature = model.signature(name)
    if signature is None:
        raise invalid_argument(
            f'Serving signature name: "{name or DEFAULT_SIGNATURE}" not found in'
            " signature def"
        )
    if "instances" in document and "inputs" in document:
        raise invalid_argument(
            f"{said} Not formatted correctly expecting only one of 'inputs' or"
            " 'instances' keys to exist "
        )
    if "instances" in document:
        rows = document["instances"]
        if not isinstance(rows, list):
            raise invalid_argument(f"{said} Excepting 'instances' to be an list/array")
        if not rows:
            raise invalid_argument(f"{said} No values in 'instances' array")
        return signature, _read_rows(rows, signature), True
    if "inputs" in document:
        return signature, _read_columns(document["inputs"], signature), False
    raise invalid_argument("Missing 'inputs' or 'instances' key")


def format_predict(
    results: Mapping[str, np.ndarray], signature: Signature, row_form: bool
) -> dict:
    """The JSON object that answers a predict request.

    Raises:
        RequestError: INVALID_ARGUMENT, for row form when the outputs do not share
            their first dimension.
    """
    if row_form:
        _check_batch(results)
    columns = {
        name: _to_json(array, signature.outputs[name], as_bytes=name.endswith("_bytes"))
        for name, array in results.items()
    }
    if len(columns) == 1:
        key = "predictions" if row_form else "outputs"
        return {key: next(iter(columns.values()))}
    if not row_form:
        return {"outputs": columns}
    rows = zip(*columns.values(), strict=True)
    return {"predictions": [dict(zip(columns, row, strict=True)) for row in rows]}


# === Requests ===


def _read_rows(rows: list, signature: Signature) -> dict[str, np.ndarray]:
    if not isinstance(rows[0], dict) and len(signature.inputs) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple"
            " input tensors required as per tensorinfo_map"
        )
    named = _is_object(rows[0])
    columns: dict[str, list[np.ndarray]] = {alias: [] for alias in signature.inputs}
    for index, row in enumerate(rows):
        if _is_object(row) != named:
            kinds = ("object", "list") if named else ("value/list", "object")
            raise invalid_argument(
                f"Expecting {kinds[0]} but got {kinds[1]} at item {index} of input list"
            )
        items = row if named else {next(iter(columns)): row}
        for alias, value in items.items():
            try:
                _add_row(columns, alias, value, signature)
            except RequestError as error:
                key = f" key: {alias}" if named else ""
                raise RequestError(
                    error.code,
                    f"Failed to process element: {index}{key} of 'instances' list."
                    f" Error: {error.code.name}: {error.message}",
                ) from error
        if items.keys() != columns.keys():
            raise invalid_argument(
                f"Failed to process element: {index} of 'instances' list. JSON object:"
                f" {_shown(row)} keys must be equal to: {','.join(columns)}"
            )
    return {alias: np.stack(arrays) for alias, arrays in columns.items()}


def _add_row(
    columns: dict[str, list[np.ndarray]], alias: str, value: object, of: Signature
) -> None:
    if alias not in columns:
        raise invalid_argument(f"JSON object: does not have named input: {alias}")
    array, before = _to_array(value, of.inputs[alias], alias), columns[alias]
    if before and before[0].size != array.size:
        raise invalid_argument(
            f"Expecting tensor size: {before[0].size} but got: {array.size}"
        )
    if before and before[0].shape != array.shape:
        wanted, got = (",".join(map(str, one.shape)) for one in (before[0], array))
        raise invalid_argument(f"Expecting shape [{wanted}] but got: [{got}]")
    before.append(array)


def _read_columns(inputs: object, signature: Signature) -> dict[str, np.ndarray]:
    if not _is_object(inputs):
        if len(signature.inputs) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple"
                " input tensors required as per tensorinfo_map"
            )
        inputs = {next(iter(signature.inputs)): inputs}
    for alias in signature.inputs:
        if alias not in inputs:
            raise invalid_argument(f"Missing named input: {alias} in 'inputs' object.")
    # What is extra is ignored, as TensorFlow Serving does in this form.
    return {
        alias: _to_array(inputs[alias], dtype, alias)
        for alias, dtype in signature.inputs.items()
    }


def _to_array(value: object, dtype: tf.DType, alias: str) -> np.ndarray:
    """A tensor; RequestError for a value that TensorFlow Serving does not read."""
    if dtype not in _DTYPES:
        raise unimplemented(
            f"Conversion of JSON Value: {_shown(value)} to type: {_name(dtype)}"
        )
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    if len(shape) > _MAX_RANK:
        raise invalid_argument(f"tensor parsing error: {alias}")
    leaves: list = []
    _collect(value, shape, 0, leaves)
    wanted = np.dtype(dtype.as_numpy_dtype)
    kinds = _KINDS[wanted.kind]
    if not kinds.issuperset(map(type, leaves)):
        wrong = next(leaf for leaf in leaves if type(leaf) not in kinds)
        raise _type_error(wrong, dtype)
    if dtype == tf.string:
        leaves = [_read_string(leaf) for leaf in leaves]
    elif wanted.kind in "iu" and leaves:
        # int_val is 32 bits wide; what does not fit the dtype is cut off there.
        limits = np.iinfo(np.int32 if wanted.itemsize < 4 else wanted)
        for leaf in (min(leaves), max(leaves)):
            if not limits.min <= leaf <= limits.max:
                raise _type_error(leaf, dtype)
    elif wanted.kind == "f":
        _check_exact(leaves, dtype)
    wide = {"i": np.int64, "u": np.uint64 if dtype == tf.uint64 else np.int64}
    array = np.array(leaves, wide.get(wanted.kind, wanted))
    return array.astype(wanted).reshape(shape)


def _collect(value: object, shape: list[int], level: int, leaves: list) -> None:
    """Adds all values of nested lists, which must be as long as `shape` says."""
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid_argument(
                f"JSON Value: {_shown(value)} found at incorrect level: {level + 1} in"
                f" the JSON DOM. Expected at level: {len(shape)}"
            )
        leaves.append(value)
        return
    if level >= len(shape):
        raise invalid_argument(
            f"Encountered list at unexpected level: {level} expected < {len(shape)}"
        )
    if len(value) != shape[level]:
        raise invalid_argument(
            f"Encountered list at unexpected size: {len(value)} at level: {level}"
            f" expected size: {shape[level]}"
        )
    for item in value:
        _collect(item, shape, level + 1, leaves)


def _check_exact(leaves: list[int | float], dtype: tf.DType) -> None:
    """Refuses whole numbers that the dtype cannot tell apart, and too large ones."""
    info = np.finfo(dtype.as_numpy_dtype)
    limits = {int: 2 ** (info.nmant + 1) - 1, float: float(info.max)}
    for leaf in leaves:
        if limits[type(leaf)] < abs(leaf) < math.inf:
            raise invalid_argument(
                f"Cannot convert JSON value: {_shown(leaf)} to {_name(dtype)} without"
                " loss of precision."
            )


def _read_string(item: str | dict) -> bytes:
    """Base64 as `absl::Base64Unescape`: white space anywhere, padding optional."""
    if isinstance(item, str):
        try:
            return item.encode()
        except UnicodeEncodeError as error:
            raise invalid_argument(
                "JSON Parse error: The surrogate pair in string is invalid."
            ) from error
    if _is_object(item):
        raise invalid_argument(
            f"JSON Value: {_shown(item)} not formatted correctly for base64 data"
        )
    text = re.sub(r"\s", "", item["b64"]).rstrip("=.")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise invalid_argument("Unable to base64 decode") from error


# === Answers ===


def _to_json(array: np.ndarray, dtype: tf.DType, *, as_bytes: bool) -> object:
    if dtype not in _DTYPES:
        raise invalid_argument(
            f"Failed to write JSON value for tensor type: {_name(dtype)}"
        )
    if dtype == tf.float32:
        # The shortest text that reads as the same float32, not as its float64.
        array = np.asarray(array).astype(str).astype(np.float64)
    if dtype == tf.string:
        write = np.frompyfunc(_as_base64 if as_bytes else _as_text, 1, 1)
        array = write(np.asarray(array, object))
    return np.asarray(array).tolist()


def _as_base64(item: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(item).decode()}


def _as_text(item: bytes) -> str:
    return item.decode("utf-8", "replace")


def _check_batch(results: Mapping[str, np.ndarray]) -> None:
    batch = None
    for name, array in results.items():
        if not np.ndim(array):
            raise invalid_argument(f"Tensor name: {name} has no shape information ")
        if batch not in (None, len(array)):
            raise invalid_argument(
                f"Tensor name: {name} has inconsistent batch size: {len(array)}"
                f" expecting: {batch}"
            )
        batch = len(array)


# === Values ===


def _is_object(value: object) -> bool:
    """Whether it is an object, but none that stands for a binary string."""
    if not isinstance(value, dict):
        return False
    return list(value) != ["b64"] or not isinstance(value["b64"], str)


def _type_error(value: object, dtype: tf.DType) -> RequestError:
    kind = str(value) if isinstance(value, bool) else _JSON_NAMES[type(value)]
    return invalid_argument(
        f"JSON Value: {_shown(value)} Type: {kind} is not of expected type:"
        f" {_name(dtype)}"
    )


def _name(dtype: tf.DType) -> str:
    return {tf.float32: "float", tf.float64: "double"}.get(dtype, dtype.name)


# Bounded in length and in depth, whatever was sent.
_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxlist, _REPR.maxdict = 3, 3, 4
_shown = _REPR.repr
