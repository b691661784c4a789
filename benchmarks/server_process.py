"""A model server in a process of its own.

Any program with the flags of `tensorflow_model_server` can be started; the default is
`portrait-tf serve`.
"""

import contextlib
import dataclasses
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence

import grpc
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
)

from benchmarks.common import free_ports
from portrait_tf.errors import PortraitError

EMBEDDED = (sys.executable, "-m", "portrait_tf", "serve")
METRICS_PATH = "/monitoring/prometheus/metrics"
_MONITORING = f'prometheus_config {{ enable: true path: "{METRICS_PATH}" }}\n'


@dataclasses.dataclass(frozen=True)
class Address:
    """Where a server is.

    Attributes:
        target: `host:port` of gRPC.
        rest: `http://host:port`; empty without REST.
        model_name: The model's name in requests.
        pid: Of the process; None where another machine has it.
    """

    target: str
    rest: str = ""
    model_name: str = "portrait"
    pid: int | None = None

    def channel(self) -> grpc.Channel:
        """A connection of its own, without limits on messages."""
        options = (
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            # Channels of one target share a connection otherwise.
            ("grpc.use_local_subchannel_pool", 1),
            # A server that starts refuses connections until its model is there.
            ("grpc.max_reconnect_backoff_ms", 1000),
        )
        return grpc.insecure_channel(self.target, options=options)

    def available_versions(self, channel: grpc.Channel) -> list[int]:
        """The versions whose state is AVAILABLE."""
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        spec = model_pb2.ModelSpec(name=self.model_name)
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
        states = stub.GetModelStatus(request, timeout=10).model_version_status
        available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
        return [one.version for one in states if one.state == available]

    def metrics(self) -> dict[str, float] | None:
        """The Prometheus page: values by `name{labels}`; None without a page."""
        if not self.rest:
            return None
        try:
            with urllib.request.urlopen(self.rest + METRICS_PATH, timeout=10) as answer:
                page = answer.read().decode()
        except urllib.error.HTTPError as error:
            error.close()
            return None
        except OSError:
            return None
        values = re.findall(r"^([^#\s][^{\s]*(?:\{.*\})?) (\S+)$", page, re.MULTILINE)
        return {name: float(value) for name, value in values}


class ServerProcess:
    """Starts a server on a folder of versions, and ends it.

    Args:
        models: The folder of versions.
        flags: Further flags, such as `--enable_batching`.
        command: The program; the flags of `tensorflow_model_server` follow it.
        timeout: Seconds until a version must be AVAILABLE.

    Raises:
        PortraitError: On entry, if the server ends or does not become available; with
            the last lines that it wrote.
    """

    def __init__(
        self,
        models: pathlib.Path,
        flags: Sequence[str] = (),
        command: Sequence[str] = EMBEDDED,
        timeout: float = 180.0,
    ) -> None:
        self._models, self._flags, self._command = models, flags, command
        self._timeout = timeout

    def __enter__(self) -> Address:
        with contextlib.ExitStack() as stack:
            scratch = stack.enter_context(tempfile.TemporaryDirectory())
            monitoring = pathlib.Path(scratch, "monitoring.config")
            monitoring.write_text(_MONITORING)
            log = stack.enter_context(tempfile.TemporaryFile("w+"))
            grpc_port, rest_port = free_ports(2)
            command = [
                *self._command,
                f"--port={grpc_port}",
                f"--rest_api_port={rest_port}",
                "--model_name=portrait",
                f"--model_base_path={self._models.resolve()}",
                f"--monitoring_config_file={monitoring}",
                *self._flags,
            ]
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
            stack.callback(_end, process)
            host = "127.0.0.1"
            address = Address(
                f"{host}:{grpc_port}", f"http://{host}:{rest_port}", pid=process.pid
            )
            if not self._is_available(process, address):
                log.seek(0)
                said = "\n".join(log.read().splitlines()[-15:])
                raise PortraitError(
                    f"no AVAILABLE version within {self._timeout:g} s, exit code "
                    f"{process.poll()}: {' '.join(command)}\n{said}"
                )
            self._stack = stack.pop_all()
        return address

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _is_available(self, process: subprocess.Popen, address: Address) -> bool:
        deadline = time.monotonic() + self._timeout
        with address.channel() as channel:
            while time.monotonic() < deadline and process.poll() is None:
                with contextlib.suppress(grpc.RpcError):
                    if address.available_versions(channel):
                        return True
                time.sleep(0.1)
        return False


def _end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def copied_models(models: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder with a copy of the newest version, as version 1."""
    with tempfile.TemporaryDirectory(prefix="portrait-models-") as folder:
        shutil.copytree(newest_version(models), pathlib.Path(folder, "1"))
        yield pathlib.Path(folder)


def newest_version(models: pathlib.Path) -> pathlib.Path:
    """The version folder with the highest number.

    Raises:
        PortraitError: There is no version.
    """
    versions = [
        path.parent
        for path in models.glob("*/saved_model.pb")
        if path.parent.name.isdigit()
    ]
    if not versions:
        raise PortraitError(
            f"{models}: no version of a model in it; expected what `portrait-tf export"
            " bundled DIR` writes"
        )
    return max(versions, key=lambda path: int(path.name))


def predict_request(
    inputs: dict, model_name: str, signature: str
) -> predict_pb2.PredictRequest:
    """A request of arrays or `TensorProto`s, by the names of the inputs."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model_name
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        if not isinstance(value, tensor_pb2.TensorProto):
            value = tf.make_tensor_proto(value)
        request.inputs[name].CopyFrom(value)
    return request
