"""Start and stop of the embedded server, for development and tests.

Production runs TensorFlow Serving on the same folder and the same files of
configuration (see `serving/deploy`).
"""

import contextlib
import functools
import logging
import pathlib
import signal
import socket
import threading

import tensorflow as tf
from google.protobuf.message import Message
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from portrait_tf.errors import PortraitError
from serving.local_server import text_protos
from serving.local_server.batching import PARAMETERS_FILE, Batching, BatchingParameters
from serving.local_server.core import ServerCore
from serving.local_server.grpc_services import GrpcFrontEnd, read_credentials
from serving.local_server.manager import ModelManager
from serving.local_server.metrics import Metrics
from serving.local_server.model import LoadedModel, find_versions
from serving.local_server.model_config import ModelSource, read_config
from serving.local_server.options import ServerOptions
from serving.local_server.request_error import RequestError
from serving.local_server.rest import RestFrontEnd
from serving.local_server.warmup import warm_up

METRICS_PATH = "/monitoring/prometheus/metrics"
"""Where the metrics are, when MonitoringConfig does not say."""

_LOGGER = logging.getLogger(__name__)


class LocalServer:
    """Serves models over gRPC and REST.

    For development and tests; not a replacement of TensorFlow Serving.

    Args:
        models_dir: A folder of numbered SavedModels; the highest number is served. None
            with `model_config_file`, or with `options`.
        model_name: The name that requests must give.
        grpc_port: The gRPC port; 0 takes a free one.
        rest_port: The REST port; 0 takes a free one.
        enable_grpc_healthcheck_service: Whether there is a health service.
        options: All settings, in place of the others.
        **settings: Further fields of `ServerOptions`, such as `host`.

    After `start`, `grpc_port` and `rest_port` are those that are bound.

    Raises:
        PortraitError: For settings that cannot be.

    Example:

    ```python
    with LocalServer("models", grpc_port=0, rest_port=0) as server:
        client = PortraitClient(f"localhost:{server.grpc_port}")
    ```
    """

    def __init__(
        self,
        models_dir: str | pathlib.Path | None = None,
        model_name: str = "portrait",
        *,
        grpc_port: int = 8500,
        rest_port: int = 8501,
        enable_grpc_healthcheck_service: bool = True,
        options: ServerOptions | None = None,
        **settings: object,
    ):
        self.options = options or ServerOptions(
            model_base_path=str(models_dir or ""),
            model_name=model_name,
            port=grpc_port,
            rest_api_port=rest_port,
            enable_grpc_healthcheck_service=enable_grpc_healthcheck_service,
            **settings,
        )
        self.grpc_port = self.options.port
        self.rest_port = self.options.rest_api_port
        self._metrics = Metrics()
        self._grpc: GrpcFrontEnd | None = None
        self._rest: RestFrontEnd | None = None
        self._manager: ModelManager | None = None
        self._batching: Batching | None = None
        self._config_thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._stopping = threading.Lock()

    @property
    def version(self) -> int | None:
        """What a request without a version gets of the first model; None: nothing."""
        for name in self._manager.sources if self._manager else ():
            return max(self._manager.available(name), default=None)
        return None

    def start(self) -> "LocalServer":
        """Loads and warms up the models, then takes the ports and answers.

        A second call does nothing.

        Raises:
            PortraitError: When a file of configuration cannot be, when a model has no
                version that loads, or when a port cannot be taken. Nothing is left
                running.
        """
        if self._manager is not None:
            return self
        self._stopped.clear()
        options = self.options
        models = self._read_models()
        for source in models.values():
            # A mistyped folder is found here, and not waited for.
            find_versions(source.base_path)
        batching = None
        if options.enable_batching:
            batching = BatchingParameters.read(options.batching_parameters_file)
        session = options.tensorflow_session_config_file
        self._session_config = _read(session, tf.compat.v1.ConfigProto)
        monitoring = _read(options.monitoring_config_file, text_protos.MonitoringConfig)
        prometheus = monitoring.prometheus_config
        metrics_path = (prometheus.path or METRICS_PATH) if prometheus.enable else None
        credentials = read_credentials(options.ssl_config_file)
        # To learn after minutes of loading that a port is in use would be a waste. It
        # is taken only after the first load: until then connections are refused.
        for protocol, port in (("gRPC", options.port), ("REST", options.rest_api_port)):
            _check_port(protocol, options.host, port)
        try:
            self._batching = batching and Batching(batching, self._metrics)
            self._manager = ModelManager(self._load, options)
            core = ServerCore(self._manager, self._metrics, options)
            core.apply(models, "servable(s)")
            self._grpc = GrpcFrontEnd(core, credentials)
            self._rest = RestFrontEnd(core, metrics_path)
        except BaseException as error:
            self.stop(0)
            if isinstance(error, RequestError | OSError):
                raise PortraitError(str(error)) from error
            raise
        self.grpc_port, self.rest_port = self._grpc.port, self._rest.port
        host, path = options.host, options.grpc_socket_path
        _LOGGER.info("Running gRPC ModelServer at %s:%d ...", host, self.grpc_port)
        if path:
            _LOGGER.info("Running gRPC ModelServer at UNIX socket %s ...", path)
        _LOGGER.info("Exporting HTTP/REST API at:%s:%d ...", host, self.rest_port)
        if options.model_config_file and options.model_config_file_poll_wait_seconds:
            self._config_thread = threading.Thread(
                target=self._poll_config, args=(core,), name="config", daemon=True
            )
            self._config_thread.start()
        _LOGGER.warning(
            "Embedded server for development and tests; not a replacement of"
            " TensorFlow Serving. Models %s.",
            ", ".join(models),
        )
        return self

    def stop(self, grace: float = 30.0) -> None:
        """Takes no new request, finishes those in flight, frees ports and memory.

        After `grace` seconds by REST, and as many by gRPC, they are cut off.
        """
        self._stopped.set()
        with self._stopping:
            if self._batching is not None:
                self._batching.drain()
            for front_end in (self._rest, self._grpc):
                if front_end is not None:
                    front_end.stop(grace)
            if self._manager is not None:
                self._manager.stop()
            if self._config_thread is not None:
                self._config_thread.join()
            if self._batching is not None:
                self._batching.stop()
            self._grpc = self._rest = self._manager = None
            self._batching = self._config_thread = None

    def wait(self) -> None:
        """Blocks until SIGINT, SIGTERM or another thread's `stop`, then stops.

        Signals are heard only in the main thread; while requests finish, a second one
        has its usual effect.
        """
        in_main = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGINT, signal.SIGTERM) if in_main else ()
        previous = [
            signal.signal(number, signal.default_int_handler) for number in numbers
        ]
        with contextlib.suppress(KeyboardInterrupt):
            self._stopped.wait()
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)
        self.stop()

    def __enter__(self) -> "LocalServer":
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    # === Settings ===

    def _read_models(self) -> dict[str, ModelSource]:
        path = self.options.model_config_file
        if not path:
            base_path = pathlib.Path(self.options.model_base_path).absolute()
            return {self.options.model_name: ModelSource(base_path)}
        try:
            return read_config(_read(path, ModelServerConfig))
        except RequestError as error:
            raise PortraitError(f"{path}: {error.message}") from error

    # === Models ===

    def _load(self, name: str, path: pathlib.Path) -> LoadedModel:
        """Loads and warms up a version; raises RequestError or PortraitError."""
        options, batching = self.options, self._batching
        model = LoadedModel(name, path, options, self._session_config, self._metrics)
        try:
            parameters, own = batching and batching.parameters, path / PARAMETERS_FILE
            if batching and options.enable_per_model_batching_parameters:
                parameters = BatchingParameters.read(own) if own.exists() else None
            if parameters:
                model.runner = functools.partial(
                    batching.run, model.run_session, parameters
                )
            if options.enable_model_warmup:
                iterations = max(1, options.num_request_iterations_for_warmup)
                warm_up(model, self._metrics, iterations)
        except BaseException:
            model.close()
            raise
        return model

    def _poll_config(self, core: ServerCore) -> None:
        """Applies the file of models again and again, as TensorFlow Serving does."""
        seconds = self.options.model_config_file_poll_wait_seconds
        while not self._stopped.wait(seconds):
            try:
                core.apply(self._read_models())
            except (PortraitError, RequestError) as error:
                _LOGGER.error("Failed to read ModelServerConfig file: %s", error)


def _read(path: str, kind: type[Message]) -> Message:
    return text_protos.read_text_proto(path, kind) if path else kind()


def _check_port(protocol: str, host: str, port: int) -> None:
    """Raises PortraitError when it is in use, or the address is not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        host.encode("idna")  # Python leaves a socket open that it cannot bind.
        socket.create_server((host, port), family=family).close()
    except (OSError, UnicodeError) as error:
        raise PortraitError(
            f"{protocol} port {port} on {host} cannot be taken: {error}; expected a"
            " free one, or 0 for any"
        ) from error
