"""Attention to known positions, held to a naive version; and noise."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from portrait_tf.compat import model_variables
from portrait_tf.labels import LABELS
from portrait_tf.layers import LabelAttention, NoiseChannels

STRIDE, SIZE = 4, (12, 16)
CELLS = (SIZE[0] // STRIDE, SIZE[1] // STRIDE)
DESIGN = [
    LABELS.index(label.replace("Right", "Left")) for label in LABELS
]  # what left and right have in common


def scene(batch=2, seed=0):
    """Features, photo, mask and map, all random; each sample has its own hole."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((batch, *SIZE, 1))
    for index in range(batch):
        mask[index, 3 : 9 + index, 6 : 13 + index] = 1
    mask[:, 1, 1] = 1  # one pixel of sixteen does not hide a cell
    logits = rng.normal(0, 3, (batch, *SIZE, 20))
    parsing = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    arrays = (
        rng.normal(0, 1, (batch, *CELLS, 6)),
        rng.uniform(-1, 1, (batch, *SIZE, 3)),
        mask,
        parsing,
    )
    return [array.astype(np.float32) for array in arrays]


def one_hot_map(labels):
    """A map of one label a cell, `[1, H, W, 20]`."""
    pixels = np.kron(np.asarray(labels), np.ones((STRIDE, STRIDE), int))
    return np.eye(20, dtype=np.float32)[pixels][None]


def random_layer(same_label, inputs, seed=1, **arguments):
    layer = LabelAttention(5, same_label, STRIDE, **arguments)
    layer.build([x.shape for x in inputs])
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.normal(0, 0.5, w.shape) for w in layer.get_weights()])
    return layer


def naive(layer, features, image, mask, parsing=None):
    """One sample, position by position."""

    def project(convolution, vector):
        weights = [np.array(w, float) for w in convolution.weights]
        bias = weights[1] if len(weights) > 1 else 0
        return vector @ weights[0][0, 0] + bias

    cells = []
    for row in range(CELLS[0]):
        for column in range(CELLS[1]):
            pixels = np.s_[
                row * STRIDE : (row + 1) * STRIDE,
                column * STRIDE : (column + 1) * STRIDE,
            ]
            seen = mask[pixels][..., 0] == 0
            color = image[pixels][seen].mean(0) if seen.any() else np.zeros(3)
            label = np.zeros(20)
            if parsing is not None:
                np.add.at(label, DESIGN, parsing[pixels].mean((0, 1)))
            feature = features[row, column]
            cells.append((seen.mean() >= 0.9, feature, color, label))
    gathered = np.zeros((len(cells), layer.width))
    for index, (_, feature, _, label) in enumerate(cells):
        query = project(layer.query, feature)
        weights, values = [], []
        for known, other, color, other_label in cells:
            if known:
                logit = query @ project(layer.key, other) / np.sqrt(layer.width)
                agreement = (
                    label @ other_label + layer.epsilon if layer.same_label else 1
                )
                weights.append(np.exp(logit) * agreement)
                values.append(project(layer.value, np.concatenate([other, color])))
        if weights:
            gathered[index] = np.average(values, axis=0, weights=weights)
    return project(layer.output_projection, gathered).reshape(*CELLS, -1)


@pytest.mark.parametrize("same_label", [False, True])
def test_it_is_what_a_naive_version_says(same_label):
    inputs = scene(3) if same_label else scene(3)[:3]
    inputs[2][2] = 1  # nothing is known of the last sample
    inputs[1][2] = 0
    layer = random_layer(same_label, inputs)
    found = np.array(layer(inputs))
    for index in range(3):
        expected = naive(layer, *(x[index].astype(float) for x in inputs))
        np.testing.assert_allclose(found[index], expected, atol=2e-5)
    assert np.abs(found[:2]).min() > 0
    assert not found[2].any()


@pytest.mark.parametrize("same_label", [False, True])
def test_a_fresh_layer_adds_nothing_and_learns(same_label):
    inputs = scene() if same_label else scene()[:3]
    layer = LabelAttention(5, same_label, STRIDE)
    with tf.GradientTape() as tape:
        out = layer([tf.constant(x) for x in inputs])
        loss = tf.reduce_sum((out - 1.0) ** 2)
    assert not np.array(out).any()
    gradients = tape.gradient(loss, layer.trainable_variables)
    assert np.abs(gradients[-1]).max() > 0


def test_a_label_draws_from_its_own_label_alone():
    labels = np.zeros(CELLS, int)
    labels[:, 1], labels[:, 2] = 5, 9
    inputs = [x[:1] for x in scene()[:3]] + [one_hot_map(labels)]
    inputs[2][:] = 0
    inputs[2][:, 4:8] = 1
    layer = random_layer(True, inputs)
    features, _, mask, parsing = inputs
    weights = np.array(layer.attention(features, mask, parsing))[0]
    flat = labels.ravel()
    known = (mask[0, ::STRIDE, ::STRIDE, 0] == 0).ravel()
    assert not weights[:, ~known].any()
    for query in np.flatnonzero(~known):
        assert weights[query, known & (flat == flat[query])].sum() > 0.999
    # Without the labels, the same projections draw from anywhere.
    layer.same_label = False
    spread = np.array(layer.attention(features, mask))[0]
    assert spread[~known][:, known & (flat == 0)].sum(1).min() > 0.05


@pytest.mark.parametrize(
    ("hidden", "seen", "together"),
    [
        ("LeftShoe", "RightShoe", True),
        ("RightLeg", "LeftLeg", True),
        ("RightArm", "LeftArm", True),
        ("Socks", "Socks", True),
        ("LeftShoe", "LeftLeg", False),
        ("Pants", "RightLeg", False),
    ],
)
def test_left_and_right_are_of_one_design(hidden, seen, together):
    labels = np.zeros(CELLS, int)
    labels[1, 0], labels[1, 3] = LABELS.index(hidden), LABELS.index(seen)
    inputs = [x[:1] for x in scene()[:3]] + [one_hot_map(labels)]
    inputs[2][:] = 0
    inputs[2][:, 4:8, :4] = 1
    layer = random_layer(True, inputs)
    weights = np.array(layer.attention(inputs[0], *inputs[2:]))[0]
    query, key = 1 * CELLS[1] + 0, 1 * CELLS[1] + 3
    # Where nothing agrees, all that is known counts alike.
    assert weights[query].sum() == pytest.approx(1, abs=1e-5)
    assert (weights[query, key] > 0.999) == together


@pytest.mark.parametrize("hole", ["none", "some", "all"])
def test_gradients_are_finite(hole):
    inputs = scene()
    inputs[2][:] = {"none": 0, "some": inputs[2], "all": 1}[hole]
    layer = random_layer(True, inputs)
    tensors = [tf.constant(x) for x in inputs]
    with tf.GradientTape() as tape:
        tape.watch(tensors[0])
        loss = tf.reduce_sum(layer(tensors) ** 2)
    gradients = tape.gradient(loss, [tensors[0], *layer.trainable_variables])
    assert all(np.isfinite(one).all() for one in gradients)
    assert (np.abs(gradients[0]).max() > 0) == (hole != "all")


def test_float16_is_finite_and_close():
    inputs = scene()
    inputs[2][1] = 1
    exact = random_layer(True, inputs)
    half = random_layer(True, inputs, dtype="mixed_float16")
    out = half(inputs)
    assert tf.as_dtype(out.dtype) == "float16"
    np.testing.assert_allclose(np.array(out), np.array(exact(inputs)), atol=0.05)
    # Projections of a thousand each: their products are beyond float16.
    for layer in (exact, half):
        layer.query.bias.assign(np.full(5, 1e3))
        layer.key.bias.assign(np.full(5, 1e3))
    with tf.GradientTape() as tape:
        out = half([tf.constant(x) for x in inputs])
        loss = tf.reduce_sum(tf.cast(out, tf.float32))
    gradients = tape.gradient(loss, half.trainable_variables)
    for array in (out, *gradients):
        assert np.isfinite(np.array(array)).all()


class TestNoise:
    X = np.zeros((2, 24, 16, 1), np.float32)

    def test_zeros_but_in_training(self):
        layer = NoiseChannels(3, seed=7)
        for training in (None, False):
            out = np.array(layer(self.X, training=training))
            assert out.shape == (2, 24, 16, 3) and not out.any()
        noise = np.array(layer(self.X, training=True))
        assert noise.shape == (2, 24, 16, 3)
        # Of 2304 values, the mean's standard deviation is 0.02.
        assert abs(noise.mean()) < 0.1 and abs(noise.std() - 1) < 0.1
        assert (noise[0] != noise[1]).all()

    def test_each_step_draws_anew_and_the_state_goes_on(self):
        layer, other = NoiseChannels(3, seed=7), NoiseChannels(3, seed=8)
        draw = tf.function(lambda layer: layer(self.X, training=True))
        first = np.array(draw(layer))
        state = np.array(layer.state)
        second = np.array(draw(layer))
        assert (first != second).any()
        other.state.assign(state)
        np.testing.assert_array_equal(np.array(draw(other)), second)

    def test_its_state_is_no_weight(self):
        layer = NoiseChannels(3, seed=7)
        layer(self.X)
        assert layer.weights == []
        model = keras.Sequential([layer])
        assert [id(one) for one in model_variables(model)] == [id(layer.state)]

    def test_float16(self):
        noise = NoiseChannels(3, 7, dtype="mixed_float16")(self.X, training=True)
        assert tf.as_dtype(noise.dtype) == "float16"
