"""Coats and scarves.

Conventions:
    * A coat follows the trunk to the pelvis, then the middle between the legs; its
      length counts leg segments.
    * Both belong to the trunk, so what they cover of a limb is hidden.
"""

import numpy as np

from portrait_tf.data.synthetic.figure import Figure
from portrait_tf.data.synthetic.geometry import profile, smoothed, smoothstep, tangents
from portrait_tf.data.synthetic.materials import tint
from portrait_tf.data.synthetic.parts import LEFT, OWNER_TRUNK, RIGHT


def _coat_rows(figure: Figure) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Center line and radii of the coat."""
    outfit, unit = figure.outfit, figure.camera.unit
    upper = np.linspace(0.0, 1.0, 16)
    ease = 0.05 + 0.06 * smoothstep(0.1, 0.6, upper)
    line, plus, minus = figure.trunk(upper, ease)
    below = np.linspace(0, max(outfit.coat_length, 0.12), 12)[1:]
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
    points, plus, minus = _coat_rows(figure)
    keep = slice(12, None)
    figure.painter.tube(
        points[keep], plus[keep] * 0.9, minus[keep] * 0.9, figure.outfit.coat, "Coat",
        OWNER_TRUNK, caps=(False, False), darker=0.45, roundness=0.5,
    )  # fmt: skip


def paint_coat(figure: Figure) -> None:
    """The coat, open to the front with lapels and pockets."""
    outfit, unit, painter = figure.outfit, figure.camera.unit, figure.painter
    points, plus, minus = _coat_rows(figure)
    opening, edges = None, []
    if figure.cos > 0.25:
        tangent, normal = tangents(points)
        rows = np.linspace(0, 1, len(points))
        at = np.linspace(0.0, 1.2, len(points))
        middle = figure.sin * 0.8 * np.where(rows < 0.6, figure.depth(at), 0.4) * unit
        half = (
            unit
            * outfit.coat_opening
            * abs(figure.cos)
            * profile(rows, (0, 0.75), (0.3, 0.85), (0.6, 1.0), (1.0, 1.5))
        )
        edges = [points + normal * (middle + s * half)[:, None] for s in (-1, 1)]
        tail = tangent[-1] * unit
        opening = np.concatenate(
            [[edges[0][0] - tail * 0.4], edges[0], [edges[0][-1] + tail],
             [edges[1][-1] + tail], edges[1][::-1], [edges[1][0] - tail * 0.4]]
        )  # fmt: skip
    painter.tube(
        points, plus, minus, outfit.coat, "Coat", OWNER_TRUNK, roundness=0.78,
        caps=(False, False), hem=0.06, pleats=0.12, pleat_count=3,
        opening=opening, shadow=0.4,
    )  # fmt: skip
    if opening is None:
        collar = figure.front([-0.06, -0.06, 0.05, 0.05], [-0.24, 0.24, 0.36, -0.36])
        painter.shape(collar, outfit.coat, "Coat", OWNER_TRUNK, puff=0.06)
        return
    dark = tint(outfit.coat.color, -0.35)
    count = len(points)
    for sign, edge in zip((-1, 1), edges, strict=True):
        out = np.array([sign * unit * abs(figure.cos), 0])
        painter.line(edge[3:], dark, 0.016)
        lapel = np.array([
            edge[0] + out * 0.02 - [0, 0.16 * unit], edge[0] + out * 0.24,
            edge[3] + out * 0.26, edge[4] + out * 0.19, edge[4] + out * 0.27,
            edge[int(count * 0.3)] + out * 0.02, edge[3],
        ])  # fmt: skip
        if figure.cos > 0.35:
            painter.shape(
                lapel, outfit.coat, "Coat", OWNER_TRUNK, puff=0.04, shadow=0.25
            )
            painter.line(lapel[3:6], dark, 0.012)
            where = int(count * 0.56)
            pocket = np.stack([edge[where] + out * 0.14, edge[where + 1] + out * 0.4])
            painter.line(pocket, dark, 0.022)
            if sign > 0:
                for at in (0.34, 0.43, 0.52):
                    painter.dot(edge[int(count * at)] + out * 0.06, 0.024, dark)


def paint_scarf(figure: Figure) -> None:
    """The scarf: its two ends, then the loops around the neck."""
    outfit, unit, painter = figure.outfit, figure.camera.unit, figure.painter
    if figure.body.faces_camera:
        for sign, length in ((-1, 0.62), (1, 0.8)):
            end = figure.front([length * 0.7], [sign * 0.2])[0]
            start = figure.front([0.06], [sign * 0.12])[0]
            line = start + (end - start) * np.linspace(0, 1, 8)[:, None]
            width = np.linspace(0.11, 0.16, 8) * unit
            painter.tube(
                line, width, width, outfit.scarf, "Scarf", OWNER_TRUNK,
                caps=(True, False), roundness=0.7, shadow=0.35, pleats=0.2,
                pleat_count=2,
            )  # fmt: skip
            for x in np.linspace(-0.12, 0.12, 6):
                tip = end + [x * unit, 0]
                painter.line(
                    np.stack([tip - [0, 0.1 * unit], tip - [0, 0.01 * unit]]),
                    tint(outfit.scarf.color, -0.2), 0.014,
                )  # fmt: skip
    base, head = figure.neck_line()
    middle = base + (head - base) * 0.2
    angles = np.linspace(-2.9, 2.9, 15)
    for drop, size in ((0.12, 0.4), (0.0, 0.36)):
        ring = middle + np.column_stack(
            [np.sin(angles) * size, np.cos(angles) * 0.11 + drop]
        ) * unit  # fmt: skip
        width = np.full(len(ring), 0.12 * unit)
        painter.tube(
            ring[::-1], width, width, outfit.scarf, "Scarf", OWNER_TRUNK,
            shadow=0.3, roundness=0.85, pleats=0.15, pleat_count=2,
        )  # fmt: skip
