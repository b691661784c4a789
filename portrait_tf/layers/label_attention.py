"""Attention from all positions of a feature map to the known ones."""

import keras
import numpy as np

from portrait_tf.compat import Tensor, build_sublayer, ops
from portrait_tf.labels import FLIPPED_LABELS, NUM_LABELS
from portrait_tf.layers.layer import ConfigLayer

# Left and right of a pair become one label: what they wear is of one design.
_DESIGNS = np.eye(NUM_LABELS, dtype=np.float32)[
    np.minimum(np.arange(NUM_LABELS), FLIPPED_LABELS)
]


@keras.saving.register_keras_serializable("portrait_tf")
class LabelAttention(ConfigLayer):
    """Gathers features from known positions, preferably of the same label.

    A hidden shoe can so be painted like the visible one. Queries are all positions;
    keys and values are the known ones. The values are the features and the mean known
    color of the position's cell. With `same_label`, `log(agreement + epsilon)` is added
    to the logits. The agreement of two positions is the dot product of their label
    probabilities, in which left and right of shoes, legs and arms are one label; where
    no known position agrees, all count equally. Logits and softmax are float32 under
    any policy. Features are not mirrored; the convolutions around the layer can do so.

    Memory grows with the square of the number of positions: N² floats a sample each for
    logits and weights, 0.6 MB at 24x16 (192x128 at stride 8), 4 MB at 32x32. Do not use
    the layer at full resolution.

    Sources: *Generative Image Inpainting with Contextual Attention* (arXiv 1801.07892)
    for attention from the hole to known features; scaled dot products from *Attention
    Is All You Need* (arXiv 1706.03762, section 3.2.1). The agreement of labels and the
    colors among the values are our choice.

    Args:
        width: Channels of queries, keys and values.
        same_label: Whether positions of one label are preferred; takes the map.
        stride: How much smaller the features are than photo, mask and map.
        largest_hole: A position is known if no more of its cell is in the hole.
        epsilon: Added to the agreement.

    Call with `[features, image, mask]` and, if `same_label`, `parsing`: `[B, h, w, C]`,
    `[B, H, W, 3]`, its hole not read, `[B, H, W, 1]`, 1.0 = hole, and `[B, H, W, 20]`
    probabilities. Returns `[B, h, w, C]`, to be added to the features: zeros from a
    fresh layer, and for a sample without a known position.
    """

    def __init__(
        self,
        width: int,
        same_label: bool = True,
        stride: int = 8,
        largest_hole: float = 0.1,
        epsilon: float = 1e-6,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.same_label = same_label
        self.stride = stride
        self.largest_hole = largest_hole
        self.epsilon = epsilon
        self.query, self.key, self.value = (
            keras.layers.Conv2D(width, 1, name=name, dtype=self.dtype_policy)
            for name in ("query", "key", "value")
        )

    def build(self, shapes: list) -> None:
        *positions, channels = shapes[0]
        build_sublayer(self.query, shapes[0])
        build_sublayer(self.key, shapes[0])
        build_sublayer(self.value, (*positions, channels + 3))
        # Without a bias: nothing gathered adds nothing.
        self.output_projection = keras.layers.Conv2D(
            channels,
            1,
            use_bias=False,
            kernel_initializer="zeros",
            name="output",
            dtype=self.dtype_policy,
        )
        build_sublayer(self.output_projection, (*positions, self.width))
        super().build(shapes)

    def _cells(self, x: Tensor) -> Tensor:
        return ops.average_pool(x, self.stride, self.stride)

    def _known(self, mask: Tensor) -> Tensor:
        """`[B, 1, N]` float32: 1.0 where a position is known."""
        hidden = self._cells(ops.cast(mask, "float32"))
        known = ops.cast(hidden <= self.largest_hole, "float32")
        return ops.reshape(known, (-1, 1, known.shape[1] * known.shape[2]))

    def attention(
        self, features: Tensor, mask: Tensor, parsing: Tensor | None = None
    ) -> Tensor:
        """How much each position (row) takes from each (column).

        Args:
            features: As the layer is called with, like the others.
            mask: See `features`.
            parsing: See `features`.

        Returns:
            `[B, N, N]` float32; rows add up to 1, or to 0 where nothing is known.
        """
        query, key = (
            ops.cast(_flat(project(features)), "float32")
            for project in (self.query, self.key)
        )
        logits = ops.einsum("bqc,bkc->bqk", query, key) / self.width**0.5
        if self.same_label:
            designs = _flat(self._cells(ops.cast(parsing, "float32")))
            designs = ops.matmul(designs, _DESIGNS)
            agreement = ops.einsum("bqc,bkc->bqk", designs, designs)
            logits = logits + ops.log(agreement + self.epsilon)
        known = self._known(mask)
        # The product tells a sample of which nothing is known from all others.
        return ops.softmax(logits + 1e9 * (known - 1.0), axis=-1) * known

    def call(self, inputs: list) -> Tensor:
        features, image, mask, *parsing = inputs
        weights = self.attention(features, mask, *parsing)
        seen = 1.0 - ops.cast(mask, "float32")
        colors = self._cells(ops.cast(image, "float32") * seen)
        colors = colors / ops.maximum(self._cells(seen), 1e-3)
        values = self.value(
            ops.concatenate([features, ops.cast(colors, features.dtype)], axis=-1)
        )
        gathered = ops.einsum(
            "bqk,bkc->bqc", weights, ops.cast(_flat(values), "float32")
        )
        height, width = features.shape[1:3]
        gathered = ops.reshape(gathered, (-1, height, width, self.width))
        return self.output_projection(ops.cast(gathered, features.dtype))


def _flat(x: Tensor) -> Tensor:
    """`[B, h, w, C]` -> `[B, h * w, C]`."""
    return ops.reshape(x, (-1, x.shape[1] * x.shape[2], x.shape[3]))
