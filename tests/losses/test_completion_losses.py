import logging

import h5py
import numpy as np
import pytest

from portrait_tf.errors import PortraitError
from portrait_tf.losses import (
    PerceptualLoss,
    discriminator_hinge,
    generator_hinge,
    masked_l1,
)
from portrait_tf.losses.perceptual import build_vgg


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


def test_hinge_by_hand():
    real = np.array([2.0, 0.5, -1.0], np.float32)
    fake = np.array([-2.0, 0.0, 3.0], np.float32)
    # (0 + 0.5 + 2) / 3 and (0 + 1 + 4) / 3.
    assert float(discriminator_hinge(real, fake)) == pytest.approx(2.5 / 3 + 5 / 3)
    assert float(generator_hinge(fake)) == pytest.approx(-1 / 3)


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
