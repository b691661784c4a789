"""Looks for what is wrong between a client and a server, step by step.

Each step is one `Finding`. The first steps use plain sockets, because gRPC's own errors
do not tell a wrong port from a wrong protocol; the others are calls of the client.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import socket
import ssl
import statistics
import tempfile
import time
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable, Generator, Iterator
from http.client import HTTPException
from typing import Any

import numpy as np

from portrait_tf.errors import PortraitError
from portrait_tf.labels import NUM_LABELS
from serving.client.calls import COMPLETING
from serving.client.connection import RetryPolicy, Tls, check_target
from serving.client.errors import (
    DeadlineExceededError,
    MessageTooLargeError,
    NotFoundError,
    PermissionDeniedError,
    ServerError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
)
from serving.client.results import ModelMetadata, SignatureDescription, VersionStatus
from serving.client.sync import PortraitClient

OK, WARNING, FAILURE, SKIPPED = "ok", "warning", "failure", "skipped"

_PIXELS, _FILES, _JOINTS = ("uint8", 4), ("string", 1), ("float32", 3)
_PHOTO = {"image": _PIXELS, "mask": _PIXELS}
_RESULT = {"completed": _PIXELS, "parsing": _PIXELS}
SIGNATURES = {
    "serving_default": (_PHOTO, _RESULT),
    "encoded": (
        {"image_bytes": _FILES, "mask_bytes": _FILES},
        {"completed_bytes": _FILES, "parsing_bytes": _FILES},
    ),
    "parse": (_PHOTO, {"parsing": _PIXELS}),
    "complete_with_parsing": (_PHOTO | {"parsing": _PIXELS}, {"completed": _PIXELS}),
    "complete_with_joints": (
        _PHOTO | {"joints": _JOINTS}, _RESULT | {"joints": _JOINTS},
    ),
    "extrapolate": (
        {"image": _PIXELS, "margins": ("float32", 2)}, _RESULT | {"size": ("int32", 2)},
    ),
}  # fmt: skip
"""Dtype and rank of the inputs and of the outputs of each signature of an export."""

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_OLD_REQUEST = b"GET / HTTP/1.1\r\nHost: doctor\r\nConnection: close\r\n\r\n"
_SETTINGS_FRAME = 4
_PROBE_SECONDS = 5.0
_ALERT_SECONDS = 0.5
_SMALL, _LARGE = (96, 64), (1320, 1280)
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one step found.

    Attributes:
        step: What was looked at.
        state: `ok`, `warning`, `failure` or `skipped`.
        detail: What was found.
        advice: One sentence of what to do; empty where all is well.
    """

    step: str
    state: str
    detail: str
    advice: str = ""


class _Problem(Exception):
    """Raised inside a step: its detail, advice, and state."""

    def __init__(self, detail: str, advice: str = "", state: str = FAILURE) -> None:
        super().__init__(detail, advice, state)


def _look(name: str, look: Callable[..., str], *arguments: Any) -> Finding:
    """What a function found, which gives a sentence where all is well."""
    try:
        return Finding(name, OK, look(*arguments))
    except _Problem as problem:
        detail, advice, state = problem.args
        return Finding(name, state, detail, advice)
    except ServerError as error:
        return Finding(name, FAILURE, str(error), _advice(error))


def _take(steps: Iterator[tuple]) -> Generator[Finding, None, bool]:
    """The findings up to the first failure; True where there is none."""
    for step in steps:
        finding = _look(*step)
        yield finding
        if finding.state == FAILURE:
            return False
    return True


def examine(
    target: str,
    model_name: str = "portrait",
    *,
    rest: str | None = None,
    tls: Tls | None = None,
    timeout: float = 60.0,
    **settings,
) -> Iterator[Finding]:
    """All steps, each when it is done.

    A connection that fails is the last step; after a model that fails comes REST.

    Args:
        target: `HOST:PORT` of the gRPC port, or another address of one server as
            gRPC writes it (`unix:PATH`, `ipv6:[::1]:8500`).
        model_name: The name to ask for.
        rest: The REST API, such as `http://localhost:8501`; None to look at the port
            above the gRPC port, without a failure where there is none.
        tls: As the client is to use it; None for plaintext.
        timeout: Seconds for each call.
        **settings: Of `PortraitClient`, such as `api_key`.

    Raises:
        PortraitError: Arguments that cannot be: no such address, a certificate that
            cannot be read.
    """
    endpoint = Endpoint.of(target)
    if tls is not None:
        try:
            _tls_context(tls)
        except (OSError, ValueError) as error:
            raise PortraitError(
                "the certificates or the key cannot be used; expected PEM that belongs"
                " together, without a password:"
                f" {getattr(error, 'reason', None) or error}"
            ) from None
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        retry = RetryPolicy(attempts=1)
        client = PortraitClient(
            target, model_name, timeout=timeout, tls=tls, retry=retry, **settings
        )

    def connection_steps() -> Iterator[tuple]:
        if endpoint.path:
            yield "socket", _reach, endpoint
        else:
            yield "name", _resolve, endpoint.host, endpoint.port
            yield "port", _reach, endpoint
        yield "protocol", _examine_protocol, endpoint, tls
        for entry in warned:
            yield "key", _end, str(entry.message), WARNING, "Add --tls."

    with client:
        if (yield from _take(connection_steps())):
            yield from _take(_model_steps(client))
            yield _look("REST", _examine_rest, endpoint, model_name, rest, tls, timeout)


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """Where a server listens: a port of a host, or a Unix socket."""

    host: str = "localhost"
    port: int = 0
    path: str = ""

    @classmethod
    def of(cls, target: str) -> "Endpoint":
        """Of an address as gRPC writes it.

        Raises:
            PortraitError: It is none, or the address of several servers.
        """
        check_target(target)
        scheme, _, rest = target.partition(":")
        if scheme == "unix":
            return cls(path=re.sub("^//(?=/)", "", rest))
        if scheme == "unix-abstract":
            return cls(path="\0" + rest)
        if scheme in ("dns", "ipv4", "ipv6", "passthrough") and not rest.isdecimal():
            target = urllib.parse.unquote(re.sub("^//[^/]*/", "", rest))
        host, _, port = target.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not (host and port.isdecimal() and int(port) < 65536) or "," in host:
            raise PortraitError(
                f"the server {target!r} is no address of one server; expected"
                " HOST:PORT, or unix:PATH"
            )
        return cls(host, int(port))

    def __str__(self) -> str:
        """For messages."""
        return self.path.replace("\0", "@") if self.path else f"port {self.port}"

    def connect(self) -> socket.socket:
        """A connection."""
        if not self.path:
            return socket.create_connection((self.host, self.port), _PROBE_SECONDS)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_PROBE_SECONDS)
        try:
            connection.connect(self.path)
        except OSError:
            connection.close()
            raise
        return connection


# === The connection ===


def _resolve(host: str, port: int) -> str:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise _Problem(
            f"{host} does not resolve: {getattr(error, 'strerror', None) or error}",
            "Check the spelling, and that this machine's DNS or /etc/hosts knows it.",
        ) from None
    return f"{host} is {', '.join(dict.fromkeys(entry[4][0] for entry in found))}"


def _reach(endpoint: Endpoint) -> str:
    where = str(endpoint) if endpoint.path else f"{endpoint.port} on {endpoint.host}"
    try:
        endpoint.connect().close()
    except (ConnectionRefusedError, FileNotFoundError) as error:
        raise _Problem(
            f"{where} is closed: {error.strerror}",
            "Start the server, or give the socket that its --grpc_socket_path names."
            if endpoint.path
            else "Start the server, or give the port that its --port names (TensorFlow"
            " Serving's own is 8500) and publish it where it runs in a container.",
        ) from None
    except OSError as error:
        raise _Problem(
            f"{where} cannot be reached: {error.strerror or error}",
            "Look for a firewall or a network policy between here and there, or for"
            " the rights to a socket.",
        ) from None
    return f"{where} is open"


def _examine_protocol(endpoint: Endpoint, tls: Tls | None) -> str:
    if tls is not None and _speaks_tls(endpoint):
        return _examine_tls(endpoint, tls)
    said = _probe(endpoint, None)
    if said == "HTTP/2":
        if tls is None:
            return "HTTP/2 in plaintext"
        raise _Problem(
            f"{endpoint} speaks plaintext, and TLS was tried",
            "Leave out --tls, or give the server its --ssl_config_file.",
        )
    # Not every web server answers HTTP/2's first bytes in its own protocol.
    if "HTTP/1" in (said, _probe(endpoint, None, _OLD_REQUEST)):
        raise _Problem(
            f"{endpoint} speaks HTTP/1, not gRPC",
            "This looks like the REST port; give the gRPC port, usually one below"
            " (8500).",
        )
    if tls is None and _speaks_tls(endpoint):
        raise _Problem(
            f"{endpoint} speaks TLS, and plaintext was tried",
            "Add --tls, and --root-certificates where its authority is your own.",
        )
    raise _not_http2(endpoint, said)


def _examine_tls(endpoint: Endpoint, tls: Tls) -> str:
    try:
        said = _probe(endpoint, tls)
    except ssl.SSLCertVerificationError as error:
        raise _Problem(
            f"the server's certificate is not trusted: {error.verify_message}",
            "Give --server-name as the certificate has it."
            if "match" in error.verify_message
            else "Give its authority with --root-certificates, or renew it if it is"
            " out of date.",
        ) from None
    except ssl.SSLError as error:
        raise _Problem(
            f"the server ended the TLS handshake: {error.reason or error}",
            "Give --client-key and --client-certificate of an authority that the server"
            " trusts.",
        ) from None
    if said != "HTTP/2":
        raise _not_http2(endpoint, said)
    return "HTTP/2 over TLS, its certificate is trusted"


def _not_http2(endpoint: Endpoint, said: str) -> _Problem:
    return _Problem(
        f"{endpoint} does not speak gRPC ({said})",
        "Check that this is the gRPC port of the model server and nothing else's, and"
        " that a proxy before it passes HTTP/2 on.",
    )


def _probe(endpoint: Endpoint, tls: Tls | None, sent: bytes = _PREFACE) -> str:
    """What answers, by default HTTP/2's first bytes; SSLError where TLS fails."""
    try:
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(endpoint.connect())
            if tls is not None:
                connection = stack.enter_context(
                    _tls_context(tls).wrap_socket(
                        connection, server_hostname=tls.server_name or endpoint.host
                    )
                )
            answer = b""
            if tls is not None:
                # TLS 1.3 refuses a client's certificate after the handshake. What was
                # sent by then resets the connection, and takes the alert with it.
                connection.settimeout(_ALERT_SECONDS)
                with contextlib.suppress(TimeoutError):
                    answer = connection.recv(64)
                connection.settimeout(_PROBE_SECONDS)
            connection.sendall(sent)
            while len(answer) < 9 and (block := connection.recv(64)):
                answer += block
    except ssl.SSLError:
        raise
    except TimeoutError:
        return "no answer"
    except OSError as error:
        return error.strerror or str(error)
    if answer.startswith(b"HTTP/1"):
        return "HTTP/1"
    if len(answer) >= 9 and answer[3] == _SETTINGS_FRAME:
        return "HTTP/2"
    return "another protocol" if answer else "the connection was closed"


def _speaks_tls(endpoint: Endpoint) -> bool:
    """Whether a handshake goes so far that the server shows who it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with (
            endpoint.connect() as connection,
            context.wrap_socket(connection, server_hostname=endpoint.host),
        ):
            return True
    except ssl.SSLError as error:
        # A handshake that is refused (for want of a certificate) is one, too.
        return "ALERT" in (error.reason or "")
    except OSError:
        return False


def _tls_context(tls: Tls) -> ssl.SSLContext:
    roots, key, certificate = tls.read()
    context = ssl.create_default_context(cadata=roots.decode() if roots else None)
    # Python 3.13 asks more of certificates than gRPC does: here gRPC's view counts.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(["h2"])
    if key is not None:
        # The ssl module takes a chain from files only.
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "chain.pem"
            path.touch(0o600)
            path.write_bytes(key + b"\n" + certificate)
            # Without a password it would ask for one.
            context.load_cert_chain(path, password="none")
    return context


# === The service ===

_KEY = "Give an --api-key that the server or its proxy knows."
_ADVICE = {
    NotFoundError: "Give --model-name as in the server's --model_name or its model"
    " config, and check that its base path holds a numbered folder.",
    UnimplementedError: "What answers there is no TensorFlow Serving; check host and"
    " port.",
    UnauthenticatedError: _KEY,
    PermissionDeniedError: _KEY,
    MessageTooLargeError: "Raise the message limits of the server and of every proxy"
    " before it, for TensorFlow Serving"
    " --grpc_channel_arguments=grpc.max_receive_message_length=-1.",
    DeadlineExceededError: "Give a larger --timeout, or see what else the server is"
    " busy with.",
}


def _advice(error: ServerError) -> str:
    proxies = [name for name in _PROXIES if os.environ.get(name)]
    if isinstance(error, UnavailableError) and proxies:
        return (
            f"gRPC goes through the proxy that {proxies[0]} names; put the host into"
            " no_proxy."
        )
    return _ADVICE.get(type(error), "Look into the server's log for this request.")


def _model_steps(client: PortraitClient) -> Iterator[tuple]:
    """A name, a function and its arguments; later steps use what earlier ones found."""
    states: list[VersionStatus] = []
    signatures: dict[str, SignatureDescription] = {}
    seconds: list[float] = []

    def know() -> str:
        states.extend(client.status())
        return f"{client.model_name!r} is known"

    def judge_signatures() -> str:
        metadata = client.metadata()
        signatures.update(metadata.signatures)
        return _judge_signatures(metadata)

    yield "model", know
    yield "state", _judge_states, states
    yield "signatures", judge_signatures
    completing = [name for name in COMPLETING if name in signatures]
    if not completing:
        yield "photo", _end, "no signature takes a photo and a mask", SKIPPED
        return
    for name in completing:
        yield f"photo by {name}", _complete, client, name, _SMALL, seconds
    yield "warm-up", _examine_warmup, client, completing[0], seconds
    if "serving_default" in completing:
        yield "5 MB answer", _complete, client, "serving_default", _LARGE, []
    else:
        yield "5 MB answer", _end, "there is no serving_default", SKIPPED


def _end(detail: str, state: str, advice: str = "") -> str:
    raise _Problem(detail, advice, state)


def _judge_states(states: list[VersionStatus]) -> str:
    shown = ", ".join(
        f"{one.version}: {one.state}" + f" ({one.error})" * bool(one.error)
        for one in states
    )
    available = [entry.version for entry in states if entry.state == "AVAILABLE"]
    failed = [entry.version for entry in states if entry.error]
    if not available:
        loading = any(entry.state in ("START", "LOADING") for entry in states)
        raise _Problem(
            f"no version is AVAILABLE: {shown}",
            "Wait until it is loaded, and ask again."
            if loading and not failed
            else "Export the model again, with a TensorFlow that is not newer than the"
            " server's.",
        )
    if failed and max(failed) > max(available):
        advice = f"Version {max(failed)} did not load; export it again or remove it."
        raise _Problem(f"an older version answers: {shown}", advice, WARNING)
    return f"versions are {shown}"


def _judge_signatures(metadata: ModelMetadata) -> str:
    found = metadata.signatures
    known = [name for name in SIGNATURES if name in found]
    if not known:
        raise _Problem(
            f"none of portrait-tf's, only {', '.join(sorted(found)) or 'none'}",
            "This is another model; check --model-name, and what its folder holds.",
        )
    for name in known:
        if wrong := _wrong_fields(found[name], *SIGNATURES[name]):
            advice = "Export the model again with this version of portrait-tf."
            raise _Problem(f"{name}: {wrong}", advice)
    detail = f"version {metadata.version} has {', '.join(known)}"
    if absent := [name for name in SIGNATURES if name not in found]:
        raise _Problem(
            f"{detail}; not {', '.join(absent)}",
            "Export the model again with all signatures if you need these.",
            WARNING,
        )
    return detail


def _wrong_fields(signature: SignatureDescription, inputs: dict, outputs: dict) -> str:
    for name in sorted(set(signature.inputs) - set(inputs)):
        return f"input {name!r} is not documented"
    for kind, found, documented in (
        ("input", signature.inputs, inputs), ("output", signature.outputs, outputs),
    ):  # fmt: skip
        for name, (dtype, rank) in documented.items():
            if name not in found:
                return f"{kind} {name!r} is missing"
            shape = found[name].shape
            shown = "any rank" if shape is None else f"rank {len(shape)}"
            if (found[name].dtype, shown) != (dtype, f"rank {rank}"):
                return (
                    f"{kind} {name!r} is {found[name].dtype} of {shown}, expected"
                    f" {dtype} of rank {rank}"
                )
    return ""


def _complete(
    client: PortraitClient, signature: str, size: tuple[int, int], seconds: list[float]
) -> str:
    """Sends a photo of noise; known pixels must come back bit for bit."""
    photo, mask = _noise(size)
    start = time.monotonic()
    result = client.complete(photo, mask, signature=signature)
    seconds.append(time.monotonic() - start)
    changed = (result.completed != photo).any(axis=-1) & (mask == 0)
    if changed.any():
        raise _Problem(
            f"{changed.sum()} of {(mask == 0).sum()} known pixels came back changed",
            "This model does not keep what is known; export it again with portrait-tf.",
        )
    if result.parsing.max() >= NUM_LABELS:
        raise _Problem(
            f"the parsing map has label {result.parsing.max()}",
            f"Expected 0 to {NUM_LABELS - 1}; export the model again with portrait-tf.",
        )
    took = f"{seconds[-1]:.3f} s"
    return f"{size[0]}x{size[1]} and back in {took}, known pixels bit for bit"


def _noise(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    photo = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    mask = np.zeros(size, np.uint8)
    mask[size[0] // 3 : size[0] // 2, size[1] // 3 : size[1] // 2] = 255
    return photo, mask


def _examine_warmup(
    client: PortraitClient, signature: str, seconds: list[float]
) -> str:
    again: list[float] = []
    for _ in range(3):
        _complete(client, signature, _SMALL, again)
    first, later = seconds[0], statistics.median(again)
    detail = f"first request {first:.3f} s, later {later:.3f} s"
    if first > 3 * later and first - later > 0.5:
        advice = (
            "Check that the version's folder has a warm-up file,"
            " assets.extra/tf_serving_warmup_requests."
        )
        raise _Problem(detail, advice, WARNING)
    return detail


def _examine_rest(
    endpoint: Endpoint,
    model_name: str,
    rest: str | None,
    tls: Tls | None,
    timeout: float,
) -> str:
    if rest is None and (tls or endpoint.path or endpoint.port == 65535):
        raise _Problem("no --rest was given", state=SKIPPED)
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    url = (rest or f"http://{host}:{endpoint.port + 1}").rstrip("/")
    url = f"{url}/v1/models/{urllib.parse.quote(model_name, safe='')}"
    try:
        states = _read_rest_states(url, tls, min(timeout, _PROBE_SECONDS))
    except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
        if rest is None:
            detail = f"nothing at {url}; --rest says where it is"
            raise _Problem(detail, state=SKIPPED) from None
        raise _Problem(
            f"{url}: {getattr(error, 'reason', None) or error}",
            "Give --rest as http://HOST:PORT of the server's --rest_api_port"
            " (TensorFlow Serving's own is 8501).",
        ) from None
    if "AVAILABLE" not in states:
        raise _Problem(
            f"{url} answers, and no version is AVAILABLE",
            "Check that --rest names the same server as --server.",
        )
    return f"{url} answers, {', '.join(states)}"


def _read_rest_states(url: str, tls: Tls | None, timeout: float) -> list[str]:
    handlers: list[Any] = [urllib.request.ProxyHandler({})]
    if tls is not None:
        context = _tls_context(tls)
        context.set_alpn_protocols(["http/1.1"])
        handlers.append(urllib.request.HTTPSHandler(context=context))
    opener: Callable = urllib.request.build_opener(*handlers).open
    with opener(url, timeout=timeout) as answer:
        document = json.load(answer)
    return [entry["state"] for entry in document["model_version_status"]]
