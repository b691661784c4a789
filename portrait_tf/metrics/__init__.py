"""Scores of parsing maps, poses and photos."""

from portrait_tf.metrics.parsing import ParsingIoU
from portrait_tf.metrics.pose import PCKh

__all__ = ["PCKh", "ParsingIoU"]
