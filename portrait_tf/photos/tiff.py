"""TIFF of 8 and 16 bits; Pillow has no colour with 16.

Before anything is decoded, each strip or tile is checked to be there: libtiff and its
callers leave what is missing as the memory was.
"""

import contextlib
import dataclasses
import io
import itertools
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin, TiffTags, UnidentifiedImageError

from portrait_tf.errors import PortraitError
from portrait_tf.photos import containers
from portrait_tf.streams import filtered_stderr

_RAW, _LZW, _JPEG, _DEFLATE, _PACK_BITS = 1, 5, 7, 8, 32773
_LZMA, _ZSTD, _WEBP = 34925, 50000, 50001
_DEFLATES = (_DEFLATE, 32946)
_WITH_PREDICTOR = (_LZW, *_DEFLATES, _LZMA, _ZSTD)
_COMPRESSIONS = (_RAW, _JPEG, _PACK_BITS, _WEBP, *_WITH_PREDICTOR)
"""Those whose decoders fail at damage; others, such as fax, leave rows as they were."""

_YCBCR = 6
_ROWS = 256

_STRUCTURE = {
    *(254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 274, 277, 278, 279, 280, 281),
    *(284, 288, 289, 290, 291, 292, 293, 301, 317, 318, 319, 320, 321, 322, 323, 324),
    *(325, 330, 332, 333, 334, 336, 338, 339, 340, 341, 347, 512, 513, 514, 515, 517),
    *(518, 519, 520, 521, 529, 530, 531, 532, 37724, 50784),
}
"""Tags of how pixels are stored, and Photoshop's layers: all of it is written anew."""

_ORIENTATION, _ICC, _XMP = 274, 34675, 700
_PHOTOSHOP, _IPTC = 34377, 33723
_EXIF_FOLDERS = (34665, 34853)
_JPEG_TABLES = 347
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _INCH = 282, 283, 296, 2


_COMPLAINTS = re.compile(
    rb"^(?:_?TIFF\w+|\w*(?:Decode|Setup|State|Lib|Fax)\w*|tempfile\.tif)[:,] .*\n"
    rb"|^\w*: \w+ compression support is not configured.*\n",
    re.MULTILINE,
)
"""Of libtiff, in Pillow, which has no switch for them."""


class _AnyTiff(TiffImagePlugin.TiffImageFile):
    """Opens grey and alpha of 16 bits, too, which Pillow has no mode for."""

    def _setup(self) -> None:
        tags = self.tag_v2
        if tags.get(258) != (16, 16):
            super()._setup()
            return
        stored = {tag: tags[tag] for tag in (258, 277, 338) if tag in tags}
        tags[258], tags[277] = (16,), 1
        if 338 in tags:
            del tags[338]
        super()._setup()
        for tag, value in stored.items():
            tags[tag] = value


def open_tiff(data: bytes) -> Image.Image | None:
    """Opens a TIFF, as `Image.open` does; None of another file.

    Raises:
        UnidentifiedImageError: Pillow does not know its kind.
        Image.DecompressionBombError: It is too large.
    """
    if data[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return None
    try:
        image = _AnyTiff(io.BytesIO(data))
    except SyntaxError as error:
        raise UnidentifiedImageError(str(error)) from None
    if image.width * image.height > 2 * Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError
    return image


class TiffDamage(ValueError):
    """Pixels of a TIFF that are missing or damaged."""


@dataclasses.dataclass
class _Layout:
    """How the pixels lie in the file.

    Attributes:
        size: Height and width of the picture.
        block: Height and width of a strip or tile.
        tiled: Whether they are tiles.
        samples: Samples a pixel.
        planar: Whether each sample has strips or tiles of its own.
        bits: Bits a sample.
        segments: The strips or tiles, as stored.
    """

    size: tuple[int, int]
    block: tuple[int, int]
    tiled: bool
    samples: int
    planar: bool
    bits: int
    segments: list[memoryview]

    @property
    def blocks(self) -> tuple[int, int]:
        """Strips or tiles down and across, of one plane."""
        down, across = (
            -(-length // step)
            for length, step in zip(self.size, self.block, strict=True)
        )
        return down, across

    def expected_rows(self, index: int) -> int:
        """Rows of a strip or tile; the last strip may have fewer."""
        rows = self.block[0]
        if self.tiled:
            return rows
        return min(rows, self.size[0] - index % self.blocks[0] * rows)

    def expected_length(self, index: int) -> int:
        """Bytes of a strip or tile, uncompressed."""
        return self.expected_rows(index) * self._row_length

    @property
    def full_length(self) -> int:
        """Bytes of a full strip or tile, uncompressed."""
        return self.block[0] * self._row_length

    @property
    def _row_length(self) -> int:
        samples = 1 if self.planar else self.samples
        return (self.block[1] * samples * self.bits + 7) // 8


def _read_layout(image: Image.Image, data: bytes) -> _Layout:
    """Raises TiffDamage: strips or tiles are missing."""
    tags = image.tag_v2
    width, height = tags[256], tags[257]
    samples = tags.get(277, 1)
    tiled = 322 in tags
    if tiled:
        block = (tags.get(323, 0), tags[322])
    else:
        block = (min(tags.get(278, height), height), width)
    offsets, counts = (tags.get(tag) for tag in ((324, 325) if tiled else (273, 279)))
    offsets = offsets or ()
    if min(*block, samples, height, width) < 1:
        raise TiffDamage("strips or tiles without pixels")
    planar = tags.get(284, 1) == 2 and samples > 1
    bits = max(tags.get(258, (1,)))
    layout = _Layout((height, width), block, tiled, samples, planar, bits, [])
    down, across = layout.blocks
    number = down * across * (samples if planar else 1)
    if counts is None and number == 1 and len(offsets) == 1:
        counts = (len(data) - offsets[0],)  # Old writers leave the tag out.
    stored = min(len(offsets), len(counts or ()))
    if stored < number:
        raise TiffDamage(f"{number} strips or tiles expected, {stored} stored")
    view = memoryview(data)
    for start, count in zip(offsets[:number], counts[:number], strict=True):
        if count < 1 or start + count > len(data):
            raise TiffDamage("strips or tiles are missing")
        layout.segments.append(view[start : start + count])
    return layout


def check_tiff(image: Image.Image, data: bytes) -> None:
    """Checks that all strips or tiles are there, and whole as far as can be told.

    What only its decoder can tell, such as of LZW, is left to it.

    Args:
        image: As `open_tiff` has opened it.
        data: The file.

    Raises:
        TiffDamage: Some are missing, cut off or damaged.
        PortraitError: The compression is not read.
    """
    layout = _read_layout(image, data)
    compression = image.tag_v2.get(259, _RAW)
    if compression not in _COMPRESSIONS:
        raise PortraitError(
            "expected a TIFF that is uncompressed or compressed with LZW, Deflate, "
            "PackBits, JPEG, LZMA, Zstandard or WebP, received compression "
            f"{compression}"
        )
    # Of YCbCr, chroma may be stored for a part of the pixels.
    subsampled = image.tag_v2.get(262) == _YCBCR
    tables = image.tag_v2.get(_JPEG_TABLES, b"")
    for index, segment in enumerate(layout.segments):
        expected = 0 if subsampled else layout.expected_length(index)
        if compression in _DEFLATES:
            try:
                length = containers.inflated_length(segment, layout.full_length)
            except zlib.error as error:
                raise TiffDamage(str(error)) from None
        elif compression == _PACK_BITS:
            length = containers.packbits_length(segment)
        elif compression == _RAW:
            length = len(segment)
        elif compression == _JPEG:
            picture = bytes(segment)
            if tables:
                picture = tables[:-2] + picture[2:]
            size = containers.jpeg_size(picture)
            rows = layout.expected_rows(index)
            if size is None or size[0] < rows or size[1] < layout.block[1]:
                raise TiffDamage("a JPEG that is smaller than its strip or tile")
            if damage := containers.jpeg_damage(picture):
                raise TiffDamage(damage)
            continue
        else:
            continue
        if length < expected:
            raise TiffDamage(f"{expected - length} bytes of pixels are missing")


@contextlib.contextmanager
def libtiff_errors() -> Iterator[None]:
    """Raises TiffDamage: libtiff complains, which it does on stderr."""
    failed = None
    with filtered_stderr(_COMPLAINTS) as complaints:
        try:
            yield
        except (OSError, ValueError) as error:
            failed = error
    if complaints:
        raise TiffDamage(complaints[0])
    if failed:
        raise failed


def plain_pixels(image: Image.Image, data: bytes) -> np.ndarray:
    """The pixels of a TIFF of 8 or 16 bits, stored in any order.

    Pillow has 16 bits in grey alone, and no planes of grey and alpha. So libtiff is
    shown pictures that are grey: each plane, or all samples of a pixel side by side.

    Args:
        image: As `open_tiff` has opened it.
        data: The file.

    Returns:
        `uint8` or `uint16` `[H, W, C]`, as stored.

    Raises:
        TiffDamage: Strips or tiles are missing or damaged.
    """
    layout = _read_layout(image, data)
    height, width = layout.size
    if layout.planar:
        number = len(layout.segments) // layout.samples
        return np.stack(
            [
                _grey_pixels(image, layout, layout.segments[start : start + number], 1)
                for start in range(0, len(layout.segments), number)
            ],
            axis=-1,
        )
    pixels = _grey_pixels(image, layout, layout.segments, layout.samples)
    pixels = pixels.reshape(height, width, layout.samples)
    if layout.samples > 1 and _is_predicted(image):
        # Each sample is stored as the difference from the one a pixel before.
        for start in range(0, width, layout.block[1]):
            part = pixels[:, start : start + layout.block[1]]
            np.add.accumulate(part, axis=1, dtype=part.dtype, out=part)
    return pixels


def _is_predicted(image: Image.Image) -> bool:
    compression = image.tag_v2.get(259, _RAW)
    return image.tag_v2.get(317, 1) == 2 and compression in _WITH_PREDICTOR


def _grey_pixels(
    image: Image.Image, layout: _Layout, segments: list[memoryview], samples: int
) -> np.ndarray:
    """`[H, W * samples]` of strips or tiles with so many samples a pixel."""
    (height, width), (rows, columns) = layout.size, layout.block
    tags = image.tag_v2
    folder = {
        256: [width * samples],
        257: [height],
        258: [layout.bits],
        259: [tags.get(259, _RAW)],
        262: [1],
        266: [tags.get(266, 1)],
        277: [1],
        284: [1],
    }
    lengths = [len(segment) for segment in segments]
    starts = list(itertools.accumulate(lengths[:-1], initial=8))
    if layout.tiled:
        folder |= {322: [columns * samples], 323: [rows], 324: starts, 325: lengths}
    else:
        folder |= {273: starts, 278: [rows], 279: lengths}
    if samples == 1 and _is_predicted(image):
        folder[317] = [2]
    file = io.BytesIO(_tiff_file(tags.prefix, folder, segments))
    with TiffImagePlugin.TiffImageFile(file) as grey, libtiff_errors():
        grey.load()
        pixels = np.asarray(grey)
    kind = {8: np.uint8, 16: np.uint16}[layout.bits]
    if pixels.dtype.newbyteorder("=") != kind:
        raise TiffDamage(f"numbers of {pixels.dtype}")
    return pixels.astype(kind)


def _tiff_file(
    prefix: bytes, folder: dict[int, list[int]], segments: list[memoryview]
) -> bytes:
    """A file of strips or tiles, and a folder whose values are all of type LONG."""
    order = "<" if prefix == b"II" else ">"
    start = 8 + sum(map(len, segments))
    entries = struct.pack(order + "H", len(folder))
    position, long_values = start + 2 + 12 * len(folder) + 4, b""
    for tag, values in sorted(folder.items()):
        packed = struct.pack(f"{order}{len(values)}L", *values)
        entries += struct.pack(order + "HHL", tag, TiffTags.LONG, len(values))
        if len(values) == 1:
            entries += packed
        else:
            entries += struct.pack(order + "L", position + len(long_values))
            long_values += packed
    header = prefix + struct.pack(order + "HL", 42, start)
    return b"".join([header, *segments, entries, bytes(4), long_values])


def read_tags(image: Image.Image) -> dict[int, tuple[int | None, object]]:
    """The tags that say something of the photo: type and value of each."""
    exif = image.getexif()
    tags = {
        tag: (image.tag_v2.tagtype.get(tag), value)
        for tag, value in image.tag_v2.items()
        if tag not in _STRUCTURE and tag not in TiffTags.TAGS_V2_GROUPS
    }
    for tag in _EXIF_FOLDERS:
        if folder := dict(exif.get_ifd(tag)):
            tags[tag] = (None, folder)
    return tags


def tags_from_exif(exif: bytes) -> dict[int, tuple[int | None, object]]:
    """Likewise, of an EXIF block, without its prefix."""
    block = Image.Exif()
    block.load(b"Exif\x00\x00" + exif)
    tags = {
        tag: (None, value)
        for tag, value in block.items()
        if tag not in _STRUCTURE and tag not in TiffTags.TAGS_V2_GROUPS
    }
    for tag in _EXIF_FOLDERS:
        if folder := dict(block.get_ifd(tag)):
            tags[tag] = (None, folder)
    return tags


def exif_from_tags(
    tags: dict[int, tuple[int | None, object]],
) -> tuple[bytes, list[int]]:
    """An EXIF block, without its prefix, for a file of another format.

    Returns:
        The block, and the tags that it cannot hold, such as numbers of 64 bits.
    """
    block, left_out = Image.Exif(), []
    for tag, (_, value) in tags.items():
        if tag in (_ICC, _XMP, _PHOTOSHOP, _IPTC):
            continue
        if isinstance(value, dict):
            kept = {inner: one for inner, one in value.items() if _fits(inner, one)}
            left_out += sorted(value.keys() - kept.keys())
            block[tag] = kept
        elif _fits(tag, value):
            block[tag] = value
        else:
            left_out.append(tag)
    exif = block.tobytes().removeprefix(b"Exif\x00\x00") if len(block) else b""
    return exif, left_out


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
    tags: dict[int, tuple[int | None, object]],
    orientation: int = 1,
    compressed: bool = True,
    icc: bytes | None = None,
    xmp: bytes | None = None,
    dpi: tuple[float, float] | None = None,
    premultiplied: bool = False,
) -> bytes:
    """A TIFF file of one picture.

    Args:
        pixels: `uint8` or `uint16` `[H, W, C]`: grey, grey and alpha, RGB, or RGBA.
        tags: Of `read_tags` or `tags_from_exif`.
        orientation: Of the pixels.
        compressed: With Deflate; else not at all.
        icc: Colour profile; that of the tags is not written.
        xmp: XMP.
        dpi: Pixels an inch, x and y; in place of what the tags say.
        premultiplied: Whether the colours were multiplied by alpha.
    """
    height, width, channels = pixels.shape
    little = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
    strips = [little[row : row + _ROWS].tobytes() for row in range(0, height, _ROWS)]
    if compressed:
        strips = [zlib.compress(strip) for strip in strips]
    folder = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
    for tag, (kind, value) in tags.items():
        if tag == _ICC:
            continue
        if kind is not None:
            folder.tagtype[tag] = kind
        folder[tag] = value
    if icc:
        folder[_ICC] = icc
    if xmp:
        folder[_XMP] = xmp
    if dpi:
        folder[_X_RESOLUTION], folder[_Y_RESOLUTION] = dpi
        folder[_RESOLUTION_UNIT] = _INCH
    folder[256], folder[257] = width, height
    folder[258] = (8 * pixels.itemsize,) * channels
    folder[259] = _DEFLATE if compressed else _RAW
    folder[262] = 1 if channels <= 2 else 2
    folder[_ORIENTATION] = orientation
    folder[277] = channels
    folder[278] = _ROWS
    folder[284] = 1
    if channels in (2, 4):
        folder[338] = 1 if premultiplied else 2
    lengths = [len(strip) for strip in strips]
    for tag in (273, 279):
        folder.tagtype[tag] = TiffTags.LONG
    # Pillow's writer adds the place where the folder ends.
    folder[273] = tuple(int(sum(lengths[:index])) for index in range(len(strips)))
    folder[279] = tuple(lengths)
    file = io.BytesIO()
    folder.save(file)
    file.writelines(strips)
    return file.getvalue()
