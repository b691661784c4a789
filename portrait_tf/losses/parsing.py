"""Losses of stage 1."""

import keras

from portrait_tf.compat import ops
from portrait_tf.labels import NUM_LABELS


def parsing_cross_entropy(labels: object, logits: object, weights: object) -> object:
    """Weighted mean of the softmax cross-entropy; void pixels do not count.

    `sum(w * -log p[label]) / sum(w)` over pixels whose label is below 20, as JPPNet
    ignores labels from 20 up.

    Args:
        labels: Integers `[B, H, W]`; 20 and above is void.
        logits: `[B, H, W, 20]`.
        weights: `[B, H, W]`, at least 0.
    """
    known = ops.cast(labels < NUM_LABELS, "float32")
    safe = ops.where(labels < NUM_LABELS, labels, 0)
    loss = keras.losses.sparse_categorical_crossentropy(safe, logits, from_logits=True)
    weights = weights * known
    return ops.sum(loss * weights) / ops.maximum(ops.sum(weights), 1e-6)


def joint_heatmaps(joints: object, size: tuple[int, int], sigma: float) -> object:
    """Gaussians of peak 1 at the joints; a missing joint gives an empty map (JPPNet).

    Args:
        joints: `[B, 16, 3]`: x, y as parts of width and height (0 to 1), and 1.0 where
            annotated.
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


def pose_error(target: object, heatmaps: object) -> object:
    """Squared error over all maps, in units of one joint's own squared sum.

    1.0 means as wrong as an empty answer; JPPNet takes the root of the same sum, whose
    gradient does not shrink as the answer gets better. Our choice.

    Args:
        target: `[B, H, W, 16]`.
        heatmaps: `[B, H, W, 16]`.
    """
    scale = ops.maximum(ops.sum(target**2), 1.0)
    return ops.sum((target - heatmaps) ** 2) / scale
