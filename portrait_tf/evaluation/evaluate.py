"""Scores of a whole chain on fixed holes, beside other methods."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from portrait_tf.data.masks import EVALUATION_TASKS
from portrait_tf.evaluation.confusion import Confusion, GroupScores, silhouette_iou
from portrait_tf.evaluation.holes import (
    Hole,
    HoleSet,
    Method,
    classical,
    complete_holes,
)
from portrait_tf.evaluation.parsing import TaskScores
from portrait_tf.evaluation.summary import SCORES
from portrait_tf.inference.engines import Engine

if TYPE_CHECKING:
    from portrait_tf.evaluation.features import FeatureDistance
    from portrait_tf.evaluation.kernel_distance import PatchDistances

PEERS = ("telea", "navier_stokes")
"""Quick classical methods, scored by default."""

DISTANCE = "distance"
OURS = "ours"
BASELINE = "telea"
"""The method that every other one is measured against."""


def hole_psnr(truth: np.ndarray, completed: np.ndarray, mask: np.ndarray) -> float:
    """Peak signal-to-noise ratio over the hole in dB; arguments as in `score_photo`."""
    difference = truth[mask > 0].astype(float) - completed[mask > 0]
    squared = max(float(np.mean(difference**2)), 1e-4)
    return 10 * float(np.log10(255**2 / squared))


def score_photo(
    truth: np.ndarray, completed: np.ndarray, mask: np.ndarray
) -> dict[str, float]:
    """Scores one photo.

    Args:
        truth: RGB `uint8` `[H, W, 3]`.
        completed: RGB `uint8` `[H, W, 3]`.
        mask: `uint8` `[H, W]`, non-zero = hole.

    Returns:
        `psnr_hole` in dB over the hole, `ssim` of the whole photo (`tf.image.ssim`,
        11x11 Gaussian window), `l1`, the mean absolute difference over the hole in
        gray levels (0 to 255).
    """
    import tensorflow as tf

    difference = truth[mask > 0].astype(float) - completed[mask > 0]
    return {
        "psnr_hole": hole_psnr(truth, completed, mask),
        "ssim": float(tf.image.ssim(truth, completed, max_val=255)),
        "l1": float(np.mean(np.abs(difference))),
    }


class PhotoScores(NamedTuple):
    """The result of one pass over a data set.

    Attributes:
        rows: One dict per photo, task and method: `index`, `photo`, `task`, `method`;
            the scores of `score_photo` and, with features, `distance`; and, the same
            for all methods, `hole_miou`, the mean IoU of the engine's label map in the
            hole, `hole_silhouette`, the IoU of the person there (both None without a
            label map), `hole_share`, the masked part of the photo, `hole_texture`, the
            standard deviation of the true gray levels in the hole.
        parsing: `miou`, `miou_hole`, `pixel_accuracy` and `pckh`; None where the data
            or the engine does not allow a score.
        label_groups: The result of `GroupScores`.
        kernel_distances: The result of `PatchDistances`, by task and method, each with
            `to_telea`, its mean divided by Telea's (None unless that is above 0).
            Empty without features.
    """

    rows: list[dict]
    parsing: dict[str, float | None]
    label_groups: dict[str, dict]
    kernel_distances: dict[str, dict[str, dict]]


Observer = Callable[[Hole, np.ndarray, dict[str, np.ndarray | None], dict], None]
"""Called with each hole, the engine's label map, the pictures by method and our row."""


@dataclasses.dataclass
class Evaluation:
    """An engine and other methods that are scored.

    Attributes:
        engine: The engine. Joints are scored if its `has_pose` is true.
        holes: The photos, with label maps and joints where there are any.
        methods: Other methods by name; None: `PEERS`.
        features: Adds the perceptual `distance` to the truth and, if it has layers for
            patches, their kernel distance.
    """

    engine: Engine
    holes: HoleSet
    methods: dict[str, Method] | None = None
    features: "FeatureDistance | None" = None

    def __post_init__(self) -> None:
        if self.methods is None:
            self.methods = {name: classical(name) for name in PEERS}

    def score(
        self,
        progress: Callable[[int, int], None] | None = None,
        observers: Sequence[Observer] = (),
    ) -> PhotoScores:
        """Scores all methods on all tasks, photo by photo.

        Args:
            progress: Called with the numbers of photos done and of all photos.
            observers: Called with the pictures of every hole.
        """
        from portrait_tf.evaluation.kernel_distance import PatchDistances

        patches = None
        if self.features and self.features.patches:
            count, seed = len(self.holes), self.holes.seed
            patches = PatchDistances(self.features, count, seed)
        rows: list[dict] = []
        structure, groups = TaskScores(), GroupScores()
        for done, holes in enumerate(self.holes, 1):
            found = complete_holes(self.engine, holes)
            others = {name: method(holes) for name, method in self.methods.items()}
            truth = self.features.features(holes[0].photo) if self.features else None
            for place, hole in enumerate(holes):
                ours, parsing = found[place]
                pictures = {name: some[place] for name, some in others.items()}
                pictures = {OURS: ours, **pictures}
                scored = self._score_hole(hole, pictures, truth, patches)
                facts = _facts(hole, parsing, groups)
                rows += [row | facts for row in scored]
                self._score_structure(hole, parsing, structure)
                for observe in observers:
                    observe(hole, parsing, pictures, scored[0] | facts)
            if progress:
                progress(done, len(self.holes))
        return PhotoScores(
            rows,
            _structure_result(structure),
            groups.result(),
            _beside_baseline(patches.result()) if patches else {},
        )

    def _score_hole(
        self,
        hole: Hole,
        pictures: dict[str, np.ndarray | None],
        truth: dict | None,
        patches: "PatchDistances | None",
    ) -> list[dict]:
        """A row per method that completed the hole; our row is the first."""
        rows, painted = [], {}
        for name, picture in pictures.items():
            if picture is None:
                continue
            row = {"index": hole.index, "photo": hole.name, "task": hole.task}
            row |= {"method": name, **score_photo(hole.photo, picture, hole.mask)}
            if self.features:
                painted[name] = self.features.features(picture)
                row[DISTANCE] = self.features.distance(truth, painted[name])
            rows.append(row)
        if patches:
            patches.add(hole.task, hole.mask, truth, painted)
        return rows

    def _score_structure(
        self, hole: Hole, parsing: np.ndarray, scores: TaskScores
    ) -> None:
        scores.add_parsing(hole.truth, parsing, hole.mask)
        if getattr(self.engine, "has_pose", False) and hole.joints[:, 2].any():
            joints = self.engine.joints(hole.photo, hole.mask)
            scores.pckh["all"].update_state(hole.joints[None], joints[None])


def _facts(
    hole: Hole, parsing: np.ndarray, groups: GroupScores
) -> dict[str, float | None]:
    in_hole = Confusion()
    in_hole.add(hole.truth, parsing, hole.mask)
    groups.add(hole.task, in_hole)
    gray = cv2.cvtColor(hole.photo, cv2.COLOR_RGB2GRAY)
    return {
        "hole_miou": in_hole.mean_iou(),
        "hole_silhouette": silhouette_iou(in_hole),
        "hole_share": float(np.mean(hole.mask > 0)),
        "hole_texture": float(np.std(gray[hole.mask > 0])),
    }


def _structure_result(scores: TaskScores) -> dict[str, float | None]:
    found = scores.result([])
    return {
        "miou": found["whole"]["mean_iou"],
        "miou_hole": found["hole"]["mean_iou"],
        "pixel_accuracy": found["whole"]["pixel_accuracy"],
        "pckh": found["pckh"]["all"]["mean"],
    }


def _beside_baseline(distances: dict[str, dict[str, dict]]) -> dict:
    for methods in distances.values():
        baseline = methods.get(BASELINE, {}).get("mean")
        for one in methods.values():
            beside = baseline is not None and baseline > 0
            one["to_telea"] = one["mean"] / baseline if beside else None
    return distances


def mean_scores(found: PhotoScores) -> dict[str, dict]:
    """Means over photos.

    Returns:
        `{"completion": {TASK: SCORES}, "parsing": SCORES, "peers": {METHOD: {TASK:
        SCORES}}, "label_groups": ..., "kernel_distances": ...}`, the last two as in
        `PhotoScores`. A score that the data or the engine does not allow is None.
    """
    keys = [key for key in (*SCORES, DISTANCE) if key in found.rows[0]]
    means: dict[str, dict] = {}
    for name in dict.fromkeys(row["method"] for row in found.rows):
        rows = [row for row in found.rows if row["method"] == name]
        means[name] = {
            task: {
                key: float(np.mean([row[key] for row in rows if row["task"] == task]))
                for key in keys
            }
            for task in EVALUATION_TASKS
        }
    return {
        "completion": means.pop(OURS),
        "parsing": found.parsing,
        "peers": means,
        "label_groups": found.label_groups,
        "kernel_distances": found.kernel_distances,
    }
