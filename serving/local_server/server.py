"""Start and stop of the embedded server.

For development and tests; not a replacement of TensorFlow Serving: no batching, no
reload of versions, one process. Production runs TensorFlow Serving on the same folder
(see `serving/deploy`).
"""

import errno
import logging
import os
import pathlib
import signal
import socket
import threading
from types import FrameType, TracebackType

from portrait_tf.errors import PortraitError
from serving.local_server import warmup
from serving.local_server.core import ServerCore
from serving.local_server.grpc_services import GrpcFrontEnd
from serving.local_server.model import LoadedModel, find_versions, load_latest
from serving.local_server.rest import RestFrontEnd

_LOGGER = logging.getLogger(__name__)
_WORKERS = 4 * (os.cpu_count() or 1)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_POLL_SECONDS = 0.2


class LocalServer:
    """Serves the newest version of a model folder over gRPC and REST.

    For development and tests; not a replacement of TensorFlow Serving.

    Args:
        models_dir: A folder of numbered SavedModels; the highest number is served.
        model_name: The name that requests must give.
        host: The address to bind; `0.0.0.0` for every interface.
        grpc_port: The gRPC port; 0 takes a free one.
        rest_port: The REST port; 0 takes a free one.
        response_tensors_as_content: Whether gRPC answers carry numbers as raw bytes.
            False for typed fields, TensorFlow Serving's default, which Python reads
            and writes far more slowly.

    Attributes:
        grpc_port: The gRPC port, after `start` the one that is bound.
        rest_port: The REST port, likewise.
        version: The version that is served; None while nothing is.

    Example:

    ```python
    with LocalServer("models", grpc_port=0, rest_port=0) as server:
        client = PortraitClient(f"localhost:{server.grpc_port}")
    ```
    """

    def __init__(
        self,
        models_dir: str | pathlib.Path,
        model_name: str = "portrait",
        host: str = "127.0.0.1",
        grpc_port: int = 8500,
        rest_port: int = 8501,
        *,
        response_tensors_as_content: bool = True,
    ):
        self.models_dir = pathlib.Path(models_dir)
        self.model_name = model_name
        self.host = host
        self.grpc_port = grpc_port
        self.rest_port = rest_port
        self._as_content = response_tensors_as_content
        self._grpc: GrpcFrontEnd | None = None
        self._rest: RestFrontEnd | None = None
        self._model: LoadedModel | None = None
        self._stop_asked = False
        self._stopping = threading.Lock()

    @property
    def version(self) -> int | None:
        return None if self._model is None else self._model.version

    def start(self) -> "LocalServer":
        """Takes the ports, loads and warms up the model, then begins to answer.

        Returns:
            This server; a second call does nothing.

        Raises:
            PortraitError: When the folder holds no model that loads, when a warm-up
                request fails, or when a port cannot be taken. Nothing is left running.
        """
        if self._model is not None:
            return self
        self._stop_asked = False
        find_versions(self.models_dir)
        try:
            # Ports come first: to learn after minutes of loading that one is in use
            # would be a waste.
            self._grpc = self._bind("gRPC", self.grpc_port)
            self._rest = self._bind("REST", self.rest_port)
            self._model = load_latest(self.models_dir)
            warmed_up = warmup.replay(self._model)
            core = ServerCore(
                {self.model_name: {self._model.version: self._model}}, self._as_content
            )
            self._grpc.start(core)
            self._rest.start(core)
        except BaseException:
            self.stop(0)
            raise
        self.grpc_port, self.rest_port = self._grpc.port, self._rest.port
        _LOGGER.warning(
            "Embedded server for development and tests; not a replacement of"
            " TensorFlow Serving. Model %r version %d: gRPC %s:%d, REST %s:%d,"
            " %d warm-up requests.",
            self.model_name,
            self._model.version,
            self.host,
            self.grpc_port,
            self.host,
            self.rest_port,
            warmed_up,
        )
        return self

    def stop(self, grace: float = 30.0) -> None:
        """Takes no new request, finishes those in flight, frees ports and memory.

        Args:
            grace: Seconds to wait for requests in flight; later they are cut off.
        """
        self._stop_asked = True
        with self._stopping:
            if self._grpc is not None:
                self._grpc.announce_stop()
            # Together, because each waits for its own requests.
            threads = [
                threading.Thread(target=front_end.stop, args=(grace,))
                for front_end in (self._grpc, self._rest)
                if front_end is not None
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if self._model is not None:
                self._model.close()
            self._grpc = self._rest = self._model = None

    def wait(self) -> None:
        """Blocks until SIGINT, SIGTERM or another thread's `stop`, then stops.

        Signals are heard only in the main thread; while requests finish, a second one
        has its usual effect.
        """
        in_main = threading.current_thread() is threading.main_thread()
        previous = {}
        if in_main:
            previous = {
                number: signal.signal(number, self._on_signal) for number in _SIGNALS
            }
        try:
            # Polled: a signal handler may not touch an Event that this thread holds.
            pause = threading.Event()
            while not self._stop_asked:
                pause.wait(_POLL_SECONDS)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
        self.stop()

    def __enter__(self) -> "LocalServer":
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop_asked = True

    def _bind(self, protocol: str, port: int) -> "GrpcFrontEnd | RestFrontEnd":
        if not 0 <= port <= 65535:
            raise PortraitError(
                f"{protocol} port {port} is no port; expected 0 (any free one) to 65535"
            )
        try:
            if protocol == "REST":
                return RestFrontEnd(self.host, port)
            _refuse_port_in_use(self.host, port)
            host = f"[{self.host}]" if ":" in self.host else self.host
            return GrpcFrontEnd(f"{host}:{port}", _WORKERS)
        except OSError as error:
            in_use = error.errno == errno.EADDRINUSE
            reason = "is already in use" if in_use else f"cannot be taken ({error})"
            raise PortraitError(
                f"{protocol} port {port} on {self.host} {reason}; expected a free port"
            ) from error


def _refuse_port_in_use(host: str, port: int) -> None:
    """Raises EADDRINUSE early, because gRPC's own error does not give the reason."""
    for family, kind, protocol, _, address in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except OSError as error:
                # Anything else is left to gRPC, which may do with fewer addresses.
                if error.errno == errno.EADDRINUSE:
                    raise
