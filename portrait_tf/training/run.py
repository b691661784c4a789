"""A run: a folder with exact configs, checkpoints, curves and pictures.

```
RUN/parsing/config.yaml       the config that stage 1 was trained with: every key
RUN/parsing/checkpoint.npz    stage 1: network, optimizer, step
RUN/parsing/network.npz       in its place: a stage 1 that was trained elsewhere
RUN/parsing/best.npz          weights of the epoch that was validated best
RUN/parsing/log.csv           a row an epoch
RUN/parsing/tensorboard/...   the same for TensorBoard, and every few steps
RUN/completion/...            stage 2, the same
RUN/completion/preview.png    input, mask, parsing, output, truth after the last epoch
RUN/face/...                  face refinement, the same; a run need not have it
```

Older runs have one `RUN/config.yaml`, of the stage that was trained last. It is read
for a stage that has none of its own, and never written.
"""

import functools
import logging
import pathlib
from collections.abc import Callable

import keras

from portrait_tf.config import Config, load_config, save_config
from portrait_tf.data.dataset import (
    reraise_data_error,
    training_dataset,
    validation_dataset,
)
from portrait_tf.errors import PortraitError
from portrait_tf.masks import EVALUATION_TASKS, FACE_TASK
from portrait_tf.models import NETWORKS
from portrait_tf.storage import assign_arrays, read_arrays
from portrait_tf.training.base import Trainer, precision
from portrait_tf.training.checkpoint import (
    BEST_NAME,
    CHECKPOINT_NAME,
    Checkpoints,
    FiniteGuard,
    best_weights,
    restore_checkpoint,
    weights_group,
)
from portrait_tf.training.curves import Curves
from portrait_tf.training.distribution import Distribution
from portrait_tf.training.previews import Preview
from portrait_tf.weights import load_weights

logger = logging.getLogger(__name__)

STAGES = ("parsing", "completion", "face")
CONFIG_NAME = "config.yaml"
GIVEN_NAME = "network.npz"
VALIDATION_TASKS = {"face": (FACE_TASK,)}
"""Holes of a stage that is not validated on `EVALUATION_TASKS`."""


def build_network(stage: str, config: Config, training: bool = False) -> keras.Model:
    """A fresh network of `parsing`, `completion` or `face`.

    Args:
        stage: Which.
        config: The experiment.
        training: Whether it is to be trained, in the precision that its config says;
            in float32 otherwise.
    """
    section = getattr(config, stage)
    arguments = {"size": config.size, **section.network.model_dump()}
    build = NETWORKS[arguments.pop("kind", stage)]
    with precision(training and section.training.mixed_precision):
        return build(name=f"{stage}_network", **arguments)


def trained_stages(run: str | pathlib.Path) -> list[str]:
    """The stages that a run has a network of, in order."""
    return [
        stage
        for stage in STAGES
        if any(
            (pathlib.Path(run) / stage / name).is_file()
            for name in (CHECKPOINT_NAME, GIVEN_NAME)
        )
    ]


def run_config(run: str | pathlib.Path, stage: str | None = None) -> Config:
    """The config of a stage of a run.

    Args:
        run: Its folder.
        stage: One of `STAGES`; None for the last one that is there. The config of a
            stage that was trained elsewhere is that of a stage trained on it.

    Raises:
        PortraitError: There is no config, or it does not fit the schema.
    """
    run = pathlib.Path(run)
    stage = stage or [*STAGES[:1], *trained_stages(run)][-1]
    folders = [run / stage, run, *(run / other for other in reversed(STAGES))]
    paths = [folder / CONFIG_NAME for folder in folders]
    return load_config(next((path for path in paths if path.is_file()), paths[0]))


def load_run_network(
    run: str | pathlib.Path, stage: str, which: str = "last"
) -> keras.Model:
    """The network of a stage as a run has it, with averaged weights if it has those.

    Args:
        run: Its folder.
        stage: `parsing` or `completion`.
        which: `last`, the last checkpoint, or `best`, the epoch validated best; a
            stage that was trained elsewhere has but one.

    Raises:
        PortraitError: The run has no such stage or no best weights of it, or its file
            does not fit its config.
    """
    run = pathlib.Path(run)
    checkpoint = run / stage / CHECKPOINT_NAME
    given = run / stage / GIVEN_NAME
    if not checkpoint.is_file() and given.is_file():
        return load_weights(given)
    if not checkpoint.is_file():
        raise PortraitError(
            f"{run} has no trained {stage} stage: expected {checkpoint}; "
            f"`portrait-tf train {stage} --run {run}` makes it"
        )
    if which == "best":
        checkpoint = run / stage / BEST_NAME
        if not checkpoint.is_file():
            raise PortraitError(
                f"expected {checkpoint}, found none: no epoch of {stage} was validated "
                "by its training.monitor; take the last checkpoint"
            )
    network = build_network(stage, run_config(run, stage))
    arrays, _ = read_arrays(checkpoint)
    assign_arrays(network.weights, arrays, weights_group(arrays), checkpoint)
    return network


def open_run(run: str | pathlib.Path, config: Config, stage: str) -> pathlib.Path:
    """Makes a stage's folder and saves its config, if it goes with what is there.

    Steps, rates and data settings may change when a run is resumed; what a checkpoint
    depends on may not: `seed` of this stage, `size` and network of every one.

    Raises:
        PortraitError: The folder holds checkpoints of another architecture or seed.
    """
    run = pathlib.Path(run)
    for begun in STAGES:
        if not (run / begun / CHECKPOINT_NAME).is_file():
            continue
        before = run_config(run, begun)
        keys = ["size", f"{begun}.network", *(["seed"] if begun == stage else [])]
        for key in keys:
            old, new = before, config
            for part in key.split("."):
                old, new = getattr(old, part), getattr(new, part)
            if old != new:
                raise PortraitError(
                    f"{run} was begun with another '{key}' ({old} there, {new} now); "
                    "give another --run folder"
                )
    save_config(config, run / stage / CONFIG_NAME)
    return run


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
