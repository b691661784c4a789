"""The REST front end: TensorFlow Serving's HTTP paths and JSON forms.

    POST /v1/models/NAME[/versions/N]:predict
    GET  /v1/models/NAME[/versions/N]
    GET  /v1/models/NAME[/versions/N]/metadata
    GET  the path of MonitoringConfig, for Prometheus

`/labels/L` may stand for `/versions/N`. Bodies may be gzip, both ways. Every refusal
is `{"error": "..."}` with the HTTP status of its gRPC code.
"""

import contextlib
import dataclasses
import gzip
import http.server
import json
import logging
import re
import socket
import threading
import time
import zlib
from collections.abc import Iterator

import grpc
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import error_codes_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
)

from serving.local_server import json_tensors
from serving.local_server.core import ServerCore
from serving.local_server.request_error import RequestError, invalid_argument

MAX_BODY = 1 << 30
"""Bytes of a body, unpacked; four photos of 4096 x 4096 written as numbers."""

_MIN_GZIP_BODY = 1024
_IDLE_TIMEOUT = 120.0
_READ_BLOCK = 1 << 20
_MAX_LINE = 1 << 16
_PATH = re.compile(
    r"(?i)/v1/models/(?P<name>[^/:]+)"
    r"(?:/(?:versions/(?P<version>\d+)|labels/(?P<label>[^/:]+)))?"
    r"(?::(?P<method>classify|regress|predict)|(?P<metadata>/metadata))?"
)
_HTTP_STATUS = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class RestSettings:
    """How to answer.

    Attributes:
        timeout: Seconds for one run.
        cors: Whether web pages from elsewhere may call.
        metrics_path: Where the metrics are; None for nowhere.
    """

    timeout: float = 30.0
    cors: bool = False
    metrics_path: str | None = None


class RestFrontEnd:
    """An HTTP server on one address.

    Args:
        host: The address to bind.
        port: The port; 0 takes a free one.
        settings: How to answer.

    Attributes:
        port: The port that is bound.

    Raises:
        OSError: When the address cannot be bound.
    """

    def __init__(self, host: str, port: int, settings: RestSettings | None = None):
        self._server = _Server(host, port)
        self._server.settings = settings or RestSettings()
        self.port = self._server.server_address[1]
        self._thread: threading.Thread | None = None

    def start(self, core: ServerCore) -> None:
        """Begins to answer with `core`."""
        self._server.core = core
        self._server.server_activate()
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="rest", daemon=True
        )
        self._thread.start()

    def stop(self, grace: float) -> None:
        """Takes no new request and waits up to `grace` seconds for those running."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.drain(grace)
        self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    """Binds early, listens late, and knows which connections are in use."""

    daemon_threads = True
    request_queue_size = 128
    core: ServerCore
    settings: RestSettings

    def __init__(self, host: str, port: int):
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._connections: set[_Handler] = set()
        self._changed = threading.Condition()
        self._stopping = False
        super().__init__((host, port), _Handler, bind_and_activate=False)
        try:
            self.server_bind()
        except OSError:
            self.server_close()
            raise

    def server_bind(self) -> None:
        # Not http.server's own, which asks the DNS for the host's full name.
        super(http.server.HTTPServer, self).server_bind()
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request, client_address) -> None:  # noqa: ANN001
        _LOGGER.debug("connection from %s broke", client_address, exc_info=True)

    def add(self, handler: "_Handler") -> None:
        with self._changed:
            self._connections.add(handler)
            if self._stopping:
                handler.end_reading()

    def remove(self, handler: "_Handler") -> None:
        with self._changed:
            self._connections.discard(handler)
            self._changed.notify_all()

    def set_busy(self, handler: "_Handler", busy: bool) -> None:
        with self._changed:
            handler.busy = busy
            if self._stopping:
                handler.close_connection = True

    def drain(self, grace: float) -> None:
        """Ends connections that wait for a request; lets the others finish."""
        with self._changed:
            self._stopping = True
            for handler in self._connections:
                if not handler.busy:
                    handler.end_reading()
            self._changed.wait_for(lambda: not self._connections, grace)


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection, which may carry several requests."""

    protocol_version = "HTTP/1.1"
    server_version = "portrait-tf-local-server"
    sys_version = ""
    timeout = _IDLE_TIMEOUT
    # Headers and body leave as two writes; without this the second may wait 40 ms.
    disable_nagle_algorithm = True
    server: _Server
    busy = False

    def setup(self) -> None:
        super().setup()
        self.server.add(self)

    def finish(self) -> None:
        try:
            super().finish()
        finally:
            self.server.remove(self)

    def end_reading(self) -> None:
        # An error here means that the client was quicker.
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RD)

    def parse_request(self) -> bool:
        self.server.set_busy(self, True)
        return super().parse_request()

    def handle_one_request(self) -> None:
        super().handle_one_request()
        self.server.set_busy(self, False)

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_POST

    def log_message(self, format: str, *args) -> None:
        _LOGGER.debug(format, *args)

    def send_error(
        self, code: int, message: str | None = None, explain: str | None = None
    ) -> None:
        """What http.server itself refuses, in the JSON form of every other refusal."""
        self.close_connection = True
        self._send(code, {"error": message or self.responses.get(code, ("error",))[0]})

    def _handle(self) -> None:
        try:
            body = self._read_body()
            if body is not None:
                self._answer(body)
        except RequestError as error:
            self._send(_HTTP_STATUS.get(error.code, 500), {"error": error.message})
        except OSError:
            raise  # The connection itself: nobody is left to tell.
        except Exception as error:
            _LOGGER.exception("a request failed in the server")
            self._send(500, {"error": f"{type(error).__name__} in the server"})

    def _answer(self, body: bytes) -> None:
        path = self.path.partition("?")[0]
        settings = self.server.settings
        if path == settings.metrics_path:
            self._send_bytes(
                200, self.server.core.metrics.page().encode(), "text/plain"
            )
        elif settings.cors and self.command == "OPTIONS":
            self._send(200, {})
        else:
            self._send(200, self._produce(path, body))

    def _read_body(self) -> bytes | None:
        """The body, or None after a refusal that ends the connection."""
        encoding = self.headers.get("Transfer-Encoding", "identity").lower()
        if encoding not in ("identity", "chunked"):
            self.send_error(501, f"Transfer-Encoding {encoding!r} is not known")
            return None
        body = bytearray()
        try:
            for block in self._blocks(encoding == "chunked"):
                body += block
                if len(body) > MAX_BODY:
                    self.send_error(413, f"a body has at most {MAX_BODY} bytes")
                    return None
        except ValueError as error:
            self.send_error(400, str(error))
            return None
        if self.headers.get("Content-Encoding", "identity").lower() == "gzip":
            return _unpack(bytes(body))
        return bytes(body)

    def _blocks(self, chunked: bool) -> Iterator[bytes]:
        """A body in blocks, so that memory follows what arrives, not what is announced.

        Raises:
            ValueError: When a length is no number.
        """
        if not chunked:
            length = self.headers.get("Content-Length", "0")
            if not (length.isascii() and length.isdigit()):
                raise ValueError(f"Content-Length {length!r} is not a number")
            yield from self._read(int(length))
            return
        while True:
            line = self.rfile.readline(_MAX_LINE).partition(b";")[0].strip()
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,16}", line):
                raise ValueError(f"the length of a chunk is {line!r}")
            length = int(line, 16)
            if not length:
                break
            yield from self._read(length)
            self.rfile.readline(_MAX_LINE)
        while self.rfile.readline(_MAX_LINE).strip():
            pass  # Trailers.

    def _read(self, remaining: int) -> Iterator[bytes]:
        while remaining:
            block = self.rfile.read(min(remaining, _READ_BLOCK))
            if not block:
                raise ConnectionError("the connection ended inside a body")
            yield block
            remaining -= len(block)

    def _produce(self, path: str, body: bytes) -> dict:
        if not path.lower().startswith("/v1/"):
            raise RequestError(grpc.StatusCode.NOT_FOUND, f"Not found: {path}")
        match = _PATH.fullmatch(path)
        method = (match["method"] or "").lower() if match else ""
        expected = "POST" if method else "GET"
        if match is None or self.command != expected:
            raise invalid_argument(f"Malformed request: {self.command} {path}")
        spec = model_pb2.ModelSpec(name=match["name"])
        if match["version"]:
            if int(match["version"]) >= 2**63:
                raise invalid_argument(
                    f"Failed to convert version: {match['version']} to numeric."
                )
            spec.version.value = int(match["version"])
        elif match["label"]:
            spec.version_label = match["label"]
        if method == "predict":
            return _predict(self.server.core, spec, body, self.server.settings.timeout)
        if method:
            raise RequestError(
                grpc.StatusCode.UNIMPLEMENTED, f"{method} is not served by this server"
            )
        return (_metadata if match["metadata"] else _status)(self.server.core, spec)

    def _send(self, status: int, content: dict) -> None:
        self._send_bytes(status, json.dumps(content).encode(), "application/json")

    def _send_bytes(self, status: int, body: bytes, kind: str) -> None:
        # Headers are missing where http.server could not read a request.
        headers = getattr(self, "headers", None) or {}
        packs = (
            len(body) >= _MIN_GZIP_BODY
            and "gzip" in headers.get("Accept-Encoding", "").lower()
        )
        if packs:
            # The fastest level: this is mostly numbers.
            body = gzip.compress(body, 1)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if packs:
            self.send_header("Content-Encoding", "gzip")
        if self.server.settings.cors:
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
            self.send_header(
                "Access-Control-Allow-Headers", "Content-Type, Content-Encoding"
            )
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _unpack(body: bytes) -> bytes:
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        content = unpacker.decompress(body, MAX_BODY)
    except zlib.error as error:
        raise invalid_argument(
            f"Failed to uncompress the gzip body: {error}"
        ) from error
    if not unpacker.eof:
        raise invalid_argument("Failed to uncompress the gzip body: it is not whole")
    return content


def _predict(
    core: ServerCore, spec: model_pb2.ModelSpec, body: bytes, timeout: float
) -> dict:
    begun, status = time.monotonic(), "INTERNAL"
    try:
        with core.use(spec) as model:
            signature, inputs, row_form = json_tensors.parse_predict(body, model)
            for name, array in inputs.items():
                signature.check_input(name, signature.inputs[name].dtype, array.shape)
            outputs = signature.select_outputs(())
            results = model.run(signature, inputs, outputs, timeout)
        answer = json_tensors.format_predict(results, signature, row_form)
        core.record_runtime(spec.name, time.monotonic() - begun)
        status = "OK"
        return answer
    except RequestError as error:
        status = error.code.name
        raise
    finally:
        core.metrics.record_request(spec.name, "REST", status, time.monotonic() - begun)


def _status(core: ServerCore, spec: model_pb2.ModelSpec) -> dict:
    response = core.status(get_model_status_pb2.GetModelStatusRequest(model_spec=spec))
    state_name = get_model_status_pb2.ModelVersionStatus.State.Name
    return {
        "model_version_status": [
            {
                "version": str(entry.version),
                "state": state_name(entry.state),
                "status": {
                    "error_code": error_codes_pb2.Code.Name(entry.status.error_code),
                    "error_message": entry.status.error_message,
                },
            }
            for entry in response.model_version_status
        ]
    }


def _metadata(core: ServerCore, spec: model_pb2.ModelSpec) -> dict:
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec=spec, metadata_field=["signature_def"]
    )
    response = core.metadata(request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    return {
        "model_spec": {
            "name": response.model_spec.name,
            "signature_name": "",
            "version": str(response.model_spec.version.value),
        },
        "metadata": {
            "signature_def": {
                "signature_def": {
                    name: {
                        "inputs": _describe_tensors(definition.inputs),
                        "outputs": _describe_tensors(definition.outputs),
                        "method_name": definition.method_name,
                        "defaults": {},
                    }
                    for name, definition in signatures.signature_def.items()
                }
            }
        },
    }


def _describe_tensors(infos) -> dict:  # noqa: ANN001
    return {
        alias: {
            "dtype": types_pb2.DataType.Name(info.dtype),
            "tensor_shape": {
                "dim": [
                    {"size": str(dim.size), "name": dim.name}
                    for dim in info.tensor_shape.dim
                ],
                "unknown_rank": info.tensor_shape.unknown_rank,
            },
            "name": info.name,
        }
        for alias, info in infos.items()
    }
