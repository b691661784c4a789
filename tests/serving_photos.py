"""Photos for the tests of serving, and what the stand-in model makes of them."""

import zlib

import cv2
import numpy as np

FILLED_LABEL = 5
GRAY = 77


def make_photo(height=9, width=11, batch=None, seed=0):
    """A photo of noise and a mask with a hole inside; a batch of them if asked for."""
    shape = (height, width) if batch is None else (batch, height, width)
    image = np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)
    mask = np.zeros((*shape, 1), np.uint8)
    mask[..., height // 4 : height // 2, width // 4 : width // 2, :] = 255
    return image, mask


def png(picture):
    """The bytes of a PNG, of RGB or gray."""
    if picture.shape[-1] == 3:
        picture = picture[..., ::-1]
    return cv2.imencode(".png", np.ascontiguousarray(picture))[1].tobytes()


def huge_png():
    """30000 x 30000 pixels of one color are 110 kB, and 2.7 GB when decoded."""
    content = bytearray(png(np.zeros((1, 30000, 1), np.uint8)))
    content[20:24] = (30000).to_bytes(4, "big")
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


def check_completed(image, mask, completed, parsing):
    """Asserts that known pixels are untouched and the hole is filled."""
    hole = mask != 0
    assert completed.dtype == parsing.dtype == np.uint8
    np.testing.assert_array_equal(completed, np.where(hole, GRAY, image))
    np.testing.assert_array_equal(parsing, hole * FILLED_LABEL)
