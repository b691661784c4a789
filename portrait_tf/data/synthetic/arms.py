"""Arms, sleeves and hands.

Conventions:
    * Hands are labelled as their arm, or Glove.
    * A hand's points are (along, aside) in heads: from the wrist towards the finger
      tips, and to the thumb's side.
"""

import numpy as np

from portrait_tf.data.synthetic.figure import Figure
from portrait_tf.data.synthetic.geometry import (
    capsule,
    limb_line,
    normalize,
    profile,
    smooth_closed,
)
from portrait_tf.data.synthetic.materials import Material, tint
from portrait_tf.data.synthetic.parts import OWNER_ARM, SIDES


def paint_arm(figure: Figure, side: int) -> None:
    """The bare arm and the hand, then the sleeve over them."""
    body, outfit, painter = figure.body, figure.outfit, figure.painter
    owner, label = OWNER_ARM[side], f"{SIDES[side]}Arm"
    unit = figure.scale(body.elbows[side])
    project = figure.camera.project
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
        wide = radius(part) + unit * ease * profile(
            part / end, (0, 0.15), (0.4, 0.9), (1.0, 0.8)
        )
        bends = [1.0 / end] if end > 1.2 else []
        painter.tube(
            line(part), wide, wide, material, name, owner, bends=bends, hem=0.14,
            caps=(True, False), fade=(0.3, 0.0), shadow=0.3 if end > 1 else 0.15,
        )  # fmt: skip
        before, cuff, after = line(part[-3:])
        heading = normalize(after - before)
        across = np.array([heading[1], -heading[0]]) * wide[-2]
        painter.line(
            np.stack([cuff - across, cuff + across]),
            tint(material.color, -0.25),
            0.014,
        )

    at = np.linspace(0, 2, 24)
    if outfit.coat is not None or outfit.sleeve < 1.9:
        painter.tube(
            line(at), radius(at), radius(at), outfit.skin, label, owner, shadow=0.45
        )
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
    gloved = outfit.gloves is not None
    material = outfit.gloves if gloved else outfit.skin
    label = "Glove" if gloved else f"{SIDES[side]}Arm"
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
    fingers = ((-0.11, 0.24), (-0.035, 0.3), (0.04, 0.31), (0.11, 0.27))
    for aside, reach in fingers:
        end = at(0.36 + reach * curl, aside * spread * 0.9 + 0.03 * (1 - curl))
        parts.append(capsule(at(0.33, aside), end, 0.042 * size))
    parts.append(capsule(at(0.1, 0.11), at(0.34, 0.21 * spread), 0.047 * size))
    painter.shape(
        parts, material, label, OWNER_ARM[side], puff=0.07, axis=heading,
        shadow=0.35,
    )  # fmt: skip
    dark = material.color * 0.72
    for aside in (-0.075, 0.0, 0.075):
        ends = np.stack([at(0.38, aside), at(0.36 + 0.22 * curl, aside)])
        painter.line(ends, dark, 0.012)
