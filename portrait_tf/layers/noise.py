"""Noise that a network paints details from."""

import keras
import numpy as np

from portrait_tf.compat import SeedGenerator, Tensor, Variable, normal, ops, replicas
from portrait_tf.layers.layer import ConfigLayer


@keras.saving.register_keras_serializable("portrait_tf")
class NoiseChannels(ConfigLayer):
    """Gaussian noise of a tensor's height and width: `[B, H, W, C]` -> `[B, H, W, n]`.

    Drawn in training, as the generator of a GAN has it; zeros, its mean, otherwise, so
    that a photo is always completed alike. Whoever wants several answers calls the
    network with `training=True`. pix2pix (arXiv 1611.07004, section 3.1) found that a
    generator learns to ignore noise at its input; StyleGAN (arXiv 1812.04948, section
    2) that noise makes the details that have no cause in the input.

    The generator's state is in `state`, a `uint32` variable which is in the layer's
    `variables`, but not in its `weights`: a file of weights is the same without it.

    Args:
        channels: How many, n.
        seed: None takes one from Python's generator, which
            `keras.utils.set_random_seed` sets.
    """

    def __init__(
        self, channels: int, seed: int | None = None, **kwargs: object
    ) -> None:
        super().__init__(**kwargs)
        self.channels = channels
        self.seed = seed
        self.seed_generator = SeedGenerator(seed, name="seed_generator")

    @property
    def state(self) -> Variable:
        return self.seed_generator.state

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        shape = (*ops.shape(x)[:3], self.channels)
        if training:
            # Of the whole batch: a replica's photos have the noise that they would
            # have without the others.
            whole = (shape[0] * replicas.count(), *shape[1:])
            noise = normal(whole, dtype=self.compute_dtype, seed=self.seed_generator)
            return replicas.own_rows(noise)
        return ops.zeros(shape, dtype=self.compute_dtype)

    def compute_output_shape(self, shape: tuple) -> tuple:
        return (*shape[:3], self.channels)


@keras.saving.register_keras_serializable("portrait_tf")
class TextureNoise(ConfigLayer):
    """Adds a fixed field of Gaussian noise, times a strength learned for each channel.

    Convolutions alone make no texture out of a smooth feature: StyleGAN (arXiv
    1812.04948, section 2) adds noise behind each of its. There it is drawn anew for
    every photo; here it is one field, from a seed, so that a photo is always completed
    alike, in training as in use. Our choice: zooms and shifts of the training photos
    see to it that no content belongs to a place of the field.

    Args:
        seed: Of the field.

    Call with `[B, H, W, C]`, static height and width; returns the same shape, unchanged
    from a fresh layer.
    """

    def __init__(self, seed: int = 0, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.seed = seed

    def build(self, shape: tuple) -> None:
        self.strength = self.add_weight(
            name="strength", shape=(shape[-1],), initializer="zeros"
        )
        rng = np.random.default_rng(self.seed)
        self.field = rng.normal(size=(1, *shape[1:3], 1)).astype(np.float32)

    def call(self, x: Tensor) -> Tensor:
        field = ops.convert_to_tensor(self.field, dtype=self.compute_dtype)
        return x + field * self.strength
