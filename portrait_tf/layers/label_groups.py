"""Probabilities of labels, taken together by parts of the body."""

import numpy as np

from portrait_tf.compat import Tensor, ops
from portrait_tf.labels import GROUP_OF_LABEL, LABEL_GROUPS

_MEMBERS = np.eye(len(LABEL_GROUPS), dtype=np.float32)[GROUP_OF_LABEL]


def grouped(probabilities: Tensor) -> Tensor:
    """Probabilities `[..., 20]` of labels, summed over `LABEL_GROUPS`: `[..., 6]`."""
    return ops.matmul(probabilities, _MEMBERS)


def of_labels(groups: Tensor) -> Tensor:
    """For every label the value of its group: `[..., 6]` -> `[..., 20]`."""
    return ops.matmul(groups, _MEMBERS.T)
