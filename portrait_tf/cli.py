"""The command line, `portrait-tf`.

TensorFlow takes seconds to import, so it is imported in the commands that need it,
after their arguments were checked.
"""

import contextlib
import enum
import json
import logging
import pathlib
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Annotated, Optional

import typer
from typer.core import TyperCommand

import portrait_tf
from portrait_tf.errors import PortraitError
from portrait_tf.files import write_result

app = typer.Typer(
    name="portrait-tf",
    help="Completes photos of people: fills holes, extends past the border.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(no_args_is_help=True, help="Make and check data sets.")
app.add_typer(data_app, name="data")
evaluate_app = typer.Typer()
app.add_typer(evaluate_app, name="evaluate")
models_app = typer.Typer(
    no_args_is_help=True, help="Label and remove what is exported."
)
app.add_typer(models_app, name="models")


class Stage(enum.StrEnum):
    parsing = "parsing"
    completion = "completion"
    face = "face"


class Split(enum.StrEnum):
    train = "train"
    val = "val"


class Checkpoint(enum.StrEnum):
    last = "last"
    best = "best"


class Precision(enum.StrEnum):
    float32 = "float32"
    float16 = "float16"


class Label(enum.StrEnum):
    canary = "canary"
    stable = "stable"


class Format(enum.StrEnum):
    jpeg = "jpeg"
    png = "png"
    webp = "webp"
    tiff = "tiff"
    bmp = "bmp"
    heic = "heic"


_PILLOW_NAMES = {
    format: "HEIF" if format == Format.heic else format.value.upper()
    for format in Format
}

Photo = Annotated[pathlib.Path, typer.Argument(help="A photo, or a folder of photos.")]
Out = Annotated[
    pathlib.Path,
    typer.Option(
        "-o", "--out", help="The file, in the format of its extension; or the folder."
    ),
]
OutFormat = Annotated[
    Optional[Format],  # noqa: UP045
    typer.Option("--format", help="Of the output; else each photo's own in a folder."),
]
Quality = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(min=1, max=100, help="For formats with loss; a JPEG keeps its own."),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Of a folder, also photos that are done.")
]
Log = Annotated[
    Optional[pathlib.Path],  # noqa: UP045
    typer.Option(metavar="FILE", help="Add a line of JSON for each photo."),
]
Server = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="HOST:PORT", help="Complete on a server, over gRPC."),
]
Model = Annotated[
    Optional[pathlib.Path],  # noqa: UP045
    typer.Option(metavar="DIR", help="Complete with an exported model, in process."),
]
ParsingOut = Annotated[
    Optional[pathlib.Path],  # noqa: UP045
    typer.Option(help="Also write the coloured parsing map: a file, or a folder."),
]
ParsingIn = Annotated[
    Optional[pathlib.Path],  # noqa: UP045
    typer.Option(
        help="Paint by your own parsing map, of the result's size, in LIP's colours or "
        "labels; for a folder of photos, a folder with equal names, or one for all."
    ),
]
MaskFromAlpha = Annotated[
    bool,
    typer.Option(
        "--mask-from-alpha",
        help="Transparent = hole: in the mask, or without one in the photo.",
    ),
]
InvertMask = Annotated[
    bool, typer.Option("--invert-mask", help="Black = hole, or opaque = hole.")
]
ResizeMask = Annotated[
    bool, typer.Option("--resize-mask", help="Bring a mask to its photo's size.")
]
Margin = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="LENGTH", help="To add: 0.3 or 30% of the photo, or 200px."),
]
Data = Annotated[
    pathlib.Path, typer.Option("--data", help="A data set; docs/data.md says which.")
]
DataFolder = Annotated[
    pathlib.Path, typer.Argument(metavar="DIR", help="A data set's folder.")
]
Layout = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="lip, atr, cihp, folder or shards; found out by itself."),
]
Seed = Annotated[int, typer.Option(min=0, help="Everything random follows from it.")]
Which = Annotated[
    Checkpoint,
    typer.Option(
        "--checkpoint", help="Of a run: its last, or the epoch validated best."
    ),
]
ModelsFolder = Annotated[
    pathlib.Path, typer.Argument(metavar="DIR", help="The folder of versions.")
]
SkipBroken = Annotated[
    bool, typer.Option("--skip-broken", help="Leave out broken files, and count them.")
]


@contextlib.contextmanager
def _progress(label: str) -> Iterator:
    """A bar on stderr; gives a function of (done, total)."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )

    class RateColumn(ProgressColumn):
        def render(self, task: Task) -> str:
            return f"{task.speed:.2f}/s" if task.speed else ""

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _load_tensorflow() -> None:
    from portrait_tf.startup import load_tensorflow

    load_tensorflow()
    logging.basicConfig(
        level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True
    )
    for name in ("absl", "tensorflow"):
        logging.getLogger(name).setLevel(logging.ERROR)


@app.command()
def complete(
    photo: Photo,
    out: Out,
    mask: Annotated[
        Optional[pathlib.Path],  # noqa: UP045
        typer.Option(
            help="White = hole. For a folder of photos, a folder with equal names, or "
            "one mask for all of them."
        ),
    ] = None,
    mask_from_alpha: MaskFromAlpha = False,
    invert_mask: InvertMask = False,
    resize_mask: ResizeMask = False,
    server: Server = None,
    model: Model = None,
    parsing_in: ParsingIn = None,
    parsing_out: ParsingOut = None,
    format: OutFormat = None,
    quality: Quality = None,
    overwrite: Overwrite = False,
    log: Log = None,
) -> None:
    """Fill the hole of a photo, or of every photo of a folder and its sub-folders."""
    from portrait_tf import folders

    if mask is None and not mask_from_alpha:
        raise PortraitError("expected --mask, or --mask-from-alpha, received neither")
    _check_exists(mask, "mask")
    options = folders.MaskOptions(mask_from_alpha, invert_mask, resize_mask)
    _complete_files(
        photo,
        lambda job: folders.prepare_completion(job, options),
        (server, model),
        (out, parsing_out, format),
        quality,
        overwrite,
        log,
        mask,
        parsing_in,
    )


def _check_exists(path: pathlib.Path | None, kind: str) -> None:
    if path is not None and not path.exists():
        raise PortraitError(
            f"{path}: cannot read the {kind}: No such file or directory"
        )


@app.command()
def extrapolate(
    photo: Photo,
    out: Out,
    top: Margin = None,
    bottom: Margin = None,
    left: Margin = None,
    right: Margin = None,
    to_aspect: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="W:H", help="Add what gives this aspect, such as 2:3."),
    ] = None,
    to_size: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="WxH", help="Add what gives this size in pixels."),
    ] = None,
    whole_body: Annotated[
        bool,
        typer.Option(
            "--whole-body", help="Add what the largest person needs to be whole."
        ),
    ] = False,
    anchor: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="PLACE",
            help="Of the photo in a --to-aspect or --to-size: center, top, bottom, "
            "left, right, top-left, ...; auto adds where a person is cut off.",
        ),
    ] = None,
    server: Server = None,
    model: Model = None,
    parsing_in: ParsingIn = None,
    parsing_out: ParsingOut = None,
    format: OutFormat = None,
    quality: Quality = None,
    overwrite: Overwrite = False,
    log: Log = None,
) -> None:
    """Extend a photo, or every photo of a folder and its sub-folders."""
    from portrait_tf import extrapolation, folders

    given = {"top": top, "bottom": bottom, "left": left, "right": right}
    wish = extrapolation.Wish(
        {
            side: extrapolation.parse_length(text, side)
            for side, text in given.items()
            if text is not None
        },
        extrapolation.parse_aspect(to_aspect) if to_aspect is not None else None,
        extrapolation.parse_size(to_size) if to_size is not None else None,
        whole_body,
        anchor,
    )
    _complete_files(
        photo,
        lambda job: folders.prepare_extrapolation(job, wish),
        (server, model),
        (out, parsing_out, format),
        quality,
        overwrite,
        log,
        parsing_in=parsing_in,
    )


@app.command()
def parse(
    photo: Photo,
    out: Annotated[
        pathlib.Path, typer.Option("-o", "--out", help="A folder for what is written.")
    ] = pathlib.Path(),
    mask: Annotated[
        Optional[pathlib.Path],  # noqa: UP045
        typer.Option(help="White = hole, in which the structure is guessed."),
    ] = None,
    mask_from_alpha: MaskFromAlpha = False,
    invert_mask: InvertMask = False,
    resize_mask: ResizeMask = False,
    server: Server = None,
    model: Model = None,
    overwrite: Overwrite = False,
    log: Log = None,
) -> None:
    """Write stage 1's label map, joints and an overlay of a photo, or of a folder's."""
    from portrait_tf import engines, folders

    _check_exists(mask, "mask")
    options = folders.MaskOptions(mask_from_alpha, invert_mask, resize_mask)
    jobs = folders.plan_parsing(photo, out, mask)
    if not photo.is_dir():
        # A mistake should cost no time.
        folders.read_parse_job(jobs[0], options)
    _load_tensorflow()
    network = engines.open_engine(server, model)

    def parse_one(job: folders.ParseJob) -> list[str]:
        return folders.parse_file(network, job, options)

    if photo.is_dir():
        _work_through(jobs, parse_one, overwrite, log, ("parsing", "parsed"))
        return
    for note in folders.run_one(jobs[0], parse_one, log):
        typer.echo(f"{photo}: {note}", err=True)
    typer.echo("\n".join(str(path) for path in jobs[0].written))


def _complete_files(
    photo: pathlib.Path,
    prepare: Callable,
    engine: tuple[str | None, pathlib.Path | None],
    targets: tuple[pathlib.Path, pathlib.Path | None, Format | None],
    quality: int | None,
    overwrite: bool,
    log: pathlib.Path | None,
    mask: pathlib.Path | None = None,
    parsing_in: pathlib.Path | None = None,
) -> None:
    """One photo, whose mistakes cost no time; or a folder, past its bad files."""
    from portrait_tf import engines, folders, photos

    out, parsing_out, format = targets
    format = _PILLOW_NAMES[format] if format else None
    if format:
        photos.check_format(format)
    _check_exists(parsing_in, "label map")
    if photo.is_dir():
        jobs = folders.plan_folder(photo, out, mask, parsing_out, format, parsing_in)
        prepared = None
    else:
        for path, kind in ((mask, "mask"), (parsing_in, "label map")):
            if path and path.is_dir():
                raise PortraitError(
                    f"{path} is a folder; a {kind} is expected for one photo"
                )
        for target in (out, parsing_out):
            if target and target.is_dir():
                raise PortraitError(f"{target} is a folder; a file is expected")
        if not format and out.suffix:
            format = photos.format_of(out)
        job = folders.Job(photo, out, mask, parsing_out, format, parsing_in=parsing_in)
        jobs, prepared, overwrite = [job], prepare(job), True
    _load_tensorflow()
    network = engines.open_engine(*engine)

    def complete_one(job: folders.Job) -> list[str]:
        ready = prepared or prepare(job)
        return folders.complete_prepared(network, job, ready, quality)

    if prepared:
        for note in folders.run_one(jobs[0], complete_one, log):
            typer.echo(f"{photo}: {note}", err=True)
        return
    _work_through(jobs, complete_one, overwrite, log, ("completing", "completed"))


def _work_through(
    jobs: list,
    work: Callable,
    overwrite: bool,
    log: pathlib.Path | None,
    verbs: tuple[str, str],
) -> None:
    """A folder's photos, past the bad ones; how it went, and the exit code."""
    from portrait_tf import folders

    try:
        with _progress(verbs[0]) as advance:
            summary = folders.run_folder(jobs, work, overwrite, log, advance)
    except KeyboardInterrupt:
        typer.echo("stopped; the same command goes on from here", err=True)
        raise typer.Exit(130) from None
    typer.echo(
        f"{summary.completed} photos {verbs[1]}, {summary.skipped} skipped as they "
        f"were done, {summary.failed} failed"
    )
    if summary.with_notes:
        where = log or "--log FILE tells"
        typer.echo(f"{summary.with_notes} photos have notes: {where}", err=True)
    for message in summary.errors:
        typer.echo(f"  {message}", err=True)
    if summary.failed:
        raise typer.Exit(1)


@app.command()
def train(
    stage: Annotated[
        Stage, typer.Argument(help="In this order; `face` may be left out.")
    ],
    config: Annotated[pathlib.Path, typer.Option(help="A YAML file of configs/.")],
    data: Data,
    run: Annotated[pathlib.Path, typer.Option(help="The run's folder; resumed.")],
    steps: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="In place of the config's."),
    ] = None,
    set_: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the config."),
    ] = None,
    parsing: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Stage 1 of another run, or `bundled`, for later stages."),
    ] = None,
    completion: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Stage 2 of another run, or `bundled`, for `face`."),
    ] = None,
    skip_broken: SkipBroken = False,
) -> None:
    """Train a stage; the same command goes on after a stop."""
    from portrait_tf.config import load_config, with_changes
    from portrait_tf.data.open import open_dataset
    from portrait_tf.data.reader import NoSplitError

    changes = list(set_ or [])
    if steps:
        changes.append(f"{stage.value}.training.steps={steps}")
    settings = with_changes(load_config(config), changes)
    training = open_dataset(data, "train", skip_broken=skip_broken)
    try:
        validation = open_dataset(data, "val", skip_broken=skip_broken)
    except NoSplitError as error:
        typer.echo(f"no validation: {str(error).splitlines()[0]}", err=True)
        validation = None
    _load_tensorflow()
    from portrait_tf.training.commands import train_stage

    verbose = "auto" if sys.stderr.isatty() else 2
    try:
        train_stage(
            stage.value,
            settings,
            training,
            run,
            validation,
            parsing,
            verbose,
            completion,
        )
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@evaluate_app.callback(invoke_without_command=True)
def evaluate(
    context: typer.Context,
    data: Annotated[
        Optional[pathlib.Path],  # noqa: UP045
        typer.Option("--data", help="A data set in LIP's layout."),
    ] = None,
    split: Annotated[Split, typer.Option(help="Which photos.")] = Split.val,
    model: Model = None,
    server: Server = None,
    run: Annotated[
        Optional[pathlib.Path],  # noqa: UP045
        typer.Option(help="A trained run, in place of the bundled weights."),
    ] = None,
    checkpoint: Which = Checkpoint.last,
    json_out: Annotated[
        Optional[pathlib.Path],  # noqa: UP045
        typer.Option("--json", help="Write the numbers to a file, too."),
    ] = None,
    height: Annotated[
        int, typer.Option(min=16, help="Photos are brought to it.")
    ] = 192,
    width: Annotated[int, typer.Option(min=16, help="Photos are brought to it.")] = 128,
    count: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="The first photos only."),
    ] = None,
    seed: Seed = 0,
    skip_broken: SkipBroken = False,
) -> None:
    """Score a chain on fixed holes, beside classical methods; or stage 1 alone."""
    from portrait_tf.data.open import open_dataset

    if context.invoked_subcommand:
        if before := _given(context):
            raise PortraitError(
                f"expected the options of `evaluate {context.invoked_subcommand}` "
                f"after that name, received {before[0]} before it"
            )
        return
    if data is None:
        raise typer.BadParameter("expected the folder of a data set", param_hint="data")
    if sum(map(bool, (run, model, server))) > 1:
        raise PortraitError("expected one of --run, --model and --server")
    _check_checkpoint(checkpoint, run)
    reader = open_dataset(data, split.value, skip_broken=skip_broken)
    _load_tensorflow()
    from portrait_tf import engines
    from portrait_tf.data.dataset import usable_reader
    from portrait_tf.evaluation import evaluate as evaluation

    reader = usable_reader(reader)
    if run:
        from portrait_tf.pipeline import Pipeline

        engine = engines.PipelineEngine(Pipeline.from_run(run, checkpoint))
    else:
        engine = engines.open_engine(server, model)
    with _progress("evaluating") as advance:
        scores = evaluation.evaluate(
            engine, reader, (height, width), seed, count, advance
        )
    _print_scores(scores)
    if json_out:
        write_result(json_out, json.dumps(scores, indent=2))


def _console():  # noqa: ANN202
    from rich.console import Console

    # A pipe has no width; a table that is cut there helps nobody.
    return Console() if sys.stdout.isatty() else Console(width=100)


def _print_scores(scores: dict) -> None:
    from rich.table import Table

    def show(value: float | None, digits: int) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    console = _console()
    table = Table("task", "method", "hole PSNR (dB)", "SSIM", "hole L1 (0-255)")
    for task, ours in scores["completion"].items():
        rows = {"ours": ours, **{n: s[task] for n, s in scores["peers"].items()}}
        for name, one in rows.items():
            table.add_row(
                task if name == "ours" else "",
                name,
                show(one["psnr_hole"], 2),
                show(one["ssim"], 4),
                show(one["l1"], 2),
                end_section=name == list(rows)[-1],
            )
    console.print(table)
    table = Table("mean IoU", "mean IoU in the hole", "pixel accuracy", "PCKh@0.5")
    keys = ("miou", "miou_hole", "pixel_accuracy", "pckh")
    table.add_row(*(show(scores["parsing"][key], 4) for key in keys))
    console.print(table)


def _given(context: typer.Context) -> list[str]:
    """The options of a command that its user has typed."""
    return [
        option.opts[-1]
        for option in context.command.params
        if context.get_parameter_source(option.name).name == "COMMANDLINE"
    ]


class _ServeCommand(TyperCommand):
    """Leaves all flags to `serving.local_server.options`, which shows them, too."""

    def format_help(self, ctx, formatter) -> None:  # noqa: ANN001
        from serving.local_server.options import usage

        super().format_help(ctx, formatter)
        formatter.write(f"\nFlags, as --flag=VALUE or --flag VALUE:\n\n{usage()}\n")


class _ScalesInARow(TyperCommand):
    """Reads `--scales 0.75 1.25` as `--scales 0.75 --scales 1.25`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:
        spread = []
        for argument in args:
            if spread[-2:-1] == ["--scales"] and _is_number(argument):
                spread.append("--scales")
            spread.append(argument)
        return super().parse_args(ctx, spread)


def _is_number(text: str) -> bool:
    with contextlib.suppress(ValueError):
        float(text)
        return True
    return False


@evaluate_app.command("parsing", cls=_ScalesInARow)
def evaluate_parsing(
    data: Data,
    split: Annotated[Split, typer.Option(help="Which photos.")] = Split.val,
    run: Annotated[
        str, typer.Option(metavar="RUN", help="A trained run, or `bundled`.")
    ] = "bundled",
    checkpoint: Which = Checkpoint.last,
    json_out: Annotated[
        Optional[pathlib.Path],  # noqa: UP045
        typer.Option("--json", help="Write the numbers to a file, too."),
    ] = None,
    html_out: Annotated[
        Optional[pathlib.Path],  # noqa: UP045
        typer.Option("--html", help="Write a page with numbers and pictures."),
    ] = None,
    masks: Annotated[
        Optional[pathlib.Path],  # noqa: UP045
        typer.Option(help="Write the holes into a folder: TASK/NAME.png."),
    ] = None,
    count: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="The first photos only."),
    ] = None,
    min_photos: Annotated[
        int, typer.Option(min=0, help="A label in as many photos is frequent.")
    ] = 10,
    scales: Annotated[
        Optional[list[float]],  # noqa: UP045
        typer.Option(
            metavar="FLOAT...",
            min=0.1,
            max=4,
            help="Average stage 1 over scales, in place of its config's: 0.75 1 1.25.",
        ),
    ] = None,
    flip: Annotated[
        Optional[bool],  # noqa: UP045
        typer.Option(
            "--flip/--no-flip",
            help="Average with the mirrored photo, in place of its config's.",
        ),
    ] = None,
    seed: Seed = 0,
    skip_broken: SkipBroken = False,
) -> None:
    """Score stage 1 alone: label maps and poses, with fixed holes and without."""
    from portrait_tf.data.open import open_dataset

    for path in (json_out, html_out):
        if path and path.is_dir():
            raise PortraitError(f"{path} is a folder; a file is expected")
    if masks and masks.exists() and not masks.is_dir():
        raise PortraitError(f"{masks} is a file; a folder is expected")
    if run != "bundled" and not pathlib.Path(run).is_dir():
        raise PortraitError(
            f"{run}: expected the folder of a trained run, or 'bundled'"
        )
    _check_checkpoint(checkpoint, run)
    reader = open_dataset(data, split.value, skip_broken=skip_broken)
    _load_tensorflow()
    from portrait_tf.data.dataset import usable_reader
    from portrait_tf.evaluation import parsing, report
    from portrait_tf.photos import write_png

    reader = usable_reader(reader)
    structure = _structure(run, checkpoint, flip, scales)
    predict = parsing.predictor(structure)

    def keep_mask(task: str, name: str, mask) -> None:  # noqa: ANN001
        write_png(masks / task / f"{name}.png", mask)

    with _progress("evaluating") as advance:
        scores = parsing.evaluate_parsing(
            predict,
            reader,
            structure.size,
            seed,
            count,
            min_photos,
            progress=advance,
            keep_mask=keep_mask if masks else None,
        )
    photos = len(reader) if count is None else min(count, len(reader))
    setup = {
        "data": str(data),
        "split": split.value,
        "photos": photos,
        "network": run,
        "checkpoint": checkpoint.value,
        "size": list(structure.size),
        "scales": list(structure.scales),
        "flip": structure.flip,
        "seed": seed,
        "min_photos": min_photos,
    }
    scores = {"setup": setup, **scores}
    report.print_scores(scores, _console())
    if json_out:
        text = json.dumps(scores, indent=2, allow_nan=False)
        write_result(json_out, text)
    if html_out:
        examples = parsing.draw_examples(predict, reader, structure.size, scores)
        write_result(html_out, report.render_html(scores, examples))


def _check_checkpoint(checkpoint: Checkpoint, run: str | pathlib.Path | None) -> None:
    if checkpoint != Checkpoint.last and run in (None, "bundled"):
        raise PortraitError(
            f"expected a trained run for --checkpoint {checkpoint}, received none"
        )


def _structure(  # noqa: ANN202
    run: str, checkpoint: Checkpoint, flip: bool | None, scales: list[float] | None
):
    """Stage 1 of a run, or the bundled one, averaged as its config or the user says."""
    from portrait_tf.config import load_config
    from portrait_tf.models.averaging import AveragedParsing
    from portrait_tf.training.run import load_run_network
    from portrait_tf.weights import bundled_pipeline_config, load_bundled

    if run == "bundled":
        network, config = load_bundled("parsing"), bundled_pipeline_config()
    else:
        network = load_run_network(run, "parsing", checkpoint)
        config = load_config(pathlib.Path(run) / "config.yaml").pipeline
    return AveragedParsing(
        network,
        config.flip if flip is None else flip,
        tuple(scales) if scales else config.scales,
    )


@app.command()
def compare(
    config: Annotated[pathlib.Path, typer.Option(help="As configs/compare.yaml.")],
    data: Data,
    out: Annotated[
        Optional[pathlib.Path],  # noqa: UP045
        typer.Option("-o", "--out", help="The folder of runs and report; resumed."),
    ] = None,
    write_inputs: Annotated[
        Optional[pathlib.Path],  # noqa: UP045
        typer.Option(
            metavar="DIR", help="Write what a method from outside is asked, as PNG."
        ),
    ] = None,
    set_: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the config."),
    ] = None,
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
    _load_tensorflow()
    from portrait_tf.data.dataset import usable_reader
    from portrait_tf.evaluation import compare as comparison
    from portrait_tf.evaluation import compare_cases
    from portrait_tf.evaluation.compare_page import print_report

    scored = usable_reader(scored)
    if write_inputs:
        count = compare_cases.write_inputs(plan, scored, write_inputs)
        typer.echo(f"{count} inputs and masks written to {write_inputs}")
    if not out:
        return
    verbose = "auto" if sys.stderr.isatty() else 2
    try:
        report = comparison.run_compare(plan, training, scored, out, verbose, _progress)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    print_report(report, _console())
    typer.echo(f"report: {out / 'report.html'}")


@app.command()
def export(
    run: Annotated[str, typer.Argument(help="A trained run, or `bundled`.")],
    out_dir: Annotated[pathlib.Path, typer.Argument(help="The folder of versions.")],
    face: Annotated[
        Optional[bool],  # noqa: UP045
        typer.Option(
            "--face/--no-face",
            help="With the run's face network, in place of its config's word.",
        ),
    ] = None,
    checkpoint: Which = Checkpoint.last,
    precision: Annotated[
        Precision, typer.Option(help="Weights are stored so; computed in float32.")
    ] = Precision.float32,
    signature: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="NAME", help="Only this one, and others given likewise."),
    ] = None,
    working_size: Annotated[
        Optional[tuple[int, int]],  # noqa: UP045
        typer.Option(
            metavar="HEIGHT WIDTH", help="The networks', in place of what they learned."
        ),
    ] = None,
    batch_size: Annotated[
        Optional[list[int]],  # noqa: UP045
        typer.Option(
            metavar="N", help="For a server's batching, repeated; 1, 2, 4 and 8."
        ),
    ] = None,
    label: Annotated[
        Optional[Label],  # noqa: UP045
        typer.Option(help="That models.config gives the version."),
    ] = None,
) -> None:
    """Write the next version of the SavedModel that a server runs."""
    from export.contract import BATCH_SIZES, check_names

    check_names(signature)
    if run != "bundled" and not pathlib.Path(run).is_dir():
        raise PortraitError(
            f"{run}: expected the folder of a trained run, or 'bundled'"
        )
    _check_checkpoint(checkpoint, run)
    _load_tensorflow()
    from export.saved_model import export_pipeline
    from portrait_tf.pipeline import Pipeline

    if run == "bundled":
        pipeline = Pipeline.bundled(face)
    else:
        pipeline = Pipeline.from_run(run, checkpoint, face)
    if working_size:
        pipeline = pipeline.at_size(working_size)
    version = export_pipeline(
        pipeline,
        out_dir,
        precision.value,
        signature,
        batch_size or BATCH_SIZES,
        label.value if label else None,
    )
    typer.echo(f"exported to {version}")


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
        _load_tensorflow()
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
    _console().print(table if versions else f"{directory}: no versions yet")


@models_app.command()
def promote(
    directory: ModelsFolder,
    version: Annotated[int, typer.Argument(min=1, help="Its number.")],
    label: Annotated[Label, typer.Option(help="What clients ask for.")],
    base_path: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="PATH", help="Where the server finds DIR, if elsewhere."),
    ] = None,
) -> None:
    """Let a label stand for a version; a server keeps all labelled ones loaded."""
    from export import publishing

    publishing.promote(directory, version, label.value, base_path)
    typer.echo(f"{label.value}: version {version}")


@models_app.command()
def rollback(
    directory: ModelsFolder,
    label: Annotated[Label, typer.Option(help="What clients ask for.")],
) -> None:
    """Let a label stand again for the version that it stood for before."""
    from export import publishing

    typer.echo(f"{label.value}: version {publishing.rollback(directory, label.value)}")


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
        Optional[str],  # noqa: UP045
        typer.Option(help="Files are called STAGE_NAME.npz; else the config's name."),
    ] = None,
    checkpoint: Which = Checkpoint.last,
) -> None:
    """Write a run's networks in compact form: float16, without optimizers."""
    from portrait_tf.config import load_config

    config = load_config(run / "config.yaml")
    _load_tensorflow()
    from portrait_tf.training.run import load_run_network, trained_stages
    from portrait_tf.weights import save_weights

    stages = trained_stages(run) or [Stage.parsing.value]
    networks = {stage: load_run_network(run, stage, checkpoint) for stage in stages}
    for stage, network in networks.items():
        path = out_dir / f"{stage}_{name or config.name}.npz"
        save_weights(network, path, config.model_dump(mode="json"))
        typer.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


@app.command(
    cls=_ServeCommand,
    context_settings={"ignore_unknown_options": True},
    options_metavar="[FLAGS]",
)
def serve(
    arguments: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(metavar="[MODELS_DIR]", help="What `export` wrote."),
    ] = None,
) -> None:
    """Serve exports over TensorFlow Serving's protocol, for development."""
    from serving.local_server.options import parse_flags

    options, ignored = parse_flags(arguments or [])
    for name in ignored:
        typer.echo(f"--{name} has no effect on the embedded server", err=True)
    from serving.local_server.memory import map_large_blocks

    map_large_blocks()
    _load_tensorflow()
    from serving.local_server.server import LocalServer

    server = LocalServer.from_options(options)
    server.start()
    name, source = options.model_name, options.model_base_path
    if options.model_config_file:
        name, source = "models", options.model_config_file
    path = "" if options.model_config_file else f"/{name}"
    typer.echo(
        f"serving {name} from {source}: gRPC {options.host}:{server.grpc_port}, "
        f"REST http://{options.host}:{server.rest_port}/v1/models{path}"
    )
    server.wait()


@app.command()
def web(
    host: Annotated[
        str, typer.Option(help="To listen on; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 7860,
    server: Server = None,
    model: Model = None,
    max_megabytes: Annotated[
        int, typer.Option(min=1, help="Of a file that is opened.")
    ] = 64,
    max_megapixels: Annotated[
        float, typer.Option(min=0.01, help="Of a photo, and of what it grows to.")
    ] = 50.0,
) -> None:
    """Serve a page to complete photos by hand; needs the extra `web`."""
    from portrait_tf.web.actions import Limits
    from portrait_tf.web.page import check_gradio, running_page

    if server and model:
        raise PortraitError("expected --server or --model, received both")
    check_gradio()
    _load_tensorflow()
    from portrait_tf.portrait import Portrait

    logging.getLogger("httpx").setLevel(logging.WARNING)
    portrait = Portrait.load(model, server)
    limits = Limits(max_megabytes, max_megapixels)
    stopped = threading.Event()
    # However it is ended, visitors' files go.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with running_page(portrait, host, port, limits) as address:
        typer.echo(f"the page is at {address} (Ctrl+C stops it)")
        stopped.wait()


@app.command()
def doctor(
    server: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="The server's gRPC port.")
    ],
    model_name: Annotated[
        str, typer.Option("--model_name", "--model-name", help="In requests.")
    ] = "portrait",
    rest: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="URL", help="The REST API; else one port above."),
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Encrypted.")] = False,
    root_certificates: Annotated[
        Optional[pathlib.Path],  # noqa: UP045
        typer.Option(help="PEM of the authorities to trust; implies --tls."),
    ] = None,
    client_key: Annotated[
        Optional[pathlib.Path],  # noqa: UP045
        typer.Option(help="PEM of this client's key; implies --tls."),
    ] = None,
    client_certificate: Annotated[
        Optional[pathlib.Path],  # noqa: UP045
        typer.Option(help="PEM of its certificate."),
    ] = None,
    server_name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="The name in the server's certificate; implies --tls."),
    ] = None,
    api_key: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            envvar="PORTRAIT_TF_API_KEY", help="Sent as the header x-api-key."
        ),
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds for each call.")] = 60.0,
) -> None:
    """Say what is wrong between here and a server, step by step; 1 if anything is."""
    from serving.client import doctor as steps
    from serving.client.base import check_timeout
    from serving.client.connection import Tls

    check_timeout(timeout)
    encryption = None
    options = (root_certificates, client_key, client_certificate, server_name)
    if tls or any(options):
        encryption = Tls(*options)
    if rest and not rest.startswith(("http://", "https://")):
        raise PortraitError(f"--rest is {rest!r}; expected http://HOST:PORT")
    console = _console()
    failures = 0

    def show(finding: steps.Finding) -> None:
        nonlocal failures
        failures += finding.state == steps.FAILURE
        mark = {
            steps.OK: "[green]✔[/]",
            steps.WARNING: "[yellow]![/]",
            steps.FAILURE: "[red]✘[/]",
            steps.SKIPPED: "[dim]-[/]",
        }[finding.state]
        console.print(f"{mark} [bold]{finding.step}[/]", end=": ")
        console.print(finding.detail, markup=False, highlight=False, soft_wrap=True)
        if finding.advice:
            console.print("   →", finding.advice, markup=False, soft_wrap=True)

    for finding in steps.examine_connection(server, encryption):
        show(finding)
    if not failures:
        _load_tensorflow()
        for finding in steps.examine_service(
            server,
            model_name,
            rest=rest,
            tls=encryption,
            timeout=timeout,
            api_key=api_key,
        ):
            show(finding)
    if failures:
        raise typer.Exit(1)


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

    with _progress("drawing") as advance:
        write_synthetic(directory, train, val, seed, (height, width), advance)


@data_app.command()
def check(
    directory: DataFolder,
    out: Annotated[
        Optional[pathlib.Path],  # noqa: UP045
        typer.Option(
            "-o", "--out", help="The picture of some samples; else DIR-check.png, here."
        ),
    ] = None,
    json_out: Annotated[
        Optional[pathlib.Path],  # noqa: UP045
        typer.Option("--json", help="Write the numbers to a file, too."),
    ] = None,
    layout: Layout = None,
) -> None:
    """Read a whole data set and say what is in it; 1 if anything is broken."""
    from rich.table import Table

    from portrait_tf.data.check import describe, sample_sheet
    from portrait_tf.data.open import open_splits
    from portrait_tf.photos import write_png

    readers = open_splits(directory, layout=layout)
    description = {}
    for split, reader in readers.items():
        with _progress(f"reading {split}") as advance:
            description[split] = describe(reader, advance)
    console = _console()
    broken = 0
    for split, found in description.items():
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
        broken += len(found["broken"])
    for split in Split:
        if split.value not in description:
            console.print(f"[bold]{split.value}[/]: none")
    sheet = sample_sheet(readers.values())
    if sheet is not None:
        path = out or _sheet_path(directory)
        write_png(path, sheet)
        console.print(f"some samples: {path}", soft_wrap=True)
    if json_out:
        write_result(json_out, json.dumps(description, indent=2))
    if broken:
        console.print(f"{broken} broken")
        raise typer.Exit(1)


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
        Optional[tuple[int, int]],  # noqa: UP045
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
    _load_tensorflow()
    with _progress("packing") as advance:
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


def _version(value: bool) -> None:
    if value:
        typer.echo(f"portrait-tf {portrait_tf.__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    """Runs a command; a user's mistake is one sentence on stderr and exit code 2."""
    try:
        app()
    except PortraitError as error:
        typer.echo(f"portrait-tf: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
