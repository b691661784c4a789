"""Completed photos written back into a photographer's files.

Known pixels are those of the file, whatever its depth and channels: formats without
loss store them bit for bit. JPEG and its like are encoded again, as gently as possible:
with the photo's own quantization tables, on its own block grid.
"""

import dataclasses
import io
import pathlib
import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image

from portrait_tf.errors import PortraitError
from portrait_tf.files import write_result
from portrait_tf.photos import containers, tiff
from portrait_tf.photos.orientation import (
    EXIF_PREFIX,
    patch_exif,
    patch_xmp,
    turn_back,
    turn_upright,
)
from portrait_tf.photos.photo_file import PhotoFile, as_bytes, over_white
from portrait_tf.photos.reading import FORMATS, check_installed

EXTENSIONS = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "TIFF": ".tif",
    "BMP": ".bmp",
    "HEIF": ".heic",
    "AVIF": ".avif",
}
"""Extensions of the formats that photos are written in, by Pillow's names."""

_INSTEAD = "PNG"
"""Replaces formats that are read only: it keeps their pixels bit for bit."""

_QUALITY = {"JPEG": 95, "WEBP": 90, "HEIF": 90, "AVIF": 90}
"""Defaults where neither the user nor the photo's own coding says anything."""

_LUMA = np.array([299, 587, 114], np.uint32)


def format_of(path: str | pathlib.Path) -> str:
    """The format that a file's extension stands for.

    Raises:
        PortraitError: Photos are not written in this format, or it is not installed.
    """
    suffix = pathlib.Path(path).suffix.lower()
    if FORMATS.get(suffix) not in EXTENSIONS:
        written = [name for name, format in FORMATS.items() if format in EXTENSIONS]
        raise PortraitError(
            f"expected an extension of {', '.join(written)}, received "
            f"{suffix or 'none'}"
            + (", which is read only" if suffix in FORMATS else ""),
            path=path,
        )
    check_installed(FORMATS[suffix], "to write")
    return FORMATS[suffix]


def output_name(name: pathlib.PurePath, format: str | None = None) -> pathlib.PurePath:
    """The name of a photo's result.

    Args:
        name: The photo's.
        format: Pillow's name; None for the photo's own, or PNG where that is read only.
    """
    own = FORMATS.get(name.suffix.lower())
    if not format and own and own not in EXTENSIONS:
        format = _INSTEAD
    return name.with_suffix(EXTENSIONS[format]) if format else name


def format_named(name: str) -> str:
    """Pillow's name of a format that a user calls `png`, `JPEG` or `jpg`.

    Raises:
        PortraitError: Photos are not written in this format, or it is not installed.
    """
    names = {known.lower(): known for known in EXTENSIONS}
    # As extensions have them: jpg, tif, heic.
    names |= {ending.lstrip("."): known for ending, known in FORMATS.items()}
    format = names.get(str(name).lower().lstrip("."))
    if format not in EXTENSIONS:
        raise PortraitError(
            expected=f"a format of {', '.join(EXTENSIONS).lower()}", received=repr(name)
        )
    check_installed(format, "to write")
    return format


def compose(
    photo: PhotoFile,
    completed: np.ndarray,
    hole: np.ndarray,
    origin: tuple[int, int] = (0, 0),
) -> np.ndarray:
    """Pastes the networks' answer into the hole of a photo.

    Args:
        photo: The photo as read.
        completed: RGB `uint8` `[H, W, 3]`, upright, at least as large as the photo.
        hole: `[H, W]`, non-zero = hole; covers everything outside the photo.
        origin: Row and column of the photo's corner in `completed`.

    Returns:
        `[H, W, C]` of the photo's type and channels; the hole is opaque.
    """
    top, left = origin
    height, width = photo.size
    pixels = np.zeros((*completed.shape[:2], photo.pixels.shape[2]), photo.pixels.dtype)
    pixels[top : top + height, left : left + width] = photo.pixels
    inside = hole != 0
    filled = completed[inside]
    if photo.is_gray:
        filled = ((filled @ _LUMA + 500) // 1000).astype(np.uint8)[:, None]
    if pixels.dtype == np.uint16:
        filled = filled.astype(np.uint16) * 257
    colors = filled.shape[1]
    if colors == pixels.shape[2]:
        pixels[inside] = filled
    else:
        opaque = np.full((len(filled), 1), np.iinfo(pixels.dtype).max, pixels.dtype)
        pixels[inside] = np.concatenate([filled, opaque], axis=1)
    return pixels


def write_photo(
    path: str | pathlib.Path,
    photo: PhotoFile,
    completed: np.ndarray,
    hole: np.ndarray,
    **options: Any,
) -> list[str]:
    """Writes what `encode_photo` makes, whole or not at all; gives its notes.

    Raises:
        PortraitError: The file cannot be written, or the format cannot hold the photo.
    """
    content, notes = encode_photo(path, photo, completed, hole, **options)
    write_result(path, content)
    return notes


def encode_photo(
    path: str | pathlib.Path,
    photo: PhotoFile,
    completed: np.ndarray,
    hole: np.ndarray,
    origin: tuple[int, int] = (0, 0),
    format: str | None = None,
    quality: int | None = None,
) -> tuple[bytes, list[str]]:
    """The file of a completed photo, in the way of the original.

    Args:
        path: What to call the file in messages; its extension does not matter.
        photo: The photo as read.
        completed: RGB `uint8` `[H, W, 3]`, upright, at least as large as the photo.
        hole: `[H, W]`, non-zero = hole; covers everything outside the photo.
        origin: Row and column of the photo's corner in `completed`.
        format: Pillow's name; None for the photo's own, or PNG where that is read only.
            In its own format a photo is stored as it was, turned or not; in another it
            is stored upright.
        quality: 1 to 100, for formats with loss.

    Returns:
        The file's content, and sentences on what the format could not keep.

    Raises:
        PortraitError: The format cannot hold the photo, or is not installed.
    """
    if quality is not None and quality not in range(1, 101):
        raise PortraitError(
            path=path, expected="a quality of 1 to 100", received=repr(quality)
        )
    format = format or (photo.format if photo.format in EXTENSIONS else _INSTEAD)
    check_installed(format, "to write")
    source, writer = photo, _Writer(photo, format, quality)
    if (stored := writer.own.get("premultiplied")) is not None:
        stored = turn_upright(stored, photo.orientation)
        source = dataclasses.replace(photo, pixels=stored)
    pixels = compose(source, completed, hole, origin)
    pixels = np.ascontiguousarray(turn_back(pixels, writer.orientation))
    height, width = pixels.shape[:2]
    try:
        content = writer.encode(pixels)
    except (OSError, ValueError, RuntimeError, OverflowError, struct.error) as error:
        raise PortraitError(
            f"a photo of {height}x{width} (height x width) cannot be written as "
            f"{format}: {error}",
            path=path,
        ) from None
    return content, writer.notes


class _Writer:
    """Turns pixels and metadata into the bytes of one format."""

    def __init__(self, photo: PhotoFile, format: str, quality: int | None) -> None:
        same = format == photo.format
        self.photo, self.format, self.quality = photo, format, quality
        self.own = photo.encoding if same else {}
        self.orientation = photo.orientation if same else 1
        self.notes: list[str] = []
        self.exif = self.xmp = None
        if not same and (tags := photo.encoding.get("not_in_exif")):
            names = ", ".join(map(str, tags))
            self.notes.append(f"TIFF tags that EXIF cannot hold: {names}")

    def encode(self, pixels: np.ndarray) -> bytes:
        photo = self.photo
        if photo.exif:
            self.exif = patch_exif(photo.exif, self.orientation, pixels.shape[:2])
        if photo.xmp:
            self.xmp = patch_xmp(photo.xmp, self.orientation)
        return {
            "JPEG": self._jpeg,
            "PNG": self._png,
            "WEBP": self._webp,
            "TIFF": self._tiff,
            "BMP": self._bmp,
            "HEIF": self._heif,
            "AVIF": self._avif,
        }[self.format](pixels)

    def _bytes(self, pixels: np.ndarray, alpha: bool) -> np.ndarray:
        """8 bits a channel, and alpha only where the format has it."""
        if pixels.dtype != np.uint8:
            self.notes.append("of 16 bits a channel, 8 are kept")
            pixels = as_bytes(pixels)
        if pixels.shape[2] in (2, 4) and not alpha:
            if (pixels[..., -1] < 255).any():
                self.notes.append("transparent parts were laid over white")
            gray = pixels.shape[2] == 2
            pixels = over_white(pixels)[..., : 1 if gray else 3]
        return pixels

    def _save(self, pixels: np.ndarray, **options: object) -> bytes:
        """Encodes by Pillow; options that are None are left out."""
        if pixels.shape[2] == 1:
            pixels = pixels[..., 0]
        file = io.BytesIO()
        options = {key: value for key, value in options.items() if value is not None}
        Image.fromarray(np.ascontiguousarray(pixels)).save(file, self.format, **options)
        return file.getvalue()

    def _save_described(self, pixels: np.ndarray, **options: object) -> bytes:
        """Encodes by Pillow, with profile, EXIF and XMP."""
        return self._save(
            pixels,
            icc_profile=self.photo.icc,
            exif=EXIF_PREFIX + self.exif if self.exif else None,
            xmp=self.xmp,
            **options,
        )

    def _dpi(self, limit: float) -> tuple[float, float] | None:
        """The resolution, where the format has numbers for it."""
        if self.photo.dpi and max(self.photo.dpi) >= limit:
            self.notes.append("the format cannot hold the resolution")
            return None
        return self.photo.dpi

    def _jpeg(self, pixels: np.ndarray) -> bytes:
        pixels = self._bytes(pixels, alpha=False)
        self.exif = self._fitting("EXIF", self.exif)
        self.xmp = self._fitting("XMP", self.xmp)
        options = self._jpeg_options(pixels.shape[2] == 1)
        content = self._save_described(pixels, dpi=self._dpi(0xFFFF), **options)
        unit, density = self.own.get("density", (None, None))
        if not density or content[2:4] != b"\xff\xe0":
            return content
        # JFIF's density as it was: Pillow writes whole dots an inch only.
        return content[:13] + struct.pack(">BHH", unit, *density) + content[18:]

    def _jpeg_options(self, gray: bool) -> dict[str, object]:
        options = {"optimize": True, "quality": self.quality or _QUALITY["JPEG"]}
        subsampling = max(self.own.get("subsampling", 0), 0)
        if not gray:
            options["subsampling"] = subsampling
        if self.own:
            options["progressive"] = self.own["progressive"]
            options["comment"] = self.own["comment"]
            options["extra"] = b"".join(
                containers.jpeg_segment(*segment) for segment in self.own["segments"]
            )
            if not self.quality and self.own["tables"]:
                luma, chroma = self.own["tables"][0], self.own["tables"][-1]
                tables = [luma] if gray else [luma, chroma]
                options["qtables"] = [table.ravel().tolist() for table in tables]
                del options["quality"]
        return options

    def _fitting(self, name: str, block: bytes | None) -> bytes | None:
        """A block that a segment of a JPEG can hold."""
        if block and len(block) > 65000:
            self.notes.append(f"a JPEG has no room for {name} of {len(block)} bytes")
            return None
        return block

    def _png(self, pixels: np.ndarray) -> bytes:
        if pixels.dtype == np.uint16:
            content = imagecodecs.png_encode(pixels)
        else:
            content = self._save(pixels)
        return containers.add_png_chunks(content, self._png_chunks())

    def _png_chunks(self) -> list[tuple[bytes, bytes]]:
        if self.own:
            return [
                (name, self.exif if name == b"eXIf" and self.exif else body)
                for name, body in dict.fromkeys(self.own["chunks"])
            ]
        chunks = []
        if self.photo.icc:
            profile = zlib.compress(self.photo.icc)
            chunks.append((b"iCCP", b"ICC profile\0\0" + profile))
        if dpi := self._dpi(0xFFFFFFFF * 0.0254):
            meter = [round(dots / 0.0254) for dots in dpi]
            body = b"".join(dots.to_bytes(4, "big") for dots in meter) + b"\x01"
            chunks.append((b"pHYs", body))
        if self.exif:
            chunks.append((b"eXIf", self.exif))
        if self.xmp:
            chunks.append((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + self.xmp))
        return chunks

    def _webp(self, pixels: np.ndarray) -> bytes:
        pixels = self._bytes(pixels, alpha=True)
        if pixels.shape[2] <= 2:
            gray = np.repeat(pixels[..., :1], 3, axis=2)
            pixels = np.concatenate([gray, pixels[..., 1:]], axis=2)
        # Without a word of the user, as the photo was: with loss or without.
        from_lossless = self.photo.format in ("PNG", "TIFF", "BMP", "GIF")
        lossless = not self.quality and self.own.get("lossless", from_lossless)
        quality = 80 if lossless else self.quality or _QUALITY["WEBP"]
        return self._save_described(
            pixels, lossless=lossless, quality=quality, exact=True
        )

    def _tiff(self, pixels: np.ndarray) -> bytes:
        if self.own:
            return tiff.encode_tiff(
                pixels,
                self.own["tags"].replaced(icc=self.photo.icc, xmp=self.xmp),
                self.orientation,
                self.own["compressed"],
                "premultiplied" in self.own,
            )
        tags = tiff.Tags.read(self.exif) if self.exif else tiff.Tags()
        tags = tags.replaced(self.photo.icc, self.xmp, self.photo.dpi)
        return tiff.encode_tiff(pixels, tags)

    def _bmp(self, pixels: np.ndarray) -> bytes:
        pixels = self._bytes(pixels, alpha=False)
        for name, kept in (
            ("EXIF", self.exif),
            ("XMP", self.xmp),
            ("color profile", self.photo.icc),
        ):
            if kept:
                self.notes.append(f"a BMP has no place for the {name}")
        return self._save(pixels, dpi=self._dpi(0x7FFFFFFF * 0.0254))

    def _heif(self, pixels: np.ndarray) -> bytes:
        return self._save_described(
            self._bytes(pixels, alpha=True),
            quality=self.quality or _QUALITY["HEIF"],
            chroma=self.own.get("chroma"),
        )

    def _avif(self, pixels: np.ndarray) -> bytes:
        return self._save_described(
            self._bytes(pixels, alpha=True),
            quality=self.quality or _QUALITY["AVIF"],
            subsampling="4:4:4",
        )
