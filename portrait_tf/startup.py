"""TensorFlow without its chatter.

TensorFlow's C++ parts write to the process's stderr while they load, whatever Python's
logging is set to. Users see it only if loading fails.
"""

import contextlib
import logging
import os
import re
import sys
from collections.abc import Iterator

from portrait_tf.errors import PortraitError
from portrait_tf.streams import filtered_stderr

_CHATTER = re.compile(
    rb"^(?:WARNING: All log messages before absl::InitializeLog|[IWEF]\d{4} |"
    rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWEF] |"
    rb"To enable the following instructions: ).*\n",
    re.MULTILINE,
)
"""Log lines of both stacks' C++ parts, from before Python can set a level."""


def load_keras(backends: tuple[str, ...] = ("tensorflow",)) -> None:
    """Imports Keras and its backend, and TensorFlow, quietly.

    Beside another backend TensorFlow reads data, on the CPU: it must not take the GPU's
    memory.

    Args:
        backends: Of Keras, that what follows can run on.

    Raises:
        PortraitError: `KERAS_BACKEND`, or Keras' settings, name another one, or one
            that is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        with filtered_stderr(_CHATTER):
            import keras
    except ModuleNotFoundError as error:
        if error.name not in ("jax", "jaxlib"):
            raise
        raise PortraitError(
            f"Keras' backend is set to JAX, but there is no {error.name}: "
            "pip install 'portrait-tf[jax]'"
        ) from None
    backend = keras.backend.backend()
    wanted = os.environ.get("KERAS_BACKEND", backend)
    if keras.__version__.startswith("2.") and wanted != backend:
        raise PortraitError(
            f"Keras {keras.__version__} of the addons stack runs on TensorFlow alone, "
            f"KERAS_BACKEND is {wanted!r}: expected the default stack (docs/addons.md)"
        )
    if backend not in backends:
        raise PortraitError(
            f"this needs Keras' backend {' or '.join(backends)}, KERAS_BACKEND is "
            f"{backend!r}"
        )
    _wake_tensorflow(hide_gpus=backend != "tensorflow")


def load_tensorflow() -> None:
    """Imports TensorFlow and wakes its devices, quietly."""
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    _wake_tensorflow()


def _wake_tensorflow(hide_gpus: bool = False) -> None:
    with filtered_stderr(_CHATTER):
        import tensorflow as tf

        if hide_gpus:
            tf.config.set_visible_devices([], "GPU")
        # The first operation looks for GPUs, and says so. A worker among several has to
        # be told of the others before that.
        if not os.environ.get("TF_CONFIG"):
            tf.constant(0)


@contextlib.contextmanager
def hidden_notices() -> Iterator[None]:
    """Hides TensorFlow's advice to load eagerly, where a Session is what is wanted."""
    import tensorflow as tf

    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
