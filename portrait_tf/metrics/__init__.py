"""Scores of parsing maps, poses and photos."""

from portrait_tf.metrics.parsing import ParsingIoU
from portrait_tf.metrics.pose import PCKh, heatmap_peaks

__all__ = ["PCKh", "ParsingIoU", "heatmap_peaks"]
