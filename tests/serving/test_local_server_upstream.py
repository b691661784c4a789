"""The embedded server held to TensorFlow Serving's own end-to-end tests and phrases.

The model, the requests and the expected answers are those of `half_plus_two` in
tensorflow_serving/model_servers/tensorflow_model_server_test.py.
docs/reference/embedded_server.md lists where in TensorFlow Serving's sources each
behavior is written.
"""

import base64
import os
import pathlib
import re
import socket
import threading

import grpc
import numpy as np
import pytest
import tensorflow as tf
from command_line import run
from grpc_calls import make_request, make_tensor, refused, tensorflows_content
from processes import wait_until
from server_calls import call, call_rest
from serving_photos import make_photo, png
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

from benchmarks.common import free_ports
from portrait_tf.errors import PortraitError
from serving.local_server import LocalServer
from serving.local_server.request_error import RequestError
from serving.local_server.tensors import decode, encode

VERSION = 123


def write_half_plus(path, constant):
    """The graph of half_plus_two (or three), whose `x` is declared [-1, 1]."""
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [None, 1], "x")
        y = tf.add(tf.multiply(x, 0.5), constant, "y")
        tf.compat.v1.saved_model.simple_save(session, str(path), {"x": x}, {"y": y})


def half_plus(constant):
    @pytest.fixture(scope="module")
    def folder(tmp_path_factory):
        folder = tmp_path_factory.mktemp("half_plus")
        write_half_plus(folder / f"00000{VERSION}", constant)
        return folder

    return folder


half_plus_two, half_plus_three = half_plus(2.0), half_plus(3.0)


@pytest.fixture
def served(serve, half_plus_two):
    return serve(half_plus_two, model_name="default")


def predict(address, request):
    with grpc.insecure_channel(address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        return stub.Predict(request, timeout=60)


def verify_predict(address, name="default", expected=3.0, outputs=("y",), shape=(1,)):
    x = make_tensor(types_pb2.DT_FLOAT, shape, float_val=[2.0])
    result = predict(address, make_request(name, outputs=outputs, x=x))
    y = result.outputs["y"]
    assert y.dtype == tf.float32.as_datatype_enum
    assert list(y.float_val) == [expected]
    assert [dim.size for dim in y.tensor_shape.dim] == list(shape)
    assert result.model_spec.version.value == VERSION
    assert result.model_spec.signature_name == "serving_default"


# === Shapes and dtypes are the graph's business ===


def test_a_shape_that_the_signature_does_not_name(serve, half_plus_two, tmp_path):
    path = tmp_path / "s"
    server = serve(half_plus_two, model_name="default", grpc_socket_path=str(path))
    for address in (f"localhost:{server.grpc_port}", f"unix:{path}"):
        for shape in ((1,), (), (1, 1), (1, 1, 1)):
            verify_predict(address, shape=shape)
        verify_predict(address, outputs=())
    for key, answer in (("instances", "predictions"), ("inputs", "outputs")):
        status, body = call_rest(
            server, "/v1/models/default:predict", {key: [2.0, 3.0, 4.0]}
        )
        assert (status, body) == (200, {answer: [3.0, 3.5, 4.0]})


def test_after_a_reload_of_the_config(serve, half_plus_two, half_plus_three, tmp_path):
    path = tmp_path / "model_config.txt"
    text = "model_config_list: {{ config: {{ name: '{}', base_path: '{}',"
    text += " model_platform: 'tensorflow' }} }}"
    path.write_text(text.format("half_plus_two", half_plus_two))
    server = serve(
        None, model_config_file=str(path), model_config_file_poll_wait_seconds=1
    )
    address = f"localhost:{server.grpc_port}"
    verify_predict(address, "half_plus_two")
    path.write_text(text.format("half_plus_three", half_plus_three))
    wait_until(lambda: call_rest(server, "/v1/models/half_plus_three")[0] == 200)
    wait_until(lambda: server._manager.available("half_plus_three"))
    verify_predict(address, "half_plus_three", 4.0)


def test_a_dtype_is_refused_by_the_graph(served):
    request = make_request("default", x=np.float64([2.0]))
    code, details = refused(predict, f"localhost:{served.grpc_port}", request)
    assert code == "INVALID_ARGUMENT"
    assert "to be float but double is provided" in details


def test_rest_status(served):
    status = {"error_code": "OK", "error_message": ""}
    entry = {"version": "123", "state": "AVAILABLE", "status": status}
    expected = (200, {"model_version_status": [entry]})
    assert call_rest(served, "/v1/models/default") == expected


def test_rest_metadata_has_the_forms_of_upstreams_file(served):
    status, body = call_rest(served, "/v1/models/default/metadata")

    def tensor(name):
        sizes = [{"size": "-1", "name": ""}, {"size": "1", "name": ""}]
        shape = {"dim": sizes, "unknown_rank": False}
        return {"dtype": "DT_FLOAT", "tensor_shape": shape, "name": f"{name}:0"}

    definition = {
        "inputs": {"x": tensor("x")},
        "outputs": {"y": tensor("y")},
        "method_name": "tensorflow/serving/predict",
    }
    # TensorFlow 2.15's protos do not have the last field yet.
    if "defaults" in meta_graph_pb2.SignatureDef.DESCRIPTOR.fields_by_name:
        definition["defaults"] = {}
    assert status == 200
    assert body == {
        "model_spec": {"name": "default", "signature_name": "", "version": "123"},
        "metadata": {
            "signature_def": {"signature_def": {"serving_default": definition}}
        },
    }


# === Strings as tensor_content ===

STRINGS = [b"one", b"", b"\x00\xff", b"x" * 300]


@pytest.mark.parametrize("shape", [(4,), (2, 2), (1, 4, 1)])
def test_strings_as_content_are_tensorflows(shape):
    theirs = tensorflows_content(np.array(STRINGS, object).reshape(shape))
    ours = encode(np.array(STRINGS, object).reshape(shape), tf.string, as_content=True)
    assert not ours.string_val
    assert ours.SerializeToString() == theirs.SerializeToString()
    back = decode(theirs, "x")
    assert back.shape == shape and back.ravel().tolist() == STRINGS


@pytest.mark.parametrize(
    "content", [b"\x03one", b"\x09\x00\x00\x00one", b"\xff" * 20, b"\x04\x00"]
)
def test_strings_as_content_that_cannot_be(content):
    proto = make_tensor(types_pb2.DT_STRING, [4], tensor_content=content)
    with pytest.raises(RequestError, match="tensor parsing error: x"):
        decode(proto, "x")


def test_the_flag_writes_every_output_as_content(models_dir, serve):
    server = serve(models_dir, enable_serialization_as_tensor_content=True)
    image, mask = make_photo(20, 30)
    files = {"image_bytes": [png(image)], "mask_bytes": [png(mask)]}
    inputs = {name: tensorflows_content(one * 2) for name, one in files.items()}
    request = make_request("portrait", "encoded", **inputs)
    response = predict(f"localhost:{server.grpc_port}", request)
    for proto in response.outputs.values():
        assert proto.tensor_content and not proto.string_val
        # TensorFlow's own reader agrees.
        found = tf.io.parse_tensor(proto.SerializeToString(), tf.string).numpy()
        assert len(found) == 2 and all(one.startswith(b"\x89PNG") for one in found)
    # The real one's REST writer reads typed fields only, and answers garbage.
    encoded = {
        name: [{"b64": base64.b64encode(content[0]).decode()}]
        for name, content in files.items()
    }
    body = {"signature_name": "encoded", "inputs": encoded}
    status, answer = call_rest(server, "/v1/models/portrait:predict", body)
    assert status == 500
    assert "--enable_serialization_as_tensor_content" in answer["error"]


# === JSON ===


@pytest.fixture(scope="module")
def strings_dir(tmp_path_factory):
    """Answers how long its strings are, and the strings."""
    folder = tmp_path_factory.mktemp("strings")
    module = tf.Module()
    module.call = tf.function(
        lambda text: {"length": tf.strings.length(text), "text_bytes": text},
        input_signature=[tf.TensorSpec([None], tf.string, "text")],
    )
    tf.saved_model.save(module, str(folder / "1"), module.call)
    return folder


def test_base64_as_absl_reads_it(serve, strings_dir):
    server = serve(strings_dir, model_name="default")

    def ask(text):
        body = {"instances": [{"b64": text}]}
        return call_rest(server, "/v1/models/default:predict", body)

    b64 = {"b64": "cG9ydHJhaXQtMQ=="}
    expected = {"predictions": [{"length": 10, "text_bytes": b64}]}
    lines = "cG9y\ndHJh\r\naXQt\nMQ==\n"
    for text in (b64["b64"], "cG9ydHJhaXQtMQ", lines, " cG9y dHJhaXQtMQ= ="):
        assert ask(text) == (200, expected)
    for text in ("c", "cG9y?", "cG9yd", "=cG9", "cG9-"):
        status, answer = ask(text)
        assert status == 400 and "Unable to base64 decode" in answer["error"]


@pytest.mark.parametrize(
    ("body", "phrase"),
    [
        ({"instances": [[2.0], [2.0, 3.0]]}, "Expecting tensor size: 1 but got: 2"),
        ({"instances": [[2.0], 3.0]}, "Expecting shape [1] but got: []"),
        (
            {"instances": [{"x": 1.0}, {"x": "1"}]},
            "Failed to process element: 1 key: x of 'instances' list. Error:"
            " INVALID_ARGUMENT: JSON Value: '1' Type: String is not of expected type:"
            " float",
        ),
        (
            {"instances": [{"x": 1.0, "z": 1.0}]},
            "key: z of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not"
            " have named input: z",
        ),
        ({"inputs": [True]}, "JSON Value: True Type: True is not of expected type"),
        (
            {"inputs": [2**24]},
            "Cannot convert JSON value: 16777216 to float without loss of precision.",
        ),
        ({"inputs": [1e39]}, "1e+39 to float without loss of precision."),
        ({"inputs": [[1.0], 2.0]}, "2.0 found at incorrect level: 2 in the JSON DOM."),
        ({"inputs": [1.0, [2.0]]}, "Encountered list at unexpected level: 1 expected"),
        ({"instances": [{"x": 1.0}, 2.0]}, "Expecting object but got list at item 1"),
        (
            {"instances": [1.0, {"x": 2.0}]},
            "Expecting value/list but got object at item 1 of input list",
        ),
        ({"inputs": [[1.0], [1.0, 2.0]]}, "Encountered list at unexpected size: "),
    ],
)
def test_json_refusals_have_upstreams_words(served, body, phrase):
    status, answer = call_rest(served, "/v1/models/default:predict", body)
    assert status == 400 and phrase in answer["error"]


def test_floats_are_written_as_short_as_they_are_read(served):
    body = b'{"instances": [0.4, NaN, Infinity, -2]}'
    _, _, answer = call(served, "POST", "/v1/models/default:predict", body)
    assert answer == b'{"predictions": [2.2, NaN, Infinity, 1.0]}'


# === Start-up ===


def test_no_port_is_open_before_the_first_load(publish):
    folder = publish(1)
    pipe = folder / "1" / "batching_params.pbtxt"
    os.mkfifo(pipe)  # Whoever reads it waits, until somebody writes.
    ports = free_ports(2)
    server = LocalServer(
        folder, "stamp", grpc_port=ports[0], rest_port=ports[1],
        enable_batching=True, enable_per_model_batching_parameters=True,
    )  # fmt: skip
    starting = threading.Thread(target=server.start)
    starting.start()
    try:
        wait_until(lambda: server._manager and server._manager.statuses("stamp"))
        for port in ports:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port))
    finally:
        pipe.write_text("max_batch_size { value: 2 }")
        starting.join(60)
    for port in ports:
        socket.create_connection(("127.0.0.1", port)).close()
    server.stop()


def test_a_first_load_that_fails_ends_the_start(tmp_path):
    (tmp_path / "1").mkdir()
    server = LocalServer(tmp_path, "bad", grpc_port=0, rest_port=0)
    with pytest.raises(PortraitError) as caught:
        server.start()
    assert str(caught.value).startswith(
        "UNKNOWN: 1 servable(s) did not become available:"
        " {{{name: bad version: 1} due to error: "
    )


# === The command's own words ===


def test_an_unreadable_model_config(tmp_path):
    # tensorflow_serving/servables/tensorflow/testdata/bad_model_config.txt, in short.
    path = tmp_path / "bad_model_config.txt"
    path.write_text("improperly formatted file\n")
    code, said = run("serve", "--port=0", f"--model_config_file={path}")
    assert code == 2
    assert "Error parsing text-format tensorflow.serving.ModelServerConfig" in said
    assert "Failed to start server. Error: " in said
    assert f"Invalid protobuf file: '{path}'" in said


# === The table in docs/reference/embedded_server.md ===


def test_the_table_names_tests_that_exist():
    tests = pathlib.Path(__file__).parent
    page = tests.parents[1] / "docs" / "reference" / "embedded_server.md"
    table = page.read_text().split("## What is shared")[1]
    rows = [line for line in table.splitlines() if line.count(" | ") == 2][1:]
    conformance = "".join(
        path.read_text() for path in (tests.parent / "conformance").glob("test_*.py")
    )
    found = 0
    for row in rows:
        source = ""
        for name in re.findall(r"`([^`]*test_\w+(?:\.py)?)`", row.rpartition(" | ")[2]):
            if name.endswith(".py"):
                assert (tests.parents[1] / name).exists() or (
                    tests.parent / name
                ).exists(), name
                found += 1
                continue
            if "::" in name:
                alias, _, name = name.partition("::")
                if alias == "conformance":
                    source = conformance
                else:
                    suffix = "" if alias == "server" else f"_{alias}"
                    source = (tests / f"test_local_server{suffix}.py").read_text()
            assert f"def {name}(" in source, row
            found += 1
    assert found > 40
