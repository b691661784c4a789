"""Parts of files that Pillow does not expose: chunks, and damage that it ignores."""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import simplejpeg

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_2000 = (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n")
"""How files begin: the codestream alone, or in boxes."""

_KEPT_CHUNKS = {
    *(b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"cLLI"),
    *(b"pHYs", b"tEXt", b"zTXt", b"iTXt", b"eXIf"),
}
"""They stay true when pixels change; a palette's do not."""

_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples a pixel of each color type of a PNG."""

_ADAM7 = [
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
]
"""First column and row of each pass, and the steps between them."""

_FEW_BYTES = 8

_JPEG_DAMAGE = ("Corrupt JPEG data", "Premature end of JPEG", "Inconsistent progress")
_NO_JPEG = (ValueError, KeyError)
"""Of simplejpeg; a KeyError of a header without colors."""

_INKS = ("CMYK", "YCCK")
_PIECE = 1 << 20


def jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment before the first scan."""
    for marker, position, end in _segments(data):
        if marker != 0xDA:
            yield marker, data[position + 4 : end]


def _first_scan(data: bytes) -> int:
    """Where the first scan starts; the end of the data if there is none."""
    for marker, position, _ in _segments(data):
        if marker == 0xDA:
            return position
    return len(data)


def jpeg_is_whole(data: bytes) -> bool:
    """Whether the first scan is followed by an end-of-image marker.

    In the scan itself 0xFF is never followed by 0xD9.
    """
    return data.find(b"\xff\xd9", _first_scan(data)) >= 0


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment, up to that of the first scan."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        yield marker, position, position + 2 + length
        if marker == 0xDA:
            return
        position += 2 + length


def jpeg_segment(marker: int, content: bytes) -> bytes:
    """A segment as it is in the file."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def jpeg_damage(data: bytes) -> str | None:
    """What libjpeg warns of when it decodes a JPEG; None if it is sound.

    libjpeg goes on past damaged data, with gray or shifted blocks. Neither OpenCV nor
    Pillow hands its warnings on; simplejpeg does, and decodes an eighth of the size
    here, which reads everything and computes hardly anything. Padding at the end of a
    scan is harmless, and some cameras write it. Damage after which the bits still make
    sense, such as a single flipped bit, is not found.
    """
    # Only the first warning is known, so segments that may cause a harmless one go.
    kept = [
        jpeg_segment(marker, content)
        for marker, content in jpeg_segments(data)
        if not 0xE0 <= marker <= 0xEF and marker != 0xFE
    ]
    bare = b"".join([b"\xff\xd8", *kept, data[_first_scan(data) :]])
    start = 2 + sum(map(len, kept))
    while warning := _first_warning(bare):
        end = bare.find(b"\xff\xd9", start)
        extra = _padding(warning, bare[start:end])
        if not extra:
            return warning
        bare = bare[: end - extra] + bare[end:]
    return None


def decode_sound_jpeg(data: bytes, most: int) -> np.ndarray | None:
    """Decodes a JPEG while it is checked, in half the time of doing both.

    Args:
        data: The file.
        most: Pixels.

    Returns:
        RGB `uint8` `[H, W, 3]`, stored; None of a larger JPEG, of one with any warning,
        and of inks.
    """
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data, strict=False)
        if height * width > most or space in _INKS:
            return None
        return simplejpeg.decode_jpeg(data, "RGB")
    except _NO_JPEG:
        return None


def _first_warning(data: bytes) -> str | None:
    try:
        ink = simplejpeg.decode_jpeg_header(data, strict=False)[2] in _INKS
        simplejpeg.decode_jpeg(
            data, "CMYK" if ink else "GRAY", min_height=1, min_width=1
        )
    except _NO_JPEG as error:
        # All else is for the decoder of the pixels to refuse.
        return str(error) if str(error).startswith(_JPEG_DAMAGE) else None
    return None


def _padding(warning: str, scan: bytes) -> int:
    """How many bytes libjpeg found too many, if they hold nothing; else 0."""
    found = re.search(r"(\d+) extraneous bytes before marker 0xd9", warning)
    if not found:
        return 0
    extra = scan[max(len(scan) - int(found[1]), 0) :]
    return len(extra) if len(extra) <= _FEW_BYTES or len(set(extra)) == 1 else 0


CUT_OFF = "cut off"
"""What is wrong with a file that ends too early."""


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of each chunk."""
    for name, start, end in _chunks(data):
        yield name, data[start:end]


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Type of each chunk, and where its content starts and ends."""
    position = len(PNG_SIGNATURE)
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        yield data[position + 4 : position + 8], position + 8, position + 8 + length
        position += 12 + length


def png_damage(data: bytes) -> str | None:
    """What is wrong with the pixels of a PNG; None if all of them are there.

    Decoders leave the rows that are missing black, or as the memory was.
    """
    view = memoryview(data)
    missing = None
    inflate = zlib.decompressobj()
    for name, start, end in _chunks(data):
        if name in _PIXEL_CHUNKS:
            if end + 4 > len(data):
                return CUT_OFF
            checksum = int.from_bytes(view[end : end + 4], "big")
            if zlib.crc32(view[start:end], zlib.crc32(name)) != checksum:
                return f"wrong checksum of {name.decode()}"
        if name == b"IHDR":
            missing = _png_bytes(data[start:end])
        elif name == b"IDAT" and missing is not None and missing >= 0:
            try:
                missing -= _inflated_length(inflate, view[start:end], missing)
            except zlib.error as error:
                return str(error)
        elif name == b"IEND":
            break
    else:
        return CUT_OFF
    if missing is None:
        return "no header"
    if missing > 0:
        return f"{missing} bytes of pixels are missing"
    return None if missing < 0 or inflate.eof else "the pixels are cut off"


def _inflated_length(inflate: Any, data: bytes | memoryview, most: int) -> int:
    length = 0
    while data and not inflate.eof and length <= most:
        length += len(inflate.decompress(data, _PIECE))
        data = inflate.unconsumed_tail
    return length


def _png_bytes(header: bytes) -> int | None:
    """The length of the rows of a PNG, with their filters; None of a bad header."""
    if len(header) != 13:
        return None
    width, height, bits, kind, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    if kind not in _SAMPLES:
        return None
    total = 0
    for left, top, right, down in _ADAM7 if interlaced else [(0, 0, 1, 1)]:
        columns, rows = -((left - width) // right), -((top - height) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * _SAMPLES[kind] * bits + 7) // 8)
    return total


def png_pixels(data: bytes, more: tuple[bytes, ...] = ()) -> bytes:
    """A PNG without what libpng, in OpenCV, may print warnings of.

    Args:
        data: The file.
        more: Types of chunks to keep beside those of the pixels.
    """
    chunks = [
        _png_chunk(name, body)
        for name, body in png_chunks(data)
        if name in _PIXEL_CHUNKS or name in more
    ]
    return b"".join([PNG_SIGNATURE, *chunks])


def kept_png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks that say something of the photo, not of how its pixels are stored."""
    return [(name, body) for name, body in png_chunks(data) if name in _KEPT_CHUNKS]


def _png_chunk(name: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(name + body)
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


def add_png_chunks(data: bytes, chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG with more chunks, right after its header."""
    end = len(PNG_SIGNATURE) + 25
    return b"".join(
        [data[:end], *(_png_chunk(name, body) for name, body in chunks), data[end:]]
    )


def avif_bits(data: bytes) -> int:
    """Bits a channel of an AVIF: 8, 10 or 12; Pillow hands on 8.

    Source: AV1 Codec ISO Media File Format Binding, section 2.3.3.
    """
    position = data.find(b"av1C")
    flags = data[position + 6] if 0 <= position < len(data) - 6 else 0
    return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10


def jpeg2000_bits(data: bytes) -> int:
    """The largest number of bits a channel of a JPEG 2000.

    Source: ISO 15444-1, A.5.1, the marker SIZ.
    """
    start = data.find(JPEG_2000[0]) + 40
    (channels,) = struct.unpack_from(">H", data, start)
    return max((depth & 0x7F) + 1 for depth in data[start + 2 :: 3][:channels])


def jpeg2000_damage(data: bytes) -> str | None:
    """Whether tiles of a JPEG 2000 are missing, which OpenJPEG leaves black."""
    start = data.find(JPEG_2000[0])
    if start < 0:
        return "no pixels"
    right, bottom, _, _, width, height, left, top = struct.unpack_from(
        ">8L", data, start + 8
    )
    if not width or not height:
        return "tiles without pixels"
    tiles = ((left - right) // width) * ((top - bottom) // height)
    found = set()
    position = data.find(b"\xff\x90\x00\x0a", start)
    while position >= 0 and data[position : position + 2] == b"\xff\x90":
        tile, length = struct.unpack_from(">HL", data, position + 4)
        found.add(tile)
        if not length:
            break
        position += length
    missing = tiles - len(found)
    return f"{missing} of {tiles} tiles are missing" if missing > 0 else None


def webp_is_lossless(data: bytes) -> bool:
    """Whether a WebP's first picture is in the lossless coding (chunk `VP8L`)."""
    position = 12
    while position + 8 <= len(data):
        name = data[position : position + 4]
        if name in (b"VP8L", b"VP8 "):
            return name == b"VP8L"
        (length,) = struct.unpack_from("<I", data, position + 4)
        # A frame of an animation holds chunks of its own, after 16 bytes.
        position += 24 if name == b"ANMF" else 8 + length + length % 2
    return False
