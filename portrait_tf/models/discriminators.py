"""The critics of stage 2: one sees the whole photo, one the filled area."""

import keras
from keras import layers

from portrait_tf.compat import SpectralNormalization
from portrait_tf.labels import NUM_LABELS


@keras.saving.register_keras_serializable("portrait_tf")
class Discriminator(keras.Model):
    """Strided convolutions with spectral normalisation; a score for every patch.

    Used twice, as the global discriminator on the photo and as the local one on a crop
    around the hole; both see the parsing map (arXiv 1808.07757) and the mask. A map of
    scores in place of one score, kernels of 5x5 and no other normalisation follow
    SN-PatchGAN (arXiv 1806.03589); the widths are our choice.

    Args:
        size: Height and width.
        widths: Channels; each convolution halves the size.

    Call with `{"image": [B, H, W, 3] in [-1, 1], "parsing": [B, H, W, 20],
    "mask": [B, H, W, 1]}`. Returns scores `[B, H', W', 1]`: high for real.
    """

    def __init__(
        self,
        size: tuple[int, int] = (192, 128),
        widths: tuple[int, ...] = (32, 64, 96, 128),
        **kwargs: object,
    ) -> None:
        # === Layers and Functional Model ===
        inputs = {
            "image": keras.Input((*size, 3), name="image"),
            "parsing": keras.Input((*size, NUM_LABELS), name="parsing"),
            "mask": keras.Input((*size, 1), name="mask"),
        }
        x = layers.Concatenate(name="inputs")(list(inputs.values()))
        for index, width in enumerate(widths):
            x = SpectralNormalization(
                layers.Conv2D(width, 5, 2, padding="same", name=f"conv{index + 1}"),
                name=f"normalised{index + 1}",
            )(x)
            x = layers.LeakyReLU(0.2, name=f"leaky{index + 1}")(x)
        scores = SpectralNormalization(
            layers.Conv2D(1, 3, padding="same", name="scores"),
            name="normalised_scores",
        )(x)
        super().__init__(inputs=inputs, outputs=scores, **kwargs)
        # === Config ===
        self.size = tuple(size)
        self.widths = tuple(widths)

    def get_config(self) -> dict:
        return {"size": self.size, "widths": self.widths, "name": self.name}

    @classmethod
    def from_config(
        cls, config: dict, custom_objects: dict | None = None
    ) -> "Discriminator":
        return cls(**config)
