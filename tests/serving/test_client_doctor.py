"""`portrait-tf doctor`: each thing that can be wrong, made wrong for real."""

import contextlib
import logging
import pathlib
import re
import shutil
import socket
import threading

import grpc
import pytest
import tensorflow as tf
from command_line import run as run_command
from full_model import FullModel, save_full_model
from serving_photos import make_photo
from wire import Script, make_certificates, server_context, tls_before

from serving.client.doctor import Endpoint, examine
from serving.local_server import LocalServer

IMAGE, MASK = make_photo()


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    folder = save_full_model(tmp_path_factory.mktemp("full"))
    with LocalServer(folder, grpc_port=0, rest_port=0) as server:
        yield server


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(autouse=True)
def _own_log_handlers():
    """The command line logs to the stderr that it finds, which ends with a test."""
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def doctor(*arguments):
    """Exit code and output, of one line a step and one of advice."""
    return run_command("doctor", *arguments)


def check_failure(output, step, detail, advice):
    """Asserts that this step alone failed, as said, with one sentence of advice."""
    code, text = output
    assert code == 1, text
    (failure,) = re.findall(r"✘ ([^:]+): (.*)\n   → (.*)", text)
    assert failure[0] == step
    assert detail in failure[1] and advice in failure[2], text
    assert failure[2].count(". ") == 0 and failure[2].endswith(".")


def address(server):
    return f"localhost:{server.grpc_port}"


def test_all_well(full):
    rest = f"http://localhost:{full.rest_port}"
    code, text = doctor("--server", address(full), "--rest", rest)
    assert code == 0, text
    steps = re.findall(r"^✔ ([^:]+): ", text, re.MULTILINE)
    assert steps == [
        "name", "port", "protocol", "model", "state", "signatures",
        "photo by serving_default", "photo by encoded", "warm-up", "5 MB answer",
        "REST",
    ]  # fmt: skip
    assert len(text.splitlines()) == len(steps)
    assert re.search(r"96x64 and back in \d+\.\d{3} s, known pixels bit for bit", text)
    assert re.search(r"first request \d+\.\d{3} s, later \d+\.\d{3} s", text)


def test_absent_signatures_are_a_warning(server):
    code, text = doctor("--server", address(server))
    assert code == 0, text
    assert "! signatures: version 10 has serving_default, encoded; not parse" in text
    assert "- REST: nothing at http://localhost:" in text


def test_wrong_usage(tmp_path):
    for arguments, message in (
        (["--server", "localhost"], "expected HOST:PORT"),
        (["--server", "xds:portrait"], "no address of one server; expected HOST:PORT"),
        (["--server", "ipv4:10.0.0.1:1,10.0.0.2:1"], "no address of one server"),
        (["--server", "dns:///portrait"], "no address of one server"),
        (["--server", "localhost:1", "--timeout", "0"], "timeout is 0"),
        (["--server", "localhost:1", "--rest", "8501"], "--rest is '8501'"),
        (["--server", "localhost:1", "--client-key", "k"], "no client certificate"),
        (["--server", "a:1", "--root-certificates", tmp_path / "no"], "cannot read"),
    ):
        code, text = doctor(*arguments)
        assert code == 2 and message in text
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    code, text = doctor("--server", "localhost:1", "--root-certificates", garbage)
    assert code == 2 and "cannot be used" in text
    assert doctor()[0] == 2


@pytest.mark.parametrize(
    ("target", "endpoint"),
    [
        ("portrait:8500", Endpoint("portrait", 8500)),
        ("dns:8500", Endpoint("dns", 8500)),
        ("dns:///portrait:8500", Endpoint("portrait", 8500)),
        ("dns://8.8.8.8/portrait:8500", Endpoint("portrait", 8500)),
        ("[::1]:8500", Endpoint("::1", 8500)),
        ("ipv4:10.0.0.1:8500", Endpoint("10.0.0.1", 8500)),
        ("ipv6:[::1]:8500", Endpoint("::1", 8500)),
        ("ipv6:%5B::1%5D:8500", Endpoint("::1", 8500)),
        ("unix:portrait.sock", Endpoint(path="portrait.sock")),
        ("unix:/run/portrait.sock", Endpoint(path="/run/portrait.sock")),
        ("unix:///run/portrait.sock", Endpoint(path="/run/portrait.sock")),
        ("unix-abstract:portrait", Endpoint(path="\0portrait")),
    ],
)
def test_addresses(target, endpoint):
    assert Endpoint.of(target) == endpoint


@pytest.mark.parametrize(
    ("listens", "form", "steps"),
    [
        ("unix:{path}", "unix:{path}", ["socket", "protocol", "model"]),
        ("unix:{path}", "unix://{path}", ["socket", "protocol", "model"]),
        ("[::1]:0", "[::1]:{port}", ["name", "port", "protocol", "model"]),
        ("[::1]:0", "ipv6:[::1]:{port}", ["name", "port", "protocol", "model"]),
        ("127.0.0.1:0", "dns:///localhost:{port}", ["name", "port", "protocol"]),
    ],
)
def test_other_addresses(tmp_path, listens, form, steps):
    path = tmp_path / "socket"
    with Script().running(address=listens.format(path=path)) as address:
        port = address.rpartition(":")[2]
        findings = list(examine(form.format(path=path, port=port)))
    found = {one.step: one.state for one in findings}
    assert list(found)[: len(steps)] == steps
    assert all(found[step] == "ok" for step in [*steps, "state"])
    if "unix" in listens:
        assert found["REST"] == "skipped"


def test_a_socket_that_is_not_there(tmp_path):
    check_failure(
        doctor("--server", f"unix:{tmp_path}/socket"),
        "socket",
        f"{tmp_path}/socket is closed: No such file",
        "--grpc_socket_path",
    )


def test_name_that_does_not_resolve():
    check_failure(
        doctor("--server", "nowhere.invalid:8500"),
        "name",
        "nowhere.invalid does not resolve",
        "DNS",
    )


def test_port_that_is_closed():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        check_failure(
            doctor("--server", f"127.0.0.1:{port}"), "port", "is closed", "8500"
        )


def test_rest_port_for_grpc(full):
    check_failure(
        doctor("--server", f"localhost:{full.rest_port}"),
        "protocol",
        "speaks HTTP/1, not gRPC",
        "REST port",
    )


def test_a_port_of_something_else():
    def answer(listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"220 mail.example.org ESMTP\r\n")
                connection.recv(100)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=[listener])
        thread.start()
        check_failure(
            doctor("--server", f"127.0.0.1:{listener.getsockname()[1]}"),
            "protocol",
            "does not speak gRPC",
            "nothing else's",
        )
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_tls(full, certificates):
    roots = ["--root-certificates", certificates / "ca.pem"]
    with tls_before(full.grpc_port, server_context(certificates)) as port:
        server = ["--server", f"localhost:{port}"]
        code, text = doctor(*server, *roots)
        assert code == 0, text
        assert "HTTP/2 over TLS" in text
        check_failure(
            doctor(*server), "protocol", "speaks TLS, and plaintext was", "Add --tls"
        )
        check_failure(
            doctor(*server, "--tls"),
            "protocol",
            "certificate is not trusted",
            "--root-certificates",
        )
        check_failure(
            doctor("--server", f"127.0.0.1:{port}", *roots),
            "protocol",
            "not trusted",
            "--server-name",
        )
        named = ["--server-name", "localhost"]
        code, text = doctor("--server", f"127.0.0.1:{port}", *roots, *named)
        assert code == 0, text
    check_failure(
        doctor("--server", address(full), "--tls"),
        "protocol",
        "speaks plaintext, and TLS was tried",
        "Leave out --tls",
    )


def test_tls_that_wants_a_client_certificate(full, certificates):
    roots = ["--root-certificates", certificates / "ca.pem"]
    own = ["--client-key", certificates / "client.key",
           "--client-certificate", certificates / "client.pem"]  # fmt: skip
    context = server_context(certificates, clients=True)
    with tls_before(full.grpc_port, context) as port:
        server = ["--server", f"localhost:{port}"]
        code, text = doctor(*server, *roots, *own)
        assert code == 0, text
        check_failure(
            doctor(*server, *roots), "protocol", "TLS handshake", "--client-certificate"
        )


def test_unknown_model_and_version(full):
    check_failure(
        doctor("--server", address(full), "--model-name", "other"),
        "model",
        "does not serve model 'other'",
        "Give --model-name",
    )


def test_another_grpc_server():
    server = grpc.server(None)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        check_failure(
            doctor("--server", f"127.0.0.1:{port}"),
            "model",
            "UNIMPLEMENTED",
            "no TensorFlow Serving",
        )
    finally:
        server.stop(0).wait()


@pytest.mark.parametrize("code", ["UNAUTHENTICATED", "PERMISSION_DENIED"])
def test_api_key(code):
    script = Script([(grpc.StatusCode[code], "who are you?")])
    with script.running() as server:
        output = doctor("--server", server, "--api-key", "k")
        check_failure(output, "model", code, "--api-key")
        assert f"! key: the API key goes to {server} in plain text" in output[1]
    assert script.headers[0]["x-api-key"] == "k"


def test_states():
    from tensorflow_serving.apis import get_model_status_pb2

    class Loading(Script):
        states = ()

        def GetModelStatus(self, request, context):
            response = get_model_status_pb2.GetModelStatusResponse()
            for version, state, message in self.states:
                entry = response.model_version_status.add(version=version, state=state)
                entry.status.error_message = message
            return response

    script = Loading()
    with script.running() as server:
        script.states = [(3, 20, "")]
        check_failure(
            doctor("--server", server), "state", "3: LOADING", "Wait until it is loaded"
        )
        script.states = [(3, 50, "Op type not registered 'X'")]
        check_failure(
            doctor("--server", server),
            "state",
            "3: END (Op type not registered 'X')",
            "not newer than the server's",
        )
        script.states = [(3, 50, "no variables"), (2, 30, "")]
        found = {one.step: one for one in examine(server)}
        assert found["state"].state == "warning"
        assert "Version 3 did not load" in found["state"].advice


def test_another_model(serve, tmp_path):
    module = tf.Module()
    module.call = tf.function(
        lambda x: {"y": x}, input_signature=[tf.TensorSpec([None], tf.float32, "x")]
    )
    tf.saved_model.save(module, str(tmp_path / "1"), {"double": module.call})
    check_failure(
        doctor("--server", address(serve(tmp_path))),
        "signatures",
        "none of portrait-tf's, only double",
        "another model",
    )


def test_a_signature_of_other_fields(serve, tmp_path):
    module = tf.Module()
    module.call = tf.function(
        lambda image, mask: {"completed": image, "parsing": mask},
        input_signature=[
            tf.TensorSpec([None, None, None, 3], tf.float32, "image"),
            tf.TensorSpec([None, None, None, 1], tf.uint8, "mask"),
        ],
    )
    tf.saved_model.save(module, str(tmp_path / "1"), {"serving_default": module.call})
    check_failure(
        doctor("--server", address(serve(tmp_path))),
        "signatures",
        "serving_default: input 'image' is float32 of rank 4, expected uint8 of rank 4",
        "Export the model again",
    )


def test_a_model_that_changes_what_is_known(serve, tmp_path):
    class Changing(FullModel):
        @tf.function(
            input_signature=[
                tf.TensorSpec([None, None, None, 3], tf.uint8, "image"),
                tf.TensorSpec([None, None, None, 1], tf.uint8, "mask"),
            ]
        )
        def tensors(self, image, mask):
            return {"completed": image // 2 * 2, "parsing": mask % 20}

    module = Changing()
    tf.saved_model.save(
        module, str(tmp_path / "1"), {"serving_default": module.tensors}
    )
    check_failure(
        doctor("--server", address(serve(tmp_path))),
        "photo by serving_default",
        "known pixels came back changed",
        "does not keep what is known",
    )


def test_message_limit(full):
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow_serving.apis import get_model_metadata_pb2

    folder = pathlib.Path(full.options.model_base_path)
    file = folder / "1" / "saved_model.pb"
    graph = saved_model_pb2.SavedModel.FromString(file.read_bytes()).meta_graphs[0]
    signatures = get_model_metadata_pb2.SignatureDefMap()
    signatures.signature_def["serving_default"].CopyFrom(
        graph.signature_def["serving_default"]
    )

    class Limited(Script):
        def GetModelMetadata(self, request, context):
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.metadata["signature_def"].Pack(signatures)
            return response

    with Limited().running([("grpc.max_receive_message_length", 4 << 20)]) as server:
        check_failure(
            doctor("--server", server),
            "5 MB answer",
            "above the size limit",
            "Raise the message limits",
        )


def test_rest(full, serve, models_dir, tmp_path):
    server = ["--server", address(full), "--rest"]
    check_failure(
        doctor(*server, "http://localhost:1"), "REST", "refused", "--rest_api_port"
    )
    check_failure(
        doctor(*server, f"http://{address(full)}"), "REST", "/v1/models/", "Give --rest"
    )
    shutil.copytree(models_dir / "2", tmp_path / "1")
    other = serve(tmp_path, model_name="other")
    check_failure(
        doctor(*server, f"http://localhost:{other.rest_port}"),
        "REST",
        "Not Found",
        "--rest",
    )
