"""The gRPC front end: PredictionService, ModelService and the standard health check.

Predict, GetModelMetadata, GetModelStatus and HandleReloadConfigRequest are served;
every other method answers UNIMPLEMENTED.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import TypeVar

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from serving.local_server.core import ServerCore
from serving.local_server.request_error import RequestError

# so_reuseport is off because with it two servers share one port without a word, and
# requests go to either.
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
)
_HEALTH_NAMES = (
    health.OVERALL_HEALTH,
    "tensorflow.serving.PredictionService",
    "tensorflow.serving.ModelService",
)
# Seconds between the last answer and the end of its connection. What a client sends
# meanwhile (HTTP/2 acknowledges what it reads) would reset a connection that is closed
# already, and the client would lose what it has not read yet.
_LINGER = 0.5
_LOGGER = logging.getLogger(__name__)
_Response = TypeVar("_Response")


class Drain:
    """Counts the requests whose answer is not sent yet, and refuses new ones at an end.

    gRPC's own `stop` closes a connection as soon as its last answer is written, which
    is before a client has read a large one.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self._is_draining = False

    def enter(self, context: grpc.ServicerContext) -> None:
        """Counts a request until its answer is sent; aborts it while draining."""
        with self._changed:
            refused = self._is_draining
            if not refused and context.add_callback(self._leave):
                self._running += 1
        if refused:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the server is stopping")

    def _leave(self) -> None:
        with self._changed:
            self._running -= 1
            self._changed.notify_all()

    def wait(self, grace: float) -> float:
        """Lets no request in and waits for those running; returns what is left."""
        begun = time.monotonic()
        with self._changed:
            self._is_draining = True
            if self._running:
                self._changed.wait_for(lambda: not self._running, grace)
                left = grace - (time.monotonic() - begun)
                self._changed.wait(max(0.0, min(_LINGER, left)))
        return max(0.0, grace - (time.monotonic() - begun))


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """TensorFlow Serving's PredictionService over a `ServerCore`."""

    def __init__(self, core: ServerCore, drain: Drain):
        self._core = core
        self._drain = drain

    def Predict(self, request, context):  # noqa: ANN001, ANN201
        self._drain.enter(context)
        # Work that nobody waits for any more is not begun: requests queue here when
        # all threads are busy.
        remaining = context.time_remaining()
        if remaining is not None and remaining <= 0:
            context.abort(
                grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed in the queue"
            )
        begun, status = time.monotonic(), "INTERNAL"
        try:
            response = self._core.predict(request, remaining)
            status = "OK"
            return response
        except RequestError as error:
            status = error.code.name
            context.abort(error.code, error.message)
        except Exception as error:
            _abort_internal(context, error)
        finally:
            self._core.metrics.record_request(
                request.model_spec.name, "GRPC", status, time.monotonic() - begun
            )

    def GetModelMetadata(self, request, context):  # noqa: ANN001, ANN201
        return _answer(context, lambda: self._core.metadata(request))

    def Classify(self, request, context):  # noqa: ANN001, ANN201
        _unimplemented(context, "Classify")

    def Regress(self, request, context):  # noqa: ANN001, ANN201
        _unimplemented(context, "Regress")

    def MultiInference(self, request, context):  # noqa: ANN001, ANN201
        _unimplemented(context, "MultiInference")


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """TensorFlow Serving's ModelService over a `ServerCore`."""

    def __init__(self, core: ServerCore):
        self._core = core

    def GetModelStatus(self, request, context):  # noqa: ANN001, ANN201
        return _answer(context, lambda: self._core.status(request))

    def HandleReloadConfigRequest(self, request, context):  # noqa: ANN001, ANN201
        return _answer(context, lambda: self._core.reload(request))


class GrpcFrontEnd:
    """A gRPC server on one address.

    Args:
        address: `host:port`; port 0 takes a free one.
        workers: Requests handled at the same time; more wait.
        credentials: For TLS; None for plain text.
        socket_path: A Unix socket to listen on, too.
        arguments: Further arguments of gRPC's channels.
        with_health: Whether there is a health service.

    Attributes:
        port: The port that is bound.

    Raises:
        OSError: When an address cannot be bound.
    """

    def __init__(
        self,
        address: str,
        workers: int,
        *,
        credentials: grpc.ServerCredentials | None = None,
        socket_path: str = "",
        arguments: Sequence[tuple[str, int | str]] = (),
        with_health: bool = True,
    ):
        self._executor = futures.ThreadPoolExecutor(workers, "grpc")
        self._server = grpc.server(self._executor, options=[*_OPTIONS, *arguments])
        self._health: health.HealthServicer | None = None
        if with_health:
            self._health = health.HealthServicer()
        self._is_ready: bool | None = None
        self._is_stopping = False
        self._drain = Drain()
        try:
            self.port = self._bind(address, credentials)
            if socket_path:
                self._bind(f"unix:{socket_path}", credentials)
        except RuntimeError as error:
            self.stop(0)
            raise OSError(str(error)) from error

    def start(self, core: ServerCore) -> None:
        """Begins to answer with `core`."""
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionService(core, self._drain), self._server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            ModelService(core), self._server
        )
        if self._health is not None:
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.set_ready(core.is_ready())
        self._server.start()

    def set_ready(self, ready: bool) -> None:
        """Tells health watchers whether requests would be answered."""
        if self._health is None or self._is_stopping or ready == self._is_ready:
            return
        self._is_ready = ready
        status = health_pb2.HealthCheckResponse
        for name in _HEALTH_NAMES:
            self._health.set(name, status.SERVING if ready else status.NOT_SERVING)

    def announce_stop(self) -> None:
        """Tells health watchers that the server is going."""
        self._is_stopping = True
        if self._health is not None:
            self._health.enter_graceful_shutdown()

    def stop(self, grace: float) -> None:
        """Takes no new request and waits up to `grace` seconds for those running."""
        self._server.stop(self._drain.wait(grace)).wait()
        self._executor.shutdown(wait=False)

    def _bind(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        if credentials is None:
            return self._server.add_insecure_port(address)
        return self._server.add_secure_port(address, credentials)


def _answer(
    context: grpc.ServicerContext, produce: Callable[[], _Response]
) -> _Response:
    try:
        return produce()
    except RequestError as error:
        context.abort(error.code, error.message)
    except Exception as error:
        _abort_internal(context, error)


def _abort_internal(context: grpc.ServicerContext, error: Exception) -> None:
    _LOGGER.exception("a request failed in the server")
    context.abort(grpc.StatusCode.INTERNAL, f"{type(error).__name__} in the server")


def _unimplemented(context: grpc.ServicerContext, method: str) -> None:
    context.abort(
        grpc.StatusCode.UNIMPLEMENTED, f"{method} is not served by this server"
    )
