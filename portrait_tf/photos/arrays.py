"""Pixels alone, without what files say of them; by OpenCV."""

import pathlib
import struct

import cv2
import numpy as np

from portrait_tf.errors import PortraitError
from portrait_tf.files import read_file, write_result
from portrait_tf.photos import containers


def read_image_bytes(path: pathlib.Path, kind: str) -> bytes:
    """The content of an image file.

    Raises:
        PortraitError: The file is missing, or a JPEG or PNG that is cut off or damaged.
    """
    data = read_file(path, kind)
    check_image_bytes(data, path, kind)
    return data


def check_image_bytes(data: bytes, name: str | pathlib.Path, kind: str) -> None:
    """Checks what decoders only warn of.

    Raises:
        PortraitError: A JPEG, PNG or JPEG 2000 that is cut off or damaged.
    """
    # Decoders go on with what there is, and only warn of the rest.
    damage = None
    if data.startswith(b"\xff\xd8"):
        whole = containers.jpeg_is_whole(data)
        damage = containers.jpeg_damage(data) if whole else containers.CUT_OFF
    elif data.startswith(b"\x89PNG"):
        damage = containers.png_damage(data)
    elif data.startswith(containers.JPEG_2000):
        try:
            damage = containers.jpeg2000_damage(data)
        except struct.error:
            damage = containers.CUT_OFF
    if damage == containers.CUT_OFF:
        raise PortraitError(
            path=name, expected=f"a whole {kind}", received="a file that is cut off"
        )
    if damage:
        raise PortraitError(
            path=name, expected=f"a whole {kind}", received=f"a damaged file ({damage})"
        )


def decode_image(data: bytes, flags: int) -> np.ndarray | None:
    """Decodes with OpenCV's flags, silently; None where that cannot be done.

    Args:
        data: Of an image file that is whole: see `check_image_bytes`.
        flags: `cv2.IMREAD_...`.
    """
    if not data:
        return None
    if data.startswith(containers.PNG_SIGNATURE):
        data = containers.png_pixels(data, (b"tRNS", b"eXIf"))
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None


def encode_png(picture: np.ndarray) -> bytes:
    """PNG bytes of RGB `[H, W, 3]` or gray `[H, W]`, `uint8`."""
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", picture)[1].tobytes()


def write_png(path: str | pathlib.Path, picture: np.ndarray) -> None:
    """Writes RGB `[H, W, 3]` or gray `[H, W]`, `uint8`, whole or not at all.

    Raises:
        PortraitError: The folder cannot be written to.
    """
    write_result(path, encode_png(picture))
