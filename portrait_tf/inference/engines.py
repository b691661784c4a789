"""Where a photo can be completed: Keras, ONNX Runtime, a SavedModel, a server.

Each has `complete(photo, mask)`: RGB `uint8` `[H, W, 3]` and `uint8` `[H, W]`, non-zero
= hole, give the completed photo `[H, W, 3]` and the label map `uint8` `[H, W]`. A third
argument is a label map of the user's, `uint8` `[H, W]`: LIP's labels 0 to 19; any other
value (255) leaves a pixel to stage 1. In its place, a fourth argument is joints of the
user's, `float32` `[16, 3]`: x and y in pixels of the photo, and 1 where the joint is
given. `parse(photo, mask)` is stage 1 alone: the label map, and the joints `float32`
`[16, 3]`, x and y in pixels and how sure the network is, or None of a network without a
pose; the mask may be None or without a hole, and a third argument is the user's joints.
A model that takes no joints raises PortraitError where it is given some.
"""

import copy
import importlib.util
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from portrait_tf.errors import PortraitError
from portrait_tf.geometry import fitted_size
from portrait_tf.labels import NUM_JOINTS, NUM_LABELS
from portrait_tf.startup import load_keras, load_tensorflow

DEFAULT_WORKING_SIZE = (192, 128)
"""Height and width of the bundled networks; of an engine that does not know its own."""

_SERVER_SECONDS = 5.0

Array = np.ndarray
Own = np.ndarray | None
"""A label map or joints of the user's; None: stage 1 says."""

Completed = tuple[np.ndarray, np.ndarray]
"""The photo, and the label map that it was painted by."""

Parsed = tuple[np.ndarray, np.ndarray | None]
"""The label map, and joints `[16, 3]`; None of a stage 1 without a pose."""


class Engine(Protocol):
    """What `complete` runs on.

    Attributes:
        working_size: Height and width of the networks; None: not known.
        detail: Whether holes of photos above the working size are given the photo's
            own texture (`portrait_tf.inference.detail`).
    """

    working_size: tuple[int, int] | None
    detail: bool

    def complete(
        self, photo: Array, mask: Array, parsing: Own = None, joints: Own = None
    ) -> Completed: ...

    def parse(
        self, photo: Array, mask: Array | None = None, joints: Own = None
    ) -> Parsed: ...


class BatchEngine:
    """An engine that completes several holes of a photo in one batch."""

    def complete_masks(
        self, photo: Array, masks: Array, parsing: Own = None, joints: Own = None
    ) -> Completed:
        """Completes a photo with each of several holes.

        Args:
            photo: RGB `uint8` `[H, W, 3]`.
            masks: `uint8` `[N, H, W]`, non-zero = hole.
            parsing: As in `complete`.
            joints: As in `complete`.

        Returns:
            Completed photos `[N, H, W, 3]` and label maps `[N, H, W]`, `uint8`.
        """
        raise NotImplementedError

    def complete(
        self, photo: Array, mask: Array, parsing: Own = None, joints: Own = None
    ) -> Completed:
        completed, labels = self.complete_masks(photo, mask[None], parsing, joints)
        return completed[0], labels[0]


def check_takes_joints(takes_joints: bool) -> None:
    """Raises PortraitError: stage 1 was built without an input for joints."""
    if not takes_joints:
        raise PortraitError(
            "expected a stage 1 that takes joints, received one that was built "
            "without hints (parsing.network.hints)"
        )


class PipelineEngine(BatchEngine):
    """Keras networks in this process.

    Args:
        pipeline: A `portrait_tf.inference.pipeline.Pipeline`.

    Raises:
        PortraitError: Keras' backend is not TensorFlow.
    """

    def __init__(self, pipeline: object) -> None:
        load_keras()
        import tensorflow as tf

        self.pipeline = pipeline
        self.working_size = pipeline.size
        self.detail = pipeline.detail
        self.has_pose = pipeline.parsing_network.pose
        photo = tf.TensorSpec([None, None, None, 3], tf.uint8)
        mask = parsing = tf.TensorSpec([None, None, None, 1], tf.uint8)
        joints = tf.TensorSpec([None, NUM_JOINTS, 3], tf.float32)

        def traced(method: Callable, *signature: tf.TensorSpec) -> Callable:
            # One trace for every size, or each new photo would cost seconds; without
            # AutoGraph, which costs seconds, too, and has nothing to do here.
            return tf.function(method, input_signature=signature, autograph=False)

        # Detail is a large graph of its own, which small photos do not need.
        self._soft = copy.copy(pipeline)
        self._soft.detail = False
        self._call = traced(self._soft.__call__, photo, mask)
        self._call_with_parsing = traced(
            self._soft.complete_with_parsing, photo, mask, parsing
        )
        self._call_with_joints = traced(
            self._soft.complete_with_joints, photo, mask, joints
        )
        self._parse = traced(pipeline.parse, photo, mask)
        self._parse_with_joints = traced(pipeline.parse, photo, mask, joints)
        self._joints = traced(pipeline.joints, photo, mask)

    @property
    def takes_parsing(self) -> bool:
        """Whether a label map of the user's changes what is painted."""
        return self.pipeline.completion_network.takes_parsing

    def complete_masks(
        self, photo: Array, masks: Array, parsing: Own = None, joints: Own = None
    ) -> Completed:
        from portrait_tf.inference.detail import add_details

        batch = [np.repeat(photo[None], len(masks), axis=0), masks[..., None]]
        if joints is not None:
            check_takes_joints(self.pipeline.takes_joints)
            given = np.repeat(joints[None], len(masks), axis=0)
            result = self._call_with_joints(*batch, given)
        elif parsing is not None:
            given = np.repeat(parsing[None, ..., None], len(masks), axis=0)
            result = self._call_with_parsing(*batch, given)
        else:
            result = self._call(*batch)
        completed, labels = result["completed"], result["parsing"]
        if self.pipeline.detail:
            height, _ = fitted_size(photo.shape[:2], self.working_size)
            completed = add_details(
                completed, batch[1], labels, np.float32(photo.shape[0] / height)
            )
        return completed.numpy(), labels[..., 0].numpy()

    def parse(
        self, photo: Array, mask: Array | None = None, joints: Own = None
    ) -> Parsed:
        batch = [photo[None], _or_no_hole(photo, mask)[None, ..., None]]
        if joints is None:
            result = self._parse(*batch)
        else:
            check_takes_joints(self.pipeline.takes_joints)
            result = self._parse_with_joints(*batch, joints[None])
        joints = result["joints"][0].numpy() if self.has_pose else None
        return result["parsing"][0, ..., 0].numpy(), joints

    def joints(self, photo: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Stage 1's pose: `[16, 3]`, x and y in pixels of the photo, and confidence."""
        return self._joints(photo[None], mask[None, ..., None])[0].numpy()


class SavedModelEngine:
    """An exported model in this process.

    Args:
        directory: A version's folder, or the folder of the versions: the highest
            number is taken.

    Raises:
        PortraitError: There is no exported model, or it is damaged.
    """

    def __init__(self, directory: str | pathlib.Path) -> None:
        load_tensorflow()
        import tensorflow as tf

        directory = find_version(directory)
        self.working_size, self.detail = described(directory)
        try:
            self._model = tf.saved_model.load(str(directory))
        except (tf.errors.OpError, OSError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise PortraitError(
                f"expected a SavedModel, cannot load it: {reason}", path=directory
            ) from None
        self.directory = directory

    @property
    def takes_parsing(self) -> bool:
        """Whether it was exported with the signature that takes a label map."""
        return "complete_with_parsing" in self._model.signatures

    def complete(
        self, photo: Array, mask: Array, parsing: Own = None, joints: Own = None
    ) -> Completed:
        given = {"image": photo, "mask": mask[..., None]}
        if parsing is None:
            result = (
                self._run("serving_default", given)
                if joints is None
                else self._run("complete_with_joints", given | {"joints": joints})
            )
            return result["completed"][0].numpy(), result["parsing"][0, ..., 0].numpy()
        result = self._run(
            "complete_with_parsing", given | {"parsing": parsing[..., None]}
        )
        return result["completed"][0].numpy(), _filled_in(self, photo, mask, parsing)

    def parse(
        self, photo: Array, mask: Array | None = None, joints: Own = None
    ) -> Parsed:
        given = {"image": photo, "mask": _or_no_hole(photo, mask)[..., None]}
        if joints is None:
            result = self._run("parse", given)
        else:
            result = self._run("complete_with_joints", given | {"joints": joints})
        joints = result["joints"][0].numpy() if "joints" in result else None
        return result["parsing"][0, ..., 0].numpy(), joints

    def _run(self, signature: str, given: dict[str, np.ndarray]) -> dict:
        import tensorflow as tf

        if signature not in self._model.signatures:
            raise PortraitError(
                f"{self.directory} was exported without the signature '{signature}': "
                f"expected an export with it, received one with "
                f"{', '.join(sorted(self._model.signatures))}"
            )
        batch = {name: tf.constant(value[None]) for name, value in given.items()}
        return self._model.signatures[signature](**batch)


def find_version(directory: str | pathlib.Path) -> pathlib.Path:
    """The version's folder that a folder of exports stands for.

    Args:
        directory: A version's folder, or the folder of the versions: the highest
            number is taken.

    Raises:
        PortraitError: There is no exported model.
    """
    directory = pathlib.Path(directory)
    if (directory / "saved_model.pb").is_file():
        return directory
    versions = [
        folder
        for folder in (directory.iterdir() if directory.is_dir() else [])
        if folder.name.isdecimal() and (folder / "saved_model.pb").is_file()
    ]
    if not versions:
        raise PortraitError(no_model(directory))
    return max(versions, key=lambda folder: int(folder.name))


def no_model(directory: str | pathlib.Path) -> str:
    """The sentence for a folder without a model."""
    return (
        f"{directory} holds no exported model: expected saved_model.pb, or numbered "
        "folders with one; `portrait-tf export` makes them"
    )


def _or_no_hole(photo: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    return np.zeros(photo.shape[:2], np.uint8) if mask is None else mask


def _filled_in(
    engine: "Engine", photo: np.ndarray, mask: np.ndarray, parsing: np.ndarray
) -> np.ndarray:
    """The user's map, with stage 1's labels where it leaves them open."""
    given = parsing < NUM_LABELS
    if given.all():
        return parsing
    return np.where(given, parsing, engine.parse(photo, mask)[0])


def described(directory: pathlib.Path) -> tuple[tuple[int, int] | None, bool]:
    """Working size, and whether there is detail, by a version's `signature.json`."""
    try:
        description = json.loads((directory / "signature.json").read_text())
        height, width = description["working_size"]
        return (int(height), int(width)), description.get("detail") is True
    except (OSError, ValueError, KeyError, TypeError):
        return None, False


class ServerEngine:
    """A server that speaks TensorFlow Serving's gRPC protocol.

    Args:
        target: `HOST:PORT`, or another address that gRPC knows (`unix:PATH`).
        model_name: As the server knows it.
        options: More of `serving.client.PortraitClient`: TLS, deadline, retries.
    """

    def __init__(
        self, target: str, model_name: str = "portrait", **options: Any
    ) -> None:
        from serving.client import PortraitClient

        self.working_size = None
        self.detail = True
        self._client = PortraitClient(target, model_name=model_name, **options)

    def wait_until_available(self, timeout: float) -> None:
        """Raises ServerError: the model does not answer within so many seconds."""
        self._client.wait_until_available(timeout)

    def complete(
        self, photo: Array, mask: Array, parsing: Own = None, joints: Own = None
    ) -> Completed:
        if parsing is None:
            result = (
                self._client.complete(photo, mask)
                if joints is None
                else self._client.complete_with_joints(photo, mask, joints)
            )
            return result.completed, result.parsing.reshape(photo.shape[:2])
        completed = self._client.complete_with_parsing(photo, mask, parsing)
        return completed, _filled_in(self, photo, mask, parsing)

    def parse(
        self, photo: Array, mask: Array | None = None, joints: Own = None
    ) -> Parsed:
        result = self._client.parse(photo, _or_no_hole(photo, mask), joints)
        return result.parsing.reshape(photo.shape[:2]), result.joints


def _exported(version: pathlib.Path) -> Engine:
    if importlib.util.find_spec("onnxruntime"):
        from portrait_tf.inference.onnx_engine import PAINTING_FILE, OnnxEngine

        if (version / PAINTING_FILE).is_file():
            return OnnxEngine(version)
    return SavedModelEngine(version)


def open_engine(
    server: str | None, model: str | pathlib.Path | None, detail: bool | None = None
) -> Engine:
    """The engine that the command line's options name; bundled weights without any.

    Bundled weights and versions with `painting.onnx` run in ONNX Runtime where it is
    installed, else in TensorFlow.

    Args:
        server: `HOST:PORT` of TensorFlow Serving's gRPC.
        model: A folder that `portrait-tf export` wrote.
        detail: Whether large holes are given the photo's own texture; None: what the
            model's description or the bundled config says, and yes for a server.

    Raises:
        PortraitError: Both are given, or the one given cannot be used.
    """
    if server is not None and model is not None:
        raise PortraitError("expected --server or --model, received both")
    if server is not None:
        engine = ServerEngine(server)
        # A wrong address is said soon; a call would wait for its server for a minute.
        engine.wait_until_available(_SERVER_SECONDS)
    elif model is not None:
        if not (isinstance(model, (str, os.PathLike)) and os.fspath(model)):
            raise PortraitError(
                expected="the folder of an exported model", received=repr(model)
            )
        engine = _exported(find_version(model))
    elif importlib.util.find_spec("onnxruntime"):
        from portrait_tf.inference.onnx_engine import OnnxEngine

        engine = OnnxEngine.bundled()
    else:
        load_keras()
        from portrait_tf.inference.pipeline import Pipeline

        engine = PipelineEngine(Pipeline.bundled())
    if detail is not None:
        engine.detail = detail
    return engine
