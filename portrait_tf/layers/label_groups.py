"""Probabilities of labels, taken together by parts of the body."""

from portrait_tf.compat import Tensor, ops
from portrait_tf.labels import GROUP_MEMBERS


def grouped(probabilities: Tensor) -> Tensor:
    """Probabilities `[..., 20]` of labels, summed over `LABEL_GROUPS`: `[..., 6]`."""
    return ops.matmul(probabilities, GROUP_MEMBERS)


def of_labels(groups: Tensor) -> Tensor:
    """For every label the value of its group: `[..., 6]` -> `[..., 20]`."""
    return ops.matmul(groups, GROUP_MEMBERS.T)
