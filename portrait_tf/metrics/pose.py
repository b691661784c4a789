"""PCKh@0.5 by LIP's definition."""

import keras
import numpy as np

from portrait_tf.compat import Tensor, ops
from portrait_tf.labels import HEAD_SEGMENT, PCKH_JOINTS


@keras.saving.register_keras_serializable("portrait_tf")
class PCKh(keras.metrics.Metric):
    """Part of the joints found within half a head's size.

    Head size is the distance of head top to neck; a photo without both, and a joint
    that is not annotated, is skipped. The mean over LIP's 14 scored joints of each
    joint's own rate.

    Update with joints `[B, 16, 3]` (x, y, annotated) and predictions `[B, 16, 2 or
    more]` (x, y), both in pixels, and, for some of the joints alone, `sample_weight`
    `[B, 16]` of 0.0 and 1.0; the head's size is then still that of all of them.
    """

    def __init__(self, name: str = "pckh", **kwargs: object) -> None:
        super().__init__(name=name, **kwargs)
        count = len(PCKH_JOINTS)
        self.found = self.add_weight(name="found", shape=(count,), initializer="zeros")
        self.seen = self.add_weight(name="seen", shape=(count,), initializer="zeros")

    def update_state(
        self, joints: Tensor, predicted: Tensor, sample_weight: Tensor = None
    ) -> None:
        head, neck = (joints[:, index] for index in HEAD_SEGMENT)
        size = ops.sqrt(ops.sum((head[:, :2] - neck[:, :2]) ** 2, axis=-1))
        present = joints[:, :, 2] * (head[:, 2] * neck[:, 2])[:, None]
        present = present * ops.cast(size > 0, "float32")[:, None]
        if sample_weight is not None:
            present = present * ops.cast(sample_weight, "float32")
        distance = ops.sqrt(
            ops.sum((joints[:, :, :2] - predicted[:, :, :2]) ** 2, axis=-1)
        )
        hit = ops.cast(distance <= 0.5 * size[:, None], "float32") * present
        scored = np.array(PCKH_JOINTS)
        self.found.assign(self.found + ops.take(ops.sum(hit, axis=0), scored))
        self.seen.assign(self.seen + ops.take(ops.sum(present, axis=0), scored))

    def result(self) -> Tensor:
        rates = self.found / ops.maximum(self.seen, 1.0)
        scored = ops.cast(self.seen > 0, "float32")
        return ops.sum(rates * scored) / ops.maximum(ops.sum(scored), 1.0)

    def reset_state(self) -> None:
        for variable in (self.found, self.seen):
            variable.assign(ops.zeros(variable.shape))
