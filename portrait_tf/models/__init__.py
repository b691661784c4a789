"""The networks: Keras functional models that know nothing of data or training."""

from portrait_tf.models.completion import CompletionNetwork
from portrait_tf.models.contextual_attention import ContextualAttentionNetwork
from portrait_tf.models.discriminators import Discriminator
from portrait_tf.models.face import FaceNetwork
from portrait_tf.models.glc import GlcNetwork
from portrait_tf.models.jppnet import JPPNet
from portrait_tf.models.parsing import ParsingNetwork
from portrait_tf.models.partial_convolution import PartialConvUNet

__all__ = [
    "CompletionNetwork",
    "ContextualAttentionNetwork",
    "Discriminator",
    "FaceNetwork",
    "GlcNetwork",
    "JPPNet",
    "ParsingNetwork",
    "PartialConvUNet",
]
