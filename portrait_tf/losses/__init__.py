"""Losses: functions of tensors, on every backend of Keras."""

from portrait_tf.losses.adversarial import discriminator_hinge, generator_hinge
from portrait_tf.losses.parsing import (
    joint_heatmaps,
    parsing_cross_entropy,
    pose_error,
)
from portrait_tf.losses.perceptual import PerceptualLoss
from portrait_tf.losses.reconstruction import masked_l1

__all__ = [
    "PerceptualLoss",
    "discriminator_hinge",
    "generator_hinge",
    "joint_heatmaps",
    "masked_l1",
    "parsing_cross_entropy",
    "pose_error",
]
