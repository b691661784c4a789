"""What those who run the embedded server rely on: TLS, metrics, REST's fine print."""

import contextlib
import gzip
import http.client
import json
import signal
import socket
import threading

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_calls import make_request, refused, write_warm_up
from grpc_health.v1 import health_pb2, health_pb2_grpc
from server_calls import call, serve_command
from stamp_client import StampClient

from portrait_tf.errors import PortraitError
from serving.local_server.tensors import encode

PREDICT = "/v1/models/stamp:predict"


@pytest.fixture
def stamp(publish, serve):
    """Starts servers of `Stamp`."""

    def start(**options):
        return serve(publish(1), **({"model_name": "stamp"} | options))

    return start


# === Typed values ===


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (tf.uint8, [0, 1, 127, 128, 255]),
        (tf.int8, [-128, -1, 0, 127]),
        (tf.uint16, [0, 16383, 16384, 65535]),
        (tf.int32, [-(2**31), -1, 0, 2**31 - 1]),
        (tf.int64, [-(2**63), -1, 0, 2**35, 2**63 - 1]),
        (tf.uint32, [0, 2**32 - 1]),
        (tf.uint64, [0, 2**63, 2**64 - 1]),
        (tf.bool, [True, False, True]),
        (tf.float16, [0.0, -1.5, np.inf, 65504.0]),
        (tf.float32, [0.0, -1.5, 1e-40, np.inf]),
        (tf.float64, [0.0, 1e300, -np.inf]),
        (tf.string, [b"", b"a", b"\x00\xff"]),
    ],
)
def test_typed_values_are_tensorflows(dtype, values):
    array = np.array(values, object if dtype == tf.string else dtype.as_numpy_dtype)
    for shape in ((-1,), (1, -1, 1)):
        proto = encode(array.reshape(shape), dtype, as_content=False)
        assert not proto.tensor_content
        back = tf.make_ndarray(proto)
        assert back.shape == array.reshape(shape).shape
        np.testing.assert_array_equal(back.ravel(), array)
    empty = encode(array[:0].reshape(0, 3), dtype, as_content=False)
    assert tf.make_ndarray(empty).shape == (0, 3)


# === REST ===


def test_rest_gzip_bodies(stamp):
    server = stamp()
    body = gzip.compress(json.dumps({"inputs": [[1.0, 2.0]] * 100}).encode())
    status, headers, answer = call(
        server, "POST", PREDICT, body, Content_Encoding="gzip", Accept_Encoding="gzip"
    )
    # TensorFlow Serving packs no answers.
    assert status == 200 and "Content-Encoding" not in headers
    assert json.loads(answer)["outputs"]["total"] == [3.0] * 100
    for broken in (b"garbage", body[:-20]):
        status, _, answer = call(
            server, "POST", PREDICT, broken, Content_Encoding="gzip"
        )
        assert status == 400 and b"Failed to uncompress" in answer


def test_rest_bodies_have_one_limit(stamp):
    server = stamp(rest_api_max_body_bytes=1 << 20)
    bomb = gzip.compress(b"[" + b" " * (8 << 20))
    assert len(bomb) < 1 << 20
    status, _, answer = call(server, "POST", PREDICT, bomb, Content_Encoding="gzip")
    assert status == 413 and b"at most 1048576 bytes" in answer
    whole = b'{"inputs": [[1.0]]}'.ljust(1 << 20)
    assert call(server, "POST", PREDICT, whole)[0] == 200
    packed = gzip.compress(whole)
    assert call(server, "POST", PREDICT, packed, Content_Encoding="gzip")[0] == 200


def send_raw(server, head, body=""):
    """The first line of the answer, and the rest to the connection's end."""
    with socket.create_connection(("localhost", server.rest_port), 30) as connection:
        request = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n{body}"
        connection.sendall(request.encode())
        with connection.makefile("rb") as answer:
            return answer.readline(), answer.read()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (f"Content-Length: {(1 << 20) + 1}", b"413"),
        (f"Content-Length: {10**15}", b"413"),
        (f"Content-Length: {'9' * 5000}", b"413"),
        ("Content-Length: 5\r\nContent-Length: 6", b"400"),
        ("Content-Length: many", b"400"),
        ("Content-Length: -1", b"400"),
        ("Transfer-Encoding: chunked\r\n\r\n200000", b"413"),
        ("Transfer-Encoding: chunked\r\n\r\nxyz", b"400"),
        ("Transfer-Encoding: br", b"501"),
    ],
)
def test_rest_refuses_before_the_body(stamp, headers, expected):
    server = stamp(rest_api_max_body_bytes=1 << 20)
    # Not a byte of the body is sent, and the connection is closed.
    status, answer = send_raw(server, headers)
    assert expected in status and b'"error"' in answer
    assert call(server, "GET", "/v1/models/stamp")[0] == 200


def test_rest_two_equal_lengths_are_one(stamp):
    body = '{"inputs": [[1.0, 2.5]]}'
    length = f"Content-Length: {len(body)}\r\n"
    status, answer = send_raw(stamp(), f"{length}{length}Connection: close", body)
    assert b"200" in status and b"3.5" in answer


@pytest.mark.parametrize("version", ["9" * 5000, str(2**63), "0" * 5000 + "1"])
def test_rest_versions_of_many_digits(stamp, version):
    status, _, answer = call(stamp(), "GET", f"/v1/models/stamp/versions/{version}")
    if version.endswith("1"):
        assert status == 200
    else:
        assert status == 400 and b"Failed to convert version: " in answer


def test_rest_chunked_bodies(stamp):
    server = stamp()
    connection = http.client.HTTPConnection("localhost", server.rest_port, timeout=30)
    with contextlib.closing(connection):
        for _ in range(2):  # The connection stays usable.
            parts = (b'{"inputs": [[1.0,', b" 2.5]]", b"}")
            connection.request("POST", PREDICT, iter(parts), encode_chunked=True,
                               headers={"Transfer-Encoding": "chunked"})  # fmt: skip
            response = connection.getresponse()
            assert json.loads(response.read())["outputs"]["total"] == [3.5]


def test_rest_cors_by_its_flag(stamp):
    server = stamp(rest_api_enable_cors_support=True)
    status, headers, _ = call(server, "OPTIONS", PREDICT, Origin="http://page")
    assert status == 200 and headers["Access-Control-Allow-Origin"] == "*"
    assert "POST" in headers["Access-Control-Allow-Methods"]
    status, headers, _ = call(server, "GET", "/v1/models/none", Origin="http://page")
    assert status == 404 and headers["Access-Control-Allow-Origin"] == "*"


def test_rest_without_cors(stamp):
    server = stamp()
    # A preflight is answered all the same, but a browser finds no leave in it.
    status, headers, _ = call(server, "OPTIONS", PREDICT, Origin="http://page")
    assert status == 200 and "Access-Control-Allow-Origin" not in headers
    status, _, answer = call(server, "OPTIONS", PREDICT)
    assert status == 400 and b"Origin header is missing in CORS preflight" in answer


def test_rest_timeout(stamp):
    server = stamp(rest_api_timeout_in_ms=100)
    body = json.dumps({"signature_name": "wait", "instances": [20.0]})
    status, _, answer = call(server, "POST", PREDICT, body)
    assert status == 504 and "error" in json.loads(answer)


# === Metrics ===


@pytest.fixture
def monitoring(tmp_path):
    def write(text):
        path = tmp_path / "monitoring.config"
        path.write_text(text)
        return str(path)

    return write


def read_metrics(server, path):
    """Families by name, and a function of a metric's name and labels."""
    parser = pytest.importorskip("prometheus_client.parser")
    status, headers, page = call(server, "GET", path)
    assert status == 200 and headers["Content-Type"] == "text/plain"
    families = {
        family.name: family
        for family in parser.text_string_to_metric_families(page.decode())
    }

    def value(name, **labels):
        # The parser adds what Prometheus' own counters end in.
        names = (f":tensorflow:{name}", f":tensorflow:{name}_total")
        (found,) = (
            sample.value
            for family in families.values()
            for sample in family.samples
            if sample.name in names and sample.labels == labels
        )
        return found

    return families, value


def test_metrics(stamp, stamp_client, monitoring, tmp_path):
    path = "/monitoring/prometheus/metrics"
    server = stamp(
        monitoring_config_file=monitoring(
            f'prometheus_config {{ enable: true, path: "{path}" }}'
        ),
        enable_batching=True,
    )
    client = stamp_client(server)
    client.version()
    client.version()
    refused(client.stamp, [1.0])
    assert call(server, "POST", PREDICT, json.dumps({"inputs": [[1.0]]}))[0] == 200
    assert call(server, "GET", "/v1/models/stamp")[0] == 200
    assert call(server, "GET", PREDICT)[0] == 400
    refused(stamp_client(server, 'o"\\\n').version)
    families, value = read_metrics(server, path)
    assert families[":tensorflow:serving:request_count"].type == "counter"
    for name, status, count in (
        ("stamp", "OK", 4),
        ("stamp", "INVALID_ARGUMENT", 1),
        ("", "INVALID_ARGUMENT", 1),
        ('o"\\\n', "NOT_FOUND", 1),
    ):
        labels = {"model_name": name, "status": status}
        assert value("serving:request_count", **labels) == count
    runtime = {"model_name": "stamp", "API": "Predict", "runtime": "TF1"}
    assert value("serving:runtime_latency_count", **runtime) == 3
    # Only what succeeded; REST's verb as the URL spells it, none for a status page.
    for api, entrypoint, count in (
        ("Predict", "GRPC", 2), ("predict", "REST", 1), ("", "REST", 1),
    ):  # fmt: skip
        labels = {"model_name": "stamp", "API": api, "entrypoint": entrypoint}
        assert value("serving:request_latency_count", **labels) == count
        assert value("serving:request_latency_bucket", le="+Inf", **labels) == count
        assert value("serving:request_latency_sum", **labels) > 0
        buckets = [
            sample.value
            for sample in families[":tensorflow:serving:request_latency"].samples
            if sample.name.endswith("_bucket")
            and sample.labels.items() >= labels.items()
        ]
        assert len(buckets) == 34 and buckets == sorted(buckets)
    assert value("core:graph_runs") == 3
    assert value("core:graph_run_time_usecs") > 0
    assert value("serving:batching_session:wrapped_run_count") == 4
    folder = str(tmp_path / "stamp" / "1")
    loads = {"model_path": folder, "status": "success"}
    assert value("cc:saved_model:load_attempt_count", **loads) == 1
    assert value("cc:saved_model:load_latency", model_path=folder) > 0


def test_metrics_path_by_default(publish, serve, monitoring):
    path, folder = "/monitoring/prometheus/metrics", publish(1)
    server = serve(folder, monitoring_config_file=monitoring("prometheus_config {}"))
    assert call(server, "GET", path)[0] == 404
    config = monitoring("prometheus_config { enable: true }")
    server = serve(folder, monitoring_config_file=config)
    assert (
        b"# TYPE :tensorflow:core:graph_runs counter\n" in call(server, "GET", path)[2]
    )
    status, _, said = call(server, "GET", f"{path}?x")
    assert status == 400 and said.startswith(b"Unexpected path: ")


def test_series_are_bounded():
    from serving.local_server.metrics import MAX_SERIES, Metrics

    metrics = Metrics()
    for index in range(MAX_SERIES + 50):
        metrics.record_request(f"model {index}", "Predict", "GRPC", "OK", 0.001)
    lines = metrics.page().splitlines()
    assert sum("request_count{" in line for line in lines) == MAX_SERIES
    assert sum("request_latency_count{" in line for line in lines) == MAX_SERIES


# === gRPC ===


def test_health_service_by_its_flag(stamp):
    server = stamp(enable_grpc_healthcheck_service=False)
    with grpc.insecure_channel(f"localhost:{server.grpc_port}") as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        assert refused(check, health_pb2.HealthCheckRequest())[0] == "UNIMPLEMENTED"


@pytest.mark.parametrize("verify", [False, True])
def test_tls(stamp, certificates, tmp_path, verify):
    def quoted(name):
        return json.dumps((certificates / name).read_text())

    text = f"server_key: {quoted('server.key')} server_cert: {quoted('server.pem')}"
    if verify:
        text += f" custom_ca: {quoted('ca.pem')} client_verify: true"
    path = tmp_path / "ssl"
    path.write_text(text)
    server = stamp(ssl_config_file=str(path))
    authority, key, certificate = (
        (certificates / name).read_bytes()
        for name in ("ca.pem", "client.key", "client.pem")
    )

    def ask(*own):
        credentials = grpc.ssl_channel_credentials(authority, *own)
        address = f"localhost:{server.grpc_port}"
        with grpc.secure_channel(address, credentials) as channel:
            return StampClient(channel).version()

    assert ask(key, certificate) == 1
    assert refused(ask)[0] == "UNAVAILABLE" if verify else ask() == 1
    with grpc.insecure_channel(f"localhost:{server.grpc_port}") as channel:
        assert refused(StampClient(channel).version)[0] == "UNAVAILABLE"
    # TLS is gRPC's alone, as in TensorFlow Serving.
    assert call(server, "GET", "/v1/models/stamp")[0] == 200


@pytest.mark.parametrize(
    ("option", "text", "phrase"),
    [
        ("ssl", "server_key: 'k'", "expected server_key, the text of a PEM file"),
        (
            "ssl",
            "server_key: '-----BEGIN ' server_cert: '-----BEGIN ' client_verify: true",
            "expected custom_ca",
        ),
        ("ssl", "server_key: '-----BEGIN '", "expected server_cert"),
        (
            "ssl",
            "server_key: '-----BEGIN ' server_cert: '-----BEGIN '",
            "expected a key and its certificate, received texts that are none",
        ),
        ("ssl", "serverkey: 'k'", 'no field named "serverkey"'),
        ("ssl", "server_key: ", "Error parsing text-format tensorflow.serving.SSLC"),
        ("tensorflow_session", None, "cannot be read"),
        ("tensorflow_session", "threads: 3", "text-format tensorflow.ConfigProto: "),
        ("monitoring", "x: 3", "text-format tensorflow.serving.MonitoringConfig: "),
    ],
)
def test_files_that_cannot_be(stamp, tmp_path, option, text, phrase):
    path = tmp_path / "some.config"
    if text:
        path.write_text(text)
    with pytest.raises(PortraitError) as caught:
        stamp(**{f"{option}_config_file": str(path)})
    assert str(path) in str(caught.value) and phrase in str(caught.value)


# === Warm-up ===


def test_warm_up_iterations_and_none(publish, serve, stamp_client, caplog):
    caplog.set_level("INFO", "serving.local_server")
    folder = publish(1)
    write_warm_up(folder / "1", make_request("stamp", x=np.ones((1, 1), "f")))
    for options, runs in (
        ({"num_request_iterations_for_warmup": 3}, 3),
        ({"enable_model_warmup": False}, 0),
    ):
        server = serve(folder, model_name="stamp", **options)
        assert f"graph_runs{{}} {runs}\n" in server._metrics.page()


# === The command ===


def test_the_command_logs_and_lets_a_request_finish(publish, tmp_path):
    """What scripts wait for is logged in this order; SIGTERM ends it."""
    path = tmp_path / "models.config"
    path.write_text(
        f"model_config_list {{ config {{ name: 'stamp' base_path: '{publish(1)}'"
        " model_platform: 'tensorflow' } }"
    )
    flags = ("--enable_batching", f"--model_config_file={path}")
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(serve_command(*flags))
        address = process.stdout.readline().split("gRPC ")[1].split(",")[0]
        client = StampClient(stack.enter_context(grpc.insecure_channel(address)))
        assert client.version() == 1
        running = client.wait(2.0)
        threading.Event().wait(0.5)
        assert not running.done()
        process.send_signal(signal.SIGTERM)
        assert running.result().outputs["count"].int_val
        assert process.wait(60) == 0
        said = process.stderr.read()
    assert "Traceback" not in said
    order = [
        said.index(phrase)
        for phrase in (
            "No warmup data file found at ",
            "Successfully loaded servable version {name: stamp version: 1}",
            "Running gRPC ModelServer at ",
            "Exporting HTTP/REST API at:",
        )
    ]
    assert order == sorted(order)
