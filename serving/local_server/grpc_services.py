"""The gRPC front end: PredictionService, ModelService and the standard health check.

Predict, GetModelMetadata, GetModelStatus and HandleReloadConfigRequest are served;
every other method answers UNIMPLEMENTED.
"""

import functools
import time
from concurrent import futures
from typing import TypeVar

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from portrait_tf.errors import PortraitError
from serving.local_server import text_protos
from serving.local_server.core import ServerCore
from serving.local_server.request_error import attempt

# so_reuseport is off because with it two servers share one port without a word, and
# requests go to either.
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
)
_Response = TypeVar("_Response")


class Services(
    prediction_service_pb2_grpc.PredictionServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
):
    """TensorFlow Serving's services; what is not here is UNIMPLEMENTED by gRPC."""

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
        code, answer = attempt(lambda: self._core.predict(request, remaining))
        took, name = time.monotonic() - begun, request.model_spec.name
        self._core.metrics.record_request(name, "Predict", "GRPC", code.name, took)
        return _end(context, code, answer)

    def GetModelMetadata(self, request, context):  # noqa: ANN001, ANN201
        return _end(context, *attempt(lambda: self._core.metadata(request)))

    def GetModelStatus(self, request, context):  # noqa: ANN001, ANN201
        return _end(context, *attempt(lambda: self._core.status(request)))

    def HandleReloadConfigRequest(self, request, context):  # noqa: ANN001, ANN201
        return _end(context, *attempt(lambda: self._core.reload(request)))


class GrpcFrontEnd:
    """A gRPC server, which answers at once; `port` is the one that is bound.

    The health service says that the process answers, whatever the models' states.
    Raises OSError when an address cannot be bound.
    """

    def __init__(self, core: ServerCore, credentials: grpc.ServerCredentials | None):
        options = core.options
        self._executor = futures.ThreadPoolExecutor(options.grpc_max_threads, "grpc")
        settings = [*_OPTIONS, *options.channel_arguments]
        self._server = server = grpc.server(self._executor, options=settings)
        services = Services(core)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            services, server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(services, server)
        if options.enable_grpc_healthcheck_service:
            servicer = health.HealthServicer()
            servicer.set(health.OVERALL_HEALTH, health_pb2.HealthCheckResponse.SERVING)
            health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        add_port = server.add_insecure_port
        if credentials is not None:
            add_port = functools.partial(
                server.add_secure_port, server_credentials=credentials
            )
        host = f"[{options.host}]" if ":" in options.host else options.host
        try:
            self.port = add_port(f"{host}:{options.port}")
            if options.grpc_socket_path:
                add_port(f"unix:{options.grpc_socket_path}")
        except RuntimeError as error:
            # gRPC frees the ports of a server only if it was started.
            server.start()
            self.stop(0)
            raise OSError(str(error)) from error
        server.start()

    def stop(self, grace: float) -> None:
        """Takes no new request and waits up to `grace` seconds for those running."""
        self._server.stop(grace).wait()
        self._executor.shutdown(wait=False)


def read_credentials(path: str) -> grpc.ServerCredentials | None:
    """TLS as a file with an SSLConfig says; None without a path."""
    if not path:
        return None
    config = text_protos.read_text_proto(path, text_protos.SSLConfig)
    verify = config.client_verify
    needed = ["server_key", "server_cert"] + ["custom_ca"] * verify
    for name in needed:
        # gRPC itself would only say that a port cannot be taken.
        if "-----BEGIN " not in getattr(config, name):
            raise PortraitError(f"{path}: expected {name}, the text of a PEM file")
    credentials = grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        root_certificates=config.custom_ca.encode() or None,
        require_client_auth=verify,
    )
    probe = grpc.server(futures.ThreadPoolExecutor(1))
    try:
        probe.add_secure_port("127.0.0.1:0", credentials)
    except RuntimeError:
        raise PortraitError(
            f"{path}: expected a key and its certificate{' and custom_ca' * verify},"
            " received texts that are none or do not belong together"
        ) from None
    finally:
        probe.start()
        probe.stop(0).wait()
    return credentials


def _end(
    context: grpc.ServicerContext, code: grpc.StatusCode, answer: _Response | str
) -> _Response:
    if code is not grpc.StatusCode.OK:
        context.abort(code, answer)
    return answer
