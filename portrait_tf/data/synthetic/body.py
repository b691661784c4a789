"""Skeleton and poses.

Conventions:
    * A posed body's points are of the scene. While a pose is drawn they are in the
      body's own frame: (left, up, ahead), in heads.
    * Angles are radians. A yaw of 0 faces the camera.
    * Dictionaries by side have the keys `RIGHT` and `LEFT`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from portrait_tf.data.synthetic.materials import pick
from portrait_tf.data.synthetic.scene import LEFT, RIGHT, normalize
from portrait_tf.labels import JOINTS

ANKLE_HEIGHT = 0.3

ANKLE_TO_BALL = 0.5

BySide = dict[int, np.ndarray]


class _ArmPose(NamedTuple):
    """How often an arm is held in a way, and where its wrist, elbow and hand go.

    Places are (outwards, up, ahead): the wrist's from the point `start`, each a number
    or a range; `pole` is where the elbow points, `turn` bends the hand.
    """

    weight: float
    start: str
    wrist: tuple
    pole: tuple[float, float, float]
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)


_ARM_POSES = {
    "hang": _ArmPose(5, "shoulder", ((0.08, 0.4), (-2.2, -2.4), (0, 0.3)),
                     (0.5, 0.0, -1.0), (-0.1, -0.3, 0.1)),
    "hip": _ArmPose(2.2, "pelvis", (0.72, (0.28, 0.5), (0.0, 0.2)),
                    (1, 0.1, -0.45), (-0.3, -0.7, 0.9)),
    "pocket": _ArmPose(1.6, "pelvis", (0.62, (0.0, 0.15), 0.22), (1, 0.0, -0.8)),
    "front": _ArmPose(1.0, "pelvis", ((0.0, -0.25), (0.5, 1.0), 0.62),
                      (1, -0.4, -0.3), (-0.5, -0.3, 0.0)),
    "chest": _ArmPose(0.7, "neck", ((0.0, 0.3), (-0.7, -1.0), 0.72), (0.8, -1.0, -0.2)),
    "hair": _ArmPose(0.5, "neck", ((0.56, 0.7), (0.7, 1.0), 0.0),
                     (1, 0.4, 0.2), (-0.6, 0.3, 0.0)),
    "behind": _ArmPose(0.5, "pelvis", ((0.0, 0.25), (0.1, 0.4), -0.55), (1, 0.0, -0.8)),
    "out": _ArmPose(0.7, "shoulder", ((0.9, 1.5), (-1.2, -1.8), 0.3), (0.2, 0.0, -1.0)),
    "swing": _ArmPose(0.5, "shoulder", ((0.1, 0.3), -2.15, (0.3, 0.8)),
                      (0.4, 0.0, -1.0)),
    "back_swing": _ArmPose(0, "shoulder", ((0.15, 0.35), -2.15, (-0.3, -0.7)),
                           (0.3, 0.0, -1.0)),
}  # fmt: skip


@dataclass
class Body:
    """A posed person: points of the scene and the shape of the flesh.

    Attributes:
        feminine, build: Whether the proportions are feminine; girth, 1 is average.
        yaw, head_yaw: Where trunk and head face, radians; 0 is the camera.
        hips, knees, ankles, shoulders, elbows, wrists: By side, `[3]` each.
        hands, feet: Headings of each hand and foot.
        pitch: By how much each heel is up, radians.
        pocketed: Sides whose hand is in a pocket.
    """

    feminine: bool
    build: float
    yaw: float
    head_yaw: float
    head_roll: float
    pelvis: np.ndarray
    neck: np.ndarray
    head: np.ndarray
    hips: BySide
    knees: BySide
    ankles: BySide
    shoulders: BySide
    elbows: BySide
    wrists: BySide
    hands: BySide
    feet: BySide
    pitch: dict[int, float]
    pocketed: set[int]
    half_shoulder: float

    @property
    def faces_camera(self) -> bool:
        return bool(np.cos(self.yaw) > 0.05)


def _reach(
    start: np.ndarray, end: np.ndarray, bones: tuple[float, float], pole: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The joint between two bones from `start` towards `end`, and where they end.

    The joint points to `pole`; the bones may be too short for `end`.
    """
    upper, lower = bones
    span = end - start
    distance = float(np.clip(np.linalg.norm(span), 0.35, (upper + lower) * 0.998))
    axis = normalize(span)
    along = (upper**2 - lower**2 + distance**2) / (2 * distance)
    off = np.sqrt(max(upper**2 - along**2, 0.0))
    side = normalize(pole - axis * float(pole @ axis))
    return start + axis * along + side * off, start + axis * distance


def _random_yaw(rng: np.random.Generator) -> float:
    """Mostly towards the camera, at times in profile or from behind."""
    kind = rng.random()
    if kind < 0.7:
        return float(np.clip(rng.normal(0, 0.28), -0.7, 0.7))
    if kind < 0.86:
        return float(rng.choice([-1, 1]) * rng.uniform(0.5, 1.0))
    if kind < 0.92:
        return float(rng.choice([-1, 1]) * rng.uniform(1.1, 1.6))
    return float(np.pi + np.clip(rng.normal(0, 0.3), -0.7, 0.7))


def _random_stance(
    rng: np.random.Generator, side: int, stance: str, heel: float
) -> dict[int, tuple[float, float, float]]:
    """Each ankle's place to the left and ahead, and its foot's pitch."""
    spread = rng.uniform(0.2, 0.36)
    places = {s: (s * spread, rng.uniform(-0.1, 0.1), heel) for s in (RIGHT, LEFT)}
    other = -side
    if stance == "contrapposto":
        places[other] = (other * rng.uniform(0.4, 0.65), rng.uniform(0.1, 0.4), heel)
    elif stance == "walk":
        stride = rng.uniform(0.35, 0.8)
        lift = heel + 0.35 + 0.4 * stride
        places[side] = (side * rng.uniform(0.02, 0.16), stride, heel)
        places[other] = (other * rng.uniform(0.02, 0.16), -stride, lift)
    elif stance == "cross":
        places[side] = (side * rng.uniform(0.05, 0.15), -0.05, heel)
        places[other] = (side * rng.uniform(0.2, 0.35), rng.uniform(0.35, 0.5), heel)
    elif stance == "wide":
        spread = rng.uniform(0.5, 0.8)
        places = {s: (s * spread, rng.uniform(-0.1, 0.1), heel) for s in places}
    return places


def _hip_places(
    sway: float, drops: dict[int, float], half_hip: float, leg: float, ankles: BySide
) -> BySide:
    """Hips as high as the legs let them be."""
    hips = {
        s: np.array([sway + s * half_hip, -drops[s], 0]) for s in (RIGHT, LEFT)
    }  # fmt: skip
    height = min(
        ankles[s][1]
        - hips[s][1]
        + np.sqrt((leg * 0.995) ** 2 - np.square((ankles[s] - hips[s])[[0, 2]]).sum())
        for s in (RIGHT, LEFT)
    )
    for s in (RIGHT, LEFT):
        hips[s][1] += height
    return hips


def _random_arms(
    rng: np.random.Generator, poses: dict[int, str], starts: dict, scale: float
) -> tuple[BySide, BySide, BySide]:
    """Elbows, wrists and the headings of the hands."""
    elbows, wrists, hands = {}, {}, {}
    for s in (RIGHT, LEFT):
        pose = _ARM_POSES[poses[s]]
        shoulder = starts["shoulder"][s]
        place = [_draw(rng, each) for each in pose.wrist] * np.array([s, 1, 1])
        start = shoulder if pose.start == "shoulder" else starts[pose.start]
        pole = pose.pole * np.array([s, 1, 1])
        bones = (1.32 * scale, 1.1 * scale)
        elbows[s], wrists[s] = _reach(shoulder, start + place, bones, pole)
        turn = pose.turn * np.array([s, 1, 1])
        hands[s] = normalize(normalize(wrists[s] - elbows[s]) + turn)
    return elbows, wrists, hands


def _draw(rng: np.random.Generator, value: float | Sequence[float]) -> float:
    """`value` itself, or a number between the two of a range in either order."""
    if isinstance(value, tuple):
        low, high = value
        return low + (high - low) * rng.random()
    return value


def _random_poses(rng: np.random.Generator, stance: str, side: int) -> dict[int, str]:
    """How each arm is held."""
    weights = {name: pose.weight for name, pose in _ARM_POSES.items()}
    poses = {s: pick(rng, weights) for s in (RIGHT, LEFT)}
    if stance == "walk" and rng.random() < 0.7:
        poses = {side: "back_swing", -side: "swing"}
    elif rng.random() < 0.3:
        poses[LEFT] = poses[RIGHT]
    return poses


def _random_trunk(
    rng: np.random.Generator,
    pelvis: np.ndarray,
    half_shoulder: float,
    sway: float,
    side: int,
    drop: float,
) -> tuple[np.ndarray, dict, np.ndarray]:
    """Neck, shoulders and head over a pelvis that sways, lower by `drop` on a side."""
    trunk = 2.28 * rng.uniform(0.96, 1.03)
    lean = np.array([-0.6 * sway + rng.normal(0, 0.05), 1.0, rng.normal(0.0, 0.05)])
    neck = pelvis + trunk * normalize(lean)
    twist = rng.normal(0, 0.12)
    slope = 0.5 * drop + rng.normal(0, 0.02)
    across, ahead = half_shoulder * np.cos(twist), half_shoulder * np.sin(twist)
    shoulders = {
        s: neck + [s * across, -0.17 - s * side * slope, s * ahead]
        for s in (RIGHT, LEFT)
    }
    return (
        neck,
        shoulders,
        neck + [rng.normal(0, 0.03), 0.755, 0.1 + rng.normal(0, 0.03)],
    )


def _random_knees(
    rng: np.random.Generator, hips: dict, ankles: dict, leg: tuple, spread: float
) -> tuple[dict, dict]:
    """Knees, and the directions of the feet, which turn outward."""
    knees, feet = {}, {}
    for s in (RIGHT, LEFT):
        turn = s * rng.uniform(0.08, 0.5) * spread
        pole = np.array([0.5 * np.sin(turn), 0.0, 1.0])
        knees[s], _ = _reach(hips[s], ankles[s], leg, pole)
        feet[s] = np.array([np.sin(turn), 0.0, np.cos(turn)])
    return knees, feet


def random_body(rng: np.random.Generator) -> Body:
    """Somebody who stands or walks, with the feet on the ground."""
    feminine = bool(rng.random() < 0.58)
    build = float(np.clip(rng.normal(0.95 if feminine else 1.03, 0.09), 0.8, 1.25))
    yaw = _random_yaw(rng)
    scale = rng.uniform(0.95, 1.06)
    leg = thigh, shin = 1.72 * scale, 1.62 * scale
    heel = float(rng.choice([0.0, 0.0, 0.45, 0.6])) if feminine else 0.0
    side = int(rng.choice([RIGHT, LEFT]))
    stances = ["stand", "contrapposto", "walk", "cross", "wide"]
    stance = str(rng.choice(stances, p=[0.27, 0.33, 0.24, 0.08, 0.08]))
    places = _random_stance(rng, side, stance, heel)
    ankles = {}
    for s, (left, ahead, pitch) in places.items():
        lift = ANKLE_HEIGHT * np.cos(pitch) + ANKLE_TO_BALL * np.sin(pitch)
        ankles[s] = np.array([left, lift, ahead])
    sway = side * {"contrapposto": 0.16, "cross": 0.1}.get(stance, 0.0)
    drop = rng.uniform(0.04, 0.1) * (stance == "contrapposto")
    half_hip = 0.37 if feminine else 0.35
    hips = _hip_places(sway, {side: 0.0, -side: drop}, half_hip, thigh + shin, ankles)
    pelvis = (hips[RIGHT] + hips[LEFT]) / 2

    half_shoulder = (0.70 if feminine else 0.82) * (0.6 + 0.4 * build)
    neck, shoulders, head = _random_trunk(rng, pelvis, half_shoulder, sway, side, drop)
    poses = _random_poses(rng, stance, side)
    starts = {"shoulder": shoulders, "pelvis": pelvis, "neck": neck}
    elbows, wrists, hands = _random_arms(rng, poses, starts, scale)
    knees, feet = _random_knees(rng, hips, ankles, leg, 0.4 if stance == "walk" else 1)
    look = 0.7 * yaw if abs(yaw) < 1.2 and rng.random() < 0.5 else yaw

    sin, cos = np.sin(yaw), np.cos(yaw)
    axes = np.array([[cos, 0.0, -sin], [0.0, 1.0, 0.0], [sin, 0.0, cos]])

    def world(local: np.ndarray) -> np.ndarray:
        return local[0] * axes[0] + local[1] * axes[1] + local[2] * axes[2]

    limbs = {
        "hips": hips, "knees": knees, "ankles": ankles, "feet": feet,
        "shoulders": shoulders, "elbows": elbows, "wrists": wrists, "hands": hands,
    }  # fmt: skip
    return Body(
        feminine=feminine,
        build=build,
        yaw=yaw,
        head_yaw=float(look + rng.normal(0, 0.2)),
        head_roll=float(rng.normal(0, 0.06)),
        pelvis=world(pelvis),
        neck=world(neck),
        head=world(head),
        pitch={s: place[2] for s, place in places.items()},
        pocketed={s for s, pose in poses.items() if pose == "pocket"},
        half_shoulder=half_shoulder,
        **{
            name: {s: world(point) for s, point in points.items()}
            for name, points in limbs.items()
        },
    )


def joint_points(body: Body) -> np.ndarray:
    """The 16 joints in the scene, `[16, 3]`."""
    up = normalize(body.head - body.neck)
    points = {
        "Pelvis": body.pelvis,
        "Spine": (body.shoulders[RIGHT] + body.shoulders[LEFT]) / 2,
        "Neck": body.neck + 0.14 * up,
        "Head": body.head + 0.5 * up,
    }
    for side, letter in ((RIGHT, "R"), (LEFT, "L")):
        for name in ("Ankle", "Knee", "Hip", "Wrist", "Elbow", "Shoulder"):
            points[f"{letter}_{name}"] = getattr(body, f"{name.lower()}s")[side]
    return np.stack([points[name] for name in JOINTS])
