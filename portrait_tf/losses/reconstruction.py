"""Losses of stage 2 on colours: L1, PSNR, total variation, colours of labels."""

import numpy as np

from portrait_tf.compat import ops, replicas
from portrait_tf.labels import FLIPPED_LABELS, NUM_LABELS


def masked_l1(truth: object, painted: object, region: object) -> object:
    """Mean absolute difference over a region.

    `sum(region * |truth - painted|) / (3 * sum(region))`, over the whole batch, so that
    every pixel of every hole counts alike.

    Args:
        truth: `[B, H, W, 3]`.
        painted: `[B, H, W, 3]`.
        region: `[B, H, W, 1]`, 1.0 where it counts.
    """
    total = ops.sum(region * ops.abs(truth - painted))
    return replicas.ratio(total, ops.sum(region) * truth.shape[-1], 1e-6)


def psnr_loss(truth: object, painted: object, mask: object) -> object:
    """What peak signal-to-noise ratio in the hole is lost, in units of 4.34 dB.

    `mean(log(mse))` over the batch's photos, `mse` the mean squared difference in a
    photo's hole: its gradient is that of the mean PSNR, the score itself. Whole photos
    have it in NAFNet's code (arXiv 2204.04676); only the hole counts here.

    Args:
        truth: `[B, H, W, 3]` in [-1, 1].
        painted: `[B, H, W, 3]`.
        mask: `[B, H, W, 1]`, 1.0 = hole.
    """
    squared = ops.sum(mask * (truth - painted) ** 2, axis=(1, 2, 3))
    area = ops.maximum(ops.sum(mask, axis=(1, 2, 3)) * truth.shape[-1], 1.0)
    # A hole of a few flat pixels must not outweigh the batch.
    return ops.mean(ops.log(squared / area + 1e-3))


class TotalVariationLoss:
    """Smoothness of the hole and its seam (partial convolutions, arXiv 1804.07723).

    `sum(|x[i, j+1] - x[i, j]| + |x[i+1, j] - x[i, j]|) / (3 * |P|)` over pairs of
    neighbours that both lie in P, the hole grown by one pixel; |P| is its number of
    pixels in the batch. The paper divides by the photo's, so that a small hole counts
    less; ours counts every pixel of a hole alike, as `masked_l1` does.

    Call with `completed`: `[B, H, W, 3]`, painted in the hole and true outside; and
    `mask`: `[B, H, W, 1]`, 1.0 = hole.
    """

    def __call__(self, completed: object, mask: object) -> object:
        region = ops.max_pool(mask, 3, 1, padding="same")
        down = ops.abs(completed[:, 1:] - completed[:, :-1])
        right = ops.abs(completed[:, :, 1:] - completed[:, :, :-1])
        total = ops.sum(down * region[:, 1:] * region[:, :-1])
        total = total + ops.sum(right * region[:, :, 1:] * region[:, :, :-1])
        return replicas.ratio(total, ops.sum(region) * completed.shape[-1], 1e-6)


class LabelColourLoss:
    """The hole's part of a garment has the colour of the part that is seen. Our choice.

    `sum_l a_l * mean(|painted_l - seen_l|) / sum_l a_l` over the batch's samples and
    labels: `painted_l` is the mean colour of label l inside the hole, `seen_l` the
    truth's mean colour of it outside, `a_l` its area inside. A label counts where at
    least `smallest` of the photo shows it, and it has a pixel in the hole. Left and
    right arms, legs and shoes are one label each. The background is left out: it is not
    one thing, and what is seen of it says little of what is hidden.

    A map of probabilities is weighed by them, where they are at least 0.5: a faint
    suspicion all over the photo is no label.

    Args:
        smallest: Part of the photo's area that must show a label.

    Call with `truth, painted`: `[B, H, W, 3]`; `mask`: `[B, H, W, 1]`, 1.0 = hole; and
    `parsing`: `[B, H, W, 20]` probabilities. Without a label that counts it is 0.
    """

    def __init__(self, smallest: float = 0.002) -> None:
        self.smallest = smallest
        merged = np.minimum(np.arange(NUM_LABELS), FLIPPED_LABELS)
        kinds = np.unique(merged)[1:]
        self.merge = (merged[:, None] == kinds).astype(np.float32)

    def __call__(
        self, truth: object, painted: object, mask: object, parsing: object
    ) -> object:
        sure = ops.matmul(parsing, ops.convert_to_tensor(self.merge))
        sure = ops.where(sure >= 0.5, sure, 0.0)
        hidden, hidden_area = _mean_colours(painted, sure * mask)
        seen, seen_area = _mean_colours(truth, sure * (1.0 - mask))
        photo = truth.shape[1] * truth.shape[2]
        counts = (seen_area >= self.smallest * photo) & (hidden_area >= 1.0)
        weights = ops.where(counts, hidden_area, 0.0)
        difference = ops.mean(ops.abs(hidden - ops.stop_gradient(seen)), axis=-1)
        return replicas.ratio(ops.sum(weights * difference), ops.sum(weights), 1e-6)


def _mean_colours(image: object, labels: object) -> tuple[object, object]:
    """Colours `[B, L, 3]` and areas in pixels `[B, L]` of weighted labels."""
    area = ops.sum(labels, axis=(1, 2))
    colours = ops.einsum("bhwl,bhwc->blc", labels, image)
    return colours / ops.maximum(area, 1e-6)[..., None], area
