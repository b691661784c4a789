"""A stand-in model with the signatures of the export, and a server that serves it."""

import contextlib
import shutil

import pytest
import tensorflow as tf
from serving_photos import FILLED_LABEL

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
def serve(models_dir):
    """Starts further servers, which end with the test."""
    with contextlib.ExitStack() as stack:

        def start(folder=models_dir, **options):
            options = {"grpc_port": 0, "rest_port": 0} | options
            return stack.enter_context(LocalServer(folder, **options))

        yield start
