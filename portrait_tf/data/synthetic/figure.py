"""A dressed body before the camera: the outlines that its parts share.

Conventions:
    * Positions on the trunk are shares of the way from neck to pelvis; the crotch is
      at 1.25. Positions on a limb count segments, from 0 to 2.
    * What is returned is in layer pixels, radii included, unless said otherwise.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from portrait_tf.data.synthetic.body import Body
from portrait_tf.data.synthetic.painter import Painter
from portrait_tf.data.synthetic.scene import Camera, limb_line, normalize, profile
from portrait_tf.data.synthetic.wardrobe import Outfit


@dataclass(frozen=True)
class Figure:
    """What the drawing functions work on, and the outlines they share."""

    painter: Painter
    camera: Camera
    body: Body
    outfit: Outfit
    rng: np.random.Generator

    @functools.cached_property
    def sin(self) -> float:
        return float(np.sin(self.body.yaw))

    @functools.cached_property
    def cos(self) -> float:
        return float(np.cos(self.body.yaw))

    @property
    def unit(self) -> float:
        return self.camera.unit

    def neck_line(self) -> np.ndarray:
        """The base of the neck and the middle of the head, `[2, 2]`."""
        return self.camera.project(np.stack([self.body.neck, self.body.head]))

    def scale(self, point: np.ndarray) -> float:
        """Layer pixels a head at a point of the scene."""
        camera = self.camera
        return camera.unit * camera.distance / (camera.distance - float(point[2]))

    def arm_depth(self, side: int) -> float:
        """Heads from the trunk to the arm, positive towards the camera."""
        body = self.body
        middle = (body.elbows[side] + body.wrists[side] + body.shoulders[side]) / 3
        trunk = (body.neck + body.pelvis) / 2
        # A hand before the trunk must be painted after it, however the elbow points.
        front = 0.5 * max(0.0, float(body.wrists[side][2] - trunk[2]) - 0.3)
        return float(middle[2] - trunk[2]) + front + 0.1

    def leg_depth(self, side: int) -> float:
        """Orders the legs, the farther first."""
        return float(self.body.knees[side][2] + self.body.ankles[side][2])

    def _half_width(self, at: np.ndarray) -> np.ndarray:
        """Heads from the trunk's middle to its side, seen from the front."""
        body = self.body
        chest, waist, hip = (0.60, 0.46, 0.63) if body.feminine else (0.71, 0.58, 0.58)
        girth, shoulder = body.build, body.half_shoulder
        return profile(
            at, (-0.04, 0.2), (0.0, 0.27), (0.022, 0.55 * shoulder),
            (0.05, 0.88 * shoulder), (0.1, shoulder), (0.33, chest * girth),
            (0.64, waist * girth), (0.97, hip * girth), (1.2, hip * girth * 0.98),
        )  # fmt: skip

    def depth(self, at: np.ndarray) -> np.ndarray:
        """Heads from the trunk's middle to its front."""
        return self.body.build * profile(
            at, (-0.04, 0.18), (0.05, 0.24), (0.33, 0.4), (0.64, 0.35), (0.97, 0.42),
            (1.2, 0.4),
        )  # fmt: skip

    def trunk(
        self, at: np.ndarray, ease: float | np.ndarray = 0.0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Center line and radii at shares of the way from neck to pelvis."""
        body, at = self.body, np.asarray(at, np.float64)
        crotch = body.pelvis - [0, 0.5, 0]
        points = body.neck + (body.pelvis - body.neck) * np.minimum(at, 1)[:, None]
        points = points + (crotch - body.pelvis) * (np.maximum(at - 1, 0) * 4)[:, None]
        radius = np.hypot(self._half_width(at) * self.cos, self.depth(at) * self.sin)
        bust = 0.13 if body.feminine else 0.05
        front = profile(
            at, (-0.04, 0), (0.15, 0.02), (0.36, bust), (0.6, 0.03), (1.2, 0)
        )
        back = profile(
            at, (-0.04, 0), (0.2, 0.06), (0.6, -0.03), (0.8, 0.04), (1.0, 0.14),
            (1.2, 0.08),
        )  # fmt: skip
        ahead, behind = max(self.sin, 0), max(-self.sin, 0)
        plus = (radius + ahead * front + behind * back + ease) * self.unit
        minus = (radius + behind * front + ahead * back + ease) * self.unit
        return self.camera.project(points), plus, minus

    def front(self, at: Sequence[float], width: Sequence[float]) -> np.ndarray:
        """Points on the chest: share down the trunk, heads to the photo's right."""
        at = np.asarray(at, np.float64)
        points, _, _ = self.trunk(at)
        down = self.camera.project(np.stack([self.body.neck, self.body.pelvis]))
        down = normalize(down[1] - down[0])
        turn = abs(self.cos) * np.asarray(width) + self.sin * 0.95 * self.depth(at)
        across = np.array([down[1], -down[0]])
        return points + across * (turn * self.unit)[:, None]

    def leg_line(self, side: int, at: np.ndarray) -> np.ndarray:
        """Center line of a leg."""
        body, project = self.body, self.camera.project
        hip, knee = project(body.hips[side] + [0, 0.12, 0]), project(body.knees[side])
        return limb_line(hip, knee, project(body.ankles[side]), at)

    def leg_radius(self, at: np.ndarray) -> np.ndarray:
        """Radius of a bare leg."""
        girth = self.body.build * self.unit
        return girth * profile(
            at, (0, 0.26), (0.25, 0.315), (0.45, 0.32), (0.95, 0.215), (1.1, 0.2),
            (1.35, 0.235), (1.8, 0.125), (2.0, 0.12),
        )  # fmt: skip
