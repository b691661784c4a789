"""Layers that enlarge feature maps.

Keras' own `UpSampling2D` fails with dynamic height and width inside a `tf.function`
(bilinear) or under XLA (nearest); these do not.
"""

import keras
import numpy as np

from portrait_tf.compat import Tensor, ops
from portrait_tf.layers.layer import ConfigLayer


def resize_bilinear(x: Tensor, size: tuple) -> Tensor:
    """Resizes `[B, H, W, C]` to `size` (height, width), pixel centers aligned."""
    return ops.image.resize(x, size, interpolation="bilinear")


_FILTERS = {
    "blur": np.array([1, 2, 1], np.float32) / 4,
    # What a sixth difference leaves: 1 - sin(w / 2) ** 6.
    "notch": np.array([1, -6, 15, 44, 15, -6, 1], np.float32) / 64,
}


@keras.saving.register_keras_serializable("portrait_tf")
class PixelShuffle(ConfigLayer):
    """Moves channels into space: `[B, H, W, f*f*C]` -> `[B, f*H, f*W, C]`.

    Source: Shi et al., *Real-Time Single Image Super-Resolution* (arXiv 1609.05158).

    Args:
        factor: How much larger height and width become.
        smooth: A fixed filter follows. After a factor of 2 it takes away exactly what
            differs from one channel's place to the next's: the checkerboard (Sugawara
            et al., arXiv 1806.02658). `blur` is [1, 2, 1] / 4 in both directions, for
            features. `notch` takes away the checkerboard and little else, for photos:
            seven eighths of a pattern of four pixels are left. `none` for no filter.
    """

    def __init__(self, factor: int = 2, smooth: str = "none", **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.factor = factor
        self.smooth = smooth

    def call(self, x: Tensor) -> Tensor:
        shape = ops.shape(x)
        height, width, channels = shape[1], shape[2], x.shape[3]
        f = self.factor
        x = ops.reshape(x, (-1, height, width, f, f, channels // (f * f)))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        x = ops.reshape(x, (-1, height * f, width * f, channels // (f * f)))
        return x if self.smooth == "none" else _filtered(x, _FILTERS[self.smooth])

    def compute_output_shape(self, shape: tuple) -> tuple:
        f = self.factor
        height, width = (None if n is None else n * f for n in shape[1:3])
        return (shape[0], height, width, shape[3] // (f * f))


def _filtered(x: Tensor, line: np.ndarray) -> Tensor:
    """`[B, H, W, C]` under a filter in both directions, its border repeated."""
    kernel = np.tile(np.outer(line, line)[..., None, None], (1, 1, x.shape[-1], 1))
    for axis in (1, 2):
        x = _mirrored(x, len(line) // 2, axis)
    return ops.depthwise_conv(
        x, ops.convert_to_tensor(kernel, dtype=x.dtype), padding="valid"
    )


def _mirrored(x: Tensor, edge: int, axis: int) -> Tensor:
    """As `ops.pad(mode="symmetric")`, which ONNX has to put together from scatters."""

    def part(start: int, stop: int | None) -> Tensor:
        return x[(*[slice(None)] * axis, slice(start, stop))]

    start = [part(n, n + 1) for n in reversed(range(edge))]
    end = [part(-n - 1, -n or None) for n in range(edge)]
    return ops.concatenate([*start, x, *end], axis=axis)


@keras.saving.register_keras_serializable("portrait_tf")
class Upsample(ConfigLayer):
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

    def call(self, x: Tensor) -> Tensor:
        shape = ops.shape(x)
        size = (shape[1] * self.factor, shape[2] * self.factor)
        return ops.image.resize(x, size, interpolation=self.interpolation)

    def compute_output_shape(self, shape: tuple) -> tuple:
        height, width = (None if n is None else n * self.factor for n in shape[1:3])
        return (shape[0], height, width, shape[3])
