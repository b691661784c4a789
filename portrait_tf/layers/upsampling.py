"""Layers that enlarge feature maps.

Keras' own `UpSampling2D` fails with dynamic height and width inside a `tf.function`
(bilinear) or under XLA (nearest); these do not.
"""

import keras

from portrait_tf.compat import ops


def resize_bilinear(x: object, size: tuple) -> object:
    """Resizes `[B, H, W, C]` to `size` (height, width), pixel centres aligned."""
    return ops.image.resize(x, size, interpolation="bilinear")


class PixelShuffle(keras.layers.Layer):
    """Moves channels into space: `[B, H, W, f*f*C]` -> `[B, f*H, f*W, C]`.

    Source: Shi et al., *Real-Time Single Image Super-Resolution* (arXiv 1609.05158).

    Args:
        factor: How much larger height and width become.
    """

    def __init__(self, factor: int = 2, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x: object) -> object:
        shape = ops.shape(x)
        height, width, channels = shape[1], shape[2], x.shape[3]
        f = self.factor
        x = ops.reshape(x, (-1, height, width, f, f, channels // (f * f)))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (-1, height * f, width * f, channels // (f * f)))

    def compute_output_shape(self, shape: tuple) -> tuple:
        f = self.factor
        height, width = (None if n is None else n * f for n in shape[1:3])
        return (shape[0], height, width, shape[3] // (f * f))

    def get_config(self) -> dict:
        return {**super().get_config(), "factor": self.factor}


class Upsample(keras.layers.Layer):
    """Enlargement by a whole factor: `[B, H, W, C]` -> `[B, f*H, f*W, C]`.

    Args:
        factor: How much larger height and width become.
        interpolation: `bilinear` or `nearest`.
    """

    def __init__(
        self, factor: int = 2, interpolation: str = "bilinear", **kwargs: object
    ) -> None:
        super().__init__(**kwargs)
        self.factor = factor
        self.interpolation = interpolation

    def call(self, x: object) -> object:
        shape = ops.shape(x)
        size = (shape[1] * self.factor, shape[2] * self.factor)
        return ops.image.resize(x, size, interpolation=self.interpolation)

    def compute_output_shape(self, shape: tuple) -> tuple:
        height, width = (None if n is None else n * self.factor for n in shape[1:3])
        return (shape[0], height, width, shape[3])

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "factor": self.factor,
            "interpolation": self.interpolation,
        }
