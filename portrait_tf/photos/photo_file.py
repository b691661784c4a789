"""A photo in memory, with everything its file says beside the pixels."""

import dataclasses
import functools
import io
import pathlib
from typing import Any

import numpy as np
from PIL import Image, ImageCms


@dataclasses.dataclass
class PhotoFile:
    """A photo and its metadata.

    Attributes:
        path: The file; a string for the data given to `decode_photo`.
        format: Pillow's name, as in `portrait_tf.photos.FORMATS`.
        pixels: `uint8` or `uint16` `[H, W, C]`, upright: gray, gray and alpha, RGB, or
            RGBA.
        orientation: EXIF orientation of the stored pixels, 1 to 8.
        exif: EXIF block from its byte order on, or None.
        icc: Color profile of `pixels`, or None.
        xmp: XMP, or None.
        dpi: Pixels per inch, x and y, or None.
        encoding: Settings of the file's format, for `portrait_tf.photos.writing`.
        notes: Sentences on what cannot be kept.
    """

    path: str | pathlib.Path
    format: str
    pixels: np.ndarray
    orientation: int = 1
    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    encoding: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def alpha(self) -> np.ndarray | None:
        """`[H, W]`, of the type of `pixels`; None without an alpha channel."""
        return self.pixels[..., -1] if self.pixels.shape[2] in (2, 4) else None

    @property
    def is_gray(self) -> bool:
        return self.pixels.shape[2] <= 2

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, upright."""
        return self.pixels.shape[:2]

    def rgb(self) -> np.ndarray:
        """The networks' input: `uint8` `[H, W, 3]`, transparent parts over white.

        Editors leave any color in transparent pixels, and invisible colors should not
        guide the networks. The caller may change the array.
        """
        seen = over_white(self.pixels)
        return seen.copy() if np.may_share_memory(seen, self.pixels) else seen


def as_bytes(pixels: np.ndarray) -> np.ndarray:
    """Converts `uint16` to the nearest `uint8`; `uint8` is returned unchanged."""
    return pixels if pixels.dtype == np.uint8 else _nearest_byte()[pixels]


@functools.cache
def _nearest_byte() -> np.ndarray:
    return ((np.arange(1 << 16) + 128) // 257).astype(np.uint8)


def over_white(pixels: np.ndarray) -> np.ndarray:
    """Converts any pixels of a `PhotoFile` to RGB `uint8` `[H, W, 3]`."""
    pixels = as_bytes(pixels)
    channels = pixels.shape[2]
    colors = pixels[..., : 1 if channels <= 2 else 3]
    if channels in (2, 4):
        see_through = pixels[..., -1] < 255
        colors = colors.copy()
        alpha = pixels[see_through, -1:].astype(np.uint32)
        laid = colors[see_through] * alpha + 255 * (255 - alpha)
        colors[see_through] = (laid + 127) // 255
    if channels <= 2:
        colors = np.repeat(colors, 3, axis=2)
    return np.ascontiguousarray(colors)


def from_cmyk(inks: np.ndarray, icc: bytes | None) -> tuple[np.ndarray, bytes | None]:
    """Converts inks to RGB: by their profile to sRGB, else by Pillow's plain rule.

    Args:
        inks: `uint8` `[H, W, 4]`.
        icc: Profile of the inks, or None.

    Returns:
        `uint8` `[H, W, 3]`, and its profile.
    """
    image = Image.frombytes("CMYK", inks.shape[1::-1], inks.tobytes())
    if icc:
        target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        try:
            converted = ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(io.BytesIO(icc)),
                target,
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode="RGB",
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
            return np.asarray(converted), target.tobytes()
        except (ImageCms.PyCMSError, OSError):
            pass
    return np.asarray(image.convert("RGB")), None
