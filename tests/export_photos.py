"""Photos for the tests of exports, and what comes back as files."""

import cv2
import numpy as np


def photo_and_mask(size, seed=0):
    """A smooth photo, and a mask with a hole in its lower left."""
    rng = np.random.default_rng(seed)
    photo = cv2.resize(rng.integers(0, 256, (8, 8, 3)).astype(np.uint8), size[::-1])
    mask = np.zeros(size, np.uint8)
    mask[size[0] // 2 :, : (size[1] + 1) // 2] = 255
    return photo, mask


def decode(content):
    """RGB or gray `[H, W, C]` of a file."""
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    return picture[..., ::-1] if picture.ndim == 3 else picture[..., None]
