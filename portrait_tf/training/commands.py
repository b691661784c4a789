"""Training of any stage from files to files; what the command line runs."""

import hashlib
import json
import logging
import pathlib

import keras
import numpy as np
import tensorflow as tf

import portrait_tf
from portrait_tf.config import Config
from portrait_tf.data.dataset import Reader, usable_reader, validation_dataset
from portrait_tf.data.masks import EVALUATION_TASKS
from portrait_tf.data.mixture import sample_names
from portrait_tf.errors import PortraitError
from portrait_tf.runs.backbone_weights import load_backbone_weights
from portrait_tf.runs.checkpoint import CHECKPOINT_NAME
from portrait_tf.runs.folder import (
    GIVEN_NAME,
    STAGES,
    build_network,
    load_run_network,
    open_run,
)
from portrait_tf.runs.storage import copy_arrays
from portrait_tf.runs.weights import (
    load_bundled,
    load_weights,
    network_from_meta,
    network_meta,
    save_weights,
)
from portrait_tf.training.backends import check_backend, for_backend
from portrait_tf.training.completion import CompletionTrainer
from portrait_tf.training.distribution import (
    Distribution,
    check_distribution,
    lost_workers,
    make_distribution,
)
from portrait_tf.training.face import FaceTrainer
from portrait_tf.training.fit import VALIDATION_TASKS, train
from portrait_tf.training.parsing import ParsingTrainer
from portrait_tf.training.previews import Preview

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
    completion_run: str | pathlib.Path | None = None,
    strategy: str = "none",
) -> list[dict]:
    """Trains a stage into a run's folder, or goes on where it was stopped.

    Args:
        stage: `parsing`, `completion` or `face`.
        config: The experiment; saved with the stage.
        reader: Training samples.
        run: The run's folder.
        validation_reader: Samples to validate on, and to draw.
        parsing_run: Where later stages take stage 1 from: a run, or `bundled`; it is
            copied into `run`, which so holds the whole chain. None: its own run.
        verbose: As `model.fit` has it.
        completion_run: Where the face network takes stage 2 from, likewise.
        strategy: `none`; `mirrored`, over all GPUs of this machine; or `multiworker`,
            over the processes that `TF_CONFIG` names, each of which calls this. The
            first of them alone reads and writes runs.

    Returns:
        What was logged, a dict an epoch.

    Raises:
        PortraitError: Broken data; a run of another architecture; no earlier stage;
            what Keras' backend or the strategy cannot do here; a worker that is lost.
    """
    check_backend(stage, config)
    check_distribution(strategy, stage, config)
    distribution = make_distribution(strategy)
    with lost_workers(distribution):
        return _train(
            distribution,
            stage,
            config,
            reader,
            pathlib.Path(run),
            validation_reader,
            {"parsing": parsing_run, "completion": completion_run},
            verbose,
        )


def _train(
    distribution: Distribution,
    stage: str,
    config: Config,
    reader: Reader,
    run: pathlib.Path,
    validation_reader: Reader | None,
    sources: dict,
    verbose: int | str,
) -> list[dict]:
    reader = usable_reader(reader)
    if validation_reader is not None:
        validation_reader = usable_reader(validation_reader)
    if distribution.workers > 1:
        distribution.agree(_facts(stage, config, reader, validation_reader))
    distribution.check_batch(stage, getattr(config, stage).training.batch_size)
    earlier, loaded = {}, {}

    def open_files() -> dict:
        """Loads what is trained upon, and opens the run; what others must know."""
        given = {}
        for before in STAGES[: STAGES.index(stage)]:
            earlier[before] = _earlier_stage(before, sources[before], run, config)
            if _is_elsewhere(sources[before], run):
                given[before] = str(sources[before])
                _check_kept(stage, before, run, earlier[before])
        # A checkpoint would overwrite what a fresh run starts from.
        fresh = not (run / stage / CHECKPOINT_NAME).is_file()
        loaded["start"] = _start(stage, config) if fresh else None
        open_run(run, config, stage)
        for before, source in given.items():
            path = run / before / GIVEN_NAME
            save_weights(earlier[before], path, {"source": source}, dtype=None)
        return {name: network_meta(one) for name, one in earlier.items()} | {
            "fresh": fresh and loaded["start"] is None
        }

    known = distribution.on_chief(open_files)
    fresh = known.pop("fresh")
    if distribution.strategy is not None:
        earlier = _on_all_replicas(distribution, earlier, known)
    # After stage 1 is loaded, so that both fresh and resumed runs start alike.
    keras.utils.set_random_seed(config.seed)
    with distribution.scope():
        network = build_network(stage, config, training=True)

    def start() -> None:
        if loaded["start"] is not None:
            new = copy_arrays(loaded["start"].weights, network.weights)
            if new:
                logger.warning(
                    "%s.training.start_from: %d of %d arrays are new, for the network "
                    "it names has none of their name and shape: %s ...",
                    stage,
                    len(new),
                    len(network.weights),
                    ", ".join(new[:3]),
                )
        if stage != "parsing" or not fresh:
            return
        if config.parsing.backbone_weights != "none":
            load_backbone_weights(network, config.parsing.backbone_weights)
        elif network.backbone != "small":
            logger.warning(
                "backbone %s without pretrained weights: its frozen normalisation does "
                "nothing then; expect little (parsing.backbone_weights)",
                network.backbone,
            )

    distribution.on_chief(start)
    with distribution.scope():
        if stage == "parsing":
            trainer = for_backend(ParsingTrainer)(network, config)
        elif stage == "completion":
            build = for_backend(CompletionTrainer)
            trainer = build(network, earlier["parsing"], config)
        else:
            trainer = FaceTrainer(
                network, earlier["parsing"], earlier["completion"], config
            )
            # From here on the config is read for its data alone.
            config = config.model_copy(update={"masks": config.face.masks})
    previewed = {**earlier, stage: trainer.answering_network}
    callbacks = []
    drawn = validation_reader is not None and len(validation_reader)
    if drawn and distribution.chief:
        batches = validation_dataset(
            validation_reader,
            config,
            _PREVIEW_PHOTOS,
            _PREVIEW_PHOTOS,
            config.seed,
            VALIDATION_TASKS.get(stage, EVALUATION_TASKS),
        )
        batch = next(batches.as_numpy_iterator())
        path = run / stage / "preview.png"
        networks = {f"{name}_network": one for name, one in previewed.items()}
        callbacks.append(Preview(path, batch=batch, **networks))
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
        distribution=distribution,
    )


def _facts(
    stage: str, config: Config, reader: Reader, validation_reader: Reader | None
) -> dict[str, str]:
    """What all workers of a run must have alike, by what it is called.

    Of the data that is the number of samples and their names: which one comes when, and
    how many steps a validation has, follow from them.
    """
    facts = {
        "portrait-tf": portrait_tf.__version__,
        "TensorFlow": tf.__version__,
        "Keras": keras.__version__,
        "NumPy": np.__version__,
        "stage": stage,
    }
    for split, one in (("training", reader), ("validation", validation_reader)):
        names = None if one is None else sample_names(one)
        facts[f"{split} samples"] = "none" if one is None else str(len(one))
        if names is not None:
            digest = hashlib.sha256(json.dumps(names).encode()).hexdigest()
            facts[f"{split} samples' names (SHA-256)"] = digest[:12]

    def flatten(key: str, value: object) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                flatten(f"{key}.{name}" if key else name, inner)
        else:
            facts[key] = json.dumps(value)

    flatten("", config.model_dump(mode="json"))
    return facts


def _on_all_replicas(
    distribution: Distribution, networks: dict[str, keras.Model], known: dict
) -> dict[str, keras.Model]:
    """Copies of the chief's networks on every replica of every process.

    Args:
        distribution: Its chief has `networks`; the others may have none.
        networks: By stage.
        known: `network_meta` of each.
    """
    copies = {}
    for name, meta in known.items():
        with distribution.scope():
            copies[name] = network_from_meta(meta, name)
        if name in networks:
            copies[name].set_weights(networks[name].get_weights())
        distribution.broadcast(copies[name].weights)
    return copies


def _start(stage: str, config: Config) -> keras.Model | None:
    """The network that `TrainingConfig.start_from` names, if it names one.

    Raises:
        PortraitError: There is no such network, or it is of another class.
    """
    source = getattr(config, stage).training.start_from
    if source is None:
        return None
    network = build_network(stage, config)
    if source == "bundled":
        given = load_bundled(stage)
    elif pathlib.Path(source).is_dir():
        given = load_run_network(source, stage)
    else:
        given = load_weights(source)
    if not isinstance(given, type(network)):
        raise PortraitError(
            f"{stage}.training.start_from: expected a {type(network).__name__} like "
            f"the config's, received {source}: it is a {type(given).__name__}"
        )
    return given


def _is_elsewhere(source: str | pathlib.Path | None, run: str | pathlib.Path) -> bool:
    """Whether a source is another one than the run itself."""
    if source is None:
        return False
    return pathlib.Path(source).resolve() != pathlib.Path(run).resolve()


def _check_kept(
    stage: str, before: str, run: pathlib.Path, network: keras.Model
) -> None:
    """Raises PortraitError: the run trained this stage on another network."""
    begun = (run / stage / CHECKPOINT_NAME).is_file()
    if not begun or not (run / before / GIVEN_NAME).is_file():
        return
    kept = load_run_network(run, before).get_weights()
    new = network.get_weights()
    if len(kept) != len(new) or not all(map(np.array_equal, kept, new)):
        raise PortraitError(
            f"{run}: its {stage} was trained on another {before} network than the one "
            f"given now; leave out --{before}, or give another --run folder"
        )


def _earlier_stage(
    stage: str,
    source: str | pathlib.Path | None,
    run: pathlib.Path,
    config: Config,
) -> keras.Model:
    """A stage that another one builds on: of the run, another run, or `bundled`."""
    number = STAGES.index(stage) + 1
    if _is_elsewhere(source, run) and (run / stage / CHECKPOINT_NAME).is_file():
        raise PortraitError(
            f"{run} has a stage {number} of its own, received another one "
            f"({source}): leave out --{stage}, or give another --run folder"
        )
    if str(source) == "bundled":
        network = load_bundled(stage)
    else:
        network = load_run_network(source or run, stage)
    if tuple(network.size) != tuple(config.size):
        raise PortraitError(
            f"stage {number} works at {tuple(network.size)}, the config says "
            f"{tuple(config.size)}: expected one size"
        )
    return network
