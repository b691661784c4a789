"""Files that are whole or absent."""

import os
import pathlib
import secrets

from portrait_tf.errors import PortraitError


def temporary_beside(path: str | pathlib.Path) -> pathlib.Path:
    """A free, hidden name in the folder of `path`, on the same file system."""
    path = pathlib.Path(path)
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def write_atomically(path: str | pathlib.Path, content: bytes) -> None:
    """Writes a file under a temporary name, then renames it.

    A reader sees the old content or the new, never a part; a failed write leaves
    the old file as it was.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_result(path: str | pathlib.Path, content: bytes | str) -> None:
    """`write_atomically` for a file that the user named; text is UTF-8.

    Raises:
        PortraitError: The folder cannot be written to.
    """
    if isinstance(content, str):
        content = content.encode()
    try:
        write_atomically(path, content)
    except OSError as error:
        raise PortraitError(f"{path}: cannot write: {error.strerror}") from None
