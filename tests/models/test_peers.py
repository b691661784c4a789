"""The networks that our stage 2 is compared with."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import TINY

from portrait_tf.config import parse_config
from portrait_tf.data.dataset import training_dataset
from portrait_tf.inference.pipeline import Pipeline
from portrait_tf.metrics import hole_psnr
from portrait_tf.models import (
    ContextualAttentionNetwork,
    GlcNetwork,
    PartialConvUNet,
)
from portrait_tf.models.completion import completion_inputs
from portrait_tf.models.partial_convolution import level_count
from portrait_tf.runs.folder import build_network
from portrait_tf.runs.storage import read_arrays
from portrait_tf.training.build import build_trainer
from portrait_tf.training.commands import train_stage

SIZE = (32, 48)
# As configs name them, small.
NETWORKS = {
    "partial_convolution": {"widths": [16, 32, 32, 32, 32]},
    "contextual_attention": {"width": 8},
    "glc": {"width_divisor": 4},
}


def photos_with_holes(batch=2, seed=0, size=SIZE):
    rng = np.random.default_rng(seed)
    mask = np.zeros((batch, *size, 1), np.float32)
    for index in range(batch):
        mask[index, 8 + index : 20, 8 : 30 - index] = 1
    image = rng.uniform(-1, 1, (batch, *size, 3)).astype(np.float32)
    return {"image": image * (1 - mask), "mask": mask}


def peer_config(kind, **changes):
    completion = {**TINY["completion"], **changes}
    completion["network"] = {"kind": kind, **NETWORKS[kind]}
    return parse_config({**TINY, "completion": completion})


@pytest.mark.parametrize(
    ("network", "arguments"),
    [
        (PartialConvUNet, {"widths": (8, 8, 12)}),
        (ContextualAttentionNetwork, {"width": 4, "scale": 5.0}),
        (GlcNetwork, {"width_divisor": 16}),
    ],
)
def test_interface(network, arguments):
    built = network(SIZE, **arguments)
    assert built.takes_parsing is False and built.size == SIZE
    x = photos_with_holes()
    outputs = built(completion_inputs(built, x["image"], None, x["mask"]))
    names = ["painted"]
    if network is ContextualAttentionNetwork:
        names.insert(0, "coarse")
    assert list(outputs) == names
    for output in outputs.values():
        assert tuple(output.shape) == (2, *SIZE, 3)
        assert np.isfinite(np.array(output)).all()


def test_levels_follow_the_size():
    sizes = {(96, 64): 5, (192, 128): 6, (256, 256): 8, (512, 512): 8, (32, 32): 5}
    assert {size: level_count(size, 8) for size in sizes} == sizes
    network = PartialConvUNet((32, 48), (4,) * 8)
    assert network.get_layer("encode4_conv").output[0].shape[1:] == (2, 3, 4)
    with pytest.raises(ValueError, match="No such layer: encode5_conv"):
        network.get_layer("encode5_conv")
    # All but the first level are normalized.
    names = {layer.name for layer in network.layers if layer.name.endswith("_norm")}
    assert names == {
        *(f"encode{level}_norm" for level in (2, 3, 4)),
        *(f"decode{level}_norm" for level in (4, 3, 2)),
    }


def test_the_refinement_sees_the_coarse_answer_in_the_hole_alone():
    network = ContextualAttentionNetwork(SIZE, 4)
    seen = keras.Model(network.input, network.get_layer("coarse_completed").output)
    x = photos_with_holes()
    coarse = np.array(network(x)["coarse"])
    np.testing.assert_allclose(seen(x), x["image"] + x["mask"] * coarse, atol=1e-6)


def test_layers_of_glc():
    """The authors' table: 12 convolutions, then up, 1, up, 1, colors."""
    network = GlcNetwork((64, 64))
    convolutions = [layer for layer in network.layers if hasattr(layer, "kernel")]
    table = [
        (layer.filters, layer.kernel_size[0], layer.strides[0], layer.dilation_rate[0])
        for layer in convolutions
    ]
    assert table == [
        (64, 5, 1, 1), (128, 3, 2, 1), (128, 3, 1, 1), (256, 3, 2, 1), (256, 3, 1, 1),
        (256, 3, 1, 1), (256, 3, 1, 2), (256, 3, 1, 4), (256, 3, 1, 8), (256, 3, 1, 16),
        (256, 3, 1, 1), (256, 3, 1, 1), (128, 4, 2, 1), (128, 3, 1, 1), (64, 4, 2, 1),
        (32, 3, 1, 1), (3, 3, 1, 1),
    ]  # fmt: skip


def test_the_coarse_answer_has_a_loss_of_its_own():
    """Worth the same two weights of L1, times its own."""
    loss = {"hole": 3, "known": 2, "perceptual": 0, "coarse": 0.5}
    config = peer_config("contextual_attention", loss=loss)
    network, stage_1 = (build_network(one, config) for one in ("completion", "parsing"))
    trainer = build_trainer("completion", network, [stage_1], config)
    x = photos_with_holes(size=(32, 32))
    image = np.random.default_rng(0).uniform(-1, 1, x["image"].shape)
    image = image.astype(np.float32)
    parsing = np.zeros((2, 32, 32), np.int32)
    logs = trainer.test_step({"image": image, "mask": x["mask"], "parsing": parsing})
    logs = {name: float(value) for name, value in logs.items()}
    x["image"] = image * (1 - x["mask"])
    error = np.abs(np.array(network(x)["coarse"]) - image)
    hole = x["mask"][..., 0] > 0
    expected = 3 * error[hole].mean() + 2 * error[~hole].mean()
    assert logs["coarse"] == pytest.approx(expected, rel=1e-4)
    painted = 3 * logs["l1_hole"] + 2 * logs["l1_known"]
    assert logs["loss"] == pytest.approx(painted + 0.5 * expected, rel=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("kind", NETWORKS)
def test_a_gan_learns_one_batch_by_heart(kind, portraits):
    config = peer_config(
        kind,
        schedule={"reconstruction_steps": 0, "critic_steps": 0},
        training={
            "steps": 100, "batch_size": 4,
            "optimizer": {"learning_rate": 0.004, "warmup_steps": 5},
        },
    )  # fmt: skip
    keras.utils.set_random_seed(0)
    network = build_network("completion", config)
    stage_1 = build_network("parsing", config)
    trainer = build_trainer("completion", network, [stage_1], config)
    batch = next(iter(training_dataset(portraits, config, 4, 0, 1, 0)))

    def psnr():
        painted = trainer(batch)["painted"]
        return float(tf.reduce_mean(hole_psnr(batch["image"], painted, batch["mask"])))

    start = psnr()
    history = trainer.fit(
        tf.data.Dataset.from_tensors(batch).repeat(),
        epochs=2,
        steps_per_epoch=50,
        verbose=0,
        shuffle=False,
    ).history
    assert all(np.isfinite(values).all() for values in history.values())
    assert history["critic"][-1] > 0
    assert psnr() > start + 8


@pytest.mark.long
@pytest.mark.parametrize("kind", NETWORKS)
def test_a_run_from_files_to_files(kind, portraits, tmp_path):
    config = peer_config(kind)
    train_stage("parsing", config, portraits, tmp_path, verbose=0)
    history = train_stage(
        "completion", config, portraits, tmp_path, portraits, verbose=0
    )
    logged = set(history[-1])
    assert {"val_psnr_hole", "adversarial"} <= logged
    assert ("coarse" in logged) == (kind == "contextual_attention")
    assert (tmp_path / "completion" / "preview.png").is_file()
    arrays, meta = read_arrays(tmp_path / "completion" / "checkpoint.npz")
    assert meta["step"] == 5
    pipeline = Pipeline.from_run(tmp_path)
    photo = portraits[0].photo[None]
    mask = np.zeros((1, *photo.shape[1:3], 1), np.uint8)
    mask[:, 20:40, 20:40] = 255
    completed = np.array(pipeline(photo, mask)["completed"])
    np.testing.assert_array_equal(completed[:, :20], photo[:, :20])
    assert (completed != photo).any()
