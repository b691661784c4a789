"""TIFF of 8 and 16 bits, read and written by tifffile.

Tags are copied byte for byte, except the EXIF and GPS folders: their values lie at
absolute offsets, so Pillow parses and packs them.
"""

import dataclasses
import fractions
import io
import logging
import math
import pathlib
import struct
from typing import Any

import numpy as np
import tifffile
from PIL import Image, TiffImagePlugin, TiffTags

from portrait_tf.errors import PortraitError
from portrait_tf.photos import containers
from portrait_tf.photos.photo_file import PhotoFile, from_cmyk

_COMPRESSIONS = {
    1: "none",
    5: "LZW",
    7: "JPEG",
    8: "Deflate",
    32946: "Deflate",
    32773: "PackBits",
    34925: "LZMA",
    50000: "Zstandard",
    50001: "WebP",
}
"""Compressions whose decoders fail at damage; others, such as fax, go on past it."""

_JPEG = 7
_WHITE_IS_ZERO, _GRAY, _RGB, _PALETTE, _INKS, _YCBCR = 0, 1, 2, 3, 5, 6
_COLORS = {_WHITE_IS_ZERO: 1, _GRAY: 1, _RGB: 3, _PALETTE: 1, _INKS: 4, _YCBCR: 3}
"""Samples per pixel of each photometric interpretation, without extra samples."""

_UNSPECIFIED, _PREMULTIPLIED = 0, 1
_ROWS = 256

_STRUCTURE = {
    *(254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 274, 277, 278, 279, 280, 281),
    *(284, 288, 289, 290, 291, 292, 293, 301, 317, 318, 319, 320, 321, 322, 323, 324),
    *(325, 330, 332, 333, 334, 336, 338, 339, 340, 341, 347, 400, 512, 513, 514, 515),
    *(517, 518, 519, 520, 521, 529, 530, 531, 532, 32997, 32998, 37724, 50784),
}
"""Tags of how pixels are stored, and Photoshop's layers: all of it is written anew."""

_ORIENTATION, _ICC, _XMP, _PHOTOSHOP, _IPTC = 274, 34675, 700, 34377, 33723
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 282, 283, 296
_WRITTEN_BY_TIFFFILE = (_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT)
_INCHES = {2: 1.0, 3: 2.54}
_FOLDERS = {34665: "ExifTag", 34853: "GPSTag"}
_FOLDER_TYPES = (13, 18)
_RATIONALS = {5: "I", 10: "i"}

# Without a handler, Python writes tifffile's warnings to stderr.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


@dataclasses.dataclass
class Tags:
    """The tags of a TIFF that describe the photo, not how its pixels are stored.

    Attributes:
        byteorder: `<` or `>`.
        plain: Type and packed content of each tag.
        folders: Values of the EXIF and GPS folders, by tag.
    """

    byteorder: str = "<"
    plain: dict[int, tuple[int, bytes]] = dataclasses.field(default_factory=dict)
    folders: dict[int, dict[int, Any]] = dataclasses.field(default_factory=dict)

    @classmethod
    def read(cls, data: bytes) -> "Tags":
        """Reads the tags of a TIFF file, or of an EXIF block without its prefix."""
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            return cls._of(file, data)

    @classmethod
    def _of(cls, file: tifffile.TiffFile, data: bytes) -> "Tags":
        page, exif = file.pages.first, _directory(file, data)
        plain = {
            tag.code: (
                int(tag.dtype),
                data[tag.valueoffset : tag.valueoffset + tag.valuebytecount],
            )
            for tag in page.tags
            if tag.code not in _STRUCTURE | TiffTags.TAGS_V2_GROUPS.keys()
            and tag.dtype not in _FOLDER_TYPES
        }
        folders = {
            tag: _directory(file, data, exif[tag], tag)
            for tag in _FOLDERS
            if isinstance(exif.get(tag), int)
        }
        return cls(
            file.byteorder, plain, {tag: one for tag, one in folders.items() if one}
        )

    def replaced(
        self,
        icc: bytes | None,
        xmp: bytes | None,
        dpi: tuple[float, float] | None = None,
    ) -> "Tags":
        """The tags with another profile and XMP, and another resolution if given."""
        plain = {tag: one for tag, one in self.plain.items() if tag != _ICC}
        if icc:
            plain[_ICC] = (7, icc)
        if xmp:
            plain[_XMP] = (1, xmp)
        if dpi:
            for tag, dots in zip((_X_RESOLUTION, _Y_RESOLUTION), dpi, strict=True):
                ratio = fractions.Fraction(dots).limit_denominator(1000)
                plain[tag] = (
                    5,
                    struct.pack(f"{self.byteorder}2I", *ratio.as_integer_ratio()),
                )
            plain[_RESOLUTION_UNIT] = (3, struct.pack(f"{self.byteorder}H", 2))
        return dataclasses.replace(self, plain=plain)

    def content(self, tag: int) -> bytes | None:
        """The packed content of a tag, if it is there."""
        return self.plain[tag][1] if tag in self.plain else None


def _directory(
    file: tifffile.TiffFile,
    data: bytes,
    offset: int | None = None,
    group: int | None = None,
) -> dict[int, Any]:
    """A folder of tags as Pillow parses it; by default the file's first."""
    # Pillow's `Exif` takes a big-endian BigTIFF for a classic file.
    head = b"II+\0" + bytes(12) if file.is_bigtiff else b"II*\0" + bytes(4)
    prefix = b"II" if file.byteorder == "<" else b"MM"
    folder = TiffImagePlugin.ImageFileDirectory_v2(head, prefix, group)
    source = io.BytesIO(data)
    source.seek(file.pages.first.offset if offset is None else offset)
    folder.load(source)
    return {
        tag: value[0] if isinstance(value, tuple) and len(value) == 1 else value
        for tag, value in folder.items()
    }


def is_tiff(data: bytes) -> bool:
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def decode_tiff(data: bytes, name: str | pathlib.Path, kind: str) -> PhotoFile:
    """Decodes a TIFF.

    Args:
        data: The file.
        name: What to call the file in messages; becomes `PhotoFile.path`.
        kind: What to call the picture in messages.

    Returns:
        The photo; its pixels are as stored, not turned upright.

    Raises:
        PortraitError: The compression, the numbers or the color model is not read.
        ValueError: The file is damaged.
        Image.DecompressionBombError: It is too large.
    """
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        if page.imagewidth * page.imagelength > 2 * Image.MAX_IMAGE_PIXELS:
            raise Image.DecompressionBombError
        _check_segments(page, data)
        _check_kind(page, name, kind)
        tags = Tags._of(file, data)
        photo = PhotoFile(name, "TIFF", np.empty((0, 0, 3), np.uint8))
        photo.icc, photo.xmp = tags.content(_ICC), tags.content(_XMP)
        orientation = page.tags.valueof(_ORIENTATION, 1)
        photo.orientation = orientation if orientation in range(1, 9) else 1
        photo.dpi = _dpi(page)
        photo.exif, left_out = _exif_block(_directory(file, data), tags)
        photo.encoding = {
            "tags": tags,
            "compressed": page.compression != 1,
            "not_in_exif": left_out,
        }
        if len(file.pages) > 1:
            photo.notes.append(
                f"of {len(file.pages)} pictures in the file, the first is kept"
            )
        stored = page.asarray(maxworkers=1)
        if page.planarconfig == 2 and page.samplesperpixel > 1:
            stored = np.moveaxis(stored, 0, -1)
        stored = stored.reshape(*stored.shape[:2], -1)
        photo.pixels = _photo_pixels(page, photo, stored)
    return photo


def _check_segments(page: tifffile.TiffPage, data: bytes) -> None:
    """Checks that all strips or tiles are there: tifffile fills gaps with zeros."""
    if page.imagewidth < 1 or page.imagelength < 1 or 0 in page.chunks:
        raise ValueError("strips or tiles without pixels")
    expected, offsets = math.prod(page.chunked), page.dataoffsets
    stored = min(len(offsets), len(page.databytecounts))
    if stored < expected:
        raise ValueError(f"{expected} strips or tiles expected, {stored} stored")
    segments = list(zip(offsets, page.databytecounts, strict=False))[:expected]
    if any(count < 1 or start + count > len(data) for start, count in segments):
        raise ValueError("strips or tiles are missing")
    total = sum(count for _, count in segments)
    if page.compression == 1 and total < page.nbytes * page.bitspersample // (
        8 * page.dtype.itemsize
    ):
        raise ValueError("bytes of pixels are missing")
    if page.photometric == _PALETTE and page.colormap is None:
        raise ValueError("the palette is missing")
    if page.compression == _JPEG:
        # libjpeg only warns of damage, and tifffile does not pass its warnings on.
        tables = page.tags.valueof(347, b"")
        for start, count in segments:
            picture = data[start : start + count]
            picture = tables[:-2] + picture[2:] if tables else picture
            if damage := containers.jpeg_damage(picture):
                raise ValueError(damage)


def _check_kind(page: tifffile.TiffPage, name: str | pathlib.Path, kind: str) -> None:
    """Raises PortraitError: the file is sound, but of a kind that is not read."""
    bits, model, samples = page.bitspersample, page.photometric, page.samplesperpixel
    whole = page.sampleformat in (1, 4)

    def refuse(expected: str, received: object) -> None:
        raise PortraitError(path=name, expected=expected, received=received)

    if page.compression not in _COMPRESSIONS:
        *others, last = dict.fromkeys(list(_COMPRESSIONS.values())[1:])
        refuse(
            "a TIFF that is uncompressed or compressed with "
            f"{', '.join(others)} or {last}",
            f"compression {int(page.compression)}",
        )
    if bits not in (1, 2, 4, 8, 16) or not whole:
        refuse(
            f"a {kind} with whole numbers of 8 or 16 bits",
            f"{bits} bits" + ("" if whole else ", signed or floating"),
        )
    plain = model in (_WHITE_IS_ZERO, _GRAY, _RGB)
    plain = plain and samples - _COLORS[model] in (0, 1)
    other = model not in _COLORS or (model == _YCBCR and page.compression != _JPEG)
    if other or (bits == 16 and not plain):
        refuse(
            f"a {kind} in {'gray or RGB' if bits == 16 else 'gray, RGB or CMYK'}",
            f"{samples} channels of {bits} bits of another color model",
        )


def _dpi(page: tifffile.TiffPage) -> tuple[float, float] | None:
    unit = _INCHES.get(page.tags.valueof(_RESOLUTION_UNIT, 2))
    found = [page.tags.valueof(tag, (0, 0)) for tag in (_X_RESOLUTION, _Y_RESOLUTION)]
    if not unit or not all(dots > 0 and parts > 0 for dots, parts in found):
        return None
    x, y = (dots / parts * unit for dots, parts in found)
    return x, y


def _photo_pixels(
    page: tifffile.TiffPage, photo: PhotoFile, stored: np.ndarray
) -> np.ndarray:
    """Pixels of a `PhotoFile`; adds notes on converted color models.

    Args:
        page: The page.
        photo: Gets the notes, the profile and the way alpha is stored.
        stored: `[H, W, samples]` as tifffile decodes them.
    """
    model, bits = page.photometric, page.bitspersample
    if model == _PALETTE:
        photo.notes.append("the palette was replaced by full colors")
        colors = (page.colormap.T >> 8).astype(np.uint8)[stored[..., 0]]
    else:
        colors = stored[..., : _COLORS[model]]
        if bits < 8:
            colors = colors.astype(np.uint8) * np.uint8(255 // ((1 << bits) - 1))
        if model == _WHITE_IS_ZERO:
            colors = np.iinfo(colors.dtype).max - colors
        elif model == _INKS:
            colors, photo.icc = from_cmyk(np.ascontiguousarray(colors), photo.icc)
            photo.notes.append("CMYK was converted to RGB, and the output is RGB")
    alpha = stored[..., _COLORS[model] :][..., :1]
    meaning = page.extrasamples[0] if page.extrasamples else None
    if not alpha.size or (meaning == _UNSPECIFIED and bits == 8):
        return colors
    pixels = np.concatenate([colors, alpha], axis=-1)
    if meaning == _PREMULTIPLIED:
        photo.encoding["premultiplied"] = pixels
        if bits == 8 and pixels.shape[2] == 4:
            picture = Image.frombytes("RGBa", pixels.shape[1::-1], pixels.tobytes())
            return np.asarray(picture.convert("RGBA"))
    return pixels


def _exif_block(exif: dict[int, Any], tags: Tags) -> tuple[bytes | None, list[int]]:
    """An EXIF block for files of other formats.

    Args:
        exif: The file's first folder of tags.
        tags: All tags of the file.

    Returns:
        The block without its prefix, None if it is empty; and the tags that it cannot
        hold, such as numbers of 64 bits.
    """
    block, left_out = Image.Exif(), []
    for tag in tags.plain:
        if tag in (_ICC, _XMP, _PHOTOSHOP, _IPTC):
            continue
        if tag in exif and _fits(tag, exif[tag]):
            block[tag] = exif[tag]
        else:
            left_out.append(tag)
    for tag, folder in tags.folders.items():
        kept = {inner: value for inner, value in folder.items() if _fits(inner, value)}
        left_out += sorted(folder.keys() - kept.keys())
        block[tag] = kept
    content = block.tobytes().removeprefix(b"Exif\0\0") if len(block) else None
    return content, left_out


def _fits(tag: int, value: Any) -> bool:
    block = Image.Exif()
    block[tag] = value
    try:
        block.tobytes()
    except (struct.error, ValueError, TypeError, OverflowError, AttributeError):
        return False
    return True


def encode_tiff(
    pixels: np.ndarray,
    tags: Tags,
    orientation: int = 1,
    compressed: bool = True,
    premultiplied: bool = False,
) -> bytes:
    """Encodes one picture as a TIFF file.

    Args:
        pixels: `uint8` or `uint16` `[H, W, C]`: gray, gray and alpha, RGB, or RGBA.
        tags: What to say of the photo.
        orientation: EXIF orientation of the pixels.
        compressed: Whether strips are compressed with Deflate.
        premultiplied: Whether the colors are multiplied by alpha.
    """
    channels = pixels.shape[2]
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        pixels if channels > 1 else pixels[..., 0],
        byteorder=tags.byteorder,
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=[_PREMULTIPLIED if premultiplied else 2] * (channels in (2, 4)),
        rowsperstrip=_ROWS,
        compression="zlib" if compressed else None,
        metadata=None,
        software=False,
        extratags=[
            (_ORIENTATION, 3, 1, orientation, True),
            *(
                (tag, *_values(*packed, tags.byteorder), True)
                for tag, packed in tags.plain.items()
                if tag not in _WRITTEN_BY_TIFFFILE
            ),
            # By their names, as tifffile takes no number of a folder.
            *((_FOLDERS[tag], 4, 1, 8, True) for tag in tags.folders),
        ],
    )
    places = {}
    for tag, values in tags.folders.items():
        folder = TiffImagePlugin.ImageFileDirectory_v2(
            prefix=b"II" if tags.byteorder == "<" else b"MM", group=tag
        )
        folder.update(values)
        places[tag] = file.seek(0, io.SEEK_END)
        file.write(folder.tobytes(places[tag]))
    file.seek(0)
    with tifffile.TiffFile(file, mode="r+b") as written:
        page = written.pages.first
        for tag, place in places.items():
            page.tags[tag].overwrite(place)
        for tag in _WRITTEN_BY_TIFFFILE:
            if tag in tags.plain:
                page.tags[tag].overwrite(tags.content(tag))
    return file.getvalue()


def _values(dtype: int, content: bytes, byteorder: str) -> tuple[int, int, Any]:
    """Type, count and value of a tag, for tifffile."""
    if dtype in _RATIONALS:  # tifffile miscounts packed ones.
        values = struct.unpack(
            f"{byteorder}{len(content) // 4}{_RATIONALS[dtype]}", content
        )
        return dtype, len(values) // 2, values
    return dtype, len(content), content
