"""The manifest: a line for each photo, as CSV with a header or as JSON lines.

| column | |
| --- | --- |
| `photo` | the file; relative to the root, an absolute path, or a URL (`gs://...`) |
| `mask` | its mask, likewise; white is the hole |
| `joints` | the body's joints, likewise: a JSON file of `portrait-tf parse` |
| `top`, `bottom`, `left`, `right` | what to add: `0.3` or `30%` of the photo, `200px` |
| `to_aspect`, `to_size`, `whole_body`, `anchor` | as `extrapolate`'s options |
| `output` | the result's name in the output folder; its extension is the format |

A row has a mask, or says how the photo is extended; or neither, where the photos' own
transparent parts are their holes.
"""

import csv
import dataclasses
import hashlib
import io
import json
import pathlib
import posixpath
import re
from collections.abc import Iterator, Mapping

from portrait_tf.errors import PortraitError
from portrait_tf.files import other_encoding
from portrait_tf.inference.extrapolation import SIDES, Wish
from portrait_tf.photos import MaskOptions, format_of, output_name

WISHES = (*SIDES, "to_aspect", "to_size", "whole_body", "anchor")
COLUMNS = ("photo", "mask", "joints", *WISHES, "output")
OWN_FOLDER = "_batch"
"""Of the output folder: tables, and files that are being written."""

_SCHEME = re.compile(r"([a-zA-Z][-a-zA-Z0-9+.]*://)(.*)", re.DOTALL)
# Zeros and lone surrogates: nothing that a path or UTF-8 can hold.
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
# What `files.open_text` makes of bytes that are not UTF-8.
_NO_UTF8 = re.compile("[\udc80-\udcff]+")
_JSON = (".jsonl", ".ndjson", ".json")
COMPRESSED = (".gz", ".bz2", ".zst", ".deflate", ".xz")
_UNREAD = "no CSV from here to the file's end, of which nothing is read"
_YES = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclasses.dataclass(frozen=True)
class RowOptions:
    """What the command line says of all rows.

    Attributes:
        root: What relative paths are relative to; None: the manifest's own folder.
        masks: How masks are read.
        format: Of all results, Pillow's name; None: see `Row.format`.
        quality: 1 to 100, for formats with loss.
    """

    root: str | None = None
    masks: MaskOptions = dataclasses.field(default_factory=MaskOptions)
    format: str | None = None
    quality: int | None = None


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a manifest.

    Attributes:
        manifest: The file that it is in.
        line: Its number there, from 1; the last one, if it has several.
        photo: As the manifest has it.
        digest: Of all that says what its result looks like, but for the files'
            content.
        error: Why nothing can be done; what follows is None then, but for
            `is_unread`.
        source: Where the photo is read.
        mask: Where its mask is read.
        joints: Where the user's own joints are read, if there are any.
        wish: How it is extended.
        output: The result's name in the output folder.
        format: Pillow's name; None for the photo's own.
        is_unread: Whether it stands for rows that nobody has read, so that one cannot
            say whether they have changed.
    """

    manifest: str
    line: int
    photo: str | None
    digest: str
    error: str | None = None
    source: str | None = None
    mask: str | None = None
    joints: str | None = None
    wish: Wish | None = None
    output: str | None = None
    format: str | None = None
    is_unread: bool = False

    @property
    def files(self) -> list[str]:
        """All that is read for it."""
        return [path for path in (self.source, self.mask, self.joints) if path]

    @property
    def key(self) -> str:
        """Equal for rows that would be written as one file."""
        return key_of(self.output, self.digest)


def key_of(output: str | None, digest: str) -> str:
    """`Row.key` of what a table says of a row.

    Rows that are equal are told apart by what follows a plus sign.
    """
    return f"output:{output}" if output else f"row:{digest.split('+')[0]}"


def is_json(name: str) -> bool:
    """Whether a manifest of that name holds JSON lines; else it is CSV."""
    path = pathlib.PurePosixPath(name.lower())
    if path.suffix in COMPRESSED:
        path = path.with_suffix("")
    return path.suffix in _JSON


def read_columns(
    stream: io.TextIOBase, name: str, from_alpha: bool = False
) -> list[str]:
    """The columns of a manifest: its header, or its first object's keys.

    Args:
        stream: The manifest's beginning.
        name: The manifest's; says what kind it is.
        from_alpha: Whether a photo's transparent parts are its hole.

    Returns:
        All of them, those that mean nothing included.

    Raises:
        PortraitError: One that is needed is missing, or there are none.
    """
    columns = None
    if is_json(name):
        for _, found, error in _json_rows(stream):
            if error:
                raise PortraitError(f"{error}", path=name)
            columns = list(found)
            break
    else:
        try:
            columns = next(csv.reader(stream, strict=True), None)
        except csv.Error as error:
            raise PortraitError(f"expected CSV: {error}", path=name) from None
        columns = columns and [column.strip() for column in columns]
    if not columns:
        raise PortraitError(
            "expected a manifest with the column 'photo', received an empty file",
            path=name,
        )
    received = ", ".join(repr(column) for column in columns)
    try:
        _check_repeated(columns)
    except PortraitError as error:
        raise PortraitError(f"{error}", path=name) from None
    if "photo" not in columns:
        raise PortraitError(
            f"expected a manifest with the column 'photo', received {received}",
            path=name,
        )
    if not from_alpha and not {"mask", *WISHES} & set(columns):
        raise PortraitError(
            f"expected a column 'mask', or columns for margins "
            f"({', '.join(SIDES)}), beside 'photo', or --mask-from-alpha, received "
            f"{received}",
            path=name,
        )
    return columns


def read_rows(
    stream: io.TextIOBase, name: str, options: RowOptions, root: str
) -> Iterator[Row]:
    """The rows of a manifest, bad ones included; blank lines are passed over.

    Args:
        stream: The manifest.
        name: Its own.
        options: Of the command line.
        root: What relative paths are relative to, absolute or a URL.
    """
    rows = _json_rows(stream) if is_json(name) else _csv_rows(stream)
    for line, columns, error in rows:
        yield _read_row(columns, error, (name, line), options, root)


def _csv_rows(
    stream: io.TextIOBase,
) -> Iterator[tuple[int, dict[str, str] | None, str | None]]:
    reader = csv.reader(stream, strict=True)
    header = None
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            yield reader.line_num, None, f"{_UNREAD}: {error}"
            return
        if fields is None:
            return
        if header is None:
            header = [field.strip() for field in fields]
            continue
        if not any(field.strip() for field in fields):
            continue
        error = None
        if len(fields) != len(header):
            error = f"expected {len(header)} fields, received {len(fields)}"
        columns = dict(zip(header, fields, strict=False))
        known = "".join(text for name, text in columns.items() if name in COLUMNS)
        yield reader.line_num, columns, error or _not_utf8(known)


def _json_rows(
    stream: io.TextIOBase,
) -> Iterator[tuple[int, dict[str, str], str | None]]:
    for line, text in enumerate(stream, start=1):
        if not text.strip():
            continue
        if error := _not_utf8(text):
            yield line, {"": text}, error
            continue
        try:
            found = json.loads(text, object_pairs_hook=_one_of_each)
        except PortraitError as error:
            yield line, {"": text}, str(error)
            continue
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            yield line, {"": text}, "expected a JSON object in each line"
            continue
        error, columns = None, {}
        for name, value in found.items():
            if isinstance(value, (dict, list)):
                if name in COLUMNS:
                    error = f"{name!r}: expected a text or a number"
                continue
            if value is None:
                columns[name] = ""
            else:
                columns[name] = value if isinstance(value, str) else json.dumps(value)
        yield line, columns, error


def _not_utf8(text: str) -> str | None:
    """What is wrong with a text that has bytes of another encoding."""
    if not (wrong := _NO_UTF8.search(text)):
        return None
    data = wrong[0].encode(errors="surrogateescape")
    return f"expected UTF-8, received {other_encoding(data)}"


def _one_of_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    _check_repeated([name for name, _ in pairs])
    return dict(pairs)


def _check_repeated(names: list[str]) -> None:
    """Raises PortraitError: a column is there twice."""
    for name in names:
        if names.count(name) > 1 and name in COLUMNS:
            raise PortraitError(f"expected each column once, received {name!r} twice")


def _read_row(
    columns: Mapping[str, str] | None,
    error: str | None,
    place: tuple[str, int],
    options: RowOptions,
    root: str,
) -> Row:
    if columns is None:
        message = f"{place[0]}, line {place[1]}: {error}"
        digest = _digest({"": message}, None, options)
        return Row(*place, None, digest, message, is_unread=True)
    given = {name: columns.get(name, "").strip() for name in COLUMNS}
    photo = given["photo"] or None
    # Rows that cannot be read are told apart by all that is in them.
    told = given if error is None else dict(columns)
    try:
        if error is not None:
            raise PortraitError(error)
        if photo is None:
            raise PortraitError("the column 'photo' is empty")
        for name, value in given.items():
            if wrong := _NO_TEXT.search(value):
                raise PortraitError(
                    f"{name!r}: expected text, received the character {wrong[0]!r}"
                )
        wish = _read_wish(given)
        if wish is not None and given["mask"]:
            raise PortraitError("expected a mask or margins, received both")
        if wish is None and not given["mask"] and not options.masks.from_alpha:
            raise PortraitError(
                "expected a mask or margins, or --mask-from-alpha, received neither"
            )
        source = resolve(photo, root)
        output, format = _name_output(given["output"], source, options, root)
        mask, joints = (
            resolve(given[name], root) if given[name] else None
            for name in ("mask", "joints")
        )
    except Exception as problem:
        # One row's is not all rows'.
        if not isinstance(problem, PortraitError):
            problem = f"{type(problem).__name__}: {problem}"
        message = f"{place[0]}, line {place[1]}: {problem}"
        shown = _as_utf8(photo) if photo else None
        return Row(*place, shown, _digest(told, None, options), _as_utf8(message))
    told = {**given, "photo": source, "mask": mask, "joints": joints}
    if joints is None:
        # Rows of manifests before there was this column have kept their digests.
        del told["joints"]
    digest = _digest(told, format, options)
    return Row(*place, photo, digest, None, source, mask, joints, wish, output, format)


def _as_utf8(text: str) -> str:
    """A text that coders and tables can hold."""
    return text.encode("utf-8", "backslashreplace").decode()


def _digest(told: Mapping, format: str | None, options: RowOptions) -> str:
    masks = dataclasses.astuple(options.masks)
    text = json.dumps([told, format, options.quality, masks], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read_wish(given: Mapping[str, str]) -> Wish | None:
    if not any(given[name] for name in WISHES):
        return None
    body = _YES.get(given["whole_body"].lower() or "no")
    if body is None:
        raise PortraitError(
            f"'whole_body': expected true or false, received {given['whole_body']!r}"
        )
    if not body and not any(given[name] for name in WISHES if name != "whole_body"):
        return None
    return Wish.parse({name: text for name, text in given.items() if text}, body)


def resolve(path: str, root: str) -> str:
    """A path of a manifest as it is read; a URL stays as it is.

    In object stores `//`, `.` and `..` are parts of a name like any others.
    """
    if _SCHEME.fullmatch(path):
        return path
    if path.startswith("/"):
        # Two leading slashes are ones that `normpath` keeps.
        return posixpath.normpath("/" + path.lstrip("/"))
    scheme, folder = ("", root)
    if found := _SCHEME.fullmatch(root):
        scheme, folder = found.groups()
    return scheme + posixpath.normpath(posixpath.join(folder, path))


def is_inside(name: str) -> bool:
    """Whether a result's name cannot lead out of the folder that it is joined to."""
    return not _SCHEME.fullmatch(name) and not {"", ".", ".."} & set(name.split("/"))


def _name_output(
    wanted: str, source: str, options: RowOptions, root: str
) -> tuple[str, str | None]:
    """The result's name and format.

    Without a name of the manifest's it is the photo's below the root, as of a folder;
    a photo from elsewhere keeps its name, with a digest of where it is, as does an
    object whose name below the root is none of a file's.
    """
    if wanted:
        name = posixpath.normpath(wanted)
        if _SCHEME.fullmatch(wanted) or not is_inside(name):
            raise PortraitError(
                f"'output': expected a name in the output folder, received {wanted!r}"
            )
        suffix = posixpath.splitext(name)[1]
        format = options.format or (format_of(name) if suffix else None)
    else:
        below = root.rstrip("/") + "/"
        name = source[len(below) :]
        if not source.startswith(below) or not is_inside(name):
            stem, suffix = posixpath.splitext(posixpath.basename(source))
            digest = hashlib.sha256(source.encode()).hexdigest()[:8]
            name = f"{stem}-{digest}{suffix}"
        format = options.format
        name = str(output_name(pathlib.PurePosixPath(name), format))
    if name.split("/")[0] == OWN_FOLDER:
        raise PortraitError(
            f"the result would be {name!r}: expected another folder than "
            f"'{OWN_FOLDER}', where the tables are"
        )
    return name, format
