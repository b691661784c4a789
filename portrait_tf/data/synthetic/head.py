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
from portrait_tf.data.synthetic.materials import Material, solid, tint
from portrait_tf.data.synthetic.painter import Paint
from portrait_tf.data.synthetic.scene import OWNER_HEAD, circle, profile, smooth_closed

_LONG = ("long", "wavy", "fringe", "ponytail")
_OVER_EARS = ("long", "wavy", "bob", "curly", "fringe")

_VOLUMES = {
    "curly": 0.08, "wavy": 0.04, "buzz": -0.045, "bun": -0.02, "ponytail": -0.02,
    "short": -0.015, "quiff": -0.03,
}  # fmt: skip

_HAIRLINES = {
    "fringe": ((-0.36, 0.02), (-0.29, -0.13), (-0.1, -0.15), (0.1, -0.15),
               (0.29, -0.13), (0.36, 0.02)),
    "quiff": ((-0.35, -0.02), (-0.29, -0.22), (-0.16, -0.31), (0.1, -0.33),
              (0.29, -0.24), (0.35, -0.02)),
    "buzz": ((-0.35, -0.05), (-0.28, -0.23), (-0.16, -0.3), (0.16, -0.3),
             (0.28, -0.23), (0.35, -0.05)),
    "curly": ((-0.37, 0.05), (-0.28, -0.16), (-0.1, -0.24), (0.1, -0.23),
              (0.28, -0.16), (0.37, 0.05)),
    "bun": ((-0.35, -0.02), (-0.29, -0.2), (-0.13, -0.31), (0.13, -0.31),
            (0.29, -0.2), (0.35, -0.02)),
}  # fmt: skip
_HAIRLINES["ponytail"] = _HAIRLINES["bun"]

_PROFILE = (
    (0.2, -0.3), (0.345, -0.16), (0.36, -0.06), (0.35, -0.01), (0.45, 0.13),
    (0.43, 0.165), (0.36, 0.18), (0.385, 0.235), (0.365, 0.265), (0.38, 0.3),
    (0.34, 0.34), (0.36, 0.41), (0.3, 0.475), (0.1, 0.44),
)  # fmt: skip

# Height of each crown; the beanie has its own outline.
_CROWNS = {"brim": 0.7, "cap": 0.6, "bucket": 0.64}


class Head:
    """Paints a head: the hair down the back, then all the rest."""

    def __init__(self, figure: Figure) -> None:
        self.painter, self.outfit = figure.painter, figure.outfit
        self.body = body = figure.body
        self.skin, self.hair = self.outfit.skin, self.outfit.hair
        self.style, self.feminine = self.outfit.hair_style, body.feminine
        self.unit = figure.scale(body.head)
        self.center = figure.camera.project(body.head)
        self.sin, self.cos = float(np.sin(body.head_yaw)), float(np.cos(body.head_yaw))
        roll = body.head_roll
        self.down = np.array([-np.sin(roll), np.cos(roll)])
        self.right = np.array([np.cos(roll), np.sin(roll)])
        self.jaw = 0.94 if self.feminine else 1.06
        self.volume = _VOLUMES.get(self.style, 0.025)
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
        side, facing = self.facing(x, z)
        rim = np.copysign(0.4 * np.sqrt(np.clip(1 - (y / 0.56) ** 2, 0, 1)), side)
        return np.stack([np.where(facing < -0.02, rim, side), y], -1)

    def facing(self, x: float, z: float) -> tuple[float, float]:
        """Where a feature at (x, z) lands, and how much it faces the camera."""
        return x * self.cos + z * self.sin, z * self.cos - x * self.sin

    def paint(self) -> None:
        """Head, face, hat and glasses, without `paint_length`'s hair."""
        outfit = self.outfit
        self._mass()
        if self.cos > -0.45:
            self._face()
            if outfit.beard and self.cos > 0.0:
                self._beard()
            if self.cos > -0.2:
                self._features()
            self._ears()
            self._hairline()
        if self.style == "bun" and outfit.hat is None:
            center, angles = self.at([-0.22 * self.sin, -0.56]), circle(12)
            size = 0.16 * self.unit
            outline = center + size * np.column_stack([np.cos(angles), np.sin(angles)])
            hair = Paint(self.hair, "Hair", OWNER_HEAD)
            self.painter.shape(outline, hair, center=center, radii=(size, size))
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
        ball = {
            "center": self.at([0.0, 0.0]),
            "radii": (0.47 * self.unit, 0.62 * self.unit),
        }
        paint = Paint(material, label, OWNER_HEAD)
        self.painter.shape(points, paint, axis=self.down, **{**ball, **options})

    def _pad(
        self, outline: Sequence, material: Material, label: str, smooth: int = 4,
        **options: object,
    ) -> None:  # fmt: skip
        """A part that stands out from the head, puffed up by itself."""
        self._blob(outline, material, label, smooth, center=None, radii=None, **options)

    def _mass(self) -> None:
        """The hair behind the face; from the back it is the whole head."""
        round_cut = self.style in ("bob", "curly")
        nape = 0.42 if round_cut else 0.34 if self.style in _LONG else 0.2
        full = round_cut or self.style in ("long", "wavy")
        top, wide = -0.42 - self.volume, self.wide
        bottom = wide * (0.98 if full else 0.7)
        right = [
            (0.62 * wide, top), (0.97 * wide, -0.17), (wide, 0.08), (bottom, nape),
            (0.4 * bottom, nape + 0.06),
        ]  # fmt: skip
        outline = [(0, top - 0.08), *right, *((-x, y) for x, y in right[::-1])]
        outline = np.array(outline) + [self.shift, 0]
        self._blob(outline, self.hair, "Hair", shadow=0.35, darker=0.08)

    def _outline(self) -> np.ndarray:
        """The face's border, from the forehead clockwise."""
        half = np.array([
            (0.0, -0.37), (0.19, -0.34), (0.29, -0.2), (0.315, 0.0),
            (0.3, 0.17), (0.235 * self.jaw, 0.335), (0.11 * self.jaw, 0.455),
        ])  # fmt: skip
        outline = np.concatenate([half, [(0, 0.485)], half[:0:-1] * (-1, 1)])
        y = outline[:, 1]
        shift = np.interp(y, [-0.4, 0.0, 0.5], [0.06, 0.09, 0.15]) * self.sin
        outline[:, 0] = outline[:, 0] * (1 - 0.1 * abs(self.sin)) + shift
        return outline

    def _face(self) -> None:
        outlines = [smooth_closed(self.at(self._outline()), 5)]
        if abs(self.sin) > 0.8 and self.cos > -0.3:
            outlines.append(self.at(np.array(_PROFILE) * [np.sign(self.sin), 1]))
        self.painter.shape(
            outlines, Paint(self.skin, "Face", OWNER_HEAD), axis=self.down, shadow=0.5,
            center=self.at([0.08 * self.sin, 0.0]),
            radii=(0.4 * self.unit, 0.58 * self.unit), roundness=0.85,
        )  # fmt: skip

    def _ears(self) -> None:
        for sign in (-1, 1) if self.style not in _OVER_EARS else ():
            x, z = self.facing(sign * 0.335, -0.05)
            if z < -0.16:
                continue
            ear = [
                (x, -0.07), (x + sign * 0.05, -0.08), (x + sign * 0.06, 0.0),
                (x + sign * 0.02, 0.11), (x - sign * 0.03, 0.1), (x - sign * 0.04, 0.0),
            ]  # fmt: skip
            self._pad(ear, self.skin, "Face", puff=0.04)
            inner = self.at([(x + sign * 0.015, -0.04), (x + sign * 0.01, 0.05)])
            self.painter.line(inner, self.skin.color * 0.72, 0.02)

    def _features(self) -> None:
        """Eyes, cheeks, brows, nose and mouth."""
        painter, skin = self.painter, self.skin.color
        blush = (14, -4, -2) if self.feminine else (5, -3, -3)
        bend, thick = (0.025, 0.022) if self.feminine else (0.012, 0.032)
        for sign in (-1, 1):
            x, z = self.facing(sign * 0.15, 0.3)
            if z < 0.08:
                continue
            wide = float(np.clip(z / 0.3, 0.35, 1.0))
            painter.tone(self.at([x, -0.01]), (0.1 * wide, 0.07), -0.12 * skin)
            cheek = self.facing(sign * 0.2, 0.22)[0]
            painter.tone(self.at([cheek, 0.17]), (0.09 * wide, 0.08), blush)
            self._eye(x, sign, wide)
            ends = -0.105 + 0.02 * (sign < 0), -0.105 + 0.02 * (sign > 0)
            left, right = x - 0.1 * wide, x + 0.1 * wide
            brow = self._curve([(left, ends[0]), (x, -0.12 - bend), (right, ends[1])])
            painter.line(brow, self.hair.color * 0.8, thick)
        self._nose()
        self._mouth()

    def _curve(self, points: Sequence) -> np.ndarray:
        """A quadratic through three frame points, in layer pixels."""
        a, b, c = np.asarray(points, np.float64)
        s = np.linspace(0, 1, 9)[:, None]
        b = 2 * b - (a + c) / 2
        return self.at((1 - s) ** 2 * a + 2 * s * (1 - s) * b + s**2 * c)

    def _eye(self, x: float, sign: int, wide: float) -> None:
        painter, skin = self.painter, self.skin.color
        size, tall, y = 0.084 * wide, 0.04, 0.01
        up, low = np.linspace(np.pi, 2 * np.pi, 7), np.linspace(0, np.pi, 7)[1:-1]
        lid = np.column_stack([x + size * np.cos(up), y + tall * np.sin(up)])
        rest = np.column_stack([x + size * np.cos(low), y + 0.75 * tall * np.sin(low)])
        white = np.clip(0.72 * np.array([236, 232, 228]) + 0.25 * skin, 0, 240)
        painter.fill(self.at(np.concatenate([lid, rest])), white)
        look = x + 0.02 * self.sin
        painter.dot(self.at([look, y - 0.003]), 0.038, self.outfit.iris)
        painter.dot(self.at([look, y - 0.003]), 0.016, (16, 14, 14))
        painter.dot(self.at([look - 0.012, y - 0.015]), 0.008, (244, 244, 244))
        lash = (30, 22, 20) if self.feminine else skin * 0.4
        painter.line(self.at(lid), lash, 0.024 if self.feminine else 0.016)
        painter.line(self.at(lid - [0, 0.028]), skin * 0.74, 0.01)
        if self.feminine:
            corner = [(x + sign * size, y), (x + sign * (size + 0.025), y - 0.02)]
            painter.line(self.at(corner), lash, 0.018)
        painter.line(self.at(rest), skin * 0.72, 0.008)

    def _nose(self) -> None:
        painter, skin = self.painter, self.skin.color
        tip, z = self.facing(0.0, 0.42)
        if z < 0.1:
            return
        bridge, base = self.facing(0.0, 0.34)[0], self.facing(0.0, 0.36)[0]
        shaded = -0.055 if painter.light.direction[0] > 0 else 0.055
        painter.tone(self.at([bridge + shaded, 0.06]), (0.035, 0.1), -0.17 * skin)
        painter.tone(self.at([tip, 0.1]), (0.035, 0.06), 0.1 * (255 - skin) + 6)
        painter.tone(self.at([base, 0.185]), (0.075, 0.025), -0.24 * skin)
        dark = skin * (0.66, 0.58, 0.56) * 0.62
        for sign in (-1, 1):
            x, facing = self.facing(sign * 0.042, 0.36)
            if facing > 0.1:
                nostril = [(x - 0.018, 0.158), (x, 0.151), (x + 0.018, 0.158)]
                painter.line(self._curve(nostril), dark, 0.018)
            x, facing = self.facing(sign * 0.072, 0.32)
            if facing > 0.1:
                out, mid, end = x - sign * 0.01, x + sign * 0.004, x - sign * 0.012
                wing = self._curve([(out, 0.105), (mid, 0.13), (end, 0.158)])
                painter.line(wing, skin * 0.78, 0.012)

    def _mouth(self) -> None:
        painter, lips = self.painter, self.outfit.lips
        left, right = self.facing(-0.105, 0.27)[0], self.facing(0.105, 0.27)[0]
        middle = self.facing(0.0, 0.34)[0]
        left, right = min(left, middle - 0.02), max(right, middle + 0.02)
        half_left, half_right = (left + middle) / 2, (right + middle) / 2
        y, full = 0.275, 1.0 if self.feminine else 0.72
        bow = [
            (left, y), (half_left, y - 0.026 * full), (middle - 0.01, y - 0.034 * full),
            (middle, y - 0.026 * full), (middle + 0.01, y - 0.034 * full),
            (half_right, y - 0.026 * full), (right, y), (middle, y + 0.006),
        ]  # fmt: skip
        low = [
            (left, y), (middle, y + 0.004), (right, y), (half_right, y + 0.036 * full),
            (middle, y + 0.05 * full), (half_left, y + 0.036 * full),
        ]  # fmt: skip
        shade = -0.13 * self.skin.color
        painter.tone(self.at([middle, y + 0.085]), (0.08, 0.025), shade)
        painter.fill(self.at(bow), lips * 0.9)
        painter.fill(self.at(low), np.minimum(lips * 1.06, 255))
        corners = y - 0.012
        gap = [(left - 0.01, corners), (middle, y + 0.006), (right + 0.01, corners)]
        painter.line(self._curve(gap), lips * 0.5, 0.013)

    def _beard(self) -> None:
        middle = 0.34 * self.sin
        low = [tuple(point) for point in self._outline()[4:11]]
        upper = [
            (low[-1][0], 0.1), (middle - 0.17, 0.2), (middle - 0.1, 0.215),
            (middle, 0.205), (middle + 0.1, 0.215), (middle + 0.17, 0.2),
            (low[0][0], 0.1),
        ]  # fmt: skip
        tile = np.clip(0.6 * self.hair.tile + 0.4 * self.skin.color, 0, 255)
        beard = replace(self.hair, tile=tile.astype(np.uint8), gloss=0)
        self._blob(low + upper, beard, "Face", smooth=1, only_on="Face")

    def _hairline(self) -> None:
        """Hair that lies over the forehead and down the sides of the face."""
        style, grow, part = self.style, self.volume, self.outfit.parting
        parted = [
            (-0.37, 0.12), (-0.28, -0.08), (part - 0.09, -0.27), (part, -0.37),
            (part + 0.09, -0.27), (0.28, -0.08), (0.37, 0.12),
        ]  # fmt: skip
        if style == "short":
            parted = [
                (-0.35, 0.0), (-0.29, -0.2), (part - 0.12, -0.27), (part + 0.06, -0.3),
                (0.29, -0.17), (0.35, 0.0),
            ]  # fmt: skip
        line = self.turned(*np.array(_HAIRLINES.get(style, parted)).T)
        angles = np.linspace(0.02, np.pi - 0.02, 13)
        raised = 0.07 if style == "quiff" else 0.0
        top = np.column_stack([
            self.shift + self.wide * np.cos(angles),
            0.02 - (0.52 + grow + raised * np.sin(angles) ** 4) * np.sin(angles),
        ])  # fmt: skip
        dense = smooth_closed(line, 4)[: 4 * (len(line) - 1) + 1]
        outline = np.concatenate([top, dense])
        self._blob(outline, self.hair, "Hair", smooth=1, shadow=0.3)
        for sign in (-1, 1):
            self._side(sign, line[0 if sign < 0 else -1][0])
        shows = style in ("long", "wavy", "bob", "short") and self.cos > 0.3
        if shows and self.outfit.hat is None:
            ends = self.turned([part, part * 0.8], [-0.37, -0.5])
            self.painter.line(self.at(ends), self.hair.color * 0.62, 0.014)

    def _side(self, sign: int, end: float) -> None:
        """What hides one side of the head: behind the ear, or over it.

        `end` is the column where the hairline ends on this side.
        """
        away = -sign * self.sin
        # The side the head is turned away from shows more hair.
        if away < -0.75:
            return
        outer = self.shift + sign * self.wide
        if self.style in _OVER_EARS:
            length = 0.42 if self.style in ("bob", "curly") else 0.5
            inner, _ = self.facing(sign * (0.3 if self.style != "curly" else 0.33), 0.1)
            inner = max(inner * sign, 0.14) * sign if abs(self.sin) < 0.5 else inner
            outline = [
                (outer * 0.98, -0.15), (outer + sign * 0.015, 0.1),
                (outer + sign * 0.03, length - 0.08), (outer - sign * 0.06, length),
                (inner + sign * 0.03, length - 0.06), (inner - sign * 0.005, 0.2),
                (inner, 0.0), (end - sign * 0.05, -0.16),
            ]  # fmt: skip
        elif away > 0.25:
            inner = self.facing(sign * 0.335, -0.05)[0] + sign * 0.03
            outline = [
                (inner - sign * 0.1, -0.25), (outer * 0.98, -0.2), (outer, 0.05),
                (outer * 0.8, 0.22), (inner + sign * 0.04, 0.2), (inner, 0.08),
                (inner - sign * 0.02, -0.08), (inner - sign * 0.1, -0.04),
            ]  # fmt: skip
        else:
            return
        self._blob(outline, self.hair, "Hair")

    def paint_length(self) -> None:
        """Hair that falls down the back or onto the shoulders, if it is long."""
        hair, long = Paint(self.hair, "Hair", OWNER_HEAD), self.outfit.hair_length
        if self.style == "ponytail" and self.cos <= 0.75:
            x = -0.4 * self.sin
            start, end = self.at([x, -0.2]), self.at([x * 1.3, 0.35 + 0.5 * long])
            at = np.linspace(0, 1, 12)
            bow = self.right * (np.sin(at * 3) * x * 0.4 * self.unit)[:, None]
            radius = profile(at, (0, 0.06), (0.3, 0.15), (1, 0.05)) * self.unit
            self.painter.tube(
                start + (end - start) * at[:, None] + bow, radius, hair,
                caps=(True, True), pleats=0.2, shadow=0.3,
            )  # fmt: skip
        elif self.style in _LONG and self.style != "ponytail":
            at = np.linspace(0, 1, 16)
            columns = np.full(16, -0.12 * self.sin)
            points = self.at(np.column_stack([columns, -0.1 + (0.4 + long) * at]))
            wave = 0.035 * np.sin(at * 17) if self.style == "wavy" else 0 * at
            wide = 0.38 + self.volume
            radius = profile(
                at, (0, wide), (0.3, wide + 0.03), (0.75, wide + 0.05), (1, 0.3)
            )
            radii = (radius + wave) * self.unit, (radius - wave) * self.unit
            self.painter.tube(
                points, radii, hair, pleats=0.22, pleat_count=6, hem=0.2, roundness=0.8,
                shadow=0.35, darker=0.12 if self.cos > 0 else 0.0,
            )  # fmt: skip

    def _sunglasses(self) -> None:
        color = self.outfit.sunglasses
        lens = solid(color, 0.35), "Sunglasses"
        inner_edges = []
        for sign in (-1, 1):
            x, z = self.facing(sign * 0.155, 0.33)
            if z < 0.06:
                continue
            wide = float(np.clip(z / 0.32, 0.35, 1.0))
            inner_edges.append(x - sign * 0.1 * wide)
            outline = [
                (-0.125, -0.07), (0, -0.085), (0.125, -0.07), (0.12, 0.03),
                (0.03, 0.085), (-0.03, 0.085), (-0.12, 0.03),
            ]  # fmt: skip
            place, stretch = np.array([x, 0]), np.array([wide, 1])
            self._pad(place + stretch * outline, *lens, puff=0.05)
            glare = np.array([(-0.05, -0.045), (0.03, -0.05), (-0.05, 0.02)])
            self.painter.fill(self.at(place + stretch * glare), tint(color, 0.25))
            temple, _ = self.facing(sign * 0.335, -0.02)
            if sign * (temple - x) > 0.05:
                edge = x + sign * 0.115 * wide
                arm = [(edge, -0.06), (temple, -0.05), (temple, -0.02), (edge, -0.03)]
                self._pad(arm, *lens, smooth=1)
        if len(inner_edges) == 2:
            a, b = inner_edges
            bridge = [(a, -0.055), (b, -0.055), (b, -0.025), (a, -0.025)]
            self._pad(bridge, *lens, smooth=1)

    def _hat(self) -> None:
        hat, kind = self.outfit.hat, self.outfit.hat_kind
        shift, band = -0.05 * self.sin, -0.24
        wide = 0.4 + 0.04 * abs(self.sin) + max(self.volume, 0) * 0.6
        ball = {
            "center": self.at([shift, -0.2]),
            "radii": (0.5 * self.unit, 0.5 * self.unit),
        }
        place = np.array([shift, 0])
        if kind == "beanie":
            outline = place + [
                (-wide, band + 0.02), (-wide * 0.98, -0.42), (-0.25, -0.62),
                (0, -0.67), (0.25, -0.62), (wide * 0.98, -0.42), (wide, band + 0.02),
                (0, band + 0.05),
            ]  # fmt: skip
            self._blob(outline, hat, "Hat", shadow=0.4, **ball)
            edge = wide + 0.02
            rim = place + [
                (-edge, band - 0.12), (0, band - 0.08), (edge, band - 0.12),
                (edge, band + 0.06), (0, band + 0.1), (-edge, band + 0.06),
            ]  # fmt: skip
            darker = replace(hat, tile=(hat.tile * 0.85).astype(np.uint8))
            self._blob(rim, darker, "Hat", smooth=3, **ball)
            return
        tall = _CROWNS[kind]
        crown = place + [
            (-wide, band + 0.03), (-wide * 0.94, -0.45), (-wide * 0.72, -tall),
            (0, -tall - 0.03 * (kind != "brim")), (wide * 0.72, -tall),
            (wide * 0.94, -0.45), (wide, band + 0.03), (0, band + 0.08),
        ]  # fmt: skip
        if kind == "cap":
            self._blob(crown, hat, "Hat", shadow=0.35, **ball)
            if self.cos > -0.3:
                self._visor(shift, band)
                button = self.at([shift, -tall - 0.03])
                self.painter.dot(button, 0.02, hat.color * 0.7)
            return
        reach, tilt = (0.68, 0.13) if kind == "brim" else (0.53, 0.16)
        self._brim(shift, band + 0.02, reach, tilt, puff=0.08, shadow=0.55, darker=0.1)
        self._blob(crown, hat, "Hat", **ball)
        if kind == "brim":
            strip = place + [
                (-wide, band - 0.07), (0, band - 0.025), (wide, band - 0.07),
                (wide, band + 0.03), (0, band + 0.085), (-wide, band + 0.03),
            ]  # fmt: skip
            self._blob(strip, solid(self.outfit.hat_band), "Hat", smooth=3, **ball)

    def _visor(self, shift: float, band: float) -> None:
        turn = abs(self.sin)
        reach = 0.36 - 0.06 * turn + (0.14 + 0.3 * turn) * 0.2
        tall = 0.04 + 0.07 * max(self.cos, 0)
        x = shift + 0.42 * self.sin
        self._brim(x, band + 0.05, reach, tall, puff=0.06, shadow=0.5, darker=0.12)

    def _brim(
        self, x: float, y: float, reach: float, tall: float, **options: float
    ) -> None:
        angles = circle(24)
        brim = np.column_stack([x + reach * np.cos(angles), y + tall * np.sin(angles)])
        self._pad(brim, self.outfit.hat, "Hat", smooth=1, **options)
