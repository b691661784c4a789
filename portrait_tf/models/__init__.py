"""The networks: Keras functional models that know nothing of data or training."""

from portrait_tf.models.completion import CompletionNetwork
from portrait_tf.models.discriminators import Discriminator
from portrait_tf.models.face import FaceNetwork
from portrait_tf.models.jppnet import JPPNet
from portrait_tf.models.parsing import ParsingNetwork

__all__ = [
    "CompletionNetwork",
    "Discriminator",
    "FaceNetwork",
    "JPPNet",
    "ParsingNetwork",
]
