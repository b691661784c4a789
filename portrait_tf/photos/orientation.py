"""EXIF: which way up a photo is, and the few tags that have to fit its pixels.

The block is patched in place, not parsed and written anew: offsets inside it stay as
they are, so maker notes, which are full of them, stay readable.
"""

import re

import numpy as np

_ORIENTATION, _EXIF_FOLDER = 0x0112, 0x8769
_PIXEL_WIDTH, _PIXEL_HEIGHT = 0xA002, 0xA003
_THUMBNAIL, _THUMBNAIL_LENGTH = 0x0201, 0x0202
_SHORT, _LONG = 3, 4
_TAGS_AT_MOST = 4096

EXIF_PREFIX = b"Exif\x00\x00"


def turn_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Stored pixels `[H, W, ...]`, as a viewer shows them.

    Args:
        pixels: Any type.
        orientation: EXIF's, 1 to 8; any other value counts as 1.

    Returns:
        A view.
    """
    turned = {
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.swapaxes(0, 1),
        6: lambda p: p[::-1].swapaxes(0, 1),
        7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
        8: lambda p: p[:, ::-1].swapaxes(0, 1),
    }.get(orientation)
    return turned(pixels) if turned else pixels


def turn_back(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes `turn_upright`."""
    return turn_upright(pixels, {6: 8, 8: 6}.get(orientation, orientation))


class _Block:
    """A TIFF structure: an 8-byte header, and folders of 12-byte tags."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        self.order = {b"II": "little", b"MM": "big"}.get(bytes(data[:2]))
        whole = self.order and len(data) >= 8 and self.number(2, 2) == 42
        self.first = self.number(4, 4) if whole else 0

    def number(self, position: int, length: int) -> int:
        return int.from_bytes(self.data[position : position + length], self.order)

    def tags(self, folder: int) -> tuple[dict[int, int], int]:
        """Where each tag of a folder is, and where the link to the next one is."""
        if not 8 <= folder <= len(self.data) - 6:
            return {}, 0
        count = self.number(folder, 2)
        end = folder + 2 + 12 * count
        if count > _TAGS_AT_MOST or end + 4 > len(self.data):
            return {}, 0
        positions = range(folder + 2, end, 12)
        return {self.number(position, 2): position for position in positions}, end

    def value(self, position: int) -> int | None:
        length = {_SHORT: 2, _LONG: 4}.get(self.number(position + 2, 2))
        return self.number(position + 8, length) if length else None

    def set_value(self, position: int, value: int) -> None:
        length = {_SHORT: 2, _LONG: 4}.get(self.number(position + 2, 2))
        if length and value < 1 << 8 * length:
            self.data[position + 8 : position + 8 + length] = value.to_bytes(
                length, self.order
            )


def read_orientation(exif: bytes | None) -> int:
    """EXIF's orientation, 1 to 8; 1 where there is none.

    Args:
        exif: The block, from its byte order on, without `EXIF_PREFIX`.
    """
    block = _Block(exif or b"")
    tags, _ = block.tags(block.first)
    value = block.value(tags[_ORIENTATION]) if _ORIENTATION in tags else 1
    return value if value in range(1, 9) else 1


def patch_exif(exif: bytes, orientation: int, size: tuple[int, int]) -> bytes:
    """Makes a block fit new pixels; all else stays byte for byte.

    The thumbnail goes: it would still show what the hole has taken out.

    Args:
        exif: The block, without `EXIF_PREFIX`.
        orientation: Of the pixels that are written.
        size: Height and width of these pixels.

    Returns:
        A block of equal length; as it was if it is damaged.
    """
    block = _Block(exif)
    tags, link = block.tags(block.first)
    if not tags:
        return exif
    if _ORIENTATION in tags:
        block.set_value(tags[_ORIENTATION], orientation)
    if _EXIF_FOLDER in tags:
        inner, _ = block.tags(block.value(tags[_EXIF_FOLDER]) or 0)
        for tag, length in ((_PIXEL_HEIGHT, size[0]), (_PIXEL_WIDTH, size[1])):
            if tag in inner:
                block.set_value(inner[tag], length)
    second, _ = block.tags(block.number(link, 4))
    if _THUMBNAIL in second and _THUMBNAIL_LENGTH in second:
        start = block.value(second[_THUMBNAIL]) or len(exif)
        length = block.value(second[_THUMBNAIL_LENGTH]) or 0
        end = min(start + length, len(exif))
        block.data[start:end] = bytes(max(end - start, 0))
    block.data[link : link + 4] = bytes(4)
    return bytes(block.data)


def patch_xmp(xmp: bytes, orientation: int) -> bytes:
    """XMP repeats EXIF's orientation, and some programs read it there."""
    return re.sub(
        rb"(tiff:Orientation(?:=[\"']|>)\s*)[1-8](?=\s*[\"'<])",
        rb"\g<1>%d" % orientation,
        xmp,
    )
