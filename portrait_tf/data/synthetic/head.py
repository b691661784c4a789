"""Heads: face, hair, hats and glasses.

Conventions:
    * The frame of a head has its origin at the head's center, x to the photo's right
      and y down, in head heights; the head's roll turns it. `Head.at` leads to pixels.
    * `z` is towards the camera: it decides which features of a turned head show.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from portrait_tf.data.synthetic.figure import Figure
from portrait_tf.data.synthetic.geometry import circle, profile, smooth_closed
from portrait_tf.data.synthetic.materials import Material, solid, tint
from portrait_tf.data.synthetic.parts import OWNER_HEAD

_LONG = ("long", "wavy", "fringe", "ponytail")
_OVER_EARS = ("long", "wavy", "bob", "curly", "fringe")


class Head:
    """Paints a head: the hair down the back, then all the rest."""

    def __init__(self, figure: Figure) -> None:
        self.painter, self.outfit = figure.painter, figure.outfit
        self.body = body = figure.body
        self.skin, self.hair = self.outfit.skin, self.outfit.hair
        self.unit = figure.scale(body.head)
        self.center = figure.camera.project(body.head)
        self.sin, self.cos = float(np.sin(body.head_yaw)), float(np.cos(body.head_yaw))
        roll = body.head_roll
        self.down = np.array([-np.sin(roll), np.cos(roll)])
        self.right = np.array([np.cos(roll), np.sin(roll)])
        self.jaw = 0.94 if body.feminine else 1.06
        self.volume = {
            "curly": 0.08,
            "wavy": 0.04,
            "buzz": -0.045,
            "bun": -0.02,
            "ponytail": -0.02,
            "short": -0.015,
            "quiff": -0.03,
        }.get(self.outfit.hair_style, 0.025)
        self.shift = -0.09 * self.sin
        self.wide = 0.37 + 0.045 * abs(self.sin) + self.volume

    def at(self, points: Sequence) -> np.ndarray:
        """Layer pixels of points of the frame."""
        points = np.asarray(points, np.float64)
        offset = points[..., :1] * self.right + points[..., 1:2] * self.down
        return self.center + self.unit * offset

    def turned(self, x: Sequence, y: Sequence) -> np.ndarray:
        """Frame points of places on the skull's front, given as seen from ahead."""
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        z = 0.38 * np.sqrt(np.clip(1 - (x / 0.4) ** 2 - (y / 0.56) ** 2, 0, 1))
        side = x * self.cos + z * self.sin
        hidden = z * self.cos - x * self.sin < -0.02
        rim = np.copysign(0.4 * np.sqrt(np.clip(1 - (y / 0.56) ** 2, 0, 1)), side)
        return np.stack([np.where(hidden, rim, side), y], -1)

    def facing(self, x: float, z: float) -> tuple[float, float]:
        """Where a feature at (x, z) lands, and how much it faces the camera."""
        turned = x * self.cos + z * self.sin
        return turned, z * self.cos - x * self.sin

    def paint(self) -> None:
        """Head, face, hat and glasses, without `paint_length`'s hair."""
        painter, outfit = self.painter, self.outfit
        self._mass()
        if self.cos > -0.45:
            self._face()
            if outfit.beard and self.cos > 0.0:
                self._beard()
            if self.cos > -0.2:
                self._features()
            self._ears()
            self._hairline()
        if outfit.hair_style == "bun" and outfit.hat is None:
            center = self.at([-0.22 * self.sin, -0.56])
            angles = circle(12)
            size = 0.16 * self.unit
            outline = center + size * np.column_stack([np.cos(angles), np.sin(angles)])
            painter.shape(
                outline, outfit.hair, "Hair", OWNER_HEAD, center=center,
                radii=(size, size),
            )  # fmt: skip
        if outfit.sunglasses is not None and self.cos > 0.05:
            self._sunglasses()
        if outfit.hat is not None:
            self._hat()

    def _blob(
        self, outline: Sequence, material: Material, label: str, smooth: int = 4,
        **options: object,
    ) -> None:  # fmt: skip
        """A part of the head, shaded as the ball that the head is."""
        points = self.at(outline)
        points = smooth_closed(points, smooth) if smooth > 1 else points
        options.setdefault("center", self.at([0.0, 0.0]))
        options.setdefault("radii", (0.47 * self.unit, 0.62 * self.unit))
        self.painter.shape(
            points, material, label, OWNER_HEAD, axis=self.down, **options
        )

    def _mass(self) -> None:
        """The hair behind the face; all there is of a head seen from the back."""
        style, grow = self.outfit.hair_style, self.volume
        nape = 0.42 if style in ("bob", "curly") else 0.2
        if style in _LONG:
            nape = 0.34
        shift, wide = self.shift, self.wide
        bottom = wide * (0.98 if style in ("bob", "curly", "long", "wavy") else 0.7)
        outline = [
            (shift, -0.5 - grow), (shift + 0.62 * wide, -0.42 - grow),
            (shift + 0.97 * wide, -0.17), (shift + wide, 0.08),
            (shift + bottom, nape), (shift + 0.4 * bottom, nape + 0.06),
            (shift - 0.4 * bottom, nape + 0.06), (shift - bottom, nape),
            (shift - wide, 0.08), (shift - 0.97 * wide, -0.17),
            (shift - 0.62 * wide, -0.42 - grow),
        ]  # fmt: skip
        self._blob(outline, self.hair, "Hair", shadow=0.35, darker=0.08)

    def _outline(self) -> np.ndarray:
        jaw = self.jaw
        half = np.array([
            (0.0, -0.37), (0.19, -0.34), (0.29, -0.2), (0.315, 0.0),
            (0.3, 0.17), (0.235 * jaw, 0.335), (0.11 * jaw, 0.455),
        ])  # fmt: skip
        outline = np.concatenate([half, [(0, 0.485)], half[:0:-1] * (-1, 1)])
        y = outline[:, 1]
        shift = np.interp(y, [-0.4, 0.0, 0.5], [0.06, 0.09, 0.15]) * self.sin
        outline[:, 0] = outline[:, 0] * (1 - 0.1 * abs(self.sin)) + shift
        return outline

    def _face(self) -> None:
        outlines = [smooth_closed(self.at(self._outline()), 5)]
        if abs(self.sin) > 0.8 and self.cos > -0.3:
            s = np.sign(self.sin)
            nose_to_chin = [
                (0.2, -0.3), (0.345, -0.16), (0.36, -0.06), (0.35, -0.01), (0.45, 0.13),
                (0.43, 0.165), (0.36, 0.18), (0.385, 0.235), (0.365, 0.265),
                (0.38, 0.3), (0.34, 0.34), (0.36, 0.41), (0.3, 0.475), (0.1, 0.44),
            ]  # fmt: skip
            outlines.append(self.at([(s * x, y) for x, y in nose_to_chin]))
        x, y = 0.08 * self.sin, 0.0
        self.painter.shape(
            outlines, self.skin, "Face", OWNER_HEAD, axis=self.down, shadow=0.5,
            center=self.at([x, y]), radii=(0.4 * self.unit, 0.58 * self.unit),
            roundness=0.85,
        )  # fmt: skip

    def _ears(self) -> None:
        if self.outfit.hair_style in _OVER_EARS:
            return
        for sign in (-1, 1):
            x, z = self.facing(sign * 0.335, -0.05)
            if z < -0.16:
                continue
            ear = [
                (x, -0.07), (x + sign * 0.05, -0.08), (x + sign * 0.06, 0.0),
                (x + sign * 0.02, 0.11), (x - sign * 0.03, 0.1), (x - sign * 0.04, 0.0),
            ]  # fmt: skip
            self._blob(ear, self.skin, "Face", center=None, radii=None, puff=0.04)
            inner = self.at([(x + sign * 0.015, -0.04), (x + sign * 0.01, 0.05)])
            self.painter.line(inner, self.skin.color * 0.72, 0.02)

    def _features(self) -> None:
        painter, skin, outfit = self.painter, self.skin.color, self.outfit
        dark = skin * (0.66, 0.58, 0.56)
        light = painter.light.direction
        for sign in (-1, 1):
            x, z = self.facing(sign * 0.15, 0.3)
            if z < 0.08:
                continue
            wide = float(np.clip(z / 0.3, 0.35, 1.0))
            painter.tone(self.at([x, -0.01]), (0.1 * wide, 0.07), -0.12 * skin)
            cheek = self.facing(sign * 0.2, 0.22)[0]
            blush = (14, -4, -2) if self.body.feminine else (5, -3, -3)
            painter.tone(self.at([cheek, 0.17]), (0.09 * wide, 0.08), blush)
            self._eye(x, sign, wide)
            brow = outfit.hair.color * 0.8
            bend = 0.025 if self.body.feminine else 0.012
            line = [
                (x - 0.1 * wide, -0.105 + (0.02 if sign < 0 else 0)),
                (x, -0.12 - bend),
                (x + 0.1 * wide, -0.105 + (0.02 if sign > 0 else 0)),
            ]  # fmt: skip
            painter.line(
                self._curve(line), brow, 0.022 if self.body.feminine else 0.032
            )
        self._nose(dark, light)
        self._mouth()

    def _curve(self, points: Sequence) -> np.ndarray:
        """A quadratic through three frame points, in layer pixels."""
        a, b, c = np.asarray(points, np.float64)
        s = np.linspace(0, 1, 9)[:, None]
        b = 2 * b - (a + c) / 2
        return self.at((1 - s) ** 2 * a + 2 * s * (1 - s) * b + s**2 * c)

    def _eye(self, x: float, sign: int, wide: float) -> None:
        painter, outfit = self.painter, self.outfit
        size, tall, y = 0.084 * wide, 0.04, 0.01
        up = np.linspace(np.pi, 2 * np.pi, 7)
        lid = np.column_stack([x + size * np.cos(up), y + tall * np.sin(up)])
        low = np.linspace(0, np.pi, 7)[1:-1]
        rest = np.column_stack([x + size * np.cos(low), y + 0.75 * tall * np.sin(low)])
        white = np.clip(
            0.72 * np.array([236, 232, 228]) + 0.25 * self.skin.color, 0, 240
        )
        painter.fill(self.at(np.concatenate([lid, rest])), white)
        look = x + 0.02 * self.sin
        painter.dot(self.at([look, y - 0.003]), 0.038, outfit.iris)
        painter.dot(self.at([look, y - 0.003]), 0.016, (16, 14, 14))
        painter.dot(self.at([look - 0.012, y - 0.015]), 0.008, (244, 244, 244))
        lash = (30, 22, 20) if self.body.feminine else self.skin.color * 0.4
        painter.line(self.at(lid), lash, 0.024 if self.body.feminine else 0.016)
        painter.line(self.at(lid - [0, 0.028]), self.skin.color * 0.74, 0.01)
        if self.body.feminine:
            corner = np.array(
                [(x + sign * size, y), (x + sign * (size + 0.025), y - 0.02)]
            )
            painter.line(self.at(corner), lash, 0.018)
        painter.line(self.at(rest), self.skin.color * 0.72, 0.008)

    def _nose(self, dark: np.ndarray, light: np.ndarray) -> None:
        painter, skin = self.painter, self.skin.color
        bridge, _ = self.facing(0.0, 0.34)
        tip, z = self.facing(0.0, 0.42)
        if z < 0.1:
            return
        base, _ = self.facing(0.0, 0.36)
        shaded = -1 if light[0] > 0 else 1
        painter.tone(
            self.at([bridge + shaded * 0.055, 0.06]), (0.035, 0.1), -0.17 * skin
        )
        painter.tone(self.at([tip, 0.1]), (0.035, 0.06), 0.1 * (255 - skin) + 6)
        painter.tone(self.at([base, 0.185]), (0.075, 0.025), -0.24 * skin)
        for sign in (-1, 1):
            hole, facing = self.facing(sign * 0.042, 0.36)
            if facing > 0.1:
                points = [(hole - 0.018, 0.158), (hole, 0.151), (hole + 0.018, 0.158)]
                painter.line(self._curve(points), dark * 0.62, 0.018)
            wing, facing = self.facing(sign * 0.072, 0.32)
            if facing > 0.1:
                points = [
                    (wing - sign * 0.01, 0.105),
                    (wing + sign * 0.004, 0.13),
                    (wing - sign * 0.012, 0.158),
                ]
                painter.line(self._curve(points), skin * 0.78, 0.012)

    def _mouth(self) -> None:
        painter, lips = self.painter, self.outfit.lips
        left, _ = self.facing(-0.105, 0.27)
        right, _ = self.facing(0.105, 0.27)
        middle, _ = self.facing(0.0, 0.34)
        left, right = min(left, middle - 0.02), max(right, middle + 0.02)
        y, full = 0.275, 1.0 if self.body.feminine else 0.72
        bow = [
            (left, y), ((left + middle) / 2, y - 0.026 * full),
            (middle - 0.01, y - 0.034 * full), (middle, y - 0.026 * full),
            (middle + 0.01, y - 0.034 * full), ((right + middle) / 2, y - 0.026 * full),
            (right, y), (middle, y + 0.006),
        ]  # fmt: skip
        low = [
            (left, y), (middle, y + 0.004), (right, y),
            ((right + middle) / 2, y + 0.036 * full), (middle, y + 0.05 * full),
            ((left + middle) / 2, y + 0.036 * full),
        ]  # fmt: skip
        painter.tone(
            self.at([middle, y + 0.085]), (0.08, 0.025), -0.13 * self.skin.color
        )
        painter.fill(self.at(bow), lips * 0.9)
        painter.fill(self.at(low), np.minimum(lips * 1.06, 255))
        painter.line(
            self._curve(
                [
                    (left - 0.01, y - 0.012),
                    (middle, y + 0.006),
                    (right + 0.01, y - 0.012),
                ]
            ),
            lips * 0.5,
            0.013,
        )

    def _beard(self) -> None:
        outline = self._outline()
        middle = 0.34 * self.sin
        low = [tuple(point) for point in outline[4:11]]
        upper = [
            (low[-1][0], 0.1), (middle - 0.17, 0.2), (middle - 0.1, 0.215),
            (middle, 0.205), (middle + 0.1, 0.215), (middle + 0.17, 0.2),
            (low[0][0], 0.1),
        ]  # fmt: skip
        material = self.hair
        color = 0.6 * material.tile + 0.4 * self.skin.color
        beard = replace(material, tile=np.clip(color, 0, 255).astype(np.uint8), gloss=0)
        self._blob(low + upper, beard, "Face", smooth=1, only_on="Face")

    def _hairline(self) -> None:
        """Hair that lies over the forehead and down the sides of the face."""
        style, grow, part = self.outfit.hair_style, self.volume, self.outfit.parting
        lines = {
            "fringe": [
                (-0.36, 0.02), (-0.29, -0.13), (-0.1, -0.15), (0.1, -0.15),
                (0.29, -0.13), (0.36, 0.02),
            ],
            "quiff": [
                (-0.35, -0.02), (-0.29, -0.22), (-0.16, -0.31), (0.1, -0.33),
                (0.29, -0.24), (0.35, -0.02),
            ],
            "buzz": [
                (-0.35, -0.05), (-0.28, -0.23), (-0.16, -0.3), (0.16, -0.3),
                (0.28, -0.23), (0.35, -0.05),
            ],
            "short": [
                (-0.35, 0.0), (-0.29, -0.2), (part - 0.12, -0.27), (part + 0.06, -0.3),
                (0.29, -0.17), (0.35, 0.0),
            ],
            "curly": [
                (-0.37, 0.05), (-0.28, -0.16), (-0.1, -0.24), (0.1, -0.23),
                (0.28, -0.16), (0.37, 0.05),
            ],
            "bun": [
                (-0.35, -0.02), (-0.29, -0.2), (-0.13, -0.31), (0.13, -0.31),
                (0.29, -0.2), (0.35, -0.02),
            ],
        }  # fmt: skip
        lines["ponytail"] = lines["bun"]
        parted = [
            (-0.37, 0.12), (-0.28, -0.08), (part - 0.09, -0.27), (part, -0.37),
            (part + 0.09, -0.27), (0.28, -0.08), (0.37, 0.12),
        ]  # fmt: skip
        line = np.array(lines.get(style, parted))
        line = self.turned(line[:, 0], line[:, 1])
        shift, wide = self.shift, self.wide
        angles = np.linspace(0.02, np.pi - 0.02, 13)
        raised = 0.07 if style == "quiff" else 0.0
        top = np.column_stack([
            shift + wide * np.cos(angles),
            0.02 - (0.52 + grow + raised * np.sin(angles) ** 4) * np.sin(angles),
        ])  # fmt: skip
        dense = smooth_closed(line, 4)[: 4 * (len(line) - 1) + 1]
        outline = np.concatenate([top, dense])
        self._blob(outline, self.hair, "Hair", smooth=1, shadow=0.3)
        self._sides(style, line)
        if (
            self.outfit.hat is None
            and style in ("long", "wavy", "bob", "short")
            and self.cos > 0.3
        ):
            start, end = (
                self.turned([part], [-0.37])[0],
                self.turned([part * 0.8], [-0.5])[0],
            )
            self.painter.line(self.at([start, end]), self.hair.color * 0.62, 0.014)

    def _sides(self, style: str, line: np.ndarray) -> None:
        """What hides the sides of the head: behind the ear, or over it."""
        shift, wide = self.shift, self.wide
        over = style in _OVER_EARS
        length = 0.42 if style in ("bob", "curly") else 0.5
        for sign in (-1, 1):
            away = -sign * self.sin
            # The side the head is turned away from shows more hair.
            if away < -0.75:
                continue
            outer = shift + sign * wide
            ear, _ = self.facing(sign * 0.335, -0.05)
            if over:
                inner, _ = self.facing(sign * (0.3 if style != "curly" else 0.33), 0.1)
                inner = max(inner * sign, 0.14) * sign if abs(self.sin) < 0.5 else inner
                outline = [
                    (outer * 0.98, -0.15), (outer + sign * 0.015, 0.1),
                    (outer + sign * 0.03, length - 0.08), (outer - sign * 0.06, length),
                    (inner + sign * 0.03, length - 0.06), (inner - sign * 0.005, 0.2),
                    (inner, 0.0), (line[0 if sign < 0 else -1][0] - sign * 0.05, -0.16),
                ]  # fmt: skip
            elif away > 0.25:
                inner = ear + sign * 0.03
                outline = [
                    (inner - sign * 0.1, -0.25), (outer * 0.98, -0.2), (outer, 0.05),
                    (outer * 0.8, 0.22), (inner + sign * 0.04, 0.2), (inner, 0.08),
                    (inner - sign * 0.02, -0.08), (inner - sign * 0.1, -0.04),
                ]  # fmt: skip
            else:
                continue
            self._blob(outline, self.hair, "Hair")

    def paint_length(self) -> None:
        """Hair that falls down the back or onto the shoulders, if it is long."""
        style = self.outfit.hair_style
        if style not in _LONG:
            return
        long = self.outfit.hair_length
        shift = -0.12 * self.sin
        if style == "ponytail":
            x = -0.4 * self.sin
            if self.cos > 0.75:
                return
            start, end = self.at([x, -0.2]), self.at([x * 1.3, 0.35 + 0.5 * long])
            at = np.linspace(0, 1, 12)
            points = start + (end - start) * at[:, None]
            points = (
                points + self.right * (np.sin(at * 3) * x * 0.4 * self.unit)[:, None]
            )
            radius = profile(at, (0, 0.06), (0.3, 0.15), (1, 0.05)) * self.unit
            self.painter.tube(
                points, radius, radius, self.hair, "Hair", OWNER_HEAD, pleats=0.2,
                shadow=0.3,
            )  # fmt: skip
            return
        at = np.linspace(0, 1, 16)
        points = self.at(
            np.column_stack([np.full(16, shift), -0.1 + (0.4 + long) * at])
        )
        wave = 0.035 * np.sin(at * 17) if style == "wavy" else 0 * at
        wide = 0.38 + self.volume
        radius = profile(
            at, (0, wide), (0.3, wide + 0.03), (0.75, wide + 0.05), (1, 0.3)
        )
        self.painter.tube(
            points, (radius + wave) * self.unit, (radius - wave) * self.unit,
            self.hair, "Hair", OWNER_HEAD, pleats=0.22, pleat_count=6, hem=0.2,
            caps=(False, False), roundness=0.8, shadow=0.35,
            darker=0.12 if self.cos > 0 else 0.0,
        )  # fmt: skip

    def _sunglasses(self) -> None:
        painter, color = self.painter, self.outfit.sunglasses
        lens = solid(color, 0.35)
        places = []
        for sign in (-1, 1):
            x, z = self.facing(sign * 0.155, 0.33)
            if z < 0.06:
                continue
            wide = float(np.clip(z / 0.32, 0.35, 1.0))
            outline = [
                (x - 0.125 * wide, -0.07), (x, -0.085), (x + 0.125 * wide, -0.07),
                (x + 0.12 * wide, 0.03), (x + 0.03 * wide, 0.085),
                (x - 0.03 * wide, 0.085), (x - 0.12 * wide, 0.03),
            ]  # fmt: skip
            self._blob(outline, lens, "Sunglasses", center=None, radii=None, puff=0.05)
            glare = self.at(
                [
                    (x - 0.05 * wide, -0.045),
                    (x + 0.03 * wide, -0.05),
                    (x - 0.05 * wide, 0.02),
                ]
            )
            painter.fill(glare, tint(color, 0.25))
            places.append((x, wide))
            temple, _ = self.facing(sign * 0.335, -0.02)
            if sign * (temple - x) > 0.05:
                edge = x + sign * 0.115 * wide
                self._blob(
                    [(edge, -0.06), (temple, -0.05), (temple, -0.02), (edge, -0.03)],
                    lens, "Sunglasses", smooth=1, center=None, radii=None,
                )  # fmt: skip
        if len(places) == 2:
            (a, wide_a), (b, wide_b) = places
            a, b = a + 0.1 * wide_a, b - 0.1 * wide_b
            self._blob(
                [(a, -0.055), (b, -0.055), (b, -0.025), (a, -0.025)], lens,
                "Sunglasses", smooth=1, center=None, radii=None,
            )  # fmt: skip

    def _beanie(self, shift: float, wide: float, band: float, ball: dict) -> None:
        outfit = self.outfit
        outline = [
            (shift - wide, band + 0.02), (shift - wide * 0.98, -0.42),
            (shift - 0.25, -0.62), (shift, -0.67), (shift + 0.25, -0.62),
            (shift + wide * 0.98, -0.42), (shift + wide, band + 0.02),
            (shift, band + 0.05),
        ]  # fmt: skip
        self._blob(outline, outfit.hat, "Hat", shadow=0.4, **ball)
        rim = [
            (shift - wide - 0.02, band - 0.12), (shift, band - 0.08),
            (shift + wide + 0.02, band - 0.12), (shift + wide + 0.02, band + 0.06),
            (shift, band + 0.1), (shift - wide - 0.02, band + 0.06),
        ]  # fmt: skip
        darker = replace(outfit.hat, tile=(outfit.hat.tile * 0.85).astype(np.uint8))
        self._blob(rim, darker, "Hat", smooth=3, **ball)

    def _visor(self, shift: float, band: float, tall: float) -> None:
        outfit, angles = self.outfit, circle(24)
        reach = 0.14 + 0.3 * abs(self.sin)
        half = 0.36 - 0.06 * abs(self.sin)
        x = shift + 0.42 * self.sin
        brim = np.column_stack(
            [
                x + (half + reach * 0.2) * np.cos(angles),
                band + 0.05 + (0.04 + 0.07 * max(self.cos, 0)) * np.sin(angles),
            ]
        )
        self._blob(
            brim,
            outfit.hat,
            "Hat",
            smooth=1,
            center=None,
            radii=None,
            puff=0.06,
            shadow=0.5,
            darker=0.12,
        )
        button = self.at([shift, -tall - 0.03])
        self.painter.dot(button, 0.02, outfit.hat.color * 0.7)

    def _hat(self) -> None:
        outfit, kind = self.outfit, self.outfit.hat_kind
        shift = -0.05 * self.sin
        wide = 0.4 + 0.04 * abs(self.sin) + max(self.volume, 0) * 0.6
        band = -0.24
        radii = (0.5 * self.unit, 0.5 * self.unit)
        ball = {"center": self.at([shift, -0.2]), "radii": radii}
        if kind == "beanie":
            self._beanie(shift, wide, band, ball)
            return
        tall = {"brim": 0.7, "cap": 0.6, "bucket": 0.64}[kind]
        crown = [
            (shift - wide, band + 0.03), (shift - wide * 0.94, -0.45),
            (shift - wide * 0.72, -tall), (shift, -tall - 0.03 * (kind != "brim")),
            (shift + wide * 0.72, -tall), (shift + wide * 0.94, -0.45),
            (shift + wide, band + 0.03), (shift, band + 0.08),
        ]  # fmt: skip
        angles = circle(24)
        if kind == "cap":
            self._blob(crown, outfit.hat, "Hat", shadow=0.35, **ball)
            if self.cos > -0.3:
                self._visor(shift, band, tall)
            return
        reach = 0.68 if kind == "brim" else 0.53
        tilt = 0.13 if kind == "brim" else 0.16
        brim = np.column_stack(
            [shift + reach * np.cos(angles), band + 0.02 + tilt * np.sin(angles)]
        )
        self._blob(
            brim, outfit.hat, "Hat", smooth=1, center=None, radii=None, puff=0.08,
            shadow=0.55, darker=0.1,
        )  # fmt: skip
        self._blob(crown, outfit.hat, "Hat", **ball)
        if kind == "brim":
            strip = [
                (shift - wide, band - 0.07), (shift, band - 0.025),
                (shift + wide, band - 0.07), (shift + wide, band + 0.03),
                (shift, band + 0.085), (shift - wide, band + 0.03),
            ]  # fmt: skip
            self._blob(strip, solid(outfit.hat_band), "Hat", smooth=3, **ball)
