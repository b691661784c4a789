"""Our group normalization answers and learns as Keras' does."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from portrait_tf.layers import GroupNormalization


@pytest.mark.parametrize(("channels", "groups"), [(12, 4), (6, 1), (5, 5)])
def test_it_answers_and_learns_as_keras_does(channels, groups):
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(2.0, 3.0, (3, 5, 4, channels)), tf.float32)
    wanted = tf.constant(rng.normal(size=x.shape), tf.float32)
    weights = rng.normal(size=(2, channels))
    answers = []
    for kind in (keras.layers.GroupNormalization, GroupNormalization):
        layer = kind(groups=groups)
        layer(x)
        layer.set_weights(weights)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
            loss = tf.reduce_mean((y - wanted) ** 2)
        gradients = tape.gradient(loss, [x, *layer.trainable_variables])
        answers.append([y.numpy(), *(one.numpy() for one in gradients)])
    for keras_one, our_one in zip(*answers, strict=True):
        np.testing.assert_allclose(our_one, keras_one, atol=1e-5)
