"""A peer of stage 2: DeepFill v2; it sees no parsing map."""

import keras
from keras import layers

from portrait_tf.compat import Tensor
from portrait_tf.layers import ContextualAttention, Upsample
from portrait_tf.models.blocks import check_size, gated_conv
from portrait_tf.models.network import Network

_DILATIONS = (2, 4, 8, 16)


def _encode(x: Tensor, width: int, name: str) -> Tensor:
    """Six gated convolutions, from full size to stride 4."""
    x = gated_conv(x, width, f"{name}_1", kernel_size=5)
    x = gated_conv(x, 2 * width, f"{name}_2_down", strides=2)
    x = gated_conv(x, 2 * width, f"{name}_3")
    x = gated_conv(x, 4 * width, f"{name}_4_down", strides=2)
    x = gated_conv(x, 4 * width, f"{name}_5")
    return gated_conv(x, 4 * width, f"{name}_6")


def _dilated(x: Tensor, width: int, name: str) -> Tensor:
    for dilation in _DILATIONS:
        x = gated_conv(x, 4 * width, f"{name}_rate{dilation}", dilation=dilation)
    return x


def _decode(x: Tensor, width: int, name: str) -> Tensor:
    """Seven convolutions, from stride 4 to colors in [-1, 1] at full size."""
    x = gated_conv(x, 4 * width, f"{name}_decode1")
    x = gated_conv(x, 4 * width, f"{name}_decode2")
    x = Upsample(2, "nearest", name=f"{name}_enlarge1")(x)
    x = gated_conv(x, 2 * width, f"{name}_decode3")
    x = gated_conv(x, 2 * width, f"{name}_decode4")
    x = Upsample(2, "nearest", name=f"{name}_enlarge2")(x)
    x = gated_conv(x, width, f"{name}_decode5")
    x = gated_conv(x, width // 2, f"{name}_decode6")
    x = layers.Conv2D(3, 3, padding="same", name=f"{name}_colours")(x)
    return layers.Activation("tanh", name=name)(x)


@keras.saving.register_keras_serializable("portrait_tf")
class ContextualAttentionNetwork(Network):
    """A coarse network and a refinement with an attention branch beside a plain one.

    Source: *Free-Form Image Inpainting with Gated Convolution* (DeepFill v2, arXiv
    1806.03589), whose attention is that of DeepFill v1 (arXiv 1801.07892). Ours lacks
    the sketch that a user may draw and the constant channel of ones; both encoders of
    the refinement have the coarse network's widths; the attention differs as
    `ContextualAttention` says.

    Args:
        size: Height and width; multiples of 8.
        width: Channels at full size; two and four times as many at strides 2 and 4.
            The authors' 48 are counted before half of them become gates: 24 here.
        scale: Of the softmax of the attention.
        fuse: Whether attention is propagated to neighbors.

    Call with `{"image": [B, H, W, 3], "mask": [B, H, W, 1]}`. Returns `{"coarse":
    [B, H, W, 3], "painted": [B, H, W, 3]}` in [-1, 1]: the whole photo repainted by
    either network.

    Example:

    ```python
    network = ContextualAttentionNetwork(size=(192, 128))
    painted = network({"image": photos * (1 - masks), "mask": masks})["painted"]
    ```
    """

    takes_parsing = False

    def __init__(
        self,
        size: tuple[int, int] = (192, 128),
        width: int = 24,
        scale: float = 10.0,
        fuse: bool = True,
        **kwargs: object,
    ) -> None:
        check_size(size, 8)
        # === Layers and Functional Model ===
        image = keras.Input((*size, 3), name="image")
        mask = keras.Input((*size, 1), name="mask")
        x = layers.Concatenate(name="inputs")([image, mask])
        x = _encode(x, width, "coarse")
        x = _dilated(x, width, "coarse")
        coarse = _decode(x, width, "coarse")

        x = layers.Multiply(name="coarse_hole")([coarse, mask])
        x = layers.Add(name="coarse_completed")([image, x])
        inputs = layers.Concatenate(name="refinement_inputs")([x, mask])
        plain = _encode(inputs, width, "plain")
        plain = _dilated(plain, width, "plain")
        x = _encode(inputs, width, "attention")
        # The authors end this branch in a ReLU: scores are cosines of what is there.
        x = layers.Activation("relu", name="attention_relu")(x)
        small_mask = layers.MaxPooling2D(4, name="attention_mask")(mask)
        x = ContextualAttention(scale, fuse, name="attention")([x, small_mask])
        x = gated_conv(x, 4 * width, "attention_7")
        x = gated_conv(x, 4 * width, "attention_8")
        x = layers.Concatenate(name="branches")([plain, x])
        painted = _decode(x, width, "painted")
        super().__init__(
            inputs={"image": image, "mask": mask},
            outputs={"coarse": coarse, "painted": painted},
            **kwargs,
        )
        # === Config ===
        self.size = tuple(size)
        self.width = width
        self.scale = scale
        self.fuse = fuse
