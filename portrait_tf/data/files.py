"""Finding a data set's files, as archives and people leave them."""

import os
import pathlib

from portrait_tf.errors import PortraitError
from portrait_tf.files import PICTURE_EXTENSIONS, is_special, one_spelling, read_text

PHOTO_EXTENSIONS = (".jpg", ".jpeg", ".png")


def stem(name: str) -> str:
    """The name without folder and without a photo's extension; other dots stay.

    Its accents are composed (NFC), as in the names of `list_files`.
    """
    name = one_spelling(name).strip().replace("\\", "/").rsplit("/", 1)[-1]
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

    Hidden files do not count. Names have their accents composed (NFC), whichever way
    the files spell them.

    Raises:
        PortraitError: Two files have one name, one is a pipe, or a name is not UTF-8,
            which lists and shards are written in.
    """
    found: dict[str, pathlib.Path] = {}
    with os.scandir(folder) as entries:
        listed = list(entries)
    for one in listed:
        entry = one.name
        root, ending = os.path.splitext(entry)
        if ending.lower() not in extensions or entry.startswith("."):
            continue
        if not one.is_file():
            _check_file(one.path)
        try:
            entry.encode()
        except UnicodeEncodeError:
            raise PortraitError(
                path=folder,
                expected="file names in UTF-8",
                received=f"{os.fsencode(entry)!r}",
            ) from None
        name = one_spelling(root)
        other = found.setdefault(name, folder / entry)
        if other.name != entry:
            first, second = sorted([other.name, entry])
            raise PortraitError(
                f"{folder}: expected one file of each name, found {first} and {second}"
            )
    return dict(sorted(found.items()))


def _check_file(path: str | pathlib.Path) -> None:
    """Raises PortraitError: what is there is a pipe or the like, which may block."""
    if is_special(path):
        raise PortraitError(
            path=path, expected="a file", received="a pipe, a socket or a device"
        )


def count_unread(folder: pathlib.Path) -> int:
    """How many pictures of a folder are of other formats, which `list_files` skips."""
    endings = (os.path.splitext(entry) for entry in os.listdir(folder))
    others = PICTURE_EXTENSIONS.difference(PHOTO_EXTENSIONS)
    return sum(
        ending.lower() in others and not root.startswith(".")
        for root, ending in endings
    )


def read_lines(path: pathlib.Path) -> list[str]:
    """The lines of a text file.

    Raises:
        PortraitError: The file cannot be read, is a pipe, or is not UTF-8.
    """
    _check_file(path)
    return read_text(path).splitlines()


def read_names(path: pathlib.Path) -> tuple[str, ...]:
    """The photos' names in a list of one name a line, each once, without extensions."""
    names = (stem(line) for line in read_lines(path) if line.strip())
    return tuple(dict.fromkeys(names))
