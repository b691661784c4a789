"""`model.fit` from a run's last checkpoint to its last step."""

import functools
import logging
import pathlib
from collections.abc import Callable

import keras

from portrait_tf.config import Config
from portrait_tf.data.dataset import (
    reraise_data_error,
    training_dataset,
    validation_dataset,
)
from portrait_tf.data.masks import EVALUATION_TASKS, FACE_TASK
from portrait_tf.runs.checkpoint import (
    BEST_NAME,
    CHECKPOINT_NAME,
    restore_checkpoint,
)
from portrait_tf.training.base import Trainer
from portrait_tf.training.callbacks import Checkpoints, FiniteGuard, best_weights
from portrait_tf.training.curves import Curves
from portrait_tf.training.distribution import Distribution
from portrait_tf.training.previews import Preview

logger = logging.getLogger(__name__)

VALIDATION_TASKS = {"face": (FACE_TASK,)}
"""Holes of a stage that is not validated on `EVALUATION_TASKS`."""


def train(
    trainer: Trainer,
    stage: str,
    config: Config,
    reader: object,
    folder: pathlib.Path,
    validation_reader: object | None = None,
    callbacks: list | None = None,
    verbose: int | str = "auto",
    on_resume: Callable[[int], None] | None = None,
    distribution: Distribution | None = None,
) -> list[dict]:
    """Runs `model.fit` from the last checkpoint, if there is one, to the last step.

    Args:
        trainer: Its networks are trained.
        stage: One of `STAGES`; chooses the section of the config.
        config: The experiment.
        reader: Anything with a length and samples; what is trained on.
        folder: Of this stage, within the run.
        validation_reader: What is validated on after each epoch.
        callbacks: More callbacks of Keras.
        verbose: As `model.fit` has it.
        on_resume: Called with the step that training goes on from.
        distribution: Over which devices; its chief alone reads and writes `folder`.

    Returns:
        What was logged, a dict an epoch.

    Raises:
        PortraitError: A broken photo or label file; a checkpoint that does not fit; a
            loss or gradient that is not finite; a `monitor` that is not logged.
    """
    training = getattr(config, stage).training
    if stage != "parsing":
        # The photo is what is to be painted.
        augmentation = config.augmentation.model_copy(update={"cutout": 0.0})
        config = config.model_copy(update={"augmentation": augmentation})
    distribution = distribution or Distribution()
    checkpoint = folder / CHECKPOINT_NAME

    def restore() -> int:
        folder.mkdir(parents=True, exist_ok=True)
        return restore_checkpoint(trainer, checkpoint) if checkpoint.is_file() else 0

    resumed = distribution.on_chief(restore)
    distribution.broadcast(trainer.everything())
    if resumed and on_resume:
        on_resume(resumed)
    validation = {}
    if validation_reader is not None and training.validation_photos:
        validation = validation_dataset(
            validation_reader,
            config,
            training.batch_size,
            min(training.validation_photos, len(validation_reader)),
            config.seed,
            VALIDATION_TASKS.get(stage, EVALUATION_TASKS),
        )
        validation = distribution.validation_data(validation)
    trainer.compile()
    best = best_weights(folder / BEST_NAME, trainer, training.monitor, bool(validation))
    chief = distribution.chief
    saver = Checkpoints(checkpoint, training.checkpoint_minutes, writes=chief)
    history = []
    # The best weights come first: after a kill between both files, the epoch that
    # made them is done again, and not the other way round.
    watching = [FiniteGuard(checkpoint)]
    watching += [best] if best and chief else []
    watching += [saver]
    curves = board = None
    if chief:
        curves = keras.callbacks.CSVLogger(str(folder / "log.csv"), append=True)
        watching += [curves, *(callbacks or [])]
    if training.tensorboard and chief:
        previews = [one for one in callbacks or [] if isinstance(one, Preview)]
        board = Curves(folder / "tensorboard", previews[0] if previews else None)
        watching.append(board)
    try:
        with distribution.guarded() as guards:
            for start, stop in segments(
                trainer.step, training.steps, training.steps_per_epoch, trainer
            ):
                epoch = start // training.steps_per_epoch
                stream = functools.partial(
                    training_dataset,
                    reader,
                    config,
                    training.batch_size,
                    start,
                    stop,
                    config.seed,
                )
                # Keras counts whole epochs; a segment is a part of one, or several.
                length = min(training.steps_per_epoch, stop - start)
                fitted = trainer.fit(
                    distribution.training_data(stream),
                    initial_epoch=epoch,
                    epochs=epoch + (stop - start) // length,
                    steps_per_epoch=length,
                    callbacks=[*watching, *guards],
                    shuffle=False,
                    verbose=verbose if chief else 0,
                    **validation,
                )
                history += [
                    {key: values[index] for key, values in fitted.history.items()}
                    for index in range(len(fitted.epoch))
                ]
            distribution.finish()
    except KeyboardInterrupt:
        saver.set_model(trainer)
        saver.save()
        logger.warning(
            "stopped at step %d; the same command goes on from there", trainer.step
        )
        raise
    except Exception as error:
        reraise_data_error(error)
    finally:
        # Keras closes it at the end of a `fit` that was not broken off.
        # (Keras 2.15 has no such attribute before a `fit`.)
        if getattr(curves, "csv_file", None) is not None:
            curves.csv_file.close()
        if board:
            board.close()
    return history


def segments(
    step: int, steps: int, steps_per_epoch: int, trainer: Trainer
) -> list[tuple[int, int]]:
    """Cuts what is left of a run into parts that one `fit` can do.

    A cut is made where a phase begins, and around an epoch that is not whole: one that
    a kill or a phase has broken.

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
