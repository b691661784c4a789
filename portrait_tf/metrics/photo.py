"""Peak signal-to-noise ratio of holes."""

import keras

from portrait_tf.compat import Tensor, ops


def hole_psnr(y_true: Tensor, y_pred: Tensor, mask: Tensor) -> Tensor:
    """Peak signal-to-noise ratio over the hole alone, in dB: `[B]`.

    Args:
        y_true: `[B, H, W, 3]` in [-1, 1].
        y_pred: The same shape; clipped here.
        mask: `[B, H, W, 1]`, 1.0 = hole.
    """
    error = mask * (y_true - ops.clip(y_pred, -1.0, 1.0)) ** 2
    area = ops.maximum(ops.sum(mask, axis=(1, 2, 3)) * y_true.shape[-1], 1.0)
    mean = ops.sum(error, axis=(1, 2, 3)) / area
    return 10.0 * ops.log10(4.0 / ops.maximum(mean, 1e-8))


@keras.saving.register_keras_serializable("portrait_tf")
class HolePSNR(keras.metrics.Mean):
    """Mean of `hole_psnr` over photos.

    Update with its arguments, and, to weight the photos, `sample_weight` `[B]`.
    """

    def update_state(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        mask: Tensor,
        sample_weight: Tensor | None = None,
    ) -> None:
        super().update_state(hole_psnr(y_true, y_pred, mask), sample_weight)
