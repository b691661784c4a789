"""Neck, tops, skirts, the upper end of trousers, coats and scarves.

Conventions:
    * Positions are shares of the way from neck to pelvis; widths on the chest are in
      heads, positive to the photo's right. A coat's length counts leg segments.
    * Neck and neckline are labelled Face; their owners are the head and the trunk.
      All else belongs to the trunk, so what it covers of a limb is hidden.
"""

from dataclasses import replace

import numpy as np

from portrait_tf.data.synthetic.figure import Figure
from portrait_tf.data.synthetic.materials import Material, contrast, solid, tint
from portrait_tf.data.synthetic.painter import Paint
from portrait_tf.data.synthetic.scene import (
    LEFT,
    OWNER_HEAD,
    OWNER_TRUNK,
    RIGHT,
    circle,
    normalize,
    profile,
    smooth_closed,
    smoothed,
    smoothstep,
    tangents,
)

# Outlines of what a neckline leaves bare: positions and widths.
_NECKLINES = {
    "crew": ([-0.07, 0.0, 0.05, 0.075, 0.05, 0.0, -0.07],
             [-0.21, -0.23, -0.16, 0, 0.16, 0.23, 0.21]),
    "v": ([-0.07, 0.0, 0.12, 0.24, 0.12, 0.0, -0.07],
          [-0.21, -0.24, -0.13, 0, 0.13, 0.24, 0.21]),
    "scoop": ([-0.07, 0.01, 0.11, 0.16, 0.11, 0.01, -0.07],
              [-0.22, -0.34, -0.24, 0, 0.24, 0.34, 0.22]),
    "boat": ([-0.07, 0.015, 0.055, 0.07, 0.055, 0.015, -0.07],
             [-0.22, -0.46, -0.3, 0, 0.3, 0.46, 0.22]),
    "collar": ([-0.07, 0.0, 0.06, 0.13, 0.06, 0.0, -0.07],
               [-0.19, -0.2, -0.1, 0, 0.1, 0.2, 0.19]),
}  # fmt: skip


def paint_hips(figure: Figure, material: Material, label: str) -> None:
    """The upper end of trousers, down to where the legs part."""
    at = np.linspace(0.72, 1.24, 16)
    line, plus, minus = figure.trunk(at, 0.03)
    # The block narrows to the crotch, where the two legs part.
    narrow = 1 - 0.5 * smoothstep(1.08, 1.24, at)
    paint, painter = Paint(material, label, OWNER_TRUNK), figure.painter
    radii = plus * narrow, minus * narrow
    painter.tube(line, radii, paint, fade=(0.0, 0.55), roundness=0.85)
    if label != "Pants":
        return
    dark = tint(material.color, -0.35 if figure.body.faces_camera else -0.3)
    if figure.body.faces_camera:
        painter.line(figure.front([0.8, 0.95, 1.1], [0, 0, 0]), dark, 0.014)
    for sign in (-1, 1):
        at, widths = [0.93, 0.93, 1.06, 1.1, 1.06], [0.14, 0.42, 0.42, 0.28, 0.14]
        if figure.body.faces_camera:
            at, widths = [0.79, 0.87, 0.93], [0.3, 0.38, 0.5]
        pocket = figure.front(at, [sign * width for width in widths])
        painter.line(pocket, dark, 0.014, closed=not figure.body.faces_camera)


def paint_top(figure: Figure, label: str, hem: float, fade: float = 0.0) -> None:
    """What covers the trunk, down to `hem`; `fade` blends its end into the hips."""
    outfit = figure.outfit
    at = np.linspace(0.0, hem, 26)
    loose = outfit.top_ease * (not outfit.tucked) * (label == "UpperClothes")
    line, plus, minus = figure.trunk(at, 0.02 + loose * smoothstep(0.2, 0.7, at))
    figure.painter.tube(
        line, (plus, minus), Paint(outfit.top, label, OWNER_TRUNK), roundness=0.8,
        hem=0.0 if fade else 0.12, fade=(0, fade), bends=() if fade else (0.62, 0.75),
        pleats=0.1, pleat_count=2.5, shadow=0.35 if not outfit.tucked else 0.0,
    )  # fmt: skip
    _top_details(figure)


def _top_details(figure: Figure) -> None:
    outfit, painter = figure.outfit, figure.painter
    if not figure.body.faces_camera:
        return
    if figure.body.feminine and figure.cos > 0.6:
        for sign in (-1, 1):
            under = figure.front([0.42], [sign * 0.27])[0]
            painter.tone(under, (0.2, 0.07), -0.14 * outfit.top.color)
    if outfit.buttons and outfit.kind != "dress":
        end = 0.95 if outfit.tucked else outfit.hem - 0.03
        seam = figure.front([0.1, 0.5, end], [0.03] * 3)
        painter.line(seam, tint(outfit.top.color, -0.3), 0.014)
        light = contrast(outfit.top.color, 0.6, 0.5, 140)
        for at in np.linspace(0.16, end - 0.06, 6):
            painter.dot(figure.front([at], [0.0])[0], 0.02, light)
    elif outfit.badge is not None and figure.cos > 0.5:
        _badge(figure)


def _badge(figure: Figure) -> None:
    """A ring, a star or three bars on the chest."""
    outfit, painter = figure.outfit, figure.painter
    kind = figure.rng.integers(3)
    angles = circle(24)
    if kind == 0:
        ring = figure.front(0.38 + 0.09 * np.sin(angles), 0.21 * np.cos(angles))
        painter.fill(ring, outfit.badge)
        inner = figure.front(0.38 + 0.05 * np.sin(angles), 0.12 * np.cos(angles))
        painter.fill(inner, outfit.top.color)
    elif kind == 1:
        size = np.where(np.arange(10) % 2, 0.1, 0.24)
        turn = np.arange(10) * np.pi / 5 - np.pi / 2
        star = figure.front(0.38 + 0.44 * size * np.sin(turn), size * np.cos(turn))
        painter.fill(star, outfit.badge)
    else:
        for at, half in ((0.31, 0.3), (0.39, 0.22), (0.47, 0.27)):
            low, high = at - 0.02, at + 0.02
            bar = figure.front([low, low, high, high], [-half, half, half, -half])
            painter.fill(bar, outfit.badge)


def _skirt_sides(
    figure: Figure, start: float, hip_left: float, hip_right: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of a skirt below the pelvis, and its left and right column at each."""
    outfit, unit = figure.outfit, figure.unit
    at = np.linspace(0, 2, 40)
    legs = [figure.leg_line(side, at) for side in (RIGHT, LEFT)]
    length = min(outfit.skirt_length, 1.85)
    end = min(float(np.interp(length, at, leg[:, 1])) for leg in legs)
    rows = np.linspace(start, max(end, start + 0.5 * unit), 18)[1:]
    lefts, rights = [], []
    for leg in legs:
        order = np.maximum.accumulate(leg[:, 1] + np.arange(40) * 1e-6)
        x = np.interp(rows, order, leg[:, 0])
        size = np.interp(rows, order, figure.leg_radius(at))
        lefts.append(x - size)
        rights.append(x + size)
    down = (rows - start) / unit
    ease = (0.05 + outfit.flare * down) * unit
    left, right = np.min(lefts, 0) - ease, np.max(rights, 0) + ease
    # A skirt hangs from the hips: it does not follow the legs inwards at once.
    taper = np.exp(-down / 1.1) * 0.85
    left = np.minimum(left, left * (1 - taper) + (hip_left - 0.02 * unit) * taper)
    right = np.maximum(right, right * (1 - taper) + (hip_right + 0.02 * unit) * taper)
    return rows, left, right


def paint_skirt(
    figure: Figure, material: Material, label: str, from_neck: bool
) -> None:
    """A skirt, or a dress in one piece, around whatever the legs do."""
    outfit = figure.outfit
    upper = np.linspace(0.0, 1.0, 18) if from_neck else np.linspace(0.68, 1.0, 8)
    line, plus, minus = figure.trunk(upper, 0.03 if from_neck else 0.02)
    rows, left, right = _skirt_sides(
        figure, float(line[-1, 1]), line[-1, 0] - minus[-1], line[-1, 0] + plus[-1]
    )
    points = np.concatenate([line, np.column_stack([(left + right) / 2, rows])])
    kernel = np.array([1, 2, 3, 2, 1]) / 9
    both = []
    for side_radius in (plus, minus):
        joined = np.concatenate([side_radius, (right - left) / 2])
        keep = np.arange(len(joined)) < len(upper) - 4
        both.append(np.where(keep, joined, smoothed(joined, kernel)))
    points[4:, 0] = smoothed(points[:, 0], kernel)[4:]
    figure.painter.tube(
        points, tuple(both), Paint(material, label, OWNER_TRUNK), roundness=0.8,
        hem=0.1, pleats=outfit.pleats,
        pleat_count=3 + 6 * outfit.flare + 8 * outfit.pleats,
        bends=(0.35,) if from_neck else (0.05,), shadow=0.45,
    )  # fmt: skip
    if from_neck:
        _top_details(figure)


def paint_belt(figure: Figure) -> None:
    """A belt with its buckle, if one is worn and shows."""
    outfit = figure.outfit
    separate = outfit.kind == "top"
    if outfit.belt is None or (separate and not outfit.tucked):
        return
    at, label = np.linspace(0.66, 0.71, 3), outfit.top_label
    if separate:
        pants = outfit.bottom_kind == "pants"
        at, label = at + (0.05 if pants else 0.01), "Pants" if pants else "Skirt"
    line, plus, minus = figure.trunk(at, 0.045)
    paint = Paint(solid(outfit.belt, 0.1), label, OWNER_TRUNK)
    figure.painter.tube(line, (plus, minus), paint, hem=0.1, roundness=0.85)
    if figure.body.faces_camera:
        low, high = float(at[0]), float(at[-1]) + 0.015
        buckle = figure.front([low, low, high, high], [-0.08, 0.08, 0.08, -0.08])
        figure.painter.line(buckle, (206, 180, 110), 0.024, closed=True)


def paint_neck(figure: Figure) -> None:
    """The neck, from the shoulders to under the jaw."""
    base, head = figure.neck_line()
    tops = base + (head - base) * 0.78
    at = np.linspace(-0.25, 1, 9)
    points = base + (tops - base) * at[:, None]
    size = 0.185 if figure.body.feminine else 0.225
    radius = profile(at, (-0.25, 0.36), (0.1, size * 1.15), (1, size)) * figure.unit
    skin = Paint(figure.outfit.skin, "Face", OWNER_HEAD)
    figure.painter.tube(points, radius, skin, caps=(False, True))


def paint_neckline(figure: Figure) -> None:
    """The skin that the neckline leaves bare, or the collar."""
    outfit, painter, kind = figure.outfit, figure.painter, figure.outfit.neckline
    if kind == "turtle":
        _collar_band(figure)
        return
    front = figure.body.faces_camera
    size = 0.03 if figure.body.feminine else 0.06
    at, width = _NECKLINES[kind]
    if not front:
        at = [min(each, 0.015) for each in at]
    outline = figure.front(at, [w * (1 + size) for w in width])
    dense = outline if kind in ("v", "collar") else smooth_closed(outline, 4)
    skin = Paint(outfit.skin, "Face", OWNER_TRUNK)
    painter.shape(dense, skin, puff=0.25, darker=0.03)
    if kind in ("crew", "scoop", "boat"):
        painter.line(dense[4:24], tint(outfit.top.color, -0.25), 0.03)
    if front and kind in ("scoop", "v", "boat") and figure.cos > 0.5:
        for sign in (-1, 1):
            bone = figure.front([0.035], [sign * 0.2])[0]
            painter.tone(bone, (0.13, 0.03), -0.13 * outfit.skin.color)
    if kind == "collar":
        _shirt_collar(figure)


def _collar_band(figure: Figure) -> None:
    unit, outfit = figure.unit, figure.outfit
    base, head = figure.neck_line()
    at = np.linspace(0.34, -0.06, 7)
    radius = (0.235 if figure.body.feminine else 0.275) * unit
    wide = radius * (1 + 0.3 * np.clip(-at * 12, 0, 1))
    points = base + normalize(head - base) * (at * unit)[:, None]
    paint = Paint(outfit.top, outfit.top_label, OWNER_TRUNK)
    figure.painter.tube(points, wide, paint, hem=0.22, bends=(0.3, 0.7))


def _shirt_collar(figure: Figure) -> None:
    outfit = figure.outfit
    paint = Paint(replace(outfit.top, folds=0.0), outfit.top_label, OWNER_TRUNK)
    if not figure.body.faces_camera:
        points = figure.front([-0.07, -0.07, 0.03, 0.03], [-0.23, 0.23, 0.27, -0.27])
        figure.painter.shape(points, paint, puff=0.05)
        return
    for sign in (-1, 1):
        at, width = [-0.09, -0.02, 0.1, 0.125, 0.02], [0.2, 0.29, 0.2, 0.05, 0.14]
        points = figure.front(at, [sign * w for w in width])
        figure.painter.shape(points, paint, puff=0.05, shadow=0.3)


def _coat_rows(figure: Figure) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Center line and radii: along the trunk, then the middle between the legs."""
    unit = figure.unit
    upper = np.linspace(0.0, 1.0, 16)
    line, plus, minus = figure.trunk(upper, 0.05 + 0.06 * smoothstep(0.1, 0.6, upper))
    below = np.linspace(0, max(figure.outfit.coat_length, 0.12), 12)[1:]
    legs = [figure.leg_line(side, below) for side in (RIGHT, LEFT)]
    center = (legs[0] + legs[1]) / 2
    center[:, 1] = np.maximum(center[:, 1], line[-1, 1] + below * 0.3 * unit)
    spread = np.abs(legs[0][:, 0] - legs[1][:, 0]) / 2
    legs_half = spread + figure.leg_radius(below) + 0.06 * unit
    half = np.maximum(legs_half, 0.5 * (plus[-1] + minus[-1]) * (1 + 0.12 * below))
    points = np.concatenate([line, center])
    for column in (0, 1):
        points[3:-3, column] = smoothed(points[:, column], np.ones(5) / 5)[3:-3]
    return points, np.concatenate([plus, half]), np.concatenate([minus, half])


def paint_coat_back(figure: Figure) -> None:
    """The inside of a long coat, seen behind the legs."""
    points, plus, minus = (rows[12:] for rows in _coat_rows(figure))
    coat = Paint(figure.outfit.coat, "Coat", OWNER_TRUNK)
    radii = plus * 0.9, minus * 0.9
    figure.painter.tube(points, radii, coat, darker=0.45, roundness=0.5)


def paint_coat(figure: Figure) -> None:
    """The coat, open to the front with lapels and pockets."""
    outfit, unit, painter = figure.outfit, figure.unit, figure.painter
    points, plus, minus = _coat_rows(figure)
    opening, edges = None, []
    if figure.cos > 0.25:
        tangent, normal = tangents(points)
        rows = np.linspace(0, 1, len(points))
        at = np.linspace(0.0, 1.2, len(points))
        middle = figure.sin * 0.8 * np.where(rows < 0.6, figure.depth(at), 0.4) * unit
        shape = profile(rows, (0, 0.75), (0.3, 0.85), (0.6, 1.0), (1.0, 1.5))
        half = unit * outfit.coat_opening * abs(figure.cos) * shape
        edges = [points + normal * (middle + s * half)[:, None] for s in (-1, 1)]
        tail = tangent[-1] * unit
        opening = np.concatenate(
            [[edges[0][0] - tail * 0.4], edges[0], [edges[0][-1] + tail],
             [edges[1][-1] + tail], edges[1][::-1], [edges[1][0] - tail * 0.4]]
        )  # fmt: skip
    coat = Paint(outfit.coat, "Coat", OWNER_TRUNK)
    painter.tube(
        points, (plus, minus), coat, roundness=0.78, hem=0.06, pleats=0.12,
        pleat_count=3, opening=opening, shadow=0.4,
    )  # fmt: skip
    if opening is None:
        collar = figure.front([-0.06, -0.06, 0.05, 0.05], [-0.24, 0.24, 0.36, -0.36])
        painter.shape(collar, coat, puff=0.06)
    for sign, edge in zip((-1, 1), edges, strict=False):
        _coat_edge(figure, coat, sign, edge)


def _coat_edge(figure: Figure, coat: Paint, sign: int, edge: np.ndarray) -> None:
    """Lapel, pocket and, on one side, the buttons."""
    unit, painter, count = figure.unit, figure.painter, len(edge)
    dark = tint(coat.material.color, -0.35)
    out = np.array([sign * unit * abs(figure.cos), 0])
    painter.line(edge[3:], dark, 0.016)
    if figure.cos <= 0.35:
        return
    lapel = np.array([
        edge[0] + out * 0.02 - [0, 0.16 * unit], edge[0] + out * 0.24,
        edge[3] + out * 0.26, edge[4] + out * 0.19, edge[4] + out * 0.27,
        edge[int(count * 0.3)] + out * 0.02, edge[3],
    ])  # fmt: skip
    painter.shape(lapel, coat, puff=0.04, shadow=0.25)
    painter.line(lapel[3:6], dark, 0.012)
    where = int(count * 0.56)
    pocket = np.stack([edge[where] + out * 0.14, edge[where + 1] + out * 0.4])
    painter.line(pocket, dark, 0.022)
    if sign > 0:
        for at in (0.34, 0.43, 0.52):
            painter.dot(edge[int(count * at)] + out * 0.06, 0.024, dark)


def paint_scarf(figure: Figure) -> None:
    """The scarf: its two ends, then the loops around the neck."""
    unit, painter = figure.unit, figure.painter
    scarf = Paint(figure.outfit.scarf, "Scarf", OWNER_TRUNK)
    for sign, length in ((-1, 0.62), (1, 0.8)) if figure.body.faces_camera else ():
        end = figure.front([length * 0.7], [sign * 0.2])[0]
        start = figure.front([0.06], [sign * 0.12])[0]
        line = start + (end - start) * np.linspace(0, 1, 8)[:, None]
        painter.tube(
            line, np.linspace(0.11, 0.16, 8) * unit, scarf, caps=(True, False),
            roundness=0.7, shadow=0.35, pleats=0.2, pleat_count=2,
        )  # fmt: skip
        for x in np.linspace(-0.12, 0.12, 6):
            tip = end + [x * unit, 0]
            fringe = np.stack([tip - [0, 0.1 * unit], tip - [0, 0.01 * unit]])
            painter.line(fringe, tint(scarf.material.color, -0.2), 0.014)
    base, head = figure.neck_line()
    middle = base + (head - base) * 0.2
    angles = np.linspace(-2.9, 2.9, 15)
    for drop, size in ((0.12, 0.4), (0.0, 0.36)):
        loop = np.column_stack([np.sin(angles) * size, np.cos(angles) * 0.11 + drop])
        painter.tube(
            (middle + loop * unit)[::-1], np.full(15, 0.12 * unit), scarf,
            caps=(True, True), shadow=0.3, roundness=0.85, pleats=0.15, pleat_count=2,
        )  # fmt: skip
