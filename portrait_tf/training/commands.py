"""Training of either stage from files to files; what the command line runs."""

import logging
import pathlib

import keras

from portrait_tf.config import Config
from portrait_tf.data.dataset import Reader, usable_reader, validation_dataset
from portrait_tf.errors import PortraitError
from portrait_tf.models.backbones import load_backbone_weights
from portrait_tf.training.checkpoint import CHECKPOINT_NAME
from portrait_tf.training.completion import CompletionTrainer
from portrait_tf.training.parsing import ParsingTrainer
from portrait_tf.training.previews import Preview
from portrait_tf.training.run import (
    GIVEN_NAME,
    build_network,
    load_run_network,
    open_run,
    train,
)
from portrait_tf.weights import save_weights

logger = logging.getLogger(__name__)

_PREVIEW_PHOTOS = 8


def train_stage(
    stage: str,
    config: Config,
    reader: Reader,
    run: str | pathlib.Path,
    validation_reader: Reader | None = None,
    parsing_run: str | pathlib.Path | None = None,
    verbose: int | str = "auto",
) -> list[dict]:
    """Trains a stage into a run's folder, or goes on where it was stopped.

    Args:
        stage: `parsing` or `completion`.
        config: The experiment; saved with the run.
        reader: Training samples.
        run: The run's folder.
        validation_reader: Samples to validate on, and to draw.
        parsing_run: Where stage 2 takes stage 1 from: a run, or `bundled`; it is copied
            into `run`, which so holds the whole chain. None: its own run.
        verbose: As `model.fit` has it.

    Returns:
        What was logged, a dict an epoch.

    Raises:
        PortraitError: Broken data; a run of another architecture; no stage 1.
    """
    run = pathlib.Path(run)
    reader = usable_reader(reader)
    if validation_reader is not None:
        validation_reader = usable_reader(validation_reader)
    parsing_network = None
    elsewhere = False
    if stage == "completion":
        source = pathlib.Path(parsing_run or run)
        elsewhere = source.resolve() != run.resolve()
        if elsewhere and (run / "parsing" / CHECKPOINT_NAME).is_file():
            raise PortraitError(
                f"{run} has a stage 1 of its own, received another one "
                f"({parsing_run}): leave out --parsing, or give another --run folder"
            )
        parsing_network = _stage_1(source)
        if tuple(parsing_network.size) != tuple(config.size):
            raise PortraitError(
                f"stage 1 works at {tuple(parsing_network.size)}, the config says "
                f"{tuple(config.size)}: expected one size"
            )
    run = open_run(run, config)
    if elsewhere:
        path = run / "parsing" / GIVEN_NAME
        save_weights(parsing_network, path, {"source": str(parsing_run)}, dtype=None)
    # After stage 1 is loaded, so that both fresh and resumed runs start alike.
    keras.utils.set_random_seed(config.seed)
    network = build_network(stage, config, training=True)
    if stage == "parsing":
        # A checkpoint would overwrite them.
        fresh = not (run / stage / CHECKPOINT_NAME).is_file()
        if fresh and config.parsing.backbone_weights != "none":
            load_backbone_weights(network, config.parsing.backbone_weights)
        elif fresh and network.backbone != "small":
            logger.warning(
                "backbone %s without pretrained weights: its frozen normalisation does "
                "nothing then; expect little (parsing.backbone_weights)",
                network.backbone,
            )
        trainer = ParsingTrainer(network, config)
    else:
        trainer = CompletionTrainer(network, parsing_network, config)
    trainer.prepare(getattr(config, stage).training)
    shown = trainer.answering_network
    previewed = (shown, None) if stage == "parsing" else (parsing_network, shown)
    callbacks = []
    if validation_reader is not None and len(validation_reader):
        batches = validation_dataset(
            validation_reader, config, _PREVIEW_PHOTOS, _PREVIEW_PHOTOS, config.seed
        )
        batch = next(batches.as_numpy_iterator())
        callbacks.append(Preview(run / stage / "preview.png", *previewed, batch))
    return train(
        trainer,
        stage,
        config,
        reader,
        run / stage,
        validation_reader,
        callbacks,
        verbose,
        on_resume=lambda step: logger.info("resuming %s at step %d", stage, step),
    )


def _stage_1(source: str | pathlib.Path) -> keras.Model:
    if str(source) == "bundled":
        from portrait_tf.weights import load_bundled

        return load_bundled("parsing")
    return load_run_network(source, "parsing")
