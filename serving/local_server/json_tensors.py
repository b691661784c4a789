"""TensorFlow Serving's JSON forms of requests and answers.

Conventions: a request is `{"signature_name": ..., "instances": [...]}` (row form: one
entry an example) or `{..., "inputs": ...}` (column form: whole tensors). A signature
with one input takes its value bare, with several an object by input name. Binary
strings are `{"b64": "..."}`; in answers they are those whose name ends in `_bytes`.
"""

import base64
import binascii
import json
import reprlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from serving.local_server.model import DEFAULT_SIGNATURE, LoadedModel, Signature
from serving.local_server.request_error import invalid_argument


def parse_predict(
    body: bytes, model: LoadedModel
) -> tuple[Signature, dict[str, np.ndarray], bool]:
    """Reads the body of a predict request.

    Returns:
        The signature, its inputs as arrays of its dtypes, and whether the request is
        in row form.

    Raises:
        RequestError: INVALID_ARGUMENT, for anything that cannot be read.
    """
    document = _parse_object(body)
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid_argument("'signature_name' key must be a string value.")
    signature = model.signature(name)
    if signature is None:
        raise invalid_argument(
            f'Serving signature name: "{name or DEFAULT_SIGNATURE}" not found in'
            " signature def"
        )
    if "instances" in document and "inputs" in document:
        raise invalid_argument(
            "Not formatted correctly expecting only one of 'inputs' or 'instances'"
            " keys to exist"
        )
    if "instances" in document:
        columns = _rows_to_columns(document["instances"], signature)
    elif "inputs" in document:
        columns = _inputs_to_columns(document["inputs"], signature)
    else:
        raise invalid_argument("Missing 'inputs' or 'instances' key")
    arrays = {
        alias: _to_array(value, signature.inputs[alias].dtype, alias)
        for alias, value in columns.items()
    }
    return signature, arrays, "instances" in document


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
        name: _to_json(
            array,
            signature.outputs[name].dtype == tf.string,
            as_bytes=name.endswith("_bytes"),
        )
        for name, array in results.items()
    }
    if len(columns) == 1:
        key = "predictions" if row_form else "outputs"
        return {key: next(iter(columns.values()))}
    if not row_form:
        return {"outputs": columns}
    rows = zip(*columns.values(), strict=True)
    return {"predictions": [dict(zip(columns, row, strict=True)) for row in rows]}


def _parse_object(body: bytes) -> dict:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid_argument(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise invalid_argument(f"JSON Value: {_shown(document)} Is not object")
    return document


def _rows_to_columns(rows: object, signature: Signature) -> dict[str, list]:
    if not isinstance(rows, list):
        raise invalid_argument("Excepting 'instances' to be an list/array")
    if not rows:
        raise invalid_argument("No values in 'instances' array")
    named = isinstance(rows[0], dict) and not _is_base64(rows[0])
    if not named and len(signature.inputs) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple"
            " input tensors required as per tensorinfo_map"
        )
    for index, row in enumerate(rows):
        is_named = isinstance(row, dict) and not _is_base64(row)
        if is_named != named:
            raise invalid_argument(
                f"Expecting {'object' if named else 'value/list'} but got"
                f" {'object' if is_named else 'value/list'} at item {index} of input"
                " list"
            )
        if named and set(row) != set(signature.inputs):
            raise invalid_argument(
                f"Failed to process element: {index} of 'instances' list. JSON object:"
                f" {_shown(row)} keys must be equal to: {','.join(signature.inputs)}"
            )
    if not named:
        return {next(iter(signature.inputs)): rows}
    return {alias: [row[alias] for row in rows] for alias in signature.inputs}


def _inputs_to_columns(inputs: object, signature: Signature) -> dict[str, object]:
    if not isinstance(inputs, dict) or _is_base64(inputs):
        if len(signature.inputs) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple"
                " input tensors required as per tensorinfo_map"
            )
        return {next(iter(signature.inputs)): inputs}
    for alias in signature.inputs:
        if alias not in inputs:
            raise invalid_argument(f"Missing named input: {alias} in 'inputs' object.")
    # What is extra is ignored, as TensorFlow Serving does in this form.
    return {alias: inputs[alias] for alias in signature.inputs}


def _to_array(value: object, dtype: tf.DType, alias: str) -> np.ndarray:
    if dtype == tf.string:
        return _strings_to_array(value, alias)
    try:
        array = np.array(value)
    except (ValueError, OverflowError) as error:
        raise invalid_argument(
            f"input {alias!r}: Encountered list at unexpected size: its nested lists"
            " must be equally long"
        ) from error
    wanted = np.dtype(dtype.as_numpy_dtype)
    kinds = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}.get(wanted.kind, "")
    if array.size and array.dtype.kind not in kinds:
        raise _type_error(value, dtype, alias)
    if wanted.kind in "iu" and array.size:
        limits = np.iinfo(wanted)
        if int(array.min()) < limits.min or int(array.max()) > limits.max:
            raise invalid_argument(
                f"input {alias!r}: values from {array.min()} to {array.max()} are not"
                f" of expected type: {dtype.name}"
            )
    return array.astype(wanted)


def _strings_to_array(value: object, alias: str) -> np.ndarray:
    def convert(item: object) -> object:
        if isinstance(item, list):
            return [convert(child) for child in item]
        if isinstance(item, str):
            return item.encode()
        if _is_base64(item):
            try:
                return base64.b64decode(item["b64"], validate=True)
            except (binascii.Error, ValueError) as error:
                raise invalid_argument(
                    f"input {alias!r}: Unable to base64 decode: {error}"
                ) from error
        raise _type_error(item, tf.string, alias)

    try:
        array = np.array(convert(value), object)
    except (ValueError, RecursionError):
        array = None
    if array is None or not all(isinstance(item, bytes) for item in array.flat):
        raise invalid_argument(
            f"input {alias!r}: Encountered list at unexpected size: its nested lists"
            " must be equally long"
        )
    return array


def _to_json(array: np.ndarray, is_string: bool, *, as_bytes: bool) -> object:
    if not is_string:
        return np.asarray(array).tolist()

    def convert(item: object) -> object:
        if isinstance(item, list):
            return [convert(child) for child in item]
        if as_bytes:
            return {"b64": base64.b64encode(item).decode("ascii")}
        return item.decode("utf-8", "replace")

    return convert(np.asarray(array, object).tolist())


def _check_batch(results: Mapping[str, np.ndarray]) -> None:
    batch = None
    for name, array in results.items():
        if np.ndim(array) == 0:
            raise invalid_argument(f"Tensor name: {name} has no shape information")
        if batch is not None and len(array) != batch:
            raise invalid_argument(
                f"Tensor name: {name} has inconsistent batch size: {len(array)}"
                f" expecting: {batch}"
            )
        batch = len(array)


def _is_base64(value: object) -> bool:
    return (
        isinstance(value, dict)
        and list(value) == ["b64"]
        and isinstance(value["b64"], str)
    )


def _type_error(value: object, dtype: tf.DType, alias: str) -> Exception:
    return invalid_argument(
        f"input {alias!r}: JSON Value: {_shown(value)} is not of expected type:"
        f" {dtype.name}"
    )


def _shown(value: object) -> str:
    # Bounded in length and in depth, whatever was sent.
    return reprlib.repr(value)
