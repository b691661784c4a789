"""Neck, tops, skirts and the upper end of trousers.

Conventions:
    * Positions are shares of the way from neck to pelvis; widths on the chest are in
      heads, positive to the photo's right.
    * Neck and neckline are labelled Face; their owners are the head and the trunk.
"""

from dataclasses import replace

import numpy as np

from portrait_tf.data.synthetic.figure import Figure
from portrait_tf.data.synthetic.geometry import (
    circle,
    normalize,
    profile,
    smooth_closed,
    smoothed,
    smoothstep,
)
from portrait_tf.data.synthetic.materials import Material, contrast, solid, tint
from portrait_tf.data.synthetic.parts import LEFT, OWNER_HEAD, OWNER_TRUNK, RIGHT


def paint_hips(figure: Figure, material: Material, label: str) -> None:
    """The upper end of trousers, down to where the legs part."""
    at = np.linspace(0.72, 1.24, 16)
    line, plus, minus = figure.trunk(at, 0.03)
    # The block narrows to the crotch, where the two legs part.
    narrow = 1 - 0.5 * smoothstep(1.08, 1.24, at)
    figure.painter.tube(
        line, plus * narrow, minus * narrow, material, label, OWNER_TRUNK,
        caps=(False, False), fade=(0.0, 0.55), roundness=0.85,
    )  # fmt: skip
    if label == "Pants" and figure.body.faces_camera:
        dark = tint(material.color, -0.35)
        figure.painter.line(figure.front([0.8, 0.95, 1.1], [0, 0, 0]), dark, 0.014)
        for sign in (-1, 1):
            pocket = figure.front(
                [0.79, 0.87, 0.93], [sign * 0.3, sign * 0.38, sign * 0.5]
            )
            figure.painter.line(pocket, dark, 0.014)
    elif label == "Pants":
        dark = tint(material.color, -0.3)
        for sign in (-1, 1):
            corners = figure.front(
                [0.93, 0.93, 1.06, 1.1, 1.06],
                [sign * 0.14, sign * 0.42, sign * 0.42, sign * 0.28, sign * 0.14],
            )
            figure.painter.line(corners, dark, 0.014, closed=True)


def paint_top(figure: Figure, label: str, hem: float, fade: float = 0.0) -> None:
    """What covers the trunk, down to `hem`; `fade` blends its end into the hips."""
    outfit = figure.outfit
    at = np.linspace(0.0, hem, 26)
    loose = outfit.top_ease * (not outfit.tucked) * (label == "UpperClothes")
    ease = 0.02 + loose * smoothstep(0.2, 0.7, at)
    line, plus, minus = figure.trunk(at, ease)
    figure.painter.tube(
        line, plus, minus, outfit.top, label, OWNER_TRUNK, roundness=0.8,
        caps=(False, False), hem=0.0 if fade else 0.12, fade=(0, fade),
        bends=() if fade else (0.62, 0.75), pleats=0.1, pleat_count=2.5,
        shadow=0.35 if not outfit.tucked else 0.0,
    )  # fmt: skip
    _top_details(figure)


def _top_details(figure: Figure) -> None:
    outfit, painter = figure.outfit, figure.painter
    if not figure.body.faces_camera:
        return
    dark = tint(outfit.top.color, -0.3)
    if figure.body.feminine and figure.cos > 0.6:
        for sign in (-1, 1):
            under = figure.front([0.42], [sign * 0.27])[0]
            painter.tone(under, (0.2, 0.07), -0.14 * outfit.top.color)
    if outfit.buttons and outfit.kind != "dress":
        end = 0.95 if outfit.tucked else outfit.hem - 0.03
        painter.line(figure.front([0.1, 0.5, end], [0.03] * 3), dark, 0.014)
        light = contrast(outfit.top.color, 0.6, 0.5, 140)
        for at in np.linspace(0.16, end - 0.06, 6):
            painter.dot(figure.front([at], [0.0])[0], 0.02, light)
    elif outfit.badge is not None and figure.cos > 0.5:
        _badge(figure)


def _badge(figure: Figure) -> None:
    outfit, painter = figure.outfit, figure.painter
    kind = figure.rng.integers(3)
    angles = circle(24)
    if kind == 0:
        rings = figure.front(0.38 + 0.09 * np.sin(angles), 0.21 * np.cos(angles))
        painter.fill(rings, outfit.badge)
        inner = figure.front(0.38 + 0.05 * np.sin(angles), 0.12 * np.cos(angles))
        painter.fill(inner, outfit.top.color)
    elif kind == 1:
        size = np.where(np.arange(10) % 2, 0.1, 0.24)
        turn = np.arange(10) * np.pi / 5 - np.pi / 2
        star = figure.front(0.38 + 0.44 * size * np.sin(turn), size * np.cos(turn))
        painter.fill(star, outfit.badge)
    else:
        for at, half in ((0.31, 0.3), (0.39, 0.22), (0.47, 0.27)):
            bar = figure.front(
                [at - 0.02, at - 0.02, at + 0.02, at + 0.02],
                [-half, half, half, -half],
            )
            painter.fill(bar, outfit.badge)


def paint_skirt(
    figure: Figure, material: Material, label: str, from_neck: bool
) -> None:
    """A skirt, or a dress in one piece, around whatever the legs do."""
    outfit, unit = figure.outfit, figure.camera.unit
    top = 0.0 if from_neck else 0.68
    upper = np.linspace(top, 1.0, 18 if from_neck else 8)
    waisted = 0.03 if from_neck else 0.02
    line, plus, minus = figure.trunk(upper, waisted)
    length = min(outfit.skirt_length, 1.85)
    start = float(line[-1, 1])
    at = np.linspace(0, 2, 40)
    end = min(
        float(np.interp(length, at, figure.leg_line(side, at)[:, 1]))
        for side in (RIGHT, LEFT)
    )
    rows = np.linspace(start, max(end, start + 0.5 * unit), 18)[1:]
    lefts, rights = [], []
    for side in (RIGHT, LEFT):
        leg, radius = figure.leg_line(side, at), figure.leg_radius(at)
        order = np.maximum.accumulate(leg[:, 1] + np.arange(40) * 1e-6)
        x = np.interp(rows, order, leg[:, 0])
        size = np.interp(rows, order, radius)
        lefts.append(x - size)
        rights.append(x + size)
    down = (rows - start) / unit
    ease = (0.05 + outfit.flare * down) * unit
    left, right = np.min(lefts, 0) - ease, np.max(rights, 0) + ease
    # A skirt hangs from the hips: it does not follow the legs inwards at once.
    hip_left, hip_right = line[-1, 0] - minus[-1], line[-1, 0] + plus[-1]
    taper = np.exp(-down / 1.1) * 0.85
    left = np.minimum(left, left * (1 - taper) + (hip_left - 0.02 * unit) * taper)
    right = np.maximum(right, right * (1 - taper) + (hip_right + 0.02 * unit) * taper)
    middle, half = (left + right) / 2, (right - left) / 2
    points = np.concatenate([line, np.column_stack([middle, rows])])
    kernel = np.array([1, 2, 3, 2, 1]) / 9
    both = []
    for side_radius in (plus, minus):
        joined = np.concatenate([side_radius, half])
        keep = np.arange(len(joined)) < len(upper) - 4
        both.append(np.where(keep, joined, smoothed(joined, kernel)))
    points[4:, 0] = smoothed(points[:, 0], kernel)[4:]
    figure.painter.tube(
        points, both[0], both[1], material, label, OWNER_TRUNK, roundness=0.8,
        caps=(False, False), hem=0.1, pleats=outfit.pleats,
        pleat_count=3 + 6 * outfit.flare + 8 * outfit.pleats,
        bends=(0.35,) if from_neck else (0.05,), shadow=0.45,
    )  # fmt: skip
    if from_neck:
        _top_details(figure)


def paint_belt(figure: Figure) -> None:
    """A belt with its buckle, if one is worn and shows."""
    outfit = figure.outfit
    if outfit.belt is None or not (outfit.tucked or outfit.kind != "top"):
        return
    at = np.linspace(0.66, 0.71, 3)
    if outfit.kind == "top":
        at = at + (0.05 if outfit.bottom_kind == "pants" else 0.01)
    line, plus, minus = figure.trunk(at, 0.045)
    label = outfit.top_label
    if outfit.kind == "top":
        label = "Skirt" if outfit.bottom_kind == "skirt" else "Pants"
    figure.painter.tube(
        line, plus, minus, solid(outfit.belt, 0.1), label, OWNER_TRUNK,
        caps=(False, False), hem=0.1, roundness=0.85,
    )  # fmt: skip
    if figure.body.faces_camera:
        low, high = float(at[0]), float(at[-1]) + 0.015
        buckle = figure.front([low, low, high, high], [-0.08, 0.08, 0.08, -0.08])
        figure.painter.line(buckle, (206, 180, 110), 0.024, closed=True)


def paint_neck(figure: Figure) -> None:
    """The neck, from the shoulders to under the jaw."""
    body, unit = figure.body, figure.camera.unit
    base, head = figure.neck_line()
    tops = base + (head - base) * 0.78
    at = np.linspace(-0.25, 1, 9)
    points = base + (tops - base) * at[:, None]
    size = 0.185 if body.feminine else 0.225
    radius = profile(at, (-0.25, 0.36), (0.1, size * 1.15), (1, size)) * unit
    figure.painter.tube(
        points, radius, radius, figure.outfit.skin, "Face", OWNER_HEAD,
        caps=(False, True),
    )  # fmt: skip


def paint_neckline(figure: Figure) -> None:
    """The skin that the neckline leaves bare, or the collar."""
    outfit, painter = figure.outfit, figure.painter
    label, kind = outfit.top_label, outfit.neckline
    if kind == "turtle":
        _collar_band(figure, label)
        return
    front = figure.body.faces_camera
    size = 0.03 if figure.body.feminine else 0.06
    shapes = {
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
    at, width = shapes[kind]
    if not front:
        at = [min(each, 0.015) for each in at]
    outline = figure.front(at, [w * (1 + size) for w in width])
    dense = outline if kind in ("v", "collar") else smooth_closed(outline, 4)
    painter.shape(dense, outfit.skin, "Face", OWNER_TRUNK, puff=0.25, darker=0.03)
    if kind in ("crew", "scoop", "boat"):
        edge = dense[4 : 4 * 6] if front else dense[4:24]
        painter.line(edge, tint(outfit.top.color, -0.25), 0.03)
    if front and kind in ("scoop", "v", "boat") and figure.cos > 0.5:
        shade = -0.13 * outfit.skin.color
        for sign in (-1, 1):
            bone = figure.front([0.035], [sign * 0.2])[0]
            painter.tone(bone, (0.13, 0.03), shade)
    if kind == "collar":
        _shirt_collar(figure, label)


def _collar_band(figure: Figure, label: str) -> None:
    body, unit = figure.body, figure.camera.unit
    base, head = figure.neck_line()
    up = normalize(head - base)
    at = np.linspace(0.34, -0.06, 7)
    radius = (0.235 if body.feminine else 0.275) * unit
    wide = radius * (1 + 0.3 * np.clip(-at * 12, 0, 1))
    figure.painter.tube(
        base + up * (at * unit)[:, None], wide, wide, figure.outfit.top, label,
        OWNER_TRUNK, caps=(False, False), hem=0.22, bends=(0.3, 0.7),
    )  # fmt: skip


def _shirt_collar(figure: Figure, label: str) -> None:
    light = replace(figure.outfit.top, folds=0.0)
    if not figure.body.faces_camera:
        points = figure.front([-0.07, -0.07, 0.03, 0.03], [-0.23, 0.23, 0.27, -0.27])
        figure.painter.shape(points, light, label, OWNER_TRUNK, puff=0.05)
        return
    for sign in (-1, 1):
        at, width = [-0.09, -0.02, 0.1, 0.125, 0.02], [0.2, 0.29, 0.2, 0.05, 0.14]
        points = figure.front(at, [sign * w for w in width])
        figure.painter.shape(points, light, label, OWNER_TRUNK, puff=0.05, shadow=0.3)
