"""A run: a folder with exact configs, checkpoints, curves and pictures.

```
RUN/parsing/config.yaml       the config that stage 1 was trained with: every key
RUN/parsing/checkpoint.npz    stage 1: network, optimizer, step
RUN/parsing/network.npz       in its place: a stage 1 that was trained elsewhere
RUN/parsing/best.npz          weights of the epoch that was validated best
RUN/parsing/log.csv           a row an epoch
RUN/parsing/tensorboard/...   the same for TensorBoard, and previews
RUN/completion/...            stage 2, the same
RUN/completion/preview.png    input, mask, parsing, output, truth after the last epoch
RUN/face/...                  face refinement, the same; a run need not have it
```

Older runs have one `RUN/config.yaml`, of the stage that was trained last. It is read
for a stage that has none of its own, and never written.
"""

import pathlib

import keras

from portrait_tf.config import Config, load_config
from portrait_tf.errors import PortraitError
from portrait_tf.models import NETWORKS
from portrait_tf.models.network import precision
from portrait_tf.runs.checkpoint import BEST_NAME, CHECKPOINT_NAME, weights_group
from portrait_tf.runs.storage import assign_arrays, read_arrays
from portrait_tf.runs.weights import load_weights

STAGES = ("parsing", "completion", "face")

CONFIG_NAME = "config.yaml"

GIVEN_NAME = "network.npz"


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


def check_config(run: str | pathlib.Path, config: Config, stage: str) -> None:
    """Checks that a stage may be trained with a config in a run.

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
