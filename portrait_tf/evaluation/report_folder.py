"""Folders of reports and of pictures.

A report is written whole or not at all, and never over foreign files.
"""

import os
import pathlib
import shutil
from typing import TYPE_CHECKING

import numpy as np

from portrait_tf.data.masks import EVALUATION_TASKS
from portrait_tf.errors import PortraitError
from portrait_tf.files import temporary_beside, write_result
from portrait_tf.photos import write_png

if TYPE_CHECKING:
    from portrait_tf.evaluation.holes import Hole

PAGE, SCORES_FILE, PHOTOS_FILE = "index.html", "scores.json", "photos.csv"

FILES = (
    PAGE,
    SCORES_FILE,
    PHOTOS_FILE,
    *(f"{kind}_{t}.png" for kind in ("contact", "examples") for t in EVALUATION_TASKS),
)


def check_folder(folder: pathlib.Path, report: bool = True) -> None:
    """Checks that a folder can be written, before hours are spent on its content.

    Args:
        folder: The folder.
        report: Whether it may hold an old report, which is replaced.

    Raises:
        PortraitError: It is a file, holds foreign files, or cannot be made.
    """
    if folder.is_dir():
        allowed = set(FILES) if report else set()
        others = sorted({entry.name for entry in folder.iterdir()} - allowed)
        if others:
            expected = "a new folder, an empty one or an old report"
            if not report:
                expected = "a new folder or an empty one"
            raise PortraitError(
                f"{folder}: expected {expected}, found {others[0]} in it"
            )
    elif folder.exists():
        raise PortraitError(f"{folder} is a file; a folder is expected")
    parent = next(one for one in folder.absolute().parents if one.exists())
    if not parent.is_dir():
        raise PortraitError(f"{parent} is a file; a folder is expected for {folder}")
    if not os.access(parent, os.W_OK):
        raise PortraitError(f"{folder}: cannot write: no permission in {parent}")


def write_folder(folder: pathlib.Path, files: dict[str, bytes | str]) -> None:
    """Writes a folder of files, whole or not at all, in place of an old report.

    Raises:
        PortraitError: As `check_folder`, or the disk refuses.
    """
    check_folder(folder)
    # The target of a link is replaced, not the link.
    folder = folder.resolve()
    temporary, old = temporary_beside(folder), temporary_beside(folder)
    try:
        temporary.mkdir(parents=True)
        for name, content in files.items():
            write_result(temporary / name, content)
        if folder.exists():
            os.replace(folder, old)
        try:
            os.replace(temporary, folder)
        except OSError:
            if old.exists():
                os.replace(old, folder)
            raise
    except OSError as error:
        raise PortraitError(f"{folder}: cannot write: {error.strerror}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_pictures(
    folder: pathlib.Path, hole: "Hole", pictures: dict[str, np.ndarray | None]
) -> None:
    """Writes one hole for programs that judge pictures from outside.

    The files are `FOLDER/KIND/NAME_TASK.png`; `truth` is the photo, `masks` its hole
    (255 = hole), `gray` the photo with a gray hole, and each method a further kind. The
    task has `-` for `_`, so that it follows the last `_`.

    Args:
        folder: A folder that is empty, or can be made.
        hole: The hole.
        pictures: The completed photo of each method, RGB `uint8` `[H, W, 3]`; None is
            not written.

    Raises:
        PortraitError: The folder cannot be written to.
    """
    name = f"{hole.name}_{hole.task.replace('_', '-')}.png"
    kinds = {"truth": hole.photo, "masks": hole.mask, "gray": hole.hidden()}
    for kind, picture in {**kinds, **pictures}.items():
        if picture is not None:
            write_png(folder / kind / name, picture)
