"""Legs, trousers and shoes.

Conventions:
    * A shoe's points are (ahead, up, across) in heads: ahead of the ankle along the
      foot, above the sole, to the side. The toes begin at `ANKLE_TO_BALL`.
    * Each leg is painted with all it wears, so the nearer covers the farther.
"""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from portrait_tf.data.synthetic.body import ANKLE_HEIGHT, ANKLE_TO_BALL
from portrait_tf.data.synthetic.figure import Figure
from portrait_tf.data.synthetic.geometry import profile, smooth_closed
from portrait_tf.data.synthetic.materials import tint
from portrait_tf.data.synthetic.parts import OWNER_LEG, SIDES


def paint_leg(figure: Figure, side: int) -> None:
    """One leg with sock, shoe and trouser; a tall boot covers a narrow trouser."""
    body, outfit, painter = figure.body, figure.outfit, figure.painter
    owner, prefix = OWNER_LEG[side], SIDES[side]
    at = np.linspace(0, 2, 26)
    line, radius = figure.leg_line(side, at), figure.leg_radius(at)
    calf = 0.14 * np.exp(-np.square((at - 1.35) / 0.25)) * radius
    outer = side * np.sign(figure.cos)
    plus, minus = radius + calf * (outer > 0), radius + calf * (outer < 0)
    painter.tube(line, plus, minus, outfit.skin, f"{prefix}Leg", owner, shadow=0.45)
    if np.cos(body.yaw) > 0.3:
        painter.tone(line[13], (0.11, 0.1), -0.07 * outfit.skin.color)
    if outfit.socks is not None:
        part = at >= outfit.sock_height
        painter.tube(
            line[part], radius[part] * 1.06, radius[part] * 1.06, outfit.socks,
            "Socks", owner, caps=(False, True), bends=(0.9,),
        )  # fmt: skip
    tall = outfit.shoes.shaft > 0
    over = outfit.leg_ease[2] > 0.05 and outfit.leg_end > 1.0
    label = "Jumpsuits" if outfit.kind == "jumpsuit" else "Pants"
    if tall and not over and outfit.bottom_kind == "pants":
        _trouser(figure, side, label)
    _shoe(figure, side)
    if tall:
        _shaft(figure, side)
    if (over or not tall) and outfit.bottom_kind == "pants":
        _trouser(figure, side, label)


def _trouser(figure: Figure, side: int, label: str) -> None:
    outfit = figure.outfit
    at = np.linspace(0.0, outfit.leg_end, 26)
    line, radius = figure.leg_line(side, at), figure.leg_radius(at)
    thigh, knee, hem = outfit.leg_ease
    ease = profile(at, (0.0, 0.02), (0.5, thigh), (1.0, knee), (1.95, hem))
    radius = radius + ease * figure.camera.unit
    bends = [1.0 / outfit.leg_end] if outfit.leg_end > 1.1 else []
    if outfit.leg_end > 1.8:
        bends.append(0.97)
    figure.painter.tube(
        line, radius, radius, outfit.bottom, label, OWNER_LEG[side], hem=0.16,
        caps=(False, False), bends=bends, shadow=0.4,
    )  # fmt: skip
    color = tint(outfit.bottom.color, -0.3)
    if outfit.kind == "top":
        edge = line[-2]
        across = np.array([radius[-2] * 0.92, 0])
        figure.painter.line(np.stack([edge - across, edge + across]), color, 0.012)


def _shaft(figure: Figure, side: int) -> None:
    shoes = figure.outfit.shoes
    at = np.linspace(2 - shoes.shaft, 2.02, 14)
    line = figure.leg_line(side, at)
    radius = figure.leg_radius(at) + 0.035 * figure.camera.unit
    figure.painter.tube(
        line, radius, radius, replace(shoes.upper, folds=0.3),
        f"{SIDES[side]}Shoe", OWNER_LEG[side], caps=(False, True),
        bends=(0.8,), fade=(0, 0.2),
    )  # fmt: skip
    top = np.stack([line[0] - [radius[0], 0], line[0] + [radius[0], 0]])
    figure.painter.line(top, tint(shoes.upper.color, -0.35), 0.02)


def _shoe(figure: Figure, side: int) -> None:
    body, shoes, painter = figure.body, figure.outfit.shoes, figure.painter
    owner, label = OWNER_LEG[side], f"{SIDES[side]}Shoe"
    heading, pitch = body.feet[side], body.pitch[side]
    up = np.array([0.0, 1.0, 0.0])
    fore = np.cos(pitch) * heading - np.sin(pitch) * up
    above = np.cos(pitch) * up + np.sin(pitch) * heading
    across = np.cross(up, heading)
    sole_center = body.ankles[side] - ANKLE_HEIGHT * above

    def place(ahead: float, height: float, width: float) -> np.ndarray:
        point = sole_center + ahead * fore + height * above + width * across
        beyond = ahead - ANKLE_TO_BALL
        if beyond > 0 and pitch:
            # The toes stay on the ground while the heel is up.
            flat = sole_center + ANKLE_TO_BALL * fore
            point = flat + beyond * heading + height * up + width * across
        return point

    low = shoes.kind in ("heel", "flat")
    narrow = 0.85 if low else 1.0
    stations = (
        (-0.24, 0.09, 0.24 if low else 0.33),
        (-0.16, 0.14, 0.26 if low else 0.37),
        (0.05, 0.155, 0.2 if low else 0.37),
        (0.25, 0.165, 0.17 if low else 0.28),
        (0.5, 0.19, 0.16 if low else 0.19),
        (0.66, 0.16, 0.13 if low else 0.15),
        (0.76, 0.09, 0.09 if low else 0.1),
    )
    soles, uppers = [], []
    for ahead, half, height in stations:
        for sign in (-1, 1):
            width = sign * half * narrow
            soles.append(place(ahead, 0.0, width * 1.06))
            soles.append(place(ahead, shoes.sole_height, width * 1.06))
            uppers.append(place(ahead, shoes.sole_height, width))
            uppers.append(place(ahead, height, width * 0.62))

    def hull(points: list[np.ndarray]) -> np.ndarray:
        flat = figure.camera.project(np.stack(points)).astype(np.float32)
        return cv2.convexHull(flat)[:, 0].astype(np.float64)

    if pitch > 0.3 and shoes.kind in ("heel", "boot"):
        drop = place(-0.15, 0.0, 0.0)
        tip = drop.copy()
        tip[1] = 0.0 if drop[1] < 0.45 else drop[1] - 0.3
        top, bottom = figure.camera.project(np.stack([drop, tip]))
        thick = (0.05 if shoes.kind == "heel" else 0.11) * figure.camera.unit
        painter.shape(
            np.array([
                top + [-1.8 * thick, 0], top + [1.8 * thick, 0],
                bottom + [thick * 0.8, 0], bottom - [thick * 0.8, 0],
            ]),
            shoes.upper, label, owner, puff=0.03, darker=0.1,
        )  # fmt: skip
    painter.shape(hull(soles), shoes.sole, label, owner, puff=0.03)
    outline = hull(uppers)
    painter.shape(smooth_closed(outline, 3), shoes.upper, label, owner, puff=0.09)
    _shoe_details(figure, side, place, low)


def _shoe_details(figure: Figure, side: int, place: Callable, low: bool) -> None:
    shoes, painter = figure.outfit.shoes, figure.painter
    project = figure.camera.project
    if low:
        # The foot shows in the opening.
        rim = [
            (-0.16, 0.0, 0.27), (-0.1, 0.1, 0.24), (0.15, 0.12, 0.19),
            (0.4, 0.09, 0.175), (0.48, 0.0, 0.17), (0.4, -0.09, 0.175),
            (0.15, -0.12, 0.19), (-0.1, -0.1, 0.24),
        ]  # fmt: skip
        opening = np.stack([place(x, h, w * 0.85) for x, w, h in rim])
        material, label = figure.outfit.skin, f"{SIDES[side]}Leg"
        if figure.outfit.socks is not None:
            material, label = figure.outfit.socks, "Socks"
        painter.shape(
            smooth_closed(project(opening), 3), material, label, OWNER_LEG[side],
            only_on=f"{SIDES[side]}Shoe", puff=0.08,
        )  # fmt: skip
        at = np.linspace(1.8, 2.0, 6)
        radius = figure.leg_radius(at)
        line = figure.leg_line(side, at)
        painter.tube(
            line, radius, radius, material, label, OWNER_LEG[side], fade=(0.5, 0)
        )
        return
    if np.cross(figure.body.feet[side], [0, 1, 0])[0] > 0.2:
        return
    if shoes.kind in ("sneaker", "boot", "oxford"):
        for x, height in ((0.22, 0.31), (0.3, 0.275), (0.38, 0.245), (0.46, 0.215)):
            ends = [place(x, height, w) for w in (-0.07, 0.07)]
            painter.line(project(np.stack(ends)), shoes.detail, 0.022)
    if shoes.kind in ("sneaker", "oxford"):
        cap = [place(0.55, 0.19 - 0.5 * abs(w), w) for w in np.linspace(-0.14, 0.14, 5)]
        painter.line(project(np.stack(cap)), tint(shoes.upper.color, -0.3), 0.014)
