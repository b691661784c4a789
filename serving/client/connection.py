"""How a client connects: TLS, keepalive, retries, headers, gRPC's options."""

import dataclasses
import pathlib
import random
import re
from collections.abc import Mapping

import grpc

from portrait_tf.errors import PortraitError
from serving.client.errors import ServerError

Secret = str | pathlib.Path | bytes
"""A path of a PEM file, or its content."""

_SCHEMES = ("dns:", "ipv4:", "ipv6:", "unix:", "unix-abstract:", "xds:", "passthrough:")
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

    def credentials(self) -> grpc.ChannelCredentials:
        """As gRPC wants them; errors as `read`."""
        return grpc.ssl_channel_credentials(*self.read())


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
            if getattr(self, name) <= 0:
                raise PortraitError(
                    f"keepalive {name} is {getattr(self, name)}; expected above 0"
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
    """When a call is tried again: on UNAVAILABLE and RESOURCE_EXHAUSTED, in its time.

    The pause before attempt `n + 1` is drawn from half to all of
    `first_delay * multiplier ** (n - 1)`, at most `max_delay`: clients that failed
    together do not come back together. A pause that would end after the call's
    deadline is not begun.

    Attributes:
        attempts: The first one included; 1 for no retry.
        first_delay: Seconds.
        multiplier: Of the pause, from one attempt to the next.
        max_delay: Seconds.
        seed: The pauses follow from it; None for others each time.
    """

    attempts: int = 4
    first_delay: float = 0.1
    multiplier: float = 2.0
    max_delay: float = 5.0
    seed: int | None = None

    def __post_init__(self):
        if self.attempts < 1:
            raise PortraitError(f"attempts is {self.attempts}; expected at least 1")
        if min(self.first_delay, self.max_delay) < 0 or self.multiplier < 1:
            raise PortraitError(
                f"retry delays are {self.first_delay} to {self.max_delay} s, multiplied"
                f" by {self.multiplier}; expected none below 0 and a multiplier of 1 or"
                " more"
            )

    def pause(
        self,
        error: ServerError,
        attempt: int,
        remaining: float,
        generator: random.Random,
    ) -> float | None:
        """Seconds to wait before the next attempt; None to give up.

        Args:
            error: How this attempt ended.
            attempt: Its number, from 1.
            remaining: Seconds until the call's deadline.
            generator: Draws the jitter.
        """
        if not error.may_retry or attempt >= self.attempts:
            return None
        longest = min(
            self.first_delay * self.multiplier ** (attempt - 1), self.max_delay
        )
        pause = longest * generator.uniform(0.5, 1.0)
        return pause if pause < remaining else None


def check_target(target: str) -> None:
    """Raises PortraitError: no `HOST:PORT`, nor an address with one of gRPC's schemes.

    Without a port gRPC would ask port 443.
    """
    if target.startswith(_SCHEMES):
        return
    host, colon, port = target.rpartition(":")
    bare = ":" in host and not (host.startswith("[") and host.endswith("]"))
    if not (colon and host and port.isdecimal() and int(port) < 65536) or bare:
        raise PortraitError(
            f"the server {target!r} is no address; expected HOST:PORT, such as"
            " localhost:8500 or [::1]:8500"
        )


def make_headers(
    headers: Mapping[str, str] | None, api_key: str | None, api_key_header: str
) -> tuple[tuple[str, str], ...]:
    """The metadata of every call.

    Raises:
        PortraitError: A name or value that HTTP/2 does not carry.
    """
    found = {name.lower(): value for name, value in (headers or {}).items()}
    if api_key is not None:
        found[api_key_header.lower()] = api_key
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
    keepalive: Keepalive | None, tls: Tls | None, load_balancing: str
) -> list[tuple[str, int | str]]:
    """gRPC's options for a channel.

    Raises:
        PortraitError: An unknown way of load balancing.
    """
    if load_balancing not in ("pick_first", "round_robin"):
        raise PortraitError(
            f"load_balancing is {load_balancing!r}; expected 'pick_first' or"
            " 'round_robin'"
        )
    options = [
        # gRPC refuses to receive more than 4 MB by default, a photo of 1200 x 1200.
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        # A server that is being started is found soon after it is there.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 5000),
        ("grpc.lb_policy_name", load_balancing),
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
        try:
            secret = pathlib.Path(secret).read_bytes()
        except OSError as error:
            raise PortraitError(
                f"{name}: cannot read the {kind}: {error.strerror}"
            ) from None
    if b"-----BEGIN " not in secret:
        raise PortraitError(f"{name}: expected the {kind} as PEM, found no BEGIN line")
    return secret
