"""Joints as heat maps, and back."""

import numpy as np

from portrait_tf.compat import Tensor, ops


def joint_heatmaps(joints: Tensor, size: tuple[int, int], sigma: float) -> Tensor:
    """Gaussians of peak 1 at the joints; a missing joint gives an empty map (JPPNet).

    Args:
        joints: `[B, 16, 3]`: x, y as parts of width and height
            (`portrait_tf.geometry.joint_parts`), and 1.0 where annotated.
        size: Height and width of the maps.
        sigma: As a part of the height.

    Returns:
        `[B, height, width, 16]`.
    """
    height, width = size
    rows = ops.arange(height, dtype="float32") + 0.5
    columns = ops.arange(width, dtype="float32") + 0.5
    x, y, present = (joints[:, None, None, :, i] for i in range(3))
    squared = (rows[None, :, None, None] - y * height) ** 2
    squared = squared + (columns[None, None, :, None] - x * width) ** 2
    return present * ops.exp(-squared / (2 * (sigma * height) ** 2))


def segment_heatmaps(
    start: Tensor, stop: Tensor, size: tuple[int, int], sigma: float
) -> Tensor:
    """Gaussians of peak 1 across the way from one joint to another.

    Args:
        start: `[B, N, 3]`, as of `joint_heatmaps`.
        stop: The other ends; where one is missing the map is empty.
        size: Height and width of the maps.
        sigma: As a part of the height.

    Returns:
        `[B, height, width, N]`.
    """
    height, width = size
    sides = np.float32([width / height, 1])
    start, stop = start[:, None, None], stop[:, None, None]
    present = start[..., 2] * stop[..., 2]
    start, stop = start[..., :2] * sides, stop[..., :2] * sides
    rows, columns = np.mgrid[:height, :width].astype(np.float32) + 0.5
    cells = np.stack([columns, rows], axis=-1)[None, :, :, None] / height
    along = stop - start
    part = ops.sum((cells - start) * along, axis=-1, keepdims=True)
    length = ops.sum(along**2, axis=-1, keepdims=True)
    part = ops.clip(part / ops.maximum(length, 1e-6), 0.0, 1.0)
    squared = ops.sum((cells - start - part * along) ** 2, axis=-1)
    return present * ops.exp(-squared / (2 * sigma**2))


def heatmap_peaks(heatmaps: Tensor) -> Tensor:
    """Where each heatmap is highest, refined to parts of a cell.

    Along each axis the peak is the vertex of a parabola through the logarithms of the
    highest cell and its neighbors, at most half a cell away: exact for a Gaussian
    (compare Zhang et al., *Distribution-Aware Coordinate Representation for Human Pose
    Estimation*, arXiv 1910.06278). The inverse of `joint_heatmaps`.

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


def _vertex(profile: Tensor, best: Tensor) -> Tensor:
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
