"""The critics of stage 2: one sees the whole photo, one the filled area."""

import keras
from keras import layers

from portrait_tf.compat import SpectralNormalization, normalise_kernel
from portrait_tf.labels import NUM_LABELS
from portrait_tf.models.network import Network


@keras.saving.register_keras_serializable("portrait_tf")
class Discriminator(Network):
    """Strided convolutions; a score for every patch.

    Used twice, as the global discriminator on the photo and as the local one on a crop
    around the hole; both see the parsing map (arXiv 1808.07757) and the mask. A map of
    scores in place of one score, kernels of 5x5 and spectral normalisation (arXiv
    1802.05957) follow SN-PatchGAN (arXiv 1806.03589); the widths are our choice.

    Args:
        size: Height and width.
        widths: Channels; each convolution halves the size.
        conditioned: It sees the parsing map.
        spectral_normalisation: Of every convolution; else there is none.

    Call with `{"image": [B, H, W, 3] in [-1, 1], "parsing": [B, H, W, 20],
    "mask": [B, H, W, 1]}`, without `parsing` unless conditioned. Returns scores
    `[B, H', W', 1]`: high for real.
    """

    def __init__(
        self,
        size: tuple[int, int] = (192, 128),
        widths: tuple[int, ...] = (32, 64, 96, 128),
        conditioned: bool = True,
        spectral_normalisation: bool = True,
        **kwargs: object,
    ) -> None:
        def convolution(name: str, normalised: str, *arguments: int) -> layers.Layer:
            layer = layers.Conv2D(*arguments, padding="same", name=name)
            if not spectral_normalisation:
                return layer
            return SpectralNormalization(layer, name=normalised)

        # === Layers and Functional Model ===
        inputs = {"image": keras.Input((*size, 3), name="image")}
        if conditioned:
            inputs["parsing"] = keras.Input((*size, NUM_LABELS), name="parsing")
        inputs["mask"] = keras.Input((*size, 1), name="mask")
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
        self.spectral_normalisation = spectral_normalisation

    def normalise(self) -> None:
        """Divides each kernel by its spectral norm: what `training=True` does first.

        A critic that is trained calls this, and then itself without `training`: the
        division is no part of what is differentiated, on any backend.
        """
        for layer in self.layers:
            if isinstance(layer, SpectralNormalization):
                normalise_kernel(layer)

    def features(self, inputs: dict, training: bool = False) -> list:
        """What follows each convolution, the scores last: `[B, H', W', C]` each.

        Layer by layer, for a second functional model would change the names in files.
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
