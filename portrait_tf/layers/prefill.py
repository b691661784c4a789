"""First, smooth guesses for the colours of a hole; none has parameters.

A network that paints on top of such a guess starts from continuous colours and learns
only what differs. They compute in float32 under any dtype policy: what is relaxed
dozens of times in bfloat16 ends far off.
"""

import keras

from portrait_tf.compat import ops
from portrait_tf.labels import NUM_LABELS
from portrait_tf.layers.upsampling import resize_bilinear


def diffuse(values: object, weights: object, levels: int, relaxations: int) -> object:
    """Spreads known values into the unknown, down and up a pyramid.

    The known values are averaged over ever larger squares (push) until nothing is
    unknown; on the way back (pull) each level keeps what it knows, takes the rest from
    the coarser one, and relaxes it towards a membrane: each unknown value becomes the
    mean of its surroundings, as Jacobi's method solves Laplace's equation.

    Source: push and pull from Gortler et al., *The Lumigraph* (SIGGRAPH 1996), section
    3.4; the relaxations are our choice, and make of it a multigrid solver.

    Args:
        values: `[B, H, W, n * C]`, C groups of n channels; read where known alone.
        weights: `[B, H, W, C]`, how well a group is known, 0 to 1.
        levels: Number of halvings; 8 reach across 256 pixels.
        relaxations: Per level.

    Returns:
        `[B, H, W, n * C]`: the values where `weights` is 1. A group without any known
        value is 0.
    """
    groups = weights.shape[-1]
    repeats = values.shape[-1] // groups

    def spread(x: object) -> object:
        return ops.repeat(x, repeats, axis=-1)

    level = ops.concatenate([values * spread(weights), weights], axis=-1)
    pyramid = [level]
    for _ in range(levels):
        pooled = ops.average_pool(pyramid[-1], 2, 2, padding="same")
        weight = pooled[..., -groups:]
        # A quarter known counts as known: else thin, far remains would be outvoted by
        # the coarse average beside them.
        gain = ops.minimum(4.0 * weight, 1.0) / ops.maximum(weight, 1e-6)
        pyramid.append(
            ops.concatenate([pooled[..., :-groups] * spread(gain), weight * gain], -1)
        )
    coarsest = pyramid[-1]
    filled = coarsest[..., :-groups] / spread(
        ops.maximum(coarsest[..., -groups:], 1e-6)
    )
    for level in pyramid[-2::-1]:
        known = level[..., :-groups]
        unknown = 1.0 - spread(level[..., -groups:])
        size = tuple(ops.shape(level)[1:3])
        filled = known + unknown * resize_bilinear(filled, size)

        # A loop in the graph: hundreds of copies of its body would bloat an export.
        def relax(_: object, values: object, known=known, unknown=unknown) -> object:  # noqa: ANN001
            return known + unknown * ops.average_pool(values, 3, 1, padding="same")

        filled = ops.fori_loop(0, relaxations, relax, filled)
    return filled


class PushPull(keras.layers.Layer):
    """Fills a hole with a membrane between the colours around it.

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

    def call(self, inputs: list) -> object:
        image, mask = inputs
        return diffuse(image, 1.0 - mask, self.levels, self.relaxations)

    def compute_output_shape(self, shapes: list) -> tuple:
        return tuple(shapes[0])

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "levels": self.levels,
            "relaxations": self.relaxations,
        }


class ParsingGuidedFill(keras.layers.Layer):
    """Fills a hole label by label: trousers go on as trousers, a wall as a wall.

    Each label's colours spread from its own known pixels; at every pixel of the hole
    the labels' answers are mixed by the parsing map. A label that is not seen anywhere
    takes the colours of whatever is near. What this gets wrong at the known pixels is
    then taken as a membrane and added, so that there is no seam. Label colours are
    smooth and spread at quarter resolution, where many relaxations cost little; too few
    leave a bias towards far colours.

    Our choice: it gives the network the paper's idea, that structure guides colour,
    before anything is learned.

    Args:
        levels: Halvings of the membrane's pyramid.
        relaxations: Per level, of the membrane.
        label_relaxations: Per level, of the labels' colours.

    Call with `[image, mask, parsing]`: `[B, H, W, 3]`, `[B, H, W, 1]`, 1.0 = hole, and
    `[B, H, W, 20]`; H and W must be multiples of 4. Returns `[B, H, W, 3]`; known
    pixels are unchanged.
    """

    def __init__(
        self,
        levels: int = 8,
        relaxations: int = 8,
        label_relaxations: int = 80,
        **kwargs: object,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.levels = levels
        self.relaxations = relaxations
        self.label_relaxations = label_relaxations

    def call(self, inputs: list) -> object:
        image, mask, parsing = inputs
        known = 1.0 - mask
        height, width = ops.shape(image)[1:3]
        half = ops.average_pool(
            ops.concatenate([image * known, known, parsing], axis=-1), 2, 2
        )
        weight = half[..., 3:4]
        colours = half[..., :3] / ops.maximum(weight, 1e-6)
        mix = half[..., 4:]
        # The last group is every label at once, for those that are not seen.
        weights = weight * ops.concatenate([mix, ops.ones_like(weight)], axis=-1)
        groups = NUM_LABELS + 1
        values = ops.repeat(weights, 3, axis=-1) * ops.tile(colours, (1, 1, 1, groups))
        quarter = ops.average_pool(ops.concatenate([values, weights], axis=-1), 2, 2)
        weights = quarter[..., -groups:]
        values = quarter[..., :-groups] / ops.repeat(
            ops.maximum(weights, 1e-6), 3, axis=-1
        )
        spread = diffuse(values, weights, self.levels - 2, self.label_relaxations)
        # A hundredth of the photo is enough to know a label's colour by.
        seen = ops.minimum(
            100.0 * ops.mean(weights[..., :-1], axis=(1, 2), keepdims=True), 1.0
        )
        seen = ops.repeat(seen, 3, axis=-1)
        other = ops.tile(spread[..., -3:], (1, 1, 1, NUM_LABELS))
        spread = seen * spread[..., :-3] + (1.0 - seen) * other
        spread = resize_bilinear(spread, (height // 2, width // 2))
        mixed = spread * ops.repeat(mix, 3, axis=-1)
        guess = sum(
            mixed[..., 3 * label : 3 * label + 3] for label in range(NUM_LABELS)
        )
        guess = resize_bilinear(guess, (height, width))
        error = diffuse(image - guess, known, self.levels, self.relaxations)
        return known * image + mask * (guess + error)

    def compute_output_shape(self, shapes: list) -> tuple:
        return tuple(shapes[0])

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "levels": self.levels,
            "relaxations": self.relaxations,
            "label_relaxations": self.label_relaxations,
        }
