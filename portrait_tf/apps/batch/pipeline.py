"""The pipeline: manifest, what is done already, photos, engine, results.

    manifests -> rows -.
                        > grouped by the result's name -> what is left, shuffled
    earlier tables ----'                                        |       |
                                                                |  photos read
                                                                |       |
                                                          dead letters  RunInference
                                                                |       |
                                                        dead-letter file <- written

What the two shuffles move is small: rows and lines of tables. From there on a photo
stays in one worker until its file is written.
"""

import dataclasses
import json
import posixpath
import re
from collections.abc import Iterator, Mapping

import apache_beam as beam
from apache_beam.io.textio import WriteToText
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import RunInference

from portrait_tf.apps.batch import files
from portrait_tf.apps.batch.engine import (
    EngineSettings,
    Failed,
    Finished,
    PhotoHandler,
    Ready,
    failure,
)
from portrait_tf.apps.batch.manifest import (
    OWN_FOLDER,
    Row,
    RowOptions,
    key_of,
    read_rows,
)
from portrait_tf.errors import PortraitError
from portrait_tf.photos.joints import decode_joints
from portrait_tf.photos.reading import decode_photo
from portrait_tf.portrait import Prepared, prepare_completion, prepare_extrapolation

NAMESPACE = "portrait_tf.apps.batch"
COUNTERS = ("completed", "skipped", "failed", "failed_before")

_TABLE = re.compile(r"run-(\d+)-[0-9a-f]{8}-(results|dead-letters)-\d+-of-\d+\.jsonl")


@dataclasses.dataclass(frozen=True)
class BatchOptions:
    """What a run is.

    Attributes:
        out: The output folder, absolute or a URL.
        run: The run's number in it, from 1.
        name: The run's own, should another one take the number: eight hexadecimal
            digits.
        rows: How the manifest is read.
        engine: Where photos are completed.
        concurrency: As of `PhotoHandler`.
        overwrite: Whether photos that are done are completed again.
        retry_failed: Whether known dead letters are tried again, unchanged as they are.
    """

    out: str
    run: int
    name: str
    rows: RowOptions
    engine: EngineSettings
    concurrency: int = 1
    overwrite: bool = False
    retry_failed: bool = False

    def table(self, kind: str) -> str:
        """The beginning of the names of this run's `results` or `dead-letters`."""
        run = f"run-{self.run:04}-{self.name}-{kind}"
        return posixpath.join(self.out, OWN_FOLDER, run)


@dataclasses.dataclass(frozen=True)
class Known:
    """What an earlier run says of a row.

    Attributes:
        run: Its number.
        kind: `results` or `dead-letters`.
        digest: The row's.
        photo: The row's, where it was read.
        lasting: As of `Failed`.
        files: As of `_states`.
    """

    run: int
    kind: str
    digest: str
    photo: str | None
    lasting: bool = False
    files: str = ""


def run_of(table: str) -> int | None:
    """The number of the run that wrote a table; None for another file."""
    found = _TABLE.fullmatch(posixpath.basename(table))
    return int(found[1]) if found else None


def build(
    start: beam.Pipeline, manifests: list[str], tables: list[str], options: BatchOptions
) -> None:
    """Adds all steps to a pipeline.

    Args:
        start: The pipeline.
        manifests: Their files.
        tables: The tables of earlier runs.
        options: What is to be done.
    """
    rows = (
        start
        | "Manifests" >> beam.Create(manifests, reshuffle=True)
        | "Rows" >> beam.FlatMap(_rows_of, options.rows)
    )
    earlier = (
        start
        | "Tables" >> beam.Create(tables, reshuffle=True)
        | "EarlierRuns" >> beam.FlatMap(_lines_of)
    )
    left = (
        {"rows": rows, "earlier": earlier}
        | "ByResult" >> beam.CoGroupByKey()
        | "WhatIsLeft"
        >> beam.ParDo(_Choose(options)).with_outputs("found", "failed", main="rows")
    )
    read = (
        left.rows
        # What is left stays decided when a worker starts again: it would find the
        # pictures that its first try has written, and take them for an earlier run's.
        | "Decided" >> beam.Reshuffle()
        | "Photos" >> beam.ParDo(_Read(options)).with_outputs("failed", main="ready")
    )
    handler = PhotoHandler(options.engine, options.rows.quality, options.concurrency)
    written = (
        read.ready
        | "Complete" >> RunInference(handler)
        | "Write"
        >> beam.FlatMap(_write, options).with_outputs("failed", main="results")
    )
    results = (left.found, written.results) | "Results" >> beam.Flatten()
    letters = (
        (left.failed, read.failed, written.failed)
        | "Failed" >> beam.Flatten()
        | "DeadLetters" >> beam.Map(_dead_letter)
    )
    for lines, kind in ((results, "results"), (letters, "dead-letters")):
        _ = (
            lines
            | f"Json_{kind}" >> beam.Map(json.dumps)
            | f"Table_{kind}"
            >> WriteToText(
                options.table(kind), file_name_suffix=".jsonl", skip_if_empty=True
            )
        )


def _counter(name: str) -> Metrics.DelegatingCounter:
    return Metrics.counter(NAMESPACE, name)


def _rows_of(path: str, options: RowOptions) -> Iterator[tuple[str, Row]]:
    """The rows of a manifest, by key."""
    with files.open_text(path, "manifest") as stream:
        root = options.root or files.folder_of(path)
        for row in read_rows(stream, path, options, root):
            yield row.key, row


def _lines_of(path: str) -> Iterator[tuple[str, Known]]:
    """What a table of an earlier run says, by key."""
    number, kind = _TABLE.fullmatch(posixpath.basename(path)).groups()
    with files.open_text(path, "table") as stream:
        for text in stream:
            line = json.loads(text)
            key = key_of(line["output"], line["row"])
            lasting, states = line.get("lasting", False), line.get("files", "")
            known = (line["row"], line["photo"], lasting, states)
            yield key, Known(int(number), kind, *known)


class _Choose(beam.DoFn):
    """What of the rows of one name is left to do."""

    def __init__(self, options: BatchOptions) -> None:
        self._options = options
        self._skipped = _counter("skipped")
        self._failed_before = _counter("failed_before")

    def process(self, group: tuple[str, Mapping]) -> Iterator:
        rows = sorted(group[1]["rows"], key=lambda row: (row.manifest, row.line))
        earlier = sorted(group[1]["earlier"], key=lambda known: known.run)
        if not rows:
            return
        first = rows[0]
        if first.error is None:
            # Rows that say the same are one.
            others = {row.digest: row for row in reversed(rows)}
            del others[first.digest]
            failed = [_same_name(row, first) for row in others.values()]
            try:
                replaced = self._replaced(first, rows, earlier)
            except Exception as error:
                replaced = failure(first, "read", error)
            if replaced:
                failed.append(replaced)
            else:
                yield from self._choose(first, earlier)
        else:
            # Rows that cannot be read have no name that they could share.
            failed = [
                Failed(
                    row, "row", row.error, not row.is_unread, f"{row.digest}+{index}"
                )
                for index, row in enumerate(rows)
            ]
        for one in failed:
            if self._is_known(one.row, one.digest, earlier):
                self._failed_before.inc()
            else:
                yield beam.pvalue.TaggedOutput("failed", one)

    def _replaced(
        self, row: Row, rows: list[Row], earlier: list[Known]
    ) -> Failed | None:
        """A dead letter, if a row's result would replace what it should not.

        That is a file that is read for the rows of its name, or another photo's result.
        """
        place = f"{row.manifest}, line {row.line}: "
        target = files.inside(self._options.out, row.output)
        for path in (path for one in rows for path in one.files):
            if files.is_same(path, target):
                reason = (
                    f"{place}the result would replace {path}; expected another 'output'"
                )
                return Failed(row, "row", reason, True, f"{row.digest}+{target}")
        made_of = [known.photo for known in earlier if known.kind == "results"]
        if self._options.overwrite or not made_of or made_of[-1] == row.source:
            return None
        if not files.exists(target):
            return None
        reason = (
            f"{place}{target} is the result of {made_of[-1]}, and would be that of "
            f"{row.source}; expected another 'output', or --overwrite"
        )
        return Failed(row, "row", reason, True, f"{row.digest}+{made_of[-1]}")

    def _choose(self, row: Row, earlier: list[Known]) -> Iterator:
        if self._options.overwrite:
            yield row
            return
        made_of = [known.digest for known in earlier if known.kind == "results"]
        # What was made of another row, or with other options, is made again.
        if not made_of or made_of[-1] == row.digest:
            try:
                size = self._size(row, read=not made_of)
            except Exception as error:
                yield beam.pvalue.TaggedOutput("failed", failure(row, "read", error))
                return
            if size:
                self._skipped.inc()
                if not made_of:
                    line = _result(row, "found", size, [], self._options.engine)
                    yield beam.pvalue.TaggedOutput("found", line)
                return
        if self._is_known(row, row.digest, earlier):
            self._failed_before.inc()
            return
        yield row

    def _size(self, row: Row, read: bool) -> tuple[int, int] | bool:
        """Whether a result is there; if no table knows of it, it is read."""
        path = files.inside(self._options.out, row.output)
        if not files.exists(path):
            return False
        if not read:
            return True
        try:
            return decode_photo(files.read_bytes(path, "photo"), path).size
        except files.PassingError:
            raise
        except PortraitError:
            return False

    def _is_known(self, row: Row, digest: str, earlier: list[Known]) -> bool:
        """Whether it failed before, and would again."""
        if self._options.overwrite or self._options.retry_failed:
            return False
        known = [
            one
            for one in earlier
            if one.kind == "dead-letters" and one.digest == digest
        ]
        return bool(known) and known[-1].lasting and known[-1].files == _states(row)


def _same_name(row: Row, first: Row) -> Failed:
    reason = (
        f"{row.manifest}, line {row.line}: {row.source} would be written as "
        f"{row.output!r}, as {first.source} of "
        + ("" if first.manifest == row.manifest else f"{first.manifest}, ")
        + f"line {first.line} is; expected another 'output'"
    )
    return Failed(row, "row", reason, True, f"{row.digest}+{first.digest}")


def _states(row: Row) -> str:
    """Changes when a file of a row does."""
    return " ".join(files.state_of(path) for path in row.files)


class _Read(beam.DoFn):
    """Reads and checks a photo, its mask and its joints.

    Before the first one it tries whether a result could be written, rather than paint
    all photos in vain.
    """

    def __init__(self, options: BatchOptions) -> None:
        self._options = options.rows
        self._out = options.out
        self._is_tried = False

    def process(self, row: Row) -> Iterator:
        if not self._is_tried:
            files.check_writable(self._out)
            self._is_tried = True
        try:
            prepared = self._prepare(row)
        except Exception as error:
            yield beam.pvalue.TaggedOutput("failed", failure(row, "read", error))
        else:
            yield Ready(row, prepared)

    def _prepare(self, row: Row) -> Prepared:
        photo = decode_photo(files.read_bytes(row.source, "photo"), row.source)
        joints = None
        if row.joints:
            data = files.read_bytes(row.joints, "joints file")
            joints = decode_joints(data, row.joints, photo.size)
        if row.wish is not None:
            return prepare_extrapolation(photo, row.wish, joints=joints)
        mask = None
        if row.mask:
            data = files.read_bytes(row.mask, "mask")
            mask = decode_photo(data, row.mask, "mask")
        return prepare_completion(
            photo, mask, joints=joints, options=self._options.masks
        )


def _write(answer: Finished | Failed, options: BatchOptions) -> Iterator:
    """Writes a photo; gives its line of the table of results."""
    if isinstance(answer, Failed):
        yield beam.pvalue.TaggedOutput("failed", answer)
        return
    row = answer.row
    try:
        files.write(options.out, row.output, answer.content)
    except PortraitError as error:
        yield beam.pvalue.TaggedOutput("failed", failure(row, "write", error))
        return
    _counter("completed").inc()
    yield _result(row, "completed", answer.size, answer.notes, options.engine)


def _result(
    row: Row,
    status: str,
    size: tuple[int, int],
    notes: list[str],
    engine: EngineSettings,
) -> dict:
    # Who has made a result that was found is not known.
    made = engine.describe() if status == "completed" else {"engine": None}
    return {
        "photo": row.source,
        "output": row.output,
        "height": size[0],
        "width": size[1],
        "status": status,
        "engine": made["engine"],
        "model": made.get("model"),
        "notes": notes,
        "row": row.digest,
    }


def _dead_letter(failed: Failed) -> dict:
    """A line of the dead-letter file."""
    _counter("failed").inc()
    row = failed.row
    return {
        "photo": row.source or row.photo,
        "output": row.output,
        "manifest": row.manifest,
        "line": row.line,
        "stage": failed.stage,
        "reason": failed.reason,
        "lasting": failed.lasting,
        "files": _states(row),
        "row": failed.digest,
    }
