"""PCKh@0.5 by LIP's definition."""

import keras
import numpy as np

from portrait_tf.compat import ops
from portrait_tf.labels import HEAD_SEGMENT, PCKH_JOINTS


def heatmap_peaks(heatmaps: object) -> object:
    """Where each heatmap is highest, refined to parts of a cell.

    Along each axis the peak is the vertex of a parabola through the logarithms of the
    highest cell and its neighbours, at most half a cell away: exact for a Gaussian
    (compare Zhang et al., *Distribution-Aware Coordinate Representation for Human Pose
    Estimation*, arXiv 1910.06278). The inverse of `losses.joint_heatmaps`.

    Args:
        heatmaps: `[B, H, W, J]`, static height and width.

    Returns:
        `[B, J, 3]`: x and y as parts of width and height
        (`portrait_tf.geometry.joint_parts`), and the highest cell's value.
    """
    height, width, joints = heatmaps.shape[1:]
    flat = ops.reshape(heatmaps, (-1, height * width, joints))
    best = ops.argmax(flat, axis=1)
    row, column = ops.cast(best // width, "float32"), ops.cast(best % width, "float32")
    at_column = ops.arange(width, dtype="float32")[None, :, None] == column[:, None]
    at_row = ops.arange(height, dtype="float32")[None, :, None] == row[:, None]
    y = _vertex(ops.sum(ops.where(at_column[:, None], heatmaps, 0.0), axis=2), row)
    x = _vertex(ops.sum(ops.where(at_row[:, :, None], heatmaps, 0.0), axis=1), column)
    value = ops.max(flat, axis=1)
    return ops.stack([(x + 0.5) / width, (y + 0.5) / height, value], axis=-1)


def _vertex(profile: object, best: object) -> object:
    """The peak of `[B, N, J]` near its cell `[B, J]`, to parts of a cell."""
    cells = profile.shape[1]
    if cells < 3:
        return best
    # In the first and the last cell the parabola goes through the next two.
    middle = ops.clip(best, 1.0, cells - 2.0)
    positions = ops.arange(cells, dtype="float32")[None, :, None]
    logarithms = ops.log(ops.maximum(profile, 1e-6))
    before, at, after = (
        ops.sum(
            ops.where(positions == middle[:, None] + offset, logarithms, 0.0), axis=1
        )
        for offset in (-1.0, 0.0, 1.0)
    )
    bend = 2.0 * at - before - after
    vertex = middle + 0.5 * (after - before) / ops.maximum(bend, 1e-6)
    return ops.where(bend > 1e-6, ops.clip(vertex, best - 0.5, best + 0.5), best)


class PCKh(keras.metrics.Metric):
    """Part of the joints found within half a head's size.

    Head size is the distance of head top to neck; a photo without both, and a joint
    that is not annotated, is skipped. The mean over LIP's 14 scored joints of each
    joint's own rate.

    Update with joints `[B, 16, 3]` (x, y, annotated) and predictions `[B, 16, 2 or
    more]` (x, y), both in pixels, and, for some of the joints alone, `sample_weight`
    `[B, 16]` of 0.0 and 1.0; the head's size is then still that of all of them.
    """

    def __init__(self, name: str = "pckh", **kwargs: object) -> None:
        super().__init__(name=name, **kwargs)
        count = len(PCKH_JOINTS)
        self.found = self.add_weight(name="found", shape=(count,), initializer="zeros")
        self.seen = self.add_weight(name="seen", shape=(count,), initializer="zeros")

    def update_state(
        self, joints: object, predicted: object, sample_weight: object = None
    ) -> None:
        head, neck = (joints[:, index] for index in HEAD_SEGMENT)
        size = ops.sqrt(ops.sum((head[:, :2] - neck[:, :2]) ** 2, axis=-1))
        present = joints[:, :, 2] * (head[:, 2] * neck[:, 2])[:, None]
        present = present * ops.cast(size > 0, "float32")[:, None]
        if sample_weight is not None:
            present = present * ops.cast(sample_weight, "float32")
        distance = ops.sqrt(
            ops.sum((joints[:, :, :2] - predicted[:, :, :2]) ** 2, axis=-1)
        )
        hit = ops.cast(distance <= 0.5 * size[:, None], "float32") * present
        scored = np.array(PCKH_JOINTS)
        self.found.assign(self.found + ops.take(ops.sum(hit, axis=0), scored))
        self.seen.assign(self.seen + ops.take(ops.sum(present, axis=0), scored))

    def result(self) -> object:
        rates = self.found / ops.maximum(self.seen, 1.0)
        scored = ops.cast(self.seen > 0, "float32")
        return ops.sum(rates * scored) / ops.maximum(ops.sum(scored), 1.0)

    def reset_state(self) -> None:
        for variable in (self.found, self.seen):
            variable.assign(ops.zeros(variable.shape))
