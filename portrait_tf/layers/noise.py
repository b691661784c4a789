"""Noise, from which a network can paint details."""

import keras
import numpy as np

from portrait_tf.compat import SeedGenerator, Tensor, Variable, normal, ops, replicas
from portrait_tf.layers.layer import ConfigLayer


@keras.saving.register_keras_serializable("portrait_tf")
class NoiseChannels(ConfigLayer):
    """Gaussian noise of a tensor's height and width: `[B, H, W, C]` -> `[B, H, W, n]`.

    The noise is drawn in training only. Otherwise it is zero, its mean, so that a photo
    always gets the same answer; call the network with `training=True` for different
    ones. pix2pix (arXiv 1611.07004, section 3.1) found that a generator learns to
    ignore noise at its input; StyleGAN (arXiv 1812.04948, section 2) found that noise
    makes the details that have no cause in the input.

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
            # Drawn for the whole batch, as on one device.
            whole = (shape[0] * replicas.count(), *shape[1:])
            noise = normal(whole, dtype=self.compute_dtype, seed=self.seed_generator)
            return replicas.own_rows(noise)
        return ops.zeros(shape, dtype=self.compute_dtype)

    def compute_output_shape(self, shape: tuple) -> tuple:
        return (*shape[:3], self.channels)


@keras.saving.register_keras_serializable("portrait_tf")
class TextureNoise(ConfigLayer):
    """Adds a fixed field of Gaussian noise, times a strength learned for each channel.

    Convolutions alone make no texture from a smooth feature: StyleGAN (arXiv
    1812.04948, section 2) adds noise after each of them, drawn anew for every photo.
    Here it is one field, drawn from a seed, so that a photo always gets the same
    answer. Our choice: zooms and shifts of the training photos prevent the network from
    relating content to positions of the field.

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
