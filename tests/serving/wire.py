"""Servers for the tests of the client: one that follows a script, one that adds TLS."""

import concurrent.futures
import contextlib
import select
import socket
import ssl
import subprocess
import threading

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.client import PortraitClient


class Script(
    prediction_service_pb2_grpc.PredictionServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
):
    """A real gRPC server that ends each call as the next entry of `outcomes` says.

    An entry is a pair of status and details, or None for an answer; after the last
    everything is answered. A completion is the photo itself.
    """

    def __init__(self, outcomes=(), outputs=None):
        self.outcomes = list(outcomes)
        self.outputs = outputs
        self.headers = []
        self.labels = []
        self.filters = []
        self.calls = 0
        self.under_way = 0
        self.most_under_way = 0
        self.pause = threading.Event()
        self.pause.set()
        self._lock = threading.Lock()

    def _next(self, request, context):
        with self._lock:
            self.calls += 1
            self.headers.append(dict(context.invocation_metadata()))
            self.labels.append(request.model_spec.version_label)
            self.filters.append(list(getattr(request, "output_filter", ())))
            outcome = self.outcomes.pop(0) if self.outcomes else None
        if outcome is not None:
            context.abort(*outcome)

    def Predict(self, request, context):
        self._next(request, context)
        with self._lock:
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        self.pause.wait(20)
        with self._lock:
            self.under_way -= 1
        response = predict_pb2.PredictResponse()
        outputs = self.outputs or {
            "completed": tf.make_ndarray(request.inputs["image"]),
            "parsing": tf.make_ndarray(request.inputs["mask"]) % 20,
        }
        for name, value in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response

    def GetModelStatus(self, request, context):
        self._next(request, context)
        response = get_model_status_pb2.GetModelStatusResponse()
        response.model_version_status.add(version=1, state=30)
        return response

    @contextlib.contextmanager
    def running(self, options=(), address="127.0.0.1:0"):
        """Gives the address, with its port."""
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            server = grpc.server(pool, options=options)
            prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
                self, server
            )
            model_service_pb2_grpc.add_ModelServiceServicer_to_server(self, server)
            port = server.add_insecure_port(address)
            server.start()
            try:
                yield address.removesuffix(":0") + f":{port}" * address.endswith(":0")
            finally:
                self.pause.set()
                server.stop(0).wait()


@contextlib.contextmanager
def scripted(outcomes=(), outputs=None, kind=PortraitClient, **settings):
    """A script's server, and a client of it with these settings."""
    script = Script(outcomes, outputs)
    with script.running() as address, kind(address, **settings) as client:
        yield script, client


@contextlib.contextmanager
def tls_before(port, context):
    """Ends TLS before a plaintext port of this machine; gives the new port."""

    def carry(connection):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(connection.close)
            connection.settimeout(10)
            inside = stack.enter_context(
                context.wrap_socket(connection, server_side=True)
            )
            outside = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            while True:
                readable = [inside] if inside.pending() else []
                readable += select.select([inside, outside], [], [], 10)[0]
                if not readable:
                    return
                for source in dict.fromkeys(readable):
                    block = source.recv(1 << 16)
                    if not block:
                        return
                    (outside if source is inside else inside).sendall(block)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        ended = threading.Event()

        def accept():
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, _ = listener.accept()
                    threading.Thread(
                        target=carry, args=[connection], daemon=True
                    ).start()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            thread.join()


def make_certificates(folder):
    """An authority, and a server's and a client's certificate that it signed."""

    def openssl(*arguments):
        subprocess.run(
            ["openssl", *map(str, arguments)],
            check=True, capture_output=True, cwd=folder, timeout=60,
        )  # fmt: skip

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]
    openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem",
            "-days", 2, "-subj", "/CN=tests")  # fmt: skip
    for name, host in (("server", "localhost"), ("client", "client")):
        (folder / "extensions").write_text(f"subjectAltName=DNS:{host}\n")
        openssl("req", *curve, "-keyout", f"{name}.key", "-out", "request.pem",
                "-subj", f"/CN={host}")  # fmt: skip
        openssl("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey",
                "ca.key", "-CAcreateserial", "-days", 2, "-out", f"{name}.pem",
                "-extfile", "extensions")  # fmt: skip
    return folder


def server_context(folder, clients=False):
    """TLS with the server's certificate; asks for a client's own if wanted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    context.set_alpn_protocols(["h2"])
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / "ca.pem")
    return context
