"""A run that starts from weights, or continues from a checkpoint, of before."""

import json
import pathlib
import shutil

import numpy as np
import pytest
from tiny import TINY, assert_equal_arrays
from trainers import trainer_of

from portrait_tf.config import parse_config, save_config, with_changes
from portrait_tf.errors import PortraitError
from portrait_tf.runs.folder import (
    GIVEN_NAME,
    STAGES,
    build_network,
    load_run_network,
)
from portrait_tf.runs.storage import by_path
from portrait_tf.runs.weights import load_weights, save_weights
from portrait_tf.training.callbacks import Log
from portrait_tf.training.commands import train_stage

# Steps too small to move a weight by more than a hair.
STILL = [
    "parsing.training.steps=1",
    "parsing.training.steps_per_epoch=1",
    "parsing.training.optimizer.learning_rate=1e-9",
    "parsing.training.tensorboard=false",
]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    path = tmp_path_factory.mktemp("given") / "parsing.npz"
    network = build_network("parsing", parse_config(TINY))
    rng = np.random.default_rng(7)
    network.set_weights([rng.normal(0, 0.1, w.shape) for w in network.get_weights()])
    save_weights(network, path, {}, dtype=None)
    return path, network.get_weights()


def started_from(source):
    return [*STILL, f"parsing.training.start_from={source}"]


def assert_weights(network, expected):
    assert_equal_arrays(network.get_weights(), expected, atol=1e-6)


def test_a_run_of_another_size(given, tiny_config, portraits, tmp_path):
    path, expected = given
    (tmp_path / "one" / "parsing").mkdir(parents=True)
    shutil.copy(path, tmp_path / "one" / "parsing" / GIVEN_NAME)
    save_config(tiny_config, tmp_path / "one" / "config.yaml")
    config = with_changes(
        tiny_config, [*started_from(tmp_path / "one"), "size=[48,32]"]
    )
    train_stage("parsing", config, portraits, tmp_path / "two", verbose=0)
    assert_weights(load_run_network(tmp_path / "two", "parsing"), expected)


def test_what_shapes_no_weight_may_be_another(tiny_config, portraits, tmp_path):
    path = tmp_path / "completion.npz"
    network = build_network("completion", tiny_config)
    save_weights(network, path, {}, dtype=None)
    still = [change.replace("parsing.", "completion.") for change in STILL]
    sharper = ["completion.network.sharpness=3", "completion.loss.perceptual=0"]
    changes = [*still, *sharper, f"completion.training.start_from={path}"]
    config = with_changes(tiny_config, changes)
    stage_1 = build_network("parsing", tiny_config)
    save_weights(stage_1, tmp_path / "run" / "parsing" / GIVEN_NAME, {})
    train_stage("completion", config, portraits, tmp_path / "run", verbose=0)
    given = load_run_network(tmp_path / "run", "completion")
    assert given.sharpness == 3
    assert_weights(given, network.get_weights())


def test_what_fits_is_taken_of_another_architecture(
    given, tiny_config, portraits, tmp_path, caplog
):
    path, _ = given
    more = ["parsing.network.rounds=3", "parsing.network.hints=true"]
    config = with_changes(tiny_config, [*started_from(path), *more])
    train_stage("parsing", config, portraits, tmp_path / "run", verbose=0)
    network = load_run_network(tmp_path / "run", "parsing")
    for name in ("decode8_enlarge", "parsing_2_mix_conv"):
        expected = load_weights(path).get_layer(name).get_weights()
        taken = network.get_layer(name).get_weights()
        assert_equal_arrays(taken, expected, atol=1e-6)
    assert "arrays are new" in caplog.text
    assert "hint" in caplog.text


def test_another_class_is_refused(given, tiny_config, portraits, tmp_path):
    path, _ = given
    config = with_changes(tiny_config, started_from(tmp_path / "none.npz"))
    with pytest.raises(PortraitError, match=r"none\.npz"):
        train_stage("parsing", config, portraits, tmp_path, verbose=0)
    face = tmp_path / "face.npz"
    save_weights(build_network("face", tiny_config), face, {})
    config = with_changes(tiny_config, started_from(face))
    with pytest.raises(PortraitError, match="expected a ParsingNetwork .* FaceNetwork"):
        train_stage("parsing", config, portraits, tmp_path, verbose=0)


@pytest.mark.parametrize("stage", STAGES)
def test_checkpoints_of_earlier_versions_fit(stage, tiny_config):
    """Names and shapes are those that version 0.1.0 wrote for this config."""
    path = pathlib.Path(__file__).with_name("checkpoints_of_0_1.json")
    expected = json.loads(path.read_text())[stage]
    found = {
        f"{group}/{name}": list(variable.shape)
        for group, variables in trainer_of(stage, tiny_config).state().items()
        for name, variable in by_path(variables).items()
    }
    assert found == expected


def test_a_log_keeps_the_columns_that_it_began_with(tmp_path):
    path = tmp_path / "log.csv"
    for logs in ({"loss": 1.0, "old": 2.0}, {"loss": 3.0, "new": 4.0}):
        log = Log(str(path), append=True)
        log.set_model(None)
        log.on_train_begin()
        log.on_epoch_end(0, logs)
        log.on_train_end()
    header, *rows = path.read_text().splitlines()
    assert header.split(",")[:3] == ["epoch", "loss", "old"]
    assert [row.split(",")[1:3] for row in rows] == [["1.0", "2.0"], ["3.0", "NA"]]
    assert len({len(row.split(",")) for row in (header, *rows)}) == 1
