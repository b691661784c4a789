"""Sharpens a soft parsing map."""

import functools
import operator

import keras
import numpy as np

from portrait_tf.compat import Tensor, ops
from portrait_tf.labels import GROUP_MEMBERS
from portrait_tf.layers.layer import ConfigLayer

_GROUPS = np.hstack([GROUP_MEMBERS, 1 - GROUP_MEMBERS[:, :1]])
"""Sums of labels: the background, five parts of a person, the person."""
# What a group is multiplied by and divided by: background and parts of these seven.
_OWN = np.eye(7, 6, dtype=np.float32)
_ABOVE, _BESIDE = np.zeros((2, 7, 6), np.float32)
_ABOVE[0, 0] = _ABOVE[6, 1:] = _BESIDE[0, 0] = _BESIDE[1:6, 1:] = 1
_ALL = np.float32([[1, 0, 0, 0, 0, 0, 1]]).T.repeat(6, axis=1)


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
        # Nothing is 0, so that every quotient exists.
        parsing = parsing + 1e-6
        raised = _power(parsing, self.power)
        groups = _power(ops.matmul(parsing, _GROUPS), self.power)
        share = ops.matmul(groups, _OWN) * ops.matmul(groups, _ABOVE)
        whole = ops.matmul(groups, _BESIDE) * ops.matmul(groups, _ALL)
        # A label's share of its group is its power's share of the group's powers.
        whole = whole * ops.matmul(raised, GROUP_MEMBERS) + 1e-30
        return raised * ops.matmul(share / whole, GROUP_MEMBERS.T)


def _power(x: Tensor, exponent: float) -> Tensor:
    """`x ** exponent`; products of whole ones are faster than powers."""
    if exponent == int(exponent) and exponent > 0:
        return functools.reduce(operator.mul, [x] * int(exponent))
    return x**exponent
