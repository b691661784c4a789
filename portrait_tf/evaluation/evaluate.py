"""Scores of a whole chain, with fixed holes, beside classical methods.

Photos are brought to the networks' working size first, so that every method is asked
the same question: what was in the hole at that size. Holes are drawn from the seed and
the photo's place in the split alone.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from portrait_tf.data.augment import prepare
from portrait_tf.data.dataset import Reader
from portrait_tf.data.masks import EVALUATION_TASKS, evaluation_mask
from portrait_tf.evaluation.classical import CLASSICAL
from portrait_tf.evaluation.confusion import Confusion
from portrait_tf.inference.engines import Engine
from portrait_tf.labels import GROUP_OF_LABEL, LABEL_GROUPS, NUM_LABELS

if TYPE_CHECKING:
    from portrait_tf.evaluation.features import FeatureDistance

# Quick ones; `--method` takes more, and `portrait-tf compare` knows trained ones.
PEERS = {name: CLASSICAL[name] for name in ("telea", "navier_stokes")}
SCORES = ("psnr_hole", "ssim", "l1")
DISTANCE = "distance"
OURS = "ours"
BASELINE = "telea"
"""The method that every other one is measured against."""

GROUP_PHOTOS = 10
"""A label group in the holes of fewer photos is left out of the mean over groups."""


class Hole(NamedTuple):
    """A photo at the working size with the hole of one task.

    `photo` is RGB `uint8` `[H, W, 3]`, `truth` LIP's labels `uint8` `[H, W]`, 255
    where there is none, `joints` as `prepare` gives them, `mask` `uint8` `[H, W]`, 255
    = hole.
    """

    index: int
    name: str
    task: str
    photo: np.ndarray
    truth: np.ndarray
    joints: np.ndarray
    mask: np.ndarray

    @property
    def has_map(self) -> bool:
        """Whether the photo's data set has a label map of it."""
        return bool((self.truth < NUM_LABELS).any())


Method = Callable[[list[Hole]], list[np.ndarray | None]]
"""Completes one photo with several holes: RGB `uint8` `[H, W, 3]`, None: it cannot."""


def photo_holes(
    reader: Reader, index: int, size: tuple[int, int], seed: int = 0
) -> list[Hole]:
    """A photo of a data set, at a size, with the hole of every task."""
    sample = reader[index]
    prepared = prepare(sample, size)
    photo, truth, joints = (prepared[key] for key in ("image", "parsing", "joints"))
    return [
        Hole(
            index,
            sample.name,
            task,
            photo,
            truth,
            joints,
            evaluation_mask(task, [seed, index], size, joints, truth),
        )
        for task in EVALUATION_TASKS
    ]


def complete_holes(
    engine: Engine, holes: list[Hole], true_map: bool = False
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Completed photos `[H, W, 3]` and the label maps `[H, W]` they were painted by.

    All holes of the photo in one batch, where the engine can do that.

    Args:
        engine: What completes.
        holes: Of one photo.
        true_map: Whether stage 2 is given the photo's own label map; void pixels are
            left to stage 1.
    """
    photo, truth = holes[0].photo, holes[0].truth
    given = (truth,) if true_map else ()
    if hasattr(engine, "complete_masks"):
        masks = np.stack([hole.mask for hole in holes])
        return list(zip(*engine.complete_masks(photo, masks, *given), strict=True))
    return [engine.complete(photo, hole.mask, *given) for hole in holes]


def classical(name: str) -> Method:
    """A method of `CLASSICAL`."""
    return lambda holes: [CLASSICAL[name](one.photo, one.mask) for one in holes]


def by_engine(engine: Engine) -> Method:
    """Another engine than the one that is scored."""
    return lambda holes: [done for done, _ in complete_holes(engine, holes)]


def by_true_map(engine: Engine) -> Method:
    """An engine that is given the true label map, where there is one."""

    def complete(holes: list[Hole]) -> list[np.ndarray | None]:
        if not holes[0].has_map:
            return [None] * len(holes)
        return [done for done, _ in complete_holes(engine, holes, true_map=True)]

    return complete


def hole_psnr(truth: np.ndarray, completed: np.ndarray, mask: np.ndarray) -> float:
    """Peak signal-to-noise ratio over the hole alone, in dB, of `score_photo`'s."""
    difference = truth[mask > 0].astype(float) - completed[mask > 0]
    squared = max(float(np.mean(difference**2)), 1e-4)
    return 10 * float(np.log10(255**2 / squared))


def score_photo(
    truth: np.ndarray, completed: np.ndarray, mask: np.ndarray
) -> dict[str, float]:
    """Scores of one photo.

    Args:
        truth: RGB `uint8` `[H, W, 3]`.
        completed: The same.
        mask: `uint8` `[H, W]`, non-zero = hole.

    Returns:
        `psnr_hole` in dB over the hole alone, `ssim` of the whole photo
        (`tf.image.ssim`, 11x11 Gaussian window), `l1` mean absolute difference over
        the hole in grey levels (0 to 255).
    """
    import tensorflow as tf

    difference = truth[mask > 0].astype(float) - completed[mask > 0]
    return {
        "psnr_hole": hole_psnr(truth, completed, mask),
        "ssim": float(tf.image.ssim(truth, completed, max_val=255)),
        "l1": float(np.mean(np.abs(difference))),
    }


class ParsingScores:
    """Parsing scores over the whole map and inside the hole."""

    def __init__(self) -> None:
        self.whole, self.hole = Confusion(), Confusion()

    def add(self, truth: np.ndarray, parsing: np.ndarray, mask: np.ndarray) -> None:
        """Counts one photo: label maps `[H, W]`; void in `truth` is left out."""
        self.whole.add(truth, parsing)
        self.hole.add(truth, parsing, mask)

    def result(self) -> dict[str, float | None]:
        """`miou` and `miou_hole` over the labels that occur, `pixel_accuracy`."""
        return {
            "miou": self.whole.mean_iou(),
            "miou_hole": self.hole.mean_iou(),
            "pixel_accuracy": self.whole.pixel_accuracy(),
        }


class GroupScores:
    """IoU of `LABEL_GROUPS` and of the person's silhouette, inside holes, by task."""

    def __init__(self) -> None:
        self._holes = {task: Confusion() for task in EVALUATION_TASKS}
        self._photos = {
            task: np.zeros(len(LABEL_GROUPS), int) for task in EVALUATION_TASKS
        }

    def add(self, task: str, hole: Confusion) -> None:
        """Counts one photo, given the counts of its hole."""
        self._holes[task].counts += hole.counts
        found = GROUP_OF_LABEL[hole.counts.any(axis=1)]
        self._photos[task][np.unique(found)] += 1

    def result(self) -> dict[str, dict]:
        """Of each task, one matrix over all photos, plain values for JSON.

        Returns:
            `groups`: the IoU of each of `LABEL_GROUPS`; `photos`: how many have the
            group in the hole; `mean`: of the groups that at least `GROUP_PHOTOS` have;
            `silhouette`: the IoU of all labels but the background. None where there is
            nothing to be scored.
        """
        scores = {}
        for task, hole in self._holes.items():
            iou = hole.group_iou(GROUP_OF_LABEL)
            frequent = iou[self._photos[task] >= GROUP_PHOTOS]
            scores[task] = {
                "groups": dict(zip(LABEL_GROUPS, map(_or_none, iou), strict=True)),
                "photos": dict(
                    zip(LABEL_GROUPS, self._photos[task].tolist(), strict=True)
                ),
                "mean": float(frequent.mean()) if frequent.size else None,
                "silhouette": silhouette_iou(hole),
            }
        return scores


def silhouette_iou(counted: Confusion) -> float | None:
    """IoU of all labels but the background, 0; None where there is nobody."""
    return _or_none(counted.group_iou(np.minimum(np.arange(NUM_LABELS), 1))[1])


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


class PhotoScores(NamedTuple):
    """What one pass over a data set has found.

    Attributes:
        rows: Of every photo, task and method a dict: `index`, `photo`, `task`,
            `method`; the scores of `score_photo` and, with features, `distance`; and,
            the same for all methods, `hole_miou`, the mean IoU of the engine's label
            map in the hole (None without a label map), `hole_silhouette`, the IoU of
            the person there, likewise, `hole_share`, the part of the photo that is
            masked, `hole_texture`, the standard deviation of the true grey levels in
            the hole.
        parsing: `miou`, `miou_hole`, `pixel_accuracy` and `pckh`; None what the data
            or the engine does not allow.
        label_groups: Of `GroupScores`.
        kernel_distances: Of `PatchDistances`, by task and method, each with `to_telea`:
            its mean divided by Telea's; None where there is none above 0. Empty without
            features.
    """

    rows: list[dict]
    parsing: dict[str, float | None]
    label_groups: dict[str, dict]
    kernel_distances: dict[str, dict[str, dict]]


def score_photos(
    engine: Engine,
    reader: Reader,
    size: tuple[int, int],
    seed: int = 0,
    count: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    methods: dict[str, Method] | None = None,
    features: "FeatureDistance | None" = None,
    seen: Callable[[Hole, np.ndarray, np.ndarray, dict], None] | None = None,
    completed: Callable[[Hole, dict[str, np.ndarray | None]], None] | None = None,
) -> PhotoScores:
    """Scores an engine and other methods on all four tasks, photo by photo.

    Args:
        engine: What completes. Joints are scored if its `has_pose` is true.
        reader: Photos, with label maps and joints where there are any.
        size: Height and width that photos are brought to.
        seed: Of the holes.
        count: The first photos only.
        progress: Called with photos done and photos in all.
        methods: Others that are scored, by name; None for `PEERS`.
        features: Adds the perceptual `distance` to the truth, and, if it has layers
            for them, the kernel distance of patches.
        seen: Called with each hole, what the engine made of it, its label map and its
            row.
        completed: Called with each hole and what every method made of it.
    """
    from portrait_tf.evaluation.kernel_distance import PatchDistances
    from portrait_tf.metrics import PCKh

    total = len(reader) if count is None else min(count, len(reader))
    if methods is None:
        methods = {name: classical(name) for name in PEERS}
    rows: list[dict] = []
    parsing_scores, groups, pckh = ParsingScores(), GroupScores(), PCKh()
    patches = None
    if features and features.patches:
        patches = PatchDistances(features, total, seed)
    has_joints = False
    for index in range(total):
        holes = photo_holes(reader, index, size, seed)
        found = complete_holes(engine, holes)
        others = {name: method(holes) for name, method in methods.items()}
        true_features = features.features(holes[0].photo) if features else None
        for place, (hole, (ours, parsing)) in enumerate(zip(holes, found, strict=True)):
            in_hole = Confusion()
            in_hole.add(hole.truth, parsing, hole.mask)
            groups.add(hole.task, in_hole)
            facts = _facts(hole, in_hole)
            done = {OURS: ours, **{n: one[place] for n, one in others.items()}}
            if completed:
                completed(hole, done)
            painted = {}
            for name, picture in done.items():
                if picture is None:
                    continue
                row = {"index": index, "photo": hole.name, "task": hole.task}
                row |= {"method": name, **score_photo(hole.photo, picture, hole.mask)}
                if features:
                    painted[name] = features.features(picture)
                    row[DISTANCE] = features.distance(true_features, painted[name])
                rows.append(row | facts)
                if name == OURS and seen:
                    seen(hole, ours, parsing, rows[-1])
            if patches:
                patches.add(hole.task, hole.mask, true_features, painted)
            parsing_scores.add(hole.truth, parsing, hole.mask)
            if getattr(engine, "has_pose", False) and hole.joints[:, 2].any():
                has_joints = True
                joints = engine.joints(hole.photo, hole.mask)
                pckh.update_state(hole.joints[None], joints[None])
        if progress:
            progress(index + 1, total)
    return PhotoScores(
        rows,
        {
            **parsing_scores.result(),
            "pckh": float(pckh.result()) if has_joints else None,
        },
        groups.result(),
        _beside_baseline(patches.result()) if patches else {},
    )


def _beside_baseline(distances: dict[str, dict[str, dict]]) -> dict:
    for methods in distances.values():
        baseline = methods.get(BASELINE, {}).get("mean")
        for one in methods.values():
            beside = baseline is not None and baseline > 0
            one["to_telea"] = one["mean"] / baseline if beside else None
    return distances


def _facts(hole: Hole, in_hole: Confusion) -> dict[str, float | None]:
    grey = cv2.cvtColor(hole.photo, cv2.COLOR_RGB2GRAY)
    return {
        "hole_miou": in_hole.mean_iou(),
        "hole_silhouette": silhouette_iou(in_hole),
        "hole_share": float(np.mean(hole.mask > 0)),
        "hole_texture": float(np.std(grey[hole.mask > 0])),
    }


def mean_scores(found: PhotoScores) -> dict[str, dict]:
    """Means over photos: what `evaluate` returns."""
    keys = [key for key in (*SCORES, DISTANCE) if key in found.rows[0]]
    means: dict[str, dict] = {}
    for name in dict.fromkeys(row["method"] for row in found.rows):
        means[name] = {}
        for task in EVALUATION_TASKS:
            rows = [
                row
                for row in found.rows
                if row["method"] == name and row["task"] == task
            ]
            means[name][task] = {
                key: float(np.mean([row[key] for row in rows])) for key in keys
            }
    return {
        "completion": means.pop(OURS),
        "parsing": found.parsing,
        "peers": means,
        "label_groups": found.label_groups,
        "kernel_distances": found.kernel_distances,
    }


def evaluate(
    engine: Engine,
    reader: Reader,
    size: tuple[int, int],
    seed: int = 0,
    count: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, dict]:
    """Mean scores of an engine and the classical peers on all four tasks.

    Args:
        engine: As in `score_photos`, like the others.
        reader: Photos with label maps and joints.
        size: Height and width that photos are brought to.
        seed: Of the holes.
        count: The first photos only.
        progress: Called with photos done and photos in all.

    Returns:
        `{"completion": {TASK: SCORES}, "parsing": SCORES, "peers": {PEER: {TASK:
        SCORES}}, "label_groups": ..., "kernel_distances": ...}`, the last two as in
        `PhotoScores`; a score that the data or the engine does not allow is None.
    """
    return mean_scores(score_photos(engine, reader, size, seed, count, progress))
