"""What Pillow does not tell of a file: its chunks, and damage that it passes over."""

import contextlib
import os
import re
import struct
import sys
import tempfile
import threading
import zlib
from collections.abc import Iterator

import cv2
import numpy as np

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_KEPT_CHUNKS = {
    *(b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"cLLI"),
    *(b"pHYs", b"tEXt", b"zTXt", b"iTXt", b"eXIf"),
}
"""They stay true when pixels change; a palette's do not."""

_FEW_BYTES = 8

_COMPLAINT = re.compile(rb"((?:Corrupt JPEG data|Premature end of JPEG)[\x20-\x7e]*)\n")

_stderr_lock = threading.Lock()


def jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment before the first scan."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker == 0xDA:
            return
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        yield marker, data[position + 4 : position + 2 + length]
        position += 2 + length


def jpeg_segment(marker: int, content: bytes) -> bytes:
    """A segment as it is in the file."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


@contextlib.contextmanager
def _captured_complaints() -> Iterator[list[str]]:
    """Lines that libjpeg writes to the process' stderr; all else goes there, later."""
    found = []
    with _stderr_lock, tempfile.TemporaryFile() as file:
        sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield found
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            file.seek(0)
            content = file.read()
            found += [line.decode() for line in _COMPLAINT.findall(content)]
            # Such as a progress bar, which another thread draws.
            if rest := _COMPLAINT.sub(b"", content):
                os.write(kept, rest)
            os.close(kept)


def jpeg_damage(data: bytes) -> str | None:
    """What libjpeg complains of when it decodes a JPEG; None if it is sound.

    libjpeg goes on past damaged data, with grey or shifted blocks, and says so on
    stderr alone; neither OpenCV nor Pillow hand its words on. Padding at the end of a
    scan is harmless, and some cameras write it. Damage after which the bits still make
    sense, such as a single flipped bit, is not found.
    """
    try:
        with _captured_complaints() as complaints:
            # An eighth of the size: everything is read, hardly anything computed.
            cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
    except (cv2.error, OSError):
        return None
    return next((line for line in complaints if not _is_padding(line, data)), None)


def _is_padding(line: str, data: bytes) -> bool:
    """Whether libjpeg complains of bytes too many that hold nothing."""
    found = re.search(r"(\d+) extraneous bytes before marker 0xd9", line)
    if not found:
        return False
    end = data.rfind(b"\xff\xd9")
    extra = data[max(end - int(found[1]), 0) : end]
    return len(extra) <= _FEW_BYTES or len(set(extra)) == 1


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of each chunk."""
    position = len(PNG_SIGNATURE)
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        yield data[position + 4 : position + 8], data[position + 8 :][:length]
        position += 12 + length


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


def encode_deep_png(pixels: np.ndarray) -> bytes:
    """PNG with 16 bits, of all kinds; Pillow writes grey only, OpenCV no grey + alpha.

    Args:
        pixels: `uint16` `[H, W, C]`: grey, grey and alpha, RGB, or RGBA.
    """
    height, width, channels = pixels.shape
    rows = pixels.astype(">u2").view(np.uint8).reshape(height, -1)
    # The filter "up" of the PNG specification: what the row above does not say yet.
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = 2
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    return (
        PNG_SIGNATURE
        + _png_chunk(b"IHDR", header)
        + _png_chunk(b"IDAT", zlib.compress(filtered))
        + _png_chunk(b"IEND", b"")
    )


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
