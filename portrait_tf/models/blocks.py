"""Building blocks of the networks. Layers are named, so that weights load by name."""

from keras import layers

from portrait_tf.compat import Tensor
from portrait_tf.layers import DilatedConv2D, GroupNormalization


def _conv(
    x: Tensor,
    filters: int,
    name: str,
    kernel_size: int = 3,
    strides: int = 1,
    dilation: int = 1,
    **kwargs: object,
) -> Tensor:
    convolution = layers.Conv2D if dilation == 1 else DilatedConv2D
    return convolution(
        filters,
        kernel_size,
        strides=strides,
        dilation_rate=dilation,
        padding="same",
        name=f"{name}_conv",
        **{"kernel_initializer": "he_normal", **kwargs},
    )(x)


def normalized_conv(
    x: Tensor,
    filters: int,
    name: str,
    kernel_size: int = 3,
    strides: int = 1,
    dilation: int = 1,
    activation: str | None = "relu",
    gamma: str = "ones",
) -> Tensor:
    """Convolution, group normalization, activation.

    Group normalization (arXiv 1803.08494) does not depend on the batch: a photo
    gives the same result alone, in a batch and on every worker.
    """
    x = _conv(x, filters, name, kernel_size, strides, dilation, use_bias=False)
    x = GroupNormalization(
        groups=group_count(filters), gamma_initializer=gamma, name=f"{name}_norm"
    )(x)
    if activation:
        x = layers.Activation(activation, name=f"{name}_{activation}")(x)
    return x


def plain_conv(
    x: Tensor,
    filters: int,
    name: str,
    kernel_size: int = 3,
    strides: int = 1,
    dilation: int = 1,
) -> Tensor:
    """Convolution and leaky ReLU; a normalization would lose the photo's colors.

    Inpainting does better without (DeepFill, arXiv 1801.07892, section 3); here group
    normalization was tried first, and learned the colors of clothes far more slowly.
    """
    x = _conv(x, filters, name, kernel_size, strides, dilation)
    return layers.LeakyReLU(0.2, name=f"{name}_leaky")(x)


def gated_conv(
    x: Tensor,
    filters: int,
    name: str,
    kernel_size: int = 3,
    strides: int = 1,
    dilation: int = 1,
) -> Tensor:
    """Convolution and ELU, times a gate that is learned for every place and channel.

    Source: *Free-Form Image Inpainting with Gated Convolution* (arXiv 1806.03589,
    section 3.1).
    """
    shape = (kernel_size, strides, dilation)
    features = _conv(x, filters, f"{name}_features", *shape)
    features = layers.Activation("elu", name=f"{name}_elu")(features)
    gate = _conv(
        x, filters, f"{name}_gate", *shape, kernel_initializer="glorot_uniform"
    )
    gate = layers.Activation("sigmoid", name=f"{name}_sigmoid")(gate)
    return layers.Multiply(name=f"{name}_gated")([features, gate])


def separable_conv(
    x: Tensor,
    filters: int,
    name: str,
    kernel_size: int = 3,
    strides: int = 1,
    dilation: int = 1,
) -> Tensor:
    """Each channel's own convolution, then leaky ReLU of their mixture.

    Source: *MobileNets* (arXiv 1704.04861, section 3.1), without its normalizations.
    """
    x = layers.DepthwiseConv2D(
        kernel_size,
        strides=strides,
        dilation_rate=dilation,
        padding="same",
        depthwise_initializer="he_normal",
        name=f"{name}_depthwise",
    )(x)
    return plain_conv(x, filters, name, kernel_size=1)


def plain_residual_block(x: Tensor, name: str, dilation: int = 1) -> Tensor:
    """Two convolutions beside an identity, without normalization.

    The second convolution starts at zero, so that a deep stack starts as identity
    (Fixup, arXiv 1901.09321).
    """
    y = plain_conv(x, x.shape[-1], f"{name}_1", dilation=dilation)
    y = _conv(y, x.shape[-1], f"{name}_2", kernel_initializer="zeros")
    return layers.Add(name=f"{name}_add")([x, y])


def gated_residual_block(x: Tensor, name: str, dilation: int = 1) -> Tensor:
    """`plain_residual_block` whose first convolution is gated.

    The second is not: a gate on zeros would only halve its gradient.
    """
    y = gated_conv(x, x.shape[-1], f"{name}_1", dilation=dilation)
    y = _conv(y, x.shape[-1], f"{name}_2", kernel_initializer="zeros")
    return layers.Add(name=f"{name}_add")([x, y])


def separable_residual_block(x: Tensor, name: str, dilation: int = 1) -> Tensor:
    """`plain_residual_block` of separable convolutions."""
    y = separable_conv(x, x.shape[-1], f"{name}_1", dilation=dilation)
    y = _conv(y, x.shape[-1], f"{name}_2", 1, kernel_initializer="zeros")
    return layers.Add(name=f"{name}_add")([x, y])


def group_count(filters: int) -> int:
    """The largest number of groups up to 8 that divides the channels."""
    return next(groups for groups in range(8, 0, -1) if filters % groups == 0)


def normalized(x: Tensor, kind: str, name: str) -> Tensor:
    """`batch` or `group` normalization.

    Batch normalization is for networks of others, which were made with it; its moving
    averages are as fast as where those were trained (PyTorch's momentum of 0.1).
    """
    if kind == "batch":
        return layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
    groups = group_count(x.shape[-1])
    return GroupNormalization(groups=groups, name=f"{name}_norm")(x)


def residual_block(x: Tensor, name: str, dilation: int = 1) -> Tensor:
    """Two convolutions beside an identity (arXiv 1512.03385), the first one dilated.

    The second normalization starts at zero, so that a deep stack starts as identity.
    """
    filters = x.shape[-1]
    y = normalized_conv(x, filters, f"{name}_1", dilation=dilation)
    y = normalized_conv(y, filters, f"{name}_2", activation=None, gamma="zeros")
    y = layers.Add(name=f"{name}_add")([x, y])
    return layers.Activation("relu", name=f"{name}_relu")(y)


def global_context(x: Tensor, name: str) -> Tensor:
    """Adds to every position what the whole map averages to (arXiv 1506.04579)."""
    filters = x.shape[-1]
    pooled = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_pool")(x)
    pooled = layers.Conv2D(filters, 1, activation="relu", name=f"{name}_squeeze")(
        pooled
    )
    pooled = layers.Conv2D(
        filters, 1, kernel_initializer="zeros", name=f"{name}_expand"
    )(pooled)
    return layers.Add(name=f"{name}_add")([x, pooled])


SHUFFLE_FILTERS = {"shuffle": ("none", "none"), "smooth_shuffle": ("blur", "notch")}
"""Of a decoder's `PixelShuffle`s, and of its last one, by what `upsampling` says."""


def check_size(size: tuple[int, int], multiple: int) -> None:
    """Raises ValueError where height or width is no multiple of the total stride."""
    if any(side % multiple for side in size):
        raise ValueError(
            f"height and width must be multiples of {multiple}, received {size}"
        )
