"""A peer of stage 2: a U-Net of partial convolutions; it sees no parsing map."""

import keras
from keras import layers

from portrait_tf.layers import PartialConv2D, Upsample
from portrait_tf.models.blocks import check_size, normalized
from portrait_tf.models.network import Network

# Of the first levels; the others have the last one.
_KERNEL_SIZES = (7, 5, 5, 3)


def level_count(size: tuple[int, int], most: int) -> int:
    """How often a size can be halved to whole pixels, but no more than `most`."""
    levels = 0
    while levels < most and not any(side % 2 ** (levels + 1) for side in size):
        levels += 1
    return levels


@keras.saving.register_keras_serializable("portrait_tf")
class PartialConvUNet(Network):
    """Encoder and decoder of partial convolutions, with skips of values and masks.

    Source: *Image Inpainting for Irregular Holes Using Partial Convolutions* (arXiv
    1804.07723, section 3.2 and appendix). The paper works at 512x512 with eight levels;
    ours has as many of them as the size can be halved. The paper freezes the encoder's
    batch normalization for a second part of training: ours does not, and can be built
    with a normalization that is independent of the batch.

    Args:
        size: Height and width; multiples of 8.
        widths: Channels at strides 2, 4, 8 and so on; those that the size has no room
            for are left out: 192x128 can be halved six times, 96x64 five times.
        normalization: `batch` or `group`.

    Call with `{"image": [B, H, W, 3], "mask": [B, H, W, 1]}`. Returns `{"painted":
    [B, H, W, 3]}`, the whole photo repainted, not clipped.

    Example:

    ```python
    network = PartialConvUNet(size=(192, 128))
    painted = network({"image": photos * (1 - masks), "mask": masks})["painted"]
    ```
    """

    takes_parsing = False

    def __init__(
        self,
        size: tuple[int, int] = (192, 128),
        widths: tuple[int, ...] = (64, 128, 256, 512, 512, 512, 512, 512),
        normalization: str = "batch",
        **kwargs: object,
    ) -> None:
        check_size(size, 8)
        # === Layers and Functional Model ===
        image = keras.Input((*size, 3), name="image")
        mask = keras.Input((*size, 1), name="mask")
        known = layers.Rescaling(-1.0, 1.0, name="known")(mask)
        known = layers.Concatenate(name="known_channels")([known] * 3)
        x = image
        skips = []
        levels = level_count(size, len(widths))
        for level, width in enumerate(widths[:levels]):
            skips.append((x, known))
            x, known = PartialConv2D(
                width,
                _KERNEL_SIZES[min(level, len(_KERNEL_SIZES) - 1)],
                strides=2,
                name=f"encode{level + 1}_conv",
            )([x, known])
            if level:
                x = normalized(x, normalization, f"encode{level + 1}")
            x = layers.Activation("relu", name=f"encode{level + 1}_relu")(x)
        for level in range(levels, 0, -1):
            name = f"decode{level}"
            x, known = (
                layers.Concatenate(name=f"{name}_{part}")(
                    [Upsample(2, "nearest", name=f"{name}_{part}_enlarge")(deep), skip]
                )
                for part, deep, skip in zip(
                    ("values", "known"), (x, known), skips[level - 1], strict=True
                )
            )
            last = level == 1
            width = 3 if last else widths[level - 2]
            x, known = PartialConv2D(width, name="painted" if last else f"{name}_conv")(
                [x, known]
            )
            if not last:
                x = normalized(x, normalization, name)
                x = layers.LeakyReLU(0.2, name=f"{name}_leaky")(x)
        super().__init__(
            inputs={"image": image, "mask": mask}, outputs={"painted": x}, **kwargs
        )
        # === Config ===
        self.size = tuple(size)
        self.widths = tuple(widths)
        self.normalization = normalization
