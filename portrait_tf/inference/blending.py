"""Fits a painted hole into its photo: no seam, and nothing outside the hole changes.

What a network paints at its own size is enlarged to the photo's, and then meets pixels
that it never saw: at the hole's border colors jump. `blend` takes that jump back, from
inside the hole alone; `docs/experiments.md` has what other ways measured. NumPy and
OpenCV; a channel at a time, which bounds memory.
"""

from collections.abc import Callable

import cv2
import numpy as np

from portrait_tf.geometry import scaled

_RELAXATIONS = 10
"""Per level; more of them change less than a gray level."""

Channel = Callable[[int], np.ndarray]
"""Gives the painting's channel 0, 1 or 2: `float32` `[H, W]`, 0 to 255."""


def cubic_weights(count: int, total: int, start: int, stop: int) -> np.ndarray:
    """The matrix that enlarges a row of `count` samples to `total`, in part.

    Keys' cubic convolution with a = -0.5 (IEEE ASSP 1981) between pixel centers, as
    `tf.image.resize` has it; beyond the ends the last sample goes on.

    Args:
        count: Samples given.
        total: Samples of the whole enlarged row.
        start: The first of these that is wanted.
        stop: The one after the last.

    Returns:
        `float32` `[stop - start, count]`.
    """
    places = scaled(np.arange(start, stop), count / total)
    first = np.floor(places).astype(int)
    weights = np.zeros((stop - start, count), np.float32)
    rows = np.arange(stop - start)
    for offset in (-1, 0, 1, 2):
        distance = np.abs(places - (first + offset))
        near = (1.5 * distance - 2.5) * distance**2 + 1
        far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
        weight = np.where(distance <= 1, near, np.where(distance < 2, far, 0))
        np.add.at(weights, (rows, np.clip(first + offset, 0, count - 1)), weight)
    return weights


def membrane(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Spans a membrane between known values.

    Solves Laplace's equation where nothing is known, with the known values as they are
    and no flow across the array's border. Pushed down and pulled up a pyramid, with
    relaxations at each level: the method of `portrait_tf.layers.prefill.diffuse`
    (Gortler et al., *The Lumigraph*, SIGGRAPH 1996), here in OpenCV.

    Args:
        values: `float32` `[H, W]`; read where known alone.
        known: `bool` `[H, W]`.

    Returns:
        `float32` `[H, W]`; 0 everywhere if nothing is known.
    """
    weight = known.astype(np.float32)
    levels = [(np.where(known, values, 0).astype(np.float32), weight)]
    while max(levels[-1][0].shape) > 1:
        value, weight = (_halve(one) for one in levels[-1])
        # A quarter known counts as known, or thin remains would be outvoted.
        gain = np.minimum(4 * weight, 1) / np.maximum(weight, 1e-6)
        levels.append((value * gain, weight * gain))
    value, weight = levels.pop()
    filled = value / np.maximum(weight, 1e-6)
    while levels:
        value, weight = levels.pop()
        height, width = value.shape
        filled = cv2.resize(filled, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
        filled = np.ascontiguousarray(filled[:height, :width])
        unknown = 1 - weight
        filled *= unknown
        filled += value
        for _ in range(_RELAXATIONS):
            filled = cv2.blur(filled, (3, 3), borderType=cv2.BORDER_REPLICATE)
            filled *= unknown
            filled += value
    return filled


def _halve(values: np.ndarray) -> np.ndarray:
    """Means of 2x2 pixels; beyond an odd border nothing is known."""
    height, width = values.shape
    even = cv2.copyMakeBorder(
        values, 0, height % 2, 0, width % 2, cv2.BORDER_CONSTANT, value=0
    )
    size = (even.shape[1] // 2, even.shape[0] // 2)
    return cv2.resize(even, size, interpolation=cv2.INTER_AREA)


def _border(hole: np.ndarray) -> np.ndarray:
    """Known pixels that touch the hole, corners included."""
    return (cv2.dilate(hole.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~hole


def blend(photo: np.ndarray, hole: np.ndarray, painted: Channel) -> np.ndarray:
    """Fills a hole with a painting.

    What differs at the border is spanned across the hole and taken back (Perez et al.,
    *Poisson Image Editing*, SIGGRAPH 2003, where the painting's gradients are kept).

    Args:
        photo: RGB `uint8` `[H, W, 3]`; the hole is not read.
        hole: `bool` `[H, W]`.
        painted: The painting, hole and surroundings, a channel at a time.

    Returns:
        RGB `uint8` `[H, W, 3]`; outside the hole the photo.
    """
    result = photo.copy()
    for channel in range(3):
        known = np.where(hole, 0, photo[..., channel]).astype(np.float32)
        values = painted(channel)
        values = values + membrane(known - values, _border(hole))
        filled = np.clip(np.rint(values), 0, 255).astype(np.uint8)
        np.copyto(result[..., channel], filled, where=hole)
    return result
