"""A convolution over what is known alone."""

import keras
from keras import initializers

from portrait_tf.compat import ops
from portrait_tf.layers.layer import ConfigLayer


@keras.saving.register_keras_serializable("portrait_tf")
class PartialConv2D(ConfigLayer):
    """Convolution of known values, scaled by how many of them the window holds.

    Source: *Image Inpainting for Irregular Holes Using Partial Convolutions* (arXiv
    1804.07723, equations 1 and 2). With `known` 1 where a value is known, `window` the
    values a window has (its pixels times the input channels), and the sum over those:

        ratio = window / (sum(known) + epsilon) * clip(sum(known), 0, 1)
        values = (convolution(values * known) * ratio + bias) * known_after
        known_after = clip(sum(known), 0, 1)

    What lies beyond the border counts as unknown. A window without any known value
    gives 0, and stays unknown.

    Args:
        filters: Output channels.
        kernel_size: Height and width of the window.
        strides: Of both axes.
        use_bias: Whether there is a bias, which is added to known values alone.

    Call with `[values, known]`, both `[B, H, W, C]`; the opposite of a mask: `known` is
    1.0 where a value is known, 0.0 in the hole, and may differ between channels.
    Returns both at the new size, `[B, H', W', filters]`.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        strides: int = 1,
        use_bias: bool = True,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.use_bias = use_bias

    def build(self, shapes: list) -> None:
        side = self.kernel_size
        self.kernel = self.add_weight(
            name="kernel",
            shape=(side, side, shapes[0][-1], self.filters),
            initializer=initializers.HeNormal(),
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias", shape=(self.filters,), initializer="zeros"
            )
        self.built = True

    def call(self, inputs: list) -> list:
        values, known = inputs
        side, channels = self.kernel_size, values.shape[-1]
        raw = ops.conv(
            values * known, self.kernel, strides=self.strides, padding="same"
        )
        # Counts are exact in 32 bits, not in 16.
        count = ops.conv(
            ops.sum(ops.cast(known, "float32"), axis=-1, keepdims=True),
            ops.ones((side, side, 1, 1), dtype="float32"),
            strides=self.strides,
            padding="same",
        )
        known = ops.clip(count, 0.0, 1.0)
        epsilon = 1e-8 if self.compute_dtype == "float32" else 1e-6
        ratio = side * side * channels / (count + epsilon) * known
        known = ops.cast(known, raw.dtype)
        values = raw * ops.cast(ratio, raw.dtype)
        if self.use_bias:
            values = (values + self.bias) * known
        return [values, ops.repeat(known, self.filters, axis=-1)]

    def compute_output_shape(self, shapes: list) -> list:
        batch, height, width, _ = shapes[0]
        height, width = (
            None if side is None else -(-side // self.strides)
            for side in (height, width)
        )
        return [(batch, height, width, self.filters)] * 2
