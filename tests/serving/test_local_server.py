"""The embedded server over real gRPC and HTTP calls, beyond `tests/conformance`."""

import base64
import concurrent.futures
import contextlib
import http.client
import os
import shutil
import signal
import socket
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_calls import make_request, make_tensor, refused, write_warm_up
from processes import wait_until
from server_calls import call_rest
from serving_photos import check_completed, make_photo, png
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
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


def photo_request(**options):
    image, mask = make_photo(batch=1)
    return make_request("portrait", **({"image": image, "mask": mask} | options))


def tensor(shape=(1, 9, 11, 1), dtype=types_pb2.DT_UINT8, **values):
    return make_tensor(dtype, shape, **values)


def b64(content):
    return {"b64": base64.b64encode(content).decode()}


# === Predict over gRPC ===


def test_values_beyond_a_tensors_size_are_left_out(prediction):
    image, mask = make_photo(batch=1)
    typed = tensor(mask.shape, int_val=[*mask.ravel().tolist(), 1, 2, 3])
    response = prediction.Predict(make_request("portrait", image=image, mask=typed))
    completed = tf.make_ndarray(response.outputs["completed"])
    check_completed(
        image, mask, completed, tf.make_ndarray(response.outputs["parsing"])
    )


# === What is refused over gRPC ===

IMAGE, MASK = make_photo(batch=1)


REFUSED = {
    "missing input": (
        make_request("portrait", image=IMAGE),
        "input size does not match signature: 1!=2 len({image}) !="
        " len({image,mask}). Sent extra: {}. Missing but required: {mask}.",
    ),
    "misnamed input": (
        make_request("portrait", image=IMAGE, hole=MASK),
        "Signature input alias: mask(feed name: serving_default_mask:0) not found in"
        " request and no default value provided. Inputs expected to be in the request"
        " {hole,image}, or default input alias set: ",
    ),
    "rank 3": (
        photo_request(image=IMAGE[0]),
        "[9,11,3] is not compatible with expected shape [?,?,?,3]",
    ),
    "a message longer than trailers": (
        photo_request(outputs=["x" * 20000]), "...TRUNCATED",
    ),
    **{
        name: (photo_request(mask=mask), "tensor parsing error: mask")
        for name, mask in {
            "no such dtype": tensor(dtype=999),
            "more dimensions than numpy has": tensor([1] * 200, tensor_content=b"1"),
            "more dimensions than TensorFlow has": tensor([1] * 300, int_val=[1]),
            "a value for a terabyte": tensor((1000, 50000, 50000, 1), int_val=[1]),
            "a value for a gigabyte": tensor((100, 4096, 4096, 1), int_val=[1]),
        }.items()
    },
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(prediction, name):
    request, phrase = REFUSED[name]
    code, details = refused(prediction.Predict, request)
    assert code == "INVALID_ARGUMENT" and phrase in details
    assert "Traceback" not in details
    prediction.Predict(photo_request())  # The process is alive and well.


def test_what_initializes_a_model_is_no_signature(prediction):
    request = photo_request(signature="__saved_model_init_op")
    code, details = refused(prediction.Predict, request)
    assert code == "FAILED_PRECONDITION" and "not found" in details


def test_other_methods_are_unimplemented(prediction):
    for call, request in (
        (prediction.Classify, classification_pb2.ClassificationRequest()),
        (prediction.Regress, regression_pb2.RegressionRequest()),
        (prediction.MultiInference, inference_pb2.MultiInferenceRequest()),
    ):
        assert refused(call, request)[0] == "UNIMPLEMENTED"


# === REST ===

PREDICT = "/v1/models/portrait:predict"


PIXELS = {"image": IMAGE.tolist(), "mask": MASK.tolist()}
FAR = (MASK + 2.0**31).astype(int).tolist()
DEEP = b'{"inputs": {"image": %s1%s, "mask": 1}}' % (b"[" * 200, b"]" * 200)
PATHS_REFUSED = {
    "/other": (404, "Not found"),
    "/v1/models": (400, "Missing model name in request."),
    "/v1/models/versions/3": (400, "Missing model name in request."),
    f"/v1/models/portrait/versions/{2**70}": (400, "Failed to convert version"),
    "/v1/models/x/metadata": (404, "Servable not found"),
}
BODIES_REFUSED = {
    "no UTF-8": (b'{"\xff\xfe": 1}', "JSON Parse error"),
    "deep JSON": (b"[" * 100_000, "JSON Parse error"),
    "half a pair": (
        b'{"signature_name": "encoded", "instances": [{"image_bytes": "\\ud800"}]}',
        "JSON Parse error: The surrogate pair",
    ),
    "deep tensor": (DEEP, "tensor parsing error: image"),
    "plain instances": ({"instances": [1]}, "plain list"),
    "plain inputs": ({"inputs": [1]}, "plain value/list"),
    "more than int_val holds": (
        {"inputs": PIXELS | {"mask": FAR}}, "not of expected type: uint8",
    ),
    "null": ({"inputs": PIXELS | {"mask": None}}, "Type: Null is not of expected type"),
    "rank 3": (
        {"inputs": PIXELS | {"image": IMAGE[0].tolist()}},
        "[9,11,3] is not compatible with expected shape [?,?,?,3]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("path", PATHS_REFUSED)
def test_rest_paths_refused(server, path):
    expected, phrase = PATHS_REFUSED[path]
    status, answer = call_rest(server, path)
    assert (status, list(answer)) == (expected, ["error"]) and phrase in answer["error"]


@pytest.mark.parametrize("name", BODIES_REFUSED)
def test_rest_bodies_refused(server, name):
    body, phrase = BODIES_REFUSED[name]
    status, answer = call_rest(server, PREDICT, body)
    assert (status, list(answer)) == (400, ["error"]) and phrase in answer["error"]
    assert call_rest(server, "/v1/models/portrait")[0] == 200


def test_rest_other_verbs(server):
    status, answer = call_rest(server, "/v1/models/portrait", method="DELETE")
    assert status == 400 and "Malformed request" in answer["error"]
    status, answer = call_rest(server, "/v1/models/portrait:classify", {})
    assert status == 501 and "classify" in answer["error"]
    status, answer = call_rest(server, "/v1/models/portrait/labels/stable:predict", {})
    assert status == 400
    assert "Unrecognized servable version label: stable" in answer["error"]


def test_rest_keeps_connections_open(server):
    connection = http.client.HTTPConnection("localhost", server.rest_port, timeout=30)
    with contextlib.closing(connection):
        for path, expected in (("portrait", 200), ("other", 404), ("portrait", 200)):
            connection.request("GET", f"/v1/models/{path}")
            with connection.getresponse() as response:
                assert response.status == expected and response.read()


def test_rest_announced_but_missing_body(server):
    with socket.create_connection(("localhost", server.rest_port), 30) as connection:
        connection.sendall(
            f"POST {PREDICT} HTTP/1.1\r\nContent-Length: {10**15}\r\n\r\n{{".encode()
        )
    assert call_rest(server, "/v1/models/portrait")[0] == 200


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


def test_impossible_addresses(serve):
    with pytest.raises(PortraitError, match="--port is 70000; expected 0"):
        serve(grpc_port=70000)
    for host in ("192.0.2.1", "\ud800", 70 * "a"):
        with pytest.raises(PortraitError, match="cannot be taken"):
            serve(host=host)


def test_a_socket_that_cannot_be_leaves_the_port_free(models_dir, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    path = tmp_path / "none" / "socket"
    ports = {"grpc_port": port, "rest_port": 0}
    server = LocalServer(models_dir, grpc_socket_path=str(path), **ports)
    with pytest.raises(PortraitError, match=f"bind to address unix:{path}"):
        server.start()
    path.parent.mkdir()
    with server:
        assert server.grpc_port == port


def test_folders_without_a_model(serve, models_dir, tmp_path):
    def check(folder, phrase):
        with pytest.raises(PortraitError, match=phrase):
            serve(folder)

    check(tmp_path / "nowhere", "nowhere does not exist; expected")
    (tmp_path / "3.tmp").mkdir()
    check(tmp_path, f"{tmp_path.name} is empty; expected")
    check(models_dir / "2", "expected the folder above it")
    (tmp_path / "3").mkdir()
    check(tmp_path, "3 cannot be loaded; expected")
    (tmp_path / "3" / "saved_model.pb").write_bytes(b"garbage")
    check(tmp_path, "3 cannot be loaded; expected")
    shutil.copytree(models_dir / "2", tmp_path / "4")
    shutil.rmtree(tmp_path / "4" / "variables")
    check(tmp_path, "4 cannot be loaded; expected")


@pytest.fixture
def version(models_dir, tmp_path):
    """A copy of the model, whose warm-up file is to be written."""
    return shutil.copytree(models_dir / "2", tmp_path / "1")


def test_warm_up_is_replayed(version, serve, caplog):
    write_warm_up(version, photo_request(), photo_request())
    caplog.set_level("INFO", "serving.local_server")
    serve(version.parent)
    assert "Number of warmup records read: 2." in caplog.text


def test_warm_up_that_fails(version, serve):
    def check(phrase):
        with pytest.raises(PortraitError, match=phrase):
            serve(version.parent)

    wrong = make_request("portrait", image=IMAGE)
    path = write_warm_up(version, photo_request(), wrong)
    check("record 1 of .*INVALID_ARGUMENT")
    write_warm_up(version, *[photo_request()] * 1001)
    check(r"exceeds the maximum \(1000\)")
    path.write_bytes(b"garbage, but long enough for a header")
    check("Please verify your warmup data is in TFRecord format")


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
    request = make_request(
        "portrait", "encoded", image_bytes=[image] * 3, mask_bytes=[mask] * 3
    )
    idle = socket.create_connection(("localhost", server.rest_port))
    with idle, open_channel(server) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        stub.Predict(photo_request())
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            by_grpc = stub.Predict.future(request)
            by_rest = pool.submit(call_rest, server, PREDICT, body)
            served = server._manager._versions["portrait"][10]
            wait_until(lambda: served.users == 2)
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
