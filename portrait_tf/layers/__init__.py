"""The few layers that Keras lacks."""

from portrait_tf.layers.boxes import (
    box_window,
    crop_and_resize,
    hole_boxes,
    random_hole_boxes,
    uncrop,
)
from portrait_tf.layers.contextual_attention import ContextualAttention
from portrait_tf.layers.dilated_convolution import DilatedConv2D
from portrait_tf.layers.faces import face_boxes
from portrait_tf.layers.group_normalization import GroupNormalization
from portrait_tf.layers.heatmaps import (
    heatmap_peaks,
    joint_heatmaps,
    segment_heatmaps,
)
from portrait_tf.layers.label_attention import LabelAttention
from portrait_tf.layers.label_groups import grouped, of_labels
from portrait_tf.layers.noise import NoiseChannels, TextureNoise
from portrait_tf.layers.partial_convolution import PartialConv2D
from portrait_tf.layers.prefill import ParsingGuidedFill, PushPull
from portrait_tf.layers.sharpening import SharpenParsing
from portrait_tf.layers.upsampling import PixelShuffle, Upsample, resize_bilinear

__all__ = [
    "ContextualAttention",
    "DilatedConv2D",
    "GroupNormalization",
    "PartialConv2D",
    "LabelAttention",
    "NoiseChannels",
    "ParsingGuidedFill",
    "PixelShuffle",
    "PushPull",
    "SharpenParsing",
    "TextureNoise",
    "Upsample",
    "box_window",
    "crop_and_resize",
    "face_boxes",
    "grouped",
    "heatmap_peaks",
    "hole_boxes",
    "joint_heatmaps",
    "of_labels",
    "random_hole_boxes",
    "resize_bilinear",
    "segment_heatmaps",
    "uncrop",
]
