"""The gRPC front end: PredictionService, ModelService and the standard health check.

Predict, GetModelMetadata, GetModelStatus and HandleReloadConfigRequest are served;
every other method answers UNIMPLEMENTED.
"""

import logging
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
_LOGGER = logging.getLogger(__name__)
_Response = TypeVar("_Response")


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """TensorFlow Serving's PredictionService over a `ServerCore`.

    Classify, Regress and MultiInference are left to gRPC, which answers UNIMPLEMENTED.
    """

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
        begun = time.monotonic()

        def note(status: str) -> None:
            took, name = time.monotonic() - begun, request.model_spec.name
            self._core.metrics.record_request(name, "Predict", "GRPC", status, took)

        return _answer(context, lambda: self._core.predict(request, remaining), note)

    def GetModelMetadata(self, request, context):  # noqa: ANN001, ANN201
        return _answer(context, lambda: self._core.metadata(request))


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """TensorFlow Serving's ModelService over a `ServerCore`."""

    def __init__(self, core: ServerCore):
        self._core = core

    def GetModelStatus(self, request, context):  # noqa: ANN001, ANN201
        return _answer(context, lambda: self._core.status(request))

    def HandleReloadConfigRequest(self, request, context):  # noqa: ANN001, ANN201
        return _answer(context, lambda: self._core.reload(request))


class GrpcFrontEnd:
    """A gRPC server on one address, which answers at once.

    Args as of `ServerOptions`; `workers` requests are handled at the same time. The
    health service says that the process answers, whatever the models' states. `port`
    is the one that is bound. Raises OSError when an address cannot be bound.
    """

    def __init__(
        self,
        core: ServerCore,
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
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionService(core), self._server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            ModelService(core), self._server
        )
        if with_health:
            servicer = health.HealthServicer()
            servicer.set(health.OVERALL_HEALTH, health_pb2.HealthCheckResponse.SERVING)
            health_pb2_grpc.add_HealthServicer_to_server(servicer, self._server)
        addresses = [address, f"unix:{socket_path}"] if socket_path else [address]
        try:
            if credentials is None:
                ports = [self._server.add_insecure_port(one) for one in addresses]
            else:
                ports = [
                    self._server.add_secure_port(one, credentials) for one in addresses
                ]
        except RuntimeError as error:
            self.stop(0)
            raise OSError(str(error)) from error
        self.port = ports[0]
        self._server.start()

    def stop(self, grace: float) -> None:
        """Takes no new request and waits up to `grace` seconds for those running."""
        self._server.stop(grace).wait()
        self._executor.shutdown(wait=False)


def _answer(
    context: grpc.ServicerContext,
    produce: Callable[[], _Response],
    note: Callable[[str], None] = lambda status: None,
) -> _Response:
    try:
        response = produce()
    except RequestError as error:
        note(error.code.name)
        context.abort(error.code, error.message)
    except Exception as error:
        note("INTERNAL")
        _LOGGER.exception("a request failed in the server")
        context.abort(grpc.StatusCode.INTERNAL, f"{type(error).__name__} in the server")
    note("OK")
    return response
