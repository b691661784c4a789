"""`portrait-tf doctor`: each thing that can be wrong, made wrong for real."""

import contextlib
import pathlib
import re
import socket
import subprocess
import threading

import grpc
import pytest
import tensorflow as tf
from command_line import run as run_command
from serving_photos import make_photo
from wire import Script, server_context, tls_before

from serving.client.doctor import Endpoint, examine

IMAGE, MASK = make_photo()


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


@pytest.mark.parametrize(
    ("target", "step", "detail", "advice"),
    [
        ("unix:/nowhere/socket", "socket", "socket is closed: No such file",
         "--grpc_socket_path"),
        ("nowhere.invalid:8500", "name", "nowhere.invalid does not resolve", "DNS"),
        ("127.0.0.1:{free}", "port", "is closed", "8500"),
        ("localhost:{rest}", "protocol", "speaks HTTP/1, not gRPC", "REST port"),
    ],
)  # fmt: skip
def test_what_is_not_there(full, free_port, target, step, detail, advice):
    target = target.format(free=free_port, rest=full.rest_port)
    check_failure(doctor("--server", target), step, detail, advice)


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
    named = ["--server-name", "localhost"]
    with tls_before(full.grpc_port, server_context(certificates)) as port:
        here, there = f"localhost:{port}", f"127.0.0.1:{port}"
        for arguments in ([here, *roots], [there, *roots, *named]):
            code, text = doctor("--server", *arguments)
            assert code == 0 and "HTTP/2 over TLS" in text
        for arguments, detail, advice in (
            ([here], "speaks TLS, and plaintext was", "Add --tls"),
            ([here, "--tls"], "certificate is not trusted", "--root-certificates"),
            ([there, *roots], "not trusted", "--server-name"),
            ([address(full), "--tls"], "speaks plaintext, and TLS was", "Leave out"),
        ):
            output = doctor("--server", *arguments)
            check_failure(output, "protocol", detail, advice)


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


def test_a_key_with_a_password_is_not_asked_for_it(certificates, tmp_path):
    key, path = certificates / "client.key", tmp_path / "locked.key"
    command = ["openssl", "ec", "-in", key, "-aes256", "-passout", "pass:x"]
    subprocess.run([*command, "-out", path], check=True, capture_output=True)
    own = ["--client-key", path, "--client-certificate", certificates / "client.pem"]
    code, text = doctor("--server", "localhost:1", *own)
    assert code == 2 and "belongs together, without a password: " in text


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


@pytest.fixture
def serve_call(serve, tmp_path):
    """Serves one function as one signature; gives the server's address."""

    def start(name, signature, function):
        module = tf.Module()
        module.call = tf.function(function, input_signature=signature)
        tf.saved_model.save(module, str(tmp_path / "1"), {name: module.call})
        return address(serve(tmp_path))

    return start


def pair_of(dtype):
    return [
        tf.TensorSpec([None, None, None, 3], dtype, "image"),
        tf.TensorSpec([None, None, None, 1], tf.uint8, "mask"),
    ]


@pytest.mark.parametrize(
    ("name", "signature", "function", "failure"),
    [
        (
            "double", [tf.TensorSpec([None], tf.float32, "x")], lambda x: {"y": x},
            ("signatures", "none of portrait-tf's, only double", "another model"),
        ),
        (
            "serving_default", pair_of(tf.float32),
            lambda image, mask: {"completed": image, "parsing": mask},
            ("signatures", "serving_default: input 'image' is float32 of rank 4,"
             " expected uint8 of rank 4", "Export the model again"),
        ),
        (
            "serving_default", pair_of(tf.uint8),
            lambda image, mask: {"completed": image // 2 * 2, "parsing": mask % 20},
            ("photo by serving_default", "known pixels came back changed",
             "does not keep what is known"),
        ),
    ],
)  # fmt: skip
def test_other_models(serve_call, name, signature, function, failure):
    server = serve_call(name, signature, function)
    check_failure(doctor("--server", server), *failure)


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


def test_rest(full, serve, models_dir):
    server = ["--server", address(full), "--rest"]
    other = serve(models_dir, model_name="other")
    for rest, detail, advice in (
        ("http://localhost:1", "refused", "--rest_api_port"),
        (f"http://{address(full)}", "/v1/models/", "Give --rest"),
        (f"http://localhost:{other.rest_port}", "Not Found", "--rest"),
    ):
        check_failure(doctor(*server, rest), "REST", detail, advice)
