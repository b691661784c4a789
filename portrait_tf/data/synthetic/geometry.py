"""Vectors and curves.

Conventions:
    * Points are `[N, 2]` (x, y) in pixels unless said otherwise, y down.
    * A profile is given by (position, value) anchors, sorted by position.
"""

import functools

import cv2
import numpy as np


def normalize(vector: np.ndarray) -> np.ndarray:
    """The vector of length 1 with the same direction."""
    return vector / max(float(np.linalg.norm(vector)), 1e-6)


def smoothstep(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """0 up to `low`, 1 from `high`, smooth between."""
    ratio = np.clip((value - low) / (high - low), 0, 1)
    return ratio * ratio * (3 - 2 * ratio)


@functools.lru_cache(maxsize=256)
def _profile_table(
    anchors: tuple[tuple[float, float], ...],
) -> tuple[np.ndarray, np.ndarray]:
    """A cubic through the anchors, sampled eight times between two of them."""
    positions, values = np.array(anchors, np.float64).T
    slopes = np.gradient(values, positions)
    # Flat at a local extreme, so that the curve never overshoots its anchors.
    steps = np.diff(values)
    slopes[1:-1][steps[:-1] * steps[1:] <= 0] = 0
    s = np.arange(8) / 8
    width = np.diff(positions)[:, None]
    curve = (
        (2 * s**3 - 3 * s**2 + 1) * values[:-1, None]
        + (s**3 - 2 * s**2 + s) * width * slopes[:-1, None]
        + (3 * s**2 - 2 * s**3) * values[1:, None]
        + (s**3 - s**2) * width * slopes[1:, None]
    )
    at = positions[:-1, None] + s * width
    return np.append(at, positions[-1]), np.append(curve, values[-1])


def profile(at: np.ndarray, *anchors: tuple[float, float]) -> np.ndarray:
    """Interpolates (position, value) anchors with a curve that is smooth at them."""
    return np.interp(at, *_profile_table(anchors))


def smooth_closed(points: np.ndarray, samples: int = 6) -> np.ndarray:
    """A closed Catmull-Rom curve through `points` `[N, 2]`."""
    points = np.asarray(points, np.float64)
    count = len(points)
    wrapped = np.concatenate([points[-1:], points, points[:2]])[:, None]
    a, b, c, d = (wrapped[first : first + count] for first in range(4))
    s = (np.arange(samples) / samples)[None, :, None]
    curve = b + 0.5 * s * (
        c - a + s * (2 * a - 5 * b + 4 * c - d + s * (3 * (b - c) + d - a))
    )
    return curve.reshape(-1, 2)


def limb_line(
    upper: np.ndarray, middle: np.ndarray, lower: np.ndarray, at: np.ndarray
) -> np.ndarray:
    """Points of a limb; `at` is 0 at `upper`, 1 at the joint `middle`, 2 at `lower`."""
    # The mean of five shifted copies rounds the corner at the joint.
    where = np.asarray(at, np.float64) + np.linspace(-0.13, 0.13, 5)[:, None]
    first = upper + (middle - upper) * np.minimum(where, 1)[..., None]
    bent = first + (lower - middle) * np.maximum(where - 1, 0)[..., None]
    return bent.mean(0)


def tangents(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit tangents of an open line and the normals on its plus side, `[N, 2]`."""
    tangent = np.gradient(points, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-6)
    return tangent, np.stack([tangent[:, 1], -tangent[:, 0]], 1)


def smoothed(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """`values` convolved with five weights, its ends repeated."""
    return np.convolve(np.pad(values, 2, mode="edge"), kernel, "valid")


def spread(values: np.ndarray) -> np.ndarray:
    """`[H, W]` to `[H, W, 3]`: quicker to compute with than a broadcast last axis."""
    return cv2.merge([values] * 3)


def circle(count: int) -> np.ndarray:
    """`count` equal angles of a full turn, radians."""
    return np.linspace(0, 2 * np.pi, count + 1)[:-1]


def capsule(start: np.ndarray, end: np.ndarray, radius: float) -> np.ndarray:
    """The outline of all points closer than `radius` to a straight line."""
    heading = np.arctan2(*(end - start)[::-1])
    angles = np.linspace(-np.pi / 2, np.pi / 2, 7)
    arc = radius * np.column_stack([np.cos(heading + angles), np.sin(heading + angles)])
    return np.concatenate([end + arc, start - arc])


def fixed(points: np.ndarray) -> np.ndarray:
    """Pixel coordinates as OpenCV's fixed point with four fractional bits."""
    return np.round(np.asarray(points) * 16).astype(np.int32).reshape(-1, 1, 2)
