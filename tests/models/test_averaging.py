"""Stage 1 over scales and the mirrored photo."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import assert_equal_arrays, shaken

from portrait_tf.config import save_config, with_changes
from portrait_tf.errors import PortraitError
from portrait_tf.inference.averaging import AveragedParsing
from portrait_tf.inference.pipeline import Pipeline
from portrait_tf.labels import FLIPPED_JOINTS
from portrait_tf.runs.folder import build_network


@pytest.fixture
def network(tiny_config):
    """48x32, with random weights: every label and every joint answers otherwise."""
    keras.utils.set_random_seed(1)
    config = tiny_config.model_copy(update={"size": (48, 32)})
    return shaken(build_network("parsing", config), 0.1, seed=1)


@pytest.fixture
def inputs():
    rng = np.random.default_rng(2)
    image = rng.uniform(-1, 1, (2, 48, 32, 3)).astype(np.float32)
    mask = np.zeros((2, 48, 32, 1), np.float32)
    mask[0, 10:30, 4:14], mask[1, 30:] = 1, 1
    return image * (1 - mask), mask


def numbers(answer):
    return {name: np.array(value) for name, value in answer.items()}


def test_without_options_it_is_the_network(network, inputs):
    image, mask = inputs
    found = numbers(AveragedParsing(network)(image, mask))
    structure = network({"image": image, "mask": mask})
    np.testing.assert_array_equal(found["pose"], structure["pose_2"])
    logits = tf.image.resize(structure["parsing"], (48, 32))
    np.testing.assert_allclose(found["logits"], logits, atol=1e-5)
    np.testing.assert_allclose(found["parsing"], tf.nn.softmax(logits), atol=1e-5)
    for flip, scales in ((False, (1.0,)), (False, (1.02,))):
        again = numbers(AveragedParsing(network, flip, scales)(image, mask))
        assert_equal_arrays(found, again)


def test_flip_is_the_mean_of_two_answers_with_left_and_right_swapped(network, inputs):
    averaged = numbers(AveragedParsing(network, flip=True)(*inputs))
    alone = AveragedParsing(network)
    plain = numbers(alone(*inputs))
    mirrored = numbers(alone(*(x[:, :, ::-1] for x in inputs)))
    left_leg, right_leg, left_wrist, right_wrist = 16, 17, 15, 10
    for name, one, other in (
        ("parsing", left_leg, right_leg),
        ("pose", left_wrist, right_wrist),
    ):
        expected = (plain[name][..., one] + mirrored[name][:, :, ::-1, other]) / 2
        np.testing.assert_allclose(averaged[name][..., one], expected, atol=1e-5)
    np.testing.assert_allclose(averaged["parsing"].sum(-1), 1, atol=1e-4)
    np.testing.assert_array_equal(
        averaged["logits"].argmax(-1), averaged["parsing"].argmax(-1)
    )


def test_scales_are_networks_of_other_sizes_with_the_same_weights(network, inputs):
    averaged = AveragedParsing(network, scales=(0.6, 1.0, 1.5))
    assert [one.size for one in averaged.networks] == [(32, 16), (48, 32), (64, 48)]
    assert averaged.networks[1] is network
    for one in averaged.networks:
        assert_equal_arrays(one.weights, network.weights)
    found = numbers(averaged(*inputs))
    singles = [
        numbers(AveragedParsing(network, scales=(scale,))(*inputs))
        for scale in averaged.scales
    ]
    assert np.abs(singles[0]["parsing"] - singles[1]["parsing"]).max() > 1e-3
    for name in ("parsing", "pose"):
        assert found[name].shape == singles[1][name].shape
        expected = np.mean([one[name] for one in singles], axis=0)
        np.testing.assert_allclose(found[name], expected, atol=1e-5)


def test_no_scale_lets_the_hole_leak(network, inputs):
    image, mask = inputs
    averaged = AveragedParsing(network, flip=True, scales=(0.7, 1.4))
    # The pipeline empties the hole first; what would be left in it must not be read.
    for name, value in averaged(image, mask).items():
        filled = averaged(image + mask * 5, mask)[name]
        np.testing.assert_allclose(value, filled, atol=1e-5)


@pytest.mark.parametrize("scales", [(), (0.0,), (1.0, -1.0)])
def test_scales_that_are_none(network, scales):
    with pytest.raises(PortraitError, match="at least one scale, and each above 0"):
        AveragedParsing(network, scales=scales)


class TestPipeline:
    options = {"flip": True, "scales": (0.5, 1.0)}

    def build(self, pipeline, **options):
        networks = pipeline.parsing_network, pipeline.completion_network
        return Pipeline(*networks, detail=False, **options)

    def photo(self):
        rng = np.random.default_rng(3)
        photo = rng.integers(0, 256, (1, 64, 64, 3)).astype(np.uint8)
        mask = np.zeros((1, 64, 64, 1), np.uint8)
        mask[:, 20:50, 10:40] = 255
        return photo, mask

    def test_defaults_change_nothing(self, tiny_pipeline):
        photo, mask = self.photo()
        one = numbers(tiny_pipeline(photo, mask))
        two = numbers(self.build(tiny_pipeline, flip=False, scales=(1.0,))(photo, mask))
        assert_equal_arrays(one, two)
        assert tiny_pipeline.keras_models == [
            tiny_pipeline.parsing_network,
            tiny_pipeline.completion_network,
        ]

    def test_joints_of_a_mirrored_photo_are_mirrored(self, tiny_pipeline):
        photo, mask = self.photo()
        pipeline = self.build(tiny_pipeline, **self.options)
        plain = pipeline.joints(photo, mask).numpy()
        mirrored = pipeline.joints(photo[:, :, ::-1], mask[:, :, ::-1]).numpy()
        expected = plain[:, FLIPPED_JOINTS]
        expected[..., 0] = 63 - expected[..., 0]
        np.testing.assert_allclose(mirrored, expected, atol=1e-3)

    def test_a_run_says_so_in_its_config(self, tiny_pipeline, tiny_config, tmp_path):
        from portrait_tf.runs.storage import save_arrays

        config = with_changes(tiny_config, ["pipeline={flip: true, scales: [0.5, 1]}"])
        save_config(config, tmp_path / "config.yaml")
        for stage in ("parsing", "completion"):
            network = build_network(stage, config)
            path = tmp_path / stage / "checkpoint.npz"
            save_arrays(path, {"network": network.weights}, {})
        pipeline = Pipeline.from_run(tmp_path)
        assert pipeline.structure.flip and pipeline.structure.scales == (0.5, 1.0)
        with pytest.raises(
            PortraitError, match=r"'pipeline.scales.0': .*above|greater"
        ):
            with_changes(config, ["pipeline.scales=[0]"])

    def test_the_bundled_weights_are_asked_once(self):
        structure = Pipeline.bundled().structure
        assert not structure.flip and structure.scales == (1.0,)
