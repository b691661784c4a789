"""The three places where a photo can be completed: here, in a SavedModel, on a server.

Each has `complete(photo, mask)`: RGB `uint8` `[H, W, 3]` and `uint8` `[H, W]`, non-zero
= hole, give the completed photo `[H, W, 3]` and the label map `uint8` `[H, W]`.
"""

import json
import pathlib
from typing import Protocol

import numpy as np

from portrait_tf.errors import PortraitError

DEFAULT_WORKING_SIZE = (192, 128)
"""Height and width of the bundled networks; of an engine that does not know its own."""


class Engine(Protocol):
    """What `complete` runs on.

    Attributes:
        working_size: Height and width of the networks; None: not known.
    """

    working_size: tuple[int, int] | None

    def complete(
        self, photo: np.ndarray, mask: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]: ...


class PipelineEngine:
    """Keras networks in this process.

    Args:
        pipeline: A `portrait_tf.pipeline.Pipeline`.
    """

    def __init__(self, pipeline: object) -> None:
        import tensorflow as tf

        self.pipeline = pipeline
        self.working_size = pipeline.size
        # One trace for every size, or each new photo would cost seconds.
        signature = [
            tf.TensorSpec([None, None, None, 3], tf.uint8),
            tf.TensorSpec([None, None, None, 1], tf.uint8),
        ]
        self._call = tf.function(pipeline.__call__, input_signature=signature)
        self.has_pose = pipeline.parsing_network.pose
        self._joints = tf.function(pipeline.joints, input_signature=signature)

    def complete(
        self, photo: np.ndarray, mask: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        result = self._call(photo[None], mask[None, ..., None])
        return result["completed"][0].numpy(), result["parsing"][0, ..., 0].numpy()

    def joints(self, photo: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Stage 1's pose: `[16, 3]`, x and y in pixels of the photo, and confidence."""
        return self._joints(photo[None], mask[None, ..., None])[0].numpy()


class SavedModelEngine:
    """An exported model in this process.

    Args:
        directory: A version's folder, or the folder of the versions: the highest
            number is taken.

    Raises:
        PortraitError: There is no exported model.
    """

    def __init__(self, directory: str | pathlib.Path) -> None:
        import tensorflow as tf

        directory = pathlib.Path(directory)
        if not (directory / "saved_model.pb").is_file():
            versions = [
                folder
                for folder in (directory.iterdir() if directory.is_dir() else [])
                if folder.name.isdigit() and (folder / "saved_model.pb").is_file()
            ]
            if not versions:
                raise PortraitError(
                    f"{directory} holds no exported model: expected saved_model.pb, or "
                    "numbered folders with one; `portrait-tf export` makes them"
                )
            directory = max(versions, key=lambda folder: int(folder.name))
        self.working_size = _described_size(directory)
        self._model = tf.saved_model.load(str(directory))
        self._call = self._model.signatures["serving_default"]

    def complete(
        self, photo: np.ndarray, mask: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        import tensorflow as tf

        result = self._call(
            image=tf.constant(photo[None]), mask=tf.constant(mask[None, ..., None])
        )
        return result["completed"][0].numpy(), result["parsing"][0, ..., 0].numpy()


def _described_size(directory: pathlib.Path) -> tuple[int, int] | None:
    """The working size in a version folder's `signature.json`, if it has that."""
    try:
        height, width = json.loads((directory / "signature.json").read_text())[
            "working_size"
        ]
        return int(height), int(width)
    except (OSError, ValueError, KeyError, TypeError):
        return None


class ServerEngine:
    """A server that speaks TensorFlow Serving's gRPC protocol.

    Args:
        target: `HOST:PORT`.
        model_name: As the server knows it.
    """

    def __init__(self, target: str, model_name: str = "portrait") -> None:
        from serving.client import PortraitClient

        self.working_size = None
        self._client = PortraitClient(target, model_name=model_name)

    def complete(
        self, photo: np.ndarray, mask: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        result = self._client.complete(photo, mask)
        return result.completed, result.parsing.reshape(photo.shape[:2])


def open_engine(server: str | None, model: str | pathlib.Path | None) -> Engine:
    """The engine that the command line's options name; bundled weights without any.

    Raises:
        PortraitError: Both are given, or the one given cannot be used.
    """
    if server and model:
        raise PortraitError("expected --server or --model, received both")
    if server:
        return ServerEngine(server)
    if model:
        return SavedModelEngine(model)
    from portrait_tf.pipeline import Pipeline

    return PipelineEngine(Pipeline.bundled())
