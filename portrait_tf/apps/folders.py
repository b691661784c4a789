"""Photo files through a `Portrait`: one, or a whole folder of any length.

A folder is worked through one photo at a time: nothing of a photo stays in memory, a
bad one does not stop the others, and what is done is skipped, so that the same command
goes on after a stop.
"""

import collections
import contextlib
import dataclasses
import json
import os
import pathlib
import time
from collections.abc import Callable, Iterable

import numpy as np

from portrait_tf.errors import PortraitError
from portrait_tf.files import (
    PICTURE_EXTENSIONS,
    cannot_write,
    is_special,
    is_stream,
    one_spelling,
    open_lines,
    write_all,
    write_result,
)
from portrait_tf.photos import (
    PHOTO_EXTENSIONS,
    PhotoFile,
    open_photo,
    output_name,
    write_png,
)
from portrait_tf.photos.joints import describe_joints
from portrait_tf.photos.parsing_maps import write_parsing_map
from portrait_tf.portrait import Completion, MaskOptions, Portrait, find_hole

_PARSED = (
    ("out", "-map.png", "maps"),
    ("joints_out", "-joints.json", "joints"),
    ("overlay_out", "-overlay.png", "overlays"),
)
"""What stage 1 gives: a `Job`'s field, the ending of its name for a single photo, and
the folder that it is in for a folder's photos."""

_GIVEN = {"mask": "mask", "parsing_in": "label map", "joints_in": "joints file"}
"""What a user may give of a photo: a `Job`'s field, and its name in messages."""

_SHEET_ROWS = 480
"""Of a picture on a sheet of candidates."""


@dataclasses.dataclass(frozen=True)
class Job:
    """One photo: the files to read and to write.

    Attributes:
        photo: Is read.
        out: Is written last: the completed photo in `format`; of stage 1 the label map.
        mask: Is read, if the hole is not the photo's own transparent parts.
        parsing_out: The label map in LIP's palette, if it is wanted.
        format: Pillow's name; None for the photo's own.
        error: Why there is nothing to do: it fails with this.
        parsing_in: The user's own label map of the result, if there is one.
        joints_in: The user's own joints, if there are any.
        joints_out: Of stage 1: the joints, JSON.
        overlay_out: Of stage 1: the photo under map and joints, PNG.
    """

    photo: pathlib.Path
    out: pathlib.Path
    mask: pathlib.Path | None = None
    parsing_out: pathlib.Path | None = None
    format: str | None = None
    error: str | None = None
    parsing_in: pathlib.Path | None = None
    joints_in: pathlib.Path | None = None
    joints_out: pathlib.Path | None = None
    overlay_out: pathlib.Path | None = None

    @property
    def written(self) -> list[pathlib.Path]:
        paths = (self.out, self.parsing_out, self.joints_out, self.overlay_out)
        return [path for path in paths if path]


def write_completion(
    completion: Completion, job: Job, quality: int | None = None
) -> list[str]:
    """Writes what a job names; gives what the user should know."""
    # First the map: a photo that is there counts as done.
    if job.parsing_out:
        write_parsing_map(job.parsing_out, completion.labels)
    content, notes = completion.encode(job.out, job.format, quality)
    write_result(job.out, content)
    return [*completion.notes, *notes]


def write_candidates(
    completions: list[Completion], job: Job, quality: int | None = None
) -> list[str]:
    """Writes several answers to one photo, for somebody to choose from.

    They are `NAME-1.EXT`, `NAME-2.EXT`, ... in place of the job's `NAME.EXT`, and so
    are their label maps; `NAME-sheet.png` shows all of them.

    Returns:
        What the user should know.

    Raises:
        PortraitError: A file cannot be written.
    """
    from portrait_tf.photos.drawing import contact_sheet

    jobs, sheet_out = _candidate_jobs(job, len(completions))
    notes, titles = [], [str(number + 1) for number in range(len(completions))]
    for completion, one in zip(completions, jobs, strict=True):
        notes += write_completion(completion, one, quality)
    sheet = contact_sheet([[one.rgb() for one in completions]], titles, _SHEET_ROWS)
    write_png(sheet_out, sheet)
    return list(dict.fromkeys(notes))


def _candidate_jobs(job: Job, count: int) -> tuple[list[Job], pathlib.Path]:
    """Where several answers to one photo go, and their sheet."""

    def numbered(path: pathlib.Path | None, number: int) -> pathlib.Path | None:
        return path and path.with_stem(f"{path.stem}-{number}")

    jobs = [
        dataclasses.replace(
            job,
            out=numbered(job.out, number),
            parsing_out=numbered(job.parsing_out, number),
        )
        for number in range(1, count + 1)
    ]
    return jobs, job.out.with_name(f"{job.out.stem}-sheet.png")


def check_apart(
    job: Job, log: pathlib.Path | None = None, candidates: int | None = None
) -> None:
    """Checks that a single photo's results replace nothing that is read or written.

    The completed photo alone may replace the photo: that is asked for by name.

    Args:
        job: The photo.
        log: As of `run_one`.
        candidates: How many answers are written in place of one.

    Raises:
        PortraitError: They would.
    """
    places = {os.path.realpath(job.photo): "the photo"}
    if not (candidates or job.overlay_out):
        places.pop(os.path.realpath(job.out), None)
    given = ((getattr(job, field), kind) for field, kind in _GIVEN.items())
    places |= {os.path.realpath(path): f"the {kind}" for path, kind in given if path}
    jobs = [job]
    if candidates:
        if is_stream(job.out):
            raise PortraitError(
                f"--candidates writes several files: expected the name of one for "
                f"--out, received {job.out}"
            )
        jobs, sheet = _candidate_jobs(job, candidates)
        _claim(places, sheet, "--out")
    for one in jobs:
        for path in (one.out, one.joints_out, one.overlay_out):
            _claim(places, path, "--out")
        _claim(places, one.parsing_out, "--parsing-out")
    _claim(places, log, "--log")


def _claim(places: dict[str, str], path: pathlib.Path | None, label: str) -> None:
    """Adds a file that is written to the real paths of those that are taken."""
    # Several may go to one pipe.
    if path is None or (path.exists() and not path.is_file()):
        return
    place = os.path.realpath(path)
    if place in places:
        raise PortraitError(
            f"{label} {path} would replace {places[place]}; expected another file"
        )
    places[place] = f"the file of {label}"


def parse_file(
    portrait: Portrait, job: Job, options: MaskOptions | None = None
) -> list[str]:
    """Writes what stage 1 says of a photo: map, joints and overlay.

    Returns:
        What the user should know.

    Raises:
        PortraitError: A file cannot be read or written.
    """
    from portrait_tf.photos.drawing import draw_joints, overlay_parsing, show_hole

    photo, hole, notes = read_parse_job(job, options or MaskOptions())
    pixels = photo.rgb()
    structure = portrait.parse(pixels, hole)
    labels, joints = structure.parsing, structure.joints
    overlay = pixels if hole is None else show_hole(pixels, hole)
    overlay = overlay_parsing(overlay, labels)
    if joints is not None:
        overlay = draw_joints(overlay, joints)
    write_png(job.overlay_out, overlay)
    content = describe_joints(joints, photo.size, str(job.photo))
    write_result(job.joints_out, content)
    write_parsing_map(job.out, labels)
    return notes


def read_parse_job(
    job: Job, options: MaskOptions
) -> tuple[PhotoFile, np.ndarray | None, list[str]]:
    """Photo, hole and notes; without a mask the photo is whole."""
    photo = open_photo(job.photo)
    if job.mask is None and not options.from_alpha:
        return photo, None, []
    return photo, *find_hole(photo, job.mask, options)


def find_photos(
    folder: pathlib.Path,
    left_out: Iterable[pathlib.Path] = (),
    tell: Callable[[str], None] | None = None,
) -> list[pathlib.Path]:
    """The photos of a folder and its sub-folders, relative to it, in order.

    Args:
        folder: Hidden files and folders in it are passed over.
        left_out: Files and folders that are passed over, too.
        tell: Called with a sentence if there are pictures of formats that are not
            read, linked folders, which are not followed, folders that cannot be read,
            or pipes and devices.

    Raises:
        PortraitError: There are none.
    """
    passed = {os.path.realpath(path) for path in left_out}

    def is_passed(path: pathlib.Path) -> bool:
        return path.name.startswith(".") or os.path.realpath(path) in passed

    unreadable, linked, special, found = [], [], [], []
    suffixes = collections.Counter()
    for parent, folders, files in os.walk(
        folder, onerror=lambda error: unreadable.append(pathlib.Path(error.filename))
    ):
        inner = pathlib.Path(parent)
        folders[:] = sorted(name for name in folders if not is_passed(inner / name))
        linked += [inner / name for name in folders if (inner / name).is_symlink()]
        for name in sorted(files):
            suffix = pathlib.Path(name).suffix.lower()
            if suffix not in PICTURE_EXTENSIONS or is_passed(inner / name):
                continue
            if is_special(inner / name):
                special.append(inner / name)
            elif suffix in PHOTO_EXTENSIONS:
                found.append((inner / name).relative_to(folder))
            else:
                suffixes[suffix] += 1
    said = _left_out(folder, suffixes, linked, unreadable, special)
    if not found:
        raise PortraitError(
            f"expected photos ({', '.join(PHOTO_EXTENSIONS)}), found none"
            + (f"; {said}" if said else ""),
            path=folder,
        )
    if said and tell:
        tell(f"{folder}: {said}")
    return found


def _left_out(
    folder: pathlib.Path,
    suffixes: collections.Counter,
    linked: list[pathlib.Path],
    unreadable: list[pathlib.Path],
    special: list[pathlib.Path],
) -> str:
    """What is left out of a folder, in one sentence; empty if there is nothing."""
    parts = []
    if suffixes:
        formats = ", ".join(f"{n} {suffix}" for suffix, n in sorted(suffixes.items()))
        parts.append(f"pictures of formats that are not read ({formats})")
    for paths, why in (
        (linked, "links to folders, which are not followed"),
        (unreadable, "folders that cannot be read"),
        (special, "pipes and devices"),
    ):
        if paths:
            names = ", ".join(str(one.relative_to(folder)) for one in paths[:3])
            more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
            parts.append(f"{why} ({names}{more})")
    return "left out: " + "; ".join(parts) if parts else ""


def plan_folder(
    folder: pathlib.Path,
    out: pathlib.Path,
    masks: pathlib.Path | None = None,
    parsing_out: pathlib.Path | None = None,
    format: str | None = None,
    parsing_in: pathlib.Path | None = None,
    joints_in: pathlib.Path | None = None,
    tell: Callable[[str], None] | None = None,
    log: pathlib.Path | None = None,
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
        parsing_in: The user's label maps, as `masks`.
        joints_in: The user's joints, JSON files, as `masks`.
        tell: Called with a sentence for each folder that holds more than what is read
            (`find_photos`).
        log: As of `run_folder`.

    Raises:
        PortraitError: There are no photos, or no masks or maps; a file stands where a
            folder is expected; results or the log would replace what is read, or one
            another; one mask, map or joints file would be for two photos, by their
            names.
    """
    targets = [target for target in (out, parsing_out) if target]
    given = {"mask": masks, "parsing_in": parsing_in, "joints_in": joints_in}
    read = {"photo": folder, **{_GIVEN[field]: path for field, path in given.items()}}
    for target in targets:
        _check_results(target, read)
    if parsing_out and parsing_out.resolve() == out.resolve():
        raise PortraitError(
            "expected one folder for photos and another for parsing maps", path=out
        )

    def results(name: pathlib.Path) -> dict[str, pathlib.Path]:
        written = {"out": out / output_name(name, format)}
        if parsing_out:
            written["parsing_out"] = parsing_out / name.with_suffix(".png")
        return written

    jobs = _plan(folder, targets, results, given, tell, log)
    return [dataclasses.replace(job, format=format) for job in jobs]


def plan_parsing(
    photo: pathlib.Path,
    out: pathlib.Path,
    masks: pathlib.Path | None = None,
    tell: Callable[[str], None] | None = None,
    log: pathlib.Path | None = None,
) -> list[Job]:
    """What stage 1 is asked for, and where its answers go.

    Args:
        photo: A photo: `NAME-map.png`, `NAME-joints.json` and `NAME-overlay.png` are
            written. Or a folder: its sub-folders are mirrored in `maps`, `joints` and
            `overlays`, where the photos' names are kept.
        out: A folder.
        masks: As of `plan_folder`.
        tell: As of `plan_folder`.
        log: As of `plan_folder`.

    Raises:
        PortraitError: As `plan_folder`.
    """
    _check_results(out, {"photo": photo})
    if not photo.is_dir():
        if masks and masks.is_dir():
            raise PortraitError(
                f"{masks} is a folder; a mask is expected for one photo"
            )
        written = {field: out / f"{photo.stem}{end}" for field, end, _ in _PARSED}
        job = Job(photo, mask=masks, **written)
        check_apart(job, log)
        return [job]

    def results(name: pathlib.Path) -> dict[str, pathlib.Path]:
        return {
            field: out / kind / name.with_suffix(pathlib.Path(ending).suffix)
            for field, ending, kind in _PARSED
        }

    return _plan(photo, [out], results, {"mask": masks}, tell, log)


def _check_results(out: pathlib.Path, read: dict[str, pathlib.Path | None]) -> None:
    if is_stream(out):
        raise PortraitError(f"{out} is a stream; a folder is expected")
    if out.exists() and not out.is_dir():
        raise PortraitError(f"{out} is a file; a folder is expected")
    for kind, path in read.items():
        if path and path.resolve() == out.resolve():
            raise PortraitError(
                f"{out} is the folder of the {kind}s; another one is expected for the "
                "results"
            )


def _plan(
    folder: pathlib.Path,
    targets: list[pathlib.Path],
    results: Callable[[pathlib.Path], dict[str, pathlib.Path]],
    given: dict[str, pathlib.Path | None],
    tell: Callable[[str], None] | None,
    log: pathlib.Path | None,
) -> list[Job]:
    """A job for each photo of a folder; `results` names the files of one photo.

    What is given belongs to photos by its name, or to all: by a `Job`'s fields.
    """
    paired = {
        field: _Paired(folder, files, _GIVEN[field], tell)
        for field, files in given.items()
    }
    read = [path for path in given.values() if path]
    names = find_photos(folder, (*targets, *read), tell)
    photos = {os.path.realpath(folder / name) for name in names}
    places = dict.fromkeys(photos, "a photo")
    for files in paired.values():
        for path in files.all():
            places[os.path.realpath(path)] = f"the {files.kind} {path}"
    _claim(places, log, "--log")
    jobs, taken = [], {}
    for name in names:
        written = results(name)
        found = {field: files.of(name) for field, files in paired.items()}
        errors = [error for _, error in found.values() if error]
        for target in written.values():
            if (other := taken.setdefault(target, name)) != name:
                raise PortraitError(
                    f"two photos are called {str(name.with_suffix(''))!r}, {other} and "
                    f"{name}, and both would be written as {target}; expected one of "
                    "each name",
                    path=folder,
                )
            place = os.path.realpath(target)
            if place in photos and os.path.islink(target):
                errors.append(
                    f"{folder / name}: the result {target} is a link to the photo "
                    f"{place}; expected another file"
                )
            else:
                _claim(places, target, f"the result of {folder / name},")
        files = {field: path for field, (path, _) in found.items()}
        error = errors[0] if errors else None
        jobs.append(Job(folder / name, error=error, **files, **written))
    return jobs


class _Paired:
    """Files that belong to photos by their names; or one file for all; or none.

    Names are equal in all spellings of Unicode.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        files: pathlib.Path | None,
        kind: str,
        tell: Callable[[str], None] | None,
    ) -> None:
        self.folder, self.files, self.kind = folder, files, kind
        self.by_name: dict[str, list[pathlib.Path]] | None = None
        self.taken: dict[str, pathlib.Path] = {}
        if files is None or not files.is_dir():
            return
        if files.resolve() == folder.resolve():
            raise PortraitError(
                f"{files} is the folder of the photos; expected another one with the "
                f"{kind}s"
            )
        self.by_name = {}
        names = (
            sorted(
                path.relative_to(files)
                for path in files.rglob("*.json")
                if not is_special(path)
            )
            if kind == "joints file"
            else find_photos(files, tell=tell)
        )
        for name in names:
            self.by_name.setdefault(_stem(name), []).append(files / name)

    def all(self) -> list[pathlib.Path]:
        if self.by_name is None:
            return [self.files] if self.files else []
        return [path for paths in self.by_name.values() for path in paths]

    def of(self, name: pathlib.Path) -> tuple[pathlib.Path | None, str | None]:
        """A photo's file, and what is wrong; two photos of one name are refused."""
        if self.by_name is None:
            return self.files, None
        stem = _stem(name)
        if (other := self.taken.setdefault(stem, name)) != name:
            raise PortraitError(
                f"two photos are called {stem!r}, {other} and {name}, and a "
                f"{self.kind} is found by that name; expected one of each name",
                path=self.folder,
            )
        candidates = self.by_name.get(stem, [])
        photo = self.folder / name
        if not candidates:
            return None, f"{photo}: no {self.kind} of this name in {self.files}"
        if len(candidates) > 1:
            return candidates[0], (
                f"{photo}: expected one {self.kind} of this name, found "
                f"{candidates[0]} and {candidates[1].name}"
            )
        return candidates[0], None


def _stem(name: pathlib.Path) -> str:
    return one_spelling(str(name.with_suffix("")))


def run_one(
    job: Job, complete: Callable[[Job], list[str]], log: pathlib.Path | None = None
) -> list[str]:
    """A single photo, with a line in the log as `run_folder` writes it; gives notes.

    Raises:
        PortraitError: It fails; or the log cannot be written, before the photo or
            after it.
    """
    start = time.perf_counter()
    with _Log(log) as lines:
        try:
            notes = complete(job)
        except PortraitError as error:
            lines.add(_line(job, start, "failed", str(error), []))
            raise
        lines.add(_line(job, start, "completed", None, notes))
    if lines.error:
        raise PortraitError(f"{lines.error}; {job.out} is written")
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
    """How a folder went: counts, and a sentence for each photo that failed.

    Where the log could not be written to its end, the last sentence says so.
    """

    completed: int = 0
    skipped: int = 0
    failed: int = 0
    with_notes: int = 0
    errors: list[str] = dataclasses.field(default_factory=list)


def is_done(job: Job) -> bool:
    """Whether all that a job writes is there, and whole."""
    try:
        for path in job.written:
            if not path.is_file():
                return False
            if path.suffix != ".json":
                open_photo(path)
    except (PortraitError, OSError):
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
        jobs: Of `plan_folder` or `plan_parsing`.
        complete: Reads, completes and writes one photo; gives notes on it.
        overwrite: Whether photos that are done are completed again.
        log: A file that gets a line of JSON for each photo: `input`, `output`,
            `seconds`, `status` (`completed`, `skipped` or `failed`), `error`, `notes`.
            What is in it already stays. A byte of a name that is not UTF-8 is written
            as `\\udcXX`: `os.fsencode` gives the name back. Where it cannot be written
            any more, the photos go on without it.
        progress: Called with (done, total) after each photo.

    Raises:
        PortraitError: The log cannot be opened.
    """
    summary = Summary()
    with _Log(log) as lines:
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
            lines.add(_line(job, start, status, error, notes))
            if progress:
                progress(index + 1, len(jobs))
    if lines.error:
        summary.errors.append(lines.error)
    return summary


def _attempt(
    complete: Callable[[Job], list[str]], job: Job
) -> tuple[list[str], str | None]:
    """Notes, and what went wrong. Our own bugs on one photo do not stop the others."""
    try:
        return complete(job), None
    except PortraitError as error:
        if str(error.path) == str(job.photo):
            return [], str(error)
        message = str(error)
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
    return [], f"{job.photo}: {message}"


class _Log(contextlib.ExitStack):
    """Lines of JSON; after the first that cannot be written, no more are."""

    def __init__(self, path: pathlib.Path | None) -> None:
        super().__init__()
        self.path, self.error = path, None
        self.file = self.enter_context(open_lines(path)) if path else None

    def add(self, line: dict) -> None:
        if self.file is None or self.error:
            return
        text = json.dumps(line, ensure_ascii=False) + "\n"
        try:
            write_all(self.file, text.encode(errors="backslashreplace"))
        except OSError as error:
            self.error = (
                f"{cannot_write(self.path, error)}; the log ends before {line['input']}"
            )
