"""TensorFlow Serving's JSON forms of requests and answers.

A request is `{"signature_name": ..., "instances": [...]}` (row form: one
entry an example) or `{..., "inputs": ...}` (column form: whole tensors). A signature
with one input takes its value bare, with several an object by input name. Binary
strings are `{"b64": "..."}`; in answers they are those whose name ends in `_bytes`.
"""

import base64
import json
import re
import reprlib
from collections.abc import Callable, Mapping

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
_UNEVEN = "Encountered list at unexpected size: nested lists must be equally long"


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
    if not isinstance(document, dict):
        raise invalid_argument(f"JSON Value: {_shown(document)} Is not object")
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid_argument(
            f"JSON Value: {_shown(document)} not formatted correctly. 'signature_name'"
            " key must be a string value."
        )
    signature = model.signature(name)
    if signature is None:
        raise invalid_argument(
            f'Serving signature name: "{name or DEFAULT_SIGNATURE}" not found in'
            " signature def"
        )
    if "instances" in document and "inputs" in document:
        raise invalid_argument(
            f"JSON Value: {_shown(document)} Not formatted correctly expecting only one"
            " of 'inputs' or 'instances' keys to exist "
        )
    if "instances" in document:
        return signature, _read_rows(document["instances"], signature), True
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


def _read_rows(rows: object, signature: Signature) -> dict[str, np.ndarray]:
    if not isinstance(rows, list):
        raise invalid_argument("Excepting 'instances' to be an list/array")
    if not rows:
        raise invalid_argument("No values in 'instances' array")
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
        for alias in items.keys() & columns.keys():
            try:
                array = _to_array(items[alias], signature.inputs[alias])
                _check_shape(columns[alias], array)
            except RequestError as error:
                key = f" key: {alias}" if named else ""
                raise RequestError(
                    error.code,
                    f"Failed to process element: {index}{key} of 'instances' list."
                    f" Error: {error.code.name}: {error.message}",
                ) from error
            columns[alias].append(array)
        if items.keys() != columns.keys():
            raise invalid_argument(
                f"Failed to process element: {index} of 'instances' list. JSON object:"
                f" {_shown(row)} keys must be equal to: {','.join(columns)}"
            )
    return {alias: np.stack(arrays) for alias, arrays in columns.items()}


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
        alias: _to_array(inputs[alias], dtype)
        for alias, dtype in signature.inputs.items()
    }


def _check_shape(before: list[np.ndarray], array: np.ndarray) -> None:
    if not before or before[0].shape == array.shape:
        return
    size, shape = before[0].size, ",".join(map(str, before[0].shape))
    if size != array.size:
        raise invalid_argument(f"Expecting tensor size: {size} but got: {array.size}")
    got = ",".join(map(str, array.shape))
    raise invalid_argument(f"Expecting shape [{shape}] but got: [{got}]")


def _to_array(value: object, dtype: tf.DType) -> np.ndarray:
    if dtype not in _DTYPES:
        raise unimplemented(
            f"Conversion of JSON Value: {_shown(value)} to type: {dtype.name}"
        )
    try:
        if dtype == tf.string:
            array = np.array(_map_leaves(_read_string, value), object)
        else:
            array = np.array(value)
    except (ValueError, OverflowError, RecursionError) as error:
        raise invalid_argument(_UNEVEN) from error
    if dtype == tf.string:
        if not all(isinstance(item, bytes) for item in array.flat):
            raise invalid_argument(_UNEVEN)
        return array
    wanted = np.dtype(dtype.as_numpy_dtype)
    kinds = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}[wanted.kind]
    if array.size and array.dtype.kind not in kinds:
        raise _type_error(value, dtype)
    if wanted.kind in "iu" and array.size:
        # int_val is 32 bits wide; what does not fit the dtype is cut off there.
        wide = np.int32 if wanted.itemsize < 4 else wanted
        limits = np.iinfo(wide)
        if int(array.min()) < limits.min or int(array.max()) > limits.max:
            raise _type_error(value, dtype)
    return array.astype(wanted)


def _read_string(item: object) -> bytes:
    """Base64 as `absl::Base64Unescape`: white space anywhere, padding optional."""
    if isinstance(item, str):
        return item.encode()
    if not isinstance(item, dict):
        raise _type_error(item, tf.string)
    if _is_object(item):
        raise invalid_argument(
            f"JSON Value: {_shown(item)} not formatted correctly for base64 data"
        )
    text = re.sub(r"\s", "", item["b64"]).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise invalid_argument("Unable to base64 decode") from error


def _to_json(array: np.ndarray, dtype: tf.DType, *, as_bytes: bool) -> object:
    def write(item: bytes) -> object:
        if as_bytes:
            return {"b64": base64.b64encode(item).decode("ascii")}
        return item.decode("utf-8", "replace")

    if dtype not in _DTYPES:
        raise invalid_argument(
            f"Failed to write JSON value for tensor type: {dtype.name}"
        )
    if dtype == tf.float32:
        # The shortest text that reads as the same float32, not as its float64.
        array = np.asarray(array).astype(str).astype(np.float64)
    if dtype != tf.string:
        return np.asarray(array).tolist()
    return _map_leaves(write, np.asarray(array, object).tolist())


def _map_leaves(function: Callable[[object], object], value: object) -> object:
    if isinstance(value, list):
        return [_map_leaves(function, item) for item in value]
    return function(value)


def _check_batch(results: Mapping[str, np.ndarray]) -> None:
    batch = None
    for name, array in results.items():
        what, size = f"Tensor name: {name} has", len(array) if np.ndim(array) else None
        if size is None:
            raise invalid_argument(f"{what} no shape information ")
        if size < 1:
            raise invalid_argument(f"{what} invalid batch size: {size}")
        if batch not in (None, size):
            raise invalid_argument(
                f"{what} inconsistent batch size: {size} expecting: {batch}"
            )
        batch = size


def _is_object(value: object) -> bool:
    """Whether it is an object, but none that stands for a binary string."""
    if not isinstance(value, dict):
        return False
    return list(value) != ["b64"] or not isinstance(value["b64"], str)


def _type_error(value: object, dtype: tf.DType) -> RequestError:
    return invalid_argument(
        f"JSON Value: {_shown(value)} is not of expected type: {dtype.name}"
    )


def _shown(value: object) -> str:
    # Bounded in length and in depth, whatever was sent.
    return reprlib.repr(value)
