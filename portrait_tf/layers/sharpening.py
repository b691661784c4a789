"""A decided parsing map out of an undecided one."""

import keras

from portrait_tf.compat import Tensor, ops
from portrait_tf.layers.label_groups import grouped, of_labels
from portrait_tf.layers.layer import ConfigLayer


@keras.saving.register_keras_serializable("portrait_tf")
class SharpenParsing(ConfigLayer):
    """Raises probabilities to a power: person, then part of the body, then label.

    Stage 1 cannot know what a hole hides, so it hedges, and a map that says a third
    trousers, a third skirt, a third background mixes their three colours. Labels
    share the person among them: taken all at once, the background would win wherever
    two garments are likely, and a torso wherever it can be two kinds of coat, but only
    one kind of arm. So the person is decided against the background first, then the
    part of the body (`LABEL_GROUPS`), then the label. Our choice; a true map stays as
    it is.

    Args:
        power: 1 leaves the map as it is; more decides.

    Call with `[B, H, W, 20]` probabilities. Returns the same shape, sums 1.
    """

    def __init__(self, power: float = 2.0, **kwargs: object) -> None:
        # Small numbers to a power are nothing in bfloat16.
        super().__init__(**{"dtype": "float32", **kwargs})
        self.power = power

    def call(self, parsing: Tensor) -> Tensor:
        parsing = ops.clip(parsing, 1e-6, 1.0)
        groups = grouped(parsing)
        # As parts of their group: a power of a small number is nothing in float32.
        within = (parsing / of_labels(groups)) ** self.power
        within = within / of_labels(grouped(within))
        background, parts = groups[..., :1], groups[..., 1:]
        person = ops.sum(parts, axis=-1, keepdims=True)
        background, person = background**self.power, person**self.power
        person = person / (background + person)
        parts = parts / ops.max(parts, axis=-1, keepdims=True)
        parts = parts**self.power
        parts = person * parts / ops.sum(parts, axis=-1, keepdims=True)
        groups = ops.concatenate([1.0 - person, parts], axis=-1)
        return within * of_labels(groups)
