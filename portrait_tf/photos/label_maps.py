"""Reads label maps, and brings the labels of other data sets to LIP's."""

import io
import pathlib
import zlib
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from portrait_tf.errors import PortraitError
from portrait_tf.labels import LABELS, NUM_LABELS, VOID_LABEL, VOID_NAME
from portrait_tf.photos import decode_image, read_image_bytes

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _PALETTE = 0, 3


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


def _without_palette(data: bytes) -> tuple[bytes, int]:
    """Declares the indices of a colored PNG to be gray values.

    OpenCV gives such a picture's colors only, and a palette may repeat a color; the
    indices are what was annotated. Gray of few bits is spread over 0 to 255.

    Returns:
        The PNG, and what its decoded values are to be divided by.
    """
    if not data.startswith(_SIGNATURE) or data[25:26] != bytes([_PALETTE]):
        return data, 1
    header = b"IHDR" + data[16:25] + bytes([_GRAY]) + data[26:29]
    chunks = [_SIGNATURE, data[8:12], header, zlib.crc32(header).to_bytes(4, "big")]
    position = 33
    while position + 8 <= len(data):
        stop = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] not in (b"PLTE", b"tRNS", b"bKGD"):
            chunks.append(data[position:stop])
        position = stop
    return b"".join(chunks), {1: 255, 2: 85, 4: 17}.get(data[24], 1)


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
    if not data.startswith(_SIGNATURE):
        raise PortraitError(
            path=path, expected="a PNG label map", received=_kind_of(data)
        )
    data, scale = _without_palette(data)
    values = decode_image(data, cv2.IMREAD_UNCHANGED)
    if values is None:
        raise PortraitError(f"{path}: expected a PNG label map, cannot decode it")
    if values.ndim == 3:
        colors = values[..., :3]
        if (colors != colors[..., :1]).any():
            raise PortraitError(
                path=path,
                expected="labels in one channel or in three equal ones",
                received="three that differ",
            )
        values = values[..., 0]
    return np.ascontiguousarray(values // scale if scale > 1 else values)


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
