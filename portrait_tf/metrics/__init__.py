"""Scores of parsing maps, poses and photos."""

from portrait_tf.metrics.parsing import ParsingIoU
from portrait_tf.metrics.photo import HolePSNR, hole_psnr
from portrait_tf.metrics.pose import PCKh
