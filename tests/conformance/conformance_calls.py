"""Requests by hand: nothing of the client or the embedded server is used here."""

import base64
import contextlib
import http.client
import json

import numpy as np
import serving_photos
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

UNLIMITED = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]
TIMEOUT = 120
"""Seconds; the first request of a size may be slow."""

prediction_stub = prediction_service_pb2_grpc.PredictionServiceStub
model_stub = model_service_pb2_grpc.ModelServiceStub


def split(address):
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def make_photo(height=40, width=32, batch=1, seed=0):
    """Photos of noise `[B, H, W, 3]` and masks `[B, H, W, 1]` with a hole inside."""
    return serving_photos.make_photo(height, width, batch, seed)


def check_completed(image, mask, completed, parsing=None):
    """Asserts what every export keeps: sizes, known pixels, LIP's labels."""
    assert completed.dtype == np.uint8 and completed.shape == image.shape
    known = np.broadcast_to(mask == 0, image.shape)
    np.testing.assert_array_equal(completed[known], image[known])
    if parsing is not None:
        assert parsing.dtype == np.uint8 and parsing.shape == mask.shape
        assert parsing.max() < 20


def predict(stub, request):
    """Sends it; the outputs as arrays by name, and the whole answer."""
    response = stub.Predict(request, timeout=TIMEOUT)
    outputs = {name: read(proto) for name, proto in response.outputs.items()}
    return outputs, response


def read(proto):
    """A tensor's values, from `tensor_content` or from the field of its dtype."""
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if proto.dtype == tf.string.as_datatype_enum:
        return np.array(list(proto.string_val), object).reshape(shape)
    dtype = tf.as_dtype(proto.dtype).as_numpy_dtype
    if proto.tensor_content:
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    field = {np.uint8: "int_val", np.int32: "int_val", np.float32: "float_val"}[dtype]
    values = np.array(getattr(proto, field), dtype)
    if values.size and values.size < np.prod(shape):
        # The last value stands for all that would follow.
        values = np.pad(values, (0, np.prod(shape) - values.size), mode="edge")
    return values.reshape(shape)


def get_metadata(stub, model, version=None):
    """The version that answers, and the signatures by name."""
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        metadata_field=["signature_def"]
    )
    request.model_spec.name = model
    if version is not None:
        request.model_spec.version.value = version
    response = stub.GetModelMetadata(request, timeout=TIMEOUT)
    found = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(found)
    assert response.model_spec.name == model
    return response.model_spec.version.value, dict(found.signature_def)


class Rest:
    """The REST API of one server."""

    def __init__(self, address):
        self.host, self.port = split(address)

    def call(self, method, path, body=None):
        """Sends a request; status and parsed JSON, whatever the status."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT)
        with contextlib.closing(connection):
            if body is not None and not isinstance(body, bytes):
                body = json.dumps(body)
            connection.request(method, path, body)
            response = connection.getresponse()
            assert response.headers.get_content_type() == "application/json"
            return response.status, json.loads(response.read())


def b64(content):
    return {"b64": base64.b64encode(content).decode("ascii")}


def unb64(value):
    assert list(value) == ["b64"]
    return base64.b64decode(value["b64"])
