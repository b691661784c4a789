"""The client for asyncio."""

import asyncio
import functools
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Sequence,
)
from typing import Any, Concatenate, ParamSpec

import grpc

from portrait_tf.errors import PortraitError
from serving.client.base import BaseClient
from serving.client.calls import Call, Calls, Result
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
        return await self._call(make, *arguments, **named)

    return send


class _Tasks:
    """The workers of `complete_many`."""

    def __init__(self, count: int):
        pass

    def start(self, make: Callable[[], Awaitable]) -> asyncio.Future:
        return asyncio.ensure_future(make())

    async def settle(self, task: asyncio.Future) -> None:
        await asyncio.wait([task])

    async def end(self, under_way: Iterable[asyncio.Future]) -> None:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


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
    complete_with_joints = _sends(Calls.complete_with_joints)
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
        return self._many(
            _Tasks, photos, concurrency, on_error,
            signature=signature, parsing=parsing, timeout=timeout,
        )  # fmt: skip

    async def wait_until_available(self, timeout: float = 60.0) -> None:
        """As `PortraitClient.wait_until_available`: ends when a version answers."""
        await self._wait(timeout)

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

    async def _ask(
        self, method: str, codecs: Sequence[Callable], request: Any, **settings: Any
    ) -> Any:
        if self._channel is None:
            self._channel = self._open(grpc.aio)
        try:
            return await self._channel.unary_unary(method, *codecs)(request, **settings)
        except asyncio.CancelledError:
            # By `close`, or by somebody who gives this task up.
            if not self._is_closed or asyncio.current_task().cancelling():
                raise
            raise self._cancelled() from None
        except grpc.aio.UsageError:
            raise self._cancelled() from None

    async def _apart(self, function: Callable, *arguments: Any, **named: Any) -> Any:
        return await asyncio.to_thread(function, *arguments, **named)

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
