"""Scores of a whole chain, with fixed holes, beside classical methods.

Photos are brought to the networks' working size first, so that every method is asked
the same question: what was in the hole at that size. Holes are drawn from the seed and
the photo's place in the split alone.
"""

from collections.abc import Callable

import numpy as np

from portrait_tf.data.augment import prepare
from portrait_tf.data.dataset import Reader
from portrait_tf.engines import Engine
from portrait_tf.evaluation.classical import CLASSICAL
from portrait_tf.evaluation.confusion import Confusion
from portrait_tf.masks import EVALUATION_TASKS, evaluation_mask

# Quick ones; `portrait-tf compare` knows more.
PEERS = {name: CLASSICAL[name] for name in ("telea", "navier_stokes")}
SCORES = ("psnr_hole", "ssim", "l1")


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


def evaluate(
    engine: Engine,
    reader: Reader,
    size: tuple[int, int],
    seed: int = 0,
    count: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, dict]:
    """Scores an engine and the classical peers on all four tasks.

    Args:
        engine: What completes. Joints are scored if its `has_pose` is true.
        reader: Photos with label maps and joints.
        size: Height and width that photos are brought to.
        seed: Of the holes.
        count: The first photos only.
        progress: Called with photos done and photos in all.

    Returns:
        `{"completion": {TASK: SCORES}, "parsing": SCORES, "peers": {PEER: {TASK:
        SCORES}}}`; a score that the data or the engine does not allow is None.
    """
    from portrait_tf.metrics import PCKh

    total = len(reader) if count is None else min(count, len(reader))
    methods = ("ours", *PEERS)
    scores = {name: {task: [] for task in EVALUATION_TASKS} for name in methods}
    parsing_scores, pckh = ParsingScores(), PCKh()
    has_joints = False
    for index in range(total):
        sample = prepare(reader[index], size)
        photo, truth, joints = (sample[k] for k in ("image", "parsing", "joints"))
        for task in EVALUATION_TASKS:
            mask = evaluation_mask(task, [seed, index], size, joints, truth)
            completed, parsing = engine.complete(photo, mask)
            scores["ours"][task].append(score_photo(photo, completed, mask))
            for name, method in PEERS.items():
                scores[name][task].append(score_photo(photo, method(photo, mask), mask))
            parsing_scores.add(truth, parsing, mask)
            if getattr(engine, "has_pose", False) and joints[:, 2].any():
                has_joints = True
                pckh.update_state(joints[None], engine.joints(photo, mask)[None])
        if progress:
            progress(index + 1, total)
    means = {
        name: {
            task: {key: float(np.mean([one[key] for one in rows])) for key in SCORES}
            for task, rows in tasks.items()
        }
        for name, tasks in scores.items()
    }
    return {
        "completion": means.pop("ours"),
        "parsing": {
            **parsing_scores.result(),
            "pckh": float(pckh.result()) if has_joints else None,
        },
        "peers": means,
    }
