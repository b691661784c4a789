"""The networks in ONNX Runtime: no TensorFlow, and an answer within a second."""

import collections
import json
import pathlib
from typing import Any

import numpy as np

from portrait_tf.errors import PortraitError
from portrait_tf.geometry import Placement, fit_placement
from portrait_tf.inference import fitting
from portrait_tf.inference.engines import (
    Array,
    BatchEngine,
    Completed,
    Own,
    Parsed,
    check_takes_joints,
)
from portrait_tf.labels import NUM_LABELS
from portrait_tf.runs.bundled import FOLDER, bundled_arrays
from portrait_tf.startup import has_tensorflow, load_tensorflow

STRUCTURE_FILE = "structure.onnx"
PAINTING_FILE = "painting.onnx"
DESCRIPTION_FILE = "signature.json"


class OnnxEngine(BatchEngine):
    """ONNX graphs in this process (`inference.engines.Engine`).

    The graphs hold the networks at their working size (`export.onnx_model`); photos are
    fitted around it here.

    Args:
        folder: With `structure.onnx`, `painting.onnx` and `signature.json`.
        weights: Arrays by stage, and in it by the name of a graph's initializer, for
            graphs that do not hold them.

    Raises:
        PortraitError: ONNX Runtime cannot run a file, or the weights do not fit.
    """

    def __init__(
        self,
        folder: str | pathlib.Path,
        weights: dict[str, dict[str, np.ndarray]] | None = None,
    ) -> None:
        folder = pathlib.Path(folder)
        description = json.loads((folder / DESCRIPTION_FILE).read_text())
        self.working_size = tuple(description["working_size"])
        self.detail = description["detail"]
        later = dict(weights or {})
        # Kept, as ONNX Runtime reads them where they lie.
        self._weights = [
            {name: np.float32(array) for name, array in arrays.items()}
            for arrays in (
                later.pop("parsing", {}),
                collections.ChainMap(*later.values()),
            )
        ]
        self._structure, self._painting = (
            open_session(folder / name, arrays)
            for name, arrays in zip(
                (STRUCTURE_FILE, PAINTING_FILE), self._weights, strict=True
            )
        )

    @classmethod
    def bundled(cls) -> "OnnxEngine":
        """With the weights that come in the package.

        Raises:
            PortraitError: They are damaged, or of other networks than the graph.
        """
        return cls(FOLDER, bundled_weights())

    @property
    def has_pose(self) -> bool:
        """Whether stage 1 predicts joints."""
        return "joints" in {one.name for one in self._structure.get_outputs()}

    @property
    def takes_parsing(self) -> bool:
        """Whether a label map of the user's changes what is painted."""
        return "parsing" in {one.name for one in self._painting.get_inputs()}

    def complete_masks(
        self, photo: Array, masks: Array, parsing: Own = None, joints: Own = None
    ) -> Completed:
        size, place = photo.shape[:2], self._place(photo)
        inputs = self._fit(photo, masks, place)
        shares = self._find(inputs, joints, size, place)["parsing"]
        if parsing is not None:
            given = fitting.fit_maps(parsing[None], self.working_size, place)
            unknown = 1 - given.sum(axis=-1, keepdims=True)
            # Rounding errors are no label.
            shares = given + np.where(unknown < 1e-4, 0, unknown) * shares
        given = {"parsing": shares} if self.takes_parsing else {}
        (painted,) = self._painting.run(["completed"], inputs | given)
        painted = fitting.enlarge_photos(painted, size, place)
        completed = np.where(masks[..., None] != 0, painted, photo)
        labels = fitting.enlarge_maps(shares, size, place)
        times = np.float32(size[0] / place.height)
        if self.detail and times > 1 and has_tensorflow():
            load_tensorflow()
            from portrait_tf.inference.detail import add_details

            holes_and_labels = masks[..., None], labels[..., None]
            completed = add_details(completed, *holes_and_labels, times).numpy()
        if parsing is not None:
            labels = np.where(parsing < NUM_LABELS, parsing, labels)
        return completed, labels

    def parse(
        self, photo: Array, mask: Array | None = None, joints: Own = None
    ) -> Parsed:
        size, place = photo.shape[:2], self._place(photo)
        if mask is None:
            mask = np.zeros(size, np.uint8)
        inputs = self._fit(photo, mask[None], place)
        answer = self._find(inputs, joints, size, place)
        labels = fitting.enlarge_maps(answer["parsing"], size, place)[0]
        found = None
        if self.has_pose:
            found = fitting.place_joints(answer["joints"], size, place)[0]
        return labels, found

    def joints(self, photo: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Stage 1's pose: `[16, 3]`, x and y in pixels of the photo, and confidence."""
        return self.parse(photo, mask)[1]

    def _place(self, photo: np.ndarray) -> Placement:
        return fit_placement(photo.shape[:2], self.working_size)

    def _fit(
        self, photo: Array, masks: Array, place: Placement
    ) -> dict[str, np.ndarray]:
        photos = np.broadcast_to(photo, (len(masks), *photo.shape))
        fitted = fitting.fit_photos(photos, masks, self.working_size, place)
        return dict(zip(("image", "mask"), fitted, strict=True))

    def _find(
        self,
        inputs: dict[str, np.ndarray],
        joints: np.ndarray | None,
        size: tuple[int, int],
        place: Placement,
    ) -> dict[str, np.ndarray]:
        """Stage 1's answers by name."""
        if joints is not None:
            # They are an input with a default.
            check_takes_joints(bool(self._structure.get_overridable_initializers()))
            given = fitting.fit_joints(joints[None], size, place)
            inputs = inputs | {"given_joints": given}
        names = [one.name for one in self._structure.get_outputs()]
        return dict(zip(names, self._structure.run(names, inputs), strict=True))


def open_session(path: pathlib.Path, weights: dict[str, np.ndarray]) -> Any:
    """An ONNX graph in an `onnxruntime.InferenceSession`, on CPUs.

    Args:
        path: The file.
        weights: Of those initializers that the file does not hold, `float32` by name.
            They must not be freed before the session.

    Raises:
        PortraitError: ONNX Runtime cannot run it, or the weights do not fit.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Else threads that wait for the next photo take a core each.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    if weights:
        values = map(onnxruntime.OrtValue.ortvalue_from_numpy, weights.values())
        options.add_external_initializers(list(weights), list(values))
    try:
        return onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise PortraitError(
            f"ONNX Runtime cannot run it: {' '.join(str(error).split())}", path=path
        ) from None


def bundled_weights() -> dict[str, dict[str, np.ndarray]]:
    """The package's weights, by stage and by the names that they have in its graphs.

    Raises:
        PortraitError: They are damaged, or of other networks than the graph.
    """
    description = json.loads((FOLDER / DESCRIPTION_FILE).read_text())
    weights = {}
    for stage, network in description["networks"].items():
        arrays, meta = bundled_arrays(stage)
        if {name: meta[name] for name in network} != network:
            raise PortraitError(
                f"it is the graph of another {stage} network than the bundled one: "
                "run `python -m tools.bundled_graph`",
                path=FOLDER / DESCRIPTION_FILE,
            )
        weights[stage] = {
            name.replace("network", stage, 1): array for name, array in arrays.items()
        }
    return weights
