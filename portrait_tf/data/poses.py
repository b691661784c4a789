"""LIP's pose files: no header, `name.jpg,x1,y1,v1,...,x16,y16,v16` a row."""

import csv
import io
import pathlib
from dataclasses import dataclass

import numpy as np

from portrait_tf.data.files import read_lines, stem
from portrait_tf.errors import PortraitError
from portrait_tf.labels import NUM_JOINTS

_COLUMNS = 1 + 3 * NUM_JOINTS


@dataclass(frozen=True)
class PoseRow:
    """A line of a pose file, not looked into yet.

    Attributes:
        file: The pose file.
        line: From 1.
        values: Its columns, the name too.
    """

    file: pathlib.Path
    line: int
    values: list[str]

    def joints(self) -> np.ndarray:
        """The joints as `Sample` has them, `float32` `[16, 3]`.

        Raises:
            PortraitError: Too few or too many columns, or one that is no number.
        """
        place = f"{self.file}, line {self.line}"
        if len(self.values) != _COLUMNS:
            raise PortraitError(
                path=place,
                expected=(
                    f"{_COLUMNS} columns (a name and x, y, v of {NUM_JOINTS} joints)"
                ),
                received=len(self.values),
            )
        joints = np.empty(3 * NUM_JOINTS)
        for column, text in enumerate(self.values[1:]):
            try:
                joints[column] = float(text)
            except ValueError:
                raise PortraitError(
                    path=place,
                    expected=f"a number or nan in column {column + 2}",
                    received=f"'{text.strip()}'",
                ) from None
        large = np.abs(joints) > np.finfo(np.float32).max
        if large.any():
            raise PortraitError(
                path=place,
                expected="finite numbers or nan",
                received=f"{joints[large][0]:g}",
            )
        joints = joints.reshape(NUM_JOINTS, 3).astype(np.float32)
        joints[np.isnan(joints).any(axis=1)] = np.nan
        return joints


def pose_row(name: str, joints: np.ndarray | None) -> str:
    """The line of a photo, by its name with extension; None has no joints."""
    if joints is None:
        joints = np.full((NUM_JOINTS, 3), np.nan)
    row = io.StringIO()
    numbers = (f"{value:.9g}" for value in joints.ravel().tolist())
    csv.writer(row, lineterminator="").writerow([name, *numbers])
    return row.getvalue()


def read_poses(path: pathlib.Path) -> dict[str, PoseRow]:
    """The rows of a pose file by the photo's name, without extension.

    Raises:
        PortraitError: The file cannot be read, a row has no commas, or two rows of one
            name differ.
    """
    rows = {}
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        try:
            (values,) = csv.reader([line])
        except csv.Error as error:
            raise PortraitError(str(error), path=f"{path}, line {number}") from None
        # Such a row would match no photo: all poses would be missing, unsaid.
        if len(values) == 1:
            raise PortraitError(
                f"{path}, line {number}: expected {_COLUMNS} columns with "
                "commas between them, received 1"
            )
        name = stem(values[0])
        other = rows.setdefault(name, PoseRow(path, number, values))
        if other.values[1:] != values[1:]:
            raise PortraitError(
                f"{path}: expected one pose of each name, found different ones of "
                f"{name!r} in line {other.line} and line {number}"
            )
    return rows
