"""Photo files through an engine: one, or a whole folder that may be of any length.

A folder is worked through one photo at a time: nothing of a photo stays in memory, a
bad one does not stop the others, and what is done is skipped, so that the same command
goes on after a stop.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import time
from collections.abc import Callable, Iterator

import numpy as np

from portrait_tf.engines import Engine
from portrait_tf.errors import PortraitError
from portrait_tf.large_photos import complete_photo
from portrait_tf.photos import (
    EXTENSIONS,
    PHOTO_EXTENSIONS,
    PhotoFile,
    extend_photo,
    hole_from_alpha,
    open_photo,
    read_hole,
    write_photo,
    write_png,
)


@dataclasses.dataclass(frozen=True)
class Job:
    """One photo: the files to read and to write.

    Attributes:
        photo: Is read.
        out: Is written, in `format`.
        mask: Is read, if the hole is not the photo's own transparent parts.
        parsing_out: The coloured parsing map, if it is wanted.
        format: Pillow's name; None for the photo's own.
        error: Why there is nothing to do: it fails with this.
    """

    photo: pathlib.Path
    out: pathlib.Path
    mask: pathlib.Path | None = None
    parsing_out: pathlib.Path | None = None
    format: str | None = None
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class MaskOptions:
    """How a mask is read; as `portrait_tf.photos.read_hole` has it."""

    from_alpha: bool = False
    invert: bool = False
    resize: bool = False


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A photo that is read and checked.

    Attributes:
        photo: Its file.
        canvas: RGB `uint8` `[H, W, 3]`: the photo, with its new border if it gets one.
        hole: `uint8` `[H, W]`, 255 = hole.
        origin: Row and column of the photo's corner in the canvas.
        notes: What the user should know.
    """

    photo: PhotoFile
    canvas: np.ndarray
    hole: np.ndarray
    origin: tuple[int, int]
    notes: list[str]


def prepare_completion(job: Job, options: MaskOptions) -> Prepared:
    """Reads a photo and its mask.

    Raises:
        PortraitError: One of them cannot be used; the message names it.
    """
    photo = open_photo(job.photo)
    if job.mask is None:
        hole, notes = hole_from_alpha(photo, options.invert)
    else:
        try:
            hole, notes = read_hole(
                job.mask,
                photo.size,
                options.from_alpha,
                options.invert,
                options.resize,
            )
        except PortraitError as error:
            if photo.orientation < 5 or "expected the photo's size" not in str(error):
                raise
            raise PortraitError(
                f"{error}; the photo counts as upright, after its EXIF orientation"
            ) from None
    return Prepared(photo, photo.rgb(), hole, (0, 0), photo.notes + notes)


def prepare_extrapolation(job: Job, margins: dict[str, float]) -> Prepared:
    """Reads a photo and puts it on a larger canvas; `margins` as `extend_photo`'s.

    Raises:
        PortraitError: The photo or a margin cannot be used.
    """
    photo = open_photo(job.photo)
    canvas, hole = extend_photo(photo.rgb(), **margins)
    known = hole == 0
    origin = (int(known.any(1).argmax()), int(known.any(0).argmax()))
    return Prepared(photo, canvas, hole, origin, list(photo.notes))


def complete_prepared(
    engine: Engine, job: Job, prepared: Prepared, quality: int | None = None
) -> list[str]:
    """Completes a photo and writes what the job names.

    Returns:
        What the user should know.

    Raises:
        PortraitError: The engine refuses, or a file cannot be written.
    """
    from portrait_tf.labels import colour_parsing

    result = complete_photo(engine, prepared.canvas, prepared.hole)
    # First the map: a photo that is there counts as done.
    if job.parsing_out:
        write_png(job.parsing_out, colour_parsing(result.parsing))
    notes = write_photo(
        job.out,
        prepared.photo,
        result.completed,
        prepared.hole,
        prepared.origin,
        job.format,
        quality,
    )
    return [*prepared.notes, *result.notes, *notes]


def find_photos(
    folder: pathlib.Path, left_out: tuple[pathlib.Path, ...] = ()
) -> list[pathlib.Path]:
    """The photos of a folder and its sub-folders, relative to it, in order.

    Args:
        folder: Hidden files and folders in it are passed over.
        left_out: Files and folders that are passed over, too.

    Raises:
        PortraitError: There are none.
    """
    passed = {path.resolve() for path in left_out}
    found = []
    for parent, folders, files in os.walk(folder):
        inner = pathlib.Path(parent)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and (inner / name).resolve() not in passed
        )
        found += (
            (inner / name).relative_to(folder)
            for name in sorted(files)
            if not name.startswith(".")
            and pathlib.Path(name).suffix.lower() in PHOTO_EXTENSIONS
            and (not passed or (inner / name).resolve() not in passed)
        )
    if not found:
        raise PortraitError(
            f"{folder}: expected photos ({', '.join(PHOTO_EXTENSIONS)}), found none"
        )
    return found


def plan_folder(
    folder: pathlib.Path,
    out: pathlib.Path,
    masks: pathlib.Path | None = None,
    parsing_out: pathlib.Path | None = None,
    format: str | None = None,
) -> list[Job]:
    """One job a photo; sub-folders are mirrored.

    Args:
        folder: Of photos. Results and masks inside it are passed over.
        out: A folder; photos keep their names, and their extensions too unless there is
            a `format`.
        masks: A folder, in which masks have the photos' names with any extension; or a
            file for all of them; or None.
        parsing_out: A folder.
        format: Pillow's name.

    Raises:
        PortraitError: There are no photos, or no masks; a file stands where a folder is
            expected; results would replace the photos, or one another.
    """
    targets = [target for target in (out, parsing_out) if target]
    for target in targets:
        if target.exists() and not target.is_dir():
            raise PortraitError(f"{target} is a file; a folder is expected")
        if target.resolve() == folder.resolve():
            raise PortraitError(
                f"{target} is the folder of the photos; another one is expected for "
                "the results"
            )
    if parsing_out and parsing_out.resolve() == out.resolve():
        raise PortraitError(
            f"{out}: expected one folder for photos and another for parsing maps"
        )
    mask_folder = masks if masks and masks.is_dir() else None
    if mask_folder and mask_folder.resolve() == folder.resolve():
        raise PortraitError(
            f"{masks} is the folder of the photos; expected another one with the masks"
        )
    by_name = _by_name(mask_folder) if mask_folder else {}
    jobs, taken = [], {}
    for name in find_photos(folder, (*targets, *([masks] if masks else []))):
        stem = name.with_suffix("")
        written = name.with_suffix(EXTENSIONS[format]) if format else name
        map_out = parsing_out / name.with_suffix(".png") if parsing_out else None
        for target in (out / written, *([map_out] if map_out else [])):
            if target in taken:
                raise PortraitError(
                    f"{folder}: two photos are called {str(stem)!r}, {taken[target]} "
                    f"and {name}, and both would be written as {target}; expected one "
                    "of each name"
                )
            taken[target] = name
        mask, error = masks, None
        if mask_folder:
            candidates = by_name.get(stem, [])
            mask = candidates[0] if candidates else None
            if not candidates:
                error = f"{folder / name}: no mask of this name in {masks}"
            elif len(candidates) > 1:
                error = (
                    f"{folder / name}: expected one mask of this name, found "
                    f"{candidates[0]} and {candidates[1].name}"
                )
        jobs.append(Job(folder / name, out / written, mask, map_out, format, error))
    return jobs


def _by_name(masks: pathlib.Path) -> dict[pathlib.Path, list[pathlib.Path]]:
    found = {}
    for name in find_photos(masks):
        found.setdefault(name.with_suffix(""), []).append(masks / name)
    return found


def run_one(
    job: Job, complete: Callable[[Job], list[str]], log: pathlib.Path | None = None
) -> list[str]:
    """A single photo, with a line in the log as `run_folder` writes it; gives notes.

    Raises:
        PortraitError: It fails.
    """
    start = time.perf_counter()
    with _open_log(log) as write_line:
        try:
            notes = complete(job)
        except PortraitError as error:
            write_line(_line(job, start, "failed", str(error), []))
            raise
        write_line(_line(job, start, "completed", None, notes))
    return notes


def _line(
    job: Job, start: float, status: str, error: str | None, notes: list[str]
) -> dict:
    return {
        "input": str(job.photo),
        "output": str(job.out),
        "seconds": round(time.perf_counter() - start, 3),
        "status": status,
        "error": error,
        "notes": notes,
    }


@dataclasses.dataclass
class Summary:
    """How a folder went: counts, and a sentence for each photo that failed."""

    completed: int = 0
    skipped: int = 0
    failed: int = 0
    with_notes: int = 0
    errors: list[str] = dataclasses.field(default_factory=list)


def is_done(job: Job) -> bool:
    """Whether all that a job writes is there, and whole."""
    try:
        for path in (job.out, job.parsing_out):
            if path is not None:
                if not path.is_file():
                    return False
                open_photo(path)
    except PortraitError:
        return False
    return True


def run_folder(
    jobs: list[Job],
    complete: Callable[[Job], list[str]],
    overwrite: bool = False,
    log: pathlib.Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Works through jobs, past those that fail.

    Args:
        jobs: Of `plan_folder`.
        complete: Reads, completes and writes one photo; gives notes on it.
        overwrite: Whether photos that are done are completed again.
        log: A file that gets a line of JSON for each photo: `input`, `output`,
            `seconds`, `status` (`completed`, `skipped` or `failed`), `error`, `notes`.
            What is in it already stays.
        progress: Called with (done, total) after each photo.

    Raises:
        PortraitError: The log cannot be written.
    """
    summary = Summary()
    with _open_log(log) as write_line:
        for index, job in enumerate(jobs):
            start = time.perf_counter()
            notes, error = [], job.error
            if error is None and not overwrite and is_done(job):
                status = "skipped"
                summary.skipped += 1
            else:
                if error is None:
                    notes, error = _attempt(complete, job)
                status = "completed" if error is None else "failed"
                if error is None:
                    summary.completed += 1
                else:
                    summary.failed += 1
                    summary.errors.append(error)
            summary.with_notes += bool(notes)
            write_line(_line(job, start, status, error, notes))
            if progress:
                progress(index + 1, len(jobs))
    return summary


def _attempt(
    complete: Callable[[Job], list[str]], job: Job
) -> tuple[list[str], str | None]:
    """Notes, and what went wrong. Our own bugs on one photo do not stop the others."""
    try:
        return complete(job), None
    except PortraitError as error:
        message = str(error)
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
    return [], message if str(job.photo) in message else f"{job.photo}: {message}"


@contextlib.contextmanager
def _open_log(path: pathlib.Path | None) -> Iterator[Callable[[dict], None]]:
    if path is None:
        yield lambda line: None
        return
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(open(path, "a+b"))
        except OSError as error:
            raise PortraitError(f"{path}: cannot write: {error.strerror}") from None

        if file.tell():
            file.seek(-1, os.SEEK_END)
            # A run that was killed may have left half a line.
            if file.read(1) != b"\n":
                file.write(b"\n")

        def write_line(line: dict) -> None:
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            # So that a killed run has told of all it did.
            file.flush()

        yield write_line
