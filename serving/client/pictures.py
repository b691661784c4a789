"""Photos, masks and parsing maps as a user has them: arrays, paths, bytes of files.

What is read of a file before it is sent is its header, a few bytes: a file that was
cut off, or that unfolds to gigapixels, is refused here.
"""

import dataclasses
import os
import pathlib

import numpy as np

from portrait_tf.errors import PortraitError

Picture = np.ndarray | bytes | str | os.PathLike
"""An array, the bytes of an image file, or the path of one."""

MAX_PIXELS = 4096 * 4096
"""Of one photo, as a client's default."""

_PNG = b"\x89PNG\r\n\x1a\n"
_FORMATS = "JPEG, PNG, WebP, BMP or GIF"
_STARTS_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


@dataclasses.dataclass(frozen=True)
class Header:
    """What the first bytes of an image file say.

    Attributes:
        format: `JPEG`, `PNG`, `WebP`, `BMP` or `GIF`.
        size: Stored height and width in pixels; None where the file ends before.
        orientation: EXIF's 1 to 8; from 5 on a viewer shows it with sides exchanged.
        is_whole: Whether the file goes to its end.
    """

    format: str
    size: tuple[int, int] | None
    orientation: int
    is_whole: bool


@dataclasses.dataclass(frozen=True)
class PictureFile:
    """An image file that was checked.

    Attributes:
        content: Its bytes.
        name: Its path, or "the image" where only bytes were given.
        header: What it says of itself; None for a format that is not known here.
    """

    content: bytes
    name: str
    header: Header | None


def read_header(content: bytes) -> Header | None:
    """Reads format, size and orientation; None for a format that is not known."""
    if content.startswith(b"\xff\xd8"):
        return _read_jpeg(content)
    if content.startswith(_PNG):
        return _read_png(content)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        end = 8 + int.from_bytes(content[4:8], "little")
        return Header("WebP", _webp_size(content), 1, len(content) >= end)
    if content.startswith(b"BM") and len(content) >= 26:
        width, height = (
            int.from_bytes(content[at : at + 4], "little", signed=True)
            for at in (18, 22)
        )
        # A negative height means that rows go from the top.
        end = int.from_bytes(content[2:6], "little")
        return Header("BMP", (abs(height), abs(width)), 1, len(content) >= end)
    if content.startswith((b"GIF87a", b"GIF89a")):
        size = None
        if len(content) >= 10:
            width, height = (
                int.from_bytes(content[at : at + 2], "little") for at in (6, 8)
            )
            size = height, width
        return Header("GIF", size, 1, content.rstrip(b"\0").endswith(b";"))
    return None


def open_file(
    picture: bytes | str | os.PathLike,
    kind: str,
    max_pixels: int,
    *,
    known: bool = True,
) -> PictureFile:
    """The content of an image file, checked without decoding it.

    Args:
        picture: A path, or the bytes.
        kind: What it is, for messages: `image`, `mask`, `parsing map`.
        max_pixels: More are refused.
        known: Whether a format that is not known here is refused, too.

    Raises:
        PortraitError: It is neither path nor bytes, cannot be read, is empty, cut off,
            too large or (if `known`) no image file.
    """
    name = f"the {kind}"
    if isinstance(picture, str | os.PathLike):
        name = os.fspath(picture)
        try:
            picture = pathlib.Path(picture).read_bytes()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise PortraitError(f"{name}: cannot read the {kind}: {reason}") from None
    elif not isinstance(picture, bytes):
        raise PortraitError(
            f"the {kind} is {describe(picture)}; expected a numpy array of uint8, a"
            " path, or the bytes of an image file"
        )
    if not picture:
        raise PortraitError(
            f"{name} has 0 bytes; expected the content of an image file"
        )
    header = read_header(picture)
    if header is None and known:
        raise PortraitError(
            f"{name} is no image file that is known here; expected {_FORMATS}"
        )
    if header is not None and not (header.is_whole and header.size):
        raise PortraitError(
            f"{name} is a {header.format} file that is cut off after {len(picture)}"
            " bytes; expected a whole one"
        )
    if header is not None:
        check_pixels(header.size, max_pixels, name)
    return PictureFile(picture, name, header)


def check_pixels(size: tuple[int, int], max_pixels: int, name: str) -> None:
    """Raises PortraitError: no pixel, or more than the cap."""
    height, width = size
    if not 1 <= height * width <= max_pixels:
        raise PortraitError(
            f"{name} has {height}x{width} pixels (height x width); expected 1 to"
            f" {max_pixels} in all, the client's max_pixels"
        )


def shown_size(header: Header) -> tuple[int, int]:
    """Height and width as a viewer shows the picture."""
    return header.size[::-1] if header.orientation >= 5 else header.size


def decode_photo(file: PictureFile) -> np.ndarray:
    """RGB `uint8` `[H, W, 3]`, turned as its EXIF orientation says.

    Raises:
        PortraitError: It cannot be decoded.
    """
    import cv2

    photo = _decode(file, cv2.IMREAD_COLOR)
    return cv2.cvtColor(photo, cv2.COLOR_BGR2RGB)


def decode_mask(file: PictureFile) -> tuple[np.ndarray, bool]:
    """`uint8` `[H, W]`, non-zero = hole, and whether the file itself says the same.

    JPEG writes small values near 0 where there was 0: there the hole is what is above
    127, and the file is not to be sent.

    Raises:
        PortraitError: It cannot be decoded.
    """
    import cv2

    mask = _decode(file, cv2.IMREAD_GRAYSCALE)
    if file.header.format == "JPEG":
        return np.where(mask > 127, np.uint8(255), np.uint8(0)), False
    return mask, file.header.orientation == 1


def decode_map(file: PictureFile) -> np.ndarray:
    """The values of a PNG of 8-bit grey: `uint8` `[H, W]`.

    Raises:
        PortraitError: It is another kind of file; a palette's or a JPEG's values are
            not labels.
    """
    import cv2

    if not (file.header.format == "PNG" and file.content[24:26] == b"\x08\x00"):
        raise PortraitError(
            f"{file.name} is another kind of file than expected: a PNG whose 8-bit grey"
            " values are the labels"
        )
    return _decode(file, cv2.IMREAD_UNCHANGED)


def decode_answer(content: bytes, channels: int) -> np.ndarray | None:
    """A PNG of the server: `uint8` `[H, W, channels]`; None where it is none."""
    import cv2

    from portrait_tf.photos import decode_image

    if channels == 1:
        values = decode_image(content, cv2.IMREAD_GRAYSCALE)
        return None if values is None else values[..., np.newaxis]
    picture = decode_image(content, cv2.IMREAD_COLOR)
    return None if picture is None else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def describe(value: object) -> str:
    """What somebody gave, for messages."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} and shape {list(value.shape)}"
    return f"a {type(value).__name__}"


def _decode(file: PictureFile, flags: int) -> np.ndarray:
    import cv2

    from portrait_tf.photos import check_image_bytes, decode_image

    check_image_bytes(file.content, file.name, "picture")
    if file.header.orientation == 1:
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    picture = decode_image(file.content, flags)
    if picture is None:
        raise PortraitError(
            f"{file.name} cannot be decoded; expected a {file.header.format} picture as"
            " its first bytes say"
        )
    return picture


def _read_jpeg(content: bytes) -> Header:
    size, orientation, position = None, 1, 2
    while position + 4 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker == 0xDA:
            # In the scan itself 0xFF is never followed by 0xD9.
            is_whole = content.find(b"\xff\xd9", position) >= 0
            return Header("JPEG", size, orientation, is_whole)
        length = int.from_bytes(content[position + 2 : position + 4], "big")
        segment = content[position + 4 : position + 2 + length]
        if marker in _STARTS_OF_FRAME and len(segment) >= 5:
            size = (
                int.from_bytes(segment[1:3], "big"),
                int.from_bytes(segment[3:5], "big"),
            )
        elif marker == 0xE1 and segment.startswith(b"Exif\0\0"):
            orientation = _exif_orientation(segment[6:])
        position += 2 + length
    return Header("JPEG", size, orientation, False)


def _read_png(content: bytes) -> Header:
    size, orientation, position = None, 1, len(_PNG)
    if len(content) >= 24 and content[12:16] == b"IHDR":
        width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
        size = height, width
    while position + 12 <= len(content):
        kind = content[position + 4 : position + 8]
        stop = position + 12 + int.from_bytes(content[position : position + 4], "big")
        if kind == b"IEND":
            return Header("PNG", size, orientation, True)
        if kind == b"eXIf" and stop <= len(content):
            orientation = _exif_orientation(content[position + 8 : stop - 4])
        position = stop
    return Header("PNG", size, orientation, False)


def _webp_size(content: bytes) -> tuple[int, int] | None:
    if len(content) < 30:
        return None
    if content[12:16] == b"VP8X":
        width, height = (
            1 + int.from_bytes(content[at : at + 3], "little") for at in (24, 27)
        )
    elif content[12:16] == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = (
            int.from_bytes(content[at : at + 2], "little") & 0x3FFF for at in (26, 28)
        )
    return height, width


def _exif_orientation(tiff: bytes) -> int:
    """The orientation tag of an EXIF block's first folder; 1 where there is none."""
    order = {b"II": "little", b"MM": "big"}.get(tiff[:2])
    if order is None:
        return 1

    def number(at: int, size: int) -> int:
        return int.from_bytes(tiff[at : at + size], order)

    start = number(4, 4)
    for entry in range(start + 2, start + 2 + 12 * number(start, 2), 12):
        if entry + 12 > len(tiff):
            break
        if number(entry, 2) == 0x0112:
            value = number(entry + 8, 2)
            return value if 1 <= value <= 8 else 1
    return 1
