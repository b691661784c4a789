"""Checkpoints: networks, optimizers, average and step of a trainer."""

import pathlib

import keras

from portrait_tf.runs.storage import assign_arrays, read_arrays, save_arrays
from portrait_tf.runs.weights import network_meta

CHECKPOINT_NAME = "checkpoint.npz"
BEST_NAME = "best.npz"


def save_checkpoint(
    trainer: keras.Model, path: pathlib.Path, sums: dict[str, list] | None = None
) -> None:
    """Writes the trainer's state; a kill meanwhile leaves the last checkpoint whole.

    Args:
        trainer: A `portrait_tf.training.base.Trainer`.
        path: The file.
        sums: `Trainer.sums` of an epoch that is not logged yet.

    Raises:
        PortraitError: A number is not finite; the last checkpoint is kept.
    """
    meta = {
        "kind": type(trainer).__name__,
        "step": int(trainer.step),
        "networks": {
            name: network_meta(network) for name, network in trainer.networks.items()
        },
    }
    if sums:
        meta["sums"] = sums
    groups = trainer.state()
    if trainer.ema is not None:
        groups["averaged"] = trainer.averaged.weights
    save_arrays(path, groups, meta)


def restore_checkpoint(trainer: keras.Model, path: pathlib.Path) -> int:
    """Sets the trainer's networks, optimizers, average and step.

    If the checkpoint has no average, the average starts from the network's weights.

    Returns:
        The number of steps done.

    Raises:
        PortraitError: The file is damaged or holds another architecture.
    """
    arrays, meta = read_arrays(path)
    for group, variables in trainer.state().items():
        assign_arrays(variables, arrays, group, path)
    if trainer.averaged is not None:
        trainer.averaged.set_weights(trainer.network.get_weights())
    if trainer.ema is not None and weights_group(arrays) == "averaged":
        assign_arrays(trainer.averaged.weights, arrays, "averaged", path)
    trainer.step = meta["step"]
    return trainer.step


def weights_group(arrays: dict) -> str:
    """The group of a checkpoint to use: averaged weights if there are any.

    Args:
        arrays: Of `read_arrays`.
    """
    averaged = any(name.startswith("averaged/") for name in arrays)
    return "averaged" if averaged else "network"
