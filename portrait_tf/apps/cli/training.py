"""Trains networks, and compares them."""

import dataclasses
import os
import pathlib
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from portrait_tf.apps.cli.shared import (
    Changes,
    Data,
    SkipBroken,
    app,
    grouped,
    open_console,
    progress,
    start_tensorflow,
    stoppable,
)
from portrait_tf.errors import PortraitError

if TYPE_CHECKING:
    from portrait_tf.config import Config
    from portrait_tf.data.mixture import Mixture


@dataclasses.dataclass(frozen=True)
class GivenStages:
    """Networks of earlier stages that a run does not train itself."""

    parsing: Annotated[
        str | None,
        typer.Option(help="Stage 1 of another run, or `bundled`, for later stages."),
    ] = None
    completion: Annotated[
        str | None,
        typer.Option(help="Stage 2 of another run, or `bundled`, for `face`."),
    ] = None


@app.command()
@grouped
def train(
    stage: Annotated[
        Literal["parsing", "completion", "face"],
        typer.Argument(help="In this order; `face` may be left out."),
    ],
    config: Annotated[pathlib.Path, typer.Option(help="A YAML file of configs/.")],
    data: Annotated[
        list[pathlib.Path],
        typer.Option(
            "--data",
            help="A data set; docs/data.md says which. Several times: all of them, by "
            "`data.weights` of the config.",
        ),
    ],
    run: Annotated[pathlib.Path, typer.Option(help="The run's folder; resumed.")],
    steps: Annotated[
        int | None, typer.Option(min=1, help="In place of the config's.")
    ] = None,
    set_: Changes = None,
    given: GivenStages = GivenStages(),
    skip_broken: SkipBroken = False,
    strategy: Annotated[
        Literal["none", "mirrored", "multiworker"],
        typer.Option(help="Several GPUs, or machines by TF_CONFIG: docs/distributed."),
    ] = "none",
) -> None:
    """Train a stage; the same command goes on after a stop."""
    from portrait_tf.config import load_config, with_changes

    changes = list(set_ or [])
    if steps:
        changes.append(f"{stage}.training.steps={steps}")
    settings = with_changes(load_config(config), changes)
    training = _training_reader(data, settings, skip_broken)
    validation = _validation_reader(data, skip_broken)
    start_tensorflow()
    from portrait_tf.training.commands import train_stage

    verbose = "auto" if sys.stderr.isatty() else 2
    try:
        with stoppable():
            train_stage(
                stage,
                settings,
                training,
                run,
                validation,
                dataclasses.asdict(given),
                verbose,
                strategy,
            )
    except PortraitError as error:
        if strategy != "multiworker":
            raise
        # TensorFlow's threads to other workers would abort an orderly exit.
        typer.echo(f"portrait-tf: {error}", err=True)
        sys.stderr.flush()
        os._exit(error.exit_code)


def _training_reader(
    directories: list[pathlib.Path], settings: "Config", skip_broken: bool
) -> "Mixture":
    from portrait_tf.data.cache import Budget, CachedReader
    from portrait_tf.data.mixture import Mixture
    from portrait_tf.data.open import open_dataset

    readers = [
        open_dataset(one, "train", skip_broken=skip_broken) for one in directories
    ]
    if settings.data.cache_gigabytes:
        budget = Budget(settings.data.cache_gigabytes * 1e9)
        readers = [CachedReader(reader, budget) for reader in readers]
    return Mixture(readers, settings.data.weights)


def _validation_reader(directories: list[pathlib.Path], skip_broken: bool):  # noqa: ANN202
    """The val split of the first data set that has one, or None; says which."""
    from portrait_tf.data.open import open_dataset
    from portrait_tf.data.reader import NoSplitError

    reasons = []
    for directory in directories:
        try:
            reader = open_dataset(directory, "val", skip_broken=skip_broken)
        except NoSplitError as error:
            reasons.append(str(error).splitlines()[0])
            continue
        if len(directories) > 1:
            typer.echo(f"validation: {directory}", err=True)
        return reader
    typer.echo(f"no validation: {'; '.join(reasons)}", err=True)
    return None


@app.command()
def compare(
    config: Annotated[pathlib.Path, typer.Option(help="As configs/compare.yaml.")],
    data: Data,
    out: Annotated[
        pathlib.Path | None,
        typer.Option("-o", "--out", help="The folder of runs and report; resumed."),
    ] = None,
    write_inputs: Annotated[
        pathlib.Path | None,
        typer.Option(
            metavar="DIR", help="Write what a method from outside is asked, as PNG."
        ),
    ] = None,
    set_: Changes = None,
    skip_broken: SkipBroken = False,
) -> None:
    """Train several methods with one budget, and compare them; resumed after a stop."""
    from portrait_tf.data.open import open_dataset
    from portrait_tf.evaluation.compare_config import load_plan

    if not out and not write_inputs:
        raise PortraitError("expected --out or --write-inputs, received neither")
    plan = load_plan(config, set_)
    scored = open_dataset(data, plan.compare.split, skip_broken=skip_broken)
    training = open_dataset(data, "train", skip_broken=skip_broken) if out else None
    start_tensorflow()
    from portrait_tf.data.dataset import usable_reader
    from portrait_tf.evaluation import compare_cases
    from portrait_tf.evaluation.compare import Comparison
    from portrait_tf.evaluation.compare_report import report_tables
    from portrait_tf.evaluation.tables import print_tables

    scored = usable_reader(scored)
    if write_inputs:
        count = compare_cases.write_inputs(plan, scored, write_inputs)
        typer.echo(f"{count} inputs and masks written to {write_inputs}")
    if not out:
        return
    verbose = "auto" if sys.stderr.isatty() else 2
    with stoppable():
        report = Comparison(plan, training, scored, out, verbose, progress).run()
    print_tables(report_tables(report), open_console())
    typer.echo(f"report: {out / 'report.html'}")
