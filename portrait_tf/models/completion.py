"""Stage 2: paints the hole, guided by the parsing map.

Photos are RGB in [-1, 1], their hole set to 0; masks are 1.0 in the hole; the parsing
map comes as 20 probabilities.
"""

import keras
from keras import layers

from portrait_tf.labels import NUM_LABELS
from portrait_tf.layers import ParsingGuidedFill, PixelShuffle, PushPull
from portrait_tf.models.blocks import (
    check_size,
    global_context,
    plain_conv,
    plain_residual_block,
)


@keras.saving.register_keras_serializable("portrait_tf")
class CompletionNetwork(keras.Model):
    """Encoder, dilated residual middle, decoder with skips.

    Inputs and shape follow *Deep Portrait Image Completion and Extrapolation* (arXiv
    1808.07757, stage 2), the dilated middle Iizuka et al. (*Globally and Locally
    Consistent Image Completion*, SIGGRAPH 2017). The paper's layer table is not known
    to us: widths, skips and pixel-shuffle ends are our choice, made so that no
    convolution runs at full resolution. So are `prefill`, a smooth guess that the
    network adds to, so that it starts without a seam, and the lack of normalisation.

    Args:
        size: Height and width; multiples of 8.
        widths: Channels at strides 2, 4 and 8.
        dilations: One residual block of the middle, at stride 8, each.
        prefill: What the output is a difference to: `parsing`, each label's colours
            spread over its part of the hole; `plain`, a membrane; `none`, the photo
            with its hole.

    Call with `{"image": [B, H, W, 3], "parsing": [B, H, W, 20], "mask": [B, H, W, 1]}`.
    Returns `{"painted": [B, H, W, 3]}`, the whole photo repainted, not clipped.

    Example:

    ```python
    network = CompletionNetwork(size=(192, 128))
    painted = network({"image": photos * (1 - masks), "parsing": p, "mask": masks})
    ```
    """

    def __init__(
        self,
        size: tuple[int, int] = (192, 128),
        widths: tuple[int, int, int] = (32, 64, 128),
        dilations: tuple[int, ...] = (1, 2, 4, 8, 2, 1),
        prefill: str = "parsing",
        **kwargs: object,
    ) -> None:
        check_size(size, 8)
        # === Layers and Functional Model ===
        image = keras.Input((*size, 3), name="image")
        parsing = keras.Input((*size, NUM_LABELS), name="parsing")
        mask = keras.Input((*size, 1), name="mask")
        if prefill == "parsing":
            start = ParsingGuidedFill(name="prefill")([image, mask, parsing])
        elif prefill == "plain":
            start = PushPull(name="prefill")([image, mask])
        else:
            start = image
        x = layers.Concatenate(name="inputs")([start, parsing, mask])
        x = plain_conv(x, widths[0], "stride2", kernel_size=5, strides=2)
        stride2 = x
        x = plain_conv(x, widths[1], "stride4_down", strides=2)
        x = plain_conv(x, widths[1], "stride4")
        stride4 = x
        x = plain_conv(x, widths[2], "stride8", strides=2)
        for index, dilation in enumerate(dilations):
            x = plain_residual_block(x, f"middle_block{index + 1}", dilation)
        x = global_context(x, "context")
        x = layers.Conv2D(4 * widths[1], 1, name="decode4_enlarge")(x)
        x = PixelShuffle(2, name="decode4_shuffle")(x)
        x = layers.Concatenate(name="decode4_skip")([x, stride4])
        x = plain_conv(x, widths[1], "decode4")
        x = layers.Conv2D(4 * widths[0], 1, name="decode2_enlarge")(x)
        x = PixelShuffle(2, name="decode2_shuffle")(x)
        x = layers.Concatenate(name="decode2_skip")([x, stride2])
        x = plain_conv(x, widths[0], "decode2")
        x = layers.Conv2D(
            12, 3, padding="same", kernel_initializer="zeros", name="painted_conv"
        )(x)
        x = PixelShuffle(2, name="painted_shuffle")(x)
        # In float32 under any policy: bfloat16 has but 256 greys.
        painted = layers.Add(name="painted", dtype="float32")([x, start])
        super().__init__(
            inputs={"image": image, "parsing": parsing, "mask": mask},
            outputs={"painted": painted},
            **kwargs,
        )
        # === Config ===
        self.size = tuple(size)
        self.widths = tuple(widths)
        self.dilations = tuple(dilations)
        self.prefill = prefill

    def get_config(self) -> dict:
        return {
            "size": self.size,
            "widths": self.widths,
            "dilations": self.dilations,
            "prefill": self.prefill,
            "name": self.name,
        }

    @classmethod
    def from_config(
        cls, config: dict, custom_objects: dict | None = None
    ) -> "CompletionNetwork":
        return cls(**config)
