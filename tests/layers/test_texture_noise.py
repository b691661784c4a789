"""Noise that is the same for every photo."""

import numpy as np

from portrait_tf.layers import TextureNoise


def test_a_fresh_layer_changes_nothing_and_a_strong_one_each_channel_by_its_own():
    x = np.random.default_rng(0).normal(size=(2, 6, 5, 3)).astype(np.float32)
    layer = TextureNoise(1)
    np.testing.assert_array_equal(layer(x), x)
    layer.strength.assign([0.0, 1.0, 2.0])
    added = np.array(layer(x)) - x
    np.testing.assert_allclose(added[0], added[1], atol=1e-6)
    assert not added[..., 0].any()
    np.testing.assert_allclose(added[..., 2], 2 * added[..., 1], atol=1e-5)
    assert 0.5 < added[0, ..., 1].std() < 1.5


def test_the_field_is_its_seeds():
    fields = []
    for seed in (1, 1, 2):
        layer = TextureNoise(seed)
        layer.build((None, 4, 4, 1))
        fields.append(layer.field)
    np.testing.assert_array_equal(fields[0], fields[1])
    assert not np.allclose(fields[0], fields[2])
