"""The REST front end: TensorFlow Serving's HTTP paths and JSON forms.

    POST /v1/models/NAME[/versions/N]:predict
    GET  /v1/models/NAME[/versions/N]
    GET  /v1/models/NAME[/versions/N]/metadata
    GET  the path of MonitoringConfig, for Prometheus

`/labels/L` may stand for `/versions/N`. Bodies of requests may be gzip. Every refusal
is `{"error": "..."}` with the HTTP status of its gRPC code.
"""

import contextlib
import http.server
import inspect
import json
import logging
import re
import socket
import socketserver
import threading
import time
import urllib.parse
import zlib
from collections.abc import Callable, Iterator

import grpc
from google.protobuf import json_format, message
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
)

from serving.local_server import json_tensors
from serving.local_server.batching import Run
from serving.local_server.core import ServerCore
from serving.local_server.request_error import (
    RequestError,
    attempt,
    failed_precondition,
    invalid_argument,
    unimplemented,
)

_IDLE_TIMEOUT = 120.0
_READ_BLOCK = 1 << 20
_MAX_LINE = 1 << 16
_PATH = re.compile(
    r"(?i)/v1/models(?:/(?P<name>[^/:]+)|(?!.*:))"
    r"(?:/(?:versions/(?P<version>\d+)|labels/(?P<label>[^/:]+)))?"
    r"(?P<verb>:classify|:regress|:predict|/metadata|)"
)
_HTTP_STATUS = {
    "OK": 200, "CANCELLED": 499, "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400, "UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404, "ALREADY_EXISTS": 409, "ABORTED": 409, "RESOURCE_EXHAUSTED": 429,
    "UNIMPLEMENTED": 501, "UNAVAILABLE": 503, "DEADLINE_EXCEEDED": 504,
}  # fmt: skip
_LOGGER = logging.getLogger(__name__)


class _Refused(Exception):
    """HTTP's status and a sentence, for what is no request to the model."""


class RestFrontEnd(socketserver.ThreadingTCPServer):
    """An HTTP server, which answers at once; `port` is the one that is bound.

    Metrics are at `metrics_path`, None for nowhere. Raises OSError when the address
    cannot be bound.
    """

    allow_reuse_address = daemon_threads = True
    request_queue_size = 128

    def __init__(self, core: ServerCore, metrics_path: str | None):
        self.core, self.metrics_path = core, metrics_path
        self.changed = threading.Condition()
        self.busy, self.stopping = 0, False
        host, port = core.options.host, core.options.rest_api_port
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)
        self.port = self.server_address[1]
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.05,), name="rest", daemon=True
        )
        self._thread.start()

    def stop(self, grace: float) -> None:
        """Takes no new request and waits up to `grace` seconds for those running."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self.changed:
            self.stopping = True
            self.changed.wait_for(lambda: not self.busy, grace)

    def handle_error(self, request, client_address) -> None:  # noqa: ANN001
        _LOGGER.debug("connection from %s broke", client_address, exc_info=True)


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection, which may carry several requests."""

    protocol_version = "HTTP/1.1"
    server_version = "portrait-tf-local-server"
    sys_version = ""
    timeout = _IDLE_TIMEOUT
    # Headers and body leave as two writes; without this the second may wait 40 ms.
    disable_nagle_algorithm = True
    server: RestFrontEnd

    def do_POST(self) -> None:
        server = self.server
        with server.changed:
            server.busy += 1
        try:
            self._handle()
        finally:
            with server.changed:
                server.busy -= 1
                server.changed.notify_all()

    do_GET = do_HEAD = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_POST

    def log_message(self, format: str, *args) -> None:
        _LOGGER.debug(format, *args)

    def send_error(
        self, code: int, message: str | None = None, explain: str | None = None
    ) -> None:
        self.close_connection = True
        self._send(code, {"error": message or self.responses.get(code, ("error",))[0]})

    def _handle(self) -> None:
        begun = time.monotonic()
        if self.server.stopping:
            self.send_error(503, "the server is stopping")
            return
        try:
            body = self._read_body()
        except _Refused as refused:
            self.send_error(*refused.args)
            return
        path, metrics = self.path.partition("?")[0], self.server.core.metrics
        if path == self.server.metrics_path:
            text = f"Unexpected path: {self.path}. Should be {path}"
            is_exact = path == self.path
            page = metrics.page() if is_exact else text
            self._send_bytes(200 if is_exact else 400, page.encode(), "text/plain")
            return
        if not path.lower().startswith("/v1/"):
            self._send(404, {"error": f"Not found: {self.path}"})
            return
        match = _PATH.fullmatch(self.path)
        route = _ROUTES.get((self.command, match["verb"].lower())) if match else None
        code, answer = attempt(lambda: self._produce(match, route, body))
        name = urllib.parse.unquote(match["name"] or "") if route else ""
        method = match["verb"][1:] if route and ":" in match["verb"] else ""
        took = time.monotonic() - begun
        metrics.record_request(name, method, "REST", code.name, took)
        answer = answer if code is grpc.StatusCode.OK else {"error": answer}
        self._send(_HTTP_STATUS.get(code.name, 500), answer)

    def _produce(
        self, match: re.Match | None, route: Callable | None, body: bytes
    ) -> dict:
        if self.command == "OPTIONS":
            if not re.search("https?://", self.headers.get("Origin", "")):
                raise failed_precondition("Origin header is missing in CORS preflight")
            return {}
        if route is None:
            raise invalid_argument(f"Malformed request: {self.command} {self.path}")
        if not match["name"]:
            raise invalid_argument("Missing model name in request.")
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
        return route(self.server.core, spec, body)

    # === Bodies ===

    def _read_body(self) -> bytes:
        limit = self.server.core.options.rest_api_max_body_bytes
        too_large = _Refused(413, f"a body has at most {limit} bytes")
        encoding = self.headers.get("Transfer-Encoding", "identity").lower()
        if encoding not in ("identity", "chunked"):
            raise _Refused(501, f"Transfer-Encoding {encoding!r} is not known")
        body = bytearray()
        for length in self._chunks() if encoding == "chunked" else [self._length()]:
            if len(body) + length > limit:
                raise too_large
            end = len(body) + length
            while len(body) < end:
                # In blocks: memory follows what arrives, not what is announced.
                block = self.rfile.read(min(end - len(body), _READ_BLOCK))
                if not block:
                    raise ConnectionError("the connection ended inside a body")
                body += block
        if "gzip" not in self.headers.get("Content-Encoding", "").lower():
            return bytes(body)
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
        with contextlib.suppress(zlib.error):
            content = unpacker.decompress(body, limit)
            if unpacker.eof:
                return content
            if unpacker.unconsumed_tail:
                raise too_large
        raise _Refused(400, "Failed to uncompress the gzipped body")

    def _length(self) -> int:
        lengths = set(self.headers.get_all("Content-Length", ["0"]))
        length = lengths.pop()
        if lengths:
            raise _Refused(400, "two Content-Length headers differ")
        if not (length.isascii() and length.isdigit()):
            raise _Refused(400, f"Content-Length {length!r} is not a number")
        # Longer texts of digits are refused by Python; no limit is as large.
        return int(length) if len(length) <= 30 else 10**30

    def _chunks(self) -> Iterator[int]:
        """The lengths of chunks, each of which is to be read before the next."""
        while True:
            line = self.rfile.readline(_MAX_LINE).partition(b";")[0].strip()
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,16}", line):
                raise _Refused(400, f"the length of a chunk is {line!r}")
            if not int(line, 16):
                break
            yield int(line, 16)
            self.rfile.readline(_MAX_LINE)
        while self.rfile.readline(_MAX_LINE).strip():
            pass  # Trailers.

    def _send(self, status: int, content: dict) -> None:
        self._send_bytes(status, json.dumps(content).encode(), "application/json")

    def _send_bytes(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.server.core.options.rest_api_enable_cors_support:
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Access-Control-Allow-Methods", "POST, GET")
            self.send_header("Access-Control-Allow-Headers", "Content-Type")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


# === Routes ===


def _predict(core: ServerCore, spec: model_pb2.ModelSpec, body: bytes) -> dict:
    if core.options.enable_serialization_as_tensor_content:
        raise RequestError(
            grpc.StatusCode.INTERNAL,
            "REST cannot answer with --enable_serialization_as_tensor_content:"
            " TensorFlow Serving's writer reads typed fields only, and sends garbage",
        )
    timeout = core.options.rest_api_timeout_in_ms / 1000
    with core.use(spec) as model:
        signature, inputs, row_form = json_tensors.parse_predict(body, model)
        results = model.run(Run(signature, inputs, list(signature.outputs), timeout))
    return json_tensors.format_predict(results, signature, row_form)


def _refuse(core: ServerCore, spec: model_pb2.ModelSpec, body: bytes) -> dict:
    raise unimplemented("classify and regress are not served by this server")


def _status(core: ServerCore, spec: model_pb2.ModelSpec, body: bytes) -> dict:
    request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
    return _as_dict(core.status(request))


def _metadata(core: ServerCore, spec: model_pb2.ModelSpec, body: bytes) -> dict:
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec=spec, metadata_field=["signature_def"]
    )
    answer = _as_dict(core.metadata(request))
    del answer["metadata"]["signature_def"]["@type"]
    return answer


_ROUTES: dict[tuple[str, str], Callable] = {
    ("POST", ":predict"): _predict,
    ("POST", ":classify"): _refuse,
    ("POST", ":regress"): _refuse,
    ("GET", ""): _status,
    ("GET", "/metadata"): _metadata,
}


_AS_DICT = inspect.signature(json_format.MessageToDict).parameters
# The second one is protobuf's before 5.26, of the stack `addons`.
_WITH_DEFAULTS = _AS_DICT.keys() & {
    "always_print_fields_with_no_presence",
    "including_default_value_fields",
}


def _as_dict(proto: message.Message) -> dict:
    return json_format.MessageToDict(
        proto, preserving_proto_field_name=True, **dict.fromkeys(_WITH_DEFAULTS, True)
    )
