"""Camera and light.

Conventions:
    * The scene is three-dimensional: x to the right of the photo, y up from the
      ground, z towards the camera; the unit is the person's head height.
    * Directions of the light have the photo's axes instead: y is down.
    * Pixels are the layer's, twice as fine as the photo's; a camera of the photo
      itself is derived in `portrait`.
"""

from dataclasses import dataclass

import numpy as np

from portrait_tf.data.synthetic.geometry import normalize


@dataclass(frozen=True)
class Camera:
    """A level pinhole camera.

    Attributes:
        unit: Layer pixels a head at z = 0.
        distance: Heads from the camera to z = 0.
        height: Heads from the ground to the camera.
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

    def ground_row(self, z: float) -> float:
        """Row of the ground at a depth."""
        return float(self.project(np.array([0.0, 0.0, z]))[1])


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
    unit = share * height / top
    unit = min(unit, width / 3.4)
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
    warmth = rng.uniform(-0.05, 0.07)
    power = rng.uniform(0.62, 0.86)
    facing = (0.5 + 0.5 * direction[2]) ** 2
    sky = 1.0 - power * facing
    return Light(
        direction.astype(np.float32),
        (power * np.array([1 + warmth, 1, 1 - warmth])).astype(np.float32),
        (sky * np.array([1 - warmth, 1, 1 + warmth])).astype(np.float32),
    )
