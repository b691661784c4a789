"""`model.fit` from a run's last checkpoint to its last step."""

import contextlib
import dataclasses
import functools
import importlib.util
import logging
import pathlib
import signal
import threading
from collections.abc import Iterator

import keras
import tensorflow as tf

from portrait_tf.config import Config, save_config
from portrait_tf.data.dataset import (
    Reader,
    reraise_data_error,
    training_dataset,
    validation_dataset,
)
from portrait_tf.data.masks import EVALUATION_TASKS, FACE_TASK
from portrait_tf.data.mixture import as_mixture
from portrait_tf.runs.checkpoint import (
    BEST_NAME,
    CHECKPOINT_NAME,
    restore_checkpoint,
)
from portrait_tf.runs.folder import CONFIG_NAME
from portrait_tf.training.base import Trainer
from portrait_tf.training.callbacks import (
    Checkpoints,
    FiniteGuard,
    Log,
    best_weights,
)
from portrait_tf.training.distribution import Distribution
from portrait_tf.training.previews import Preview

logger = logging.getLogger(__name__)

_PREVIEW_PHOTOS = 8


@dataclasses.dataclass
class Job:
    """What a stage is trained on, and where to.

    Attributes:
        stage: `parsing`, `completion` or `face`.
        config: The experiment.
        folder: The stage's folder in a run.
        reader: Training samples.
        validation_reader: Samples to validate on, and to draw; None for neither.
        distribution: Over which devices; its chief alone reads and writes `folder`.
    """

    stage: str
    config: Config
    folder: pathlib.Path
    reader: Reader
    validation_reader: Reader | None = None
    distribution: Distribution = dataclasses.field(default_factory=Distribution)

    def __post_init__(self) -> None:
        self.training = getattr(self.config, self.stage).training
        updates = {}
        if self.stage != "parsing":
            # The photo is what is to be painted, and shows the body of its map.
            updates["augmentation"] = self.config.augmentation.model_copy(
                update={"cutout": 0.0, "swing": 0.0}
            )
        if self.stage == "face":
            updates["masks"] = self.config.face.masks
        if self.config.data.backgrounds is not None:
            # Positions of data sets that cannot be are found here.
            as_mixture(self.reader).backgrounds(0, self.config.data.backgrounds)
        self.data_config = self.config.model_copy(update=updates)

    def validation_data(self, batch_size: int, photos: int) -> tf.data.Dataset:
        """A stream of the first photos with the holes of this stage's validation."""
        return validation_dataset(
            self.validation_reader,
            self.data_config,
            batch_size,
            min(photos, len(self.validation_reader)),
            self.config.seed,
            (FACE_TASK,) if self.stage == "face" else EVALUATION_TASKS,
        )

    def preview(self, networks: dict[str, keras.Model]) -> Preview | None:
        """The callback that draws validation photos, on the chief.

        Args:
            networks: By stage.
        """
        if not self.validation_reader or not self.distribution.chief:
            return None
        batches = self.validation_data(_PREVIEW_PHOTOS, _PREVIEW_PHOTOS)
        try:
            batch = next(batches.as_numpy_iterator())
        except tf.errors.OpError as error:
            reraise_data_error(error)
        return Preview(
            self.folder,
            batch=batch,
            tensorboard=self._tensorboard,
            **{f"{name}_network": network for name, network in networks.items()},
        )

    @property
    def _tensorboard(self) -> bool:
        """Whether TensorBoard's files are written."""
        return self.training.tensorboard and bool(
            importlib.util.find_spec("tensorboard")
        )

    def callbacks(
        self, trainer: Trainer, validated: bool, preview: Preview | None
    ) -> list[keras.callbacks.Callback]:
        """All callbacks of this process."""
        checkpoint = self.folder / CHECKPOINT_NAME
        guard = FiniteGuard(checkpoint)
        best = best_weights(
            self.folder / BEST_NAME, trainer, self.training.monitor, validated
        )
        if not self.distribution.chief:
            return [guard]
        # The best weights come first: after a kill between both files, the epoch that
        # made them is done again.
        made = [guard, *([best] if best else [])]
        minutes, alone = self.training.checkpoint_minutes, self.distribution.workers < 2
        made.append(Checkpoints(checkpoint, minutes, alone))
        made.append(Log(str(self.folder / "log.csv"), append=True))
        if preview is not None:
            made.append(preview)
        if self._tensorboard:
            folder = str(self.folder / "tensorboard")
            made.append(keras.callbacks.TensorBoard(folder, write_graph=False))
        elif self.training.tensorboard:
            logger.info("no curves: TensorBoard is not installed")
        return made


def fit(
    trainer: Trainer,
    job: Job,
    networks: dict[str, keras.Model] | None = None,
    verbose: int | str = "auto",
) -> list[dict]:
    """Runs `model.fit` from the last checkpoint, if there is one, to the last step.

    Args:
        trainer: Compiled.
        job: Data and folder.
        networks: All stages' networks, to draw previews with; None for no previews.
        verbose: As in `model.fit`.

    Returns:
        Logs, a dict an epoch.

    Raises:
        PortraitError: A broken photo or label file; a checkpoint that does not fit; a
            loss or gradient that is not finite; a `monitor` that is not logged.
    """
    training, distribution = job.training, job.distribution
    _resume(trainer, job)
    validation = {}
    if job.validation_reader is not None and training.validation_photos:
        data = job.validation_data(training.batch_size, training.validation_photos)
        validation = distribution.validation_data(data)
    preview = job.preview(networks) if networks else None
    callbacks = job.callbacks(trainer, bool(validation), preview)
    checkpoints = [one for one in callbacks if isinstance(one, Checkpoints)]
    # Only now: a mistake that is found until here leaves the config of the run.
    distribution.on_chief(lambda: save_config(job.config, job.folder / CONFIG_NAME))
    history = []
    try:
        with _sigterm_interrupts():
            for one in checkpoints:
                one.set_model(trainer)
                history += _finish_epoch(trainer, job, validation, callbacks, one.sums)
            for start, stop in segments(
                trainer.step, training.steps, training.steps_per_epoch, trainer
            ):
                history += _fit_segment(
                    trainer, job, (start, stop), validation, callbacks, verbose
                )
            distribution.finish()
    except KeyboardInterrupt:
        for one in checkpoints:
            one.save()
        logger.warning(
            "stopped at step %d; the same command goes on from there", trainer.step
        )
        raise
    except Exception as error:
        reraise_data_error(error)
    finally:
        for callback in callbacks:
            # Keras closes it at the end of a `fit` that was not interrupted.
            if getattr(callback, "csv_file", None) is not None:
                callback.csv_file.close()
    return history


def _resume(trainer: Trainer, job: Job) -> None:
    """Reads the chief's checkpoint, if there is one, into all processes."""
    checkpoint, distribution = job.folder / CHECKPOINT_NAME, job.distribution

    def restore() -> int:
        job.folder.mkdir(parents=True, exist_ok=True)
        return restore_checkpoint(trainer, checkpoint) if checkpoint.is_file() else 0

    resumed = distribution.on_chief(restore)
    distribution.broadcast(trainer.everything())
    if resumed:
        logger.info("resuming %s at step %d", job.stage, resumed)


def _finish_epoch(
    trainer: Trainer, job: Job, validation: dict, callbacks: list, sums: dict
) -> list[dict]:
    """Validates and logs an epoch that was interrupted after its last step.

    Args:
        sums: Of the epoch, as its checkpoint has them; empty if it was logged.
    """
    training, step = job.training, trainer.step
    last = step % training.steps_per_epoch == 0 or step >= training.steps
    if not sums or not (last or step in trainer.phase_starts()):
        return []
    trainer.sums = sums
    logs = dict(trainer.get_metrics_result())
    if validation:
        scores = trainer.evaluate(
            validation["validation_data"],
            steps=validation.get("validation_steps"),
            verbose=0,
            return_dict=True,
        )
        logs |= {f"val_{name}": value for name, value in scores.items()}
    logs = {name: float(value) for name, value in logs.items()}
    listed = keras.callbacks.CallbackList(callbacks, model=trainer)
    listed.on_train_begin()
    listed.on_epoch_end((step - 1) // training.steps_per_epoch, logs)
    listed.on_train_end()
    return [logs]


def _fit_segment(
    trainer: Trainer,
    job: Job,
    segment: tuple[int, int],
    validation: dict,
    callbacks: list,
    verbose: int | str,
) -> list[dict]:
    """One `fit`: some whole epochs, or a part of one."""
    start, stop = segment
    training = job.training
    epoch = start // training.steps_per_epoch
    length = min(training.steps_per_epoch, stop - start)
    stream = functools.partial(
        training_dataset,
        job.reader,
        job.data_config,
        training.batch_size,
        start,
        stop,
        job.config.seed,
    )
    fitted = trainer.fit(
        job.distribution.training_data(stream),
        initial_epoch=epoch,
        epochs=epoch + (stop - start) // length,
        steps_per_epoch=length,
        callbacks=callbacks,
        shuffle=False,
        verbose=verbose if job.distribution.chief else 0,
        **validation,
    )
    return [
        {key: values[index] for key, values in fitted.history.items()}
        for index in range(len(fitted.epoch))
    ]


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Makes SIGTERM, with which clusters stop processes, stop like Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def segments(
    step: int, steps: int, steps_per_epoch: int, trainer: Trainer
) -> list[tuple[int, int]]:
    """Cuts the rest of a run into parts that one `fit` can do.

    Cuts are made where a phase begins, and around an epoch that is not whole because a
    kill or a phase has broken it.

    Returns:
        First step and one past the last, in order.
    """
    cuts = {step, steps}
    cuts |= {start for start in trainer.phase_starts() if step < start < steps}
    for cut in sorted(cuts):
        whole = -(-cut // steps_per_epoch) * steps_per_epoch
        cuts |= {whole} if step < whole < steps else set()
        before = cut // steps_per_epoch * steps_per_epoch
        cuts |= {before} if step < before < steps else set()
    ordered = sorted(cut for cut in cuts if step <= cut <= steps)
    return list(zip(ordered, ordered[1:], strict=False))
