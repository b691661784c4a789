"""Scores of stage 1 alone: the label map and the pose, with fixed holes and without.

docs/evaluation.md says what each score is. Photos are brought to the network's working
size first. Holes are drawn from the seed and the photo's place in the split alone, as
in `portrait_tf.evaluation.evaluate`, and written down beside the scores.
"""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from portrait_tf.data.augment import prepare
from portrait_tf.data.dataset import Reader
from portrait_tf.data.masks import EVALUATION_TASKS, evaluation_mask
from portrait_tf.evaluation.confusion import Confusion
from portrait_tf.evaluation.page import example_places
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

NO_HOLE = "none"
ALL_TASKS = "all"
REGIONS = ("whole", "hole", "band")
JOINT_SETS = ("all", "in_hole", "marked_hidden")
BAND = 1 / 48
"""Width of the band on each side of the hole's edge, as a part of the height."""

_ENLARGED = 3
"""Maps are drawn larger than they are, so that a browser can shrink them smoothly."""

Predict = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray | None]]
"""`float32` photos `[B, h, w, 3]` in [-1, 1], 0 in the hole, and masks `[B, h, w, 1]`,
1.0 = hole, to label maps `[B, h, w]` and joints `[B, 16, 2 or more]` in pixels, or
None: a network without pose."""


def predictor(structure: AveragedParsing) -> Predict:
    """Stage 1 as `evaluate_parsing` calls it; one trace for batches of any length."""
    import tensorflow as tf

    height, width = structure.size

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, height, width, 3], tf.float32),
            tf.TensorSpec([None, height, width, 1], tf.float32),
        ]
    )
    def predict(image: tf.Tensor, mask: tf.Tensor) -> tuple:
        answer = structure(image, mask)
        labels = parsing_labels(answer["parsing"])
        if "pose" not in answer:
            return tf.cast(labels, tf.uint8), None
        joints = joints_of_parts(structure.peaks(answer["pose"]), structure.size)
        return tf.cast(labels, tf.uint8), joints

    def as_arrays(image: np.ndarray, mask: np.ndarray) -> tuple:
        labels, joints = predict(image, mask)
        return labels.numpy(), None if joints is None else joints.numpy()

    return as_arrays


def band_width(height: int) -> int:
    """How many pixels `border_band` reaches from the edge, on each side."""
    return max(1, round(BAND * height))


def border_band(mask: np.ndarray) -> np.ndarray:
    """The pixels near the hole's edge, where known and made-up labels meet.

    Args:
        mask: `uint8` `[H, W]`, non-zero = hole.

    Returns:
        `bool` `[H, W]`: hole pixels whose centre is within `band_width` of that of a
        known pixel, and known pixels as near to a hole pixel. The photo's border is
        no edge. Nothing where there is no hole, or nothing else.
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
    """What is counted for one task."""

    def __init__(self) -> None:
        from portrait_tf.metrics import PCKh

        self.confusions = {region: Confusion() for region in REGIONS}
        self.pckh = {joints: PCKh(name=f"pckh_{joints}") for joints in JOINT_SETS}

    def add_parsing(
        self, truth: np.ndarray, parsing: np.ndarray, mask: np.ndarray
    ) -> None:
        """Counts label maps `[H, W]`; the mask's hole is non-zero."""
        for region, pixels in (
            ("whole", None),
            ("hole", mask),
            ("band", border_band(mask)),
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
            predicted: `[B, 16, 2 or more]`.
            masks: `[B, H, W]`, non-zero = hole.
            marked_hidden: `[B, 16]`, where the annotation's `v` says hidden.
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
        """Plain values, fit for JSON; None where nothing was there to be scored.

        Args:
            frequent: The labels that `mean_iou_frequent` is taken over.

        Returns:
            Of each region `pixels`, `pixel_accuracy`, `mean_accuracy`, `mean_iou`,
            `mean_iou_frequent` and `iou` by label; and `pckh`: of each set of joints
            `mean`, `count`, and of each joint `rate` and `count`.
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


class _Photo(NamedTuple):
    """A sample at the working size; `shown` are the labels of the map as published."""

    name: str
    image: np.ndarray
    truth: np.ndarray
    joints: np.ndarray
    marked_hidden: np.ndarray
    shown: np.ndarray


def _read(reader: Reader, index: int, size: tuple[int, int]) -> _Photo:
    sample = reader[index]
    prepared = prepare(sample, size)
    shown = np.zeros(NUM_LABELS, bool)
    if sample.parsing is not None:
        shown[np.unique(sample.parsing[sample.parsing < NUM_LABELS])] = True
    marked_hidden = (
        np.zeros(len(JOINTS), bool)
        if sample.joints is None
        else sample.joints[:, 2] == 1
    )
    return _Photo(
        sample.name,
        prepared["image"],
        prepared["parsing"],
        prepared["joints"],
        marked_hidden,
        shown,
    )


def _mask(photo: _Photo, task: str, seed: list[int]) -> np.ndarray:
    size = photo.image.shape[:2]
    if task == NO_HOLE:
        return np.zeros(size, np.uint8)
    return evaluation_mask(task, seed, size, photo.joints, photo.truth)


def _ask(predict: Predict, photos: list[_Photo], masks: np.ndarray) -> tuple:
    images = np.stack([photo.image for photo in photos]).astype(np.float32)
    hole = (masks > 0)[..., None].astype(np.float32)
    return predict((images / 127.5 - 1.0) * (1.0 - hole), hole)


def evaluate_parsing(
    predict: Predict,
    reader: Reader,
    size: tuple[int, int],
    seed: int = 0,
    count: int | None = None,
    min_photos: int = 10,
    batch_size: int = 16,
    progress: Callable[[int, int], None] | None = None,
    keep_mask: Callable[[str, str, np.ndarray], None] | None = None,
) -> dict[str, object]:
    """Scores stage 1 on every evaluation task, and on whole photos.

    Args:
        predict: Stage 1, as `predictor` makes it.
        reader: Photos with label maps, joints, or both.
        size: Height and width that photos are brought to.
        seed: Of the holes.
        count: The first photos only.
        min_photos: A label is frequent if as many of these photos show it, in their
            label maps as published.
        batch_size: Photos a call.
        progress: Called with photos done and photos in all.
        keep_mask: Called with task, photo's name and mask, `uint8` `[H, W]`, 255 =
            hole.

    Returns:
        Plain values, fit for JSON:

        * `labels`: of each label `photos`, and whether it is `frequent`;
        * `tasks`: `TaskScores.result` of each task, of `all` of them together, and of
          `none`: whole photos, which `all` leaves out;
        * `band_pixels`;
        * `masks`: of each photo and task `photo` (its name), `index`, `task`, `seed`
          (as `evaluation_mask` takes it), `sha256` of the mask's bytes (`uint8`, row
          by row, 255 = hole), `hole_pixels`, and `mean_iou_hole` of that photo alone.
    """
    total = len(reader) if count is None else min(count, len(reader))
    scores = {task: TaskScores() for task in (*EVALUATION_TASKS, ALL_TASKS, NO_HOLE)}
    shown = np.zeros(NUM_LABELS, int)
    written = []
    for start in range(0, total, batch_size):
        indices = range(start, min(start + batch_size, total))
        photos = [_read(reader, index, size) for index in indices]
        shown += sum(photo.shown.astype(int) for photo in photos)
        for task in (*EVALUATION_TASKS, NO_HOLE):
            masks = np.stack(
                [
                    _mask(photo, task, [seed, index])
                    for photo, index in zip(photos, indices, strict=True)
                ]
            )
            parsings, predicted = _ask(predict, photos, masks)
            joints = np.stack([photo.joints for photo in photos])
            marked_hidden = np.stack([photo.marked_hidden for photo in photos])
            counted = (scores[task],) if task == NO_HOLE else (
                scores[task], scores[ALL_TASKS],
            )  # fmt: skip
            for one in counted:
                if predicted is not None:
                    one.add_pose(joints, predicted, masks, marked_hidden)
                for photo, parsing, mask in zip(photos, parsings, masks, strict=True):
                    one.add_parsing(photo.truth, parsing, mask)
            if task == NO_HOLE:
                continue
            for index, photo, parsing, mask in zip(
                indices, photos, parsings, masks, strict=True
            ):
                alone = Confusion()
                alone.add(photo.truth, parsing, mask)
                written.append(
                    {
                        "photo": photo.name,
                        "index": index,
                        "task": task,
                        "seed": [seed, index],
                        "sha256": hashlib.sha256(mask.tobytes()).hexdigest(),
                        "hole_pixels": int(np.count_nonzero(mask)),
                        "mean_iou_hole": alone.mean_iou(),
                    }
                )
                if keep_mask:
                    keep_mask(task, photo.name, mask)
        if progress:
            progress(start + len(photos), total)
    frequent = [int(label) for label in np.flatnonzero(shown >= min_photos)]
    return {
        "labels": {
            name: {"photos": int(shown[label]), "frequent": label in frequent}
            for label, name in enumerate(LABELS)
        },
        "tasks": {task: one.result(frequent) for task, one in scores.items()},
        "band_pixels": band_width(size[0]),
        "masks": written,
    }


class Example(NamedTuple):
    """A photo to look at, in RGB `uint8`: `[h, w, 3]`, and both maps larger."""

    task: str
    place: str
    name: str
    mean_iou_hole: float
    photo: np.ndarray
    truth: np.ndarray
    parsing: np.ndarray


def draw_examples(
    predict: Predict, reader: Reader, size: tuple[int, int], scores: dict
) -> list[Example]:
    """Draws the best, the median and the worst photo of each task.

    By the mean IoU in the hole, of that photo alone. Predicts them once more, so that
    nothing but numbers is kept of a large data set.

    Args:
        predict: As `evaluate_parsing` was given it.
        reader: Likewise.
        size: Likewise.
        scores: What it returned.
    """
    examples = []
    for task in EVALUATION_TASKS:
        ranked = sorted(
            (
                one
                for one in scores["masks"]
                if one["task"] == task and one["mean_iou_hole"] is not None
            ),
            key=lambda one: one["mean_iou_hole"],
            reverse=True,
        )
        for rank, place in example_places(len(ranked)).items():
            one = ranked[rank]
            photo = _read(reader, one["index"], size)
            mask = _mask(photo, task, one["seed"])
            parsing = _ask(predict, [photo], mask[None])[0][0]
            examples.append(
                Example(
                    task,
                    place,
                    one["photo"],
                    one["mean_iou_hole"],
                    show_hole(photo.image, mask),
                    _outlined(color_parsing(photo.truth), mask),
                    _outlined(color_parsing(parsing), mask),
                )
            )
    return examples


def _outlined(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture, enlarged, with a white line just inside the hole's edge."""
    picture, mask = (
        np.repeat(np.repeat(one, _ENLARGED, axis=0), _ENLARGED, axis=1)
        for one in (picture, mask)
    )
    # Nothing is eroded from the photo's border: it is no edge of the hole.
    inner = cv2.erode(mask, np.ones((5, 5), np.uint8), borderValue=255)
    return np.where(((mask > 0) & (inner == 0))[..., None], np.uint8(255), picture)
