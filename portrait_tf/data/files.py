"""Finding a data set's files, as archives and people leave them."""

import os
import pathlib

from portrait_tf.errors import PortraitError

PHOTO_EXTENSIONS = (".jpg", ".jpeg", ".png")


def stem(name: str) -> str:
    """The name without folder and without a photo's extension; other dots stay."""
    name = name.strip().replace("\\", "/").rsplit("/", 1)[-1]
    root, extension = os.path.splitext(name)
    return root if extension.lower() in PHOTO_EXTENSIONS else name


def unwrap(folder: pathlib.Path) -> pathlib.Path:
    """Enters a folder of the same name: archives often unpack to a doubled one."""
    while (folder / folder.name).is_dir():
        folder = folder / folder.name
    return folder


def list_files(
    folder: pathlib.Path, extensions: tuple[str, ...] = PHOTO_EXTENSIONS
) -> dict[str, pathlib.Path]:
    """The files of a folder by their name without extension, in the names' order.

    Of two files of one name the one whose extension comes first counts; hidden files
    do not.
    """
    found: dict[str, pathlib.Path] = {}
    entries = sorted(os.listdir(folder))
    for extension in reversed(extensions):
        for entry in entries:
            root, ending = os.path.splitext(entry)
            if ending.lower() == extension and not entry.startswith("."):
                found[root] = folder / entry
    return dict(sorted(found.items()))


def read_lines(path: pathlib.Path) -> list[str]:
    """The lines of a text file.

    Raises:
        PortraitError: The file cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise PortraitError(f"{path}: cannot read the file: {reason}") from None


def read_names(path: pathlib.Path) -> tuple[str, ...]:
    """The photos' names in a list of one name a line, without extensions."""
    return tuple(stem(line) for line in read_lines(path) if line.strip())
