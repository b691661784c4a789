"""The layer table of JPPNet, computed by hand from what its authors' code says."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from network_inputs import photos_and_masks
from tiny import current_rate

from portrait_tf.compat import variable_path as path_of
from portrait_tf.config import load_config, with_changes
from portrait_tf.inference.engines import PipelineEngine
from portrait_tf.inference.pipeline import Pipeline
from portrait_tf.models import CompletionNetwork, JPPNet
from portrait_tf.models.parsing import full_size_logits
from portrait_tf.training.build import build_trainer

TINY = {"size": (32, 48), "backbone": "resnet50", "width_divisor": 16}


def conv(kernel_size, inputs, outputs):
    """Parameters of a convolution with a bias."""
    return kernel_size**2 * inputs * outputs + outputs


@pytest.fixture(scope="module")
def network():
    return JPPNet()


@pytest.fixture(scope="module")
def tiny():
    # With some seeds so narrow a network starts far from equal labels.
    keras.utils.set_random_seed(1)
    return JPPNet(**TINY, mask_channel=True)


def count(network, prefix):
    return sum(
        layer.count_params()
        for layer in network.layers
        if layer.name.startswith(prefix)
    )


def test_parameters_of_every_branch(network):
    atrous_sum = 4 * conv(3, 2048, 20)
    parsing_feature = conv(3, 2048, 512) + conv(3, 512, 256)
    assert count(network, "parsing_0") == atrous_sum + parsing_feature

    pose = conv(3, 1024, 512) + conv(3, 512, 512) + conv(3, 512, 256)
    pose += 3 * conv(3, 256, 256) + conv(1, 256, 512) + conv(1, 512, 16)
    assert count(network, "pose_0") == pose

    remaps = conv(1, 16, 128) + conv(1, 20, 128)
    trunk = conv(3, 256 + 2 * 128, 512) + conv(5, 512, 256)
    trunk += conv(7, 256, 256) + conv(9, 256, 256) + conv(1, 256, 256)
    for step in (1, 2):
        assert count(network, f"pose_{step}") == remaps + trunk + conv(1, 256, 16)
        parsing = remaps + trunk + 4 * conv(3, 256, 20)
        assert count(network, f"parsing_{step}") == parsing


def test_parameters_of_the_backbone(network):
    """Convolutions with biases, each followed by 4 values a channel of the norm."""
    total = conv(7, 3, 64) + 4 * 64
    inputs = 64
    for width, blocks in ((64, 3), (128, 4), (256, 23), (512, 3)):
        total += conv(1, inputs, 4 * width) + 4 * 4 * width
        for _ in range(blocks):
            total += conv(1, inputs, width) + conv(3, width, width)
            total += conv(1, width, 4 * width) + 4 * (width + width + 4 * width)
            inputs = 4 * width
    backbone = network.get_layer("backbone")
    assert backbone.count_params() == total
    trained = {
        path_of(variable).split("/")[1] for variable in backbone.trainable_weights
    }
    assert trained == {"kernel", "bias"}


def test_strides_and_dilation_rates(network):
    backbone = network.get_layer("backbone")
    strides, rates = {}, {}
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.Conv2D):
            stage = layer.name.split("_")[1]
            strides[stage] = strides.get(stage, set()) | {layer.strides}
            if layer.kernel_size == (3, 3):
                rates[stage] = rates.get(stage, set()) | {layer.dilation_rate}
    # Once each: pooling makes the stride 4, conv3's first block makes it 8.
    assert strides == {
        "conv1": {(2, 2)},
        "conv2": {(1, 1)},
        "conv3": {(1, 1), (2, 2)},
        "conv4": {(1, 1)},
        "conv5": {(1, 1)},
    }
    assert rates == {
        "conv2": {(1, 1)},
        "conv3": {(1, 1)},
        "conv4": {(2, 2)},
        "conv5": {(4, 4)},
    }
    for step in range(3):
        for rate in (6, 12, 18, 24):
            layer = network.get_layer(f"parsing_{step}_rate{rate}")
            assert layer.dilation_rate == (rate, rate) and layer.filters == 20


def test_shapes_at_the_real_widths(network):
    outputs = network(
        {
            "image": keras.Input((384, 384, 3), batch_size=1),
            "mask": keras.Input((384, 384, 1), batch_size=1),
        }
    )
    shapes = {name: tuple(output.shape) for name, output in outputs.items()}
    expected = {f"parsing_{step}": (1, 48, 48, 20) for step in range(3)}
    expected |= {f"pose_{step}": (1, 48, 48, 16) for step in range(3)}
    assert shapes == {**expected, "parsing": (1, 48, 48, 20)}
    for name, channels in (
        ("pose_0_feature", 256),
        ("parsing_2_feature", 256),
        ("parsing_1_inputs", 512),
    ):
        assert network.get_layer(name).output.shape[-1] == channels


def test_each_task_reads_both_answers_of_the_round_before(network):
    for step in (1, 2):
        for task in ("pose", "parsing"):
            for source in ("pose", "parsing"):
                remap = network.get_layer(f"{task}_{step}_remap_{source}")
                answer = network.get_layer(f"{source}_{step - 1}").output
                assert remap.input is answer


def test_any_size_and_the_photo_enlarged(tiny):
    for size in ((32, 48), (24, 36), (16, 24)):
        outputs = tiny(photos_and_masks(size))
        cells = tuple(-(-side // 8) for side in size)
        assert tuple(outputs["pose_2"].shape) == (2, *cells, 16)
        np.testing.assert_array_equal(outputs["parsing"], outputs["parsing_2"])
        assert tuple(full_size_logits(outputs, (32, 48)).shape) == (2, 32, 48, 20)


def test_the_mask_is_read_only_if_asked_for(tiny):
    x = photos_and_masks()
    other = {**x, "mask": 1 - x["mask"]}
    assert np.abs(np.array(tiny(x)["parsing"] - tiny(other)["parsing"])).max() > 0
    blind = JPPNet(**TINY)
    np.testing.assert_array_equal(blind(x)["parsing"], blind(other)["parsing"])


def test_a_train_step_at_three_scales(tiny):
    """With the real config's losses and optimizer; every branch moves, norms do not."""
    config = with_changes(
        load_config("configs/jppnet.yaml"),
        ["size=[32,48]", "parsing.training.steps=10"],
    )
    trainer = build_trainer("parsing", tiny, [], config)
    rng = np.random.default_rng(1)
    batch = photos_and_masks()
    batch["parsing"] = rng.integers(0, 22, (2, 32, 48)).astype(np.int32)
    batch["joints"] = rng.uniform(0, 32, (2, 16, 3)).astype(np.float32)
    batch["joints"][..., 2] = 1
    batch = {name: tf.constant(value) for name, value in batch.items()}
    for variable in tiny.weights:
        # First answers near 0, whatever was drawn: their entropy is then known.
        if path_of(variable).startswith("parsing_0_rate"):
            variable.assign(0.1 * variable)
    before = {path_of(v): v.numpy() for v in tiny.weights}
    logs = trainer.train_step(batch)
    assert all(np.isfinite(value) for value in logs.values())
    # Four answers (three scales and their mean), three rounds each.
    assert float(logs["cross_entropy"]) == pytest.approx(12 * np.log(20), rel=0.3)
    assert current_rate(trainer.optimizer) == pytest.approx(1e-4 * 0.9**0.9)
    frozen = {"gamma", "beta", "moving_mean", "moving_variance"}
    still = {path_of(v) for v in tiny.weights if np.array_equal(before[path_of(v)], v)}
    norms = {path for path in before if path.split("/")[1] in frozen}
    assert norms <= still
    # The shared weights are trained by every scale: nothing is left out but norms.
    assert {path for path in still - norms if path.endswith("kernel")} == set()


@pytest.mark.long
def test_the_pipeline_takes_it(tiny):
    completion = CompletionNetwork(size=(32, 48), widths=(8, 8, 8), dilations=(1,))
    engine = PipelineEngine(Pipeline(tiny, completion))
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (40, 30, 3)).astype(np.uint8)
    mask = np.zeros((40, 30), np.uint8)
    mask[10:20, 5:15] = 255
    completed, parsing = engine.complete(photo, mask)
    np.testing.assert_array_equal(completed[mask == 0], photo[mask == 0])
    assert parsing.shape == (40, 30) and engine.joints(photo, mask).shape == (16, 3)
