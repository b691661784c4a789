"""TensorFlow without its chatter.

TensorFlow's C++ parts write to the process's stderr while they load, whatever Python's
logging is set to. Users see it only if loading fails.
"""

import contextlib
import importlib.util
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


def has_tensorflow() -> bool:
    """Whether TensorFlow is installed; it is not imported."""
    return importlib.util.find_spec("tensorflow") is not None


def load_keras() -> None:
    """Imports Keras and TensorFlow, quietly.

    Raises:
        PortraitError: `KERAS_BACKEND`, or Keras' settings, name another backend.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    backend = "tensorflow"
    try:
        with filtered_stderr(_CHATTER):
            import keras

            backend = keras.backend.backend()
    except ModuleNotFoundError as error:
        if error.name not in ("jax", "jaxlib", "torch"):
            raise
        backend = error.name
    # Keras 2 does not look at it.
    backend = os.environ.get("KERAS_BACKEND", backend)
    if backend != "tensorflow":
        raise PortraitError(
            f"expected Keras' backend tensorflow, received KERAS_BACKEND {backend!r}"
        )
    _wake_tensorflow()


def load_tensorflow() -> None:
    """Imports TensorFlow and wakes its devices, quietly."""
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    _wake_tensorflow()


def _wake_tensorflow() -> None:
    with filtered_stderr(_CHATTER):
        import tensorflow as tf

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
