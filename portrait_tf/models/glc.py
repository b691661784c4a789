"""A peer of stage 2: GLC's completion network; it sees no parsing map."""

import keras
from keras import layers

from portrait_tf.compat import Tensor
from portrait_tf.models.blocks import check_size, normalized
from portrait_tf.models.network import Network

# Channels, kernel size, stride, dilation.
_ENCODER = (
    (64, 5, 1, 1),
    (128, 3, 2, 1),
    (128, 3, 1, 1),
    (256, 3, 2, 1),
    (256, 3, 1, 1),
    (256, 3, 1, 1),
    (256, 3, 1, 2),
    (256, 3, 1, 4),
    (256, 3, 1, 8),
    (256, 3, 1, 16),
    (256, 3, 1, 1),
    (256, 3, 1, 1),
)
# Channels of the enlargement, and of the convolution after it.
_DECODER = ((128, 128), (64, 32))


@keras.saving.register_keras_serializable("portrait_tf")
class GlcNetwork(Network):
    """Encoder, dilated middle and decoder, without skips.

    Source: Iizuka et al., *Globally and Locally Consistent Image Completion* (SIGGRAPH
    2017), section 3.2. What is ours: photos are in [-1, 1], so the output is a tanh in
    place of a sigmoid, and the hole is gray in place of the training set's mean color;
    all widths can be divided; the normalization can be one that does not depend on the
    batch. Its critics are those of the trainer, not the authors' own.

    Args:
        size: Height and width; multiples of 4.
        width_divisor: Of all channels.
        normalization: `batch` or `group`.

    Call with `{"image": [B, H, W, 3], "mask": [B, H, W, 1]}`. Returns `{"painted":
    [B, H, W, 3]}` in [-1, 1], the whole photo repainted.

    Example:

    ```python
    network = GlcNetwork(size=(192, 128))
    painted = network({"image": photos * (1 - masks), "mask": masks})["painted"]
    ```
    """

    takes_parsing = False

    def __init__(
        self,
        size: tuple[int, int] = (192, 128),
        width_divisor: int = 1,
        normalization: str = "batch",
        **kwargs: object,
    ) -> None:
        check_size(size, 4)

        def conv(
            x: Tensor,
            filters: int,
            name: str,
            kernel_size: int = 3,
            convolution: type = layers.Conv2D,
            **arguments: Tensor,
        ) -> Tensor:
            x = convolution(
                filters // width_divisor,
                kernel_size,
                padding="same",
                use_bias=False,
                kernel_initializer="he_normal",
                name=f"{name}_conv",
                **arguments,
            )(x)
            x = normalized(x, normalization, name)
            return layers.Activation("relu", name=f"{name}_relu")(x)

        # === Layers and Functional Model ===
        image = keras.Input((*size, 3), name="image")
        mask = keras.Input((*size, 1), name="mask")
        x = layers.Concatenate(name="inputs")([image, mask])
        for index, (filters, kernel_size, strides, dilation) in enumerate(_ENCODER, 1):
            x = conv(
                x,
                filters,
                f"encode{index}",
                kernel_size,
                strides=strides,
                dilation_rate=dilation,
            )
        for index, (enlarged, filters) in enumerate(_DECODER, 1):
            x = conv(
                x, enlarged, f"enlarge{index}", 4, layers.Conv2DTranspose, strides=2
            )
            x = conv(x, filters, f"decode{index}")
        x = layers.Conv2D(3, 3, padding="same", name="colours")(x)
        painted = layers.Activation("tanh", name="painted")(x)
        super().__init__(
            inputs={"image": image, "mask": mask},
            outputs={"painted": painted},
            **kwargs,
        )
        # === Config ===
        self.size = tuple(size)
        self.width_divisor = width_divisor
        self.normalization = normalization
