"""What both clients are made of: settings, checked once, and the meaning of errors."""

import random
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import grpc

from portrait_tf.errors import PortraitError
from serving.client.calls import Calls
from serving.client.connection import (
    Keepalive,
    RetryPolicy,
    Tls,
    channel_options,
    check_target,
    make_headers,
)
from serving.client.errors import ServerError, from_rpc_error, server_error
from serving.client.pictures import MAX_PIXELS
from serving.client.results import VersionStatus

POLL_SECONDS = 0.1
DEFAULT_RETRY = RetryPolicy()
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


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
        self.target = target
        self.model_name = model_name
        self.version = version
        self.version_label = version_label
        self.timeout = check_timeout(timeout)
        self.retry = retry
        self._headers = make_headers(headers, api_key, api_key_header)
        self._options = channel_options(keepalive, tls, load_balancing)
        self._credentials = tls.credentials() if tls is not None else None
        self._random = random.Random(retry.seed)
        self._calls = Calls(target, model_name, version, version_label, max_pixels)
        self._is_closed = False
        self._connect()

    def _connect(self) -> None:
        raise NotImplementedError

    def _open(self, api: Any) -> grpc.Channel:
        """A channel of `grpc` or of `grpc.aio`."""
        if self._credentials is None:
            return api.insecure_channel(self.target, options=self._options)
        return api.secure_channel(self.target, self._credentials, options=self._options)

    def _stubs(self, channel: grpc.Channel) -> dict[str, Any]:
        protocol = self._calls.protocol
        prediction = protocol.PredictionServiceStub(channel)
        return {
            "Predict": prediction.Predict,
            "GetModelMetadata": prediction.GetModelMetadata,
            "GetModelStatus": protocol.ModelServiceStub(channel).GetModelStatus,
        }

    def _seconds(self, timeout: float | None) -> float:
        """The time of a call, checked, as is that the client is still open."""
        if self._is_closed:
            raise PortraitError(
                f"the client of {self.target} is closed; expected calls before that"
            )
        return self.timeout if timeout is None else check_timeout(timeout)

    def _error(self, error: grpc.RpcError, timeout: float) -> ServerError:
        return from_rpc_error(error, self.target, self._calls.wanted, timeout)

    def _not_available(
        self, timeout: float, found: list[VersionStatus] | ServerError
    ) -> ServerError:
        if isinstance(found, ServerError):
            code, reason = found.code, str(found)
        else:
            code = grpc.StatusCode.UNAVAILABLE
            reason = "its state is " + ", ".join(
                f"{entry.version}: {entry.state} {entry.error}".rstrip()
                for entry in found
            )
        return server_error(
            code,
            f"model {self.model_name!r} at {self.target} was not available within"
            f" {timeout:g} s: {reason}",
        )


def check_timeout(timeout: float) -> float:
    """Raises PortraitError: not above 0."""
    if not timeout > 0:
        raise PortraitError(f"timeout is {timeout}; expected seconds above 0")
    return timeout


def check_stream(concurrency: int, on_error: str) -> None:
    """Raises PortraitError: arguments of `complete_many` that mean nothing."""
    if concurrency < 1:
        raise PortraitError(f"concurrency is {concurrency}; expected at least 1")
    if on_error not in ("raise", "yield"):
        raise PortraitError(f"on_error is {on_error!r}; expected 'raise' or 'yield'")


def check_pair(item: object) -> tuple:
    """Raises PortraitError: what a stream gave is no pair of photo and mask."""
    if not (isinstance(item, tuple | list) and len(item) == 2):
        raise PortraitError(
            f"the photos gave a {type(item).__name__}; expected pairs (image, mask)"
        )
    return tuple(item)


def is_available(found: list[VersionStatus] | ServerError) -> bool:
    """Whether a version answers requests."""
    return not isinstance(found, ServerError) and any(
        entry.state == "AVAILABLE" for entry in found
    )
