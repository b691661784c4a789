"""Photos, masks and parsing maps as a user has them: arrays, paths, bytes of files.

What Pillow reads of a file before it is sent is its header: a file that was cut off, or
that unfolds to gigapixels, is refused here.
"""

import dataclasses
import io
import os
import re

import numpy as np
from PIL import Image, ImageOps
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from portrait_tf.errors import PortraitError
from portrait_tf.files import read_file

Picture = np.ndarray | bytes | str | os.PathLike
"""An array, the bytes of an image file, or the path of one."""

MAX_PIXELS = 4096 * 4096
"""Of one photo, as a client's default."""

# Pillow's `open` has a limit of pixels of its own, the classes have none.
_FORMATS = {
    "JPEG": (rb"\xff\xd8", JpegImageFile),
    "PNG": (rb"\x89PNG\r\n\x1a\n", PngImageFile),
    "WebP": (rb"(?s)RIFF....WEBP", WebPImageFile),
    "BMP": (rb"BM", BmpImageFile),
    "GIF": (rb"GIF8[79]a", GifImageFile),
}
_END_OF_JPEG = b"\xff\xd9"
_END_OF_PNG = b"\0\0\0\0IEND\xaeB`\x82"
_ORIENTATION = 0x0112


@dataclasses.dataclass(frozen=True)
class PictureFile:
    """An image file that was checked.

    Attributes:
        content: Its bytes.
        name: Its path, or "the image" where only bytes were given.
        format: `JPEG`, `PNG`, `WebP`, `BMP` or `GIF`.
        picture: As Pillow opened it; not decoded yet.
        orientation: EXIF's 1 to 8; from 5 on a viewer shows it with sides exchanged.
    """

    content: bytes
    name: str
    format: str
    picture: Image.Image
    orientation: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width as a viewer shows the picture."""
        width, height = self.picture.size
        return (width, height) if self.orientation >= 5 else (height, width)


def open_file(
    picture: bytes | str | os.PathLike,
    kind: str,
    max_pixels: int,
    *,
    known: bool = True,
) -> PictureFile | None:
    """The content of an image file, checked without decoding it.

    Args:
        picture: A path, or the bytes.
        kind: What it is, for messages: `image`, `mask`, `parsing map`.
        max_pixels: More are refused.
        known: Refuse a format that is not known here; False gives None for it.

    Raises:
        PortraitError: It is neither path nor bytes, cannot be read, is empty, cut off,
            too large or (if `known`) no image file.
    """
    name = f"the {kind}"
    if isinstance(picture, str | os.PathLike):
        name = os.fspath(picture)
        picture = read_file(picture, kind)
    elif not isinstance(picture, bytes):
        raise PortraitError(
            f"the {kind} is {describe(picture)}; expected a numpy array of uint8, a"
            " path, or the bytes of an image file"
        )
    if not picture:
        raise PortraitError(
            f"{name} has 0 bytes; expected the content of an image file"
        )
    for format, (start, opener) in _FORMATS.items():
        if re.match(start, picture):
            return _open_known(picture, name, format, opener, max_pixels)
    if not known:
        return None
    raise PortraitError(
        f"{name} is no image file that is known here; expected {', '.join(_FORMATS)}"
    )


def _open_known(
    content: bytes, name: str, format: str, opener: type, max_pixels: int
) -> PictureFile:
    try:
        image = opener(io.BytesIO(content))
        scan = image.fp.tell()
        orientation = 1
        # For a PNG Pillow decodes all of it to look behind the pixels.
        if format != "PNG" or b"eXIf" in content:
            orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # Pillow's decoders raise many kinds.
        raise _cut_off(content, name, format) from None
    check_pixels(image.size[::-1], max_pixels, name)
    # In the scan itself 0xFF is never followed by 0xD9.
    if (format == "JPEG" and content.find(_END_OF_JPEG, scan) < 0) or (
        format == "PNG" and _END_OF_PNG not in content
    ):
        raise _cut_off(content, name, format)
    file = PictureFile(
        content, name, format, image, orientation if orientation in range(1, 9) else 1
    )
    if format in ("BMP", "GIF"):
        _load(file)
    return file


def _cut_off(content: bytes, name: str, format: str) -> PortraitError:
    return PortraitError(
        f"{name} is a {format} file that is cut off or damaged, of {len(content)}"
        " bytes; expected a whole one"
    )


def check_pixels(size: tuple[int, int], max_pixels: int, name: str) -> None:
    """Raises PortraitError: no pixel, or more than the cap."""
    height, width = size
    if not 1 <= height * width <= max_pixels:
        raise PortraitError(
            f"{name} has {height}x{width} pixels (height x width); expected 1 to"
            f" {max_pixels} in all, the client's max_pixels"
        )


def decode_photo(file: PictureFile) -> np.ndarray:
    """RGB `uint8` `[H, W, 3]`, turned as EXIF says; PortraitError if damaged."""
    return _decode(file, "RGB")


def decode_mask(file: PictureFile) -> tuple[np.ndarray, bool]:
    """`uint8` `[H, W]`, non-zero = hole, and whether the file itself says the same.

    JPEG writes small values where there was 0, so there the hole is what is above 127,
    and the file is not to be sent. PortraitError for a damaged file.
    """
    mask = _decode(file, "L")
    if file.format == "JPEG":
        return np.where(mask > 127, np.uint8(255), np.uint8(0)), False
    return mask, file.orientation == 1


def decode_map(file: PictureFile) -> np.ndarray:
    """The values of a PNG of 8-bit gray, `uint8` `[H, W]`; PortraitError for others.

    The values of a palette or of a JPEG are not labels.
    """
    if not (file.format == "PNG" and file.content[24:26] == b"\x08\x00"):
        raise PortraitError(
            f"{file.name} is another kind of file than expected: a PNG whose 8-bit gray"
            " values are the labels"
        )
    return _decode(file, "L")


def decode_answer(
    content: bytes, size: tuple[int, int], channels: int
) -> np.ndarray | None:
    """A PNG of the server: `uint8` `[H, W, channels]`; None for another size."""
    try:
        image = PngImageFile(io.BytesIO(content))
        if image.size != (size[1], size[0]):
            return None
        pixels = np.array(image.convert("L" if channels == 1 else "RGB"))
    except Exception:  # As above.
        return None
    return pixels.reshape(*size, channels)


def encode_png(picture: np.ndarray) -> bytes:
    """PNG bytes of RGB `[H, W, 3]` or gray `[H, W]`, `uint8`."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def describe(value: object) -> str:
    """What somebody gave, for messages."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} and shape {list(value.shape)}"
    return f"a {type(value).__name__}"


def _load(file: PictureFile) -> Image.Image:
    try:
        file.picture.load()
    except Exception:  # As above.
        raise _cut_off(file.content, file.name, file.format) from None
    return file.picture


def _decode(file: PictureFile, mode: str) -> np.ndarray:
    """8 bits, upright; transparency is left out, as TensorFlow does."""
    image = _load(file)
    if file.orientation != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image.info.pop("transparency", None)
    return np.array(image.convert(mode))
