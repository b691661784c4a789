"""Exports, and keeps the folder of versions."""

import dataclasses
import importlib.util
import pathlib
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from portrait_tf.apps.cli.shared import (
    Which,
    app,
    check_run,
    grouped,
    models_app,
    open_console,
    start_tensorflow,
)
from portrait_tf.errors import PortraitError

if TYPE_CHECKING:
    from portrait_tf.inference.pipeline import Pipeline


Label = Literal["canary", "stable"]
ModelsFolder = Annotated[
    pathlib.Path, typer.Argument(metavar="DIR", help="The folder of versions.")
]


@dataclasses.dataclass(frozen=True)
class Exported:
    """The networks of a version."""

    face: Annotated[
        bool | None,
        typer.Option(
            "--face/--no-face",
            help="With the run's face network, in place of its config's word.",
        ),
    ] = None
    detail: Annotated[
        bool | None,
        typer.Option(
            "--detail/--no-detail",
            help="Give large holes the photo's own texture, in place of the config's "
            "word; without it a large photo is answered sooner.",
        ),
    ] = None
    checkpoint: Which = "last"
    working_size: Annotated[
        tuple[int, int] | None,
        typer.Option(
            metavar="HEIGHT WIDTH", help="The networks', in place of what they learned."
        ),
    ] = None

    def pipeline(self, run: str) -> "Pipeline":
        from portrait_tf.inference.pipeline import Pipeline

        if run == "bundled":
            pipeline = Pipeline.bundled(self.face, self.detail)
        else:
            pipeline = Pipeline.from_run(run, self.checkpoint, self.face, self.detail)
        return pipeline.at_size(self.working_size) if self.working_size else pipeline


@dataclasses.dataclass(frozen=True)
class VersionChoice:
    """What a version holds beside its networks."""

    precision: Annotated[
        Literal["float32", "float16"],
        typer.Option(help="Weights are stored so; computed in float32."),
    ] = "float32"
    signature: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this one, and others given likewise."),
    ] = None
    batch_size: Annotated[
        list[int] | None,
        typer.Option(
            metavar="N", help="For a server's batching, repeated; 1, 2, 4 and 8."
        ),
    ] = None
    label: Annotated[
        Label | None, typer.Option(help="That models.config gives the version.")
    ] = None
    onnx: Annotated[
        bool,
        typer.Option(
            "--onnx",
            help="Also write ONNX graphs, which --model runs without TensorFlow.",
        ),
    ] = False


@app.command()
@grouped
def export(
    run: Annotated[str, typer.Argument(help="A trained run, or `bundled`.")],
    out_dir: Annotated[pathlib.Path, typer.Argument(help="The folder of versions.")],
    exported: Exported = Exported(),
    version: VersionChoice = VersionChoice(),
) -> None:
    """Write the next version of the SavedModel that a server runs."""
    from export.contract import BATCH_SIZES, check_names

    check_names(version.signature)
    check_run(run, exported.checkpoint)
    if version.onnx and not importlib.util.find_spec("tf2onnx"):
        raise PortraitError(
            "--onnx needs tf2onnx, which is not installed: pip install "
            "'portrait-tf[onnx-export]'"
        )
    start_tensorflow()
    from export.saved_model import export_pipeline

    folder = export_pipeline(
        exported.pipeline(run),
        out_dir,
        version.precision,
        version.signature,
        version.batch_size or BATCH_SIZES,
        version.label,
        version.onnx,
    )
    typer.echo(f"exported to {folder}")


@models_app.command("list")
def list_models(
    directory: ModelsFolder,
    load: Annotated[
        bool, typer.Option("--load", help="Also load each as a server would; slow.")
    ] = False,
) -> None:
    """Show every version: labels, size, signatures, and whether it is whole."""
    from rich.table import Table

    from export.publishing import list_versions

    versions = list_versions(directory)
    if load:
        start_tensorflow()
        from export.saved_model import load_problem
    table = Table("version", "labels", "exported", "MB", "weights")
    table.add_column("signatures", no_wrap=True)
    table.add_column("state")
    for one in versions:
        problem = one.problem or (load_problem(one.folder) if load else "")
        state = f"broken: {problem}" if problem else "loads" if load else "whole"
        table.add_row(
            str(one.number),
            ", ".join(one.labels),
            one.exported,
            f"{one.size / 1e6:.1f}",
            one.precision,
            "\n".join(one.signatures),
            state,
        )
    open_console().print(table if versions else f"{directory}: no versions yet")


@models_app.command()
def promote(
    directory: ModelsFolder,
    version: Annotated[int, typer.Argument(min=1, help="Its number.")],
    label: Annotated[Label, typer.Option(help="What clients ask for.")],
    base_path: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Where the server finds DIR, if elsewhere."),
    ] = None,
) -> None:
    """Let a label stand for a version; a server keeps all labelled ones loaded."""
    from export import publishing

    publishing.promote(directory, version, label, base_path)
    typer.echo(f"{label}: version {version}")


@models_app.command()
def rollback(
    directory: ModelsFolder,
    label: Annotated[Label, typer.Option(help="What clients ask for.")],
) -> None:
    """Let a label stand again for the version that it stood for before."""
    from export import publishing

    typer.echo(f"{label}: version {publishing.rollback(directory, label)}")


@models_app.command()
def prune(
    directory: ModelsFolder,
    keep: Annotated[int, typer.Option(min=1, help="How many of the newest stay.")],
) -> None:
    """Remove old versions, but none with a label or that a label could go back to."""
    from export import publishing

    removed = publishing.prune(directory, keep)
    typer.echo(f"removed: {', '.join(map(str, removed)) or 'none'}")


@app.command()
def weights(
    run: Annotated[pathlib.Path, typer.Argument(help="A trained run.")],
    out_dir: Annotated[pathlib.Path, typer.Argument(help="Where the files go.")],
    name: Annotated[
        str | None,
        typer.Option(help="Files are called STAGE_NAME.npz; else the config's name."),
    ] = None,
    checkpoint: Which = "last",
) -> None:
    """Write a run's networks in compact form: float16, without optimizers."""
    start_tensorflow()
    from portrait_tf.runs.folder import load_run_network, run_config, trained_stages
    from portrait_tf.runs.weights import save_weights

    stages = trained_stages(run) or ["parsing"]
    networks = {stage: load_run_network(run, stage, checkpoint) for stage in stages}
    for stage, network in networks.items():
        config = run_config(run, stage)
        path = out_dir / f"{stage}_{name or config.name}.npz"
        # The chain is run as its last stage has it.
        config = config.model_copy(update={"pipeline": run_config(run).pipeline})
        save_weights(network, path, config.model_dump(mode="json"))
        typer.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
