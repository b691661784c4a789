"""Start and stop of the embedded server.

For development and tests; not a replacement of TensorFlow Serving: one process of
Python. Production runs TensorFlow Serving on the same folder and the same files of
configuration (see `serving/deploy`).
"""

import errno
import logging
import pathlib
import signal
import socket
import ssl
import tempfile
import threading
import time
from types import FrameType, TracebackType

import grpc
import tensorflow as tf
from tensorflow_serving.config import model_server_config_pb2

from portrait_tf.errors import PortraitError
from serving.local_server import text_protos, warmup
from serving.local_server.batching import (
    PARAMETERS_FILE,
    Batcher,
    BatchingParameters,
    BatchThreads,
)
from serving.local_server.core import ServerCore
from serving.local_server.grpc_services import GrpcFrontEnd
from serving.local_server.manager import ModelManager
from serving.local_server.metrics import Metrics
from serving.local_server.model import LoadedModel, find_versions
from serving.local_server.model_config import ModelSet, read_config, single_model
from serving.local_server.options import ServerOptions
from serving.local_server.request_error import RequestError
from serving.local_server.rest import RestFrontEnd, RestSettings

METRICS_PATH = "/monitoring/prometheus/metrics"
"""Where the metrics are, when MonitoringConfig does not say."""

_LOGGER = logging.getLogger(__name__)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_POLL_SECONDS = 0.2


class LocalServer:
    """Serves models over gRPC and REST.

    For development and tests; not a replacement of TensorFlow Serving.

    Args:
        models_dir: A folder of numbered SavedModels; the highest number is served. None
            with `model_config_file`.
        model_name: The name that requests must give.
        host: The address to bind; `0.0.0.0` for every interface.
        grpc_port: The gRPC port; 0 takes a free one.
        rest_port: The REST port; 0 takes a free one.
        response_tensors_as_content: Whether gRPC answers carry numbers as raw bytes.
            False for typed fields, TensorFlow Serving's default, which Python reads
            far more slowly.
        enable_grpc_healthcheck_service: Whether there is a health service.
        options: Further settings, see `ServerOptions`.

    Attributes:
        grpc_port: The gRPC port, after `start` the one that is bound.
        rest_port: The REST port, likewise.
        options: All settings.
        version: The version that a request without one gets, of the first model; None
            while nothing is served.

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
        host: str = "127.0.0.1",
        grpc_port: int = 8500,
        rest_port: int = 8501,
        *,
        response_tensors_as_content: bool = False,
        enable_grpc_healthcheck_service: bool = True,
        **options: object,
    ):
        self._set_up(
            ServerOptions(
                model_base_path=str(models_dir or ""),
                model_name=model_name,
                host=host,
                port=grpc_port,
                rest_api_port=rest_port,
                enable_serialization_as_tensor_content=response_tensors_as_content,
                enable_grpc_healthcheck_service=enable_grpc_healthcheck_service,
                **options,
            )
        )

    @classmethod
    def from_options(cls, options: ServerOptions) -> "LocalServer":
        """A server with exactly these settings, as the command line makes it."""
        server = cls.__new__(cls)
        server._set_up(options)
        return server

    def _set_up(self, options: ServerOptions) -> None:
        self.options = options
        self.host = options.host
        self.grpc_port, self.rest_port = options.port, options.rest_api_port
        self._metrics = Metrics()
        self._grpc: GrpcFrontEnd | None = None
        self._rest: RestFrontEnd | None = None
        self._manager: ModelManager | None = None
        self._batching: BatchThreads | None = None
        self._session_config: tf.compat.v1.ConfigProto | None = None
        self._config_thread: threading.Thread | None = None
        self._stop_asked = False
        self._stopped = threading.Event()
        self._stopping = threading.Lock()

    @property
    def version(self) -> int | None:
        if self._manager is None:
            return None
        for name in self._manager.names():
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
        self._stop_asked = False
        self._stopped.clear()
        options = self.options
        models = self._read_models()
        batching = self._read_batching()
        self._session_config = session_config(options)
        settings = RestSettings(
            options.rest_api_timeout_in_ms / 1000,
            options.rest_api_enable_cors_support,
            self._read_metrics_path(),
            options.rest_api_max_body_bytes,
        )
        credentials = self._read_credentials()
        # To learn after minutes of loading that a port is in use would be a waste. It
        # is taken only after the first load: until then connections are refused.
        self._check_port("gRPC", options.port)
        self._check_port("REST", options.rest_api_port)
        try:
            if batching is not None:
                self._batching = BatchThreads(batching, self._metrics)
            self._manager = ModelManager(
                self._load,
                retries=options.max_num_load_retries,
                retry_seconds=options.load_retry_interval_micros / 1e6,
                poll_seconds=options.file_system_poll_wait_seconds,
            )
            core = ServerCore(
                self._manager,
                self._metrics,
                as_content=options.enable_serialization_as_tensor_content,
                allow_labels_for_unavailable=(
                    options.allow_version_labels_for_unavailable_models
                ),
            )
            try:
                core.apply(models, "servable(s)")
            except RequestError as error:
                raise PortraitError(f"{error.code.name}: {error.message}") from error
            self._open_ports(core, credentials, settings)
        except BaseException:
            self.stop(0)
            raise
        if options.model_config_file and options.model_config_file_poll_wait_seconds:
            self._config_thread = threading.Thread(
                target=self._poll_config, args=(core,), name="config", daemon=True
            )
            self._config_thread.start()
        _LOGGER.warning(
            "Embedded server for development and tests; not a replacement of"
            " TensorFlow Serving. Models %s.",
            ", ".join(self._manager.names()),
        )
        return self

    def stop(self, grace: float = 30.0) -> None:
        """Takes no new request, finishes those in flight, frees ports and memory.

        After `grace` seconds by REST, and as many by gRPC, they are cut off.
        """
        self._stop_asked = True
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

    # === Settings ===

    def _read_models(self) -> ModelSet:
        """Raises PortraitError; also when a model has no version at all."""
        options = self.options
        if options.model_config_file:
            models = self._read_config_file()
        else:
            models = single_model(options.model_name, options.model_base_path)
        for source in models.sources.values():
            # A mistyped folder is found here, and not waited for.
            find_versions(source.base_path)
        return models

    def _read_config_file(self) -> ModelSet:
        path = self.options.model_config_file
        config = text_protos.read_text_proto(
            path, model_server_config_pb2.ModelServerConfig
        )
        try:
            return read_config(config)
        except RequestError as error:
            raise PortraitError(f"{path}: {error.message}") from error

    def _read_batching(self) -> BatchingParameters | None:
        if not self.options.enable_batching:
            return None
        path = self.options.batching_parameters_file
        return BatchingParameters.read(path) if path else BatchingParameters()

    def _read_metrics_path(self) -> str | None:
        path = self.options.monitoring_config_file
        if not path:
            return None
        config = text_protos.read_text_proto(path, text_protos.MonitoringConfig)
        prometheus = config.prometheus_config
        return (prometheus.path or METRICS_PATH) if prometheus.enable else None

    def _read_credentials(self) -> grpc.ServerCredentials | None:
        path = self.options.ssl_config_file
        if not path:
            return None
        config = text_protos.read_text_proto(path, text_protos.SSLConfig)
        if not (config.server_key and config.server_cert):
            raise PortraitError(
                f"{path} lacks a key or a certificate; expected server_key and"
                " server_cert, each the text of a PEM file"
            )
        if config.client_verify and not config.custom_ca:
            raise PortraitError(
                f"{path} has client_verify without custom_ca; expected the certificate"
                " that signs those of clients"
            )
        _check_pem(path, config)
        return grpc.ssl_server_credentials(
            [(config.server_key.encode(), config.server_cert.encode())],
            root_certificates=config.custom_ca.encode() or None,
            require_client_auth=config.client_verify,
        )

    # === Models ===

    def _load(self, path: pathlib.Path) -> LoadedModel:
        """Loads and warms up a version; raises PortraitError."""
        options = self.options
        begun, status = time.monotonic(), "fail"
        try:
            model = LoadedModel(
                path,
                tags=options.saved_model_tags.split(","),
                config=self._session_config,
                metrics=self._metrics,
            )
            status = "success"
        finally:
            name = ":tensorflow:cc:saved_model:load_"
            took = int((time.monotonic() - begun) * 1e6)
            self._metrics.count(f"{name}attempt_count", str(path), status)
            self._metrics.count(f"{name}latency", str(path), by=took)
        try:
            model.batcher = self._make_batcher(model)
            self._warm_up(model)
        except BaseException:
            model.close()
            raise
        return model

    def _make_batcher(self, model: LoadedModel) -> Batcher | None:
        if self._batching is None:
            return None
        parameters = self._batching.parameters
        if self.options.enable_per_model_batching_parameters:
            own = model.path / PARAMETERS_FILE
            if not own.exists():
                return None
            parameters = BatchingParameters.read(own)
        return Batcher(model.run_session, parameters, self._batching)

    def _warm_up(self, model: LoadedModel) -> None:
        path = model.path / warmup.WARMUP_FILE
        if not (self.options.enable_model_warmup and path.exists()):
            _LOGGER.info("No warmup data file found at %s", path)
            return
        begun, status = time.monotonic(), "INTERNAL"
        try:
            iterations = max(1, self.options.num_request_iterations_for_warmup)
            count = warmup.replay(model, self._metrics, iterations)
            status = "OK"
        except PortraitError as error:
            cause = error.__cause__
            code = cause.code if isinstance(cause, RequestError) else None
            status = f"{code.name if code else 'DATA_LOSS'}: {error}"
            raise
        finally:
            took = time.monotonic() - begun
            latency = ":tensorflow:serving:model_warmup_latency"
            self._metrics.observe(latency, took, str(model.path), status)
        _LOGGER.info(
            "Finished reading warmup data for model at %s. Number of warmup records"
            " read: %d. Elapsed time (microseconds): %d.", path, count, took * 1e6,
        )  # fmt: skip

    def _poll_config(self, core: ServerCore) -> None:
        """Applies the file of models again and again, as TensorFlow Serving does."""
        trouble = None
        seconds = self.options.model_config_file_poll_wait_seconds
        while not self._stopped.wait(seconds):
            try:
                core.apply(self._read_config_file())
                trouble = None
            except (PortraitError, RequestError) as error:
                # Once, not with every look.
                if str(error) != trouble:
                    trouble = str(error)
                    _LOGGER.error("Failed to read ModelServerConfig file: %s", trouble)

    # === Addresses ===

    def _check_port(self, protocol: str, port: int) -> None:
        """Raises PortraitError when it is no port, or in use."""
        if not 0 <= port <= 65535:
            raise PortraitError(
                f"{protocol} port {port} is no port; expected 0 (any free one) to 65535"
            )
        try:
            _refuse_port_in_use(self.host, port)
        except OSError as error:
            raise self._address_error(protocol, port, error) from error

    def _open_ports(
        self,
        core: ServerCore,
        credentials: grpc.ServerCredentials | None,
        settings: RestSettings,
    ) -> None:
        options = self.options
        host = f"[{self.host}]" if ":" in self.host else self.host
        protocol, port = "gRPC", options.port
        try:
            self._grpc = GrpcFrontEnd(
                core,
                f"{host}:{port}",
                options.grpc_max_threads,
                credentials=credentials,
                socket_path=options.grpc_socket_path,
                arguments=options.channel_arguments,
                with_health=options.enable_grpc_healthcheck_service,
            )
            protocol, port = "REST", options.rest_api_port
            self._rest = RestFrontEnd(core, self.host, port, settings)
        except OSError as error:
            raise self._address_error(protocol, port, error) from error
        self.grpc_port, self.rest_port = self._grpc.port, self._rest.port
        _LOGGER.info("Running gRPC ModelServer at %s:%d ...", host, self.grpc_port)
        if path := options.grpc_socket_path:
            _LOGGER.info("Running gRPC ModelServer at UNIX socket %s ...", path)
        _LOGGER.info("Exporting HTTP/REST API at:%s:%d ...", host, self.rest_port)

    def _address_error(self, protocol: str, port: int, error: OSError) -> PortraitError:
        in_use = error.errno == errno.EADDRINUSE
        reason = "is already in use" if in_use else f"cannot be taken ({error})"
        return PortraitError(
            f"{protocol} port {port} on {self.host} {reason}; expected a free port"
        )


def _check_pem(path: str, config) -> None:  # noqa: ANN001
    """Raises PortraitError; gRPC itself would only say that a port cannot be taken."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        print(config.server_key, config.server_cert, sep="\n", file=file, flush=True)
        try:
            # The password keeps OpenSSL from asking for one at the terminal.
            context.load_cert_chain(file.name, password="")
            if config.custom_ca:
                context.load_verify_locations(cadata=config.custom_ca)
        except (ssl.SSLError, ValueError) as error:
            raise PortraitError(
                f"{path} has a key and certificates that do not go together, or are no"
                f" PEM: {error}"
            ) from error


def session_config(options: ServerOptions) -> tf.compat.v1.ConfigProto:
    """The file's settings, and over them those of the flags that are given."""
    config = tf.compat.v1.ConfigProto()
    if options.tensorflow_session_config_file:
        path = options.tensorflow_session_config_file
        config = text_protos.read_text_proto(path, tf.compat.v1.ConfigProto)
    both = options.tensorflow_session_parallelism
    if intra := options.tensorflow_intra_op_parallelism or both:
        config.intra_op_parallelism_threads = intra
    if inter := options.tensorflow_inter_op_parallelism or both:
        config.inter_op_parallelism_threads = inter
    if fraction := options.per_process_gpu_memory_fraction:
        config.gpu_options.per_process_gpu_memory_fraction = fraction
    return config


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
