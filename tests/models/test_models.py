import keras
import numpy as np
import pytest
from network_inputs import inputs_for
from tiny import assert_equal_arrays

from portrait_tf.compat import KERAS_3, variable_path
from portrait_tf.models import (
    Discriminator,
    FeatureDiscriminator,
    ParsingNetwork,
)

SIZE = (32, 48)
PARSING = {"size": SIZE, "widths": (8, 8, 8, 8), "blocks": (1, 1)}
BARE = {"conditioned": False, "spectral_normalization": False}
every_kind = pytest.mark.parametrize("arguments", [{}, BARE], ids=["full", "bare"])


@pytest.mark.parametrize("rounds", [0, 2])
def test_parsing_outputs(rounds):
    network = ParsingNetwork(**PARSING, feature_width=8, rounds=rounds)
    outputs = network(inputs_for(network))
    expected = {"parsing": (2, 16, 24, 20)}
    for step in range(rounds + 1):
        expected[f"parsing_{step}"] = (2, 8, 12, 20)
        expected[f"pose_{step}"] = (2, 8, 12, 16)
    assert {name: tuple(value.shape) for name, value in outputs.items()} == expected


def test_each_task_sees_the_other_ones_last_prediction():
    network = ParsingNetwork(**PARSING, feature_width=8, rounds=2)
    for task, other in (("pose", "parsing"), ("parsing", "pose")):
        for step in (1, 2):
            remap = network.get_layer(f"{task}_{step}_remap_{other}")
            assert f"{other}_{step - 1}_head" in remap.input.name or (
                remap.input is network.get_layer(f"{other}_{step - 1}_head").output
            )


def test_discriminator_scores_patches_and_bounds_its_gain():
    network = Discriminator(SIZE, (8, 8))
    x = inputs_for(network)
    for _ in range(30):
        scores = network(x, training=True)
    assert tuple(scores.shape) == (2, 8, 12, 1)
    kernel = network.get_layer("normalised1").layer.kernel
    matrix = np.array(kernel).reshape(-1, kernel.shape[-1])
    assert np.linalg.norm(matrix, 2) == pytest.approx(1, abs=0.05)


@every_kind
def test_discriminator_features_end_in_its_scores(arguments):
    network = Discriminator(SIZE, (8, 8), **arguments)
    x = inputs_for(network)
    *features, scores = network.features(x)
    assert [tuple(f.shape) for f in features] == [(2, 16, 24, 8), (2, 8, 12, 8)]
    np.testing.assert_array_equal(np.array(scores), np.array(network(x)))


@every_kind
def test_feature_discriminator_has_heads_on_frozen_features(arguments):
    keras.utils.set_random_seed(0)
    network = FeatureDiscriminator(SIZE, 4, **arguments)
    x = inputs_for(network)
    backbone = network.get_layer("backbone")
    # Larger, or deep features would be all but 0.
    frozen = [2 * w for w in backbone.get_weights()]
    backbone.set_weights(frozen)
    network(x, training=True)
    network.normalize()
    assert_equal_arrays(frozen, backbone.get_weights())
    # Three convolutions with a bias at each of three strides.
    assert len(network.trainable_variables) == 18
    *features, scores = network.features(x)
    sizes = [(8, 12), (4, 6), (2, 3)]
    assert [tuple(f.shape) for f in features] == [
        (2, *size, 4) for size in sizes for _ in range(2)
    ]
    assert [tuple(one.shape) for one in scores] == [(2, *size, 1) for size in sizes]
    for one, two in zip(scores, network(x), strict=True):
        np.testing.assert_array_equal(np.array(one), np.array(two))
    # Each head sees all that it is given.
    for name, value in x.items():
        others = network({**x, name: value[::-1] * 0.5})
        for one, two in zip(scores, others, strict=True):
            assert np.abs(np.array(one) - np.array(two)).max() > 1e-4, name


def test_feature_discriminator_bounds_the_gain_of_its_heads():
    network = FeatureDiscriminator(SIZE, 4)
    for _ in range(30):
        network.normalize()
    for layer in ("project", "conv", "scores"):
        kernel = np.array(network.get_layer(f"stride8_{layer}").layer.kernel)
        gain = np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), 2)
        assert gain == pytest.approx(1, abs=0.05)


def test_an_unconditioned_discriminator_sees_no_parsing_and_normalizes_nothing():
    network = Discriminator(SIZE, (8, 8), **BARE)
    assert set(network.input) == {"image", "mask"}
    before = network.get_weights()
    network(inputs_for(network), training=True)
    for one, two in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_discriminator_weights_have_the_names_of_existing_checkpoints():
    network = Discriminator(size=(32, 48), widths=(8,))
    paths = [variable_path(variable) for variable in network.weights]
    expected = [
        "normalised1/conv1/kernel",
        "normalised1/vector_u",
        "normalised1/conv1/bias",
        "normalised_scores/scores/kernel",
        "normalised_scores/vector_u",
        "normalised_scores/scores/bias",
    ]
    # Files name them; their order is another in tensorflow-addons' layer.
    assert (paths if KERAS_3 else sorted(paths)) == (
        expected if KERAS_3 else sorted(expected)
    )
