"""Completed photos back into a photographer's files.

Known pixels are those of the file that was read, whatever its depth and channels;
formats without loss store them bit for bit. JPEG and the like are encoded again, as
gently as can be: with the photo's own quantisation tables, on its own block grid.
"""

import io
import pathlib
import struct
import zlib

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
)
from portrait_tf.photos.reading import (
    FORMATS,
    PhotoFile,
    as_bytes,
    avif_is_supported,
    heif_is_installed,
    over_white,
)

EXTENSIONS = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "TIFF": ".tif",
    "BMP": ".bmp",
    "HEIF": ".heic",
    "AVIF": ".avif",
}
"""Of the formats that photos are written in, by Pillow's names."""

_INSTEAD = "PNG"
"""For photos of a format that is read only: it keeps their pixels bit for bit."""

_QUALITY = {"JPEG": 95, "WEBP": 90, "HEIF": 90, "AVIF": 90}
"""Without --quality, where the photo's own coding says nothing."""

_LUMA = np.array([299, 587, 114], np.uint32)


def format_of(path: str | pathlib.Path) -> str:
    """The format that a file's extension stands for.

    Raises:
        PortraitError: None that photos are written in; or one that is not installed.
    """
    suffix = pathlib.Path(path).suffix.lower()
    if FORMATS.get(suffix) not in EXTENSIONS:
        written = [name for name, format in FORMATS.items() if format in EXTENSIONS]
        raise PortraitError(
            f"{path}: expected an extension of {', '.join(written)}, received "
            f"{suffix or 'none'}"
            + (", which is read only" if suffix in FORMATS else "")
        )
    check_format(FORMATS[suffix])
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
    """The format of a name such as `png` or `JPEG`; Pillow's name of it.

    Raises:
        PortraitError: None that photos are written in; or HEIC without its extra.
    """
    names = {known.lower(): known for known in EXTENSIONS}
    # As extensions have them: jpg, tif, heic.
    names |= {
        ending.lstrip("."): known
        for ending, known in FORMATS.items()
        if known in EXTENSIONS
    }
    format = names.get(str(name).lower().lstrip("."))
    if format is None:
        raise PortraitError(
            f"expected a format of {', '.join(known.lower() for known in EXTENSIONS)}, "
            f"received {name!r}"
        )
    check_format(format)
    return format


def check_format(format: str) -> None:
    """Raises PortraitError: HEIC or AVIF is wanted, and is not installed."""
    if format == "HEIF" and not heif_is_installed():
        raise PortraitError(
            "to write HEIC, install the extra: pip install 'portrait-tf[heic]'"
        )
    if format == "AVIF" and not avif_is_supported():
        raise PortraitError(
            "to write AVIF, expected a Pillow that was built with it, such as its "
            "wheels of 11.3 and later"
        )


def compose(
    photo: PhotoFile,
    completed: np.ndarray,
    hole: np.ndarray,
    origin: tuple[int, int] = (0, 0),
) -> np.ndarray:
    """The photo's own pixels, and the answer in its hole.

    Args:
        photo: As it was read.
        completed: RGB `uint8` `[H, W, 3]`, upright; as large as the photo, or larger.
        hole: `[H, W]`, non-zero = hole; covers all that is not the photo.
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
    if photo.is_grey:
        filled = ((filled @ _LUMA + 500) // 1000).astype(np.uint8)[:, None]
    if pixels.dtype == np.uint16:
        filled = filled.astype(np.uint16) * 257
    colours = filled.shape[1]
    if colours == pixels.shape[2]:
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
    origin: tuple[int, int] = (0, 0),
    format: str | None = None,
    quality: int | None = None,
) -> list[str]:
    """Writes a completed photo like the one that was read, whole or not at all.

    Args:
        path: The file; its extension is not looked at.
        photo: As it was read.
        completed: As `compose` has it, and `hole` and `origin` likewise.
        hole: See `completed`.
        origin: See `completed`.
        format: Pillow's name; None for the photo's own, or PNG where that is read only.
            In its own format a photo is stored as it was, turned or not; in another it
            is upright.
        quality: 1 to 100, for formats with loss.

    Returns:
        Sentences on what the format could not keep.

    Raises:
        PortraitError: The file cannot be written, or the format cannot hold the photo.
    """
    content, notes = encode_photo(path, photo, completed, hole, origin, format, quality)
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
    """The content of the file that `write_photo` writes, and its notes.

    Args:
        path: What to call the file in messages; the others are as of `write_photo`.
        photo: See `path`.
        completed: See `path`.
        hole: See `path`.
        origin: See `path`.
        format: See `path`.
        quality: See `path`.

    Raises:
        PortraitError: The format cannot hold the photo.
    """
    format = format or (photo.format if photo.format in EXTENSIONS else _INSTEAD)
    check_format(format)
    same = format == photo.format
    orientation = photo.orientation if same else 1
    notes = []
    pixels = compose(photo, completed, hole, origin)
    pixels = np.ascontiguousarray(turn_back(pixels, orientation))
    size = pixels.shape[:2]
    writer = _Writer(photo, same, orientation, quality, notes)
    if not same and (tags := photo.encoding.get("not_in_exif")):
        notes.append(f"TIFF tags that EXIF cannot hold: {', '.join(map(str, tags))}")
    if photo.exif:
        writer.exif = patch_exif(photo.exif, orientation, size)
    if photo.xmp:
        writer.xmp = patch_xmp(photo.xmp, orientation)
    try:
        content = writer.encode(format, pixels)
    except (OSError, ValueError, RuntimeError, OverflowError, struct.error) as error:
        raise PortraitError(
            f"{path}: a photo of {size[0]}x{size[1]} (height x width) cannot be "
            f"written as {format}: {error}"
        ) from None
    return content, notes


def _with_density(
    content: bytes, unit: int | None, density: tuple[int, int] | None
) -> bytes:
    """JFIF's density as it was: Pillow writes whole dots an inch only."""
    if not density or content[2:4] != b"\xff\xe0":
        return content
    return content[:13] + struct.pack(">BHH", unit, *density) + content[18:]


class _Writer:
    """Pixels and metadata into the bytes of one format."""

    def __init__(
        self,
        photo: PhotoFile,
        same: bool,
        orientation: int,
        quality: int | None,
        notes: list[str],
    ) -> None:
        self.photo = photo
        self.own = photo.encoding if same else {}
        self.orientation = orientation
        self.quality = quality
        self.notes = notes
        self.exif = self.xmp = None
        self.icc = photo.icc

    def encode(self, format: str, pixels: np.ndarray) -> bytes:
        return {
            "JPEG": self._jpeg,
            "PNG": self._png,
            "WEBP": self._webp,
            "TIFF": self._tiff,
            "BMP": self._bmp,
            "HEIF": self._heif,
            "AVIF": self._avif,
        }[format](pixels)

    def _bytes(self, pixels: np.ndarray, alpha: bool) -> np.ndarray:
        """8 bits a channel, and alpha only where the format has it."""
        if pixels.dtype != np.uint8:
            self.notes.append("of 16 bits a channel, 8 are kept")
            pixels = as_bytes(pixels)
        if pixels.shape[2] in (2, 4) and not alpha:
            if (pixels[..., -1] < 255).any():
                self.notes.append("transparent parts were laid over white")
            grey = pixels.shape[2] == 2
            pixels = over_white(pixels)[..., : 1 if grey else 3]
        return pixels

    def _save(self, pixels: np.ndarray, format: str, **options: object) -> bytes:
        if pixels.shape[2] == 1:
            pixels = pixels[..., 0]
        file = io.BytesIO()
        options = {key: value for key, value in options.items() if value is not None}
        Image.fromarray(np.ascontiguousarray(pixels)).save(file, format, **options)
        return file.getvalue()

    def _jpeg(self, pixels: np.ndarray) -> bytes:
        pixels = self._bytes(pixels, alpha=False)
        options = {
            "quality": self.quality or _QUALITY["JPEG"],
            "subsampling": 0,
            "optimize": True,
        }
        if self.own:
            if self.own["subsampling"] >= 0:
                options["subsampling"] = self.own["subsampling"]
            options["progressive"] = self.own["progressive"]
            options["comment"] = self.own["comment"]
            segments = self.own["segments"]
            options["extra"] = b"".join(
                containers.jpeg_segment(*segment) for segment in segments
            )
            if not self.quality and self.own["tables"]:
                luma, chroma = self.own["tables"][0], self.own["tables"][-1]
                tables = [luma] if pixels.shape[2] == 1 else [luma, chroma]
                options["qtables"] = [table.ravel().tolist() for table in tables]
                del options["quality"]
        if pixels.shape[2] == 1:
            del options["subsampling"]
        exif, xmp = self._fitting("EXIF", self.exif), self._fitting("XMP", self.xmp)
        content = self._save(
            pixels,
            "JPEG",
            icc_profile=self.icc,
            exif=EXIF_PREFIX + exif if exif else None,
            xmp=xmp,
            dpi=self._dpi(0xFFFF),
            **options,
        )
        return _with_density(content, *self.own.get("density", (None, None)))

    def _dpi(self, most: float) -> tuple[float, float] | None:
        """The resolution, where the format has numbers for it."""
        if self.photo.dpi and max(self.photo.dpi) >= most:
            self.notes.append("the format cannot hold the resolution")
            return None
        return self.photo.dpi

    def _fitting(self, name: str, block: bytes | None) -> bytes | None:
        """A block that a segment of a JPEG can hold."""
        if block and len(block) > 65000:
            self.notes.append(f"a JPEG has no room for {name} of {len(block)} bytes")
            return None
        return block

    def _png(self, pixels: np.ndarray) -> bytes:
        if pixels.dtype == np.uint16:
            content = containers.encode_deep_png(pixels)
        else:
            content = self._save(pixels, "PNG")
        return containers.add_png_chunks(content, self._png_chunks())

    def _png_chunks(self) -> list[tuple[bytes, bytes]]:
        if self.own:
            chunks = dict.fromkeys(self.own["chunks"])
            return [self._patched(*chunk) for chunk in chunks]
        chunks = []
        if self.icc:
            chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(self.icc)))
        if dpi := self._dpi(0xFFFFFFFF * 0.0254):
            metre = [round(dots / 0.0254) for dots in dpi]
            body = b"".join(dots.to_bytes(4, "big") for dots in metre) + b"\x01"
            chunks.append((b"pHYs", body))
        if self.exif:
            chunks.append((b"eXIf", self.exif))
        if self.xmp:
            chunks.append((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + self.xmp))
        return chunks

    def _patched(self, name: bytes, body: bytes) -> tuple[bytes, bytes]:
        return (name, self.exif) if name == b"eXIf" and self.exif else (name, body)

    def _webp(self, pixels: np.ndarray) -> bytes:
        pixels = self._bytes(pixels, alpha=True)
        if pixels.shape[2] <= 2:
            grey = np.repeat(pixels[..., :1], 3, axis=2)
            pixels = np.concatenate([grey, pixels[..., 1:]], axis=2)
        # Without a word of the user, as the photo was: with loss or without.
        from_lossless = self.photo.format in ("PNG", "TIFF", "BMP", "GIF")
        lossless = not self.quality and self.own.get("lossless", from_lossless)
        return self._save(
            pixels,
            "WEBP",
            lossless=lossless,
            quality=80 if lossless else self.quality or _QUALITY["WEBP"],
            exact=True,
            icc_profile=self.icc,
            exif=EXIF_PREFIX + self.exif if self.exif else None,
            xmp=self.xmp,
        )

    def _tiff(self, pixels: np.ndarray) -> bytes:
        if self.own:
            return tiff.encode_tiff(
                pixels,
                self.own["tags"],
                self.orientation,
                self.own["compressed"],
                icc=self.icc,
                premultiplied=self.own["premultiplied"],
            )
        return tiff.encode_tiff(
            pixels,
            tiff.tags_from_exif(self.exif) if self.exif else {},
            icc=self.icc,
            xmp=self.xmp,
            dpi=self.photo.dpi,
        )

    def _bmp(self, pixels: np.ndarray) -> bytes:
        pixels = self._bytes(pixels, alpha=False)
        for name, kept in (
            ("EXIF", self.exif),
            ("XMP", self.xmp),
            ("colour profile", self.icc),
        ):
            if kept:
                self.notes.append(f"a BMP has no place for the {name}")
        return self._save(pixels, "BMP", dpi=self._dpi(0x7FFFFFFF * 0.0254))

    def _heif(self, pixels: np.ndarray) -> bytes:
        return self._save_with_exif(pixels, "HEIF", chroma=self.own.get("chroma"))

    def _avif(self, pixels: np.ndarray) -> bytes:
        return self._save_with_exif(pixels, "AVIF", subsampling="4:4:4")

    def _save_with_exif(
        self, pixels: np.ndarray, format: str, **options: object
    ) -> bytes:
        pixels = self._bytes(pixels, alpha=True)
        return self._save(
            pixels,
            format,
            quality=self.quality or _QUALITY[format],
            icc_profile=self.icc,
            exif=EXIF_PREFIX + self.exif if self.exif else None,
            xmp=self.xmp,
            **options,
        )
