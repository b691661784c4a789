"""The third stage, from files to files and by heart, on four synthetic people."""

import os
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from command_line import run
from tiny import TINY, assert_equal_arrays
from trainers import trainer_of

from portrait_tf.config import parse_config, save_config, with_changes
from portrait_tf.data.dataset import training_dataset
from portrait_tf.data.synthetic import write_synthetic
from portrait_tf.errors import PortraitError
from portrait_tf.inference.engines import PipelineEngine
from portrait_tf.inference.pipeline import Pipeline
from portrait_tf.labels import NUM_LABELS
from portrait_tf.layers import face_boxes
from portrait_tf.runs.folder import (
    GIVEN_NAME,
    build_network,
    load_run_network,
    trained_stages,
)
from portrait_tf.runs.storage import read_arrays
from portrait_tf.runs.weights import load_weights, save_weights
from portrait_tf.training.commands import train_stage

# An untrained stage 1 sees no faces; the truth does.
CONFIG = with_changes(parse_config(TINY), ["face.predicted_parsing=0"])
ONE_STEP = ["face.training.steps=1", "face.training.steps_per_epoch=1"]


@pytest.fixture(scope="module")
def two_stages(tmp_path_factory):
    """A run that was given stages 1 and 2, with random weights."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    save_config(CONFIG, run / "config.yaml")
    keras.utils.set_random_seed(0)
    for stage in ("parsing", "completion"):
        network = build_network(stage, CONFIG)
        save_weights(network, run / stage / GIVEN_NAME, {}, dtype=None)
    return run


@pytest.fixture(scope="module")
def three_stages(two_stages, tmp_path_factory, portraits):
    """A copy of it, whose face network has gone through all of its phases."""
    run = shutil.copytree(two_stages, tmp_path_factory.mktemp("runs") / "face")
    history = train_stage("face", CONFIG, portraits, run, portraits, verbose=0)
    return run, history


def face_arrays(run):
    return read_arrays(run / "face" / "checkpoint.npz")


def test_it_goes_through_its_phases(three_stages):
    run, history = three_stages
    assert [row["critic"] > 0 for row in history] == [False, True, True, True]
    assert [row["adversarial"] != 0 for row in history] == [False, False, True, True]
    assert [row["loss"] > 0 for row in history] == [True, False, True, True]
    assert np.mean([row["faces"] for row in history]) > 0.5
    found = {path.name for path in (run / "face").iterdir()}
    assert found >= {"checkpoint.npz", "log.csv", "preview.png"}
    arrays, meta = face_arrays(run)
    assert meta["step"] == 5
    assert {name.split("/")[0] for name in arrays} == {
        "network", "discriminator", "network_optimizer", "critic_optimizer",
    }  # fmt: skip


def test_earlier_stages_are_left_as_they_were(two_stages, three_stages):
    for stage in ("parsing", "completion"):
        name = f"{stage}/{GIVEN_NAME}"
        assert (two_stages / name).read_bytes() == (three_stages[0] / name).read_bytes()


def test_the_pipeline_takes_it_up(three_stages, two_stages):
    run = three_stages[0]
    assert trained_stages(run) == ["parsing", "completion", "face"]
    assert Pipeline.from_run(run).face_network is not None
    assert Pipeline.from_run(run, face=False).face_network is None
    assert Pipeline.from_run(two_stages).face_network is None
    with pytest.raises(PortraitError, match="no trained face stage"):
        Pipeline.from_run(two_stages, face=True)
    off = shutil.copytree(run, run.parent / "off")
    config = with_changes(CONFIG, ["pipeline.face=false"])
    save_config(config, off / "face" / "config.yaml")
    assert Pipeline.from_run(off).face_network is None
    assert Pipeline.from_run(off, face=True).face_network is not None
    photo = np.zeros((50, 40, 3), np.uint8)
    mask = np.zeros((50, 40), np.uint8)
    mask[10:30] = 255
    completed, _ = PipelineEngine(Pipeline.from_run(run)).complete(photo, mask)
    assert completed.shape == photo.shape and not completed[mask == 0].any()


def test_without_the_earlier_stages_it_says_so(portraits, tmp_path):
    with pytest.raises(PortraitError, match="no trained parsing stage"):
        train_stage("face", CONFIG, portraits, tmp_path / "none", verbose=0)
    assert not (tmp_path / "none").exists()


def test_a_run_keeps_the_stages_it_was_given(two_stages, portraits, tmp_path):
    config = with_changes(CONFIG, [*ONE_STEP, "face.loss.perceptual=0"])
    given = {"parsing": two_stages, "completion": two_stages}
    train_stage("face", config, portraits, tmp_path / "new", verbose=0, earlier=given)
    assert trained_stages(tmp_path / "new") == ["parsing", "completion", "face"]
    for stage in ("parsing", "completion"):
        one, two = (
            load_run_network(run, stage).get_weights()
            for run in (two_stages, tmp_path / "new")
        )
        assert_equal_arrays(one, two)
    # It goes on without being told again, and with a stage 2 of its own refuses one.
    train_stage("face", config, portraits, tmp_path / "new", verbose=0)
    other = with_changes(CONFIG, ["seed=7"])
    save_weights(
        build_network("parsing", other), tmp_path / "other/parsing" / GIVEN_NAME, {}
    )
    with pytest.raises(
        PortraitError, match="face was trained on another parsing network"
    ):
        train_stage("face", config, portraits, tmp_path / "new", verbose=0,
                    earlier={"parsing": tmp_path / "other"})  # fmt: skip
    shutil.copytree(two_stages, tmp_path / "own")
    (tmp_path / "own" / "completion" / "checkpoint.npz").touch()
    with pytest.raises(PortraitError, match="stage 2 of its own.*leave out --compl"):
        train_stage("face", config, portraits, tmp_path / "own", verbose=0,
                    earlier={"completion": two_stages})  # fmt: skip


def test_another_face_network_in_the_same_run_is_refused(
    three_stages, two_stages, portraits, tmp_path
):
    other = with_changes(CONFIG, ["face.network.blocks=2", "face.loss.perceptual=0"])
    with pytest.raises(PortraitError, match="another 'face.network'"):
        train_stage("face", other, portraits, three_stages[0], verbose=0)
    # But a run without one takes any.
    run = shutil.copytree(two_stages, tmp_path / "run")
    train_stage("face", with_changes(other, ONE_STEP), portraits, run, verbose=0)
    assert load_run_network(run, "face").blocks == 2


def test_its_weights_are_saved_and_loaded(three_stages, tmp_path):
    network = load_run_network(three_stages[0], "face")
    save_weights(network, tmp_path / "face.npz", {}, dtype=None)
    loaded = load_weights(tmp_path / "face.npz")
    assert loaded.get_config() == network.get_config()
    assert_equal_arrays(loaded.get_weights(), network.get_weights())
    code, _ = run("weights", three_stages[0], tmp_path, "--name", "t")
    assert code == 0
    assert (tmp_path / "face_t.npz").is_file()
    assert (tmp_path / "completion_t.npz").is_file()


class TestTrainer:
    def trainer(self, **changes):
        changes = {
            "face.loss.perceptual": 0,
            "face.loss.adversarial": 0,
            **changes,
        }
        config = with_changes(CONFIG, [f"{k}={v}" for k, v in changes.items()])
        data_config = config.model_copy(update={"masks": config.face.masks})
        return trainer_of("face", config), data_config

    def test_samples_without_a_face_count_nothing(self, portraits):
        results = []
        for other in (0.0, 0.7):
            trainer, config = self.trainer()
            batch = next(iter(training_dataset(portraits, config, 4, 0, 1)))
            batch["mask"] = tf.ones_like(batch["mask"])
            # Two of four show nobody; what they do show makes no difference.
            nobody = tf.constant([True, False, True, False])
            batch["parsing"] = tf.where(nobody[:, None, None], 0, batch["parsing"])
            batch["image"] = tf.where(
                nobody[:, None, None, None], other, batch["image"]
            )
            logs = trainer.train_step(batch)
            assert float(logs["faces"]) == 0.5 and float(logs["loss"]) > 0
            results.append(trainer.network.get_weights())
        assert_equal_arrays(*results, atol=1e-6)

    def test_a_batch_without_any_face_changes_nothing(self, portraits):
        trainer, config = self.trainer()
        batch = next(iter(training_dataset(portraits, config, 2, 0, 1)))
        batch["parsing"] = tf.zeros_like(batch["parsing"])
        before = trainer.network.get_weights()
        logs = trainer.train_step(batch)
        assert float(logs["faces"]) == 0 and float(logs["loss"]) == 0
        assert_equal_arrays(before, trainer.network.get_weights())

    def test_without_adversarial_loss_there_is_no_critic(self):
        trainer, _ = self.trainer()
        assert set(trainer.state()) == {"network", "network_optimizer"}
        assert trainer.phase_starts() == []
        assert {trainer.phase_at(step) for step in range(5)} == {"reconstruction"}

    def test_most_training_holes_touch_a_face(self, portraits):
        config = CONFIG.model_copy(update={"masks": CONFIG.face.masks})
        found = []
        for batch in training_dataset(portraits, config, 4, 0, 16):
            parsing = tf.one_hot(batch["parsing"], NUM_LABELS)
            found += face_boxes(parsing, batch["mask"])[1].numpy().tolist()
        assert np.mean(found) > 0.7

    def test_it_learns_four_faces_by_heart(self, portraits):
        steps = 120
        trainer, config = self.trainer(
            **{
                "face.training.steps": steps,
                "face.training.optimizer.learning_rate": 0.01,
                "face.network.widths": [16, 32, 48],
                "face.masks.rectangle": 0, "face.masks.strokes": 0,
                "face.masks.body_part": 0, "face.masks.border": 0,
            },
        )  # fmt: skip
        data = training_dataset(portraits, config, 4, 0, steps, 0)
        history = trainer.fit(
            data, epochs=3, steps_per_epoch=steps // 3, verbose=0, shuffle=False
        ).history
        # Identity is what stage 2 gave; the photo must gain where it was asked to.
        assert history["l1_hole"][-1] < 0.5 * history["l1_hole"][0]
        assert history["psnr_face"][-1] > history["psnr_face_before"][-1] + 3


@pytest.mark.long
def test_all_of_it_on_the_command_line(two_stages, tmp_path):
    def succeed(*arguments):
        code, output = run(*arguments)
        assert code == 0, output

    data = tmp_path / "data"
    write_synthetic(data, 4, 2, size=(64, 64))
    folder = shutil.copytree(two_stages, tmp_path / "run")
    save_config(CONFIG, tmp_path / "tiny.yaml")
    config = "--config", tmp_path / "tiny.yaml"
    succeed("train", "face", *config, "--data", data, "--run", folder)
    scores = tmp_path / "scores.json"
    size = "--height", 32, "--width", 32
    succeed("evaluate", "--data", data, "--run", folder, *size, "--json", scores)
    assert scores.is_file()
    sizes = []
    for option in ("--face", "--no-face"):
        models = tmp_path / f"models{option}"
        succeed("export", folder, models, option, "--signature", "parse")
        variables = models / "1" / "variables" / "variables.data-00000-of-00001"
        sizes.append(os.path.getsize(variables))
    network = load_run_network(folder, "face")
    assert sizes[0] - sizes[1] == pytest.approx(4 * network.count_params(), rel=0.2)
