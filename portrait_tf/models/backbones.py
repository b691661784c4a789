"""Encoders of stage 1: features at strides 4, 8 and 16 from photo and mask.

Every backbone takes `[B, H, W, 3 or 4]` (RGB in [-1, 1], then the mask if the network
sees it) and returns features by the name of their stride. Batch normalisation is
frozen, as in JPPNet: a photo's result does not depend on its batch.
"""

import pathlib
from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from portrait_tf.errors import PortraitError
from portrait_tf.models.blocks import global_context, normalised_conv, residual_block
from portrait_tf.storage import read_arrays

# Kernel, stride, expansion, channels, repeats (EfficientNet, arXiv 1905.11946, table 1;
# the Lite variant has ReLU6, no squeeze-and-excitation).
_EFFICIENTNET_LITE0 = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


def small(
    x: object,
    widths: tuple[int, int, int, int] = (24, 48, 96, 160),
    blocks: tuple[int, int] = (3, 3),
) -> dict[str, object]:
    """A residual encoder with group normalisation, for two CPU cores; our choice.

    Args:
        x: `[B, H, W, C]`.
        widths: Channels at strides 2, 4, 8 and 16.
        blocks: Residual blocks at strides 8 and 16.
    """
    x = normalised_conv(x, widths[0], "stride2", kernel_size=5, strides=2)
    stride4 = x = normalised_conv(x, widths[1], "stride4", strides=2)
    x = normalised_conv(x, widths[2], "stride8", strides=2)
    for block in range(blocks[0]):
        x = residual_block(x, f"stride8_block{block + 1}")
    stride8 = x
    x = normalised_conv(x, widths[3], "stride16", strides=2)
    for block in range(blocks[1]):
        x = residual_block(x, f"stride16_block{block + 1}", 2 if block % 2 else 1)
    return {
        "stride4": stride4,
        "stride8": stride8,
        "stride16": global_context(x, "context"),
    }


def _frozen_norm(x: object, name: str, epsilon: float = 1e-3) -> object:
    return layers.BatchNormalization(epsilon=epsilon, trainable=False, name=name)(x)


def _inverted_residual(
    x: object,
    name: str,
    kernel_size: int,
    strides: int,
    expansion: int,
    filters: int,
    dilation: int,
) -> object:
    """Widen, filter each channel alone, narrow (MobileNetV2, arXiv 1801.04381)."""
    y = x
    if expansion > 1:
        y = layers.Conv2D(
            expansion * x.shape[-1], 1, use_bias=False, name=f"{name}_expand_conv"
        )(y)
        y = _frozen_norm(y, f"{name}_expand_norm")
        y = layers.ReLU(6.0, name=f"{name}_expand_relu")(y)
    y = layers.DepthwiseConv2D(
        kernel_size,
        strides=strides,
        dilation_rate=dilation,
        padding="same",
        use_bias=False,
        name=f"{name}_depthwise_conv",
    )(y)
    y = _frozen_norm(y, f"{name}_depthwise_norm")
    y = layers.ReLU(6.0, name=f"{name}_depthwise_relu")(y)
    y = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_project_conv")(y)
    y = _frozen_norm(y, f"{name}_project_norm")
    if strides == 1 and x.shape[-1] == filters:
        y = layers.Add(name=f"{name}_add")([x, y])
    return y


def efficientnet_lite0(x: object) -> dict[str, object]:
    """EfficientNet-Lite0; the last two stages dilated in place of a stride of 32."""
    x = layers.Conv2D(
        32, 3, strides=2, padding="same", use_bias=False, name="backbone_stem_conv"
    )(x)
    x = _frozen_norm(x, "backbone_stem_norm")
    x = layers.ReLU(6.0, name="backbone_stem_relu")(x)
    features, block, stride, dilation = {}, 0, 2, 1
    for kernel, strides, expansion, filters, repeats in _EFFICIENTNET_LITE0:
        for repeat in range(repeats):
            first = strides if repeat == 0 else 1
            if first * stride > 16:
                first, dilation = 1, 2
            stride *= first
            name = f"backbone_block{block}"
            x = _inverted_residual(x, name, kernel, first, expansion, filters, dilation)
            block += 1
        features[f"stride{stride}"] = x
    features.pop("stride2")
    return features


BACKBONES: dict[str, Callable] = {
    "small": small,
    "efficientnet_lite0": efficientnet_lite0,
}


def load_backbone_weights(network: keras.Model, path: str | pathlib.Path) -> None:
    """Sets the layers named `backbone_*` from a file of pretrained weights.

    A first convolution that also sees the mask keeps zeros for it: at first the network
    does as it would without.

    Args:
        network: With a backbone that was built here.
        path: A `.npz` of `save_arrays`, group `backbone`, arrays by layer and variable
            (`backbone_stem_conv/kernel`).

    Raises:
        PortraitError: The file is missing, damaged, or of another backbone.
    """
    arrays, _ = read_arrays(path)
    new = []
    for layer in network.layers:
        if not layer.name.startswith("backbone_"):
            continue
        for variable in layer.weights:
            key = f"backbone/{layer.name}/{variable.name}"
            if key not in arrays:
                raise PortraitError(f"{path} fits another backbone: it has no {key!r}")
            array = arrays[key].astype(np.float32)
            shape = tuple(variable.shape)
            if len(shape) == 4 and shape[2] == array.shape[2] + 1 == 4:
                array = np.concatenate([array, np.zeros_like(array[:, :, :1])], 2)
            if array.shape != shape:
                raise PortraitError(
                    f"{path} fits another backbone: {key!r} is {array.shape} in the "
                    f"file and {shape} in this network"
                )
            new.append((variable, array))
    if not new:
        raise PortraitError(f"{path}: this network has no backbone to load it into")
    for variable, array in new:
        variable.assign(array)
