"""The networks: Keras functional models that know nothing of data or training."""

from portrait_tf.models.completion import CompletionNetwork
from portrait_tf.models.contextual_attention import ContextualAttentionNetwork
from portrait_tf.models.discriminators import Discriminator, FeatureDiscriminator
from portrait_tf.models.face import FaceNetwork
from portrait_tf.models.glc import GlcNetwork
from portrait_tf.models.jppnet import JPPNet
from portrait_tf.models.parsing import ParsingNetwork
from portrait_tf.models.partial_convolution import PartialConvUNet

NETWORKS = {
    "compact": ParsingNetwork,
    "jppnet": JPPNet,
    "parsing_guided": CompletionNetwork,
    "partial_convolution": PartialConvUNet,
    "contextual_attention": ContextualAttentionNetwork,
    "glc": GlcNetwork,
    "face": FaceNetwork,
}
"""All networks of a stage, by the config's `kind`."""
