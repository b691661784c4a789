"""Trainers of tiny networks, as `train_stage` builds them."""

import pathlib

import keras
from tiny import shaken

from portrait_tf.config import with_changes
from portrait_tf.data.dataset import training_dataset
from portrait_tf.runs.folder import STAGES, build_network
from portrait_tf.runs.storage import read_arrays
from portrait_tf.training.build import build_trainer


def trainer_of(stage, config, *changes, noise=0.0):
    """A compiled trainer; noise is added to its network's weights."""
    config = with_changes(config, list(changes))
    keras.utils.set_random_seed(0)
    network = build_network(stage, config, training=True)
    if noise:
        shaken(network, noise)
    earlier = [build_network(name, config) for name in STAGES[: STAGES.index(stage)]]
    return build_trainer(stage, network, earlier, config)


def first_batch(config, samples, size=None):
    return next(iter(training_dataset(samples, config, size or len(samples), 0, 1, 0)))


def floats(logs):
    return {name: float(value) for name, value in logs.items()}


def arrays_of(run, stage, name="checkpoint.npz"):
    """Arrays and what the file says of itself."""
    return read_arrays(pathlib.Path(run) / stage / name)
