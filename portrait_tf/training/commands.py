"""Training of a stage from files to files; what the command line runs."""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import pathlib
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

import portrait_tf
from portrait_tf.config import Config
from portrait_tf.data.dataset import Reader, usable_reader
from portrait_tf.data.mixture import sample_names
from portrait_tf.errors import PortraitError
from portrait_tf.files import cannot_write
from portrait_tf.runs.backbone_weights import load_backbone_weights
from portrait_tf.runs.checkpoint import CHECKPOINT_NAME
from portrait_tf.runs.folder import (
    GIVEN_NAME,
    STAGES,
    build_network,
    check_config,
    load_run_network,
)
from portrait_tf.runs.presets import load_network
from portrait_tf.runs.storage import copy_arrays
from portrait_tf.runs.weights import network_from_meta, network_meta, save_weights
from portrait_tf.training.build import build_trainer
from portrait_tf.training.distribution import (
    Distribution,
    check_distribution,
    lost_workers,
    make_distribution,
)
from portrait_tf.training.fit import Job, fit
from portrait_tf.training.optimizers import check_optimizer

logger = logging.getLogger(__name__)


def train_stage(
    stage: str,
    config: Config,
    reader: Reader,
    run: str | pathlib.Path,
    validation_reader: Reader | None = None,
    earlier: dict[str, str | pathlib.Path | None] | None = None,
    verbose: int | str = "auto",
    strategy: str = "none",
) -> list[dict]:
    """Trains a stage into a run's folder, or continues where it was stopped.

    Args:
        stage: `parsing`, `completion` or `face`.
        config: The experiment; saved with the stage.
        reader: Training samples.
        run: The run's folder.
        validation_reader: Samples to validate on, and to draw.
        earlier: Sources of earlier stages, by stage: another run's folder, or
            `bundled`. Their networks are copied into `run`, which so holds the whole
            chain. A stage without a source is taken from `run`.
        verbose: As in `model.fit`.
        strategy: `none`; `mirrored`, over all GPUs of this machine; or `multiworker`,
            over the processes that `TF_CONFIG` names, each of which calls this. The
            first of them alone reads and writes runs.

    Returns:
        Logs, a dict an epoch.

    Raises:
        PortraitError: Broken data; a run of another architecture; no earlier stage;
            what this stack or the strategy does not support; a lost worker.
    """
    section = getattr(config, stage)
    check_optimizer(section.training.optimizer, f"{stage}.training.optimizer")
    if stage != "parsing":
        key = f"{stage}.discriminator_optimizer"
        check_optimizer(section.discriminator_optimizer, key)
    for name, source in (earlier or {}).items():
        later = STAGES.index(name) >= STAGES.index(stage)
        if later and _is_elsewhere(source, pathlib.Path(run)):
            raise PortraitError(
                f"{stage} is not trained on a network of {name}, received {source}; "
                f"what it starts from is {stage}.training.start_from"
            )
    check_distribution(strategy, stage, config)
    if section.training.mixed_precision:
        _warn_of_slow_bfloat16()
    distribution = make_distribution(strategy)
    with lost_workers(distribution), contextlib.ExitStack() as held:
        reader = usable_reader(reader)
        if validation_reader is not None:
            validation_reader = usable_reader(validation_reader)
        folder = pathlib.Path(run) / stage
        job = Job(stage, config, folder, reader, validation_reader, distribution)
        if distribution.workers > 1:
            distribution.agree(_facts(job))
        distribution.check_batch(stage, section.training.batch_size)
        networks, network = _networks(job, earlier or {}, held)
        with distribution.scope():
            before = list(networks.values())
            trainer = build_trainer(stage, network, before, config)
        networks[stage] = trainer.answering_network
        return fit(trainer, job, networks, verbose)


def _warn_of_slow_bfloat16(cpu: str = "/proc/cpuinfo") -> None:
    """A CPU without the instructions computes bfloat16 step by step."""
    if tf.config.list_physical_devices("GPU"):
        return
    with contextlib.suppress(OSError):
        flags = pathlib.Path(cpu).read_text().split()
        if not {"avx512_bf16", "amx_bf16", "bf16"} & set(flags):
            logger.warning(
                "training.mixed_precision: this CPU has no instructions for bfloat16, "
                "and steps take several times longer than in float32"
            )


@contextlib.contextmanager
def _alone(folder: pathlib.Path) -> Iterator[None]:
    """Waits until no other process trains in a stage's folder, and holds it.

    The system gives the lock back when a process dies.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise cannot_write(folder, error) from None
    # Some file systems have no locks.
    with contextlib.suppress(OSError):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.warning("%s: waiting until another training there ends", folder)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def _networks(
    job: Job, sources: dict, held: contextlib.ExitStack
) -> tuple[dict, keras.Model]:
    """Networks of the earlier stages, by stage, and the one to train.

    On the chief, `held` keeps the run's folder from other processes; the other workers
    are given the chief's values.
    """
    stage, config, distribution = job.stage, job.config, job.distribution
    run = job.folder.parent
    earlier, loaded = {}, {}

    def open_files() -> dict:
        given = {}
        for before in STAGES[: STAGES.index(stage)]:
            source = sources.get(before)
            earlier[before] = _earlier_stage(before, source, run, config)
            if _is_elsewhere(source, run):
                given[before] = str(source)
                _check_kept(stage, before, run, earlier[before])
        # A checkpoint replaces the initial weights of a new run.
        if not (job.folder / CHECKPOINT_NAME).is_file():
            loaded["start"] = _start(stage, config)
        held.enter_context(_alone(job.folder))
        check_config(run, config, stage)
        for before, source in given.items():
            path = run / before / GIVEN_NAME
            save_weights(earlier[before], path, {"source": source}, dtype=None)
        return {name: network_meta(one) for name, one in earlier.items()}

    known = distribution.on_chief(open_files)
    if distribution.strategy is not None:
        earlier = _on_all_replicas(distribution, earlier, known)
    # After stage 1 is loaded, so that new and resumed runs start from the same state.
    keras.utils.set_random_seed(config.seed)
    with distribution.scope():
        network = build_network(stage, config, training=True)
    if "start" in loaded:
        _initialize(stage, network, loaded["start"], config)
    return earlier, network


def _initialize(
    stage: str, network: keras.Model, start: keras.Model | None, config: Config
) -> None:
    """Sets the initial weights of a new run's network."""
    if start is not None:
        new = copy_arrays(start.weights, network.weights)
        if new:
            logger.warning(
                "%s.training.start_from: %d of %d arrays are new, for the network it "
                "names has none of their name and shape: %s ...",
                stage,
                len(new),
                len(network.weights),
                ", ".join(new[:3]),
            )
    elif stage == "parsing" and config.parsing.backbone_weights != "none":
        load_backbone_weights(network, config.parsing.backbone_weights)
    elif stage == "parsing" and network.backbone != "small":
        logger.warning(
            "backbone %s without pretrained weights: its frozen normalization does "
            "nothing then; expect little (parsing.backbone_weights)",
            network.backbone,
        )


def _facts(job: Job) -> dict[str, str]:
    """What all workers of a run must have in common, by its name.

    Of the data, the number of samples and their names: the order of the samples and
    the number of validation steps follow from them.
    """
    facts = {
        "portrait-tf": portrait_tf.__version__,
        "TensorFlow": tf.__version__,
        "Keras": keras.__version__,
        "NumPy": np.__version__,
        "stage": job.stage,
    }
    readers = {"training": job.reader, "validation": job.validation_reader}
    for split, reader in readers.items():
        facts[f"{split} samples"] = "none" if reader is None else str(len(reader))
        if reader is not None and (names := sample_names(reader)) is not None:
            digest = hashlib.sha256(json.dumps(names).encode()).hexdigest()
            facts[f"{split} samples' names (SHA-256)"] = digest[:12]

    def flatten(key: str, value: object) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                flatten(f"{key}.{name}" if key else name, inner)
        else:
            facts[key] = json.dumps(value)

    flatten("", job.config.model_dump(mode="json"))
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
    given = load_network(source, stage)
    if not isinstance(given, type(network)):
        raise PortraitError(
            f"{stage}.training.start_from: expected a {type(network).__name__} like "
            f"the config's, received {source}: it is a {type(given).__name__}"
        )
    return given


def _is_elsewhere(source: str | pathlib.Path | None, run: pathlib.Path) -> bool:
    """Whether a source is another one than the run itself."""
    if source is None:
        return False
    return pathlib.Path(source).resolve() != run.resolve()


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
    network = load_network(source or run, stage)
    if tuple(network.size) != tuple(config.size):
        raise PortraitError(
            f"stage {number} works at {tuple(network.size)}, the config says "
            f"{tuple(config.size)}: expected one size"
        )
    return network
