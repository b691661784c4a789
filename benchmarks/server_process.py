"""A model server in a process of its own, for the programs that load and fuzz it.

Whatever takes `tensorflow_model_server`'s flags can be started: `portrait-tf serve` is
what is taken if no other command is named.
"""

import argparse
import contextlib
import dataclasses
import pathlib
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from types import TracebackType

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from portrait_tf.errors import PortraitError

EMBEDDED = (sys.executable, "-m", "portrait_tf", "serve")
METRICS_PATH = "/monitoring/prometheus/metrics"
PREDICT = "/tensorflow.serving.PredictionService/Predict"
CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)
MONITORING_CONFIG = f'prometheus_config {{ enable: true path: "{METRICS_PATH}" }}\n'

_AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE
_POLL_SECONDS = 0.1


@dataclasses.dataclass(frozen=True)
class Address:
    """Where a server is.

    Attributes:
        target: `host:port` of gRPC.
        rest: `http://host:port`; empty if it has none.
        model_name: What requests must name.
        pid: Of the process; None where it is not ours to look at.
    """

    target: str
    rest: str = ""
    model_name: str = "portrait"
    pid: int | None = None

    def channel(self) -> grpc.Channel:
        """A connection of its own, without limits on messages."""
        options = (
            *CHANNEL_OPTIONS,
            # Channels of one target share a connection otherwise.
            ("grpc.use_local_subchannel_pool", 1),
            # A server that starts refuses connections until its model is there.
            ("grpc.max_reconnect_backoff_ms", 1000),
        )
        return grpc.insecure_channel(self.target, options=options)

    def available_versions(self, channel: grpc.Channel) -> list[int]:
        """The versions whose state is AVAILABLE, highest first."""
        response = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(
            get_model_status_pb2.GetModelStatusRequest(
                model_spec=model_pb2.ModelSpec(name=self.model_name)
            ),
            timeout=10,
        )
        states = response.model_version_status
        return sorted(
            (one.version for one in states if one.state == _AVAILABLE), reverse=True
        )

    def signatures(self, channel: grpc.Channel) -> dict:
        """The `SignatureDef`s that a request may name."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=model_pb2.ModelSpec(name=self.model_name),
            metadata_field=["signature_def"],
        )
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        found = get_model_metadata_pb2.SignatureDefMap()
        response = stub.GetModelMetadata(request, timeout=10)
        response.metadata["signature_def"].Unpack(found)
        return {name: one for name, one in found.signature_def.items() if one.inputs}


class ServerProcess:
    """Starts a server over a folder of versions, and ends it.

    Args:
        models: The folder of versions.
        flags: Further flags, such as `--enable_batching`.
        command: What is started; the flags of `tensorflow_model_server` follow it.
        timeout: Seconds until a version must be AVAILABLE.

    Attributes:
        address: Where it is, once started.

    Raises:
        PortraitError: On start, when it ends or does not become available; with the
            last lines that it wrote.
    """

    def __init__(
        self,
        models: pathlib.Path,
        flags: Sequence[str] = (),
        command: Sequence[str] = EMBEDDED,
        timeout: float = 180.0,
    ):
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._scratch = tempfile.TemporaryDirectory()
        monitoring = pathlib.Path(self._scratch.name) / "monitoring.config"
        monitoring.write_text(MONITORING_CONFIG)
        grpc_port, rest_port = free_ports(2)
        self.command = [
            *command,
            f"--port={grpc_port}",
            f"--rest_api_port={rest_port}",
            "--model_name=portrait",
            f"--model_base_path={models.resolve()}",
            f"--monitoring_config_file={monitoring}",
            *flags,
        ]
        self._timeout = timeout
        self._ports = grpc_port, rest_port
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> Address:
        self._process = subprocess.Popen(
            self.command, stdout=self._log, stderr=subprocess.STDOUT
        )
        grpc_port, rest_port = self._ports
        self.address = Address(
            f"127.0.0.1:{grpc_port}",
            f"http://127.0.0.1:{rest_port}",
            pid=self._process.pid,
        )
        try:
            self._wait()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self.address

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        self._log.close()
        self._scratch.cleanup()

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def said(self, lines: int = 15) -> str:
        """The last lines that it wrote."""
        self._log.seek(0)
        return "\n".join(self._log.read().splitlines()[-lines:])

    def _wait(self) -> None:
        deadline = time.monotonic() + self._timeout
        with self.address.channel() as channel:
            while time.monotonic() < deadline:
                if not self.is_alive:
                    raise PortraitError(
                        f"the server ended with {self._process.returncode}:"
                        f" {' '.join(self.command)}\n{self.said()}"
                    )
                with contextlib.suppress(grpc.RpcError):
                    if self.address.available_versions(channel):
                        return
                time.sleep(_POLL_SECONDS)
        raise PortraitError(
            f"the server at {self.address.target} had no AVAILABLE version within"
            f" {self._timeout:g} s:\n{self.said()}"
        )


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Which server: one to start, or one that runs."""
    parser.add_argument(
        "--models", type=pathlib.Path, help="start a server on the newest version here"
    )
    parser.add_argument(
        "--server-command",
        type=shlex.split,
        default=EMBEDDED,
        help="what is started; takes tensorflow_model_server's flags",
    )
    parser.add_argument("--target", help="or a server that runs: HOST:PORT of gRPC")
    parser.add_argument("--rest", default="", help="its http://HOST:PORT")
    parser.add_argument("--model-name", default="portrait", help="with --target")
    parser.add_argument("--json", type=pathlib.Path, help="write the numbers here, too")


def read_server_options(
    parser: argparse.ArgumentParser, arguments: list[str] | None
) -> argparse.Namespace:
    """All options of a program; it ends unless one server is named."""
    options = parser.parse_args(arguments)
    if (options.models is None) == (options.target is None):
        parser.error("expected one of --models and --target")
    return options


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, as far as one can know."""
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            for _ in range(count)
        ]
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def copied_models(models: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder with a copy of the newest version, as version 1: ours to change."""
    with tempfile.TemporaryDirectory(prefix="portrait-models-") as folder:
        copy = pathlib.Path(folder)
        shutil.copytree(newest_version(models), copy / "1")
        yield copy


def newest_version(models: pathlib.Path) -> pathlib.Path:
    """The version folder with the highest number.

    Raises:
        PortraitError: There is none.
    """
    versions = [
        path
        for path in (models.iterdir() if models.is_dir() else ())
        if path.name.isdigit() and (path / "saved_model.pb").exists()
    ]
    if not versions:
        raise PortraitError(
            f"{models}: no version of a model in it; expected what `portrait-tf export"
            " bundled DIR` writes"
        )
    return max(versions, key=lambda path: int(path.name))


def predict_request(
    inputs: dict, model_name: str = "portrait", signature: str = "serving_default"
) -> predict_pb2.PredictRequest:
    """A request of arrays or `TensorProto`s, by the names of the inputs."""
    import tensorflow as tf
    from tensorflow.core.framework import tensor_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = model_name
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        if not isinstance(value, tensor_pb2.TensorProto):
            value = tf.make_tensor_proto(value)
        request.inputs[name].CopyFrom(value)
    return request


def read_metrics(rest: str) -> dict[str, float] | None:
    """A server's Prometheus page: values by `name{labels}`; None if it has none."""
    if not rest:
        return None
    try:
        with urllib.request.urlopen(rest + METRICS_PATH, timeout=10) as answer:
            page = answer.read().decode()
    except urllib.error.HTTPError as error:
        error.close()
        return None
    except OSError:
        return None
    values = re.findall(r"^([^#\s][^{\s]*(?:\{.*\})?) (\S+)$", page, re.MULTILINE)
    return {name: float(value) for name, value in values}


def resident_bytes(pid: int) -> int:
    """The memory that a process holds, VmRSS of /proc/PID/status.

    Raises:
        ProcessLookupError: It has ended.
    """
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        raise ProcessLookupError(f"process {pid} has ended") from None
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    if found is None:
        # A zombie has no memory any more.
        raise ProcessLookupError(f"process {pid} has ended")
    return int(found[1]) * 1024
