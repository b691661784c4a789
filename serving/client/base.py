"""What both clients are made of: settings, checked once, and the meaning of errors."""

import time
import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import grpc

from portrait_tf.errors import PortraitError
from serving.client.calls import Call, Calls
from serving.client.connection import (
    Keepalive,
    RetryPolicy,
    Tls,
    channel_options,
    check_number,
    check_target,
    make_headers,
)
from serving.client.errors import (
    CancelledError,
    ServerError,
    from_rpc_error,
    server_error,
)
from serving.client.pictures import MAX_PIXELS
from serving.client.results import VersionStatus

POLL_SECONDS = 0.1
PROBE_SECONDS = 0.1
DEFAULT_RETRY = RetryPolicy()
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
PROBE = "/grpc.health.v1.Health/Check"
_LASTING = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.UNIMPLEMENTED,
)


class BaseClient:
    """The settings of a client; `PortraitClient` documents them."""

    def __init__(
        self,
        target: str = "localhost:8500",
        model_name: str = "portrait",
        version: int | None = None,
        timeout: float = 60.0,
        *,
        version_label: str | None = None,
        retry: RetryPolicy = DEFAULT_RETRY,
        keepalive: Keepalive | None = None,
        tls: Tls | None = None,
        api_key: str | None = None,
        api_key_header: str = "x-api-key",
        headers: Mapping[str, str] = _NO_HEADERS,
        load_balancing: str = "pick_first",
        max_pixels: int = MAX_PIXELS,
    ):
        check_target(target)
        self._calls = Calls(
            target, model_name, version, version_label, timeout, max_pixels
        )
        self.target = target
        self.model_name = model_name
        self.version = version
        self.version_label = version_label
        self.timeout = timeout
        self.retry = retry
        self._headers = make_headers(headers, api_key, api_key_header)
        self._options = channel_options(keepalive, tls, load_balancing, retry)
        self._credentials = tls.credentials() if tls is not None else None
        self._is_closed = False
        if api_key is not None and tls is None and not target.startswith("unix"):
            warnings.warn(
                f"the API key goes to {target} in plain text, where anybody on the way"
                " can read it; expected tls=Tls(...) with it",
                stacklevel=2,
            )
        self._connect()

    def _connect(self) -> None:
        raise NotImplementedError

    def _open(self, api: Any) -> grpc.Channel:
        """A channel of `grpc` or of `grpc.aio`."""
        if self._credentials is None:
            return api.insecure_channel(self.target, options=self._options)
        return api.secure_channel(self.target, self._credentials, options=self._options)

    def _settings(self, call: Call) -> dict[str, Any]:
        """Of a call of gRPC."""
        return {
            "timeout": call.timeout,
            "metadata": self._headers,
            "wait_for_ready": self.retry.waits,
        }

    def _check_open(self) -> None:
        if self._is_closed:
            raise PortraitError(
                f"the client of {self.target} is closed; expected calls before that"
            )

    def _cancelled(self) -> CancelledError:
        return CancelledError(
            grpc.StatusCode.CANCELLED,
            f"the client of {self.target} was closed during the call",
        )

    def _error(
        self, error: grpc.RpcError, call: Call, probed: grpc.RpcError | None
    ) -> ServerError:
        """What a failed call means.

        Args:
            error: Its error.
            call: It.
            probed: How a second call ended that did not wait for the server, made
                where the first one's time was up.
        """
        if self._is_closed and error.code() == grpc.StatusCode.CANCELLED:
            return self._cancelled()
        if probed is not None and probed.code() == grpc.StatusCode.UNAVAILABLE:
            error = probed
        return from_rpc_error(error, self.target, self._calls.wanted, call.timeout)

    def _is_available(
        self, found: list[VersionStatus] | ServerError, timeout: float, end: float
    ) -> bool:
        """Whether a version answers requests.

        Raises:
            ServerError: None does, and the time is up or waiting does not help.
        """
        lasts, over = False, time.monotonic() + POLL_SECONDS >= end
        if isinstance(found, ServerError):
            code, reason = found.code, str(found)
            # A version that is asked for may be published yet.
            named = self.version is None and self.version_label is None
            lasts = code in _LASTING or (named and code == grpc.StatusCode.NOT_FOUND)
        elif any(entry.state == "AVAILABLE" for entry in found):
            return True
        else:
            code = grpc.StatusCode.UNAVAILABLE
            reason = "its state is " + ", ".join(
                f"{entry.version}: {entry.state} {entry.error}".rstrip()
                for entry in found
            )
        if lasts:
            raise found
        if over:
            raise server_error(
                code,
                f"model {self.model_name!r} at {self.target} was not available within"
                f" {timeout:g} s: {reason}",
            )
        return False


def check_stream(concurrency: int, on_error: str) -> None:
    """Raises PortraitError: arguments of `complete_many` that mean nothing."""
    check_number("concurrency", concurrency, "at least 1", 1, whole=True)
    if on_error not in ("raise", "yield"):
        raise PortraitError(f"on_error is {on_error!r}; expected 'raise' or 'yield'")


def check_pair(item: object) -> tuple:
    """Raises PortraitError: what a stream gave is no pair of photo and mask."""
    if not (isinstance(item, tuple | list) and len(item) == 2):
        raise PortraitError(
            f"the photos gave a {type(item).__name__}; expected pairs (image, mask)"
        )
    return tuple(item)
