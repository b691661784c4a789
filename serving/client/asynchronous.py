"""The client for asyncio."""

import asyncio
import collections
import functools
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import Concatenate, ParamSpec

import grpc

from portrait_tf.errors import PortraitError
from serving.client.base import (
    POLL_SECONDS,
    PROBE,
    PROBE_SECONDS,
    BaseClient,
    check_pair,
    check_stream,
)
from serving.client.calls import Call, Calls, Result
from serving.client.connection import check_timeout
from serving.client.errors import ServerError
from serving.client.pictures import Picture
from serving.client.results import CompletionResult

Arguments = ParamSpec("Arguments")


def _sends(
    make: Callable[Concatenate[Calls, Arguments], Call[Result]],
) -> Callable[Concatenate["AsyncPortraitClient", Arguments], Awaitable[Result]]:
    """A coroutine that makes a call, sends it, and waits for its result."""

    @functools.wraps(make)
    async def send(
        self: "AsyncPortraitClient",
        *arguments: Arguments.args,
        **named: Arguments.kwargs,
    ) -> Result:
        self._check_open()
        call = await asyncio.to_thread(make, self._calls, *arguments, **named)
        return await self._send(call)

    return send


class AsyncPortraitClient(BaseClient):
    """`PortraitClient` for asyncio: the same settings, arguments, results and errors.

    Requests are built and answers read in threads, so that the event loop goes on
    meanwhile. The connection is made in the loop of the first call, and the client
    belongs to that loop.

    Example:

    ```python
    async with AsyncPortraitClient("localhost:8500") as client:
        result = await client.complete("photo.jpg", "mask.png")
        async for result in client.complete_many(pairs, concurrency=8):
            ...
    ```
    """

    complete = _sends(Calls.complete)
    complete_encoded = _sends(Calls.complete_encoded)
    complete_with_parsing = _sends(Calls.complete_with_parsing)
    parse = _sends(Calls.parse)
    extrapolate = _sends(Calls.extrapolate)
    status = _sends(Calls.status)
    metadata = _sends(Calls.metadata)

    def complete_many(
        self,
        photos: Iterable[tuple[Picture, Picture]]
        | AsyncIterable[tuple[Picture, Picture]],
        concurrency: int = 4,
        *,
        on_error: str = "raise",
        signature: str | None = None,
        parsing: bool = True,
        timeout: float | None = None,
    ) -> AsyncIterator[CompletionResult | PortraitError]:
        """As `PortraitClient.complete_many`, over an iterable or an async iterable.

        What is under way is cancelled when the iterator is left early (`aclose`).

        Yields:
            One result, or error, for each photo, in the photos' order.
        """
        check_stream(concurrency, on_error)
        self._check_open()
        complete = functools.partial(
            self.complete, signature=signature, parsing=parsing, timeout=timeout
        )

        async def complete_one(item: object) -> CompletionResult:
            return await complete(*check_pair(item))

        return _stream(complete_one, photos, concurrency, on_error)

    async def wait_until_available(self, timeout: float = 60.0) -> None:
        """As `PortraitClient.wait_until_available`: ends when a version answers."""
        end = time.monotonic() + check_timeout(timeout)
        while not self._is_available(await self._states(end), timeout, end):
            await asyncio.sleep(POLL_SECONDS)

    async def close(self) -> None:
        """Ends the connection, and calls under way with a CancelledError."""
        self._is_closed = True
        if self._channel is not None:
            await self._channel.close()

    async def __aenter__(self) -> "AsyncPortraitClient":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def _connect(self) -> None:
        # gRPC binds a channel to the running loop, and there may be none yet.
        self._channel: grpc.aio.Channel | None = None

    async def _states(self, end: float) -> list | ServerError:
        try:
            return await self.status(timeout=max(end - time.monotonic(), 0.001))
        except ServerError as error:
            return error

    async def _send(self, call: Call[Result]) -> Result:
        self._check_open()
        if self._channel is None:
            self._channel = self._open(grpc.aio)
        try:
            method = self._channel.unary_unary(call.method, *call.codecs)
            response = await method(call.request, **self._settings(call))
        except grpc.RpcError as error:
            late = error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            probed = await self._probe() if late else None
            raise self._error(error, call, probed) from error
        except asyncio.CancelledError:
            # By `close`, or by somebody who gives this task up.
            if not self._is_closed or asyncio.current_task().cancelling():
                raise
            raise self._cancelled() from None
        except grpc.aio.UsageError:
            raise self._cancelled() from None
        return await asyncio.to_thread(call.read, response)

    async def _probe(self) -> grpc.RpcError | None:
        try:
            await self._channel.unary_unary(PROBE)(b"", timeout=PROBE_SECONDS)
        except grpc.RpcError as error:
            return error
        except (asyncio.CancelledError, grpc.aio.UsageError):
            if asyncio.current_task().cancelling():
                raise
        return None


async def _iterate(photos: Iterable | AsyncIterable) -> AsyncIterator:
    if isinstance(photos, AsyncIterable):
        async for item in photos:
            yield item
    else:
        for item in photos:
            yield item


async def _stream(
    complete_one: Callable[[object], Awaitable[CompletionResult]],
    photos: Iterable | AsyncIterable,
    concurrency: int,
    on_error: str,
) -> AsyncIterator[CompletionResult | PortraitError]:
    under_way: collections.deque[asyncio.Task] = collections.deque()
    waiting = _iterate(photos)
    is_at_end = False
    try:
        while True:
            while not is_at_end and len(under_way) < concurrency:
                try:
                    item = await anext(waiting)
                except StopAsyncIteration:
                    is_at_end = True
                else:
                    under_way.append(asyncio.ensure_future(complete_one(item)))
            if not under_way:
                return
            await asyncio.wait([under_way[0]])
            task = under_way.popleft()
            error = task.exception()
            if error is None:
                yield task.result()
            elif on_error == "yield" and isinstance(error, PortraitError):
                yield error
            else:
                raise error
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await waiting.aclose()
