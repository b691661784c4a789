"""Files that are whole or absent, and how text and names in them are read.

Everything that is written goes through `write_result`, and logs through `open_lines`.
What the path leads to decides how:

| path | what happens |
| --- | --- |
| a file, or nothing | replaced by a rename: readers see the old content or the new |
| a symbolic link | the same for the file that it leads to; the link stays |
| a pipe | written to |
| `-`, `/dev/stdout`, `/dev/fd/N` | written to, where a pipe or a file is behind it |
| a device, such as a terminal or a disk | refused |
"""

import codecs
import contextlib
import errno
import os
import pathlib
import re
import secrets
import stat
import unicodedata
from collections.abc import Iterator
from typing import BinaryIO

from portrait_tf.errors import PortraitError

_DESCRIPTOR = re.compile(r"(?:/proc/self|/dev)/fd/(\d+)")
_MOST_LINKS = 40
_NAME_BYTES = 200
"""Of a name, in a temporary one: with what is added it fits in 255 bytes."""

PICTURE_EXTENSIONS = frozenset((
    ".apng", ".avif", ".avifs", ".bmp", ".gif", ".heic", ".heics", ".heif", ".hif",
    ".j2c", ".j2k", ".jfi", ".jfif", ".jif", ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf",
    ".jpg", ".jpx", ".jxl", ".mpo", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".psd",
    ".tga", ".tif", ".tiff", ".webp",
    ".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".rw2", ".srw",
))  # fmt: skip
"""Of files that are pictures, whether they are read or not."""

_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def temporary_beside(path: str | pathlib.Path) -> pathlib.Path:
    """A free, hidden name in the folder of `path`, on the same file system."""
    path = pathlib.Path(path)
    name = os.fsencode(path.name)[:_NAME_BYTES].decode(errors="ignore")
    return path.with_name(f".{name}.{secrets.token_hex(4)}.tmp")


def write_result(path: str | pathlib.Path, content: bytes | str) -> None:
    """Writes a file whole or not at all; a failed write leaves the old file.

    Args:
        path: As the table above has it. Its folder is made if it is not there. A file
            that is replaced keeps its permissions.
        content: Text is written as UTF-8; of file names, bytes that are not UTF-8 are
            written as `\\udcXX`, which JSON reads back.

    Raises:
        PortraitError: It cannot be written, or is a device.
    """
    if isinstance(content, str):
        content = content.encode(errors="backslashreplace")
    try:
        stream = _open_stream(path)
        if stream is None:
            _replace(pathlib.Path(os.path.realpath(path)), content)
            return
        with stream:
            write_all(stream, content)
    except OSError as error:
        raise cannot_write(path, error) from None


@contextlib.contextmanager
def open_lines(path: str | pathlib.Path) -> Iterator[BinaryIO]:
    """Opens a file to add lines to, unbuffered; half a line in it is ended first.

    Raises:
        PortraitError: As `write_result`.
    """
    with contextlib.ExitStack() as stack:
        try:
            pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(
                _open_stream(path) or open(path, "a+b", buffering=0)  # noqa: SIM115
            )
            if file.readable() and file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    write_all(file, b"\n")
        except OSError as error:
            raise cannot_write(path, error) from None
        yield file


def write_all(file: BinaryIO, content: bytes) -> None:
    """Writes to an unbuffered file, which may take a part of the content at a time."""
    content = memoryview(content)
    while content:
        content = content[file.write(content) :]


def check_target(path: str | pathlib.Path) -> None:
    """Checks where a file is to be written, before hours are spent on its content.

    Raises:
        PortraitError: It is a folder, or a device.
    """
    number = _descriptor(path)
    try:
        mode = (os.stat(path) if number is None else os.fstat(number)).st_mode
    except OSError:
        # Nothing is there yet, or writing will say what is wrong.
        return
    _check_no_device(path, mode)
    if stat.S_ISDIR(mode):
        raise PortraitError(f"{path} is a folder; a file is expected")


def _check_no_device(path: str | pathlib.Path, mode: int) -> None:
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise PortraitError(path=path, expected="a file or a pipe", received="a device")


def is_special(path: str | pathlib.Path) -> bool:
    """Whether a path leads to a pipe, a socket or a device."""
    return os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path))


def is_stream(path: str | pathlib.Path) -> bool:
    """Whether what is written to a path goes to one stream: `-`, or a pipe."""
    return _descriptor(path) is not None or is_special(path)


def cannot_write(path: str | pathlib.Path, error: OSError) -> PortraitError:
    """The one sentence on a file that the system does not let us write."""
    reason = error.strerror or error
    if isinstance(error, FileExistsError):
        # Of `mkdir`, where a folder of the path is a file.
        reason = os.strerror(errno.ENOTDIR)
    return PortraitError(f"cannot write: {reason}", path=path)


def _descriptor(path: str | pathlib.Path) -> int | None:
    """The open descriptor that `/dev/stdout` and its like lead to."""
    path = "/dev/fd/1" if str(path) == "-" else os.path.abspath(path)
    for _ in range(_MOST_LINKS):
        if found := _DESCRIPTOR.fullmatch(path):
            return int(found[1])
        if not os.path.islink(path):
            break
        path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
    return None


def _open_stream(path: str | pathlib.Path) -> BinaryIO | None:
    """A pipe, or what an open descriptor leads to; None for files."""
    check_target(path)
    number = _descriptor(path)
    if number is not None:
        # Opened anew, a file behind it would be written from its beginning.
        return open(os.dup(number), "wb", buffering=0)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if stat.S_ISFIFO(os.stat(path).st_mode):
            return open(path, "wb", buffering=0)
    return None


def _replace(path: pathlib.Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        with open(temporary, "wb") as file:
            # Some file systems have no permissions.
            with contextlib.suppress(OSError):
                os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_file(path: str | pathlib.Path, kind: str) -> bytes:
    """The content of a file or a pipe, called `kind` in messages.

    Raises:
        PortraitError: It cannot be read, or is a device, which may never end.
    """
    try:
        _check_no_device(path, os.stat(path).st_mode)
        return pathlib.Path(path).read_bytes()
    except PortraitError:
        raise
    except (OSError, ValueError) as error:
        # A name with a zero byte is a ValueError.
        reason = getattr(error, "strerror", None) or error
        raise PortraitError(f"cannot read the {kind}: {reason}", path=path) from None


def read_text(path: str | pathlib.Path, kind: str = "file") -> str:
    """The text of a file in UTF-8, with a byte order mark or without.

    Args:
        path: The file.
        kind: What to call it in a message.

    Raises:
        PortraitError: It cannot be read, or has another encoding, which is named.
    """
    data = read_file(path, kind)
    if encoding := other_encoding(data):
        raise PortraitError(
            f"cannot read the {kind}: expected UTF-8, received {encoding}", path=path
        )
    return data.decode("utf-8-sig")


def other_encoding(data: bytes) -> str | None:
    """What text that is not UTF-8 seems to be encoded in; None for UTF-8."""
    for mark, name in _MARKS:
        if data.startswith(mark):
            return name
    if data[:2].count(0) == 1:
        return "UTF-16"
    try:
        data.decode()
    except UnicodeDecodeError as error:
        wrong = data[error.start : error.start + 1]
        as_windows = wrong.decode("cp1252", "ignore")
        return f"the byte 0x{wrong.hex()}" + (
            f" (in cp1252: {as_windows!r})" if as_windows else ""
        )
    return None


def one_spelling(name: str) -> str:
    """A name by which its composed (NFC) and decomposed (NFD) spellings are equal.

    macOS writes "é" as two characters, most others as one.
    """
    return unicodedata.normalize("NFC", name)
