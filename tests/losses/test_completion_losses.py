import logging
import random

import cv2
import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from portrait_tf.errors import PortraitError
from portrait_tf.losses import (
    AdversarialLoss,
    PerceptualLoss,
    StyleLoss,
    feature_matching,
    gradient_penalty,
    label_color,
    masked_l1,
    patch_weights,
    psnr_loss,
    r1_penalty,
    total_variation,
)
from portrait_tf.losses.adversarial import KINDS
from portrait_tf.losses.perceptual import build_vgg
from portrait_tf.models.network import precision

_TYPES = (tf.float32, tf.bfloat16)


def test_masked_l1_by_hand():
    truth = np.zeros((1, 2, 2, 3), np.float32)
    painted = np.zeros_like(truth)
    painted[0, 0, 0] = (0.3, -0.6, 0.9)
    painted[0, 1, 1] = 5
    region = np.zeros((1, 2, 2, 1), np.float32)
    region[0, 0] = 1
    # Two pixels of three values: (0.3 + 0.6 + 0.9) / 6.
    assert float(masked_l1(truth, painted, region)) == pytest.approx(0.3)
    assert float(masked_l1(truth, painted, region * 0)) == 0


def test_psnr_loss_is_the_mean_psnr():
    rng = np.random.default_rng(0)
    truth, painted = rng.uniform(-1, 1, (2, 3, 8, 8, 3)).astype(np.float32)
    # A hole each, of another size and with another error.
    mask = np.zeros((3, 8, 8, 1), np.float32)
    for index, side in enumerate((2, 4, 7)):
        mask[index, :side, :side] = 1
        painted[index] = truth[index] + (index + 1) * (painted[index] - truth[index])
    errors = ((truth - painted) ** 2 * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)) / 3
    decibels = np.mean(10 * np.log10(4 / errors))
    lost = float(psnr_loss(truth, painted, mask))
    assert 10 * np.log10(4) - 10 / np.log(10) * lost == pytest.approx(
        decibels, abs=0.02
    )
    # No hole, and nothing wrong: finite.
    assert np.isfinite(float(psnr_loss(truth, truth, mask * 0)))


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (2, 2, 32, 32, 3)).astype(np.float32)


class TestPerceptual:
    def test_against_numpy_on_its_own_features(self, photos):
        layers = {"block1_conv1": 2.0, "block2_conv1": 0.5}
        loss = PerceptualLoss("vgg16", "random", layers)
        truth, painted = photos
        expected = 0
        # As Keras' VGG takes it: BGR in 0..255 less ImageNet's means.
        scaled = [
            ((x + 1) * 127.5)[..., ::-1] - np.array([103.939, 116.779, 123.68])
            for x in (truth, painted)
        ]
        features = [loss.features(x.astype(np.float32)) for x in scaled]
        for name, weight in layers.items():
            real, fake = (np.array(one[name], float) for one in features)
            expected += weight * np.abs(real - fake).mean() / np.abs(real).mean()
        assert float(loss(truth, painted)) == pytest.approx(expected, rel=1e-4)
        assert float(loss(truth, truth)) == 0

    def test_unit_against_numpy_on_its_own_features(self, photos):
        layers = {"block1_conv1": 2.0, "block2_conv1": 0.5}
        loss = PerceptualLoss("vgg16", "random", layers, difference="unit")
        expected = 0
        features = [loss.extract(x.astype(np.float32)) for x in photos]
        for name, weight in layers.items():
            real, fake = (np.array(one[name], float) for one in features)
            real, fake = (
                one / np.maximum(np.linalg.norm(one, axis=-1, keepdims=True), 1e-3)
                for one in (real, fake)
            )
            expected += weight * ((real - fake) ** 2).sum(-1).mean()
        assert float(loss(*photos)) == pytest.approx(expected, rel=1e-3)
        assert float(loss(photos[0], photos[0])) == 0

    def test_unit_has_a_finite_gradient_where_there_is_no_feature(self, photos):
        loss = PerceptualLoss(
            "vgg16", "random", {"block1_conv1": 1.0}, difference="unit"
        )
        real = loss.extract(photos[0])
        fake = tf.zeros_like(real["block1_conv1"])
        with tf.GradientTape() as tape:
            tape.watch(fake)
            value = loss.compare(real, {"block1_conv1": fake})
        assert np.isfinite(tape.gradient(value, fake)).all() and float(value) > 0.5

    @pytest.mark.parametrize("difference", ["relative", "unit"])
    def test_in_mixed_precision_it_is_nearly_the_same(self, photos, difference):
        arguments = {"layers": {"block1_conv1": 1.0}, "difference": difference}
        plain = PerceptualLoss("vgg16", "random", **arguments)
        with precision(True):
            mixed = PerceptualLoss("vgg16", "random", **arguments)
            values = [float(mixed(*(tf.cast(x, t) for x in photos))) for t in _TYPES]
            (features,) = mixed.extract(photos[0]).values()
        assert features.dtype == tf.float32
        assert values == pytest.approx([float(plain(*photos))] * 2, rel=0.02)
        assert values[0] != float(plain(*photos))

    def test_scale_averages_squares_first(self, photos):
        layers = {"block1_conv1": 1.0}
        small = [x.reshape(2, 16, 2, 16, 2, 3).mean((2, 4)) for x in photos]
        full = PerceptualLoss("vgg16", "random", layers)
        half = PerceptualLoss("vgg16", "random", layers, scale=2)
        assert float(half(*photos)) == pytest.approx(float(full(*small)), rel=1e-4)

    def test_random_weights_are_said_in_the_log_and_seeded(self, caplog):
        with caplog.at_level(logging.INFO, "portrait_tf"):
            one = build_vgg("vgg19", "random", ["block1_conv1"], seed=1)
        assert "RANDOM weights" in caplog.text and "vgg19" in caplog.text
        two = build_vgg("vgg19", "random", ["block1_conv1"], seed=1)
        np.testing.assert_array_equal(one.get_weights()[0], two.get_weights()[0])

    def test_random_weights_leave_all_other_random_numbers_alone(self):
        drawn = []
        for _ in range(2):
            build_vgg("vgg16", "random", ["block1_conv1"], seed=1)
            layer = keras.layers.Dense(1)
            layer.build((None, 1))
            drawn.append([np.random.rand(), random.random(), *layer.get_weights()[0]])
        for one, two in zip(*drawn, strict=True):
            assert one != two

    def test_vgg_is_frozen_and_ends_at_the_deepest_layer(self):
        vgg = build_vgg("vgg19", "random", ["block2_conv1"])
        assert not vgg.trainable_variables
        assert vgg.layers[-1].name == "block2_conv1"

    def test_an_unknown_layer_is_named_with_the_known_ones(self):
        with pytest.raises(
            PortraitError, match="no layer 'block9_conv1'.*block1_conv1"
        ):
            build_vgg("vgg16", "random", ["block9_conv1"])

    @pytest.mark.parametrize("nested", [False, True])
    def test_weights_from_a_file(self, tmp_path, nested):
        rng = np.random.default_rng(2)
        kernels = {
            "block1_conv1": rng.normal(size=(3, 3, 3, 64)),
            "block1_conv2": rng.normal(size=(3, 3, 64, 64)),
        }
        path = tmp_path / "vgg.h5"
        with h5py.File(path, "w") as file:
            for index, (name, kernel) in enumerate(kernels.items()):
                suffix = f"_{index}" if index else ""
                group = f"block1/layers/conv2d{suffix}/vars" if nested else name
                file[f"{group}/0"] = kernel.astype(np.float32)
                file[f"{group}/1"] = np.full(64, index, np.float32)
        vgg = build_vgg("vgg16", str(path), ["block1_conv2"])
        kernel, bias = vgg.get_layer("block1_conv2").get_weights()
        np.testing.assert_allclose(kernel, kernels["block1_conv2"], rtol=1e-6)
        assert (bias == 1).all()

    def test_bad_files_are_named(self, tmp_path):
        with pytest.raises(PortraitError, match="no such file.*none.h5"):
            build_vgg("vgg16", str(tmp_path / "none.h5"), ["block1_conv1"])
        path = tmp_path / "text.h5"
        path.write_text("not HDF5")
        with pytest.raises(PortraitError, match="text.h5 is not an HDF5"):
            build_vgg("vgg16", str(path), ["block1_conv1"])
        path = tmp_path / "other.h5"
        with h5py.File(path, "w") as file:
            file["block1_conv1/0"] = np.zeros((5, 5, 3, 8), np.float32)
        with pytest.raises(
            PortraitError, match="other.h5 has no weights.*block1_conv1"
        ):
            build_vgg("vgg16", str(path), ["block1_conv1"])


def scores(*values):
    return np.array(values, np.float32).reshape(1, -1, 1, 1)


class TestAdversarial:
    real = scores(2.0, 0.5, -1.0)
    fake = scores(-2.0, 0.0, 3.0)

    # By hand, e.g. hinge: (0 + 0.5 + 2) / 3 + (0 + 1 + 4) / 3, and -(-2 + 0 + 3) / 3.
    @pytest.mark.parametrize(
        ("kind", "critic", "generator"),
        [
            ("hinge", 2.5 / 3 + 5 / 3, -1 / 3),
            ("least_squares", ((1 + 0.25 + 4) / 3 + (4 + 9) / 3) / 2, (9 + 1 + 4) / 6),
            ("wgan_gp", 1 / 3 - 0.5, -1 / 3),
        ],
    )
    def test_by_hand(self, kind, critic, generator):
        loss = AdversarialLoss(kind)
        assert float(loss.critic(self.real, self.fake)) == pytest.approx(critic)
        assert float(loss.generator(self.fake)) == pytest.approx(generator)

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_mask_chooses_patches(self, kind):
        loss = AdversarialLoss(kind)
        mask = scores(0.125, 0.0, 0.125)
        expected = float(loss.critic(self.real[:, ::2], self.fake[:, ::2]))
        found = float(loss.critic(self.real, self.fake, mask))
        assert found == pytest.approx(expected)
        expected = float(loss.generator(self.fake[:, ::2]))
        assert float(loss.generator(self.fake, mask)) == pytest.approx(expected)
        # No hole, no loss.
        assert float(loss.critic(self.real, self.fake, 0 * mask)) == 0

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("mask", [None, scores(0.0, 1.0, 1.0, 0.0)])
    def test_every_scale_counts_equally(self, kind, mask):
        loss = AdversarialLoss(kind)
        reals = [scores(2.0, 0.5, -1.0, 1.0), scores(0.3, -0.2)]
        fakes = [scores(-2.0, 0.0, 3.0, -1.0), scores(-0.7, 0.9)]
        pairs = list(zip(reals, fakes, strict=True))
        expected = np.mean([float(loss.critic(*pair, mask)) for pair in pairs])
        assert float(loss.critic(reals, fakes, mask)) == pytest.approx(expected)
        expected = np.mean([float(loss.generator(fake, mask)) for fake in fakes])
        assert float(loss.generator(fakes, mask)) == pytest.approx(expected)

    def test_an_unknown_kind_is_refused(self):
        with pytest.raises(ValueError, match="of hinge, least_squares, wgan_gp, rec"):
            AdversarialLoss("none")

    def test_weights_of_patches_by_hand(self):
        mask = np.zeros((1, 8, 12, 1), np.float32)
        mask[0, :2, :1] = 1  # An eighth of the first patch.
        mask[0, 4:, 4:8] = 1
        scores = [np.zeros((1, 2, 3, 1)), np.zeros((1, 1, 2, 1))]
        fine, coarse = (np.array(one)[0, ..., 0] for one in patch_weights(mask, scores))
        np.testing.assert_allclose(fine, [[0.5, 0, 0], [0, 1, 0]])
        # 2 + 8 of 48 pixels, and 8.
        np.testing.assert_allclose(coarse, [[40 / 48, 32 / 48]], rtol=1e-6)

    @pytest.mark.parametrize("size", [(9, 17), (10, 3), (32, 48)])
    def test_weights_fit_scores_of_any_size(self, size):
        for strides in (1, 2, 4, 8, 16):
            shape = (1, *(-(-side // strides) for side in size), 1)
            weights = patch_weights(np.ones((1, *size, 1), "f"), np.zeros(shape))
            np.testing.assert_allclose(weights, np.ones(shape), rtol=1e-6)

    def test_penalties_against_numpy(self):
        rng = np.random.default_rng(3)
        gradients = rng.normal(size=(2, 4, 5, 3)).astype(np.float32)
        mask = (rng.uniform(size=(2, 4, 5, 1)) < 0.5).astype(np.float32)
        norms = np.sqrt(((gradients * mask) ** 2).sum((1, 2, 3)))
        assert float(gradient_penalty(gradients, mask)) == pytest.approx(
            ((norms - 1) ** 2).mean(), rel=1e-5
        )
        assert float(r1_penalty(gradients)) == pytest.approx(
            (gradients**2).sum() / 2 / 2, rel=1e-5
        )

    def test_feature_matching_against_numpy(self):
        rng = np.random.default_rng(4)
        shapes = [(2, 4, 4, 3), (2, 2, 2, 5)]
        real, fake = ([rng.normal(size=s).astype("f") for s in shapes] for _ in "rf")
        expected = sum(np.abs(a - b).mean() for a, b in zip(real, fake, strict=True))
        assert float(feature_matching(real, fake)) == pytest.approx(expected, rel=1e-5)


class TestTotalVariation:
    def test_against_a_loop(self, photos):
        truth, painted = (x[:, :7, :6] for x in photos)
        mask = np.zeros((2, 7, 6, 1), np.float32)
        mask[0, 2:4, 3] = 1
        mask[1, 6, 0] = 1
        completed = np.where(mask > 0, painted, truth)
        grown = cv2.dilate(mask[..., 0].transpose(1, 2, 0), np.ones((3, 3)))
        grown = grown.transpose(2, 0, 1) > 0
        total = 0.0
        for sample, row, column in np.argwhere(grown):
            for other in ((row + 1, column), (row, column + 1)):
                if other[0] < 7 and other[1] < 6 and grown[sample][other]:
                    step = completed[sample][other] - completed[sample, row, column]
                    total += np.abs(step).sum()
        expected = total / (3 * grown.sum())
        assert float(total_variation(truth, painted, mask)) == pytest.approx(
            expected, rel=1e-5
        )
        assert float(total_variation(truth, painted, mask * 0)) == 0


class TestLabelColor:
    def scene(self, seed=0):
        """Two samples with soft maps: one label at each pixel, and a little of all."""
        rng = np.random.default_rng(seed)
        truth, painted = rng.uniform(-1, 1, (2, 2, 12, 10, 3)).astype(np.float32)
        mask = np.zeros((2, 12, 10, 1), np.float32)
        mask[0, 3:9, 2:8] = 1
        mask[1, 8:] = 1
        parsing = rng.uniform(size=(2, 12, 10, 20)) * 0.02
        chosen = rng.choice([0, 5, 9, 18, 19], (2, 12, 10))
        np.put_along_axis(parsing, chosen[..., None], 1.0, -1)
        parsing /= parsing.sum(-1, keepdims=True)
        return truth, painted, mask, parsing.astype(np.float32)

    def expected(self, truth, painted, mask, parsing, smallest):
        groups = [(label,) for label in range(1, 14)] + [(14, 15), (16, 17), (18, 19)]
        total, areas = 0.0, 0.0
        for sample in range(len(truth)):
            hole = mask[sample, ..., 0] > 0
            for group in groups:
                sure = parsing[sample][..., list(group)].sum(-1).astype(float)
                sure[sure < 0.5] = 0
                inside, outside = sure[hole].sum(), sure[~hole].sum()
                if inside < 1 or outside < smallest * hole.size:
                    continue
                hidden = (sure[hole][:, None] * painted[sample][hole]).sum(0) / inside
                seen = (sure[~hole][:, None] * truth[sample][~hole]).sum(0) / outside
                total += inside * np.abs(hidden - seen).mean()
                areas += inside
        return total / areas

    @pytest.mark.parametrize("smallest", [0.002, 0.15])
    def test_against_a_loop(self, smallest):
        scene = self.scene()
        expected = self.expected(*scene, smallest)
        assert float(label_color(*scene, smallest)) == pytest.approx(expected, rel=1e-4)

    def test_a_left_shoe_is_measured_by_the_right_one(self):
        truth = np.zeros((1, 8, 8, 3), np.float32)
        painted = np.full_like(truth, 0.75)
        mask = np.zeros((1, 8, 8, 1), np.float32)
        mask[:, 4:] = 1
        label = np.zeros((1, 8, 8), int)
        label[:, 2, :2], label[:, 6, :2] = 18, 19
        truth[:, 2, :2] = 0.25
        loss = label_color
        one_hot = np.eye(20, dtype=np.float32)
        assert float(loss(truth, painted, mask, one_hot[label])) == pytest.approx(0.5)
        # Not by a dress, which is another garment; not by the background.
        label[:, 6, :2] = 6
        assert float(loss(truth, painted, mask, one_hot[label])) == 0
        assert float(loss(truth, painted, mask * 0, one_hot[label])) == 0

    def test_it_pulls_the_hidden_color_to_the_seen_one_within_the_label(self):
        truth, painted, mask, parsing = map(tf.constant, self.scene(1))
        with tf.GradientTape() as tape:
            tape.watch([truth, painted])
            loss = label_color(truth, painted, mask, parsing)
        gradients = tape.gradient(loss, [truth, painted])
        # The photo's own colors are a target.
        assert gradients[0] is None
        moved = np.abs(gradients[1]).max(-1) > 0
        person = (np.argmax(parsing, -1) > 0) & (mask.numpy()[..., 0] > 0)
        np.testing.assert_array_equal(moved, person)


class TestStyle:
    layers = {"block1_conv1": 2.0, "block2_conv1": 0.5}

    def test_against_numpy(self, photos):
        perceptual = PerceptualLoss("vgg16", "random", self.layers)
        real, fake = (perceptual.extract(x) for x in photos)
        expected = 0.0
        for name, weight in self.layers.items():
            one, two = (np.array(x[name], np.float64) for x in (real, fake))
            unit = np.abs(one).mean()
            size = np.prod(one.shape[1:])
            grams = [
                np.einsum("bhwc,bhwd->bcd", x / unit, x / unit) / size
                for x in (one, two)
            ]
            expected += weight * np.abs(grams[0] - grams[1]).mean()
        assert float(StyleLoss(self.layers)(real, fake)) == pytest.approx(
            expected, rel=1e-3
        )
