"""Losses: functions of tensors, on every backend of Keras."""

from portrait_tf.losses.adversarial import (
    ADVERSARIAL_LOSSES,
    FeatureMatchingLoss,
    GradientPenalty,
    HingeLoss,
    LeastSquaresLoss,
    R1Penalty,
    WassersteinLoss,
    patch_weights,
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
    LabelColourLoss,
    TotalVariationLoss,
    masked_l1,
    psnr_loss,
)

__all__ = [
    "ADVERSARIAL_LOSSES",
    "FeatureMatchingLoss",
    "GradientPenalty",
    "HingeLoss",
    "LabelColourLoss",
    "LeastSquaresLoss",
    "PerceptualLoss",
    "R1Penalty",
    "StyleLoss",
    "TotalVariationLoss",
    "WassersteinLoss",
    "group_overlap",
    "inverse_sqrt_weights",
    "masked_l1",
    "parsing_balanced",
    "parsing_cross_entropy",
    "patch_weights",
    "pose_error",
    "psnr_loss",
    "root_pose_error",
]
