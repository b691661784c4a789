"""Skeleton and poses.

Conventions:
    * Points of a body are of the scene: x to the right of the photo, y up from the
      ground, z towards the camera, in heads. While a pose is drawn they are in the
      body's own frame: (left, up, ahead).
    * Angles are radians. A yaw of 0 faces the camera.
    * Dictionaries by side have the keys `RIGHT` and `LEFT`.
"""

from dataclasses import dataclass

import numpy as np

from portrait_tf.data.synthetic.geometry import normalize
from portrait_tf.data.synthetic.materials import pick
from portrait_tf.data.synthetic.parts import LEFT, RIGHT
from portrait_tf.labels import JOINTS

ANKLE_HEIGHT = 0.3

ANKLE_TO_BALL = 0.5

_ARM_POSES = {
    "hang": 5, "hip": 2.2, "pocket": 1.6, "front": 1.0, "chest": 0.7, "hair": 0.5,
    "behind": 0.5, "out": 0.7, "swing": 0.5,
}  # fmt: skip

# How a hand turns from the forearm's heading: (outwards, up, ahead).
_HAND_TURNS = {
    "hip": np.array([-0.3, -0.7, 0.9]),
    "front": np.array([-0.5, -0.3, 0.0]),
    "hair": np.array([-0.6, 0.3, 0.0]),
    "hang": np.array([-0.1, -0.3, 0.1]),
}


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
    hips: dict[int, np.ndarray]
    knees: dict[int, np.ndarray]
    ankles: dict[int, np.ndarray]
    shoulders: dict[int, np.ndarray]
    elbows: dict[int, np.ndarray]
    wrists: dict[int, np.ndarray]
    hands: dict[int, np.ndarray]
    feet: dict[int, np.ndarray]
    pitch: dict[int, float]
    pocketed: set[int]
    half_shoulder: float

    @property
    def faces_camera(self) -> bool:
        return bool(np.cos(self.yaw) > 0.05)


def _reach(
    start: np.ndarray, end: np.ndarray, upper: float, lower: float, pole: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Two bones from `start` towards `end`; the joint points to `pole`.

    Returns:
        The joint, and the end that the bones can reach.
    """
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


def _random_wrist(
    rng: np.random.Generator,
    pose: str,
    side: int,
    shoulder: np.ndarray,
    pelvis: np.ndarray,
    neck: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Wrist target and elbow pole in the body's frame: (left, up, ahead)."""
    uniform = rng.uniform
    if pose == "hip":
        where = pelvis + [side * 0.72, uniform(0.28, 0.5), uniform(0.0, 0.2)]
        return where, np.array([side, 0.1, -0.45])
    if pose == "pocket":
        where = pelvis + [side * 0.62, uniform(0.0, 0.15), 0.22]
        return where, np.array([side, 0.0, -0.8])
    if pose == "front":
        where = pelvis + [-side * uniform(0.0, 0.25), uniform(0.5, 1.0), 0.62]
        return where, np.array([side, -0.4, -0.3])
    if pose == "chest":
        where = neck + [side * uniform(0.0, 0.3), -uniform(0.7, 1.0), 0.72]
        return where, np.array([side * 0.8, -1.0, -0.2])
    if pose == "hair":
        where = neck + [side * uniform(0.56, 0.7), uniform(0.7, 1.0), 0.0]
        return where, np.array([side, 0.4, 0.2])
    if pose == "behind":
        where = pelvis + [side * uniform(0.0, 0.25), uniform(0.1, 0.4), -0.55]
        return where, np.array([side, 0.0, -0.8])
    if pose == "out":
        where = shoulder + [side * uniform(0.9, 1.5), -uniform(1.2, 1.8), 0.3]
        return where, np.array([side * 0.2, 0.0, -1.0])
    if pose == "swing":
        where = shoulder + [side * uniform(0.1, 0.3), -2.15, uniform(0.3, 0.8)]
        return where, np.array([side * 0.4, 0.0, -1.0])
    if pose == "back_swing":
        where = shoulder + [side * uniform(0.15, 0.35), -2.15, -uniform(0.3, 0.7)]
        return where, np.array([side * 0.3, 0.0, -1.0])
    where = shoulder + [side * uniform(0.08, 0.4), -uniform(2.2, 2.4), uniform(0, 0.3)]
    return where, np.array([side * 0.5, 0.0, -1.0])


def _hip_places(
    rng: np.random.Generator,
    stance: str,
    side: int,
    half_hip: float,
    leg: float,
    ankles: dict[int, np.ndarray],
) -> tuple[dict[int, np.ndarray], float, float]:
    """Hips as high as the legs let them be, the sway and the drop of the pelvis."""
    sway = side * {"contrapposto": 0.16, "cross": 0.1}.get(stance, 0.0)
    drop = rng.uniform(0.04, 0.1) * (stance == "contrapposto")
    hips = {
        s: np.array([sway + s * half_hip, 0.0 if s == side else -drop, 0])
        for s in (RIGHT, LEFT)
    }
    height = min(
        ankles[s][1]
        - hips[s][1]
        + np.sqrt((leg * 0.995) ** 2 - np.square((ankles[s] - hips[s])[[0, 2]]).sum())
        for s in (RIGHT, LEFT)
    )
    for s in (RIGHT, LEFT):
        hips[s][1] += height
    return hips, sway, drop


def random_body(rng: np.random.Generator) -> Body:
    """Somebody who stands or walks, with the feet on the ground."""
    feminine = bool(rng.random() < 0.58)
    build = float(np.clip(rng.normal(0.95 if feminine else 1.03, 0.09), 0.8, 1.25))
    yaw = _random_yaw(rng)
    left = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])
    forward = np.array([np.sin(yaw), 0.0, np.cos(yaw)])
    up = np.array([0.0, 1.0, 0.0])

    def world(local: np.ndarray) -> np.ndarray:
        return local[0] * left + local[1] * up + local[2] * forward

    scale = rng.uniform(0.95, 1.06)
    thigh, shin = 1.72 * scale, 1.62 * scale
    half_hip = 0.37 if feminine else 0.35
    heel = float(rng.choice([0.0, 0.0, 0.45, 0.6])) if feminine else 0.0
    side = int(rng.choice([RIGHT, LEFT]))
    stances = ["stand", "contrapposto", "walk", "cross", "wide"]
    stance = str(rng.choice(stances, p=[0.27, 0.33, 0.24, 0.08, 0.08]))
    places = _random_stance(rng, side, stance, heel)

    ankles_local = {}
    for s, (a, ahead, pitch) in places.items():
        lift = ANKLE_HEIGHT * np.cos(pitch) + ANKLE_TO_BALL * np.sin(pitch)
        ankles_local[s] = np.array([a, lift, ahead])
    hips_local, sway, drop = _hip_places(
        rng, stance, side, half_hip, thigh + shin, ankles_local
    )
    pelvis = (hips_local[RIGHT] + hips_local[LEFT]) / 2

    trunk = 2.28 * rng.uniform(0.96, 1.03)
    lean = np.array([-0.6 * sway + rng.normal(0, 0.05), 1.0, rng.normal(0.0, 0.05)])
    neck = pelvis + trunk * normalize(lean)
    half_shoulder = (0.70 if feminine else 0.82) * (0.6 + 0.4 * build)
    twist = rng.normal(0, 0.12)
    slope = 0.5 * drop + rng.normal(0, 0.02)
    shoulders_local = {
        s: neck
        + [
            s * half_shoulder * np.cos(twist),
            -0.17 - s * side * slope,
            s * half_shoulder * np.sin(twist),
        ]
        for s in (RIGHT, LEFT)
    }
    head_local = neck + [rng.normal(0, 0.03), 0.755, 0.1 + rng.normal(0, 0.03)]

    poses = {s: pick(rng, _ARM_POSES) for s in (RIGHT, LEFT)}
    if stance == "walk" and rng.random() < 0.7:
        poses = {side: "back_swing", -side: "swing"}
    elif rng.random() < 0.3:
        poses[LEFT] = poses[RIGHT]
    arm, fore = 1.32 * scale, 1.1 * scale
    elbows, wrists, hands = {}, {}, {}
    for s in (RIGHT, LEFT):
        target, pole = _random_wrist(rng, poses[s], s, shoulders_local[s], pelvis, neck)
        elbow, wrist = _reach(shoulders_local[s], target, arm, fore, pole)
        elbows[s], wrists[s] = world(elbow), world(wrist)
        turn = _HAND_TURNS.get(poses[s], np.zeros(3)) * [s, 1, 1]
        hands[s] = world(normalize(normalize(wrist - elbow) + turn))

    knees, feet = {}, {}
    for s in (RIGHT, LEFT):
        turn = s * rng.uniform(0.08, 0.5) * (0.4 if stance == "walk" else 1)
        pole = np.array([0.5 * np.sin(turn), 0.0, 1.0])
        knee, _ = _reach(hips_local[s], ankles_local[s], thigh, shin, pole)
        knees[s] = world(knee)
        feet[s] = world(np.array([np.sin(turn), 0.0, np.cos(turn)]))

    look = 0.7 * yaw if abs(yaw) < 1.2 and rng.random() < 0.5 else yaw
    return Body(
        feminine=feminine,
        build=build,
        yaw=yaw,
        head_yaw=float(look + rng.normal(0, 0.2)),
        head_roll=float(rng.normal(0, 0.06)),
        pelvis=world(pelvis),
        neck=world(neck),
        head=world(head_local),
        hips={s: world(p) for s, p in hips_local.items()},
        knees=knees,
        ankles={s: world(p) for s, p in ankles_local.items()},
        shoulders={s: world(p) for s, p in shoulders_local.items()},
        elbows=elbows,
        wrists=wrists,
        hands=hands,
        feet=feet,
        pitch={s: place[2] for s, place in places.items()},
        pocketed={s for s, pose in poses.items() if pose == "pocket"},
        half_shoulder=half_shoulder,
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
        points[f"{letter}_Ankle"] = body.ankles[side]
        points[f"{letter}_Knee"] = body.knees[side]
        points[f"{letter}_Hip"] = body.hips[side]
        points[f"{letter}_Wrist"] = body.wrists[side]
        points[f"{letter}_Elbow"] = body.elbows[side]
        points[f"{letter}_Shoulder"] = body.shoulders[side]
    return np.stack([points[name] for name in JOINTS])
