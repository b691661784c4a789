"""Completes and extrapolates photos, and parses them."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from portrait_tf.apps.cli.shared import (
    EngineChoice,
    MaskChoice,
    Model,
    Server,
    app,
    grouped,
    progress,
    stoppable,
)
from portrait_tf.errors import PortraitError
from portrait_tf.files import check_target

if TYPE_CHECKING:
    from portrait_tf.inference.extrapolation import Wish
    from portrait_tf.photos import MaskOptions


Photo = Annotated[pathlib.Path, typer.Argument(help="A photo, or a folder of photos.")]
Out = Annotated[
    pathlib.Path,
    typer.Option(
        "-o", "--out", help="The file, in the format of its extension; or the folder."
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Of a folder, also photos that are done.")
]
Log = Annotated[
    pathlib.Path | None,
    typer.Option(metavar="FILE", help="Add a line of JSON for each photo."),
]


OutFormat = Annotated[
    Literal["jpeg", "png", "webp", "tiff", "bmp", "heic", "avif"] | None,
    typer.Option("--format", help="Of the output; else each photo's own in a folder."),
]
Quality = Annotated[
    int | None,
    typer.Option(min=1, max=100, help="For formats with loss; a JPEG keeps its own."),
]


@dataclasses.dataclass(frozen=True)
class Results:
    """What is read and written beside photos and masks."""

    parsing_in: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="Paint by your own parsing map, of the result's size, in LIP's "
            "colors or labels; for a folder of photos, a folder with equal names, or "
            "one for all."
        ),
    ] = None
    joints_in: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="Paint a body whose joints are where a file says: JSON as `parse` "
            "writes it, in pixels of the photo; for a folder of photos, a folder with "
            "equal names.",
        ),
    ] = None
    candidates: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=16,
            help="Of one photo, that many answers with different poses, and a sheet.",
        ),
    ] = None
    parsing_out: Annotated[
        pathlib.Path | None,
        typer.Option(help="Also write the colored parsing map: a file, or a folder."),
    ] = None
    format: OutFormat = None
    quality: Quality = None
    overwrite: Overwrite = False
    log: Log = None


Margin = Annotated[
    str | None,
    typer.Option(metavar="LENGTH", help="To add: 0.3 or 30% of the photo, or 200px."),
]


@dataclasses.dataclass(frozen=True)
class Border:
    """How a photo is extended."""

    top: Margin = None
    bottom: Margin = None
    left: Margin = None
    right: Margin = None
    to_aspect: Annotated[
        str | None,
        typer.Option(metavar="W:H", help="Add what gives this aspect, such as 2:3."),
    ] = None
    to_size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Add what gives this size in pixels."),
    ] = None
    whole_body: Annotated[
        bool,
        typer.Option(
            "--whole-body", help="Add what the largest person needs to be whole."
        ),
    ] = False
    anchor: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="Of the photo in a --to-aspect or --to-size: center, top, bottom, "
            "left, right, top-left, ...; auto adds where a person is cut off.",
        ),
    ] = None

    def wish(self) -> "Wish":
        from portrait_tf.inference.extrapolation import Wish

        texts = dataclasses.asdict(self)
        whole_body = texts.pop("whole_body")
        given = {name: text for name, text in texts.items() if text is not None}
        return Wish.parse(given, whole_body)


@app.command()
@grouped
def complete(
    photo: Photo,
    out: Out,
    mask: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="White = hole. For a folder of photos, a folder with equal names, or "
            "one mask for all of them."
        ),
    ] = None,
    masks: MaskChoice = MaskChoice(),
    engine: EngineChoice = EngineChoice(),
    results: Results = Results(),
) -> None:
    """Fill the hole of a photo, or of every photo of a folder and its sub-folders."""
    from portrait_tf.portrait import prepare_completion

    if mask is None and not masks.mask_from_alpha:
        raise PortraitError("expected --mask, or --mask-from-alpha, received neither")
    options = _mask_options(mask, masks)
    _complete_files(
        photo,
        lambda job: prepare_completion(
            job.photo, job.mask, job.parsing_in, options, job.joints_in
        ),
        engine,
        out,
        results,
        mask,
    )


def _tell(note: str) -> None:
    typer.echo(note, err=True)


def _mask_options(mask: pathlib.Path | None, masks: MaskChoice) -> "MaskOptions":
    """Raises PortraitError: an option is of a mask that is not given."""
    inverted = masks.invert_mask and not masks.mask_from_alpha
    given = {"--invert-mask": inverted, "--resize-mask": masks.resize_mask}
    for option, is_given in given.items():
        if is_given and mask is None:
            raise PortraitError(f"expected --mask with {option}, received none")
    return masks.options()


def _check_exists(path: pathlib.Path | None, kind: str) -> None:
    if path is not None and not path.exists():
        raise PortraitError(
            f"cannot read the {kind}: No such file or directory", path=path
        )


@app.command()
@grouped
def extrapolate(
    photo: Photo,
    out: Out,
    border: Border = Border(),
    engine: EngineChoice = EngineChoice(),
    results: Results = Results(),
) -> None:
    """Extend a photo, or every photo of a folder and its sub-folders."""
    from portrait_tf.portrait import prepare_extrapolation

    wish = border.wish()
    _complete_files(
        photo,
        lambda job: prepare_extrapolation(
            job.photo, wish, job.parsing_in, job.joints_in
        ),
        engine,
        out,
        results,
    )


@app.command()
@grouped
def parse(
    photo: Photo,
    out: Annotated[
        pathlib.Path, typer.Option("-o", "--out", help="A folder for what is written.")
    ] = pathlib.Path(),
    mask: Annotated[
        pathlib.Path | None,
        typer.Option(help="White = hole, in which the structure is guessed."),
    ] = None,
    masks: MaskChoice = MaskChoice(),
    server: Server = None,
    model: Model = None,
    overwrite: Overwrite = False,
    log: Log = None,
) -> None:
    """Write stage 1's label map, joints and an overlay of a photo, or of a folder's."""
    from portrait_tf.apps import folders

    _check_exists(mask, "mask")
    options = _mask_options(mask, masks)
    jobs = folders.plan_parsing(photo, out, mask, _tell, log)
    if not photo.is_dir():
        # A mistake should cost no time.
        folders.read_parse_job(jobs[0], options)
    portrait = EngineChoice(server, model).open()

    def parse_one(job: folders.Job) -> list[str]:
        return folders.parse_file(portrait, job, options)

    if photo.is_dir():
        _work_through(jobs, parse_one, overwrite, log, ("parsing", "parsed"))
        return
    for note in folders.run_one(jobs[0], parse_one, log):
        typer.echo(f"{photo}: {note}", err=True)
    typer.echo("\n".join(map(str, jobs[0].written)))


def _complete_files(
    photo: pathlib.Path,
    prepare: Callable,
    engine: EngineChoice,
    out: pathlib.Path,
    results: Results,
    mask: pathlib.Path | None = None,
) -> None:
    """One photo, whose mistakes cost no time; or a folder, past its bad files."""
    from portrait_tf import photos
    from portrait_tf.apps import folders

    parsing_in, parsing_out = results.parsing_in, results.parsing_out
    joints_in = results.joints_in
    format = photos.format_named(results.format) if results.format else None
    inputs = {"mask": mask, "label map": parsing_in, "joints file": joints_in}
    for kind, path in inputs.items():
        _check_exists(path, kind)
    prepared = None
    if photo.is_dir():
        if results.candidates:
            raise PortraitError(
                f"{photo} is a folder; one photo is expected for --candidates"
            )
        jobs = folders.plan_folder(
            *(photo, out, mask, parsing_out, format, parsing_in, joints_in, _tell),
            log=results.log,
        )
    else:
        for kind, path in inputs.items():
            if path and path.is_dir():
                raise PortraitError(
                    f"{path} is a folder; a {kind} is expected for one photo"
                )
        for target in (out, parsing_out):
            if target:
                check_target(target)
        if parsing_out and parsing_out.suffix.lower() not in ("", ".png"):
            raise PortraitError(
                path=parsing_out,
                expected="the extension .png of a parsing map",
                received=parsing_out.suffix,
            )
        job = folders.Job(
            photo, out, mask, parsing_out, format, None, parsing_in, joints_in
        )
        folders.check_apart(job, results.log, results.candidates)
        if not format and out.suffix:
            job = dataclasses.replace(job, format=photos.format_of(out))
        jobs, prepared = [job], prepare(job)
    portrait = engine.open()

    def complete_one(job: folders.Job) -> list[str]:
        if results.candidates:
            answers = portrait.candidates(prepared, count=results.candidates)
            return folders.write_candidates(answers, job, results.quality)
        completion = portrait.paint(prepared or prepare(job))
        return folders.write_completion(completion, job, results.quality)

    if prepared:
        for note in folders.run_one(jobs[0], complete_one, results.log):
            typer.echo(f"{photo}: {note}", err=True)
        return
    verbs = ("completing", "completed")
    _work_through(jobs, complete_one, results.overwrite, results.log, verbs)


def _work_through(
    jobs: list,
    work: Callable,
    overwrite: bool,
    log: pathlib.Path | None,
    verbs: tuple[str, str],
) -> None:
    """A folder's photos, past the bad ones; how it went, and the exit code."""
    from portrait_tf.apps import folders

    said = "stopped; the same command goes on from here"
    with stoppable(said), progress(verbs[0]) as advance:
        summary = folders.run_folder(jobs, work, overwrite, log, advance)
    typer.echo(
        f"{summary.completed} photos {verbs[1]}, {summary.skipped} skipped as they "
        f"were done, {summary.failed} failed"
    )
    if summary.with_notes:
        where = log or "--log FILE tells"
        typer.echo(f"{summary.with_notes} photos have notes: {where}", err=True)
    for message in summary.errors:
        typer.echo(f"  {message}", err=True)
    if summary.errors:
        raise typer.Exit(1)
