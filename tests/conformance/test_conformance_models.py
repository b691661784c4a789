"""Status and metadata over gRPC."""

import pytest
import tensorflow as tf
from conformance_calls import TIMEOUT, get_metadata
from grpc_calls import refused
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from export.contract import SIGNATURES

OPTIONAL = {"joints"}
"""Not there in a model without a pose."""


def status_request(name=None, version=None):
    request = get_model_status_pb2.GetModelStatusRequest()
    if name is not None:
        request.model_spec.name = name
    if version is not None:
        request.model_spec.version.value = version
    return request


def test_status(models, model, metadata):
    response = models.GetModelStatus(status_request(model), timeout=TIMEOUT)
    by_version = {entry.version: entry for entry in response.model_version_status}
    entry = by_version[metadata[0]]
    assert entry.state == entry.AVAILABLE
    assert entry.status.error_code == 0 and not entry.status.error_message


def test_status_of_one_version(models, model, metadata):
    request = status_request(model, metadata[0])
    (entry,) = models.GetModelStatus(request, timeout=TIMEOUT).model_version_status
    assert (entry.version, entry.state) == (metadata[0], entry.AVAILABLE)


@pytest.mark.parametrize(
    ("name", "version", "code", "phrase"),
    [
        (
            "no_such_model",
            None,
            "NOT_FOUND",
            "Could not find any versions of model no_such_model",
        ),
        (True, 10**9, "NOT_FOUND", "Could not find version 1000000000 of model"),
        (None, None, "INVALID_ARGUMENT", "Missing ModelSpec"),
    ],
)
def test_status_refused(models, model, name, version, code, phrase):
    request = status_request(model if name is True else name, version)
    found, details = refused(lambda: models.GetModelStatus(request, timeout=TIMEOUT))
    assert (found, phrase in details) == (code, True), details


@pytest.mark.parametrize("signature", SIGNATURES)
def test_signatures_are_of_the_documented_fields(metadata, needs, signature):
    needs(signature)
    definition, documented = metadata[1][signature], SIGNATURES[signature]
    assert definition.method_name == "tensorflow/serving/predict"
    assert set(definition.inputs) == set(documented.inputs)
    outputs = set(documented.outputs)
    assert outputs - OPTIONAL <= set(definition.outputs) <= outputs
    for name, field in documented.inputs.items():
        info = definition.inputs[name]
        assert tf.as_dtype(info.dtype).name == field.dtype
        sizes = [-1 if isinstance(size, str) else size for size in field.shape]
        assert [dim.size for dim in info.tensor_shape.dim] == sizes
    for name, info in definition.outputs.items():
        field = documented.outputs[name]
        assert tf.as_dtype(info.dtype).name == field.dtype
        if not info.tensor_shape.unknown_rank:
            assert len(info.tensor_shape.dim) == len(field.shape)


def test_an_export_completes(metadata):
    assert {"serving_default", "encoded"} & set(metadata[1])


def test_metadata_of_one_version(prediction, model, metadata):
    assert get_metadata(prediction, model, metadata[0]) == metadata


@pytest.mark.parametrize(
    ("fields", "name", "version", "code", "phrase"),
    [
        ([], True, None, "INVALID_ARGUMENT", "at least one metadata_field"),
        (["weights"], True, None, "INVALID_ARGUMENT", "weights"),
        (["signature_def"], "no_such_model", None, "NOT_FOUND", "no_such_model"),
        (["signature_def"], True, 10**9, "NOT_FOUND", "1000000000"),
        (["signature_def"], None, None, "INVALID_ARGUMENT", "Missing ModelSpec"),
    ],
)
def test_metadata_refused(prediction, model, fields, name, version, code, phrase):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    if name is not None:
        request.model_spec.name = model if name is True else name
    if version is not None:
        request.model_spec.version.value = version
    found, details = refused(
        lambda: prediction.GetModelMetadata(request, timeout=TIMEOUT)
    )
    assert (found, phrase in details) == (code, True), details
