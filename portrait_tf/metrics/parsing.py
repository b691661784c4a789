"""Mean intersection over union."""

import keras

from portrait_tf.compat import Tensor, ops
from portrait_tf.labels import NUM_LABELS


@keras.saving.register_keras_serializable("portrait_tf")
class ParsingIoU(keras.metrics.MeanIoU):
    """Mean IoU over the labels that occur in truth or prediction; void is left out.

    One confusion matrix over all photos, as LIP scores (arXiv 1703.05446).

    Update with labels `[B, H, W]`, logits `[B, H, W, 20]`, and, for a region alone,
    `sample_weight` `[B, H, W]` of 0.0 and 1.0.
    """

    def __init__(self, name: str = "miou", **kwargs: object) -> None:
        super().__init__(num_classes=NUM_LABELS, name=name, **kwargs)

    def update_state(
        self, labels: Tensor, logits: Tensor, sample_weight: Tensor = None
    ) -> None:
        # Keras counts pixels in integers, and warns of other weights.
        weight = ops.cast(labels < NUM_LABELS, "int32")
        if sample_weight is not None:
            weight = weight * ops.cast(sample_weight, "int32")
        super().update_state(
            ops.where(labels < NUM_LABELS, labels, 0),
            ops.argmax(logits, axis=-1),
            sample_weight=weight,
        )

    def get_config(self) -> dict:
        return {"name": self.name, "dtype": self.dtype}
