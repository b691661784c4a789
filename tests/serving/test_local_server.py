"""The embedded server over real gRPC and HTTP calls."""

import base64
import concurrent.futures
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import threading
import time

import cv2
import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from serving_photos import check_completed, make_photo
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from portrait_tf.errors import PortraitError
from serving.local_server import LocalServer

UNLIMITED = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]


@contextlib.contextmanager
def open_channel(server):
    address = f"localhost:{server.grpc_port}"
    with grpc.insecure_channel(address, options=UNLIMITED) as channel:
        yield channel


@pytest.fixture(scope="module")
def channel(server):
    with open_channel(server) as channel:
        yield channel


@pytest.fixture(scope="module")
def prediction(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def models(channel):
    return model_service_pb2_grpc.ModelServiceStub(channel)


def make_request(signature="", name="portrait", version=None, outputs=(), **inputs):
    request = predict_pb2.PredictRequest(output_filter=outputs)
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    for key, value in inputs.items():
        if not isinstance(value, tensor_pb2.TensorProto):
            value = tf.make_tensor_proto(value)
        request.inputs[key].CopyFrom(value)
    return request


def photo_request(**options):
    image, mask = make_photo(batch=1)
    return make_request(**({"image": image, "mask": mask} | options))


def png(array):
    return cv2.imencode(".png", array)[1].tobytes()


def call_rest(server, method, path, body=None):
    """Sends one HTTP request; returns status and parsed JSON."""
    connection = http.client.HTTPConnection("localhost", server.rest_port, timeout=30)
    with contextlib.closing(connection):
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body)
        connection.request(method, path, body)
        response = connection.getresponse()
        assert response.headers["Content-Type"] == "application/json"
        return response.status, json.loads(response.read())


def b64(content):
    return {"b64": base64.b64encode(content).decode()}


# === Predict over gRPC ===


@pytest.mark.parametrize(
    ("height", "width", "batch"), [(9, 11, 1), (64, 48, 3), (300, 17, 2)]
)
def test_predict_any_size_and_batch(prediction, height, width, batch):
    image, mask = make_photo(height, width, batch)
    response = prediction.Predict(make_request(image=image, mask=mask))
    assert response.model_spec.name == "portrait"
    assert response.model_spec.version.value == 10
    assert response.model_spec.signature_name == "serving_default"
    assert set(response.outputs) == {"completed", "parsing"}
    completed, parsing = (
        tf.make_ndarray(response.outputs[name]) for name in ("completed", "parsing")
    )
    check_completed(image, mask, completed, parsing)


def test_predict_encoded_sizes_may_differ_in_a_batch(prediction):
    photos = [make_photo(20, 30), make_photo(41, 13, seed=1)]
    response = prediction.Predict(
        make_request(
            "encoded",
            image_bytes=[png(image[..., ::-1]) for image, _ in photos],
            mask_bytes=[png(mask) for _, mask in photos],
        )
    )
    completed = response.outputs["completed_bytes"].string_val
    parsing = response.outputs["parsing_bytes"].string_val
    for (image, mask), photo, labels in zip(photos, completed, parsing, strict=True):
        photo = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR)
        labels = cv2.imdecode(np.frombuffer(labels, np.uint8), cv2.IMREAD_UNCHANGED)
        check_completed(image, mask, photo[..., ::-1], labels[..., np.newaxis])


def test_output_filter(prediction):
    response = prediction.Predict(photo_request(outputs=["parsing"]))
    assert list(response.outputs) == ["parsing"]


def test_typed_values_in_a_request(prediction):
    image, _ = make_photo(batch=1)
    mask = np.full((1, 9, 11, 1), 0, np.uint8)
    mask[0, 0, 0] = 1
    proto = tensor_pb2.TensorProto(
        dtype=tf.uint8.as_datatype_enum,
        tensor_shape=tf.TensorShape(mask.shape).as_proto(),
        # The last value stands for all that follow.
        int_val=[1, 0],
    )
    response = prediction.Predict(make_request(image=image, mask=proto))
    parsing = tf.make_ndarray(response.outputs["parsing"])
    assert parsing.sum() == parsing[0, 0, 0, 0] == 5


def test_answers_are_typed_values_or_by_a_flag_content(prediction, serve):
    answer = prediction.Predict(photo_request()).outputs["completed"]
    assert not answer.tensor_content and len(answer.int_val) == 9 * 11 * 3
    content = serve(enable_serialization_as_tensor_content=True)
    with open_channel(content) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        other = stub.Predict(photo_request()).outputs["completed"]
    assert not other.int_val and len(other.tensor_content) == 9 * 11 * 3
    np.testing.assert_array_equal(tf.make_ndarray(answer), tf.make_ndarray(other))


def test_messages_above_4_mb(prediction):
    image, mask = make_photo(1300, 1200, 1)
    request = make_request(image=image, mask=mask)
    assert request.ByteSize() > 4 * 2**20
    response = prediction.Predict(request)
    check_completed(
        image,
        mask,
        tf.make_ndarray(response.outputs["completed"]),
        tf.make_ndarray(response.outputs["parsing"]),
    )


def test_concurrent_requests_do_not_mix(prediction):
    def complete(index):
        image, mask = make_photo(20 + index, 30, 1, seed=index)
        response = prediction.Predict(make_request(image=image, mask=mask))
        completed = tf.make_ndarray(response.outputs["completed"])
        parsing = tf.make_ndarray(response.outputs["parsing"])
        check_completed(image, mask, completed, parsing)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(complete, range(40)))


def test_values_beyond_a_tensors_size_are_left_out(prediction):
    image, mask = make_photo(batch=1)
    proto = tf.make_tensor_proto(mask)
    typed = tensor_pb2.TensorProto(dtype=proto.dtype, tensor_shape=proto.tensor_shape)
    typed.int_val.extend([*mask.ravel().tolist(), 1, 2, 3])
    response = prediction.Predict(make_request(image=image, mask=typed))
    completed = tf.make_ndarray(response.outputs["completed"])
    check_completed(
        image, mask, completed, tf.make_ndarray(response.outputs["parsing"])
    )


# === What is refused over gRPC ===

IMAGE, MASK = make_photo(batch=1)


def tensor(dtype=tf.uint8.as_datatype_enum, shape=(1, 9, 11, 1), **values):
    proto = tensor_pb2.TensorProto(dtype=dtype, **values)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


REFUSED = {
    "unknown model": (
        photo_request(name="other"),
        "NOT_FOUND",
        "Servable not found for request: Latest(other)",
    ),
    "unknown version": (
        photo_request(version=7),
        "NOT_FOUND",
        "Servable not found for request: Specific(portrait, 7)",
    ),
    "no model": (
        predict_pb2.PredictRequest(),
        "INVALID_ARGUMENT",
        "Missing ModelSpec",
    ),
    "no model name": (photo_request(name=""), "INVALID_ARGUMENT", "no name"),
    "unknown signature": (
        photo_request(signature="other"),
        "FAILED_PRECONDITION",
        'Serving signature key "other" not found.',
    ),
    "initialiser as signature": (
        photo_request(signature="__saved_model_init_op"),
        "FAILED_PRECONDITION",
        "not found",
    ),
    "missing input": (
        make_request(image=IMAGE),
        "INVALID_ARGUMENT",
        "input size does not match signature: 1!=2 len({image}) !="
        " len({image,mask}). Sent extra: {}. Missing but required: {mask}.",
    ),
    "no input": (make_request(), "INVALID_ARGUMENT", "Missing but required"),
    "extra input": (
        photo_request(size=IMAGE),
        "INVALID_ARGUMENT",
        "Sent extra: {size}",
    ),
    "misnamed input": (
        make_request(image=IMAGE, hole=MASK),
        "INVALID_ARGUMENT",
        "Signature input alias: mask(feed name: serving_default_mask:0) not found in"
        " request and no default value provided. Inputs expected to be in the request"
        " {hole,image}, or default input alias set: ",
    ),
    "unknown output": (
        photo_request(outputs=["other"]),
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: other",
    ),
    "repeated output": (
        photo_request(outputs=["parsing", "parsing"]),
        "INVALID_ARGUMENT",
        "duplicate output tensor alias",
    ),
    "wrong dtype": (
        photo_request(image=IMAGE.astype(np.float32)),
        "INVALID_ARGUMENT",
        "to be uint8 but float is provided",
    ),
    "string for uint8": (photo_request(image=[b"x"]), "INVALID_ARGUMENT", "string"),
    "no such dtype": (
        photo_request(mask=tensor(dtype=999)),
        "INVALID_ARGUMENT",
        "tensor parsing error: mask",
    ),
    "rank 3": (
        photo_request(image=IMAGE[0]),
        "INVALID_ARGUMENT",
        "[9,11,3] is not compatible with expected shape [?,?,?,3]",
    ),
    "rank 0": (photo_request(image=np.uint8(1)), "INVALID_ARGUMENT", "[] is not"),
    "4 channels": (
        photo_request(image=np.zeros((1, 9, 11, 4), np.uint8)),
        "INVALID_ARGUMENT",
        "[1,9,11,4] is not compatible",
    ),
    "negative size": (
        photo_request(mask=tensor(shape=(1, 9, -11, 1))),
        "INVALID_ARGUMENT",
        "tensor parsing error: mask",
    ),
    "unknown rank": (
        photo_request(
            mask=tensor_pb2.TensorProto(
                dtype=tf.uint8.as_datatype_enum,
                tensor_shape=tf.TensorShape(None).as_proto(),
            )
        ),
        "INVALID_ARGUMENT",
        "tensor parsing error: mask",
    ),
    "content too short": (
        photo_request(mask=tensor(tensor_content=b"123")),
        "INVALID_ARGUMENT",
        "tensor parsing error: mask",
    ),
    "more dimensions than numpy has": (
        photo_request(mask=tensor(shape=[1] * 200, tensor_content=b"1")),
        "INVALID_ARGUMENT",
        "tensor parsing error: mask",
    ),
    "more dimensions than TensorFlow has": (
        photo_request(mask=tensor(shape=[1] * 300, int_val=[1])),
        "INVALID_ARGUMENT",
        "tensor parsing error: mask",
    ),
    "a value for a terabyte": (
        photo_request(mask=tensor(shape=(1000, 50000, 50000, 1), int_val=[1])),
        "INVALID_ARGUMENT",
        "tensor parsing error: mask",
    ),
    "a value for a gigabyte": (
        photo_request(mask=tensor(shape=(100, 4096, 4096, 1), int_val=[1])),
        "INVALID_ARGUMENT",
        "tensor parsing error: mask",
    ),
    "sizes beyond 64 bits": (
        photo_request(mask=tensor(shape=(2**62, 2**62, 2**62, 1), int_val=[1])),
        "INVALID_ARGUMENT",
        "tensor parsing error: mask",
    ),
    "mask of another size": (
        photo_request(mask=MASK[:, :5]),
        "INVALID_ARGUMENT",
        "image and mask differ in size",
    ),
    "mask of another batch": (
        photo_request(mask=np.concatenate([MASK, MASK])),
        "INVALID_ARGUMENT",
        "image and mask differ in size",
    ),
    "garbage for an image": (
        make_request("encoded", image_bytes=[b"garbage"], mask_bytes=[png(MASK[0])]),
        "INVALID_ARGUMENT",
        "",
    ),
    "truncated image": (
        make_request(
            "encoded",
            image_bytes=[png(IMAGE[0])[:60]],
            mask_bytes=[png(MASK[0])],
        ),
        "INVALID_ARGUMENT",
        "",
    ),
    "a message longer than trailers": (
        photo_request(outputs=["x" * 20000]),
        "INVALID_ARGUMENT",
        "...TRUNCATED",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(prediction, name):
    request, code, phrase = REFUSED[name]
    with pytest.raises(grpc.RpcError) as caught:
        prediction.Predict(request)
    assert caught.value.code().name == code, caught.value.details()
    assert phrase in caught.value.details()
    assert "Traceback" not in caught.value.details()
    prediction.Predict(photo_request())  # The process is alive and well.


def test_empty_batch_and_empty_photo_do_not_harm(prediction):
    for shape in ((0, 9, 11), (1, 0, 11), (1, 0, 0)):
        image = np.zeros((*shape, 3), np.uint8)
        mask = np.zeros((*shape, 1), np.uint8)
        response = prediction.Predict(make_request(image=image, mask=mask))
        assert tf.make_ndarray(response.outputs["completed"]).shape == image.shape


def test_other_methods_are_unimplemented(prediction):
    for call in (
        lambda: prediction.Classify(classification_pb2.ClassificationRequest()),
        lambda: prediction.Regress(regression_pb2.RegressionRequest()),
        lambda: prediction.MultiInference(inference_pb2.MultiInferenceRequest()),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_deadline(prediction):
    image, mask = make_photo(1200, 1200, 1)
    with pytest.raises(grpc.RpcError) as caught:
        prediction.Predict(make_request(image=image, mask=mask), timeout=0.002)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    prediction.Predict(photo_request(), timeout=30)


# === Status, metadata, health ===


def test_metadata(prediction):
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        metadata_field=["signature_def"]
    )
    request.model_spec.name = "portrait"
    response = prediction.GetModelMetadata(request)
    assert response.model_spec.version.value == 10
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    default = signatures.signature_def["serving_default"]
    assert default.method_name == "tensorflow/serving/predict"
    sizes = [dim.size for dim in default.inputs["image"].tensor_shape.dim]
    assert sizes == [-1, -1, -1, 3]
    assert set(signatures.signature_def["encoded"].outputs) == {
        "completed_bytes",
        "parsing_bytes",
    }


@pytest.mark.parametrize(
    ("fields", "name", "code"),
    [
        ([], "portrait", "INVALID_ARGUMENT"),
        (["weights"], "portrait", "INVALID_ARGUMENT"),
        (["signature_def"], "other", "NOT_FOUND"),
        (["signature_def"], None, "INVALID_ARGUMENT"),
    ],
)
def test_metadata_refused(prediction, fields, name, code):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    if name:
        request.model_spec.name = name
    with pytest.raises(grpc.RpcError) as caught:
        prediction.GetModelMetadata(request)
    assert caught.value.code().name == code


def test_status(models):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "portrait"
    (entry,) = models.GetModelStatus(request).model_version_status
    assert entry.version == 10 and entry.state == entry.AVAILABLE
    assert entry.HasField("status") and entry.status.error_code == 0
    request.model_spec.version.value = 10
    assert len(models.GetModelStatus(request).model_version_status) == 1


@pytest.mark.parametrize(
    ("spec", "code", "phrase"),
    [
        ({"name": "other"}, "NOT_FOUND", "Could not find any versions of model other"),
        (
            {"name": "portrait", "version": {"value": 2}},
            "NOT_FOUND",
            "Could not find version 2 of model portrait",
        ),
        (
            {"name": "portrait", "version_label": "stable"},
            "INVALID_ARGUMENT",
            "Unrecognized servable version label: stable",
        ),
        (None, "INVALID_ARGUMENT", "Missing ModelSpec"),
    ],
)
def test_status_refused(models, spec, code, phrase):
    with pytest.raises(grpc.RpcError) as caught:
        models.GetModelStatus(
            get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
        )
    assert caught.value.code().name == code
    assert phrase in caught.value.details()


def test_health(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    answer = stub.Check(health_pb2.HealthCheckRequest())
    assert answer.status == answer.SERVING


# === REST ===

PREDICT = "/v1/models/portrait:predict"


def test_rest_row_form(server):
    image, mask = make_photo(8, 10, 2)
    instances = [
        {"image": one.tolist(), "mask": hole.tolist()}
        for one, hole in zip(image, mask, strict=True)
    ]
    status, answer = call_rest(server, "POST", PREDICT, {"instances": instances})
    assert status == 200 and list(answer) == ["predictions"]
    completed, parsing = (
        np.array([row[name] for row in answer["predictions"]], np.uint8)
        for name in ("completed", "parsing")
    )
    check_completed(image, mask, completed, parsing)


def test_rest_column_form_and_version(server):
    image, mask = make_photo(8, 10, 2)
    status, answer = call_rest(
        server,
        "POST",
        "/v1/models/portrait/versions/10:predict",
        {"inputs": {"image": image.tolist(), "mask": mask.tolist()}},
    )
    assert status == 200 and list(answer) == ["outputs"]
    outputs = {
        key: np.array(value, np.uint8) for key, value in answer["outputs"].items()
    }
    check_completed(image, mask, outputs["completed"], outputs["parsing"])


@pytest.mark.parametrize("row_form", [True, False])
def test_rest_base64(server, row_form):
    image, mask = make_photo(20, 30)
    image_b64, mask_b64 = b64(png(image[..., ::-1])), b64(png(mask))
    body = {"signature_name": "encoded"}
    if row_form:
        body["instances"] = [{"image_bytes": image_b64, "mask_bytes": mask_b64}]
    else:
        body["inputs"] = {"image_bytes": [image_b64], "mask_bytes": [mask_b64]}
    status, answer = call_rest(server, "POST", PREDICT, body)
    assert status == 200
    if row_form:
        content = answer["predictions"][0]["completed_bytes"]
    else:
        content = answer["outputs"]["completed_bytes"][0]
    decoded = np.frombuffer(base64.b64decode(content["b64"]), np.uint8)
    completed = cv2.imdecode(decoded, cv2.IMREAD_COLOR)[..., ::-1]
    hole = mask[..., 0] != 0
    np.testing.assert_array_equal(completed[~hole], image[~hole])


def test_rest_status_and_metadata(server):
    expected = {
        "model_version_status": [
            {
                "version": "10",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }
    for path in ("/v1/models/portrait", "/v1/models/portrait/versions/10"):
        assert call_rest(server, "GET", path) == (200, expected)
    status, answer = call_rest(server, "GET", "/v1/models/portrait/metadata")
    assert status == 200
    assert answer["model_spec"] == {
        "name": "portrait",
        "signature_name": "",
        "version": "10",
    }
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    image = signatures["serving_default"]["inputs"]["image"]
    assert image["dtype"] == "DT_UINT8"
    sizes = [dim["size"] for dim in image["tensor_shape"]["dim"]]
    assert sizes == ["-1", "-1", "-1", "3"]


PIXELS = {"image": IMAGE.tolist(), "mask": MASK.tolist()}
REST_REFUSED = {
    "unknown path": ("GET", "/other", None, 404, "Not found"),
    "no name": ("GET", "/v1/models", None, 400, "Malformed request"),
    "GET of predict": ("GET", PREDICT, None, 400, "Malformed request"),
    "POST of status": ("POST", "/v1/models/portrait", {}, 400, "Malformed request"),
    "DELETE": ("DELETE", "/v1/models/portrait", None, 400, "Malformed request"),
    "classify": ("POST", "/v1/models/portrait:classify", {}, 501, "classify"),
    "unknown model": (
        "POST",
        "/v1/models/other:predict",
        {"inputs": PIXELS},
        404,
        "Servable not found for request: Latest(other)",
    ),
    "unknown version": (
        "POST",
        "/v1/models/portrait/versions/7:predict",
        {"inputs": PIXELS},
        404,
        "Servable not found for request: Specific(portrait, 7)",
    ),
    "huge version": (
        "GET",
        f"/v1/models/portrait/versions/{2**70}",
        None,
        400,
        "Failed to convert version",
    ),
    "unknown label": (
        "POST",
        "/v1/models/portrait/labels/stable:predict",
        {"inputs": PIXELS},
        400,
        "Unrecognized servable version label: stable",
    ),
    "status of unknown model": ("GET", "/v1/models/x", None, 404, "Could not find any"),
    "metadata of unknown model": (
        "GET",
        "/v1/models/x/metadata",
        None,
        404,
        "Servable not found",
    ),
    "unknown signature": (
        "POST",
        PREDICT,
        {"signature_name": "other", "inputs": PIXELS},
        400,
        'Serving signature name: "other" not found',
    ),
    "signature is no name": (
        "POST",
        PREDICT,
        {"signature_name": 1, "inputs": PIXELS},
        400,
        "'signature_name' key must be a string",
    ),
    "no JSON": ("POST", PREDICT, b"{", 400, "JSON Parse error"),
    "no UTF-8": ("POST", PREDICT, b'{"\xff\xfe": 1}', 400, "JSON Parse error"),
    "deep JSON": ("POST", PREDICT, b"[" * 100_000, 400, "JSON Parse error"),
    "deep tensor": (
        "POST",
        PREDICT,
        b'{"inputs": {"image": %s1%s, "mask": 1}}' % (b"[" * 200, b"]" * 200),
        400,
        "nested lists",
    ),
    "no object": ("POST", PREDICT, [1], 400, "Is not object"),
    "no key": ("POST", PREDICT, {}, 400, "Missing 'inputs' or 'instances' key"),
    "both keys": (
        "POST",
        PREDICT,
        {"inputs": PIXELS, "instances": [1]},
        400,
        "only one of 'inputs' or 'instances'",
    ),
    "instances is no list": ("POST", PREDICT, {"instances": 1}, 400, "list/array"),
    "no instances": ("POST", PREDICT, {"instances": []}, 400, "No values"),
    "plain instances": ("POST", PREDICT, {"instances": [1]}, 400, "plain list"),
    "plain inputs": ("POST", PREDICT, {"inputs": [1]}, 400, "plain value/list"),
    "instances of two kinds": (
        "POST",
        PREDICT,
        {"instances": [{"image": 1, "mask": 1}, 1]},
        400,
        "at item 1",
    ),
    "instance lacks a key": (
        "POST",
        PREDICT,
        {"instances": [{"image": 1}]},
        400,
        "keys must be equal to: image,mask",
    ),
    "missing input": (
        "POST",
        PREDICT,
        {"inputs": {"image": PIXELS["image"]}},
        400,
        "Missing named input: mask",
    ),
    "fractions": (
        "POST",
        PREDICT,
        {"inputs": PIXELS | {"mask": (MASK / 2).tolist()}},
        400,
        "is not of expected type: uint8",
    ),
    "more than int_val holds": (
        "POST",
        PREDICT,
        {"inputs": PIXELS | {"mask": (MASK + 2.0**31).astype(int).tolist()}},
        400,
        "not of expected type: uint8",
    ),
    "ragged": (
        "POST",
        PREDICT,
        {"inputs": PIXELS | {"mask": [[[[1]], [[1], [1]]]]}},
        400,
        "equally long",
    ),
    "null": ("POST", PREDICT, {"inputs": PIXELS | {"mask": None}}, 400, "uint8"),
    "rank 3": (
        "POST",
        PREDICT,
        {"inputs": PIXELS | {"image": IMAGE[0].tolist()}},
        400,
        "[9,11,3] is not compatible with expected shape [?,?,?,3]",
    ),
    "no base64": (
        "POST",
        PREDICT,
        {
            "signature_name": "encoded",
            "inputs": {"image_bytes": [{"b64": "%"}], "mask_bytes": ["x"]},
        },
        400,
        "Unable to base64 decode",
    ),
    "garbage image": (
        "POST",
        PREDICT,
        {
            "signature_name": "encoded",
            "inputs": {"image_bytes": ["x"], "mask_bytes": ["x"]},
        },
        400,
        "",
    ),
}


@pytest.mark.parametrize("name", REST_REFUSED)
def test_rest_refused(server, name):
    method, path, body, expected, phrase = REST_REFUSED[name]
    status, answer = call_rest(server, method, path, body)
    assert status == expected, answer
    assert list(answer) == ["error"] and phrase in answer["error"]
    assert call_rest(server, "GET", "/v1/models/portrait")[0] == 200


def test_rest_keeps_connections_open(server):
    connection = http.client.HTTPConnection("localhost", server.rest_port, timeout=30)
    with contextlib.closing(connection):
        for path, expected in (("portrait", 200), ("other", 404), ("portrait", 200)):
            connection.request("GET", f"/v1/models/{path}")
            response = connection.getresponse()
            response.read()
            assert response.status == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Content-Length: many", b"400"),
        ("Content-Length: -1", b"400"),
        ("Transfer-Encoding: chunked\r\n\r\nxyz", b"400"),
        ("Transfer-Encoding: br", b"501"),
    ],
)
def test_rest_unreadable_bodies(server, header, expected):
    with socket.create_connection(("localhost", server.rest_port), 30) as connection:
        connection.sendall(
            f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode()
        )
        with connection.makefile("rb") as answer:
            assert expected in answer.readline()
            assert b'"error"' in answer.read()  # To its end: the connection is closed.


def test_rest_announced_but_missing_body(server):
    with socket.create_connection(("localhost", server.rest_port), 30) as connection:
        connection.sendall(
            f"POST {PREDICT} HTTP/1.1\r\nContent-Length: {10**15}\r\n\r\n{{".encode()
        )
    assert call_rest(server, "GET", "/v1/models/portrait")[0] == 200


# === Start and stop ===


def test_serves_the_highest_number_and_says_what_it_is(serve, caplog):
    server = serve()
    assert server.version == 10
    assert "not a replacement of TensorFlow Serving" in caplog.text
    assert server.start() is server


@pytest.mark.parametrize("protocol", ["gRPC", "REST"])
def test_port_in_use(models_dir, protocol):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = {"grpc_port": 0, "rest_port": 0, f"{protocol.lower()}_port": port}
        server = LocalServer(models_dir, **ports)
        with pytest.raises(PortraitError, match=f"{protocol} port {port} .*in use"):
            server.start()
    with server:  # The port is free now, and nothing was left behind.
        assert port in (server.grpc_port, server.rest_port)


def test_two_servers_never_share_a_port(server, models_dir):
    with pytest.raises(PortraitError, match=f"gRPC port {server.grpc_port}"):
        LocalServer(models_dir, grpc_port=server.grpc_port, rest_port=0).start()


def test_impossible_addresses(models_dir):
    with pytest.raises(PortraitError, match="--port is 70000; expected 0"):
        LocalServer(models_dir, grpc_port=70000, rest_port=0).start()
    with pytest.raises(PortraitError, match="cannot be taken"):
        LocalServer(models_dir, host="192.0.2.1", grpc_port=0, rest_port=0).start()


def test_folders_without_a_model(models_dir, tmp_path):
    def start(folder):
        LocalServer(folder, grpc_port=0, rest_port=0).start()

    with pytest.raises(PortraitError, match="nowhere does not exist; expected"):
        start(tmp_path / "nowhere")
    (tmp_path / "3.tmp").mkdir()
    with pytest.raises(PortraitError, match=f"{tmp_path.name} is empty; expected"):
        start(tmp_path)
    with pytest.raises(PortraitError, match="expected the folder above it"):
        start(models_dir / "2")
    (tmp_path / "3").mkdir()
    with pytest.raises(PortraitError, match="3 cannot be loaded; expected"):
        start(tmp_path)
    (tmp_path / "3" / "saved_model.pb").write_bytes(b"garbage")
    with pytest.raises(PortraitError, match="3 cannot be loaded; expected"):
        start(tmp_path)
    shutil.copytree(models_dir / "2", tmp_path / "4")
    shutil.rmtree(tmp_path / "4" / "variables")
    with pytest.raises(PortraitError, match="4 cannot be loaded; expected"):
        start(tmp_path)


@pytest.fixture
def warmed_dir(models_dir, tmp_path):
    """A copy of the model, and a function that writes its warm-up file."""
    shutil.copytree(models_dir / "2", tmp_path / "1")
    path = tmp_path / "1" / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir()

    def write(*requests):
        with tf.io.TFRecordWriter(str(path)) as writer:
            for request in requests:
                log = prediction_log_pb2.PredictionLog()
                log.predict_log.request.CopyFrom(request)
                writer.write(log.SerializeToString())
        return path

    return tmp_path, write


def test_warm_up_is_replayed(warmed_dir, serve, caplog):
    folder, write = warmed_dir
    write(photo_request(), photo_request())
    caplog.set_level("INFO", "serving.local_server")
    serve(folder)
    assert "Number of warmup records read: 2." in caplog.text


def test_warm_up_that_fails(warmed_dir):
    folder, write = warmed_dir
    server = LocalServer(folder, grpc_port=0, rest_port=0)
    path = write(photo_request(), make_request(image=IMAGE))
    with pytest.raises(PortraitError, match="record 1 of .*INVALID_ARGUMENT"):
        server.start()
    write(*[photo_request()] * 1001)
    with pytest.raises(PortraitError, match=r"exceeds the maximum \(1000\)"):
        server.start()
    path.write_bytes(b"garbage, but long enough for a header")
    with pytest.raises(
        PortraitError, match="Please verify your warmup data is in TFRecord format"
    ):
        server.start()


def test_stop_finishes_what_is_in_flight(models_dir):
    image = np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), np.uint8)
    mask = np.zeros((1200, 1200, 1), np.uint8)
    mask[:100] = 1
    image, mask = png(image), png(mask)
    server = LocalServer(models_dir, grpc_port=0, rest_port=0).start()
    body = {
        "signature_name": "encoded",
        "inputs": {"image_bytes": [b64(image)] * 3, "mask_bytes": [b64(mask)] * 3},
    }
    request = make_request("encoded", image_bytes=[image] * 3, mask_bytes=[mask] * 3)
    idle = socket.create_connection(("localhost", server.rest_port))
    with idle, open_channel(server) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        stub.Predict(photo_request())
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            by_grpc = stub.Predict.future(request)
            by_rest = pool.submit(call_rest, server, "POST", PREDICT, body)
            deadline = time.monotonic() + 60
            while not server._rest.busy and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.3)
            assert not by_grpc.done() and not by_rest.done()
            start = time.monotonic()
            server.stop()
            assert time.monotonic() - start < 25
            assert len(by_grpc.result().outputs["completed_bytes"].string_val) == 3
            assert by_rest.result()[0] == 200
    for port in (server.grpc_port, server.rest_port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("localhost", port))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_wait_ends_with_a_signal(models_dir, number):
    previous = signal.getsignal(number)
    server = LocalServer(models_dir, grpc_port=0, rest_port=0).start()
    timer = threading.Timer(0.3, os.kill, (os.getpid(), number))
    timer.start()
    server.wait()
    timer.join()
    assert server.version is None
    assert signal.getsignal(number) is previous


def test_wait_ends_with_stop(models_dir):
    server = LocalServer(models_dir, grpc_port=0, rest_port=0).start()
    waiting = threading.Thread(target=server.wait)
    waiting.start()
    server.stop()
    waiting.join(10)
    assert not waiting.is_alive()
