"""The client for asyncio."""

import asyncio
import collections
import itertools
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any

import grpc
import numpy as np

from portrait_tf.errors import PortraitError
from serving.client.base import (
    POLL_SECONDS,
    BaseClient,
    check_pair,
    check_stream,
    check_timeout,
    is_available,
)
from serving.client.calls import Call
from serving.client.errors import ServerError
from serving.client.pictures import Picture
from serving.client.results import (
    CompletionResult,
    ModelMetadata,
    ParsingResult,
    VersionStatus,
)


class AsyncPortraitClient(BaseClient):
    """`PortraitClient` for asyncio: the same settings, arguments, results and errors.

    Requests are built and answers read in threads, so that the event loop goes on
    meanwhile. The connection is made in the loop of the first call, and the client
    belongs to that loop. (Making the first client of a process imports TensorFlow,
    which takes seconds; do that before the loop has much to do.)

    Example:

    ```python
    async with AsyncPortraitClient("localhost:8500") as client:
        result = await client.complete("photo.jpg", "mask.png")
        async for result in client.complete_many(pairs, concurrency=8):
            ...
    ```
    """

    def _connect(self) -> None:
        # gRPC binds a channel to the running loop, and there may be none yet.
        self._channel: grpc.aio.Channel | None = None
        self._methods: dict[str, Any] = {}

    async def complete(
        self,
        image: Picture,
        mask: Picture,
        *,
        signature: str | None = None,
        timeout: float | None = None,
    ) -> CompletionResult:
        """As `PortraitClient.complete`: photo and parsing map, `uint8`."""
        return await self._run(
            lambda: self._calls.complete(image, mask, signature), timeout
        )

    async def complete_encoded(
        self, image_bytes: bytes, mask_bytes: bytes, *, timeout: float | None = None
    ) -> tuple[bytes, bytes]:
        """As `PortraitClient.complete_encoded`: PNG files for image files."""
        return await self._run(
            lambda: self._calls.complete_encoded(image_bytes, mask_bytes), timeout
        )

    async def complete_with_parsing(
        self,
        image: Picture,
        mask: Picture,
        parsing: Picture,
        *,
        timeout: float | None = None,
    ) -> np.ndarray:
        """As `PortraitClient.complete_with_parsing`: the photo, `uint8` RGB."""
        return await self._run(
            lambda: self._calls.complete_with_parsing(image, mask, parsing), timeout
        )

    async def parse(
        self, image: Picture, mask: Picture, *, timeout: float | None = None
    ) -> ParsingResult:
        """As `PortraitClient.parse`: labels and joints."""
        return await self._run(lambda: self._calls.parse(image, mask), timeout)

    async def extrapolate(
        self,
        image: Picture,
        top: float = 0.0,
        bottom: float = 0.0,
        left: float = 0.0,
        right: float = 0.0,
        *,
        unit: str = "fraction",
        signature: str | None = None,
        timeout: float | None = None,
    ) -> CompletionResult:
        """As `PortraitClient.extrapolate`: photo and map of the extended size."""
        margins = {"top": top, "bottom": bottom, "left": left, "right": right}
        return await self._run(
            lambda: self._calls.extrapolate(image, margins, unit, signature), timeout
        )

    def complete_many(
        self,
        photos: Iterable[tuple[Picture, Picture]]
        | AsyncIterable[tuple[Picture, Picture]],
        concurrency: int = 4,
        *,
        on_error: str = "raise",
        signature: str | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[CompletionResult | PortraitError]:
        """As `PortraitClient.complete_many`, over an iterable or an async iterable.

        What is under way is cancelled when the iterator is left early (`aclose`).

        Yields:
            One result, or error, for each photo, in the photos' order.
        """
        check_stream(concurrency, on_error)
        self._seconds(timeout)

        async def complete_one(item: object) -> CompletionResult:
            image, mask = check_pair(item)
            return await self.complete(
                image, mask, signature=signature, timeout=timeout
            )

        return _stream(complete_one, photos, concurrency, on_error)

    async def status(self, *, timeout: float | None = None) -> list[VersionStatus]:
        """As `PortraitClient.status`: the state of each version."""
        return await self._run(self._calls.status, timeout)

    async def metadata(self, *, timeout: float | None = None) -> ModelMetadata:
        """As `PortraitClient.metadata`: the signatures of the model."""
        return await self._run(self._calls.metadata, timeout)

    async def wait_until_available(self, timeout: float = 60.0) -> None:
        """As `PortraitClient.wait_until_available`: ends when a version answers."""
        deadline = time.monotonic() + check_timeout(timeout)
        call = self._calls.status()
        while True:
            remaining = max(deadline - time.monotonic(), 0.001)
            try:
                found = await self._send_once(call, self._seconds(remaining), remaining)
            except ServerError as error:
                found = error
            if is_available(found):
                return
            if time.monotonic() + POLL_SECONDS >= deadline:
                raise self._not_available(timeout, found)
            await asyncio.sleep(POLL_SECONDS)

    async def close(self) -> None:
        """Ends the connection; the client cannot be used afterwards."""
        self._is_closed = True
        if self._channel is not None:
            await self._channel.close()

    async def __aenter__(self) -> "AsyncPortraitClient":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _run(self, make: Callable[[], Call], timeout: float | None) -> Any:
        timeout = self._seconds(timeout)
        call = await asyncio.to_thread(make)
        deadline = time.monotonic() + timeout
        for attempt in itertools.count(1):
            try:
                return await self._send_once(call, deadline - time.monotonic(), timeout)
            except ServerError as error:
                pause = self.retry.pause(
                    error, attempt, deadline - time.monotonic(), self._random
                )
                if pause is None:
                    raise
            await asyncio.sleep(pause)

    async def _send_once(self, call: Call, remaining: float, timeout: float) -> Any:
        if self._channel is None:
            self._channel = self._open(grpc.aio)
            self._methods = self._stubs(self._channel)
        try:
            response = await self._methods[call.method](
                call.request, timeout=remaining, metadata=self._headers
            )
        except grpc.RpcError as error:
            raise self._error(error, timeout) from error
        return await asyncio.to_thread(call.read, response)


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
