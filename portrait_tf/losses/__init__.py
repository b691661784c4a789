"""Losses: functions of tensors, on every backend of Keras."""

from portrait_tf.losses.adversarial import discriminator_hinge, generator_hinge
from portrait_tf.losses.parsing import (
    inverse_sqrt_weights,
    joint_heatmaps,
    parsing_balanced,
    parsing_cross_entropy,
    pose_error,
    root_pose_error,
)
from portrait_tf.losses.perceptual import PerceptualLoss
from portrait_tf.losses.reconstruction import masked_l1

__all__ = [
    "PerceptualLoss",
    "discriminator_hinge",
    "generator_hinge",
    "inverse_sqrt_weights",
    "joint_heatmaps",
    "masked_l1",
    "parsing_balanced",
    "parsing_cross_entropy",
    "pose_error",
    "root_pose_error",
]
