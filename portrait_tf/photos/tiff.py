"""TIFF from 8 and 16 bits; Pillow writes no colour with 16, OpenCV no metadata."""

import io
import zlib

import numpy as np
from PIL import Image, TiffImagePlugin, TiffTags

_RAW, _DEFLATE = 1, 8
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
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _INCH = 282, 283, 296, 2


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


def exif_from_tags(tags: dict[int, tuple[int | None, object]]) -> bytes:
    """An EXIF block, without its prefix, for a file of another format."""
    block = Image.Exif()
    for tag, (_, value) in tags.items():
        if tag not in (_ICC, _XMP, _PHOTOSHOP, _IPTC):
            block[tag] = value
    return block.tobytes().removeprefix(b"Exif\x00\x00") if len(block) else b""


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
