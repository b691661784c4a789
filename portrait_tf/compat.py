"""The names that differ between the supported Keras versions, in one place.

Layers and losses take `ops` from here: with Keras 3 it is `keras.ops`.
"""

from keras import ops
from keras.layers import SpectralNormalization

__all__ = ["SpectralNormalization", "ops"]
