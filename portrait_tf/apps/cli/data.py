"""Makes and checks data sets."""

import dataclasses
import json
import pathlib
import tempfile
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from portrait_tf.apps.cli.shared import (
    Data,
    JsonOut,
    Seed,
    SkipBroken,
    Split,
    Stage1Choice,
    data_app,
    grouped,
    open_console,
    progress,
    start_tensorflow,
    stoppable,
)
from portrait_tf.errors import PortraitError
from portrait_tf.files import check_target, write_result

if TYPE_CHECKING:
    from rich.console import Console

DataFolder = Annotated[
    pathlib.Path, typer.Argument(metavar="DIR", help="A data set's folder.")
]
Layout = Annotated[
    str | None,
    typer.Option(help="lip, atr, cihp, folder or shards; found out by itself."),
]


@data_app.command()
def synth(
    directory: Annotated[pathlib.Path, typer.Argument(help="A new folder.")],
    train: Annotated[int, typer.Option(min=0, help="Training portraits.")] = 1000,
    val: Annotated[int, typer.Option(min=0, help="Validation portraits.")] = 100,
    seed: Seed = 0,
    height: Annotated[int, typer.Option(min=32)] = 480,
    width: Annotated[int, typer.Option(min=32)] = 320,
) -> None:
    """Write synthetic portraits, with label maps and joints, in LIP's layout."""
    from portrait_tf.data.synthetic import write_synthetic

    with progress("drawing") as advance:
        write_synthetic(directory, train, val, seed, (height, width), advance)


@data_app.command()
def check(
    directory: DataFolder,
    out: Annotated[
        pathlib.Path | None,
        typer.Option(
            "-o", "--out", help="The picture of some samples; else DIR-check.png, here."
        ),
    ] = None,
    json_out: JsonOut = None,
    layout: Layout = None,
) -> None:
    """Read a whole data set and say what is in it; 1 if anything is broken."""
    from portrait_tf.data.check import describe, sample_sheet
    from portrait_tf.data.open import open_splits
    from portrait_tf.photos import write_png

    for path in (out, json_out):
        if path:
            check_target(path)
    readers = open_splits(directory, layout=layout)
    description = {}
    for split, reader in readers.items():
        with progress(f"reading {split}") as advance:
            description[split] = describe(reader, advance)
    console = open_console()
    for split in get_args(Split):
        _show_split(console, split, description.get(split))
    sheet = sample_sheet(readers.values())
    if sheet is not None:
        path = out or _sheet_path(directory)
        write_png(path, sheet)
        console.print(f"some samples: {path}", soft_wrap=True)
    if json_out:
        write_result(json_out, json.dumps(description, indent=2))
    if broken := sum(len(found["broken"]) for found in description.values()):
        console.print(f"{broken} broken")
        raise typer.Exit(1)


def _show_split(console: "Console", split: str, found: dict | None) -> None:
    from rich.table import Table

    if found is None:
        console.print(f"[bold]{split}[/]: none")
        return
    sizes = "; ".join(
        f"{side} {found[side]['min']} to {found[side]['max']} px, "
        f"median {found[side]['median']:g}"
        for side in ("height", "width")
        if found[side]
    )
    console.print(
        f"[bold]{split}[/]: {found['photos']} photos; {sizes} "
        f"(layout: {found['layout']})"
    )
    console.print(
        f"  without a parsing map {found['missing_parsing']}, without a pose "
        f"{found['missing_poses']}, void pixels {found['void_pixels']:.2f} %"
        + (f", left out {found['left_out']}" if found["left_out"] else "")
    )
    table = Table("label", "pixels (%)", "photos")
    for label, one in found["labels"].items():
        table.add_row(label, f"{one['pixels']:.3f}", str(one["photos"]))
    console.print(table)
    for name, message in found["broken"].items():
        console.print(f"  [red]broken[/] {name}: {message}", soft_wrap=True)


def _sheet_path(directory: pathlib.Path) -> pathlib.Path:
    """Here, but not inside the data set."""
    folder, data = pathlib.Path.cwd(), directory.resolve()
    if folder.is_relative_to(data):
        folder = pathlib.Path(tempfile.gettempdir())
    return folder / f"{data.name}-check.png"


@data_app.command()
def shards(
    directory: DataFolder,
    out_dir: Annotated[pathlib.Path, typer.Argument(help="A new folder.")],
    size: Annotated[
        tuple[int, int] | None,
        typer.Option(
            metavar="HEIGHT WIDTH", help="Make photos that exceed it smaller."
        ),
    ] = None,
    photos_per_shard: Annotated[
        int, typer.Option(min=1, help="Samples in a file.")
    ] = 1000,
    skip_broken: SkipBroken = False,
    layout: Layout = None,
) -> None:
    """Pack a data set into TFRecord files; the same command goes on after a stop."""
    from portrait_tf.data.open import open_splits
    from portrait_tf.data.shards import write_shards

    if size and min(size) < 16:
        raise PortraitError(f"--size: expected at least 16 16, received {size}")
    readers = open_splits(directory, skip_broken, layout)
    start_tensorflow()
    with progress("packing") as advance:
        manifest, kept = write_shards(readers, out_dir, size, photos_per_shard, advance)
    for split, found in manifest.splits.items():
        broken = {name: m for one in found.shards for name, m in one.broken.items()}
        typer.echo(
            f"{split}: {found.count} samples in {len(found.shards)} shards; "
            f"{len(broken)} broken left out"
        )
        for name, message in broken.items():
            typer.echo(f"  {name}: {message}", err=True)
    typer.echo(f"{kept} shards were there already; written to {out_dir}")


@dataclasses.dataclass(frozen=True)
class Predicted:
    """What of stage 1's predictions is taken."""

    confidence: Annotated[
        float,
        typer.Option(min=0, max=1, help="Pixels of a lower probability are void."),
    ] = 0.5
    joint_confidence: Annotated[
        float, typer.Option(min=0, help="Joints of a lower peak are left out.")
    ] = 0.3
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Predict maps and poses that there are, too."),
    ] = False


@data_app.command()
@grouped
def label(
    data: Data,
    out_dir: Annotated[
        pathlib.Path, typer.Option("--out", "-o", metavar="NEW", help="A new folder.")
    ],
    network: Stage1Choice = Stage1Choice(),
    predicted: Predicted = Predicted(),
    skip_broken: SkipBroken = False,
    layout: Layout = None,
) -> None:
    """Write a data set with predicted label maps, in LIP's layout; can be resumed."""
    from portrait_tf.data.open import open_splits

    network.check()
    readers = open_splits(data, skip_broken, layout)
    start_tensorflow()
    from portrait_tf.data.dataset import usable_reader
    from portrait_tf.data.labelling import label_dataset
    from portrait_tf.inference.averaging import AveragedParsing

    readers = {split: usable_reader(reader) for split, reader in readers.items()}
    structure = AveragedParsing(network.load(), flip=True)
    said = "stopped; the same command goes on from there"
    with stoppable(said), progress("labelling") as advance:
        counts = label_dataset(
            readers,
            structure,
            out_dir,
            **dataclasses.asdict(predicted),
            progress=advance,
        )
    typer.echo(
        f"{counts.photos} photos, {counts.kept} of them done before; predicted "
        f"{counts.predicted_maps} maps ({100 * counts.void:.1f} % void) and "
        f"{counts.predicted_poses} poses; written to {out_dir}"
    )
