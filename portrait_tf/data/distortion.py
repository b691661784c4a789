"""Random changes of a sample that no affine map can make."""

import cv2
import numpy as np

from portrait_tf.config import AugmentationConfig
from portrait_tf.geometry import inside
from portrait_tf.labels import JOINTS, LABEL_GROUPS, LABELS, VOID_LABEL

_CELLS = 4
"""Independent shifts along each side: about a head, a torso and two of legs."""

_GRAY = 127

_ARMS = [
    [JOINTS.index(f"{side}_{name}") for name in ("Shoulder", "Elbow", "Wrist")]
    for side in "RL"
]

_ARM_LABELS = [
    LABELS.index(name) for group in ("arms", "torso") for name in LABEL_GROUPS[group]
]
"""What moves with an arm: sleeves have the label of the garment."""

_ARM_RADIUS = 0.1
"""Half of an arm's width with its sleeve, as a part of its length."""

_HAND = 0.3
"""How far an arm goes on behind its wrist, as a part of the forearm."""

_SWING = 0.4
"""Largest shift of a wrist, as a part of the arm's length."""


def random_flow(
    rng: np.random.Generator, size: tuple[int, int], largest: float
) -> np.ndarray:
    """A smooth field of shifts.

    Args:
        largest: Shift, as a part of the shorter side.

    Returns:
        `float32` `[h, w, 2]`: rows and columns, in pixels.
    """
    coarse = rng.uniform(-1, 1, (_CELLS, _CELLS, 2)).astype(np.float32)
    flow = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(flow, -1, 1) * np.float32(largest * min(size))


def warp_sample(
    image: np.ndarray, parsing: np.ndarray, joints: np.ndarray, flow: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Moves photo, labels and joints along one field.

    Args:
        image: RGB `uint8` `[h, w, 3]`.
        parsing: `uint8` `[h, w]`.
        joints: `float32` `[16, 3]`: x, y and a weight.
        flow: Of `random_flow`; a place shows what was at the place less its shift.

    Returns:
        The three of them, changed; a joint that leaves the frame is three times 0.
    """
    from portrait_tf.compat.addons import dense_image_warp

    warped = dense_image_warp(image.astype(np.float32), flow)
    image = np.clip(np.rint(warped), 0, 255).astype(np.uint8)
    size = np.array(parsing.shape)
    source = np.moveaxis(np.indices(parsing.shape), 0, -1) - flow
    shown = inside(source[..., ::-1], parsing.shape)
    rows, columns = np.moveaxis(
        np.clip(np.rint(source).astype(int), 0, size - 1), -1, 0
    )
    parsing = np.where(shown, parsing[rows, columns], VOID_LABEL).astype(np.uint8)
    return image, parsing, _warp_joints(joints, flow)


def _warp_joints(joints: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Solves `place - flow[place] = joint` by iteration.

    The field is a contraction up to the config's largest shift.
    """
    start = joints[:, 1::-1].astype(np.float32)
    place = start.copy()
    for _ in range(20):
        rows, columns = (place[:, axis].reshape(-1, 1) for axis in (0, 1))
        shift = cv2.remap(
            flow, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        place = start + shift[:, 0]
    known = (joints[:, 2] > 0) & inside(place[:, ::-1], flow.shape[:2])
    moved = np.zeros_like(joints)
    moved[known, :2] = place[known, ::-1]
    moved[known, 2] = 1
    return moved


def random_cutout(
    rng: np.random.Generator, image: np.ndarray, augmentation: AugmentationConfig
) -> np.ndarray:
    """A gray rectangle about a random place.

    Args:
        image: RGB `uint8` `[h, w, 3]`.
        augmentation: Uses `cutout_size`.
    """
    from portrait_tf.compat.addons import cutout

    sides = rng.uniform(*augmentation.cutout_size, 2) * image.shape[:2]
    size = tuple(2 * max(1, round(side / 2)) for side in sides)
    center = tuple(int(rng.integers(side)) for side in image.shape[:2])
    return cutout(image, center, size, _GRAY)


def swing_arms(
    rng: np.random.Generator,
    parsing: np.ndarray,
    joints: np.ndarray,
    mask: np.ndarray,
    probability: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Gives arms in the hole another pose: in the map and the joints, not the photo.

    A network that is told such joints learns to follow them against what the rest of
    the photo suggests. Legs are followed without. Our choice.

    Args:
        parsing: `uint8` `[h, w]`.
        joints: `float32` `[16, 3]`: x, y and a weight.
        mask: `uint8` `[h, w]`; an arm is hidden if its wrist is in the hole, before and
            after. An elbow moves only if so is that.
        probability: For each hidden arm.

    Returns:
        The map and the joints, changed in the hole only.
    """
    for arm in _ARMS:
        wanted, bend = rng.random() < probability, rng.uniform(0, 0.7)
        shift = rng.normal(size=2)
        shift *= np.sqrt(rng.random()) / np.linalg.norm(shift)
        if not wanted or not (joints[arm, 2] > 0).all():
            continue
        old = joints[arm, :2].astype(np.float64)
        length = np.linalg.norm(np.diff(old, axis=0), axis=1).sum()
        new = old + _SWING * length * np.outer([0, bend, 1], shift)
        if not _in_hole(np.stack([old[1], new[1]]), mask):
            new[1] = old[1]
        if _in_hole(np.stack([old[2], new[2]]), mask):
            parsing = _move_arm(parsing, old, new, mask)
            joints = joints.copy()
            joints[arm, :2] = new
    return parsing, joints


def _in_hole(points: np.ndarray, mask: np.ndarray) -> bool:
    """Whether all of the points, x and y, are in the hole."""
    if not inside(points, mask.shape).all():
        return False
    columns, rows = np.rint(points).astype(int).T
    return bool(mask[rows, columns].all())


def _move_arm(
    parsing: np.ndarray, old: np.ndarray, new: np.ndarray, mask: np.ndarray
) -> np.ndarray:
    """The map with an arm's two bones, and what is around them, at new places.

    Args:
        old, new: `[3, 2]`: x and y of shoulder, elbow and wrist.
    """
    radius = _ARM_RADIUS * np.linalg.norm(np.diff(old, axis=0), axis=1).sum()
    moving = np.isin(parsing, _ARM_LABELS) & (mask > 0)
    bones = [
        moving & _along(parsing.shape, start, end, radius, behind)
        for start, end, behind in zip(old[:-1], old[1:], (0, _HAND), strict=True)
    ]
    moved = _filled(parsing, bones[0] | bones[1])
    for index, bone in enumerate(bones):
        piece = cv2.warpAffine(
            np.where(bone, parsing, np.uint8(VOID_LABEL)),
            _similarity(old[index : index + 2], new[index : index + 2]),
            parsing.shape[::-1],
            flags=cv2.INTER_NEAREST,
            borderValue=VOID_LABEL,
        )
        moved = np.where((piece != VOID_LABEL) & (mask > 0), piece, moved)
    return moved


def _along(
    size: tuple[int, int],
    start: np.ndarray,
    end: np.ndarray,
    radius: float,
    behind: float,
) -> np.ndarray:
    """Pixels near a line that goes on `behind` its end, as a part of its length."""
    axis = end - start
    places = np.moveaxis(np.indices(size), 0, -1)[..., ::-1] - start
    along = places @ axis / max(axis @ axis, 1e-6)
    away = places - np.clip(along, 0, 1 + behind)[..., None] * axis
    return np.linalg.norm(away, axis=-1) <= radius


def _filled(parsing: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """The map with the nearest other pixel's label where one is removed."""
    _, nearest = cv2.distanceTransformWithLabels(
        removed.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    label_of = np.zeros(nearest.max() + 1, np.uint8)
    label_of[nearest[~removed]] = parsing[~removed]
    return label_of[nearest]


def _similarity(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The turn, zoom and shift that takes two points to two others: `[2, 3]`."""
    (a, b), (c, d) = (points @ np.array([1, 1j]) for points in (old, new))
    factor = (d - c) / (b - a if abs(b - a) > 1e-6 else 1)
    rest = c - factor * a
    return np.array(
        [[factor.real, -factor.imag, rest.real], [factor.imag, factor.real, rest.imag]]
    )
