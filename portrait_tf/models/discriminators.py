"""Discriminators: they score patches of a photo or of a crop around the hole."""

from collections.abc import Callable

import keras
from keras import layers

from portrait_tf.compat import SpectralNormalization, Tensor, normalize_kernel
from portrait_tf.labels import NUM_LABELS
from portrait_tf.models.backbones import efficientnet_lite0
from portrait_tf.models.blocks import check_size
from portrait_tf.models.network import Network


class _Critic(Network):
    """What both kinds of discriminator share."""

    def normalize(self) -> None:
        """Divides each kernel by its spectral norm.

        This is the kernel update that `training=True` performs. A trainer calls it
        before the tape starts, so that the division is not differentiated.
        """
        for layer in self.layers:
            if isinstance(layer, SpectralNormalization):
                normalize_kernel(layer)


def _inputs(size: tuple[int, int], conditioned: bool) -> dict:
    inputs = {"image": keras.Input((*size, 3), name="image")}
    if conditioned:
        inputs["parsing"] = keras.Input((*size, NUM_LABELS), name="parsing")
    inputs["mask"] = keras.Input((*size, 1), name="mask")
    return inputs


@keras.saving.register_keras_serializable("portrait_tf")
class Discriminator(_Critic):
    """Strided convolutions; a score for every patch.

    Used twice, as the global discriminator on the photo and as the local one on a crop
    around the hole; both see the parsing map (arXiv 1808.07757) and the mask. A map of
    scores in place of one score, kernels of 5x5 and spectral normalization (arXiv
    1802.05957) follow SN-PatchGAN (arXiv 1806.03589); the widths are our choice.

    Args:
        size: Height and width.
        widths: Channels; each convolution halves the size.
        conditioned: It sees the parsing map.
        spectral_normalization: Applied to every convolution.

    Call with `{"image": [B, H, W, 3] in [-1, 1], "parsing": [B, H, W, 20],
    "mask": [B, H, W, 1]}`, without `parsing` unless conditioned. Returns scores
    `[B, H', W', 1]`: high for real.
    """

    def __init__(
        self,
        size: tuple[int, int] = (192, 128),
        widths: tuple[int, ...] = (32, 64, 96, 128),
        conditioned: bool = True,
        spectral_normalization: bool = True,
        **kwargs: object,
    ) -> None:
        def convolution(name: str, normalized: str, *arguments: int) -> layers.Layer:
            layer = layers.Conv2D(*arguments, padding="same", name=name)
            if not spectral_normalization:
                return layer
            return SpectralNormalization(layer, name=normalized)

        # === Layers and Functional Model ===
        inputs = _inputs(size, conditioned)
        x = layers.Concatenate(name="inputs")(list(inputs.values()))
        for index, width in enumerate(widths, start=1):
            x = convolution(f"conv{index}", f"normalised{index}", width, 5, 2)(x)
            x = layers.LeakyReLU(0.2, name=f"leaky{index}")(x)
        scores = convolution("scores", "normalised_scores", 1, 3)(x)
        super().__init__(inputs=inputs, outputs=scores, **kwargs)
        # === Config ===
        self.size = tuple(size)
        self.widths = tuple(widths)
        self.conditioned = conditioned
        self.spectral_normalization = spectral_normalization

    def features(self, inputs: dict, training: bool = False) -> list:
        """Activations of each convolution, the scores last: `[B, H', W', C]` each.

        Computed layer by layer: a second functional model would change names in files.
        """
        names = ("image", "parsing", "mask") if self.conditioned else ("image", "mask")
        x = self.get_layer("inputs")([inputs[name] for name in names])
        features = []
        for layer in self.layers:
            if isinstance(layer, layers.InputLayer | layers.Concatenate):
                continue
            x = layer(x, training=training)
            if isinstance(layer, layers.LeakyReLU):
                features.append(x)
        return [*features, x]


# Where a `FeatureDiscriminator` has a head.
_STRIDES = (4, 8, 16)


@keras.saving.register_keras_serializable("portrait_tf")
class FeatureDiscriminator(_Critic):
    """Small heads on the features of a network that was trained on ImageNet.

    After Projected GANs (Sauer et al., arXiv 2111.01007): such a discriminator does not
    have to learn first what a photo is. The backbone is EfficientNet-Lite0, as in the
    paper, up to its feature of stride 16, frozen; it sees the photo only. Heads at
    strides 4, 8 and 16 also see map and mask, averaged: a 1x1 convolution, a 3x3 one,
    and a score for every patch. The paper's random mixing of channels and scales and
    its head at stride 32 are left out; the shape of the heads is our choice.

    A new network has random weights: `load_backbone_weights` sets the backbone's, which
    are among the network's weights, and so in a checkpoint.

    Args:
        size: Height and width, multiples of 16.
        width: Channels of each head.
        conditioned: It sees the parsing map.
        spectral_normalization: Applied to every convolution of a head.
        backbone: `efficientnet_lite0`.

    Call as a `Discriminator`. Returns a list of scores `[B, H / s, W / s, 1]`, high for
    real, for s of 4, 8 and 16.

    Raises:
        ValueError: A size that is no multiple of 16.
    """

    def __init__(
        self,
        size: tuple[int, int] = (192, 128),
        width: int = 64,
        conditioned: bool = True,
        spectral_normalization: bool = True,
        backbone: str = "efficientnet_lite0",
        **kwargs: object,
    ) -> None:
        check_size(size, 16)

        def convolution(name: str, *arguments: int) -> layers.Layer:
            if not spectral_normalization:
                return layers.Conv2D(*arguments, padding="same", name=name)
            layer = layers.Conv2D(*arguments, padding="same", name="conv")
            return SpectralNormalization(layer, name=name)

        # === Layers and Functional Model ===
        photo = keras.Input((*size, 3))
        # The stages up to stride 16.
        features = {"efficientnet_lite0": efficientnet_lite0}[backbone](photo, stages=5)
        frozen = keras.Model(photo, features, name="backbone")
        frozen.trainable = False
        parts = {"backbone": frozen}
        for stride in _STRIDES:
            name = f"stride{stride}"
            parts |= {
                f"{name}_project": convolution(f"{name}_project", width, 1),
                f"{name}_leaky1": layers.LeakyReLU(0.2, name=f"{name}_leaky1"),
                f"{name}_pool": layers.AveragePooling2D(stride, name=f"{name}_pool"),
                f"{name}_inputs": layers.Concatenate(name=f"{name}_inputs"),
                f"{name}_conv": convolution(f"{name}_conv", width, 3),
                f"{name}_leaky2": layers.LeakyReLU(0.2, name=f"{name}_leaky2"),
                f"{name}_scores": convolution(f"{name}_scores", 1, 1),
            }
        inputs = _inputs(size, conditioned)
        *_, scores = _run(lambda name, x: parts[name](x), inputs)
        super().__init__(inputs=inputs, outputs=scores, **kwargs)
        # === Config ===
        self.size = tuple(size)
        self.width = width
        self.conditioned = conditioned
        self.spectral_normalization = spectral_normalization
        self.backbone = backbone

    def features(self, inputs: dict, training: bool = False) -> list:
        """Both activations of each head, `[B, H/s, W/s, width]`; the scores last."""
        inputs = {name: inputs[name] for name in self.input}
        return _run(lambda name, x: self.get_layer(name)(x, training=training), inputs)


def _run(layer: Callable[[str, Tensor], Tensor], inputs: dict) -> list:
    """The activations of a `FeatureDiscriminator`'s heads, and a list of the scores.

    Args:
        layer: Calls a layer by its name.
        inputs: `image`, and what else the heads see.
    """
    features = layer("backbone", inputs["image"])
    seen = [value for name, value in inputs.items() if name != "image"]
    activations, scores = [], []
    for name in (f"stride{stride}" for stride in _STRIDES):
        x = layer(f"{name}_leaky1", layer(f"{name}_project", features[name]))
        activations.append(x)
        x = [x, *(layer(f"{name}_pool", value) for value in seen)]
        x = layer(f"{name}_conv", layer(f"{name}_inputs", x))
        activations.append(layer(f"{name}_leaky2", x))
        scores.append(layer(f"{name}_scores", activations[-1]))
    return [*activations, scores]
