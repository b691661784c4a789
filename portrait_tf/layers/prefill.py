"""First, smooth guesses for the colors of a hole; none has parameters.

A network that paints on top of such a guess starts from continuous colors and learns
only what differs. They compute in float32 under any dtype policy: what is relaxed
dozens of times in bfloat16 ends far off.
"""

from collections.abc import Callable

import keras

from portrait_tf.compat import Tensor, ops
from portrait_tf.labels import NUM_LABELS
from portrait_tf.layers.layer import ConfigLayer
from portrait_tf.layers.upsampling import resize_bilinear


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
    for known, weights in pyramid[-2::-1]:
        unknown = 1.0 - spread(weights)
        size = tuple(ops.shape(known)[1:3])
        filled = known + unknown * resize_bilinear(filled, size)
        share = unknown / _sum_3x3(ops.ones_like(known[..., :1]))

        # A loop in the graph: hundreds of copies of its body would bloat an export.
        def relax(_: Tensor, values: Tensor, known=known, share=share) -> Tensor:  # noqa: ANN001
            return known + share * _sum_3x3(values)

        filled = ops.fori_loop(0, relaxations, relax, filled)
    return filled


def _sum_3x3(x: Tensor) -> Tensor:
    """Sums over each pixel's 3x3 neighbours inside the photo: `[B, H, W, C]`.

    As a depth-wise convolution: on a CPU it takes a quarter of the time of shifted
    copies that are added, and those a fifteenth of that of average pooling.
    """
    ones = ops.ones((3, 3, x.shape[-1], 1), dtype=x.dtype)
    return ops.depthwise_conv(x, ones, padding="same")


def _by_channel(part: Callable[[int], Tensor]) -> Tensor:
    """Joins what `part` gives for red, green and blue."""
    return ops.concatenate([part(channel) for channel in range(3)], axis=-1)


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
        height, width = ops.shape(image)[1:3]
        half = ops.average_pool(
            ops.concatenate([image * known, known, parsing], axis=-1), 2, 2
        )
        weight = half[..., 3:4]
        colors = half[..., :3] / ops.maximum(weight, 1e-6)
        mix = half[..., 4:]
        # The last group is every label at once, for those that are not seen.
        weights = weight * ops.concatenate([mix, ops.ones_like(weight)], axis=-1)
        groups = NUM_LABELS + 1
        # All groups' red first, then their green, then their blue: what applies to a
        # group is then repeated by one concatenation, where an interleaved order takes
        # dozens of graph nodes, which a server has to optimize at every load.
        values = _by_channel(lambda c: weights * colors[..., c : c + 1])
        factor = self.label_stride // 2
        small = ops.concatenate([values, weights], axis=-1)
        small = ops.average_pool(small, factor, factor)
        weights = small[..., -groups:]
        least = ops.maximum(weights, 1e-6)
        values = small[..., :-groups] / _by_channel(lambda _: least)
        levels = self.levels - self.label_stride.bit_length() + 1
        spread = diffuse(values, weights, levels, self.label_relaxations)
        # A hundredth of the photo is enough to know a label's color by.
        seen = ops.minimum(
            100.0 * ops.mean(weights[..., :-1], axis=(1, 2), keepdims=True), 1.0
        )

        def of_labels(c: int) -> Tensor:
            group = spread[..., c * groups : (c + 1) * groups]
            return seen * group[..., :-1] + (1.0 - seen) * group[..., -1:]

        spread = resize_bilinear(_by_channel(of_labels), (height // 2, width // 2))
        mixed = spread * _by_channel(lambda _: mix)
        guess = _by_channel(
            lambda c: ops.sum(
                mixed[..., c * NUM_LABELS : (c + 1) * NUM_LABELS], -1, keepdims=True
            )
        )
        guess = resize_bilinear(guess, (height, width))
        error = diffuse(image - guess, known, self.levels, self.relaxations)
        return known * image + mask * (guess + error)
