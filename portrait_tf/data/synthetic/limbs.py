"""Arms, hands, legs and shoes, with what they wear.

Conventions:
    * Hands are labelled as their arm, or Glove. Their points are (along, aside) in
      heads: from the wrist towards the finger tips, and to the thumb's side.
    * A shoe's points are (ahead, up, across) in heads: ahead of the ankle along the
      foot, above the sole, to the side. The toes begin at `ANKLE_TO_BALL`.
    * Each limb is painted with all it wears, so the nearer covers the farther.
"""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from portrait_tf.data.synthetic.body import ANKLE_HEIGHT, ANKLE_TO_BALL
from portrait_tf.data.synthetic.figure import Figure
from portrait_tf.data.synthetic.materials import Material, tint
from portrait_tf.data.synthetic.painter import Paint
from portrait_tf.data.synthetic.scene import (
    OWNER_ARM,
    OWNER_LEG,
    SIDES,
    capsule,
    limb_line,
    normalize,
    profile,
    smooth_closed,
)


def paint_arm(figure: Figure, side: int) -> None:
    """The bare arm and the hand, then the sleeve over them."""
    body, outfit, painter = figure.body, figure.outfit, figure.painter
    unit, project = figure.scale(body.elbows[side]), figure.camera.project
    shoulder, elbow, wrist = (
        project(joints[side]) for joints in (body.shoulders, body.elbows, body.wrists)
    )
    # The upper arm hangs inside the shoulder's curve, not on top of it.
    trunk = project((body.neck + body.pelvis) / 2)
    inwards = np.clip((trunk[0] - shoulder[0]) / unit, -0.09, 0.09)
    shoulder = shoulder + unit * np.array([inwards, 0.1])

    def line(at: np.ndarray) -> np.ndarray:
        return limb_line(shoulder, elbow, wrist, at)

    def radius(at: np.ndarray) -> np.ndarray:
        size = (0.93 if body.feminine else 1.08) * body.build * unit
        return size * profile(
            at, (0, 0.14), (0.12, 0.17), (0.3, 0.178), (0.55, 0.163), (0.95, 0.125),
            (1.25, 0.135), (1.9, 0.08), (2.05, 0.08),
        )  # fmt: skip

    def sleeve(material: Material, name: str, end: float, ease: float) -> None:
        part = np.linspace(0, end, 24)
        room = profile(part / end, (0, 0.15), (0.4, 0.9), (1.0, 0.8))
        wide = radius(part) + unit * ease * room
        painter.tube(
            line(part), wide, Paint(material, name, OWNER_ARM[side]),
            bends=[1.0 / end] if end > 1.2 else [], hem=0.14, caps=(True, False),
            fade=(0.3, 0.0), shadow=0.3 if end > 1 else 0.15,
        )  # fmt: skip
        before, cuff, after = line(part[-3:])
        heading = normalize(after - before)
        across = np.array([heading[1], -heading[0]]) * wide[-2]
        ends = np.stack([cuff - across, cuff + across])
        painter.line(ends, tint(material.color, -0.25), 0.014)

    at = np.linspace(0, 2, 24)
    if outfit.coat is not None or outfit.sleeve < 1.9:
        bare = Paint(outfit.skin, f"{SIDES[side]}Arm", OWNER_ARM[side])
        painter.tube(line(at), radius(at), bare, caps=(True, True), shadow=0.45)
    if side not in body.pocketed:
        _hand(figure, side, wrist, unit)
    if outfit.coat is not None:
        sleeve(outfit.coat, "Coat", 1.93, 0.09)
    elif outfit.sleeve > 0:
        sleeve(outfit.top, outfit.top_label, outfit.sleeve, outfit.sleeve_ease)


def _hand(figure: Figure, side: int, wrist: np.ndarray, unit: float) -> None:
    body, outfit, painter, rng = figure.body, figure.outfit, figure.painter, figure.rng
    tip = figure.camera.project(body.wrists[side] + 0.7 * body.hands[side])
    heading = tip - wrist
    length = float(np.clip(np.linalg.norm(heading) / unit / 0.7, 0.6, 1.0))
    heading = normalize(heading)
    across = np.array([heading[1], -heading[0]])
    center = figure.camera.project((body.neck + body.pelvis) / 2)
    inwards = float(np.sign(across @ (center - wrist)) or 1)
    thumb = inwards if body.faces_camera else -inwards
    paint = Paint(outfit.skin, f"{SIDES[side]}Arm", OWNER_ARM[side])
    if outfit.gloves is not None:
        paint = Paint(outfit.gloves, "Glove", OWNER_ARM[side])
    size = (0.88 if body.feminine else 1.0) * unit

    def at(along: float, aside: float) -> np.ndarray:
        return wrist + size * (heading * along * length + across * aside * thumb)

    curl = rng.uniform(0.75, 1.0)
    palm = np.stack([
        at(-0.08, -0.085), at(0.1, -0.12), at(0.36, -0.14), at(0.4, 0.13),
        at(0.2, 0.15), at(0.05, 0.1), at(-0.08, 0.085),
    ])  # fmt: skip
    parts = [smooth_closed(palm, 4)]
    spread = rng.uniform(0.9, 1.1)
    for aside, reach in ((-0.11, 0.24), (-0.035, 0.3), (0.04, 0.31), (0.11, 0.27)):
        end = at(0.36 + reach * curl, aside * spread * 0.9 + 0.03 * (1 - curl))
        parts.append(capsule(at(0.33, aside), end, 0.042 * size))
    parts.append(capsule(at(0.1, 0.11), at(0.34, 0.21 * spread), 0.047 * size))
    painter.shape(parts, paint, puff=0.07, axis=heading, shadow=0.35)
    for aside in (-0.075, 0.0, 0.075):
        ends = np.stack([at(0.38, aside), at(0.36 + 0.22 * curl, aside)])
        painter.line(ends, paint.material.color * 0.72, 0.012)


def paint_leg(figure: Figure, side: int) -> None:
    """One leg with sock, shoe and trouser; a tall boot covers a narrow trouser."""
    body, outfit, painter = figure.body, figure.outfit, figure.painter
    at = np.linspace(0, 2, 26)
    line, radius = figure.leg_line(side, at), figure.leg_radius(at)
    calf = 0.14 * np.exp(-np.square((at - 1.35) / 0.25)) * radius
    outer = side * np.sign(figure.cos)
    radii = radius + calf * (outer > 0), radius + calf * (outer < 0)
    skin = Paint(outfit.skin, f"{SIDES[side]}Leg", OWNER_LEG[side])
    painter.tube(line, radii, skin, caps=(True, True), shadow=0.45)
    if np.cos(body.yaw) > 0.3:
        painter.tone(line[13], (0.11, 0.1), -0.07 * outfit.skin.color)
    if outfit.socks is not None:
        part = at >= outfit.sock_height
        socks = Paint(outfit.socks, "Socks", OWNER_LEG[side])
        painter.tube(
            line[part], radius[part] * 1.06, socks, caps=(False, True), bends=(0.9,)
        )
    tall = outfit.shoes.shaft > 0
    over = outfit.leg_ease[2] > 0.05 and outfit.leg_end > 1.0
    trousers = outfit.bottom_kind == "pants"
    if trousers and tall and not over:
        _trouser(figure, side)
    _shoe(figure, side)
    if tall:
        _shaft(figure, side)
    if trousers and (over or not tall):
        _trouser(figure, side)


def _trouser(figure: Figure, side: int) -> None:
    outfit = figure.outfit
    at = np.linspace(0.0, outfit.leg_end, 26)
    line = figure.leg_line(side, at)
    thigh, knee, hem = outfit.leg_ease
    ease = profile(at, (0.0, 0.02), (0.5, thigh), (1.0, knee), (1.95, hem))
    radius = figure.leg_radius(at) + ease * figure.unit
    bends = [1.0 / outfit.leg_end] if outfit.leg_end > 1.1 else []
    if outfit.leg_end > 1.8:
        bends.append(0.97)
    label = "Jumpsuits" if outfit.kind == "jumpsuit" else "Pants"
    paint = Paint(outfit.bottom, label, OWNER_LEG[side])
    figure.painter.tube(line, radius, paint, hem=0.16, bends=bends, shadow=0.4)
    if outfit.kind == "top":
        across = np.array([radius[-2] * 0.92, 0])
        ends = np.stack([line[-2] - across, line[-2] + across])
        figure.painter.line(ends, tint(outfit.bottom.color, -0.3), 0.012)


def _shaft(figure: Figure, side: int) -> None:
    """The part of a boot above the ankle."""
    shoes = figure.outfit.shoes
    at = np.linspace(2 - shoes.shaft, 2.02, 14)
    line = figure.leg_line(side, at)
    radius = figure.leg_radius(at) + 0.035 * figure.unit
    upper = replace(shoes.upper, folds=0.3)
    figure.painter.tube(
        line, radius, Paint(upper, f"{SIDES[side]}Shoe", OWNER_LEG[side]),
        caps=(False, True), bends=(0.8,), fade=(0, 0.2),
    )  # fmt: skip
    top = np.stack([line[0] - [radius[0], 0], line[0] + [radius[0], 0]])
    figure.painter.line(top, tint(shoes.upper.color, -0.35), 0.02)


def _foot_place(figure: Figure, side: int) -> Callable:
    """A function from (ahead, up, across) on a foot to the scene."""
    heading, pitch = figure.body.feet[side], figure.body.pitch[side]
    up = np.array([0.0, 1.0, 0.0])
    fore = np.cos(pitch) * heading - np.sin(pitch) * up
    above = np.cos(pitch) * up + np.sin(pitch) * heading
    across = np.cross(up, heading)
    sole_center = figure.body.ankles[side] - ANKLE_HEIGHT * above

    def place(ahead: float, height: float, width: float) -> np.ndarray:
        beyond = ahead - ANKLE_TO_BALL
        if beyond > 0 and pitch:
            # The toes stay on the ground while the heel is up.
            flat = sole_center + ANKLE_TO_BALL * fore
            return flat + beyond * heading + height * up + width * across
        return sole_center + ahead * fore + height * above + width * across

    return place


def _shoe(figure: Figure, side: int) -> None:
    shoes, painter = figure.outfit.shoes, figure.painter
    project, unit = figure.camera.project, figure.unit
    label, owner = f"{SIDES[side]}Shoe", OWNER_LEG[side]
    place = _foot_place(figure, side)
    low = shoes.kind in ("heel", "flat")
    narrow = 0.85 if low else 1.0
    # Ahead, half the width, and the height of a low shoe and of another.
    stations = (
        (-0.24, 0.09, 0.24, 0.33), (-0.16, 0.14, 0.26, 0.37), (0.05, 0.155, 0.2, 0.37),
        (0.25, 0.165, 0.17, 0.28), (0.5, 0.19, 0.16, 0.19), (0.66, 0.16, 0.13, 0.15),
        (0.76, 0.09, 0.09, 0.1),
    )  # fmt: skip
    soles, uppers = [], []
    for ahead, half, *heights in stations:
        for sign in (-1, 1):
            width = sign * half * narrow
            soles.append(place(ahead, 0.0, width * 1.06))
            soles.append(place(ahead, shoes.sole_height, width * 1.06))
            uppers.append(place(ahead, shoes.sole_height, width))
            uppers.append(place(ahead, heights[0 if low else 1], width * 0.62))

    def hull(points: list[np.ndarray]) -> np.ndarray:
        flat = project(np.stack(points)).astype(np.float32)
        return cv2.convexHull(flat)[:, 0].astype(np.float64)

    upper = Paint(shoes.upper, label, owner)
    if figure.body.pitch[side] > 0.3 and shoes.kind in ("heel", "boot"):
        drop = place(-0.15, 0.0, 0.0)
        tip = drop.copy()
        tip[1] = 0.0 if drop[1] < 0.45 else drop[1] - 0.3
        top, bottom = project(np.stack([drop, tip]))
        thick = (0.05 if shoes.kind == "heel" else 0.11) * unit
        wide, thin = np.array([1.8 * thick, 0]), np.array([thick * 0.8, 0])
        heel = np.array([top - wide, top + wide, bottom + thin, bottom - thin])
        painter.shape(heel, upper, puff=0.03, darker=0.1)
    painter.shape(hull(soles), Paint(shoes.sole, label, owner), puff=0.03)
    painter.shape(smooth_closed(hull(uppers), 3), upper, puff=0.09)
    if low:
        _instep(figure, side, place)
    elif np.cross(figure.body.feet[side], [0, 1, 0])[0] <= 0.2:
        _laces(figure, place)


def _instep(figure: Figure, side: int, place: Callable) -> None:
    """The foot in the opening of a low shoe."""
    rim = (
        (-0.16, 0.0, 0.27), (-0.1, 0.1, 0.24), (0.15, 0.12, 0.19), (0.4, 0.09, 0.175),
        (0.48, 0.0, 0.17), (0.4, -0.09, 0.175), (0.15, -0.12, 0.19), (-0.1, -0.1, 0.24),
    )  # fmt: skip
    opening = np.stack([place(x, h, w * 0.85) for x, w, h in rim])
    paint = Paint(figure.outfit.skin, f"{SIDES[side]}Leg", OWNER_LEG[side])
    if figure.outfit.socks is not None:
        paint = Paint(figure.outfit.socks, "Socks", OWNER_LEG[side])
    outline = smooth_closed(figure.camera.project(opening), 3)
    figure.painter.shape(outline, paint, only_on=f"{SIDES[side]}Shoe", puff=0.08)
    at = np.linspace(1.8, 2.0, 6)
    line, radius = figure.leg_line(side, at), figure.leg_radius(at)
    figure.painter.tube(line, radius, paint, caps=(True, True), fade=(0.5, 0))


def _laces(figure: Figure, place: Callable) -> None:
    shoes, project = figure.outfit.shoes, figure.camera.project
    for x, height in ((0.22, 0.31), (0.3, 0.275), (0.38, 0.245), (0.46, 0.215)):
        ends = np.stack([place(x, height, w) for w in (-0.07, 0.07)])
        figure.painter.line(project(ends), shoes.detail, 0.022)
    if shoes.kind in ("sneaker", "oxford"):
        cap = [place(0.55, 0.19 - 0.5 * abs(w), w) for w in np.linspace(-0.14, 0.14, 5)]
        color = tint(shoes.upper.color, -0.3)
        figure.painter.line(project(np.stack(cap)), color, 0.014)
