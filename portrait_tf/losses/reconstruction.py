"""Losses of stage 2 on colors: functions `(y_true, y_pred, mask)`.

Photos are `[B, H, W, 3]` in [-1, 1], masks `[B, H, W, 1]`, 1.0 = hole.
"""

import keras
import numpy as np

from portrait_tf.compat import Tensor, ops, replicas
from portrait_tf.labels import FLIPPED_LABELS, NUM_LABELS

_register = keras.saving.register_keras_serializable("portrait_tf")

# Left and right of a pair are one label; the background is none.
_MERGED = np.minimum(np.arange(NUM_LABELS), FLIPPED_LABELS)
_DESIGNS = (_MERGED[:, None] == np.unique(_MERGED)[1:]).astype(np.float32)


@_register
def masked_l1(y_true: Tensor, y_pred: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference over a mask.

    `sum(mask * |y_true - y_pred|) / (3 * sum(mask))` over the whole batch, so that
    every pixel of every hole counts equally.
    """
    total = ops.sum(mask * ops.abs(y_true - y_pred))
    return replicas.ratio(total, ops.sum(mask) * y_true.shape[-1], 1e-6)


@_register
def psnr_loss(y_true: Tensor, y_pred: Tensor, mask: Tensor) -> Tensor:
    """Negative peak signal-to-noise ratio in the hole, in units of 4.34 dB.

    `mean(log(mse))` over the batch's photos, `mse` the mean squared difference in a
    photo's hole: its gradient is that of the mean PSNR, the score itself. NAFNet's code
    (arXiv 2204.04676) has it for whole photos.
    """
    squared = ops.sum(mask * (y_true - y_pred) ** 2, axis=(1, 2, 3))
    area = ops.maximum(ops.sum(mask, axis=(1, 2, 3)) * y_true.shape[-1], 1.0)
    # A hole of a few flat pixels must not outweigh the batch.
    return ops.mean(ops.log(squared / area + 1e-3))


@_register
def total_variation(y_true: Tensor, y_pred: Tensor, mask: Tensor) -> Tensor:
    """Smoothness of the hole and its seam (partial convolutions, arXiv 1804.07723).

    `sum(|x[i, j+1] - x[i, j]| + |x[i+1, j] - x[i, j]|) / (3 * |P|)` of the completed
    photo x over pairs of neighbors that both lie in P, the hole grown by one pixel; |P|
    is its number of pixels in the batch. The paper divides by the photo's, so that a
    small hole counts less; ours counts every pixel of a hole equally, as `masked_l1`.
    """
    completed = y_true * (1.0 - mask) + y_pred * mask
    region = ops.max_pool(mask, 3, 1, padding="same")
    down = ops.abs(completed[:, 1:] - completed[:, :-1])
    right = ops.abs(completed[:, :, 1:] - completed[:, :, :-1])
    total = ops.sum(down * region[:, 1:] * region[:, :-1])
    total = total + ops.sum(right * region[:, :, 1:] * region[:, :, :-1])
    return replicas.ratio(total, ops.sum(region) * y_true.shape[-1], 1e-6)


@_register
def label_color(
    y_true: Tensor,
    y_pred: Tensor,
    mask: Tensor,
    parsing: Tensor,
    smallest: float = 0.002,
) -> Tensor:
    """Difference of a garment's mean color in the hole and outside; our choice.

    `sum_l a_l * mean(|painted_l - seen_l|) / sum_l a_l` over the batch's samples and
    labels: `painted_l` is the mean color of label l inside the hole, `seen_l` the
    truth's mean color of it outside, `a_l` its area inside. A label counts where at
    least `smallest` of the photo shows it, and it has a pixel in the hole. Left and
    right arms, legs and shoes are one label each. The background does not count: what
    is seen of it says little about what is hidden.

    Args:
        y_true: The whole photo.
        y_pred: The painted photo.
        mask: The hole.
        parsing: `[B, H, W, 20]` probabilities; they weight the pixels where they are
            at least 0.5.
        smallest: Fraction of the photo's area that must show a label.

    Returns:
        A scalar; 0 if no label counts.
    """
    sure = ops.matmul(parsing, ops.convert_to_tensor(_DESIGNS))
    sure = ops.where(sure >= 0.5, sure, 0.0)
    hidden, hidden_area = _mean_colors(y_pred, sure * mask)
    seen, seen_area = _mean_colors(y_true, sure * (1.0 - mask))
    photo = y_true.shape[1] * y_true.shape[2]
    counts = (seen_area >= smallest * photo) & (hidden_area >= 1.0)
    weights = ops.where(counts, hidden_area, 0.0)
    difference = ops.mean(ops.abs(hidden - ops.stop_gradient(seen)), axis=-1)
    return replicas.ratio(ops.sum(weights * difference), ops.sum(weights), 1e-6)


def _mean_colors(image: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Colors `[B, L, 3]` and areas in pixels `[B, L]` of weighted labels."""
    area = ops.sum(labels, axis=(1, 2))
    colors = ops.einsum("bhwl,bhwc->blc", labels, image)
    return colors / ops.maximum(area, 1e-6)[..., None], area
