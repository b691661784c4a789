"""What watches a `fit`: checkpoints, the best weights, numbers that are not finite."""

import math
import pathlib
import time

import keras

from portrait_tf.errors import PortraitError
from portrait_tf.runs.checkpoint import save_checkpoint
from portrait_tf.runs.storage import read_meta, save_arrays
from portrait_tf.training.base import GRADIENTS, Trainer


class Checkpoints(keras.callbacks.Callback):
    """Saves every few minutes, and at the end of every epoch.

    Args:
        path: The checkpoint's file.
        minutes: Time between two checkpoints within an epoch.
        writes: Whether this process is the one that writes.
    """

    def __init__(self, path: pathlib.Path, minutes: float, writes: bool = True) -> None:
        super().__init__()
        self.writes = writes
        self.path = path
        self.seconds = 60 * minutes
        self.saved = time.monotonic()

    def save(self) -> None:
        if self.writes:
            save_checkpoint(self.model, self.path)
        self.saved = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if time.monotonic() - self.saved >= self.seconds:
            self.save()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.save()


class FiniteGuard(keras.callbacks.Callback):
    """Stops training after the first step with a number that is not finite.

    It looks at the terms of the loss and at the gradients' norms, which the train step
    records: a dozen numbers. It has to come before `Checkpoints`.

    Args:
        path: The checkpoint's file, for the message.

    Raises:
        PortraitError: It names the step, what was not finite, and what is left.
    """

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__()
        self.path = path

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        values = self.model.latest_values()
        if all(map(math.isfinite, values.values())):
            return
        wrong = {name: v for name, v in values.items() if not math.isfinite(v)}
        # The sum and the gradients go wrong because of a term.
        terms = [name for name in wrong if name not in ("loss", *GRADIENTS)]
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
    """Keeps the weights of the epoch that was validated best: `best.npz`.

    The file holds what is answered with (the averaged weights, if there are any) and
    nothing else: an optimizer is of no use to weights that are not trained on. The
    value is in it, too, so a resumed run knows it. Terms of the loss are better the
    lower they are, scores the higher.

    Every phase of a trainer begins anew: the hole's PSNR is at its best before critics
    ask for details, and so the first phase would win.

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
        # A file from the future is one of another run that was here.
        if meta.get("monitor") != self.monitor or not since < meta["step"] <= step:
            return -math.inf
        return self.sign * meta["value"]

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        value = float((logs or {}).get(self.monitor, math.nan))
        if not (math.isfinite(value) and self.sign * value > self._best()):
            return
        network = self.model.answering_network
        meta = {
            "class": type(network).__name__,
            "config": network.get_config(),
            "monitor": self.monitor,
            "value": value,
            "step": self.model.step,
        }
        save_arrays(self.path, {"network": network.weights}, meta)


def best_weights(
    path: pathlib.Path, trainer: Trainer, monitor: str | None, validated: bool
) -> BestWeights | None:
    """Who keeps the best weights; None if nobody is to.

    Args:
        path: The file.
        trainer: Its metrics are what is logged.
        monitor: A name that is logged; empty for none, None for the trainer's own.
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
