"""A stand-in model with the signatures of the export, and a server that serves it."""

import contextlib
import shutil
import socket

import grpc
import pytest
import tensorflow as tf
from serving_photos import FILLED_LABEL
from stamp_client import StampClient

from serving.local_server import LocalServer


class MeanFill(tf.Module):
    """Fills a hole with the mean colour of the known pixels.

    Stateful on purpose: the fill's label is a variable, which a Session has to find.
    """

    def __init__(self):
        super().__init__()
        self.label = tf.Variable(FILLED_LABEL, dtype=tf.int32)

    def fill(self, image, mask):
        image = tf.ensure_shape(image, [None, None, None, 3])
        mask = tf.ensure_shape(mask, [None, None, None, 1])
        same = tf.debugging.assert_equal(
            tf.shape(image)[:3], tf.shape(mask)[:3], "image and mask differ in size"
        )
        with tf.control_dependencies([same]):
            is_known = tf.equal(mask, 0)
        known = tf.cast(is_known, tf.float32)
        total = tf.reduce_sum(tf.cast(image, tf.float32) * known, [1, 2], True)
        mean = total / tf.maximum(tf.reduce_sum(known, [1, 2], True), 1.0)
        completed = tf.where(is_known, image, tf.cast(mean, tf.uint8))
        label = tf.cast(self.label, tf.uint8)
        return completed, tf.where(is_known, tf.zeros_like(mask), label)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, None, 3], tf.uint8, "image"),
            tf.TensorSpec([None, None, None, 1], tf.uint8, "mask"),
        ]
    )
    def tensors(self, image, mask):
        completed, parsing = self.fill(image, mask)
        return {"completed": completed, "parsing": parsing}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, "image_bytes"),
            tf.TensorSpec([None], tf.string, "mask_bytes"),
        ]
    )
    def encoded(self, image_bytes, mask_bytes):
        def complete_one(pair):
            image, mask = (
                tf.io.decode_image(content, channels, expand_animations=False)
                for content, channels in zip(pair, (3, 1), strict=True)
            )
            completed, parsing = self.fill(image[tf.newaxis], mask[tf.newaxis])
            return tf.io.encode_png(completed[0]), tf.io.encode_png(parsing[0])

        completed, parsing = tf.map_fn(
            complete_one,
            (image_bytes, mask_bytes),
            fn_output_signature=(tf.string, tf.string),
        )
        return {"completed_bytes": completed, "parsing_bytes": parsing}


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
    module = MeanFill()
    tf.saved_model.save(
        module,
        str(folder / "2"),
        {"serving_default": module.tensors, "encoded": module.encoded},
    )
    shutil.copytree(folder / "2", folder / "10")
    (folder / "11.tmp").mkdir()
    (folder / "notes").mkdir()
    return folder


@pytest.fixture(scope="session")
def server(models_dir):
    with LocalServer(models_dir, grpc_port=0, rest_port=0) as server:
        yield server


@pytest.fixture(scope="session")
def target(server):
    return f"localhost:{server.grpc_port}"


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@pytest.fixture
def serve(models_dir):
    """Starts further servers, which end with the test."""
    with contextlib.ExitStack() as stack:

        def start(folder=models_dir, **options):
            options = {"grpc_port": 0, "rest_port": 0} | options
            return stack.enter_context(LocalServer(folder, **options))

        yield start
