"""Joints that a user gives, beside those that stage 1 finds."""

import numpy as np

from portrait_tf.errors import PortraitError
from portrait_tf.geometry import Box, inside
from portrait_tf.inference.engines import Engine
from portrait_tf.inference.large_photos import largest_person, parse_photo
from portrait_tf.labels import JOINTS, NUM_JOINTS

SURE = 0.3
"""A heat map's peak from which on stage 1 has seen a joint."""

_FAR = 0.05
"""Of the person's height: nearer places are the same."""


_SIGMA = 0.021
"""Of the Gaussians that stage 1 learns (`heatmap_sigma`), as a part of the height."""

_LEAST = 0.05
"""A lower peak is no place: stage 1 is to find that joint about the others."""

_MOST = 0.12
"""Of the person's height: no standard deviation is larger."""

_TOGETHER = 0.8
"""Of a joint's variance, what the joints of a limb have in common."""

_LIMBS = ((0, 1, 2), (3, 4, 5), (6, 7, 8, 9), (10, 11, 12), (13, 14, 15))


def sample_joints(
    found: np.ndarray, free: np.ndarray, height: float, rng: np.random.Generator
) -> np.ndarray:
    """Draws a pose from stage 1's own doubts.

    Stage 1 is trained to answer with a Gaussian of peak 1 about a joint, by squared
    errors: its answer is the mean of such Gaussians over where the joint may be. Where
    that is itself a Gaussian, of the deviation d, the mean's peak is `s² / (s² + d²)`
    for Gaussians of the deviation s. So the peak alone tells d, from any engine. The
    joints of a limb move together.

    Args:
        found: `[16, 3]`: x, y, and the heat map's peak.
        free: Which joints may be elsewhere, `bool` `[16]`.
        height: Of the person, in pixels.
        rng: Source of randomness.

    Returns:
        `float32` `[16, 3]`, as of `labels.check_joints`: a place for each joint
        that is free and of which stage 1 has an idea.
    """
    peaks = np.clip(found[:, 2:], _LEAST, 1)
    deviation = np.minimum(_SIGMA * np.sqrt(1 / peaks - 1), _MOST) * height
    own = rng.normal(size=(NUM_JOINTS, 2))
    shared = np.empty_like(own)
    for limb in _LIMBS:
        shared[list(limb)] = rng.normal(size=2)
    moves = np.sqrt(_TOGETHER) * shared + np.sqrt(1 - _TOGETHER) * own
    drawn = free & (found[:, 2] >= _LEAST)
    places = np.hstack([found[:, :2] + deviation * moves, np.ones((NUM_JOINTS, 1))])
    return np.where(drawn[:, None], places, 0).astype(np.float32)


def find_doubtful(
    engine: Engine,
    photo: np.ndarray,
    hole: np.ndarray,
    joints: np.ndarray | None,
    origin: tuple[int, int] = (0, 0),
) -> tuple[np.ndarray, np.ndarray, float]:
    """The joints that stage 1 only guesses, as `sample_joints` takes them.

    Args:
        engine: Its `parse` gives joints.
        photo: RGB `uint8` `[H, W, 3]`.
        hole: As of `joint_notes`.
        joints: The user's own, which are certain; in pixels of the photo.
        origin: As of `joint_notes`.

    Returns:
        All joints `[16, 3]` in pixels of the photo, which of them are not seen, and
        the person's height.

    Raises:
        PortraitError: Stage 1 has no pose, or sees nobody.
    """
    corner = np.array((origin[1], origin[0], 0), np.float32)
    given = None if joints is None else joints + corner
    labels, found = parse_photo(engine, _on_canvas(photo, hole, origin), hole, given)
    person = largest_person(labels)
    if found is None or person is None:
        raise PortraitError(
            "expected a photo in which stage 1 finds a person with a pose, to complete "
            "it in several ways, received one without"
        )
    free = np.array([not _is_known(place, hole) for place in found[:, :2]])
    if joints is not None:
        free &= joints[:, 2] == 0
    return found - corner, free, float(person.height)


def joint_notes(
    engine: Engine,
    photo: np.ndarray,
    hole: np.ndarray,
    joints: np.ndarray,
    origin: tuple[int, int] = (0, 0),
) -> list[str]:
    """What a user should know of the joints that they give.

    Stage 1 is asked without them. A joint that lies in the known part of the photo, or
    that stage 1 sees there, should be where stage 1 sees it.

    Args:
        engine: Its `parse` gives joints.
        photo: RGB `uint8` `[H, W, 3]`.
        hole: `uint8` `[H2, W2]` of the result, non-zero = painted.
        joints: `[16, 3]`, as of `labels.check_joints`, in pixels of the photo.
        origin: Row and column of the result where the photo begins.

    Returns:
        A sentence for each joint that lies beyond the result, or more than 5 % of the
        person's height from where stage 1 sees it.
    """
    size = hole.shape
    labels, seen = parse_photo(engine, _on_canvas(photo, hole, origin), hole)
    corner = np.array(origin[::-1])
    person = largest_person(labels)
    notes = []
    for index in np.flatnonzero(joints[:, 2]):
        name, (x, y) = JOINTS[index], joints[index, :2]
        place = joints[index, :2] + corner
        if not inside(place, size):
            notes.append(
                f"{name} is given at {x:.0f}, {y:.0f} (x, y), beyond the result: it "
                "does not lead the painting"
            )
            continue
        if person is None or seen is None or seen[index, 2] < SURE:
            continue
        away = float(np.linalg.norm(seen[index, :2] - place))
        known = [_is_known(one, hole) for one in (place, seen[index, :2])]
        if any(known) and away > _FAR * person.height:
            x_seen, y_seen = seen[index, :2] - corner
            notes.append(
                f"{name} is given at {x:.0f}, {y:.0f} (x, y), {away:.0f} pixels "
                f"({away / person.height:.0%} of the person's height) from where stage "
                f"1 sees it, at {x_seen:.0f}, {y_seen:.0f}"
            )
    return notes


def _on_canvas(
    photo: np.ndarray, hole: np.ndarray, origin: tuple[int, int]
) -> np.ndarray:
    top, left = origin
    canvas = np.full((*hole.shape, 3), 128, np.uint8)
    Box(top, left, top + photo.shape[0], left + photo.shape[1]).of(canvas)[:] = photo
    return canvas


def _is_known(place: np.ndarray, hole: np.ndarray) -> bool:
    if not inside(place, hole.shape):
        return False
    column, row = np.rint(place).astype(int)
    return hole[row, column] == 0
