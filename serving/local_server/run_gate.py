"""Leaves a core to a version that loads, so that load does not delay it for minutes.

Before its first run, each signature's graph is optimised on one thread. Beside requests
that keep every core busy, that thread would get the share of one among many.
"""

import contextlib
import os
import threading
import time
from collections.abc import Iterator

import grpc

from serving.local_server.request_error import RequestError


class RunGate:
    """Bounds the runs in flight, but only while a version loads.

    Args:
        most: Runs at the same time while one loads; by default one less than there are
            cores, and at least one.
    """

    def __init__(self, most: int | None = None):
        self._most = most or max(1, (os.cpu_count() or 1) - 1)
        self._changed = threading.Condition()
        self._loading = self._running = 0

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Within it, runs are bounded."""
        with self._changed:
            self._loading += 1
        try:
            yield
        finally:
            with self._changed:
                self._loading -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def running(self, timeout: float | None = None) -> Iterator[float | None]:
        """Waits for its turn, if it has to, then counts as a run.

        Args:
            timeout: Seconds that the run may take, the waiting included.

        Yields:
            What is left of them.

        Raises:
            RequestError: DEADLINE_EXCEEDED, when its turn does not come in time.
        """
        begun = time.monotonic()
        with self._changed:
            if not self._changed.wait_for(self._is_free, timeout):
                raise RequestError(
                    grpc.StatusCode.DEADLINE_EXCEEDED,
                    f"no turn within {timeout:.1f} s while a version loads",
                )
            self._running += 1
        try:
            waited = time.monotonic() - begun
            yield None if timeout is None else max(timeout - waited, 1e-3)
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify()

    def _is_free(self) -> bool:
        return not self._loading or self._running < self._most
