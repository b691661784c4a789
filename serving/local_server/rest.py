"""The REST front end: TensorFlow Serving's HTTP paths and JSON forms.

    POST /v1/models/NAME[/versions/N]:predict
    GET  /v1/models/NAME[/versions/N]
    GET  /v1/models/NAME[/versions/N]/metadata
    GET  the path of MonitoringConfig, for Prometheus

`/labels/L` may stand for `/versions/N`. Bodies of requests may be gzip. Every refusal
is `{"error": "..."}` with the HTTP status of its gRPC code.
"""

import contextlib
import dataclasses
import http.server
import json
import logging
import re
import socket
import threading
import time
import urllib.parse
import zlib
from collections.abc import Iterator

import grpc
from google.protobuf import json_format, message
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
)

from serving.local_server import json_tensors
from serving.local_server.core import ServerCore
from serving.local_server.predict import run
from serving.local_server.request_error import RequestError, invalid_argument

_IDLE_TIMEOUT = 120.0
_READ_BLOCK = 1 << 20
_MAX_LINE = 1 << 16
_PATH = re.compile(
    r"(?i)/v1/models/(?P<name>[^/:]+)"
    r"(?:/(?:versions/(?P<version>\d+)|labels/(?P<label>[^/:]+)))?"
    r"(?::(?P<method>classify|regress|predict)|(?P<metadata>/metadata))?"
)
_HTTP_STATUS = {
    grpc.StatusCode.OK: 200,
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

    Seconds for one run; whether web pages from elsewhere may call; where the metrics
    are, None for nowhere; bytes of a body, packed and unpacked.
    """

    timeout: float = 30.0
    cors: bool = False
    metrics_path: str | None = None
    max_body: int = 1 << 30


class RestFrontEnd:
    """An HTTP server on one address, which answers at once.

    `port` is the one that is bound; OSError when the address cannot be.
    """

    def __init__(self, core: ServerCore, host: str, port: int, settings: RestSettings):
        self._server = _Server(core, host, port, settings)
        self.port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="rest", daemon=True
        )
        self._thread.start()

    def stop(self, grace: float) -> None:
        """Takes no new request and waits up to `grace` seconds for those running."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        with self._server.changed:
            self._server.stopping = True
            self._server.changed.wait_for(lambda: not self._server.busy, grace)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, core: ServerCore, host: str, port: int, settings: RestSettings):
        self.core, self.settings = core, settings
        self.changed = threading.Condition()
        self.busy, self.stopping = 0, False
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        # Not http.server's own, which asks the DNS for the host's full name.
        super(http.server.HTTPServer, self).server_bind()
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request, client_address) -> None:  # noqa: ANN001
        _LOGGER.debug("connection from %s broke", client_address, exc_info=True)

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Counts a request until its answer is written."""
        with self.changed:
            self.busy += 1
        try:
            yield
        finally:
            with self.changed:
                self.busy -= 1
                self.changed.notify_all()


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection, which may carry several requests."""

    protocol_version = "HTTP/1.1"
    server_version = "portrait-tf-local-server"
    sys_version = ""
    timeout = _IDLE_TIMEOUT
    # Headers and body leave as two writes; without this the second may wait 40 ms.
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        with self.server.counted():
            self._handle()

    do_GET = do_HEAD = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_POST

    def log_message(self, format: str, *args) -> None:
        _LOGGER.debug(format, *args)

    def send_error(
        self, code: int, message: str | None = None, explain: str | None = None
    ) -> None:
        """What HTTP itself refuses, in the JSON form of every other refusal."""
        self.close_connection = True
        self._send(code, {"error": message or self.responses.get(code, ("error",))[0]})

    def _handle(self) -> None:
        begun = time.monotonic()
        if self.server.stopping:
            self.send_error(503, "the server is stopping")
            return
        body = self._read_body()
        if body is None:
            return
        path, metrics = self.path, self.server.core.metrics
        if path.partition("?")[0] == self.server.settings.metrics_path:
            if path == self.server.settings.metrics_path:
                self._send_bytes(200, metrics.page().encode(), "text/plain")
            else:
                text = f"Unexpected path: {path}. Should be {path.partition('?')[0]}"
                self._send_bytes(400, text.encode(), "text/plain")
            return
        if not path.lower().startswith("/v1/"):
            self._send(404, {"error": f"Not found: {path}"})
            return
        match = _PATH.fullmatch(path)
        code, answer = grpc.StatusCode.OK, {}
        try:
            answer = self._produce(match, body)
        except RequestError as error:
            code, answer = error.code, {"error": error.message}
        except Exception as error:
            _LOGGER.exception("a request failed in the server")
            answer = {"error": f"{type(error).__name__} in the server"}
            code = grpc.StatusCode.INTERNAL
        name = urllib.parse.unquote(match["name"]) if self._is_known(match) else ""
        method = match["method"] or "" if name else ""
        took = time.monotonic() - begun
        metrics.record_request(name, method, "REST", code.name, took)
        self._send(_HTTP_STATUS.get(code, 500), answer)

    def _is_known(self, match: re.Match | None) -> bool:
        expected = "POST" if match and match["method"] else "GET"
        return match is not None and self.command == expected

    def _produce(self, match: re.Match | None, body: bytes) -> dict:
        if self.command == "OPTIONS":
            if not re.search("https?://", self.headers.get("Origin", "")):
                raise RequestError(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    "Origin header is missing in CORS preflight",
                )
            return {}
        if not self._is_known(match):
            raise invalid_argument(f"Malformed request: {self.command} {self.path}")
        core = self.server.core
        spec = model_pb2.ModelSpec(name=urllib.parse.unquote(match["name"]))
        if match["version"]:
            digits = match["version"].lstrip("0") or "0"
            if len(digits) > 19 or int(digits) >= 2**63:
                raise invalid_argument(
                    f"Failed to convert version: {match['version']} to numeric."
                )
            spec.version.value = int(digits)
        elif match["label"]:
            spec.version_label = urllib.parse.unquote(match["label"])
        method = (match["method"] or "").lower()
        if method == "predict":
            return _predict(core, spec, body, self.server.settings.timeout)
        if method:
            raise RequestError(
                grpc.StatusCode.UNIMPLEMENTED, f"{method} is not served by this server"
            )
        return _metadata(core, spec) if match["metadata"] else _status(core, spec)

    # === Bodies ===

    def _read_body(self) -> bytes | None:
        """The body, or None after a refusal that ends the connection."""
        limit = self.server.settings.max_body
        too_large = f"a body has at most {limit} bytes"
        encoding = self.headers.get("Transfer-Encoding", "identity").lower()
        if encoding not in ("identity", "chunked"):
            self.send_error(501, f"Transfer-Encoding {encoding!r} is not known")
            return None
        body = bytearray()
        try:
            lengths = self._chunks() if encoding == "chunked" else [self._length()]
            for length in lengths:
                if len(body) + length > limit:
                    self.send_error(413, too_large)
                    return None
                for block in self._read(length):
                    body += block
        except ValueError as error:
            self.send_error(400, str(error))
            return None
        if "gzip" not in self.headers.get("Content-Encoding", "").lower():
            return bytes(body)
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            content = unpacker.decompress(body, limit)
        except zlib.error as error:
            self.send_error(400, f"Failed to uncompress the gzipped body: {error}")
            return None
        if unpacker.eof:
            return content
        if unpacker.unconsumed_tail:
            self.send_error(413, too_large)
        else:
            self.send_error(400, "Failed to uncompress the gzipped body: it is cut off")
        return None

    def _length(self) -> int:
        lengths = set(self.headers.get_all("Content-Length", ["0"]))
        length = lengths.pop()
        if lengths:
            raise ValueError("two Content-Length headers differ")
        if not (length.isascii() and length.isdigit()):
            raise ValueError(f"Content-Length {length!r} is not a number")
        # Longer texts of digits are refused by Python; no limit is as large.
        return int(length) if len(length) <= 30 else 10**30

    def _chunks(self) -> Iterator[int]:
        """The lengths of chunks, each of which is to be read before the next."""
        while True:
            line = self.rfile.readline(_MAX_LINE).partition(b";")[0].strip()
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,16}", line):
                raise ValueError(f"the length of a chunk is {line!r}")
            if not int(line, 16):
                break
            yield int(line, 16)
            self.rfile.readline(_MAX_LINE)
        while self.rfile.readline(_MAX_LINE).strip():
            pass  # Trailers.

    def _read(self, remaining: int) -> Iterator[bytes]:
        """In blocks, so that memory follows what arrives, not what is announced."""
        while remaining:
            block = self.rfile.read(min(remaining, _READ_BLOCK))
            if not block:
                raise ConnectionError("the connection ended inside a body")
            yield block
            remaining -= len(block)

    def _send(self, status: int, content: dict) -> None:
        self._send_bytes(status, json.dumps(content).encode(), "application/json")

    def _send_bytes(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.server.settings.cors:
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Access-Control-Allow-Methods", "POST, GET")
            self.send_header("Access-Control-Allow-Headers", "Content-Type")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _predict(
    core: ServerCore, spec: model_pb2.ModelSpec, body: bytes, timeout: float
) -> dict:
    if core.as_content:
        raise RequestError(
            grpc.StatusCode.INTERNAL,
            "REST cannot answer with --enable_serialization_as_tensor_content:"
            " TensorFlow Serving's writer reads typed fields only, and sends garbage",
        )
    with core.use(spec) as model:
        signature, inputs, row_form = json_tensors.parse_predict(body, model)
        outputs = signature.select_outputs(())
        results = run(
            model, spec.name, signature, inputs, outputs, core.metrics, timeout
        )
    return json_tensors.format_predict(results, signature, row_form)


def _status(core: ServerCore, spec: model_pb2.ModelSpec) -> dict:
    request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
    return _as_dict(core.status(request))


def _metadata(core: ServerCore, spec: model_pb2.ModelSpec) -> dict:
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec=spec, metadata_field=["signature_def"]
    )
    response = core.metadata(request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    return {
        "model_spec": _as_dict(response.model_spec),
        "metadata": {"signature_def": _as_dict(signatures)},
    }


def _as_dict(proto: message.Message) -> dict:
    options = {"preserving_proto_field_name": True}
    try:
        options["always_print_fields_with_no_presence"] = True
        return json_format.MessageToDict(proto, **options)
    except TypeError:  # protobuf before 5.26, of the stack `addons`
        del options["always_print_fields_with_no_presence"]
        return json_format.MessageToDict(
            proto, including_default_value_fields=True, **options
        )
