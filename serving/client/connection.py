"""How a client connects: TLS, keepalive, retries, headers, gRPC's options."""

import dataclasses
import json
import math
import numbers
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from portrait_tf.errors import PortraitError
from portrait_tf.files import read_file
from serving.client.protocol import METADATA, PREDICT, STATUS

Secret = str | pathlib.Path | bytes
"""A path of a PEM file, or its content."""

_SCHEMES = ("dns:", "ipv4:", "ipv6:", "unix:", "unix-abstract:", "xds:", "passthrough:")
SURROGATE = re.compile("[\ud800-\udfff]")
"""Half a character of UTF-16: no text that a message holds."""

_NAME = re.compile("[!-~]{1,253}")
_HEADER = re.compile(r"[0-9a-z_.-]+")


@dataclasses.dataclass(frozen=True)
class Tls:
    """An encrypted connection.

    Attributes:
        root_certificates: PEM of the authorities to trust; None for those that come
            with gRPC.
        client_key: PEM of this client's key, where the server asks for one.
        client_certificate: PEM of its certificate; both or none.
        server_name: The name to expect in the server's certificate, where it is not
            the one that is connected to.
    """

    root_certificates: Secret | None = None
    client_key: Secret | None = None
    client_certificate: Secret | None = None
    server_name: str | None = None

    def __post_init__(self):
        if (self.client_key is None) != (self.client_certificate is None):
            has, lacks = ("key", "certificate")[:: 1 if self.client_key else -1]
            raise PortraitError(
                f"TLS with a client {has} and no client {lacks}; expected both or none"
            )
        name = self.server_name
        if name is not None and not (isinstance(name, str) and _NAME.fullmatch(name)):
            raise PortraitError(
                f"the server's name is {name!r}; expected one as in its certificate"
            )

    def read(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Root certificates, client key and client certificate as PEM.

        Raises:
            PortraitError: A file cannot be read, or holds no PEM.
        """
        return (
            _read_pem(self.root_certificates, "root certificates"),
            _read_pem(self.client_key, "client key"),
            _read_pem(self.client_certificate, "client certificate"),
        )


@dataclasses.dataclass(frozen=True)
class Keepalive:
    """Pings that find a dead connection, and keep proxies from closing a quiet one.

    A gRPC server takes a ping every 300 s without data and closes the connection with
    `too_many_pings` on more; a smaller `seconds` needs
    `--grpc_channel_arguments=grpc.http2.min_recv_ping_interval_without_data_ms=...` at
    TensorFlow Serving's start.

    Attributes:
        seconds: Between two pings.
        timeout_seconds: Without an answer for as long, the connection counts as dead.
        without_calls: Whether pings are sent also while no call waits.
    """

    seconds: float = 300.0
    timeout_seconds: float = 20.0
    without_calls: bool = False

    def __post_init__(self):
        for name in ("seconds", "timeout_seconds"):
            check_number(
                f"keepalive {name}", getattr(self, name), "above 0", 0.001, 1e6
            )

    def options(self) -> list[tuple[str, int]]:
        """gRPC's channel options."""
        return [
            ("grpc.keepalive_time_ms", round(1000 * self.seconds)),
            ("grpc.keepalive_timeout_ms", round(1000 * self.timeout_seconds)),
            ("grpc.keepalive_permit_without_calls", int(self.without_calls)),
            # Else gRPC stops after two pings in a long answer's silence.
            ("grpc.http2.max_pings_without_data", 0),
        ]


@dataclasses.dataclass(frozen=True)
class RetryPolicy:
    """When a call is tried again: on UNAVAILABLE, within its deadline. gRPC does it.

    A call also waits for its server until its deadline: a server that starts again,
    or that is not there yet, costs time and no call. The pause before attempt `n + 1`
    is `first_delay * multiplier ** (n - 1)`, at most `max_delay`, and up to a fifth
    more or less. When many calls to one server have failed (100 more than one in ten
    of those that succeeded), nothing is tried again until others succeed: no storm.
    RESOURCE_EXHAUSTED is not tried again: most often a message is too large.

    Source: gRPC's proposal A6, "gRPC Retry Design".

    Attributes:
        attempts: The first one included, at most 5; 1 for no retry, and for no
            waiting: an address where nothing answers is an error at once.
        first_delay: Seconds.
        multiplier: Of the pause, from one attempt to the next.
        max_delay: Seconds.
    """

    attempts: int = 5
    first_delay: float = 0.5
    multiplier: float = 2.5
    max_delay: float = 10.0

    def __post_init__(self):
        check_number("attempts", self.attempts, "1 to 5", 1, 5, whole=True)
        for name in ("first_delay", "max_delay"):
            # gRPC 1.85 forgets an attempt after a pause of less than a millisecond.
            check_number(name, getattr(self, name), "0.01 s or more", 0.01, 1e6)
        check_number("multiplier", self.multiplier, "1 or more", 1, 1e6)

    @property
    def waits(self) -> bool:
        """Whether calls wait until their server is there."""
        return self.attempts > 1

    def service_config(self) -> dict[str, Any]:
        """Its part of gRPC's service config."""
        if not self.waits:
            return {}
        names = (name.split("/")[1:] for name in (PREDICT, METADATA, STATUS))
        methods = [{"service": service, "method": name} for service, name in names]
        policy = {
            "maxAttempts": self.attempts,
            "initialBackoff": f"{self.first_delay:.3f}s",
            "maxBackoff": f"{self.max_delay:.3f}s",
            "backoffMultiplier": self.multiplier,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        return {
            "methodConfig": [{"name": methods, "retryPolicy": policy}],
            # A failure takes one, a success gives a tenth; retries need over half.
            "retryThrottling": {"maxTokens": 200, "tokenRatio": 0.1},
        }


def check_number(
    name: str,
    value: object,
    expected: str,
    lowest: float,
    highest: float = math.inf,
    *,
    whole: bool = False,
) -> Any:
    """The value. Raises PortraitError: no number, or out of range."""
    kind = numbers.Integral if whole else numbers.Real
    is_number = isinstance(value, kind) and not isinstance(value, bool)
    if not (is_number and lowest <= value <= highest):
        raise PortraitError(f"{name} is {value!r}; expected {expected}")
    return value


def check_choice(name: str, value: object, one: str, other: str) -> None:
    """Raises PortraitError: neither of the two."""
    if value not in (one, other):
        raise PortraitError(f"{name} is {value!r}; expected {one!r} or {other!r}")


def check_timeout(timeout: float) -> float:
    """Raises PortraitError: no number of seconds."""
    return check_number("timeout", timeout, "seconds above 0, at most 1e9", 1e-6, 1e9)


def check_target(target: str) -> None:
    """Raises PortraitError: no `HOST:PORT`, nor an address with one of gRPC's schemes.

    Without a port gRPC would ask port 443.
    """
    if not isinstance(target, str) or SURROGATE.search(target):
        raise PortraitError(f"the server is {target!r}; expected HOST:PORT as text")
    if target.startswith(_SCHEMES) and target not in _SCHEMES:
        return
    host, colon, port = target.rpartition(":")
    bare = ":" in host and not (host.startswith("[") and host.endswith("]"))
    if not (colon and host and port.isdecimal() and int(port) < 65536) or bare:
        raise PortraitError(
            f"the server {target!r} is no address; expected HOST:PORT, such as"
            " localhost:8500 or [::1]:8500, or unix:PATH"
        )


def make_headers(
    headers: Mapping[str, str] | None, api_key: str | None, api_key_header: str
) -> tuple[tuple[str, str], ...]:
    """The metadata of every call.

    Raises:
        PortraitError: A name or value that HTTP/2 does not carry.
    """
    found = {str(name).lower(): value for name, value in (headers or {}).items()}
    if api_key is not None:
        found[str(api_key_header).lower()] = api_key
    for name, value in found.items():
        if not _HEADER.fullmatch(name) or name.startswith("grpc-"):
            raise PortraitError(
                f"{name!r} is no header's name; expected letters, digits, '-', '_' and"
                " '.', not beginning with 'grpc-'"
            )
        # The value may be a secret: it is not shown.
        if not (isinstance(value, str) and value.isascii() and value.isprintable()):
            raise PortraitError(
                f"the value of header {name!r} has characters that cannot be sent;"
                " expected printable ASCII"
            )
    return tuple(found.items())


def channel_options(
    keepalive: Keepalive | None,
    tls: Tls | None,
    load_balancing: str,
    retry: RetryPolicy,
) -> list[tuple[str, int | str]]:
    """gRPC's options for a channel.

    Raises:
        PortraitError: An unknown way of load balancing; a setting of another class.
    """
    for name, value, kind in (
        ("keepalive", Keepalive() if keepalive is None else keepalive, Keepalive),
        ("tls", Tls() if tls is None else tls, Tls),
        ("retry", retry, RetryPolicy),
    ):
        if not isinstance(value, kind):
            raise PortraitError(f"{name} is {value!r}; expected {kind.__name__}(...)")
    check_choice("load_balancing", load_balancing, "pick_first", "round_robin")
    config = {"loadBalancingConfig": [{load_balancing: {}}], **retry.service_config()}
    options = [
        # gRPC refuses to receive more than 4 MB by default, a photo of 1200 x 1200.
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.service_config", json.dumps(config)),
        # gRPC sends nothing a second time that is larger, by default than 256 kB.
        ("grpc.per_rpc_retry_buffer_size", 2**31 - 1),
        # A server that starts again is found soon after it is there.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 5000),
        ("grpc.max_reconnect_backoff_ms", 2000),
    ]
    if keepalive is not None:
        options += keepalive.options()
    if tls is not None and tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return options


def _read_pem(secret: Secret | None, kind: str) -> bytes | None:
    if secret is None:
        return None
    name = f"the {kind}"
    if not isinstance(secret, bytes):
        name = str(secret)
        secret = read_file(secret, kind)
    if b"-----BEGIN " not in secret:
        raise PortraitError(f"{name}: expected the {kind} as PEM, found no BEGIN line")
    return secret
