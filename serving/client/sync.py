"""The client that waits for its answers."""

import collections
import concurrent.futures
import itertools
import time
from collections.abc import Iterable, Iterator
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


class PortraitClient(BaseClient):
    """Asks a server to complete photos. Safe to use from several threads.

    A picture is an array, a path, or the bytes of an image file (JPEG, PNG, WebP, BMP,
    GIF: what the server's TensorFlow decodes). A photo with an EXIF orientation is
    turned here, since TensorFlow would not; a mask that is a JPEG is cut at 127.

    Args:
        target: `host:port` of the server's gRPC port, or an address with one of gRPC's
            schemes (`dns:///portrait:8500`).
        model_name: The name the model is served under.
        version: The version to ask for; None for the newest.
        timeout: Seconds that each call may take, retries included.
        version_label: In place of a version: `stable`, `canary`.
        retry: How often and when a call is tried again, on UNAVAILABLE and
            RESOURCE_EXHAUSTED only; `RetryPolicy(attempts=1)` for never.
        keepalive: Pings; None for none.
        tls: For an encrypted connection; None for plaintext.
        api_key: Sent with every call as header `api_key_header`; use TLS with it.
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

    def _connect(self) -> None:
        self._channel = self._open(grpc)
        self._methods = self._stubs(self._channel)

    def complete(
        self,
        image: Picture,
        mask: Picture,
        *,
        signature: str | None = None,
        timeout: float | None = None,
    ) -> CompletionResult:
        """Fills the hole of a photo, or of each photo of a batch.

        Args:
            image: `uint8` RGB `[H, W, 3]` or `[B, H, W, 3]`; or a path, or the bytes
                of an image file.
            mask: `uint8`, non-zero = hole: `[H, W]` or `[H, W, 1]`, for a batch
                `[B, H, W]` or `[B, H, W, 1]`; or a path, or the bytes of an image
                file of the photo's size.
            signature: `serving_default` or `encoded`; None for the first with an
                image array and the second with an image file, which is smaller on the
                wire.
            timeout: Seconds, in place of the client's.

        Returns:
            Photo and parsing map of the size that was sent.

        Raises:
            PortraitError: When image and mask do not fit together or have no hole, or
                when a file is missing, cut off, no picture or too large; nothing is
                sent then.
            ServerError: When the server cannot be reached, refuses or fails.
        """
        return self._run(lambda: self._calls.complete(image, mask, signature), timeout)

    def complete_encoded(
        self, image_bytes: bytes, mask_bytes: bytes, *, timeout: float | None = None
    ) -> tuple[bytes, bytes]:
        """Fills the hole of a photo given and returned as image files.

        The files are sent as they are: a photo's EXIF orientation is not looked at.

        Args:
            image_bytes: The content of a JPEG or PNG file.
            mask_bytes: The same of a mask of the same size, non-zero = hole.
            timeout: Seconds, in place of the client's.

        Returns:
            The completed photo and the parsing map (labels as grey values), as PNG.

        Raises:
            PortraitError: When either is not bytes, empty, cut off or too large.
            ServerError: As for `complete`; INVALID_ARGUMENT when the server cannot
                decode the files or their sizes differ.
        """
        return self._run(
            lambda: self._calls.complete_encoded(image_bytes, mask_bytes), timeout
        )

    def complete_with_parsing(
        self,
        image: Picture,
        mask: Picture,
        parsing: Picture,
        *,
        timeout: float | None = None,
    ) -> np.ndarray:
        """Fills the hole as a parsing map of your own says: stage 2 alone.

        Args:
            image: As for `complete`.
            mask: As for `complete`.
            parsing: LIP labels 0 to 19 of the photo's size, as `parse` gives them:
                `uint8` `[H, W]` or `[H, W, 1]`, for a batch `[B, H, W]` or
                `[B, H, W, 1]`; any other value takes stage 1's prediction there. Or a
                path or the bytes of a PNG with such grey values.
            timeout: Seconds, in place of the client's.

        Returns:
            The photo, `uint8` RGB of the size that was sent.

        Raises:
            PortraitError: As for `complete`, and for the map.
            ServerError: As for `complete`; FAILED_PRECONDITION when the model was
                exported without this signature.
        """
        return self._run(
            lambda: self._calls.complete_with_parsing(image, mask, parsing), timeout
        )

    def parse(
        self, image: Picture, mask: Picture, *, timeout: float | None = None
    ) -> ParsingResult:
        """Predicts the body structure of a photo, hole included: stage 1 alone.

        Args:
            image: As for `complete`.
            mask: As for `complete`; it may be without a hole.
            timeout: Seconds, in place of the client's.

        Returns:
            Labels and joints.

        Raises:
            PortraitError: As for `complete`.
            ServerError: As for `complete_with_parsing`.
        """
        return self._run(lambda: self._calls.parse(image, mask), timeout)

    def extrapolate(
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
        """Extends a photo, or each photo of a batch, past its border.

        Args:
            image: As for `complete`.
            top: What to add above; from 0 to 1 of the photo's height.
            bottom: Below, likewise.
            left: To the left; from 0 to 1 of the photo's width.
            right: To the right, likewise.
            unit: `fraction`, or `pixels` for margins in whole pixels.
            signature: None or `extrapolate`, or `serving_default` or `encoded` to
                draw the larger canvas here, for a model that was exported without
                `extrapolate`.
            timeout: Seconds, in place of the client's.

        Returns:
            Photo and parsing map of the extended size.

        Raises:
            PortraitError: As for `complete`, and for margins out of range or all 0.
            ServerError: As for `complete_with_parsing`.
        """
        margins = {"top": top, "bottom": bottom, "left": left, "right": right}
        return self._run(
            lambda: self._calls.extrapolate(image, margins, unit, signature), timeout
        )

    def complete_many(
        self,
        photos: Iterable[tuple[Picture, Picture]],
        concurrency: int = 4,
        *,
        on_error: str = "raise",
        signature: str | None = None,
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
            timeout: Seconds for each photo, in place of the client's.

        Yields:
            One result, or error, for each photo.

        Raises:
            PortraitError: As for `complete`; also for a concurrency below 1.
        """
        check_stream(concurrency, on_error)
        self._seconds(timeout)

        def complete_one(item: object) -> CompletionResult:
            image, mask = check_pair(item)
            return self.complete(image, mask, signature=signature, timeout=timeout)

        return _stream(complete_one, photos, concurrency, on_error)

    def status(self, *, timeout: float | None = None) -> list[VersionStatus]:
        """The state of the versions the server knows, or of the one asked for.

        Raises:
            ServerError: NOT_FOUND when the server does not know the model.
        """
        return self._run(self._calls.status, timeout)

    def metadata(self, *, timeout: float | None = None) -> ModelMetadata:
        """The signatures of the model that is served.

        Raises:
            ServerError: NOT_FOUND when the server does not serve the model.
        """
        return self._run(self._calls.metadata, timeout)

    def wait_until_available(self, timeout: float = 60.0) -> None:
        """Waits until a version of the model (the one asked for) is AVAILABLE.

        Reads the model's state: a server answers before its model is loaded.

        Raises:
            ServerError: When that has not come within `timeout` seconds; its code is
                that of the last attempt.
        """
        deadline = time.monotonic() + check_timeout(timeout)
        call = self._calls.status()
        while True:
            remaining = max(deadline - time.monotonic(), 0.001)
            try:
                found = self._send_once(call, self._seconds(remaining), remaining)
            except ServerError as error:
                found = error
            if is_available(found):
                return
            if time.monotonic() + POLL_SECONDS >= deadline:
                raise self._not_available(timeout, found)
            time.sleep(POLL_SECONDS)

    def close(self) -> None:
        """Ends the connection; the client cannot be used afterwards."""
        self._is_closed = True
        self._channel.close()

    def __enter__(self) -> "PortraitClient":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, make: Any, timeout: float | None) -> Any:
        timeout = self._seconds(timeout)
        call = make()
        deadline = time.monotonic() + timeout
        for attempt in itertools.count(1):
            try:
                return self._send_once(call, deadline - time.monotonic(), timeout)
            except ServerError as error:
                pause = self.retry.pause(
                    error, attempt, deadline - time.monotonic(), self._random
                )
                if pause is None:
                    raise
            time.sleep(pause)

    def _send_once(self, call: Call, remaining: float, timeout: float) -> Any:
        try:
            response = self._methods[call.method](
                call.request, timeout=remaining, metadata=self._headers
            )
        except grpc.RpcError as error:
            raise self._error(error, timeout) from error
        return call.read(response)


def _stream(
    complete_one: Any, photos: Iterable, concurrency: int, on_error: str
) -> Iterator[CompletionResult | PortraitError]:
    pool = concurrent.futures.ThreadPoolExecutor(concurrency, "complete_many")
    under_way: collections.deque[concurrent.futures.Future] = collections.deque()
    waiting = iter(photos)
    try:
        while True:
            for item in itertools.islice(waiting, concurrency - len(under_way)):
                under_way.append(pool.submit(complete_one, item))
            if not under_way:
                return
            future = under_way.popleft()
            error = future.exception()
            if error is None:
                yield future.result()
            elif on_error == "yield" and isinstance(error, PortraitError):
                yield error
            else:
                raise error
    finally:
        # Those under way end by themselves, at the latest with their deadline.
        pool.shutdown(wait=False, cancel_futures=True)
