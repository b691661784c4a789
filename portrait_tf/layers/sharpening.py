"""Sharpens a soft parsing map."""

import keras

from portrait_tf.compat import Tensor, ops
from portrait_tf.layers.label_groups import grouped, of_labels
from portrait_tf.layers.layer import ConfigLayer


@keras.saving.register_keras_serializable("portrait_tf")
class SharpenParsing(ConfigLayer):
    """Raises probabilities to a power: person, then part of the body, then label.

    Stage 1 cannot know what a hole hides, so its map is soft: a third trousers, a third
    skirt and a third background would mix their three colors. The labels of a person
    share its probability, so that the background would win wherever two garments are
    likely. Therefore the layer decides between person and background first, then
    between the parts of the body (`LABEL_GROUPS`), then between the labels. Our choice.
    A true map does not change.

    Args:
        power: 1 leaves the map unchanged.

    Call with `[B, H, W, 20]` probabilities. Returns the same shape, sums 1.
    """

    def __init__(self, power: float = 2.0, **kwargs: object) -> None:
        # Powers of small numbers vanish in bfloat16.
        super().__init__(**{"dtype": "float32", **kwargs})
        self.power = power

    def call(self, parsing: Tensor) -> Tensor:
        parsing = ops.clip(parsing, 1e-6, 1.0)
        groups = grouped(parsing)
        # Relative to the group: a power of a small number vanishes in float32.
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
