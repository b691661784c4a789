"""Encoders of stage 1: features at strides 4, 8 and 16 from photo and mask.

Every backbone takes `[B, H, W, 3 or 4]` (RGB in [-1, 1], then the mask if the network
sees it) and returns features by the name of their stride. Where a stride would be 32,
the last stage is dilated in its place.

Batch normalization is frozen, as in JPPNet: a photo's result does not depend on its
batch. So all but `small` are meant for pretrained weights: without them, frozen batch
normalization does nothing at all.
"""

import functools
from collections.abc import Callable, Iterator

import keras
from keras import layers

from portrait_tf.compat import Tensor, application_layer_name, ops
from portrait_tf.models.blocks import global_context, normalized_conv, residual_block

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
    x: Tensor,
    widths: tuple[int, int, int, int] = (24, 48, 96, 160),
    blocks: tuple[int, int] = (3, 3),
) -> dict[str, Tensor]:
    """A residual encoder with group normalization, for two CPU cores; our choice.

    Args:
        x: `[B, H, W, C]`.
        widths: Channels at strides 2, 4, 8 and 16.
        blocks: Residual blocks at strides 8 and 16.
    """
    x = normalized_conv(x, widths[0], "stride2", kernel_size=5, strides=2)
    stride4 = x = normalized_conv(x, widths[1], "stride4", strides=2)
    x = normalized_conv(x, widths[2], "stride8", strides=2)
    for block in range(blocks[0]):
        x = residual_block(x, f"stride8_block{block + 1}")
    stride8 = x
    x = normalized_conv(x, widths[3], "stride16", strides=2)
    for block in range(blocks[1]):
        x = residual_block(x, f"stride16_block{block + 1}", 2 if block % 2 else 1)
    return {
        "stride4": stride4,
        "stride8": stride8,
        "stride16": global_context(x, "context"),
    }


def _frozen_norm(x: Tensor, name: str, epsilon: float = 1e-3) -> Tensor:
    return layers.BatchNormalization(epsilon=epsilon, trainable=False, name=name)(x)


def _inverted_residual(
    x: Tensor,
    name: str,
    kernel_size: int,
    strides: int,
    expansion: int,
    filters: int,
    dilation: int,
) -> Tensor:
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


def efficientnet_lite0(x: Tensor, stages: int = 7) -> dict[str, Tensor]:
    """EfficientNet-Lite0; the last two stages dilated in place of a stride of 32.

    Args:
        x: `[B, H, W, 3 or 4]`.
        stages: How many of its seven; five end at stride 16.
    """
    x = layers.Conv2D(
        32, 3, strides=2, padding="same", use_bias=False, name="backbone_stem_conv"
    )(x)
    x = _frozen_norm(x, "backbone_stem_norm")
    x = layers.ReLU(6.0, name="backbone_stem_relu")(x)
    features, block, stride, dilation = {}, 0, 2, 1
    for kernel, strides, expansion, filters, repeats in _EFFICIENTNET_LITE0[:stages]:
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


# What `keras.applications` calls the networks that backbones are made of.
APPLICATIONS = {
    "resnet50": "ResNet50",
    "resnet101": "ResNet101",
    "mobilenet_v3_small": "MobileNetV3Small",
    "mobilenet_v3_large": "MobileNetV3Large",
}
# Of BGR in 0..255: what the ResNet weights of Keras were trained with (from Caffe).
_CAFFE_MEANS = (103.939, 116.779, 123.68)


def application(name: str, **kwargs: object) -> keras.Model:
    if name.startswith("mobilenet"):
        # Their own preprocessing would expect 0..255; without, they take [-1, 1].
        kwargs["include_preprocessing"] = False
    build = getattr(keras.applications, APPLICATIONS[name])
    return build(include_top=False, input_shape=(None, None, 3), **kwargs)


def _encoder(
    name: str,
    channels: int,
    taps: dict[str, str],
    change: Callable[[str, dict], None],
) -> keras.Model:
    """A network of `keras.applications`, its layers renamed and changed.

    Args:
        name: A key of `APPLICATIONS`.
        channels: Of the input.
        taps: Keras' layer names by the name of the feature.
        change: Called with each layer's name and config, which it may change.
    """

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        name = application_layer_name(layer)
        change(name, config)
        config["name"] = f"backbone_{name}"
        if isinstance(layer, layers.BatchNormalization):
            config["trainable"] = False
        return type(layer).from_config(config)

    whole = keras.models.clone_model(
        application(name, weights=None),
        input_tensors=keras.Input((None, None, channels)),
        clone_function=clone,
    )
    features = {
        tap: whole.get_layer(f"backbone_{layer}").output for tap, layer in taps.items()
    }
    return keras.Model(whole.input, features, name="backbone")


def resnet(
    x: Tensor, name: str, rates: dict[int, int], width_divisor: int = 1
) -> dict[str, Tensor]:
    """ResNet (arXiv 1512.03385), some stages dilated in place of their stride.

    Args:
        x: `[B, H, W, 3 or 4]`.
        name: `resnet50` or `resnet101`.
        rates: Dilation of the 3x3 convolutions, by stage (2 to 5); such a stage has
            stride 1.
        width_divisor: Of all channels, for tests.

    Returns:
        Last feature of each stage, by `conv2` to `conv5`.
    """

    def change(layer: str, config: dict) -> None:
        rate = rates.get(int(layer[4]) if layer.startswith("conv") else 0)
        if "filters" in config:
            config["filters"] //= width_divisor
            if rate:
                config["strides"] = 1
                config["dilation_rate"] = rate if layer.endswith("_2_conv") else 1

    last = 23 if name == "resnet101" else 6
    taps = {
        f"conv{stage}": f"conv{stage}_block{block}_out"
        for stage, block in zip((2, 3, 4, 5), (3, 4, last, 3), strict=True)
    }
    channels = x.shape[-1]
    photo = ops.flip(x[..., :3], axis=-1)
    if channels > 3:
        photo = layers.Concatenate(name="backbone_bgr_and_mask")([photo, x[..., 3:]])
    offset = [*(127.5 - mean for mean in _CAFFE_MEANS), 0.0][:channels]
    photo = layers.Rescaling(127.5, offset, name="backbone_range")(photo)
    return _encoder(name, channels, taps, change)(photo)


def resnet50(x: Tensor) -> dict[str, Tensor]:
    """ResNet-50, its last stage dilated."""
    features = resnet(x, "resnet50", {5: 2})
    strides = {"stride4": "conv2", "stride8": "conv3", "stride16": "conv5"}
    return {stride: features[stage] for stride, stage in strides.items()}


def _mobilenet_v3(
    x: Tensor, name: str, ends: tuple[str, str, str], dilated: int
) -> dict[str, Tensor]:
    """MobileNetV3 (arXiv 1905.02244) without its last, widest convolution.

    Args:
        x: `[B, H, W, 3 or 4]`.
        name: A key of `APPLICATIONS`.
        ends: Where strides 4, 8 and 16 end, as Keras calls the layers.
        dilated: The first block that would have stride 32.
    """

    def change(layer: str, config: dict) -> None:
        block = layer.removeprefix("expanded_conv_").split("_")[0]
        if not block.isdigit() or int(block) < dilated:
            return
        if layer.endswith("_depthwise_pad"):
            config["padding"] = 0
        elif layer.endswith("_depthwise"):
            config.update(strides=1, padding="same", dilation_rate=2)

    taps = {
        stride: f"expanded_conv_{end}"
        for stride, end in zip(("stride4", "stride8", "stride16"), ends, strict=True)
    }
    return _encoder(name, x.shape[-1], taps, change)(x)


BACKBONES: dict[str, Callable] = {
    "small": small,
    "efficientnet_lite0": efficientnet_lite0,
    "resnet50": resnet50,
    "mobilenet_v3_small": functools.partial(
        _mobilenet_v3,
        name="mobilenet_v3_small",
        ends=("project_bn", "2_add", "10_add"),
        dilated=8,
    ),
    "mobilenet_v3_large": functools.partial(
        _mobilenet_v3,
        name="mobilenet_v3_large",
        ends=("2_add", "5_add", "14_add"),
        dilated=12,
    ),
}


def backbone_layers(network: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in network.layers:
        inner = layer.layers if isinstance(layer, keras.Model) else [layer]
        yield from (one for one in inner if one.name.startswith("backbone_"))
