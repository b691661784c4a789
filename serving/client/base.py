"""What both clients are made of: settings, and the bodies of their calls."""

import collections
import functools
import time
import warnings
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
)
from types import MappingProxyType
from typing import Any

import grpc

from portrait_tf.errors import PortraitError
from serving.client.calls import Call, Calls, Result
from serving.client.connection import (
    Keepalive,
    RetryPolicy,
    Tls,
    channel_options,
    check_choice,
    check_number,
    check_target,
    check_timeout,
    make_headers,
)
from serving.client.errors import (
    CancelledError,
    ServerError,
    from_rpc_error,
    server_error,
)
from serving.client.pictures import MAX_PIXELS
from serving.client.results import CompletionResult

POLL_SECONDS = 0.1
PROBE_SECONDS = 0.1
DEFAULT_RETRY = RetryPolicy()
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_END = object()
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
        self._credentials = tls and grpc.ssl_channel_credentials(*tls.read())
        self._is_closed = False
        if api_key is not None and tls is None and not target.startswith("unix"):
            warnings.warn(
                f"the API key goes to {target} in plain text, where anybody on the way"
                " can read it; expected tls=Tls(...) with it",
                stacklevel=2,
            )
        self._connect()

    def _open(self, api: Any) -> grpc.Channel:
        """A channel of `grpc` or of `grpc.aio`."""
        if self._credentials is None:
            return api.insecure_channel(self.target, options=self._options)
        return api.secure_channel(self.target, self._credentials, options=self._options)

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

    # === The bodies of both clients ===
    #
    # The client for asyncio waits in an `await`; the other one waits in a call, and its
    # coroutines end at once. Each has a `_connect`; an `_ask`, which gives gRPC's
    # answer, or CancelledError where the client was closed meanwhile; `_apart`, which
    # runs a function that works for long; and `_sleep`.

    async def _call(
        self, make: Callable[..., Call[Result]], *arguments: Any, **named: Any
    ) -> Result:
        """Makes a call, sends it, and waits for its result."""
        self._check_open()
        call = await self._apart(make, self._calls, *arguments, **named)
        self._check_open()
        settings = {"metadata": self._headers, "wait_for_ready": self.retry.waits}
        try:
            answer = await self._ask(
                call.method, call.codecs, call.request, timeout=call.timeout, **settings
            )
        except grpc.RpcError as error:
            if self._is_closed and error.code() == grpc.StatusCode.CANCELLED:
                raise self._cancelled() from error
            late = error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            cause = (await self._probe() if late else None) or error
            wanted = self._calls.wanted
            raise from_rpc_error(cause, self.target, wanted, call.timeout) from error
        return await self._apart(call.read, answer)

    async def _probe(self) -> grpc.RpcError | None:
        """Why the server cannot be reached, if so: a call that does not wait for it."""
        try:
            await self._ask(PROBE, (), b"", timeout=PROBE_SECONDS)
        except grpc.RpcError as error:
            return error if error.code() == grpc.StatusCode.UNAVAILABLE else None
        except CancelledError:
            pass
        return None

    async def _wait(self, timeout: float) -> None:
        """Waits for a version; `PortraitClient.wait_until_available` documents it."""
        end = time.monotonic() + check_timeout(timeout)
        # A version that is asked for may be published yet.
        named = self.version is None and self.version_label is None
        while True:
            left = max(end - time.monotonic(), 0.001)
            try:
                found = await self._call(Calls.status, timeout=left)
            except ServerError as error:
                code, reason = error.code, str(error)
                if code in _LASTING or (named and code == grpc.StatusCode.NOT_FOUND):
                    raise
            else:
                if any(entry.state == "AVAILABLE" for entry in found):
                    return
                code = grpc.StatusCode.UNAVAILABLE
                reason = "its state is " + ", ".join(
                    f"{entry.version}: {entry.state} {entry.error}".rstrip()
                    for entry in found
                )
            if time.monotonic() + POLL_SECONDS >= end:
                raise server_error(
                    code,
                    f"model {self.model_name!r} at {self.target} was not available"
                    f" within {timeout:g} s: {reason}",
                )
            await self._sleep(POLL_SECONDS)

    def _many(
        self,
        workers: type,
        photos: Iterable | AsyncIterable,
        concurrency: int,
        on_error: str,
        **named: Any,
    ) -> AsyncIterator[CompletionResult | PortraitError]:
        """`PortraitClient.complete_many` documents it.

        A worker has `start` for a function that makes a coroutine, which gives a
        future; `settle`, to wait for one; and `end` for those that are left.
        """
        check_number("concurrency", concurrency, "at least 1", 1, whole=True)
        check_choice("on_error", on_error, "raise", "yield")
        self._check_open()

        async def complete(item: object) -> CompletionResult:
            if not (isinstance(item, tuple | list) and len(item) == 2):
                raise PortraitError(
                    f"the photos gave a {type(item).__name__}; expected pairs (image,"
                    " mask)"
                )
            return await self._call(Calls.complete, *item, **named)

        return _stream(workers(concurrency), complete, photos, concurrency, on_error)


async def _iterate(photos: Iterable | AsyncIterable) -> AsyncIterator:
    if isinstance(photos, AsyncIterable):
        async for item in photos:
            yield item
    else:
        for item in photos:
            yield item


async def _stream(
    workers: Any,
    complete: Callable[[object], Awaitable[CompletionResult]],
    photos: Iterable | AsyncIterable,
    concurrency: int,
    on_error: str,
) -> AsyncIterator[CompletionResult | PortraitError]:
    under_way: collections.deque[Any] = collections.deque()
    waiting = _iterate(photos)
    is_at_end = False
    try:
        while True:
            while not is_at_end and len(under_way) < concurrency:
                item = await anext(waiting, _END)
                is_at_end = item is _END
                if not is_at_end:
                    start = functools.partial(complete, item)
                    under_way.append(workers.start(start))
            if not under_way:
                return
            await workers.settle(under_way[0])
            future = under_way.popleft()
            error = future.exception()
            if error is None:
                yield future.result()
            elif on_error == "yield" and isinstance(error, PortraitError):
                yield error
            else:
                raise error
    finally:
        await workers.end(under_way)
        await waiting.aclose()
