"""Fits a painted hole into its photo: no seam, and nothing outside the hole changes.

What a network paints at its own size is enlarged to the photo's, and then meets pixels
that it never saw: at the hole's border colours jump. The methods here take that jump
back, each in its own way, from inside the hole alone; `docs/large_photos.md` has what
they measure. NumPy and OpenCV; a channel at a time, which bounds memory.
"""

from collections.abc import Callable

import cv2
import numpy as np

from portrait_tf.errors import PortraitError
from portrait_tf.geometry import scaled

_RELAXATIONS = 10
"""Per level; more of them change less than a grey level."""

Channel = Callable[[int], np.ndarray]
"""Gives the painting's channel 0, 1 or 2: `float32` `[H, W]`, 0 to 255."""


def cubic_weights(count: int, total: int, start: int, stop: int) -> np.ndarray:
    """The matrix that enlarges a row of `count` samples to `total`, in part.

    Keys' cubic convolution with a = -0.5 (IEEE ASSP 1981) between pixel centres, as
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


def membrane(
    values: np.ndarray,
    known: np.ndarray,
    reach: float | None = None,
    relaxations: int = _RELAXATIONS,
) -> np.ndarray:
    """Spans a membrane between known values.

    Solves Laplace's equation where nothing is known, with the known values as they are
    and no flow across the array's border. Pushed down and pulled up a pyramid, with
    relaxations at each level: the method of `portrait_tf.layers.prefill.diffuse`
    (Gortler et al., *The Lumigraph*, SIGGRAPH 1996), here in OpenCV. With a `reach` it
    is the screened equation, whose solution fades to 0 away from what is known
    (compare Bhat et al., *Fourier Analysis of the 2D Screened Poisson Equation for
    Gradient Domain Problems*, ECCV 2008).

    Args:
        values: `float32` `[H, W]`; read where known alone.
        known: `bool` `[H, W]`.
        reach: Pixels in which a straight border's value falls to 1/e; None: no fading.
        relaxations: Per level.

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
    level = len(levels)
    while levels:
        level -= 1
        value, weight = levels.pop()
        height, width = value.shape
        filled = cv2.resize(filled, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
        filled = np.ascontiguousarray(filled[:height, :width])
        # The mean of 3x3 pixels is the value in the middle plus a third of its
        # Laplacian.
        damping = 1.0 if reach is None else 1 / (1 + 4.0**level / (3 * reach**2))
        unknown = (1 - weight) * np.float32(damping)
        filled *= unknown
        filled += value
        for _ in range(relaxations):
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


def _paste(
    photo: np.ndarray, hole: np.ndarray, painted: np.ndarray, feather: float
) -> np.ndarray:
    return painted


def _feather(
    photo: np.ndarray, hole: np.ndarray, painted: np.ndarray, feather: float
) -> np.ndarray:
    known = membrane(photo, ~hole)
    distance = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 5)
    part = np.clip(distance / max(feather, 1), 0, 1)
    return known + (painted - known) * (part * part * (3 - 2 * part))


def _multiband(
    photo: np.ndarray, hole: np.ndarray, painted: np.ndarray, feather: float
) -> np.ndarray:
    known = membrane(photo, ~hole)
    distance = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 5)
    part = (distance > feather / 2).astype(np.float32)
    levels = max(1, min(6, int(np.log2(max(2, min(photo.shape) // 4)))))
    # The pyramid of a difference is the difference of the pyramids.
    difference, parts, bands = painted - known, [part], []
    for _ in range(levels):
        smaller = cv2.pyrDown(difference)
        size = difference.shape[::-1]
        bands.append(difference - cv2.pyrUp(smaller, dstsize=size))
        parts.append(cv2.pyrDown(parts[-1]))
        difference = smaller
    mixed = difference * parts.pop()
    while bands:
        band = bands.pop()
        mixed = cv2.pyrUp(mixed, dstsize=band.shape[::-1]) + band * parts.pop()
    return known + mixed


def _border(hole: np.ndarray) -> np.ndarray:
    """Known pixels that touch the hole, corners included."""
    return (cv2.dilate(hole.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~hole


def _membrane(
    photo: np.ndarray, hole: np.ndarray, painted: np.ndarray, feather: float
) -> np.ndarray:
    return painted + membrane(photo - painted, _border(hole))


def _screened(
    photo: np.ndarray, hole: np.ndarray, painted: np.ndarray, feather: float
) -> np.ndarray:
    return painted + membrane(photo - painted, _border(hole), feather)


METHODS = {
    "paste": _paste,
    "feather": _feather,
    "multiband": _multiband,
    "membrane": _membrane,
    "screened": _screened,
}


def blend(
    photo: np.ndarray,
    hole: np.ndarray,
    painted: Channel,
    method: str = "membrane",
    feather: float = 8.0,
) -> np.ndarray:
    """Fills a hole with a painting.

    Args:
        photo: RGB `uint8` `[H, W, 3]`; the hole is not read.
        hole: `bool` `[H, W]`.
        painted: The painting, hole and surroundings, a channel at a time.
        method: One of `METHODS`: `paste`, the painting as it is; `feather`, faded in
            over the continued colours of the known pixels; `multiband`, the same with a
            width for each frequency (Burt and Adelson, ACM ToG 1983); `membrane`, what
            differs at the border is spanned across the hole and taken back (Perez et
            al., *Poisson Image Editing*, SIGGRAPH 2003, where the painting's gradients
            are kept); `screened`, the same with a correction that fades.
        feather: Width of the border in the hole, in pixels, of the methods that have
            one.

    Returns:
        RGB `uint8` `[H, W, 3]`; outside the hole the photo.

    Raises:
        PortraitError: There is no such method.
    """
    if method not in METHODS:
        raise PortraitError(
            f"'{method}' is no way of blending; expected one of {', '.join(METHODS)}"
        )
    result = photo.copy()
    for channel in range(3):
        values = METHODS[method](
            np.where(hole, 0, photo[..., channel]).astype(np.float32),
            hole,
            painted(channel),
            feather,
        )
        filled = np.clip(np.rint(values), 0, 255).astype(np.uint8)
        np.copyto(result[..., channel], filled, where=hole)
    return result
