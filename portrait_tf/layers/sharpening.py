"""A decided parsing map out of an undecided one."""

import keras

from portrait_tf.compat import ops


class SharpenParsing(keras.layers.Layer):
    """Raises probabilities to a power: first person or background, then which label.

    Stage 1 cannot know what a hole hides, so it hedges, and a map that says a third
    trousers, a third skirt, a third background mixes their three colours. Labels
    share the person among them: taken all at once, the background would win wherever
    two garments are likely. Our choice; a true map stays as it is.

    Args:
        power: 1 leaves the map as it is; more decides.

    Call with `[B, H, W, L]` probabilities, label 0 the background. Returns the same
    shape, sums 1.
    """

    def __init__(self, power: float = 2.0, **kwargs: object) -> None:
        # Small numbers to a power are nothing in bfloat16.
        super().__init__(**{"dtype": "float32", **kwargs})
        self.power = power

    def call(self, parsing: object) -> object:
        parsing = ops.clip(parsing, 1e-6, 1.0)
        background, labels = parsing[..., :1], parsing[..., 1:]
        person = ops.sum(labels, axis=-1, keepdims=True)
        background, person = background**self.power, person**self.power
        person = person / (background + person)
        labels = labels / ops.max(labels, axis=-1, keepdims=True)
        labels = labels**self.power
        labels = person * labels / ops.sum(labels, axis=-1, keepdims=True)
        return ops.concatenate([1.0 - person, labels], axis=-1)

    def compute_output_shape(self, shape: tuple) -> tuple:
        return tuple(shape)

    def get_config(self) -> dict:
        return {**super().get_config(), "power": self.power}
