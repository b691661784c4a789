"""The networks in ONNX Runtime: no TensorFlow, and an answer within a second."""

import json
import pathlib

import numpy as np

from portrait_tf.errors import PortraitError
from portrait_tf.geometry import Placement, fit_placement
from portrait_tf.inference import fitting
from portrait_tf.labels import NUM_LABELS
from portrait_tf.runs.bundled import FOLDER, bundled_arrays
from portrait_tf.startup import has_tensorflow, load_tensorflow

MODEL_FILE = "portrait.onnx"
DESCRIPTION_FILE = "signature.json"


class OnnxEngine:
    """An ONNX graph in this process (`inference.engines.Engine`).

    The graph holds the networks at their working size (`export.onnx_model`); photos are
    fitted around it here.

    Args:
        folder: With `portrait.onnx` and `signature.json`.
        weights: Arrays by the names of the graph's initializers, of a graph that does
            not hold them.

    Raises:
        PortraitError: ONNX Runtime cannot run the file, or the weights do not fit.
    """

    def __init__(
        self,
        folder: str | pathlib.Path,
        weights: dict[str, np.ndarray] | None = None,
    ) -> None:
        import onnxruntime

        path = pathlib.Path(folder) / MODEL_FILE
        description = json.loads(path.with_name(DESCRIPTION_FILE).read_text())
        self.working_size = tuple(description["working_size"])
        self.detail = description["detail"]
        options = onnxruntime.SessionOptions()
        # Else threads that wait for the next photo take a core each.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        # ONNX Runtime reads them where they lie.
        self._weights = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(np.float32(array))
            for name, array in (weights or {}).items()
        }
        if self._weights:
            options.add_external_initializers(
                list(self._weights), list(self._weights.values())
            )
        try:
            self._session = onnxruntime.InferenceSession(
                path.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise PortraitError(
                f"ONNX Runtime cannot run it: {' '.join(str(error).split())}", path=path
            ) from None
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._only_outputs = onnxruntime.RunOptions()
        self._only_outputs.only_execute_path_to_fetches = True

    @classmethod
    def bundled(cls) -> "OnnxEngine":
        """With the weights that come in the package.

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
                    path=FOLDER / MODEL_FILE,
                )
            weights |= {
                name.replace("network", stage, 1): array
                for name, array in arrays.items()
            }
        return cls(FOLDER, weights)

    @property
    def has_pose(self) -> bool:
        """Whether stage 1 predicts joints."""
        return "joints" in self._outputs

    @property
    def takes_parsing(self) -> bool:
        """Whether a label map of the user's changes what is painted."""
        return bool(self._session.get_overridable_initializers())

    def complete(
        self,
        photo: np.ndarray,
        mask: np.ndarray,
        parsing: np.ndarray | None = None,
        joints: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        _refuse(joints)
        completed, labels = self.complete_masks(photo, mask[None], parsing)
        return completed[0], labels[0]

    def complete_masks(
        self, photo: np.ndarray, masks: np.ndarray, parsing: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Completes a photo with each of several holes, in one batch.

        Args:
            photo: RGB `uint8` `[H, W, 3]`.
            masks: `uint8` `[N, H, W]`, non-zero = hole.
            parsing: As in `complete`.

        Returns:
            Completed photos `[N, H, W, 3]` and label maps `[N, H, W]`, `uint8`.
        """
        size, place = photo.shape[:2], self._place(photo)
        given = {}
        if parsing is not None and self.takes_parsing:
            given["parsing"] = fitting.fit_maps(parsing[None], self.working_size, place)
        answer = self._run(photo, masks, ["completed", "parsing_map"], given)
        painted = fitting.enlarge_photos(answer["completed"], size, place)
        completed = np.where(masks[..., None] != 0, painted, photo)
        labels = fitting.enlarge_maps(answer["parsing_map"], size, place)
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
        self,
        photo: np.ndarray,
        mask: np.ndarray | None = None,
        joints: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        _refuse(joints)
        size, place = photo.shape[:2], self._place(photo)
        if mask is None:
            mask = np.zeros(size, np.uint8)
        wanted = ["parsing_map", "joints"][: 1 + self.has_pose]
        answer = self._run(photo, mask[None], wanted)
        labels = fitting.enlarge_maps(answer["parsing_map"], size, place)[0]
        joints = None
        if self.has_pose:
            joints = fitting.place_joints(answer["joints"], size, place)[0]
        return labels, joints

    def joints(self, photo: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Stage 1's pose: `[16, 3]`, x and y in pixels of the photo, and confidence."""
        return self.parse(photo, mask)[1]

    def _place(self, photo: np.ndarray) -> Placement:
        return fit_placement(photo.shape[:2], self.working_size)

    def _run(
        self,
        photo: np.ndarray,
        masks: np.ndarray,
        outputs: list[str],
        given: dict[str, np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        photos, holes = fitting.fit_photos(
            np.broadcast_to(photo, (len(masks), *photo.shape)),
            masks,
            self.working_size,
            self._place(photo),
        )
        inputs = {"image": photos, "mask": holes, **(given or {})}
        values = self._session.run(outputs, inputs, self._only_outputs)
        return dict(zip(outputs, values, strict=True))


def _refuse(joints: np.ndarray | None) -> None:
    if joints is not None:
        raise PortraitError(
            "expected an engine that takes joints, received ONNX Runtime, whose graph "
            "does not: export the networks, and give the folder with --model"
        )
