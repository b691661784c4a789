"""Checkpoints that hold all that a run needs to go on: networks, optimizers, step."""

import pathlib
import time

import keras

from portrait_tf.storage import assign_arrays, read_arrays, save_arrays

CHECKPOINT_NAME = "checkpoint.npz"


def save_checkpoint(trainer: keras.Model, path: pathlib.Path) -> None:
    """Writes the trainer's state; a kill meanwhile leaves the last one whole."""
    meta = {
        "kind": type(trainer).__name__,
        "step": int(trainer.step),
        "networks": {
            name: {"class": type(network).__name__, "config": network.get_config()}
            for name, network in trainer.networks.items()
        },
    }
    save_arrays(path, trainer.state(), meta)


def restore_checkpoint(trainer: keras.Model, path: pathlib.Path) -> int:
    """Sets the trainer's networks, optimizers and step.

    Returns:
        The number of steps done.

    Raises:
        PortraitError: The file is damaged or holds another architecture.
    """
    arrays, meta = read_arrays(path)
    for group, variables in trainer.state().items():
        assign_arrays(variables, arrays, group, path)
    trainer.step = meta["step"]
    return trainer.step


class Checkpoints(keras.callbacks.Callback):
    """Counts steps; saves every few minutes, and at the end of every epoch.

    Args:
        path: The checkpoint's file.
        minutes: Time between two checkpoints within an epoch.
    """

    def __init__(self, path: pathlib.Path, minutes: float) -> None:
        super().__init__()
        self.path = path
        self.seconds = 60 * minutes
        self.saved = time.monotonic()

    def save(self) -> None:
        save_checkpoint(self.model, self.path)
        self.saved = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.model.step += 1
        if time.monotonic() - self.saved >= self.seconds:
            self.save()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.save()
