"""Looks for what is wrong between a client and a server, step by step.

Each step is one `Finding`; a step that needs an earlier one which failed is skipped.
The first steps (`examine_connection`) use plain sockets, because gRPC's own errors do
not tell a wrong port from a wrong protocol; the others (`examine_service`) are calls
of the client.
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
from collections.abc import Callable, Iterator
from http.client import HTTPException
from typing import Any

import numpy as np

from portrait_tf.errors import PortraitError
from serving.client.calls import NUM_LABELS
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

SIGNATURES = {
    "serving_default": (
        {"image": ("uint8", 4), "mask": ("uint8", 4)},
        {"completed": ("uint8", 4), "parsing": ("uint8", 4)},
    ),
    "encoded": (
        {"image_bytes": ("string", 1), "mask_bytes": ("string", 1)},
        {"completed_bytes": ("string", 1), "parsing_bytes": ("string", 1)},
    ),
    "parse": (
        {"image": ("uint8", 4), "mask": ("uint8", 4)},
        {"parsing": ("uint8", 4)},
    ),
    "complete_with_parsing": (
        {"image": ("uint8", 4), "mask": ("uint8", 4), "parsing": ("uint8", 4)},
        {"completed": ("uint8", 4)},
    ),
    "extrapolate": (
        {"image": ("uint8", 4), "margins": ("float32", 2)},
        {"completed": ("uint8", 4), "parsing": ("uint8", 4), "size": ("int32", 2)},
    ),
}
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
    is_reached = True
    for finding in examine_connection(target, tls):
        is_reached &= finding.state != FAILURE
        yield finding
    if is_reached:
        yield from examine_service(
            target, model_name, rest=rest, tls=tls, timeout=timeout, **settings
        )


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


def examine_connection(target: str, tls: Tls | None = None) -> Iterator[Finding]:
    """Name, port, and what is spoken there; stops with the first failure.

    Args:
        target: `HOST:PORT`.
        tls: As the client is to use it; None for plaintext.

    Raises:
        PortraitError: As `examine`.
    """
    endpoint = Endpoint.of(target)
    if tls is not None:
        try:
            _tls_context(tls)
        except (ssl.SSLError, ValueError) as error:
            raise PortraitError(
                "the certificates or the key cannot be used; expected PEM that belongs"
                f" together: {getattr(error, 'reason', None) or error}"
            ) from None
    if not endpoint.path:
        finding = _resolve(endpoint)
        yield finding
        if finding.state == FAILURE:
            return
    finding = _reach(endpoint)
    yield finding
    if finding.state != FAILURE:
        yield _examine_protocol(endpoint, tls)


def _resolve(endpoint: Endpoint) -> Finding:
    host = endpoint.host
    try:
        found = socket.getaddrinfo(host, endpoint.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return Finding(
            "name",
            FAILURE,
            f"{host} does not resolve: {getattr(error, 'strerror', None) or error}",
            "Check the spelling, and that this machine's DNS or /etc/hosts knows it.",
        )
    addresses = list(dict.fromkeys(entry[4][0] for entry in found))
    return Finding("name", OK, f"{host} is {', '.join(addresses)}")


def _reach(endpoint: Endpoint) -> Finding:
    step = "socket" if endpoint.path else "port"
    where = str(endpoint) if endpoint.path else f"{endpoint.port} on {endpoint.host}"
    try:
        endpoint.connect().close()
    except (ConnectionRefusedError, FileNotFoundError) as error:
        return Finding(
            step,
            FAILURE,
            f"{where} is closed: {error.strerror}",
            "Start the server, or give the socket that its --grpc_socket_path names."
            if endpoint.path
            else "Start the server, or give the port that its --port names (TensorFlow"
            " Serving's own is 8500) and publish it where it runs in a container.",
        )
    except OSError as error:
        return Finding(
            step,
            FAILURE,
            f"{where} cannot be reached: {error.strerror or error}",
            "Look for a firewall or a network policy between here and there, or for"
            " the rights to a socket.",
        )
    return Finding(step, OK, f"{where} is open")


def _examine_protocol(endpoint: Endpoint, tls: Tls | None) -> Finding:
    step = "protocol"
    if tls is None:
        said = _probe(endpoint, None)
        if said == "HTTP/2":
            return Finding(step, OK, "HTTP/2 in plaintext")
        # Not every web server answers HTTP/2's first bytes in its own protocol.
        if "HTTP/1" in (said, _probe(endpoint, None, _OLD_REQUEST)):
            return Finding(
                step,
                FAILURE,
                f"{endpoint} speaks HTTP/1, not gRPC",
                "This looks like the REST port; give the gRPC port, usually one below"
                " (8500).",
            )
        if _speaks_tls(endpoint):
            return Finding(
                step,
                FAILURE,
                f"{endpoint} speaks TLS, and plaintext was tried",
                "Add --tls, and --root-certificates where its authority is your own.",
            )
        return _not_http2(step, endpoint, said)
    if not _speaks_tls(endpoint):
        if _probe(endpoint, None) == "HTTP/2":
            return Finding(
                step,
                FAILURE,
                f"{endpoint} speaks plaintext, and TLS was tried",
                "Leave out --tls, or give the server its --ssl_config_file.",
            )
        return _not_http2(step, endpoint, "no TLS")
    try:
        said = _probe(endpoint, tls)
    except ssl.SSLCertVerificationError as error:
        return Finding(
            step,
            FAILURE,
            f"the server's certificate is not trusted: {error.verify_message}",
            "Give --server-name as the certificate has it."
            if "match" in error.verify_message
            else "Give its authority with --root-certificates, or renew it if it is"
            " out of date.",
        )
    except ssl.SSLError as error:
        return Finding(
            step,
            FAILURE,
            f"the server ended the TLS handshake: {error.reason or error}",
            "Give --client-key and --client-certificate of an authority that the server"
            " trusts.",
        )
    if said != "HTTP/2":
        return _not_http2(step, endpoint, said)
    return Finding(step, OK, "HTTP/2 over TLS, its certificate is trusted")


def _not_http2(step: str, endpoint: Endpoint, said: str) -> Finding:
    return Finding(
        step,
        FAILURE,
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
            context.load_cert_chain(path)
    return context


# === The service ===


def examine_service(
    target: str,
    model_name: str = "portrait",
    *,
    rest: str | None = None,
    tls: Tls | None = None,
    timeout: float = 60.0,
    **settings,
) -> Iterator[Finding]:
    """Model, state, signatures, requests, message size and REST.

    Args and errors are `examine`'s.
    """
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        client = PortraitClient(
            target,
            model_name,
            timeout=timeout,
            tls=tls,
            retry=RetryPolicy(attempts=1),
            **settings,
        )
    for entry in warned:
        yield Finding("key", WARNING, str(entry.message), "Add --tls.")
    with client:
        yield from _examine_model(client)
    yield _examine_rest(target, model_name, rest, tls, timeout)


def _examine_model(client: PortraitClient) -> Iterator[Finding]:
    try:
        states = client.status()
    except ServerError as error:
        yield _from_error("model", error)
        return
    yield Finding("model", OK, f"{client.model_name!r} is known")
    finding = _judge_states(states)
    yield finding
    if finding.state == FAILURE:
        return
    try:
        metadata = client.metadata()
    except ServerError as error:
        yield _from_error("signatures", error)
        return
    finding = _judge_signatures(metadata)
    yield finding
    if finding.state == FAILURE:
        return
    completing = [
        name for name in ("serving_default", "encoded") if name in metadata.signatures
    ]
    if not completing:
        yield Finding("photo", SKIPPED, "no signature takes a photo and a mask")
        return
    seconds = []
    for name in completing:
        finding, taken = _complete(client, f"photo by {name}", name, _SMALL)
        seconds.append(taken)
        yield finding
        if finding.state == FAILURE:
            return
    yield _examine_warmup(client, completing[0], seconds[0])
    if "serving_default" in completing:
        yield _complete(client, "5 MB answer", "serving_default", _LARGE)[0]
    else:
        yield Finding("5 MB answer", SKIPPED, "there is no serving_default")


def _from_error(step: str, error: ServerError) -> Finding:
    proxies = [name for name in _PROXIES if os.environ.get(name)]
    advice = "Look into the server's log for this request."
    if isinstance(error, NotFoundError):
        advice = (
            "Give --model-name as in the server's --model_name or its model config, and"
            " check that its base path holds a numbered folder."
        )
    elif isinstance(error, UnimplementedError):
        advice = "What answers there is no TensorFlow Serving; check host and port."
    elif isinstance(error, UnauthenticatedError | PermissionDeniedError):
        advice = "Give an --api-key that the server or its proxy knows."
    elif isinstance(error, MessageTooLargeError):
        advice = (
            "Raise the message limits of the server and of every proxy before it, for"
            " TensorFlow Serving"
            " --grpc_channel_arguments=grpc.max_receive_message_length=-1."
        )
    elif isinstance(error, DeadlineExceededError):
        advice = "Give a larger --timeout, or see what else the server is busy with."
    elif isinstance(error, UnavailableError) and proxies:
        advice = (
            f"gRPC goes through the proxy that {proxies[0]} names; put the host into"
            " no_proxy."
        )
    return Finding(step, FAILURE, str(error), advice)


def _judge_states(states: list[VersionStatus]) -> Finding:
    shown = ", ".join(
        f"{entry.version}: {entry.state}" + (f" ({entry.error})" if entry.error else "")
        for entry in states
    )
    available = [entry.version for entry in states if entry.state == "AVAILABLE"]
    failed = [entry.version for entry in states if entry.error]
    if not available:
        loading = any(entry.state in ("START", "LOADING") for entry in states)
        return Finding(
            "state",
            FAILURE,
            f"no version is AVAILABLE: {shown}",
            "Wait until it is loaded, and ask again."
            if loading and not failed
            else "Export the model again, with a TensorFlow that is not newer than the"
            " server's.",
        )
    if failed and max(failed) > max(available):
        return Finding(
            "state",
            WARNING,
            f"an older version answers: {shown}",
            f"Version {max(failed)} did not load; export it again or remove it.",
        )
    return Finding("state", OK, f"versions are {shown}")


def _judge_signatures(metadata: ModelMetadata) -> Finding:
    step, found = "signatures", metadata.signatures
    known = [name for name in SIGNATURES if name in found]
    if not known:
        return Finding(
            step,
            FAILURE,
            f"none of portrait-tf's, only {', '.join(sorted(found)) or 'none'}",
            "This is another model; check --model-name, and what its folder holds.",
        )
    for name in known:
        wrong = _wrong_fields(found[name], *SIGNATURES[name])
        if wrong:
            return Finding(
                step,
                FAILURE,
                f"{name}: {wrong}",
                "Export the model again with this version of portrait-tf.",
            )
    absent = [name for name in SIGNATURES if name not in found]
    detail = f"version {metadata.version} has {', '.join(known)}"
    if absent:
        return Finding(
            step,
            WARNING,
            f"{detail}; not {', '.join(absent)}",
            "Export the model again with all signatures if you need these.",
        )
    return Finding(step, OK, detail)


def _wrong_fields(signature: SignatureDescription, inputs: dict, outputs: dict) -> str:
    for kind, found, documented in (
        ("input", signature.inputs, inputs),
        ("output", signature.outputs, outputs),
    ):
        extra = set(found) - set(documented) if kind == "input" else set()
        for name in sorted(extra):
            return f"{kind} {name!r} is not documented"
        for name, (dtype, rank) in documented.items():
            if name not in found:
                return f"{kind} {name!r} is missing"
            shape = found[name].shape
            if found[name].dtype != dtype or shape is None or len(shape) != rank:
                shown = "any rank" if shape is None else f"rank {len(shape)}"
                return (
                    f"{kind} {name!r} is {found[name].dtype} of {shown}, expected"
                    f" {dtype} of rank {rank}"
                )
    return ""


def _complete(
    client: PortraitClient, step: str, signature: str, size: tuple[int, int]
) -> tuple[Finding, float]:
    """Sends a photo of noise; known pixels must come back bit for bit."""
    photo, mask = _noise(size)
    start = time.monotonic()
    try:
        result = client.complete(photo, mask, signature=signature)
    except ServerError as error:
        return _from_error(step, error), 0.0
    taken = time.monotonic() - start
    changed = (result.completed != photo).any(axis=-1) & (mask == 0)
    if changed.any():
        finding = Finding(
            step,
            FAILURE,
            f"{changed.sum()} of {(mask == 0).sum()} known pixels came back changed",
            "This model does not keep what is known; export it again with portrait-tf.",
        )
    elif result.parsing.max() >= NUM_LABELS:
        finding = Finding(
            step,
            FAILURE,
            f"the parsing map has label {result.parsing.max()}",
            f"Expected 0 to {NUM_LABELS - 1}; export the model again with portrait-tf.",
        )
    else:
        finding = Finding(
            step,
            OK,
            f"{size[0]}x{size[1]} and back in {taken:.3f} s, known pixels bit for bit",
        )
    return finding, taken


def _noise(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    photo = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    mask = np.zeros(size, np.uint8)
    mask[size[0] // 3 : size[0] // 2, size[1] // 3 : size[1] // 2] = 255
    return photo, mask


def _examine_warmup(client: PortraitClient, signature: str, first: float) -> Finding:
    step = "warm-up"
    seconds = []
    for _ in range(3):
        finding, taken = _complete(client, step, signature, _SMALL)
        if finding.state == FAILURE:
            return finding
        seconds.append(taken)
    later = statistics.median(seconds)
    detail = f"first request {first:.3f} s, later {later:.3f} s"
    if first > 3 * later and first - later > 0.5:
        return Finding(
            step,
            WARNING,
            detail,
            "Check that the version's folder has a warm-up file,"
            " assets.extra/tf_serving_warmup_requests.",
        )
    return Finding(step, OK, detail)


def _examine_rest(
    target: str, model_name: str, rest: str | None, tls: Tls | None, timeout: float
) -> Finding:
    step = "REST"
    endpoint = Endpoint.of(target)
    if rest is None and (tls or endpoint.path or endpoint.port == 65535):
        return Finding(step, SKIPPED, "no --rest was given")
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    url = (rest or f"http://{host}:{endpoint.port + 1}").rstrip("/")
    url = f"{url}/v1/models/{model_name}"
    try:
        states = _read_rest_states(url, tls, min(timeout, _PROBE_SECONDS))
    except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "reason", None) or error
        if rest is None:
            return Finding(step, SKIPPED, f"nothing at {url}; --rest says where it is")
        return Finding(
            step,
            FAILURE,
            f"{url}: {reason}",
            "Give --rest as http://HOST:PORT of the server's --rest_api_port"
            " (TensorFlow Serving's own is 8501).",
        )
    if "AVAILABLE" not in states:
        return Finding(
            step,
            FAILURE,
            f"{url} answers, and no version is AVAILABLE",
            "Check that --rest names the same server as --server.",
        )
    return Finding(step, OK, f"{url} answers, {', '.join(states)}")


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
