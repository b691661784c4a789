"""The client that waits for its answers."""

import concurrent.futures
import contextlib
import functools
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import grpc

from portrait_tf.errors import PortraitError
from serving.client.base import BaseClient
from serving.client.calls import Call, Calls, Result
from serving.client.pictures import Picture
from serving.client.results import CompletionResult

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")


def _finish(coroutine: Coroutine[Any, Any, Value]) -> Value:
    """What a coroutine gives that never has to wait for an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("it waits for an event loop")


def _sends(
    make: Callable[Concatenate[Calls, Arguments], Call[Result]],
) -> Callable[Concatenate["PortraitClient", Arguments], Result]:
    """A method that makes a call, sends it, and waits for its result."""

    @functools.wraps(make)
    def send(
        self: "PortraitClient", *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        return _finish(self._call(make, *arguments, **named))

    return send


class _Threads:
    """The workers of `complete_many`."""

    def __init__(self, count: int):
        self._pool = concurrent.futures.ThreadPoolExecutor(count, "complete_many")

    def start(self, make: Callable[[], Coroutine]) -> concurrent.futures.Future:
        return self._pool.submit(lambda: _finish(make()))

    async def settle(self, future: concurrent.futures.Future) -> None:
        concurrent.futures.wait([future])

    async def end(self, under_way: Iterable) -> None:
        # Those under way end by themselves, at the latest with their deadline.
        self._pool.shutdown(wait=False, cancel_futures=True)


class PortraitClient(BaseClient):
    """Asks a server to complete photos. Safe to use from several threads.

    A picture is an array, a path, or the bytes of an image file (JPEG, PNG, WebP, BMP,
    GIF: what the server's TensorFlow decodes). A photo with an EXIF orientation is
    turned here, since TensorFlow would not; a mask that is a JPEG is cut at 127.

    Args:
        target: `host:port` of the server's gRPC port, or an address with one of gRPC's
            schemes (`dns:///portrait:8500`, `unix:/run/portrait.sock`).
        model_name: The name the model is served under.
        version: The version to ask for; None for the newest.
        timeout: Seconds that each call may take, with waiting for the server and
            retries.
        version_label: In place of a version: `stable`, `canary`.
        retry: Whether a call waits for its server, and when it is tried again;
            `RetryPolicy(attempts=1)` for neither.
        keepalive: Pings; None for none.
        tls: For an encrypted connection; None for plaintext.
        api_key: Sent with every call as header `api_key_header`; without `tls`, and
            over no Unix socket, there is a warning.
        api_key_header: That header's name.
        headers: Further headers (gRPC metadata) of every call.
        load_balancing: `pick_first`, or `round_robin` over all addresses that the
            name resolves to (a headless Service of Kubernetes).
        max_pixels: A photo may not have more; nothing is sent then.

    Raises:
        PortraitError: A setting that cannot be.

    Example:

    ```python
    with PortraitClient("localhost:8500") as client:
        result = client.complete(image, mask)
        for result in client.complete_many([("a.jpg", "a.png"), ("b.jpg", "b.png")]):
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
        photos: Iterable[tuple[Picture, Picture]],
        concurrency: int = 4,
        *,
        on_error: str = "raise",
        signature: str | None = None,
        parsing: bool = True,
        timeout: float | None = None,
    ) -> Iterator[CompletionResult | PortraitError]:
        """Completes many photos, several at a time, in their order.

        No more than `concurrency` photos are taken ahead of the result that is given,
        so that neither photos nor results pile up. Leave the iterator early with its
        `close()`, or let it be collected: what was not begun is not sent.

        Args:
            photos: Pairs of image and mask, as for `complete`; read as needed.
            concurrency: Requests under way at once.
            on_error: `raise` ends with the first failing photo; `yield` gives its
                PortraitError (a ServerError too) in its place and goes on.
            signature: As for `complete`.
            parsing: As for `complete`.
            timeout: Seconds for each photo, in place of the client's.

        Yields:
            One result, or error, for each photo.

        Raises:
            PortraitError: As for `complete`; also for a concurrency below 1.
        """
        results = self._many(
            _Threads, photos, concurrency, on_error,
            signature=signature, parsing=parsing, timeout=timeout,
        )  # fmt: skip

        def wait() -> Iterator[CompletionResult | PortraitError]:
            try:
                with contextlib.suppress(StopAsyncIteration):
                    while True:
                        yield _finish(anext(results))
            finally:
                _finish(results.aclose())

        return wait()

    def wait_until_available(self, timeout: float = 60.0) -> None:
        """Waits until a version of the model (the one asked for) is AVAILABLE.

        Raises:
            ServerError: That has not come within `timeout` seconds (its code is that
                of the last attempt), or waiting does not help: a wrong key or name,
                or what answers is not TensorFlow Serving.
        """
        _finish(self._wait(timeout))

    def close(self) -> None:
        """Ends the connection, and calls under way with a CancelledError."""
        self._is_closed = True
        self._channel.close()

    def __enter__(self) -> "PortraitClient":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _connect(self) -> None:
        self._channel = self._open(grpc)

    async def _ask(
        self, method: str, codecs: Sequence[Callable], request: Any, **settings: Any
    ) -> Any:
        try:
            return self._channel.unary_unary(method, *codecs)(request, **settings)
        except ValueError:  # The channel was closed between two lines.
            raise self._cancelled() from None

    async def _apart(self, function: Callable, *arguments: Any, **named: Any) -> Any:
        return function(*arguments, **named)

    async def _sleep(self, seconds: float) -> None:
        time.sleep(seconds)
