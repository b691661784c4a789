"""The same training under Keras' JAX backend, in a process of its own."""

import csv
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml
from command_line import run
from tiny import TINY

from portrait_tf.data.synthetic import write_synthetic
from portrait_tf.losses.perceptual import build_vgg

pytest.importorskip("jax")

# A row of `log.csv` for every step. Adam divides by gradients' size: where that is 0
# but for rounding, its steps differ by all of their length.
CHANGES = [
    "parsing.training.steps_per_epoch=1",
    "completion.training.steps_per_epoch=1",
    "completion.training.optimizer={name: sgd, learning_rate: 0.01}",
    "completion.discriminator_optimizer={name: sgd, learning_rate: 0.01}",
    "completion.network.sharpness=2",
    "completion.perceptual.difference=unit",
    "completion.training.ema=0.9",
    "completion.training.tensorboard=false",
    "parsing.training.tensorboard=false",
    "completion.schedule={reconstruction_steps: 3, critic_steps: 1}",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backends")
    write_synthetic(folder / "data", train=4, val=2, size=(64, 64))
    # Random weights are others with every backend.
    vgg = build_vgg("vgg16", "random", ["block1_conv2"])
    vgg.save_weights(folder / "vgg.weights.h5")
    config = {**TINY, "completion": {**TINY["completion"]}}
    config["completion"]["perceptual"] = {
        **TINY["completion"]["perceptual"], "weights": str(folder / "vgg.weights.h5"),
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def command(data, stage, folder, steps, *changes):
    sets = [f"--set={one}" for one in (*CHANGES, *changes)]
    return [
        "train", stage, "--config", data / "config.yaml", "--data", data / "data",
        "--run", folder, "--steps", steps, *sets,
    ]  # fmt: skip


def train_with_jax(data, stage, folder, steps, *changes):
    """Returns the exit code and stderr."""
    program = "import sys; from portrait_tf.cli import main; sys.exit(main())"
    arguments = map(str, command(data, stage, folder, steps, *changes))
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stderr


def rows(folder, stage):
    with open(folder / stage / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


def assert_alike(one, two, tolerance):
    assert len(one) == len(two) and one[0].keys() == two[0].keys()
    for first, second in zip(one, two, strict=True):
        for name, value in first.items():
            assert float(second[name]) == pytest.approx(
                float(value), rel=tolerance, abs=tolerance
            ), f"epoch {first['epoch']}, {name}"


@pytest.mark.long
def test_five_steps_of_both_stages_and_all_phases(data, tmp_path):
    begun, with_jax = tmp_path / "begun", tmp_path / "jax"
    assert run(*command(data, "parsing", begun, 1))[0] == 0
    shutil.copytree(begun, with_jax)
    assert run(*command(data, "parsing", begun, 6))[0] == 0
    code, errors = train_with_jax(data, "parsing", with_jax, 6)
    assert code == 0, errors[-2000:]
    assert "resuming parsing at step 1" in errors
    ours = rows(begun, "parsing")
    assert len(ours) == 6
    assert_alike(ours, rows(with_jax, "parsing"), 2e-3)

    # Critics are made in this step, so both backends start with the same.
    code, output = run(*command(data, "completion", begun, 1))
    assert code == 0, output
    shutil.rmtree(with_jax)
    shutil.copytree(begun, with_jax)
    assert run(*command(data, "completion", begun, 6))[0] == 0
    code, errors = train_with_jax(data, "completion", with_jax, 6)
    assert code == 0, errors[-2000:]
    ours = rows(begun, "completion")
    assert len({row["critic"] for row in ours}) > 2
    assert_alike(ours, rows(with_jax, "completion"), 1e-3)
    assert (with_jax / "completion" / "preview.png").is_file()
    # And back: what JAX has written, TensorFlow goes on with.
    code, output = run(*command(data, "completion", with_jax, 7))
    assert code == 0, output
    with np.load(with_jax / "completion" / "checkpoint.npz") as file:
        assert any(name.startswith("averaged/") for name in file.files)


def test_what_only_tensorflow_does_is_refused(data, tmp_path):
    code, errors = train_with_jax(
        data, "parsing", tmp_path / "run", 2, "parsing.training.mixed_precision=true"
    )
    assert code == 2
    assert "parsing.training.mixed_precision: expected Keras' TensorFlow" in errors
    assert "Traceback" not in errors and not (tmp_path / "run").exists()
