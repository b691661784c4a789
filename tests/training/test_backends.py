"""Training on Keras' JAX backend: TensorFlow's losses, files and mistakes.

Each backend has a process of its own, for Keras chooses once; TensorFlow's is that of
the tests. A run begins on TensorFlow, goes on for five steps on JAX, and ends on
TensorFlow; its log is that of a run which never left TensorFlow.
"""

import csv
import importlib.util
import os
import shutil
import subprocess
import sys

import command_line
import h5py
import keras
import numpy as np
import pytest
from tiny import TINY

from portrait_tf.config import parse_config, save_config, with_changes
from portrait_tf.data.synthetic import write_synthetic
from portrait_tf.losses.perceptual import build_vgg
from portrait_tf.runs.storage import read_arrays

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="jax is not installed"
)

# Rates that do not depend on the number of steps: runs here end and go on.
CONSTANT = ("warmup_steps=0", "final_fraction=1")


def jax_command(*arguments, code="from portrait_tf.apps.cli import main; main()"):
    """Runs the command line on JAX; compiled in a hurry, which no number minds."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "XLA_FLAGS": "--xla_backend_optimization_level=0",
        },
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "people"
    write_synthetic(folder, 6, 2, size=(64, 64))
    return folder


def config_file(path, stage, *changes):
    """The tiny experiment, an epoch a step, so that `log.csv` has every step."""
    training = [f"{stage}.training.steps_per_epoch=1"]
    training += [f"{stage}.training.optimizer.{change}" for change in CONSTANT]
    save_config(with_changes(parse_config(TINY), [*training, *changes]), path)
    return path


def log_of(run, stage):
    with open(run / stage / "log.csv") as file:
        return [
            {name: float(value) for name, value in row.items()}
            for row in csv.DictReader(file)
        ]


def train_there_and_back(stage, config, data, run):
    """Two runs of seven steps; five of the second are JAX's.

    Returns:
        The log of the run on TensorFlow, and that of the other.
    """
    arguments = ["train", stage, "--config", config, "--data", data]
    other = run.parent / "other"

    def on_tensorflow(folder, steps):
        code, output = command_line.run(*arguments, "--run", folder, "--steps", steps)
        assert code == 0, output

    on_tensorflow(run, 1)
    shutil.copytree(run, other)
    done = jax_command(*arguments, "--run", other, "--steps", 6)
    assert done.returncode == 0, done.stderr
    assert f"resuming {stage} at step 1" in done.stderr
    assert "Warning" not in done.stderr
    on_tensorflow(run, 6)
    compare_arrays(run, other, stage)
    on_tensorflow(run, 7)
    on_tensorflow(other, 7)
    logs = log_of(run, stage), log_of(other, stage)
    assert [len(log) for log in logs] == [7, 7]
    return logs


def compare_arrays(one, other, stage):
    """Checkpoints hold the same names, and optimizers as many steps."""
    (arrays, meta), (others, other_meta) = (
        read_arrays(run / stage / "checkpoint.npz") for run in (one, other)
    )
    assert meta == other_meta
    assert {name: array.shape for name, array in arrays.items()} == {
        name: array.shape for name, array in others.items()
    }
    for name, array in arrays.items():
        if array.dtype.kind in "iu":
            np.testing.assert_array_equal(array, others[name], err_msg=name)


def assert_equal_logs(logs, tolerance, scores=()):
    for step, (row, other) in enumerate(zip(*logs, strict=True)):
        assert row.keys() == other.keys()
        for name, value in row.items():
            if name.removeprefix("val_") in scores:
                continue
            assert np.isfinite(value)
            assert other[name] == pytest.approx(value, rel=tolerance, abs=1e-5), (
                f"{name} of step {step}"
            )


def test_stage_1_has_the_losses_of_tensorflow(data, tmp_path):
    config = config_file(
        tmp_path / "config.yaml",
        "parsing",
        "parsing.training.ema=0.9",
        "parsing.training.tensorboard=false",
    )
    logs = train_there_and_back("parsing", config, data, tmp_path / "run")
    # Scores count pixels: one that is a tie may fall either way.
    assert_equal_logs(logs, 1e-4, {"miou", "miou_hole", "pckh"})
    losses = [row["loss"] for row in logs[0]]
    assert len({round(loss, 3) for loss in losses}) == 7
    assert (tmp_path / "other" / "parsing" / "preview.png").is_file()
    assert (tmp_path / "other" / "parsing" / "best.npz").is_file()


def completion_config(path, tmp_path, *changes):
    """Every term of stage 2; phases begin in the midst of JAX's steps."""
    vgg = build_vgg("vgg16", "random", ["block1_conv2"])
    with h5py.File(tmp_path / "vgg.h5", "w") as file:
        for layer in vgg.layers:
            for name, array in zip(
                ("kernel", "bias"), layer.get_weights(), strict=False
            ):
                file[f"{layer.name}/{name}"] = array
    loss = {"hole": 1, "known": 1, "psnr": 0.1, "perceptual": 1, "style": 1,
            "total_variation": 0.1, "label_colour": 1, "adversarial": 0.5,
            "adversarial_local": 0.5, "feature_matching": 1}  # fmt: skip
    optimizers = ("training.optimizer", "discriminator_optimizer")
    return config_file(
        path,
        "completion",
        f"completion.perceptual.weights={tmp_path / 'vgg.h5'}",
        "completion.perceptual.scale=2",
        *(f"completion.loss.{name}={weight}" for name, weight in loss.items()),
        # The rest are those of SGD: Adam's first steps have the size of the rate
        # however small a gradient is, and noise would be as loud as a signal.
        *(f"completion.{name}.name=sgd" for name in optimizers),
        *(f"completion.{name}.learning_rate=0.01" for name in optimizers),
        *(f"completion.discriminator_optimizer.{change}" for change in CONSTANT),
        "completion.schedule.reconstruction_steps=3",
        "completion.schedule.critic_steps=1",
        "completion.predicted_parsing=0.5",
        *(f"completion.{change}" for change in changes),
    )


@pytest.mark.long
@pytest.mark.parametrize(
    "changes",
    [
        ("discriminator.r1=0.5", "discriminator.r1_interval=2",
         "discriminator.local_crops=2"),
        ("discriminator.loss=wgan_gp", "discriminator.spectral_normalisation=false",
         "training.ema=0.9"),
    ],
    ids=["hinge", "wgan_gp"],
)  # fmt: skip
def test_stage_2_has_the_losses_of_tensorflow(changes, data, tmp_path):
    config = completion_config(
        tmp_path / "config.yaml", tmp_path, *changes, "network.prefill=none"
    )
    run = tmp_path / "run"
    code, output = command_line.run(
        "train", "parsing", "--config", config, "--data", data, "--run", run,
        "--steps", 1,
    )  # fmt: skip
    assert code == 0, output
    logs = train_there_and_back("completion", config, data, run)
    assert_equal_logs(logs, 1e-3)
    trained = {name for row in logs[1][1:6] for name, value in row.items() if value}
    assert {"critic", "critic_local", "adversarial", "perceptual"} <= trained
    assert {"gradient_penalty", "r1"} & trained
    # Critics alone are trained in the fourth step.
    assert logs[1][3]["l1_hole"] == 0.0 != logs[1][3]["critic"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "face"], "the stage 'face' trains on Keras' TensorFlow backend"),
        (
            ["train", "parsing", "--set", "parsing.training.mixed_precision=true"],
            "parsing.training.mixed_precision needs Keras' TensorFlow backend",
        ),
        (["export", "bundled"], "this needs Keras' backend tensorflow"),
    ],
)
def test_what_jax_does_not_do_is_said(arguments, sentence, data, tmp_path):
    if arguments[0] == "train":
        config = config_file(tmp_path / "config.yaml", "parsing")
        arguments = [*arguments, "--config", config, "--data", data]
        arguments += ["--run", tmp_path / "run"]
    else:
        arguments = [*arguments, tmp_path / "models"]
    done = jax_command(*arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"portrait-tf: {sentence}")
    assert "'jax'" in done.stderr
    assert not (tmp_path / "run").exists() and not (tmp_path / "models").exists()


def test_jax_that_is_not_installed_is_named(tmp_path):
    done = jax_command(
        "export", "bundled", tmp_path / "models",
        code="import sys; sys.modules['jax'] = None; "
        "from portrait_tf.apps.cli import main; main()",
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.endswith("pip install 'portrait-tf[jax]'\n")


@pytest.mark.long
def test_a_first_step_that_is_broken_off_loses_nothing(data, tmp_path):
    """Ctrl-C while JAX compiles or runs a step: the checkpoint is as it was."""
    config = config_file(tmp_path / "config.yaml", "parsing")
    run = tmp_path / "run"
    arguments = ["train", "parsing", "--config", config, "--data", data, "--run", run]
    assert command_line.run(*arguments, "--steps", 1)[0] == 0
    before = read_arrays(run / "parsing" / "checkpoint.npz")
    done = jax_command(
        *arguments, "--steps", 2,
        code="from portrait_tf.training.parsing import ParsingTrainer\n"
        "def broken_off(self, batch): raise KeyboardInterrupt\n"
        "ParsingTrainer.train_step = broken_off\n"
        "from portrait_tf.apps.cli import main; main()",
    )  # fmt: skip
    assert done.returncode == 130, done.stderr
    assert "stopped at step 1" in done.stderr
    after = read_arrays(run / "parsing" / "checkpoint.npz")
    assert before[1] == after[1]
    for name, array in before[0].items():
        np.testing.assert_array_equal(array, after[0][name], err_msg=name)


def test_this_process_is_on_tensorflow():
    """What all of the above compares JAX with."""
    assert keras.backend.backend() == "tensorflow"
