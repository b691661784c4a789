"""Training of tiny networks on four synthetic people, as the command line does it."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import keras
import line
import numpy as np
import pytest
from processes import python, python_output, wait_until
from tiny import TINY, assert_equal_arrays, stopped_at
from trainers import arrays_of, trainer_of

from portrait_tf.config import load_config, parse_config, save_config, with_changes
from portrait_tf.data.dataset import training_dataset
from portrait_tf.data.synthetic import write_synthetic
from portrait_tf.errors import PortraitError
from portrait_tf.inference.pipeline import Pipeline
from portrait_tf.runs.checkpoint import save_checkpoint
from portrait_tf.runs.folder import (
    STAGES,
    build_network,
    check_config,
    load_run_network,
    run_config,
    trained_stages,
)
from portrait_tf.runs.storage import read_arrays
from portrait_tf.runs.weights import save_weights
from portrait_tf.training.base import Trainer
from portrait_tf.training.build import build_trainer
from portrait_tf.training.callbacks import FiniteGuard
from portrait_tf.training.commands import train_stage
from portrait_tf.training.fit import segments

# Of sums whose parts are added in an order of chance.
ROUNDING = {"rtol": 1e-3, "atol": 2e-4}


@pytest.fixture(scope="module")
def parsing_run(tmp_path_factory, portraits):
    """A run whose stage 1 is trained, four steps long."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    history = train_stage(
        "parsing", parse_config(TINY), portraits, run, portraits, verbose=0
    )
    return run, history


def test_a_run_holds_config_checkpoint_curves_and_a_picture(parsing_run, tiny_config):
    run, history = parsing_run
    found = {path.relative_to(run) for path in run.rglob("*") if path.is_file()}
    # TensorBoard's files have the time in their names.
    found = {str(one.parent if "events" in one.name else one) for one in found}
    assert found == {
        "parsing/best.npz",
        "parsing/checkpoint.npz",
        "parsing/config.yaml",
        "parsing/log.csv",
        "parsing/preview.png",
        "parsing/tensorboard/previews",
        "parsing/tensorboard/train",
        "parsing/tensorboard/validation",
    }
    assert len(history) == 2
    for key in ("loss", "miou", "miou_hole", "pckh", "val_miou_hole", "val_pckh"):
        assert np.isfinite(history[-1][key])
    assert len((run / "parsing" / "log.csv").read_text().splitlines()) == 3
    assert arrays_of(run, "parsing")[1]["step"] == 4


def test_stage_2_goes_through_its_phases(parsing_run, tiny_config, portraits, tmp_path):
    run = parsing_run[0]
    history = train_stage(
        "completion",
        tiny_config,
        portraits,
        tmp_path / "two",
        portraits,
        {"parsing": run},
        verbose=0,
    )
    # Steps 0 and 1 reconstruct, step 2 trains the critics, 3 and 4 do both.
    for critic in ("critic", "critic_local"):
        assert [row[critic] > 0 for row in history] == [False, True, True, True]
    for term in ("adversarial", "adversarial_local"):
        assert [row[term] != 0 for row in history] == [False, False, True, True]
    assert [row["loss"] > 0 for row in history] == [True, False, True, True]
    arrays, meta = arrays_of(tmp_path / "two", "completion")
    assert meta["step"] == 5
    groups = {name.split("/")[0] for name in arrays}
    assert groups == {
        "network",
        "global_discriminator",
        "local_discriminator",
        "network_optimizer",
        "critic_optimizer",
    }
    # The run is a whole chain: stage 1 has come with it.
    assert trained_stages(tmp_path / "two") == ["parsing", "completion"]
    taken = Pipeline.from_run(tmp_path / "two").parsing_network
    assert_equal_arrays(
        taken.get_weights(), load_run_network(run, "parsing").get_weights()
    )


def test_a_second_stage_1_is_refused(parsing_run, tiny_config, portraits, tmp_path):
    shutil.copytree(parsing_run[0], tmp_path / "other")
    before = sorted((tmp_path / "other").rglob("*"))
    with pytest.raises(PortraitError, match="has a stage 1 of its own"):
        train_stage(
            "completion", tiny_config, portraits, tmp_path / "other", None,
            {"parsing": parsing_run[0]}, verbose=0,
        )  # fmt: skip
    assert sorted((tmp_path / "other").rglob("*")) == before


@pytest.mark.parametrize("given", ["parsing", "face"])
def test_a_network_that_is_not_needed_is_refused(tiny_config, tmp_path, given):
    with pytest.raises(PortraitError, match="starts from is parsing.training.start_"):
        train_stage("parsing", tiny_config, [], tmp_path / "run", None, {given: "x"})
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_a_run_in_two_parts_ends_as_one_in_one(
    parsing_run, tiny_config, portraits, tmp_path
):
    """Stage 2 with its noise; `test_resume_after_kill_minus_9` has stage 1."""
    config = with_changes(tiny_config, ["completion.network.noise=2"])

    def train(name):
        train_stage(
            "completion", config, portraits, tmp_path / name, None,
            {"parsing": parsing_run[0]}, verbose=0,
        )  # fmt: skip
        return arrays_of(tmp_path / name, "completion")

    whole = train("whole")
    # Three steps: in the middle of an epoch, and of the critics' phase.
    with stopped_at(3, "CompletionTrainer"), pytest.raises(KeyboardInterrupt):
        train("parts")
    assert arrays_of(tmp_path / "parts", "completion")[1]["step"] == 3
    parts = train("parts")
    assert whole[1] == parts[1] and whole[1]["kind"] == "CompletionTrainer"
    assert_equal_arrays(whole[0], parts[0], **ROUNDING)


def test_an_interrupted_epoch_is_logged_whole(
    parsing_run, tiny_config, portraits, tmp_path, monkeypatch
):
    """Stopped within an epoch, in its validation, and where that is done again."""

    def train():
        args = ("parsing", tiny_config, portraits, tmp_path, portraits)
        return train_stage(*args, verbose=0)

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    with stopped_at(1, "ParsingTrainer"), pytest.raises(KeyboardInterrupt):
        train()
    for owner, name in ((FiniteGuard, "on_test_batch_end"), (Trainer, "evaluate")):
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(owner, name, interrupt)
            train()
        assert arrays_of(tmp_path, "parsing")[1]["step"] == 2
    assert not (tmp_path / "parsing" / "best.npz").exists()
    one, two = parsing_run[1], train()
    assert len(one) == len(two) == 2
    for whole, parts in zip(one, two, strict=True):
        assert parts == pytest.approx(whole, rel=1e-3, abs=2e-4)
    logs = [
        np.genfromtxt(run / "parsing" / "log.csv", delimiter=",", names=True)
        for run in (parsing_run[0], tmp_path)
    ]
    assert logs[0].dtype.names == logs[1].dtype.names and len(logs[1]) == 2
    best = [
        arrays_of(run, "parsing", "best.npz")[1] for run in (parsing_run[0], tmp_path)
    ]
    assert best[0]["step"] == best[1]["step"]
    assert "sums" not in arrays_of(tmp_path, "parsing")[1]


@pytest.mark.parametrize(
    "stage", ["parsing", pytest.param("completion", marks=pytest.mark.long)]
)
def test_fit_without_callbacks_is_what_train_does(stage, portraits, tmp_path):
    """Average, random draws, and phases that change within an epoch."""
    config = with_changes(parse_config(TINY), [f"{stage}.training.ema=0.9"])
    run = tmp_path / "run"
    earlier = []
    for before in STAGES[: STAGES.index(stage)]:
        earlier.append(build_network(before, config))
        save_weights(earlier[-1], run / before / "network.npz", {}, dtype=None)
    train_stage(stage, config, portraits, run, verbose=0)
    keras.utils.set_random_seed(config.seed)
    network = build_network(stage, config, training=True)
    trainer = build_trainer(stage, network, earlier, config)
    data = training_dataset(portraits, config, 2, seed=config.seed)
    steps = getattr(config, stage).training.steps
    trainer.fit(data, steps_per_epoch=steps, verbose=0, shuffle=False)
    save_checkpoint(trainer, tmp_path / "plain.npz")
    one, meta = arrays_of(run, stage)
    two, plain_meta = read_arrays(tmp_path / "plain.npz")
    assert meta == plain_meta and meta["step"] == steps
    assert {name.split("/")[0] for name in two} >= {"network", "averaged"}
    assert_equal_arrays(one, two, **ROUNDING)


class TestPlainFit:
    """Without a callback of ours."""

    def test_every_step_is_of_its_phase(self):
        steps = []

        class Look(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                steps.append(self.model.step)

        fitted = line.fitted([Look()])
        assert steps == list(range(1, 9))
        assert fitted["traced"] == ["reconstruction", "critics", "adversarial"]
        assert (fitted["step"], fitted["iterations"]) == (8, 6)
        assert fitted["history"].keys() == {
            "loss", "square", "critic", "gradient", "critics_gradient",
        }  # fmt: skip
        for name in ("loss", "square", "gradient", "critic"):
            one, two = fitted["history"][name]
            assert one != two, name
        # The same draws again, and the same weights.
        assert line.fitted() == fitted

    def test_several_steps_an_execution_are_refused(self):
        with pytest.raises(PortraitError, match="steps_per_execution=1, received 4"):
            line.LineTrainer().compile(steps_per_execution=4)


@pytest.mark.parametrize(
    "stage", ["line", pytest.param("completion", marks=pytest.mark.long)]
)
def test_an_interrupt_comes_before_a_step_or_after_it(stage, tmp_path):
    """Wherever Ctrl-C falls, a checkpoint's optimizers have done its step's updates."""
    starts = (3, 5) if stage == "line" else (12, 24)
    config = with_changes(
        parse_config(TINY),
        [f"completion.schedule.reconstruction_steps={starts[0]}",
         f"completion.schedule.critic_steps={starts[1] - starts[0]}",
         "completion.loss.perceptual=0"],
    )  # fmt: skip
    given = {
        "config": config.model_dump(mode="json"),
        "stage": stage,
        "rounds": 25,
        "path": str(tmp_path / "checkpoint.npz"),
    }
    program = pathlib.Path(__file__).with_name("interrupted_program.py")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    found = json.loads(python_output(program, json.dumps(given), env=environment))
    assert len({one["step"] for one in found}) > 5
    for one in found:
        step = one.pop("step")
        critics = min(max(step - starts[0], 0), starts[1] - starts[0])
        # The critics of the line have nothing to train.
        trained = max(step - starts[0], 0) if stage == "completion" else 0
        expected = {"network_optimizer": step - critics, "critic_optimizer": trained}
        assert one == expected, step


@pytest.mark.long
def test_resume_after_kill_minus_9(tmp_path):
    """Through the command line: killed within an epoch, it ends in the very numbers.

    Weights, averaged weights, optimizer and step. On one thread: several add up their
    parts in an order of chance.
    """
    one_thread = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    environment = {**os.environ, **one_thread}
    data = tmp_path / "data"
    write_synthetic(data, 6, 2, size=(64, 64))
    config = tmp_path / "config.yaml"
    changes = ["parsing.training.steps=40", "parsing.training.steps_per_epoch=20",
               "parsing.training.checkpoint_minutes=0.0001",
               "parsing.training.tensorboard=false", "parsing.network.rounds=1",
               "parsing.training.ema=0.9"]  # fmt: skip
    save_config(with_changes(parse_config(TINY), changes), config)
    arguments = ["-m", "portrait_tf", "train", "parsing",
                 "--config", config, "--data", data, "--run"]  # fmt: skip
    python_output(*arguments, tmp_path / "whole", env=environment)
    checkpoint = tmp_path / "killed" / "parsing" / "checkpoint.npz"
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, *arguments, tmp_path / "killed"],
            stdout=log, stderr=log, env=environment,
        )  # fmt: skip
        try:
            wait_until(checkpoint.exists, 120)
        finally:
            process.kill()
            process.wait()
    step = arrays_of(tmp_path / "killed", "parsing")[1]["step"]
    assert 0 < step < 40
    done = python(*arguments, tmp_path / "killed", env=environment)
    assert done.returncode == 0, done.stderr
    assert f"resuming parsing at step {step}" in done.stdout + done.stderr
    one, two = (arrays_of(tmp_path / name, "parsing") for name in ("whole", "killed"))
    assert one[1] == two[1]
    groups = {name.split("/")[0] for name in one[0]}
    assert groups == {"network", "averaged", "optimizer"}
    assert_equal_arrays(one[0], two[0])


def test_a_finished_run_is_left_as_it_is(parsing_run, tiny_config, portraits):
    """Also where stage 1 is given another one, of which it has no use."""
    run = parsing_run[0]
    before = (run / "parsing" / "checkpoint.npz").read_bytes()
    for source in ({}, {"parsing": str(run)}):
        history = train_stage("parsing", tiny_config, portraits, run, None, source, 0)
        assert history == [] and not (run / "parsing" / "network.npz").exists()
    assert (run / "parsing" / "checkpoint.npz").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("parsing.training.monitor=val_iou", "nothing called 'val_iou' is logged"),
        ("data.backgrounds=[3]", r"data.backgrounds: expected 1 numbers from 0 to 0"),
    ],
)
def test_a_mistake_leaves_the_run_its_config(
    parsing_run, tiny_config, portraits, change, message
):
    path = parsing_run[0] / "parsing" / "config.yaml"
    before = path.read_bytes()
    wrong = with_changes(tiny_config, [change])
    with pytest.raises(PortraitError, match=message):
        train_stage("parsing", wrong, portraits, parsing_run[0], portraits, verbose=0)
    assert path.read_bytes() == before


def test_a_run_of_another_architecture_is_refused(parsing_run, tiny_config, portraits):
    other = with_changes(tiny_config, ["parsing.network.feature_width=24"])
    with pytest.raises(PortraitError, match="another 'parsing.network'"):
        train_stage("parsing", other, portraits, parsing_run[0], verbose=0)


def test_each_stage_keeps_the_config_that_it_was_trained_with(
    parsing_run, tiny_config, tmp_path
):
    run = shutil.copytree(parsing_run[0], tmp_path / "run")

    def keep(config):
        check_config(run, config, "completion")
        save_config(config, run / "completion" / "config.yaml")

    changes = ["parsing.training.steps=9", "pipeline.flip=true",
               "completion.network.blocks=1"]  # fmt: skip
    keep(with_changes(tiny_config, changes))
    assert run_config(run, "parsing") == run_config(run) == tiny_config
    assert run_config(run, "completion").parsing.training.steps == 9
    # Nothing is trained yet that its network shapes.
    changed = with_changes(tiny_config, [*changes, "completion.network.blocks=2"])
    keep(changed)
    shutil.copy(run / "parsing" / "checkpoint.npz", run / "completion")
    assert run_config(run) == run_config(run, "completion") == changed
    for key, value in (
        ("completion.network", {"blocks": 1}), ("size", [48, 32]), ("seed", 6),
        ("parsing.network", {"rounds": 1}),
    ):  # fmt: skip
        other = with_changes(changed, [f"{key}={value}"])
        with pytest.raises(PortraitError, match=f"begun with another '{key}'"):
            check_config(run, other, "completion")
    assert run_config(run) == changed


def test_a_run_of_the_old_layout_goes_on(parsing_run, tiny_config, portraits, tmp_path):
    run = shutil.copytree(parsing_run[0], tmp_path / "run")
    (run / "parsing" / "config.yaml").rename(run / "config.yaml")
    network = load_run_network(run, "parsing")
    expected = load_run_network(parsing_run[0], "parsing").get_weights()
    assert_equal_arrays(network.get_weights(), expected)
    other = with_changes(tiny_config, ["parsing.network.rounds=1"])
    with pytest.raises(PortraitError, match="another 'parsing.network'"):
        train_stage("parsing", other, portraits, run, verbose=0)
    renamed = with_changes(tiny_config, ["name=later"])
    assert train_stage("parsing", renamed, portraits, run, verbose=0) == []
    assert run_config(run, "parsing") == renamed
    assert load_config(run / "config.yaml") == tiny_config


def test_a_checkpoint_of_another_architecture_is_refused(parsing_run, tmp_path):
    shutil.copytree(parsing_run[0], tmp_path / "run")
    path = tmp_path / "run" / "parsing" / "config.yaml"
    path.write_text(path.read_text().replace("feature_width: 16", "feature_width: 24"))
    with pytest.raises(PortraitError, match="checkpoint.npz fits another architecture"):
        load_run_network(tmp_path / "run", "parsing")


def test_a_stage_that_was_not_trained_is_named(parsing_run):
    with pytest.raises(PortraitError, match="no trained completion stage: expected"):
        load_run_network(parsing_run[0], "completion")


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_broken_photo_is_named(tiny_config, portraits, tmp_path, split):
    class Broken(list):
        def __getitem__(self, index):
            raise PortraitError("photo_7.jpg: expected a whole photo")

    readers = [portraits, portraits]
    readers[split == "val"] = Broken(portraits)
    with pytest.raises(PortraitError, match="photo_7.jpg: expected a whole photo"):
        train_stage("parsing", tiny_config, readers[0], tmp_path, readers[1], verbose=0)


def test_segments_cut_at_phases_and_broken_epochs():
    class Phases:
        def phase_starts(self):
            return [25, 30]

    class Plain:
        def phase_starts(self):
            return []

    assert segments(0, 40, 10, Plain()) == [(0, 40)]
    assert segments(13, 40, 10, Plain()) == [(13, 20), (20, 40)]
    assert segments(0, 45, 10, Plain()) == [(0, 40), (40, 45)]
    assert segments(0, 45, 10, Phases()) == [
        (0, 20), (20, 25), (25, 30), (30, 40), (40, 45),
    ]  # fmt: skip
    assert segments(45, 45, 10, Phases()) == []


@pytest.mark.long
def test_stage_1_learns_four_people_by_heart(tiny_config, portraits):
    """Of stage 2, `test_all_options_learn_four_people_by_heart` shows it."""
    config = with_changes(
        tiny_config,
        ["parsing.training.steps=500", "parsing.training.batch_size=4",
         "parsing.network.widths=[16,32,48,64]",
         "parsing.training.optimizer.learning_rate=0.01",
         "masks.strokes=0", "masks.body_part=0", "masks.border=0"],
    )  # fmt: skip
    trainer = trainer_of("parsing", config)
    data = training_dataset(portraits, config, 4, 0, 500, 0)
    history = trainer.fit(
        data, epochs=5, steps_per_epoch=100, verbose=0, shuffle=False
    ).history
    assert history["loss"][-1] < 0.1 * history["loss"][0]
    assert history["miou"][-1] > 0.9
    assert history["miou_hole"][-1] > 0.9
    # Cells of four pixels are coarser than half a head here: PCKh stays low.
    assert history["pose_loss"][-1] < 0.1 * history["pose_loss"][0]
