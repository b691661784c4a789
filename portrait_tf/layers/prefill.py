"""A first, smooth guess for the colours of a hole."""

import keras

from portrait_tf.compat import ops
from portrait_tf.layers.upsampling import resize_bilinear


class PushPull(keras.layers.Layer):
    """Fills a hole with normalised averages from down a pyramid; has no parameters.

    The known pixels are averaged over ever larger squares (push) until nothing is
    unknown; on the way back (pull) each level keeps what it knows and takes the rest
    from the coarser one. A network that paints on top starts from continuous colours
    and learns only what differs.

    Source: Gortler et al., *The Lumigraph* (SIGGRAPH 1996), section 3.4; here with
    bilinear enlargement.

    Args:
        levels: Number of halvings; 8 reach across 256 pixels.

    Call with `[image, mask]`: `[B, H, W, C]` and `[B, H, W, 1]`, 1.0 = hole. Returns
    `[B, H, W, C]`; known pixels are unchanged. A hole without any known pixel is 0.
    """

    def __init__(self, levels: int = 8, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.levels = levels

    def call(self, inputs: list) -> object:
        image, mask = inputs
        weight = 1.0 - mask
        pyramid = [(image * weight, weight)]
        sizes = [ops.shape(image)[1:3]]
        for _ in range(self.levels):
            total, weight = pyramid[-1]
            pooled = ops.average_pool(
                ops.concatenate([total, weight], axis=-1), 2, 2, padding="same"
            )
            # More than a quarter known counts as known: else thin, far remains of
            # the photo would be outvoted by the coarse average beside them.
            weight = pooled[..., -1:]
            gain = ops.minimum(4.0 * weight, 1.0) / ops.maximum(weight, 1e-6)
            pyramid.append((pooled[..., :-1] * gain, weight * gain))
            sizes.append(ops.shape(pooled)[1:3])
        total, weight = pyramid[-1]
        filled = total / ops.maximum(weight, 1e-6)
        for (total, weight), size in zip(pyramid[-2::-1], sizes[-2::-1], strict=True):
            filled = total + (1.0 - weight) * resize_bilinear(filled, tuple(size))
        return image * (1.0 - mask) + filled * mask

    def compute_output_shape(self, shapes: list) -> tuple:
        return tuple(shapes[0])

    def get_config(self) -> dict:
        return {**super().get_config(), "levels": self.levels}
