"""The gRPC front end: PredictionService, ModelService and the standard health check.

Predict, GetModelMetadata and GetModelStatus are served; every other method answers
UNIMPLEMENTED.
"""

import logging
from collections.abc import Callable
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
_LOGGER = logging.getLogger(__name__)
_Response = TypeVar("_Response")


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """TensorFlow Serving's PredictionService over a `ServerCore`."""

    def __init__(self, core: ServerCore):
        self._core = core

    def Predict(self, request, context):  # noqa: ANN001, ANN201
        # Work that nobody waits for any more is not begun: requests queue here when
        # all threads are busy.
        remaining = context.time_remaining()
        if remaining is not None and remaining <= 0:
            context.abort(
                grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed in the queue"
            )
        return _answer(context, lambda: self._core.predict(request, remaining))

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
        _unimplemented(context, "HandleReloadConfigRequest")


class GrpcFrontEnd:
    """A gRPC server on one address.

    Args:
        address: `host:port`; port 0 takes a free one.
        workers: Requests handled at the same time; more wait.

    Attributes:
        port: The port that is bound.

    Raises:
        OSError: When the address cannot be bound.
    """

    def __init__(self, address: str, workers: int):
        self._executor = futures.ThreadPoolExecutor(workers, "grpc")
        self._server = grpc.server(self._executor, options=_OPTIONS)
        try:
            self.port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            self.stop(0)
            raise OSError(str(error)) from error
        self._health = health.HealthServicer()

    def start(self, core: ServerCore) -> None:
        """Begins to answer with `core`."""
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionService(core), self._server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            ModelService(core), self._server
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        for name in _HEALTH_NAMES:
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        self._server.start()

    def announce_stop(self) -> None:
        """Tells health watchers that the server is going."""
        self._health.enter_graceful_shutdown()

    def stop(self, grace: float) -> None:
        """Takes no new request and waits up to `grace` seconds for those running."""
        self._server.stop(grace).wait()
        self._executor.shutdown(wait=False)


def _answer(
    context: grpc.ServicerContext, produce: Callable[[], _Response]
) -> _Response:
    try:
        return produce()
    except RequestError as error:
        context.abort(error.code, error.message)
    except Exception as error:
        _LOGGER.exception("a request failed in the server")
        context.abort(grpc.StatusCode.INTERNAL, f"{type(error).__name__} in the server")


def _unimplemented(context: grpc.ServicerContext, method: str) -> None:
    context.abort(
        grpc.StatusCode.UNIMPLEMENTED, f"{method} is not served by this server"
    )
