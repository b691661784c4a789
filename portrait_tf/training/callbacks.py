"""Callbacks that Keras lacks: whole checkpoints, best weights, numbers not finite."""

import csv
import math
import os
import pathlib
import time

import keras
import numpy as np

from portrait_tf.errors import PortraitError
from portrait_tf.runs.checkpoint import save_checkpoint
from portrait_tf.runs.storage import read_meta, save_arrays
from portrait_tf.runs.weights import network_meta
from portrait_tf.training.base import Trainer

_SUMS = ("loss", "gradient", "critics_gradient")


class Checkpoints(keras.callbacks.Callback):
    """Saves the trainer's whole state every few minutes and after every epoch.

    `keras.callbacks.BackupAndRestore` keeps one model and one optimizer; a trainer has
    critics, two optimizers, an average and a step. An epoch that was interrupted goes
    on with the sums that its means are made of.

    Args:
        path: The checkpoint's file.
        minutes: Time between two checkpoints within an epoch.
        keep_sums: Whether an interrupted epoch's sums are kept. Several processes
            cannot: reading them takes all of them.

    Attributes:
        sums: Sums of the training steps of an epoch that is not logged yet; empty
            between epochs; None while the trainer's metrics hold them.
    """

    def __init__(
        self, path: pathlib.Path, minutes: float, keep_sums: bool = True
    ) -> None:
        super().__init__()
        self.path = path
        self.seconds = 60 * minutes
        self.keep_sums = keep_sums
        self.saved = time.monotonic()
        self.sums = {}
        if keep_sums and path.is_file():
            self.sums = read_meta(path).get("sums", {})

    def save(self) -> None:
        save_checkpoint(self.model, self.path, self._current())
        self.saved = time.monotonic()

    def _current(self) -> dict[str, list]:
        if self.sums is None and self.keep_sums:
            return self.model.sums
        return self.sums or {}

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        # Keras has just set the metrics to zero.
        if self.sums:
            self.model.sums = self.sums
        self.sums = None

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if time.monotonic() - self.saved >= self.seconds:
            self.save()

    def on_test_begin(self, logs: dict | None = None) -> None:
        # Validation has the same metrics.
        self.sums = self._current()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.sums = {}
        self.save()


class Log(keras.callbacks.CSVLogger):
    """A `CSVLogger` that keeps the columns of the file that it continues."""

    def on_train_begin(self, logs: dict | None = None) -> None:
        super().on_train_begin(logs)
        # Keras 2.15 makes a new file with its first row.
        if os.path.isfile(self.filename):
            with open(self.filename) as file:
                header = next(csv.reader(file), None)
            if header:
                self.keys = header[1:]


class FiniteGuard(keras.callbacks.Callback):
    """Stops training after the first step with a number that is not finite.

    Unlike `keras.callbacks.TerminateOnNaN`, it looks at every term and at the
    gradients' norms, and raises. It must come before `Checkpoints`.

    Args:
        path: The checkpoint's file, for the message.

    Raises:
        PortraitError: A logged mean is not finite.
    """

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__()
        self.path = path

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        # A mean stays not finite until the epoch ends. Several replicas log a row.
        values = {name: float(np.mean(value)) for name, value in (logs or {}).items()}
        wrong = {name: v for name, v in values.items() if not math.isfinite(v)}
        if not wrong:
            return
        # The sum and the gradients are not finite because a term is not.
        terms = [name for name in wrong if name not in _SUMS]
        found = ", ".join(f"{name} is {wrong[name]}" for name in terms or wrong)
        kept = (
            f"{self.path} is still that of step {read_meta(self.path)['step']}"
            if self.path.is_file()
            else "there is no checkpoint yet"
        )
        raise PortraitError(
            f"training stopped at step {self.model.step}: {found}; {kept}; a lower "
            "learning_rate or a clip_norm may help"
        )


class BestWeights(keras.callbacks.Callback):
    """Keeps the weights of the best epoch, and its value, in `best.npz`.

    Unlike `keras.callbacks.ModelCheckpoint`, it saves the averaged network alone, and
    a resumed run knows the value. Each phase of a trainer begins anew: PSNR is best
    before the critics ask for detail, and so the first phase would win.

    Args:
        path: The file.
        monitor: A key of the epoch's logs.
        lower: Whether lower is better.
    """

    def __init__(self, path: pathlib.Path, monitor: str, lower: bool) -> None:
        super().__init__()
        self.path = path
        self.monitor = monitor
        self.sign = -1.0 if lower else 1.0

    def _best(self) -> float:
        """The value to exceed, times the sign."""
        if not self.path.is_file():
            return -math.inf
        meta = read_meta(self.path)
        step = self.model.step
        since = max((s for s in self.model.phase_starts() if s < step), default=0)
        # A file of a later step is that of another run.
        if meta.get("monitor") != self.monitor or not since < meta["step"] <= step:
            return -math.inf
        return self.sign * meta["value"]

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        value = float((logs or {}).get(self.monitor, math.nan))
        if not (math.isfinite(value) and self.sign * value > self._best()):
            return
        network = self.model.answering_network
        meta = {"monitor": self.monitor, "value": value, "step": self.model.step}
        meta |= network_meta(network)
        save_arrays(self.path, {"network": network.weights}, meta)


def best_weights(
    path: pathlib.Path, trainer: Trainer, monitor: str | None, validated: bool
) -> BestWeights | None:
    """The callback that keeps the best weights; None if there is nothing to monitor.

    Args:
        path: The file.
        trainer: Its metrics are what is logged.
        monitor: A name that is logged; empty for none, None for the trainer's default.
        validated: Whether `val_...` is logged.

    Raises:
        PortraitError: Nothing of that name is logged.
    """
    lower = {metric.name: metric.name in trainer.tracked for metric in trainer.metrics}
    if validated:
        lower |= {f"val_{name}": value for name, value in lower.items()}
    if monitor is None:
        monitor = trainer.monitor if trainer.monitor in lower else ""
    if not monitor:
        return None
    if monitor not in lower:
        raise PortraitError(
            f"training.monitor: nothing called {monitor!r} is logged; expected one of "
            + ", ".join(lower)
            + ("" if validated else " (there is no validation)")
        )
    return BestWeights(path, monitor, lower[monitor])
