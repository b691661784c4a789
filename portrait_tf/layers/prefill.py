"""First, smooth guesses for the colors of a hole; none has parameters.

A network that paints on top of such a guess starts from continuous colors and learns
only what differs. They compute in float32 under any dtype policy: what is relaxed
dozens of times in bfloat16 ends far off.
"""

import math

import keras
import numpy as np

from portrait_tf.compat import Tensor, ops
from portrait_tf.labels import NUM_LABELS
from portrait_tf.layers.layer import ConfigLayer
from portrait_tf.layers.upsampling import resize_bilinear

_SUMS = np.kron(np.eye(3), np.ones((NUM_LABELS, 1)))[None, None].astype(np.float32)
"""Adds up labels' red, green and blue."""


def diffuse(values: Tensor, weights: Tensor, levels: int, relaxations: int) -> Tensor:
    """Spreads known values into the unknown, down and up a pyramid.

    The known values are averaged over ever larger squares (push) until nothing is
    unknown; on the way back (pull) each level keeps what it knows, takes the rest from
    the coarser one, and relaxes it towards a membrane: each unknown value becomes the
    mean of its surroundings, as Jacobi's method solves Laplace's equation.

    Source: push and pull from Gortler et al., *The Lumigraph* (SIGGRAPH 1996), section
    3.4; the relaxations are our choice, and make of it a multigrid solver.

    Args:
        values: `[B, H, W, n * C]`, channel i belongs to group i modulo C; read where
            known alone.
        weights: `[B, H, W, C]`, how well a group is known, 0 to 1.
        levels: Number of halvings; 8 reach across 256 pixels.
        relaxations: Per level.

    Returns:
        `[B, H, W, n * C]`: the values where `weights` is 1. A group without any known
        value is 0.
    """
    groups = weights.shape[-1]
    repeats = values.shape[-1] // groups

    def spread(x: Tensor) -> Tensor:
        return ops.concatenate([x] * repeats, axis=-1)

    values = values * spread(weights)
    pyramid = [(values, weights)]
    for _ in range(levels):
        joined = ops.concatenate([values, weights], axis=-1)
        pooled = ops.average_pool(joined, 2, 2, padding="same")
        values, weights = pooled[..., :-groups], pooled[..., -groups:]
        # A quarter known counts as known: else thin, far remains would be outvoted by
        # the coarse average beside them.
        gain = ops.minimum(4.0 * weights, 1.0) / ops.maximum(weights, 1e-6)
        values, weights = values * spread(gain), weights * gain
        pyramid.append((values, weights))
    filled = values / spread(ops.maximum(weights, 1e-6))
    steps = _steps(relaxations)
    for known, weights in pyramid[-2::-1]:
        unknown = 1.0 - spread(weights)
        size = tuple(ops.shape(known)[1:3])
        filled = known + unknown * resize_bilinear(filled, size)
        share = unknown / _sum_3x3(ops.ones((1, *size, 1), dtype=known.dtype))
        for step in steps:
            relaxed = known + share * _sum_3x3(filled)
            filled = filled + step * (relaxed - filled)
    return filled


def _steps(relaxations: int) -> list[float]:
    """Steps of a few relaxations that do what many plain ones do.

    A plain relaxation takes an error whose eigenvalue is e, 0 to 4/3 for means of 3x3,
    times 1 - e. The steps are the inverses of Chebyshev's nodes of an interval that
    ends at 4/3 (Young, *On Richardson's Method for Solving Linear Systems*, 1953); it
    begins where their sum is the number of plain relaxations, so that both take the
    same from a long wave. Not more than 20 are joined: rounding errors would grow.
    """
    if relaxations < 4:
        return [1.0] * relaxations
    cycles = math.ceil(relaxations / 20)
    wanted = relaxations / cycles
    count = math.ceil(math.sqrt(3 * wanted))
    nodes = np.cos(np.pi * (np.arange(count) + 0.5) / count)
    low, high = 0.0, 4 / 3
    for _ in range(50):
        start = (low + high) / 2
        steps = 2 / (4 / 3 + start + (4 / 3 - start) * nodes)
        low, high = (start, high) if steps.sum() > wanted else (low, start)
    return steps.tolist() * cycles


def _sum_3x3(x: Tensor) -> Tensor:
    """Sums over each pixel's 3x3 neighbors inside the photo: `[B, H, W, C]`.

    As a depth-wise convolution: on a CPU it takes a quarter of the time of shifted
    copies that are added, and those a fifteenth of that of average pooling.
    """
    ones = ops.ones((3, 3, x.shape[-1], 1), dtype=x.dtype)
    return ops.depthwise_conv(x, ones, padding="same")


def _for_colors(x: Tensor) -> Tensor:
    """`[..., C]` for red, green and blue: `[..., 3 * C]`."""
    return ops.concatenate([x] * 3, axis=-1)


@keras.saving.register_keras_serializable("portrait_tf")
class PushPull(ConfigLayer):
    """Fills a hole with a membrane between the colors around it.

    Args:
        levels: Number of halvings; 8 reach across 256 pixels.
        relaxations: Per level.

    Call with `[image, mask]`: `[B, H, W, C]` and `[B, H, W, 1]`, 1.0 = hole. Returns
    `[B, H, W, C]`; known pixels are unchanged. A hole without any known pixel is 0.
    """

    def __init__(
        self, levels: int = 8, relaxations: int = 12, **kwargs: object
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.levels = levels
        self.relaxations = relaxations

    def call(self, inputs: list) -> Tensor:
        image, mask = inputs
        return diffuse(image, 1.0 - mask, self.levels, self.relaxations)


@keras.saving.register_keras_serializable("portrait_tf")
class ParsingGuidedFill(ConfigLayer):
    """Fills a hole label by label: trousers go on as trousers, a wall as a wall.

    Each label's colors spread from its own known pixels; at every pixel of the hole
    the labels' answers are mixed by the parsing map. A label that is not seen anywhere
    takes the colors of whatever is near. What this gets wrong at the known pixels is
    then taken as a membrane and added, so that there is no seam. Label colors are
    smooth and spread at a part of the resolution, where many relaxations cost little;
    too few leave a bias towards far colors.

    Our choice: it gives the network the paper's idea, that structure guides color,
    before anything is learned.

    Args:
        levels: Halvings of the membrane's pyramid.
        relaxations: Per level, of the membrane.
        label_relaxations: Per level, of the labels' colors.
        label_stride: At which those spread, a power of 2 from 4 on. Twice the stride
            needs a quarter of the relaxations to reach as far.

    Call with `[image, mask, parsing]`: `[B, H, W, 3]`, `[B, H, W, 1]`, 1.0 = hole, and
    `[B, H, W, 20]`; H and W must be multiples of `label_stride`. Returns
    `[B, H, W, 3]`; known pixels are unchanged.
    """

    def __init__(
        self,
        levels: int = 8,
        relaxations: int = 8,
        label_relaxations: int = 80,
        label_stride: int = 4,
        **kwargs: object,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.levels = levels
        self.relaxations = relaxations
        self.label_relaxations = label_relaxations
        self.label_stride = label_stride

    def call(self, inputs: list) -> Tensor:
        image, mask, parsing = inputs
        known = 1.0 - mask
        batch, height, width = ops.shape(image)[:3]
        seen = ops.concatenate([image * known, known], axis=-1)
        colors, mix = (ops.average_pool(one, 2, 2) for one in (seen, parsing))
        # The last group is every label at once, for those that are not seen.
        shares = ops.concatenate([mix, ops.ones_like(mix[..., :1])], axis=-1)
        groups = NUM_LABELS + 1
        # All groups' red first, then their green, their blue and their weights: what
        # applies to a group is then repeated by one concatenation.
        factor = self.label_stride // 2
        rows, columns = height // self.label_stride, width // self.label_stride
        colors, shares = (
            ops.reshape(
                ops.transpose(
                    ops.reshape(
                        one, (batch, rows, factor, columns, factor, one.shape[-1])
                    ),
                    axes,
                ),
                (batch, rows, columns, *shape),
            )
            for one, axes, shape in (
                (colors, (0, 1, 3, 5, 2, 4), (4, factor**2)),
                (shares, (0, 1, 3, 2, 4, 5), (factor**2, groups)),
            )
        )
        small = ops.matmul(colors, shares) / factor**2
        small = ops.reshape(small, (batch, rows, columns, 4 * groups))
        weights = small[..., -groups:]
        least = ops.maximum(weights, 1e-6)
        values = small[..., :-groups] / _for_colors(least)
        levels = self.levels - self.label_stride.bit_length() + 1
        spread = diffuse(values, weights, levels, self.label_relaxations)
        # A hundredth of the photo is enough to know a label's color by.
        seen = ops.minimum(
            100.0 * ops.mean(weights[..., :-1], axis=(1, 2), keepdims=True), 1.0
        )

        def of_labels(c: int) -> Tensor:
            group = spread[..., c * groups : (c + 1) * groups]
            return seen * group[..., :-1] + (1.0 - seen) * group[..., -1:]

        spread = ops.concatenate([of_labels(c) for c in range(3)], axis=-1)
        spread = resize_bilinear(spread, (height // 2, width // 2))
        guess = ops.conv(spread * _for_colors(mix), ops.convert_to_tensor(_SUMS))
        guess = resize_bilinear(guess, (height, width))
        error = diffuse(image - guess, known, self.levels, self.relaxations)
        return known * image + mask * (guess + error)
