"""Dilated convolutions without a detour."""

import keras
import tensorflow as tf

from portrait_tf.compat import Tensor


@keras.saving.register_keras_serializable("portrait_tf")
class DilatedConv2D(keras.layers.Conv2D):
    """`Conv2D` of stride 1 that runs one operation where nothing is trained.

    TensorFlow's `tf.nn.convolution`, which Keras calls, moves pixels into the batch,
    convolves, and moves them back: gradients of the dilated operation itself exist on
    GPUs and with oneDNN only. Without `training=True` there is no need for them.
    """

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        if training:
            return super().call(inputs)
        x = tf.nn.conv2d(
            inputs,
            self.kernel,
            strides=1,
            padding=self.padding.upper(),
            dilations=self.dilation_rate,
        )
        if self.use_bias:
            x = tf.nn.bias_add(x, self.bias)
        return self.activation(x)
