"""Training on photos without a map or a pose."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from tiny import assert_equal_arrays
from trainers import first_batch, trainer_of

from portrait_tf.config import parse_config, with_changes


def bare(sample):
    return dataclasses.replace(sample, parsing=None, joints=None)


@pytest.mark.parametrize("balanced", ["none", "dice", "focal"])
def test_a_batch_that_says_nothing_changes_nothing(tiny_config, portraits, balanced):
    values = tiny_config.model_dump()
    values["parsing"]["loss"].update(balanced=balanced, class_weights="inverse_sqrt")
    values["parsing"]["training"]["optimizer"]["name"] = "sgd"
    config = parse_config(values)
    trainer = trainer_of("parsing", config)
    before = trainer.network.get_weights()
    logs = trainer.train_step(first_batch(config, [bare(one) for one in portraits]))
    for name in trainer.tracked:
        assert float(logs[name]) == 0, name
    assert_equal_arrays(before, trainer.network.get_weights())


@pytest.mark.parametrize("kind", ["relative", "root"])
def test_a_photo_without_a_pose_does_not_count_in_the_poses_loss(
    tiny_config, portraits, kind
):
    config = with_changes(tiny_config, [f"parsing.loss.pose_error={kind}"])
    trainer = trainer_of("parsing", config)
    batch = first_batch(config, [portraits[0], bare(portraits[1])])
    posed = tf.reduce_any(batch["joints"][..., 2] > 0, axis=1).numpy().tolist()
    assert sorted(posed) == [False, True]
    inputs = trainer.prepare(batch, training=False)
    (outputs,) = trainer.answer(trainer.network, inputs, training=False)["answers"]
    losses = []
    for place in (None, posed.index(False), posed.index(True)):
        added = np.zeros((2, 1, 1, 1), np.float32)
        if place is not None:
            added[place] = 0.5
        changed = {
            name: value + added if name.startswith("pose") else value
            for name, value in outputs.items()
        }
        losses.append(
            float(trainer.loss_terms(inputs, {"answers": [changed]})["pose_loss"])
        )
    assert losses[0] == losses[1] != losses[2]


def test_stage_2_takes_the_predicted_map_where_there_is_none(tiny_config, portraits):
    trainer = trainer_of("completion", tiny_config)
    batch = first_batch(tiny_config, [bare(portraits[0]), portraits[1]])
    void = (batch["parsing"].numpy() == 255).all(axis=(1, 2))
    assert sorted(void) == [False, True]
    predicted = trainer.prepare(batch, training=False)["parsing"]
    trainer.predicted_parsing = 0.0
    given = trainer.prepare(batch, training=True)["parsing"].numpy()
    np.testing.assert_array_equal(given[void], predicted.numpy()[void])
    assert set(np.unique(given[~void])) == {0, 1}
    logs = trainer.train_step(batch)
    assert all(np.isfinite(float(value)) for value in logs.values())
