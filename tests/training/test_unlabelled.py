"""Training on photos without a map or a pose."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from portrait_tf.config import parse_config, with_changes
from portrait_tf.data.dataset import training_dataset
from portrait_tf.runs.folder import build_network
from portrait_tf.training.completion import CompletionTrainer, mixed_parsing
from portrait_tf.training.parsing import ParsingTrainer


def batch_of(config, samples):
    return next(iter(training_dataset(samples, config, len(samples), last_step=1)))


def bare(sample):
    return dataclasses.replace(sample, parsing=None, joints=None)


@pytest.mark.parametrize("balanced", ["none", "dice", "focal"])
def test_a_batch_that_says_nothing_changes_nothing(tiny_config, portraits, balanced):
    values = tiny_config.model_dump()
    values["parsing"]["loss"].update(balanced=balanced, class_weights="inverse_sqrt")
    values["parsing"]["training"]["optimizer"]["name"] = "sgd"
    config = parse_config(values)
    trainer = ParsingTrainer(build_network("parsing", config), config)
    before = trainer.network.get_weights()
    trainer.train_step(batch_of(config, [bare(one) for one in portraits]))
    for name, value in trainer.latest_values().items():
        assert value == 0, name
    for old, new in zip(before, trainer.network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("kind", ["relative", "root"])
def test_a_photo_without_a_pose_does_not_count_in_the_poses_loss(
    tiny_config, portraits, kind
):
    config = with_changes(tiny_config, [f"parsing.loss.pose_error={kind}"])
    trainer = ParsingTrainer(build_network("parsing", config), config)
    batch = batch_of(config, [portraits[0], bare(portraits[1])])
    posed = tf.reduce_any(batch["joints"][..., 2] > 0, axis=1).numpy().tolist()
    assert sorted(posed) == [False, True]
    outputs = trainer(batch)
    losses = []
    for place in (None, posed.index(False), posed.index(True)):
        added = np.zeros((2, 1, 1, 1), np.float32)
        if place is not None:
            added[place] = 0.5
        changed = {
            name: value + added if name.startswith("pose") else value
            for name, value in outputs.items()
        }
        losses.append(float(trainer._terms(batch, [changed])[0]["pose_loss"]))
    assert losses[0] == losses[1] != losses[2]


def test_stage_2_takes_the_predicted_map_where_there_is_none(tiny_config, portraits):
    networks = [build_network(one, tiny_config) for one in ("completion", "parsing")]
    trainer = CompletionTrainer(*networks, tiny_config)
    batch = batch_of(tiny_config, [bare(portraits[0]), portraits[1]])
    void = (batch["parsing"].numpy() == 255).all(axis=(1, 2))
    assert sorted(void) == [False, True]
    predicted = trainer.parsing_for(batch, 1.0)
    chance = trainer.chance((2,))
    given = mixed_parsing(batch["parsing"], predicted, 0.0, chance).numpy()
    np.testing.assert_array_equal(given[void], predicted.numpy()[void])
    assert set(np.unique(given[~void])) == {0, 1}
    trainer.train_step(batch)
    assert all(np.isfinite(value) for value in trainer.latest_values().values())
