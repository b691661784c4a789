"""Sides, vectors, curves, camera and light.

Conventions:
    * Flat points are `[N, 2]` (x, y) in pixels, y down. Points of the scene are
      `[..., 3]`, in head heights: x to the right of the photo, y up from the ground, z
      towards the camera.
    * Left and right are the person's. A side is `RIGHT` or `LEFT`, -1 or 1: the sign
      of x in the photo if the person faces the camera.
    * The owner of a pixel is the body part there, whatever it wears; 0 is nobody.
    * Directions of the light have the photo's axes: y is down.
"""

import functools
from dataclasses import dataclass

import cv2
import numpy as np

RIGHT, LEFT = -1, 1
SIDES = {RIGHT: "Right", LEFT: "Left"}

OWNER_TRUNK, OWNER_HEAD = 1, 2
OWNER_ARM = {RIGHT: 3, LEFT: 4}
OWNER_LEG = {RIGHT: 5, LEFT: 6}


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
    """Smooth interpolation of (position, value) anchors, sorted by position."""
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


@dataclass(frozen=True)
class Camera:
    """A level pinhole camera.

    Attributes:
        unit: Layer pixels a head at z = 0.
        distance, height: Heads from the camera to z = 0, and to the ground.
        x, ground: Layer column of x = 0, row of the ground at z = 0.
    """

    unit: float
    distance: float
    height: float
    x: float
    ground: float

    @property
    def horizon(self) -> float:
        """Row of the horizon."""
        return self.ground - self.height * self.unit

    def project(self, points: np.ndarray) -> np.ndarray:
        """Points of the scene `[..., 3]` to pixels `[..., 2]`."""
        points = np.asarray(points, np.float64)
        scale = self.unit * self.distance / (self.distance - points[..., 2])
        x = self.x + points[..., 0] * scale
        y = self.horizon + (self.height - points[..., 1]) * scale
        return np.stack([x, y], -1)


def random_camera(
    rng: np.random.Generator, height: int, width: int, top: float
) -> Camera:
    """Frames a body `top` heads tall: mostly whole, sometimes cut at an end."""
    share = rng.uniform(0.8, 0.93)
    middle = 0.5 + rng.normal(0, 0.008)
    roll = rng.random()
    if roll < 0.12:
        share, middle = rng.uniform(0.95, 1.12), 0.5 + rng.uniform(0.02, 0.07)
    elif roll < 0.16:
        share, middle = rng.uniform(0.95, 1.05), 0.5 - rng.uniform(0.02, 0.05)
    elif roll < 0.3:
        share, middle = rng.uniform(0.62, 0.8), 0.53 + rng.normal(0, 0.02)
    unit = min(share * height / top, width / 3.4)
    return Camera(
        unit=unit,
        distance=float(rng.uniform(13, 26)),
        height=float(rng.uniform(3.2, 6.2)),
        x=width * (0.5 + float(np.clip(rng.normal(0, 0.05), -0.12, 0.12))),
        ground=middle * height + 0.5 * unit * top - 0.12 * unit,
    )


@dataclass(frozen=True)
class Light:
    """One distant lamp and the sky; `direction` points at the lamp, y down."""

    direction: np.ndarray
    lamp: np.ndarray
    sky: np.ndarray

    def shade(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """RGB light on surfaces with the unit normals (x, y, z)."""
        towards = x * self.direction[0] + y * self.direction[1] + z * self.direction[2]
        # Half-Lambert: soft terminators suit skin and cloth alike.
        towards = np.square(np.clip(0.5 + 0.5 * towards, 0, 1))
        return self.sky + towards[..., None] * self.lamp


def random_light(rng: np.random.Generator) -> Light:
    """A lamp above, to one side and before the person."""
    side = rng.choice([-1, 1]) * rng.uniform(0.3, 0.95)
    direction = normalize(
        np.array([side, -rng.uniform(0.35, 0.8), rng.uniform(0.4, 0.8)])
    )
    warmth, power = rng.uniform(-0.05, 0.07), rng.uniform(0.62, 0.86)
    sky = 1.0 - power * (0.5 + 0.5 * direction[2]) ** 2
    return Light(
        direction.astype(np.float32),
        (power * np.array([1 + warmth, 1, 1 - warmth])).astype(np.float32),
        (sky * np.array([1 - warmth, 1, 1 + warmth])).astype(np.float32),
    )
