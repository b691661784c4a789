"""Scores of stage 1 alone: label map and pose, with fixed holes and without.

docs/evaluation.md defines the scores. The holes and their seeds are part of the result,
so that others can repeat them.
"""

import hashlib
from collections.abc import Callable

import cv2
import numpy as np

from portrait_tf.data.masks import EVALUATION_TASKS
from portrait_tf.evaluation.confusion import Confusion
from portrait_tf.evaluation.holes import (
    NO_HOLE,
    Example,
    Hole,
    HoleSet,
    draw_examples,
    pick_examples,
)
from portrait_tf.evaluation.summary import ALL_TASKS
from portrait_tf.geometry import joints_of_parts
from portrait_tf.inference.averaging import AveragedParsing
from portrait_tf.labels import (
    JOINTS,
    LABELS,
    NUM_LABELS,
    PCKH_JOINTS,
    color_parsing,
)
from portrait_tf.models.parsing import parsing_labels
from portrait_tf.photos.drawing import show_hole

REGIONS = ("whole", "hole", "band")
JOINT_SETS = ("all", "in_hole", "marked_hidden")
BAND = 1 / 48
"""Width of the band on each side of the hole's edge, as a part of the height."""

_ENLARGED = 3
"""Maps are drawn larger than they are, so that a browser shrinks them smoothly."""

Predict = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray | None]]
"""Predicts label maps and joints.

Takes `float32` photos `[B, h, w, 3]` in [-1, 1], 0 in the hole, and masks
`[B, h, w, 1]`, 1.0 = hole. Returns label maps `[B, h, w]` and joints
`[B, 16, 2 or more]` in pixels, or None for a network without pose."""


def predictor(structure: AveragedParsing) -> Predict:
    """Wraps stage 1 for `score_parsing`."""

    def predict(image: np.ndarray, mask: np.ndarray) -> tuple:
        probabilities, peaks = structure.predict(image, mask)
        labels = np.asarray(parsing_labels(probabilities)).astype(np.uint8)
        joints = None if peaks is None else joints_of_parts(peaks, structure.size)
        return labels, joints

    return predict


def band_width(height: int) -> int:
    """The reach of `border_band` on each side of the edge, in pixels."""
    return max(1, round(BAND * height))


def border_band(mask: np.ndarray) -> np.ndarray:
    """The pixels near the hole's edge.

    Args:
        mask: `uint8` `[H, W]`, non-zero = hole.

    Returns:
        `bool` `[H, W]`: hole pixels whose center is within `band_width` of that of a
        known pixel, and known pixels as near to a hole pixel. The photo's border is
        no edge. Empty where there is no hole, or no known pixel.
    """
    hole = mask != 0
    if hole.all() or not hole.any():
        return np.zeros(mask.shape, bool)
    distances = [
        cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for side in (hole, ~hole)
    ]
    return np.maximum(*distances) <= band_width(mask.shape[0])


class TaskScores:
    """Counts of one task."""

    def __init__(self) -> None:
        from portrait_tf.metrics import PCKh

        self.confusions = {region: Confusion() for region in REGIONS}
        self.pckh = {joints: PCKh(name=f"pckh_{joints}") for joints in JOINT_SETS}

    def add_parsing(
        self, truth: np.ndarray, parsing: np.ndarray, mask: np.ndarray
    ) -> None:
        """Counts label maps `[H, W]`; the mask's hole is non-zero."""
        for region, pixels in zip(
            REGIONS, (None, mask, border_band(mask)), strict=True
        ):
            self.confusions[region].add(truth, parsing, pixels)

    def add_pose(
        self,
        joints: np.ndarray,
        predicted: np.ndarray,
        masks: np.ndarray,
        marked_hidden: np.ndarray,
    ) -> None:
        """Counts the joints of a batch.

        Args:
            joints: `[B, 16, 3]`: x, y in pixels, and 1 where annotated.
            predicted: `[B, 16, 2 or more]`, x and y in pixels.
            masks: `[B, H, W]`, non-zero = hole.
            marked_hidden: `[B, 16]`, true where the annotation's `v` says hidden.
        """
        weights = {
            "all": None,
            "in_hole": joints_in_hole(joints, masks),
            "marked_hidden": marked_hidden,
        }
        for name, metric in self.pckh.items():
            metric.update_state(
                joints, predicted[..., :2].astype(np.float32), weights[name]
            )

    def result(self, frequent: list[int]) -> dict[str, dict]:
        """Plain values for JSON; None where there is nothing to score.

        Args:
            frequent: The labels of `mean_iou_frequent`.

        Returns:
            For each region `pixels`, `pixel_accuracy`, `mean_accuracy`, `mean_iou`,
            `mean_iou_frequent` and `iou` by label. `pckh`: for each set of joints
            `mean`, `count`, and for each joint `rate` and `count`.
        """
        scores = {
            region: {
                "pixels": one.pixels,
                "pixel_accuracy": one.pixel_accuracy(),
                "mean_accuracy": one.mean_accuracy(),
                "mean_iou": one.mean_iou(),
                "mean_iou_frequent": one.mean_iou(frequent),
                "iou": {
                    name: None if np.isnan(value) else float(value)
                    for name, value in zip(LABELS, one.iou(), strict=True)
                },
            }
            for region, one in self.confusions.items()
        }
        scores["pckh"] = {name: _rates(one) for name, one in self.pckh.items()}
        return scores


def joints_in_hole(joints: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Which joints lie on a pixel of the hole, `bool` `[B, 16]`.

    Args:
        joints: `[B, 16, 2 or more]`: x, y in pixels, inside the photo.
        masks: `[B, H, W]`, non-zero = hole.
    """
    columns, rows = np.floor(joints[..., :2] + 0.5).astype(int).transpose(2, 0, 1)
    # Half a pixel inside the edge may round to the pixel past it.
    rows = np.clip(rows, 0, masks.shape[1] - 1)
    columns = np.clip(columns, 0, masks.shape[2] - 1)
    return masks[np.arange(len(masks))[:, None], rows, columns] != 0


def _rates(pckh: object) -> dict:
    found, seen = (np.asarray(one) for one in (pckh.found, pckh.seen))
    count = int(seen.sum())
    return {
        "mean": float(pckh.result()) if count else None,
        "count": count,
        "joints": {
            JOINTS[joint]: {
                "rate": float(found[place] / seen[place]) if seen[place] else None,
                "count": int(seen[place]),
            }
            for place, joint in enumerate(PCKH_JOINTS)
        },
    }


TASKS = (*EVALUATION_TASKS, NO_HOLE)
"""What the holes of `score_parsing` must have."""


def score_parsing(
    predict: Predict,
    holes: HoleSet,
    min_photos: int = 10,
    batch_size: int = 16,
    progress: Callable[[int, int], None] | None = None,
    observe: Callable[[Hole], None] | None = None,
) -> dict[str, object]:
    """Scores stage 1 on every evaluation task and on whole photos.

    Args:
        predict: Stage 1, as `predictor` returns it.
        holes: Photos with label maps, joints, or both; their tasks are `TASKS`.
        min_photos: A label is frequent if at least as many of these photos show it, in
            their label maps as published.
        batch_size: Photos per call.
        progress: Called with the numbers of photos done and of all photos.
        observe: Called with each hole.

    Returns:
        Plain values for JSON:

        * `labels`: for each label `photos`, and whether it is `frequent`;
        * `tasks`: `TaskScores.result` of each task, of `all` of them together, and of
          `none`: whole photos, which are not part of `all`;
        * `band_pixels`: the width of the band;
        * `masks`: for each photo and task `photo` (its name), `index`, `task`, `seed`
          (as `evaluation_mask` takes it), `sha256` of the mask's bytes (`uint8`, row by
          row, 255 = hole), `hole_pixels`, and `mean_iou_hole` of that photo alone.
    """
    scores = {task: TaskScores() for task in (*EVALUATION_TASKS, ALL_TASKS, NO_HOLE)}
    shown, written = np.zeros(NUM_LABELS, int), []
    for start in range(0, len(holes), batch_size):
        stop = min(start + batch_size, len(holes))
        photos = [holes[index] for index in range(start, stop)]
        shown += sum(_shown_labels(photo[0]) for photo in photos)
        for task, *batch in zip(TASKS, *photos, strict=True):
            names = (task,) if task == NO_HOLE else (task, ALL_TASKS)
            parsings = _count(predict, batch, [scores[name] for name in names])
            if task == NO_HOLE:
                continue
            for hole, parsing in zip(batch, parsings, strict=True):
                written.append(_written(hole, parsing, holes.seed))
                if observe:
                    observe(hole)
        if progress:
            progress(stop, len(holes))
    frequent = [int(label) for label in np.flatnonzero(shown >= min_photos)]
    return {
        "labels": {
            name: {"photos": int(shown[label]), "frequent": label in frequent}
            for label, name in enumerate(LABELS)
        },
        "tasks": {task: one.result(frequent) for task, one in scores.items()},
        "band_pixels": band_width(holes.size[0]),
        "masks": written,
    }


def _ask(predict: Predict, holes: list[Hole]) -> tuple[np.ndarray, np.ndarray | None]:
    images = np.stack([hole.photo for hole in holes]).astype(np.float32)
    masks = np.stack([hole.mask for hole in holes])[..., None] > 0
    masks = masks.astype(np.float32)
    return predict((images / 127.5 - 1.0) * (1.0 - masks), masks)


def _count(predict: Predict, holes: list[Hole], scores: list[TaskScores]) -> np.ndarray:
    """Adds a batch of holes of one task to the scores; returns the label maps."""
    parsings, predicted = _ask(predict, holes)
    joints = np.stack([hole.joints for hole in holes])
    masks = np.stack([hole.mask for hole in holes])
    hidden = np.stack([_marked_hidden(hole) for hole in holes])
    for one in scores:
        if predicted is not None:
            one.add_pose(joints, predicted, masks, hidden)
        for hole, parsing in zip(holes, parsings, strict=True):
            one.add_parsing(hole.truth, parsing, hole.mask)
    return parsings


def _written(hole: Hole, parsing: np.ndarray, seed: int) -> dict:
    alone = Confusion()
    alone.add(hole.truth, parsing, hole.mask)
    return {
        "photo": hole.name,
        "index": hole.index,
        "task": hole.task,
        "seed": [seed, hole.index],
        "sha256": hashlib.sha256(hole.mask.tobytes()).hexdigest(),
        "hole_pixels": int(np.count_nonzero(hole.mask)),
        "mean_iou_hole": alone.mean_iou(),
    }


def draw_parsing(
    predict: Predict, holes: HoleSet, scores: dict
) -> dict[str, list[Example]]:
    """Draws the best, the median and the worst photo of each task.

    The mean IoU in the hole of that photo ranks them.

    Args:
        predict: As in `score_parsing`.
        holes: As in `score_parsing`.
        scores: The result of `score_parsing`.
    """
    key, ranked = "mean_iou_hole", {}
    for one in scores["masks"]:
        if one[key] is not None:
            ranked.setdefault(one["task"], []).append(one)
    chosen = {
        task: pick_examples(sorted(some, key=lambda one: -one[key]), key)
        for task, some in ranked.items()
    }

    def draw(hole: Hole) -> dict[str, np.ndarray]:
        (parsing,) = _ask(predict, [hole])[0]
        return {
            "input": show_hole(hole.photo, hole.mask),
            "truth": _outlined(color_parsing(hole.truth), hole.mask),
            "predicted": _outlined(color_parsing(parsing), hole.mask),
        }

    return draw_examples(holes, chosen, key, draw)


def _shown_labels(hole: Hole) -> np.ndarray:
    """Which labels the map as published shows, `int` `[20]`."""
    shown, parsing = np.zeros(NUM_LABELS, int), hole.sample.parsing
    if parsing is not None:
        shown[np.unique(parsing[parsing < NUM_LABELS])] = 1
    return shown


def _marked_hidden(hole: Hole) -> np.ndarray:
    joints = hole.sample.joints
    return np.zeros(len(JOINTS), bool) if joints is None else joints[:, 2] == 1


def _outlined(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture, enlarged, with a white line just inside the hole's edge."""
    picture, mask = (
        one.repeat(_ENLARGED, axis=0).repeat(_ENLARGED, axis=1)
        for one in (picture, mask)
    )
    # Nothing is eroded at the photo's border: it is no edge of the hole.
    inner = cv2.erode(mask, np.ones((5, 5), np.uint8), borderValue=255)
    return np.where(((mask > 0) & (inner == 0))[..., None], np.uint8(255), picture)
