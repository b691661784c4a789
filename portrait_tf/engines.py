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
        self, photo: np.ndarray, mask: np.ndarray, parsing: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]: ...

    def parse(
        self, photo: np.ndarray, mask: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]: ...


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
        self._parse = tf.function(self._structure, input_signature=signature)
        self._paint = tf.function(
            self._complete_with, input_signature=[*signature, signature[1]]
        )

    def complete(
        self, photo: np.ndarray, mask: np.ndarray, parsing: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        if parsing is None:
            result = self._call(photo[None], mask[None, ..., None])
        else:
            result = self._paint(
                photo[None], mask[None, ..., None], parsing[None, ..., None]
            )
        return result["completed"][0].numpy(), result["parsing"][0, ..., 0].numpy()

    def parse(
        self, photo: np.ndarray, mask: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Stage 1 alone: labels `uint8` `[H, W]`, and joints `[16, 3]` or None."""
        mask = np.zeros(photo.shape[:2], np.uint8) if mask is None else mask
        labels = self._parse(photo[None], mask[None, ..., None])[0, ..., 0].numpy()
        return labels, self.joints(photo, mask) if self.has_pose else None

    def _structure(self, image, mask):  # noqa: ANN001, ANN202
        import tensorflow as tf

        small_image, small_mask, place = self.pipeline.shrink(image, mask)
        found = self.pipeline.structure(small_image, small_mask)["parsing"]
        return self.pipeline.enlarge_parsing(found, tf.shape(image)[1:3], place)

    def _complete_with(self, image, mask, parsing):  # noqa: ANN001, ANN202
        small_image, small_mask, place = self.pipeline.shrink(image, mask)
        shares, unknown = self.pipeline.shrink_parsing(parsing, place)
        predicted = self.pipeline.structure(small_image, small_mask)["parsing"]
        shares = shares + unknown * predicted
        painted = self.pipeline.paint(small_image, small_mask, shares)
        return self.pipeline.paste(
            image, mask, {"parsing": shares, "completed": painted["completed"]}, place
        )

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
        self, photo: np.ndarray, mask: np.ndarray, parsing: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        import tensorflow as tf

        pictures = {
            "image": tf.constant(photo[None]),
            "mask": tf.constant(mask[None, ..., None]),
        }
        if parsing is None:
            result = self._call(**pictures)
            return result["completed"][0].numpy(), result["parsing"][0, ..., 0].numpy()
        result = self._signature("complete_with_parsing")(
            **pictures, parsing=tf.constant(parsing[None, ..., None])
        )
        labels = np.where(parsing < 20, parsing, self.parse(photo, mask)[0])
        return result["completed"][0].numpy(), labels

    def parse(
        self, photo: np.ndarray, mask: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        import tensorflow as tf

        mask = np.zeros(photo.shape[:2], np.uint8) if mask is None else mask
        result = self._signature("parse")(
            image=tf.constant(photo[None]), mask=tf.constant(mask[None, ..., None])
        )
        joints = result["joints"][0].numpy() if "joints" in result else None
        return result["parsing"][0, ..., 0].numpy(), joints

    def _signature(self, name: str):  # noqa: ANN202
        if name not in self._model.signatures:
            raise PortraitError(f"the model was exported without the signature {name}")
        return self._model.signatures[name]


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
        self, photo: np.ndarray, mask: np.ndarray, parsing: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        if parsing is None:
            result = self._client.complete(photo, mask)
            return result.completed, result.parsing.reshape(photo.shape[:2])
        completed = self._client.complete_with_parsing(photo, mask, parsing)
        if (parsing >= 20).any():
            parsing = np.where(parsing < 20, parsing, self.parse(photo, mask)[0])
        return completed, parsing

    def parse(
        self, photo: np.ndarray, mask: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        mask = np.zeros(photo.shape[:2], np.uint8) if mask is None else mask
        result = self._client.parse(photo, mask)
        return result.parsing.reshape(photo.shape[:2]), result.joints


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
