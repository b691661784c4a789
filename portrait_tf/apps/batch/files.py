"""Files wherever Beam reaches them: this machine, gs://, s3://, hdfs://, azfs://."""

import bz2
import contextlib
import gzip
import io
import lzma
import os
import pathlib
import posixpath
import secrets
from collections.abc import Iterator

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from portrait_tf.apps.batch.manifest import COMPRESSED, OWN_FOLDER, is_inside
from portrait_tf.errors import PortraitError
from portrait_tf.files import is_special, other_encoding

_RAW = CompressionTypes.UNCOMPRESSED
# Python's own, which notice that a file is cut off: Beam's do not.
_DECOMPRESS = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file, mode="rb"),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}


class PassingError(PortraitError):
    """What may well not happen again: the network's fault, or the storage's."""


def is_remote(path: str) -> bool:
    """Whether a path has a scheme."""
    return FileSystems.get_scheme(path) is not None


def absolute(path: str) -> str:
    """A path that means the same to a worker in another folder; URLs stay."""
    if not path or is_remote(path):
        return path.rstrip("/") if len(path) > 1 else path
    return os.path.abspath(path)


def is_same(one: str, other: str) -> bool:
    """Whether two paths lead to one file or folder, symbolic links or not."""
    if is_remote(one) or is_remote(other):
        return one == other
    return os.path.realpath(one) == os.path.realpath(other)


def folder_of(path: str) -> str:
    """The folder that a file is in."""
    return posixpath.dirname(path)


def reason_of(error: Exception) -> str:
    """What went wrong, in one line."""
    details = getattr(error, "exception_details", None)
    if isinstance(details, dict) and details:
        inner = next(iter(details.values()))
        if isinstance(inner, Exception):
            return reason_of(inner)
    # Beam wraps some errors of the operating system in others without their number.
    if error.args and isinstance(error.args[0], Exception):
        return reason_of(error.args[0])
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


@contextlib.contextmanager
def _told(
    path: str, what: str, kind: type[PortraitError] = PassingError
) -> Iterator[None]:
    """Whatever a file system raises becomes one sentence, `PATH: WHAT: reason`."""
    try:
        yield
    except PortraitError:
        raise
    except Exception as error:
        raise kind(f"{what}: {reason_of(error)}", path=path) from None


def find(pattern: str) -> list[str]:
    """The files that a pattern of Beam's matches, in order."""
    with _told(pattern, "cannot list", PortraitError):
        matched = FileSystems.match([pattern])
    return sorted(found.path for found in matched[0].metadata_list)


def exists(path: str) -> bool:
    """Whether there is such a file; PassingError if the file system cannot say."""
    with _told(path, "cannot look"):
        return FileSystems.exists(path)


def state_of(path: str) -> str:
    """Changes when a file is replaced, comes or goes."""
    try:
        metadata = FileSystems.get_filesystem(path).metadata(path)
    except Exception:
        return "absent"
    return f"{metadata.size_in_bytes}@{metadata.last_updated_in_seconds}"


def read_bytes(path: str, kind: str) -> bytes:
    """The content of a file.

    Args:
        path: A path or a URL.
        kind: What to call it in a message.

    Raises:
        PortraitError: There is no such file, or it is a pipe or a device;
            `PassingError` if it cannot be read for another reason.
    """
    if not is_remote(path) and is_special(path):
        raise PortraitError(path=path, expected="a file", received="a pipe or a device")
    with _told(path, f"cannot read the {kind}"):
        try:
            with FileSystems.open(path, compression_type=_RAW) as file:
                return file.read()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            missing = error.strerror
        except Exception:
            missing = "No such file or directory"
            # Object stores have errors of their own for a missing file.
            is_there = True
            with contextlib.suppress(Exception):
                is_there = FileSystems.exists(path)
            if is_there:
                raise
        raise PortraitError(f"cannot read the {kind}: {missing}", path=path)


@contextlib.contextmanager
def open_text(path: str, kind: str) -> Iterator[io.TextIOWrapper]:
    """A text file, UTF-8 with a mark or without, decompressed by its extension.

    Bytes that are not UTF-8 are lone surrogates, as of `surrogateescape`.

    Raises:
        PortraitError: It cannot be read, as a whole; also while it is read. It begins
            as UTF-16 or UTF-32.
    """
    suffix = posixpath.splitext(path.lower())[1]
    if suffix in COMPRESSED and suffix not in _DECOMPRESS:
        raise PortraitError(
            f"expected a {kind} as it is, or in {', '.join(_DECOMPRESS)}", path=path
        )
    message = f"cannot read the {kind}"
    with _told(path, message, PortraitError):
        file = FileSystems.open(path, compression_type=_RAW)
    with contextlib.closing(file):
        decompress = _DECOMPRESS.get(suffix)
        content = decompress(file) if decompress else file
        buffered = io.BufferedReader(_Reading(content, path, message))
        encoding = other_encoding(buffered.peek(4)[:4])
        if encoding and encoding.startswith("UTF"):
            raise PortraitError(
                f"{message}: expected UTF-8, received {encoding}", path=path
            )
        # Bytes of other encodings concern single rows, which then say so.
        yield io.TextIOWrapper(buffered, "utf-8-sig", "surrogateescape", newline="")


class _Reading(io.RawIOBase):
    """What Beam opens, for `io`: some of its files lack `readinto`.

    Whatever prevents reading, of many kinds of errors, is one.
    """

    def __init__(self, file: io.BufferedIOBase, *told: str) -> None:
        self.file, self.told = file, told

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        with _told(*self.told, PortraitError):
            data = self.file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def inside(folder: str, name: str) -> str:
    """The path of a file below a folder; names that lead out of it are refused."""
    if not is_inside(name):
        raise PortraitError(f"expected a name in {folder}, received {name!r}")
    return posixpath.join(folder, name)


def write(folder: str, name: str, content: bytes) -> None:
    """Writes a file under a temporary name, then renames it.

    A reader sees no part of it, and a second writer of the same name, such as a
    repeated bundle's, replaces it by the same.

    Args:
        folder: The output folder.
        name: Relative to it.
        content: What is written.

    Raises:
        PortraitError: The name leads out of the folder.
        PassingError: It cannot be written.
    """
    temporary = f"{temporary_folder(folder)}/{secrets.token_hex(16)}"
    final = inside(folder, name)
    with _told(final, "cannot write"):
        try:
            with FileSystems.create(temporary, compression_type=_RAW) as file:
                file.write(content)
                file.flush()
                with contextlib.suppress(AttributeError, io.UnsupportedOperation):
                    os.fsync(file.fileno())
            # It is an error that a folder is there; whether it is, the rename says.
            with contextlib.suppress(OSError):
                FileSystems.mkdirs(folder_of(final))
            _replace(temporary, final)
        except BaseException:
            with contextlib.suppress(Exception):
                FileSystems.delete([temporary])
            raise


def check_writable(folder: str) -> None:
    """Writes a file to the temporary folder, and deletes it; or raises PassingError."""
    path = f"{temporary_folder(folder)}/{secrets.token_hex(16)}"
    with _told(folder, "cannot write results"):
        with FileSystems.create(path, compression_type=_RAW) as file:
            file.write(b"?")
        FileSystems.delete([path])


def _replace(source: str, target: str) -> None:
    try:
        FileSystems.rename([source], [target])
    except Exception:
        # HDFS alone does not replace. Elsewhere `delete` would take the name for a
        # pattern.
        if FileSystems.get_scheme(target) != "hdfs" or not FileSystems.exists(target):
            raise
        FileSystems.delete([target])
        FileSystems.rename([source], [target])


def temporary_folder(folder: str) -> str:
    """Of an output folder: what is being written."""
    return posixpath.join(folder, OWN_FOLDER, "temporary")


def remove_temporary(folder: str) -> None:
    """Removes what killed workers have left half written."""
    path = temporary_folder(folder)
    with contextlib.suppress(Exception):
        if FileSystems.get_filesystem(path).has_dirs():
            if FileSystems.exists(path):
                FileSystems.delete([path])
        elif left := find(f"{path}/*"):
            FileSystems.delete(left)


def find_model(directory: str) -> str:
    """The version's folder of an export, here or elsewhere."""
    from portrait_tf.inference.engines import find_version, no_model

    if not is_remote(directory):
        return str(find_version(absolute(directory)))
    directory = directory.rstrip("/")
    if exists(f"{directory}/saved_model.pb"):
        return directory
    numbers = [
        number
        for path in find(f"{directory}/*/saved_model.pb")
        if (number := posixpath.basename(folder_of(path))).isdecimal()
    ]
    if not numbers:
        raise PortraitError(no_model(directory))
    return f"{directory}/{max(numbers, key=int)}"


def fetch_folder(source: str, target: pathlib.Path) -> None:
    """Copies a folder with its sub-folders to this machine."""
    source = source.rstrip("/")
    for path in find(f"{source}/**"):
        inner = path[len(source) + 1 :]
        if not inner or inner.endswith("/"):
            continue
        copy = target / inner
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(read_bytes(path, "model"))
