"""Losses: functions of tensors, on every backend of Keras.

A loss of photos is called with `(y_true, y_pred, mask)`.
"""

from portrait_tf.losses.adversarial import (
    AdversarialLoss,
    feature_matching,
    gradient_penalty,
    patch_weights,
    r1_penalty,
)
from portrait_tf.losses.parsing import (
    group_overlap,
    inverse_sqrt_weights,
    parsing_balanced,
    parsing_cross_entropy,
    pose_error,
    root_pose_error,
)
from portrait_tf.losses.perceptual import PerceptualLoss, StyleLoss
from portrait_tf.losses.reconstruction import (
    label_color,
    masked_l1,
    psnr_loss,
    total_variation,
)

__all__ = [
    "AdversarialLoss",
    "PerceptualLoss",
    "StyleLoss",
    "feature_matching",
    "gradient_penalty",
    "group_overlap",
    "inverse_sqrt_weights",
    "label_color",
    "masked_l1",
    "parsing_balanced",
    "parsing_cross_entropy",
    "patch_weights",
    "pose_error",
    "psnr_loss",
    "r1_penalty",
    "root_pose_error",
    "total_variation",
]
