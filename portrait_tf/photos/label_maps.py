"""Reads label maps, and brings the labels of other data sets to LIP's."""

import io
import pathlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from portrait_tf.errors import PortraitError
from portrait_tf.labels import LABELS, NUM_LABELS, VOID_LABEL, VOID_NAME
from portrait_tf.photos.arrays import read_image_bytes
from portrait_tf.photos.containers import PNG_SIGNATURE


@dataclass(frozen=True)
class LabelTable:
    """Which LIP label each value of a label map stands for.

    Attributes:
        lip: `int16` `[N]`: LIP's label of a value, `VOID_LABEL`, or -1 for a value
            that a map must not have; so must values of N and above.
        expected: The values that are allowed, for the message of an error.
    """

    lip: np.ndarray
    expected: str

    @classmethod
    def from_names(cls, names: dict[int, str], expected: str) -> "LabelTable":
        """A table from the LIP label's name, or `void`, of each value."""
        lip = np.full(max(names, default=0) + 1, -1, np.int16)
        for value, name in names.items():
            lip[value] = VOID_LABEL if name == VOID_NAME else LABELS.index(name)
        return cls(lip, expected)


LIP_TABLE = LabelTable.from_names(
    {**dict(enumerate(LABELS)), VOID_LABEL: VOID_NAME},
    f"labels 0 to {NUM_LABELS - 1}, or {VOID_LABEL} for void",
)


def _kind_of(data: bytes) -> str:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return f"a file of the format {image.format}"
    except (OSError, ValueError, SyntaxError):
        return "a file that is no picture"


def read_values(path: str | pathlib.Path) -> np.ndarray:
    """Reads a map: gray values, palette indices, or three equal channels.

    Args:
        path: A PNG file.

    Returns:
        `uint8` or `uint16` `[H, W]`.

    Raises:
        PortraitError: The file is missing, cut off or no PNG, whatever its name; or its
            channels differ.
    """
    path = pathlib.Path(path)
    data = read_image_bytes(path, "label map")
    # A JPEG's gray levels are near the labels, which is worse than none.
    if not data.startswith(PNG_SIGNATURE):
        raise PortraitError(
            path=path, expected="a PNG label map", received=_kind_of(data)
        )
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            # Indices of a palette are labels, whatever its colors, which may repeat.
            values = np.asarray(image.convert("L") if image.mode == "1" else image)
    except (OSError, ValueError, SyntaxError):
        raise PortraitError(
            "expected a PNG label map, cannot decode it", path=path
        ) from None
    if values.ndim == 3:
        colors = values[..., :3]
        if (colors != colors[..., :1]).any():
            raise PortraitError(
                path=path,
                expected="labels in one channel or in three equal ones",
                received="three that differ",
            )
        values = values[..., 0]
    return np.ascontiguousarray(values)


def read_parsing(path: str | pathlib.Path, table: LabelTable = LIP_TABLE) -> np.ndarray:
    """Reads a label map in LIP's labels.

    Args:
        path: A PNG file, as `read_values` expects it.
        table: What its values stand for.

    Returns:
        `uint8` `[H, W]`: LIP's labels 0 to 19, or 255 for void.

    Raises:
        PortraitError: As `read_values`, and for a value that is not in the table.
    """
    values = read_values(path)
    # One look-up a pixel: this is read for every sample of a training.
    lip = np.full(np.iinfo(values.dtype).max + 1, -1, np.int16)
    lip[: len(table.lip)] = table.lip[: len(lip)]
    labels = lip[values]
    if (labels < 0).any():
        raise PortraitError(
            path=path, expected=table.expected, received=values[labels < 0].max()
        )
    return labels.astype(np.uint8)
