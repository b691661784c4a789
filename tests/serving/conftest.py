"""Stand-in models, and servers that serve them."""

import contextlib
import shutil

import grpc
import pytest
import tensorflow as tf
from full_model import save_full_model
from stamp_client import StampClient
from wire import make_certificates

from benchmarks.common import free_ports
from serving.local_server import LocalServer


class Stamp(tf.Module):
    """Answers with what became of a request: the size of its batch, for one."""

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, "x")])
    def stamp(self, x):
        rows, columns = tf.unstack(tf.shape(x))
        return {
            "batch": tf.fill([rows], rows),
            "width": tf.fill([rows], columns),
            "total": tf.reduce_sum(x, 1),
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float64, "seconds")])
    def wait(self, seconds):
        end = tf.timestamp() + tf.reduce_max(seconds)
        with tf.control_dependencies([tf.timestamp()]):
            count = tf.while_loop(
                lambda _: tf.timestamp() < end, lambda n: n + 1, [tf.constant(0)]
            )
        return {"count": tf.fill(tf.shape(seconds), count[0])}


@pytest.fixture(scope="session")
def stamp_version(tmp_path_factory):
    """One version of `Stamp`, to be copied."""
    path = tmp_path_factory.mktemp("stamp") / "1"
    module = Stamp()
    tf.saved_model.save(
        module, str(path), {"serving_default": module.stamp, "wait": module.wait}
    )
    return path


@pytest.fixture
def publish(stamp_version, tmp_path):
    """Publishes versions of `Stamp`, by a rename; gives the folder of versions."""

    def write(*numbers, folder="stamp", batching=None):
        for number in numbers:
            unfinished = tmp_path / folder / f"{number}.tmp"
            shutil.copytree(stamp_version, unfinished)
            if batching:
                (unfinished / "batching_params.pbtxt").write_text(batching)
            unfinished.rename(unfinished.with_suffix(""))
        return tmp_path / folder

    return write


@pytest.fixture
def stamp_client():
    """Makes clients of servers; their channels end with the test."""
    with contextlib.ExitStack() as stack:

        def connect(server, name="stamp"):
            address = f"localhost:{server.grpc_port}"
            channel = stack.enter_context(grpc.insecure_channel(address))
            return StampClient(channel, name)

        yield connect


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory):
    """Versions 2 and 10 of the stand-in, beside folders that are no version."""
    folder = tmp_path_factory.mktemp("models")
    save_full_model(folder, names=("serving_default", "encoded"), version=2)
    shutil.copytree(folder / "2", folder / "10")
    (folder / "11.tmp").mkdir()
    (folder / "notes").mkdir()
    return folder


@pytest.fixture(scope="session")
def full(tmp_path_factory):
    """A server of all signatures."""
    folder = save_full_model(tmp_path_factory.mktemp("full"))
    with LocalServer(folder, grpc_port=0, rest_port=0) as server:
        yield server


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def server(models_dir):
    with LocalServer(models_dir, grpc_port=0, rest_port=0) as server:
        yield server


@pytest.fixture(scope="session")
def target(server):
    return f"localhost:{server.grpc_port}"


@pytest.fixture
def free_port():
    return free_ports(1)[0]


@pytest.fixture
def serve(models_dir):
    """Starts further servers, which end with the test."""
    with contextlib.ExitStack() as stack:

        def start(folder=models_dir, **options):
            options = {"grpc_port": 0, "rest_port": 0} | options
            return stack.enter_context(LocalServer(folder, **options))

        yield start
