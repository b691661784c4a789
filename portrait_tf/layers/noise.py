"""Noise that a network paints details from."""

import keras

from portrait_tf import replicas
from portrait_tf.compat import SeedGenerator, Variable, normal, ops


class NoiseChannels(keras.layers.Layer):
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

    def call(self, x: object, training: bool | None = None) -> object:
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

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "channels": self.channels,
            "seed": self.seed,
        }
