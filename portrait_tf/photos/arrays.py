"""Pixels alone from files, and back: what data sets and reports need; by OpenCV."""

import pathlib

import cv2
import numpy as np

from portrait_tf.errors import PortraitError
from portrait_tf.files import write_result


def _jpeg_is_whole(data: bytes) -> bool:
    """Whether the first scan is followed by an end-of-image marker.

    The segments before the scan are skipped, as an embedded thumbnail has such a
    marker too; in the scan itself 0xFF is never followed by 0xD9.
    """
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker == 0xDA:
            return data.find(b"\xff\xd9", position) >= 0
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return False


def read_image_bytes(path: pathlib.Path, kind: str) -> bytes:
    """The content of an image file.

    Raises:
        PortraitError: The file is missing, or a JPEG or PNG that is cut off.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PortraitError(
            f"{path}: cannot read the {kind}: {error.strerror}"
        ) from None
    check_image_bytes(data, path, kind)
    return data


def check_image_bytes(data: bytes, name: str | pathlib.Path, kind: str) -> None:
    """Raises PortraitError: a JPEG or PNG that is cut off."""
    # OpenCV decodes what there is of a file that was cut off, with a warning only.
    if (data.startswith(b"\xff\xd8") and not _jpeg_is_whole(data)) or (
        data.startswith(b"\x89PNG") and b"IEND" not in data
    ):
        raise PortraitError(
            f"{name}: expected a whole {kind}, received a file that is cut off"
        )


def decode_image(data: bytes, flags: int) -> np.ndarray | None:
    """Decodes with OpenCV's flags; None where that cannot be done."""
    if not data:
        return None
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None


def read_photo(path: str | pathlib.Path, oriented: bool = True) -> np.ndarray:
    """Reads a photo.

    Args:
        path: A JPEG, PNG, WebP or BMP file.
        oriented: Whether it is turned as its EXIF orientation says, as a viewer does.

    Returns:
        RGB `uint8` `[H, W, 3]`.

    Raises:
        PortraitError: The file is missing, cut off, or no picture.
    """
    path = pathlib.Path(path)
    flags = cv2.IMREAD_COLOR | (0 if oriented else cv2.IMREAD_IGNORE_ORIENTATION)
    photo = decode_image(read_image_bytes(path, "photo"), flags)
    if photo is None:
        raise PortraitError(f"{path}: expected a JPEG or PNG photo, cannot decode it")
    return cv2.cvtColor(photo, cv2.COLOR_BGR2RGB)


def encode_png(picture: np.ndarray) -> bytes:
    """PNG bytes of RGB `[H, W, 3]` or grey `[H, W]`, `uint8`."""
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", picture)[1].tobytes()


def write_png(path: str | pathlib.Path, picture: np.ndarray) -> None:
    """Writes RGB `[H, W, 3]` or grey `[H, W]`, `uint8`, whole or not at all.

    Raises:
        PortraitError: The folder cannot be written to.
    """
    write_result(path, encode_png(picture))
