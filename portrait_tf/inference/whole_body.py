"""How far a person goes on beyond the photo, by what stage 1 sees and guesses of them.

A person is thought of as levels along the vertical, 0 at the top of the head (hair and
hat included) and 1 at the lowest end of the feet. Stage 1 is shown the photo on a
larger canvas whose new border is unknown; it puts every joint somewhere, those beyond
the photo's border too. The body is then the place and the scale at which the levels of
people fit best to what was found, by least squares with the spread of real people and
the errors of stage 1: a joint that is seen counts much, one that is guessed in the
unknown part little. The idea of asking a network for the structure beyond the border
is that of *Deep Portrait Image Completion and Extrapolation* (arXiv 1808.07757); the
fit is our own. How well: `docs/extrapolation.md`.
"""

import dataclasses
import math

import numpy as np

from portrait_tf.errors import PortraitError
from portrait_tf.geometry import Box, scale_joints, shrink
from portrait_tf.inference.engines import Engine
from portrait_tf.inference.joints import SURE
from portrait_tf.inference.large_photos import (
    Given,
    check_photo,
    frame_of,
    largest_person,
)
from portrait_tf.labels import JOINTS, SHOE_LABELS, VOID_LABEL

LEVELS = ("Head", "Neck", "Shoulder", "Hip", "Knee", "Ankle")

MEANS = np.array([-0.002, 0.156, 0.199, 0.476, 0.697, 0.894])
"""Where the levels of people are: 0 is the head's top, 1 the feet's end.

The constants are those of 715 people of CCP's training part, and of stage 1's bundled
weights: `python -m benchmarks.whole_body --data CCP --fit --count 60` prints them.
"""

SPREAD = 1e-4 * np.array(
    [
        [1.96, 0.85, 0.29, -0.09, -0.23, -0.18],
        [0.85, 1.19, 1.19, 1.23, 0.90, 0.30],
        [0.29, 1.19, 1.49, 1.64, 1.30, 0.49],
        [-0.09, 1.23, 1.64, 3.69, 3.13, 1.36],
        [-0.23, 0.90, 1.30, 3.13, 3.87, 2.01],
        [-0.18, 0.30, 0.49, 1.36, 2.01, 2.44],
    ]
)
"""Their covariance."""

SEEN = np.array([0.010, 0.006, 0.007, 0.010, 0.013, 0.012])
"""Stage 1's errors (standard deviations) of joints in the photo."""

GUESSED = np.array([0.019, 0.014, 0.016, 0.021, 0.030, 0.049])
"""Its errors of joints in the unknown part."""

_ANKLES = [JOINTS.index("R_Ankle"), JOINTS.index("L_Ankle")]

_END = 0.01
"""Its error of where a person ends within the photo."""

_AROUND = 0.05
"""Of the body's height, above and below it on the canvas that stage 1 is shown."""
_SIDES = 0.3
"""Of the photo's width, on sides that cut a person off."""
_FIRST = {"top": 0.25, "bottom": 0.5}
"""Of the photo's height: the first canvas, as nothing is known of the body yet."""
_LOOKS = 3
_MOST = 4.0
"""No side of a canvas grows by more than so many times the photo's height."""
_LEAST = 0.1
"""No body is less than that of the photo's height."""
_INSET = 0.02
_SAME = 0.7
"""A crop with as much of the photo as that is the photo: a look less."""
_NO_FEET = 0.03
"""Without feet, a person whose end is so near to the photo's goes on (its height)."""
_LOWEST = 0.06
"""That part of a person is shoes, if they stand in the photo."""
_TOUCHES = 1.2
"""A gap of so many pixels, as stage 1 sees them, is none."""


@dataclasses.dataclass(frozen=True)
class Body:
    """Where a person's body begins and ends, in pixels of the photo.

    Attributes:
        top: Row where it begins; below 0 if that is beyond the photo.
        bottom: Row before which it ends.
        left: Column where it begins.
        right: Column before which it ends.
        cut: The sides of the photo at which it is cut off.
    """

    top: float
    bottom: float
    left: float
    right: float
    cut: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Answer:
    """Stage 1's answer on a larger canvas, in pixels of the photo on it.

    Attributes:
        joints: `[16, 3]`, also beyond the photo; None without a pose.
        edges: Top, bottom, left and right of the largest person.
        unit: How many pixels of the photo stage 1 sees as one.
        found: Whether there is a person; else the edges are the photo's.
        feet: Whether the photo shows their feet.
    """

    joints: np.ndarray | None
    edges: tuple[float, float, float, float]
    unit: float
    found: bool
    feet: bool


@dataclasses.dataclass(frozen=True)
class _Person:
    """The largest person: a crop about them, shrunk, and what an edge cuts of it.

    Attributes:
        crop: RGB `uint8` `[h, w, 3]`.
        view: The crop's place in the photo.
        times: How many pixels of the photo one of the crop is.
        edges: Top, bottom, left and right of what is seen of them, in the crop.
        cut: The sides of the photo at which they are cut off.
    """

    crop: np.ndarray
    view: Box
    times: float
    edges: tuple[float, float, float, float]
    cut: tuple[str, ...]


def estimate_body(
    engine: Engine, photo: np.ndarray, joints: np.ndarray | None = None
) -> Body:
    """Estimates where the largest person in a photo begins and ends.

    Three looks at a canvas that goes on beyond the photo, each as large as the last
    one's answer. Of the sides, the label map's ends on that canvas are the answer.

    Args:
        engine: Its `parse` has to give joints.
        photo: RGB `uint8` `[H, W, 3]`, upright, with an upright person.
        joints: The user's own, `[16, 3]`, as of `labels.check_joints`, in pixels
            of the photo: stage 1 draws the person about them, and the body reaches
            them.

    Returns:
        Their body, beyond the photo where it cuts them off.

    Raises:
        PortraitError: Stage 1 sees nobody, or has no pose.
    """
    person = _find_person(engine, photo)
    if person is None:
        raise PortraitError(
            "expected a photo with a person, to estimate the whole body, received one "
            "in which stage 1 sees nobody"
        )
    height, width = person.crop.shape[:2]
    cut = person.cut
    top, bottom, left, right = person.edges
    ends = [
        None if side in cut else edge
        for side, edge in (("top", top), ("bottom", bottom))
    ]
    margins = {side: part * height for side, part in _FIRST.items()}
    given = Given(joints=joints).shrunk(person.view, person.crop.shape[:2])
    for _ in range(_LOOKS if cut else 0):
        rows = [
            round(float(np.clip(margins[side], 0, _MOST * height)))
            if side in cut
            else 0
            for side in ("top", "bottom")
        ]
        columns = [
            round(_SIDES * width) if side in cut else 0 for side in ("left", "right")
        ]
        answer = look_at(engine, person.crop, (*rows, *columns), given)
        if answer.joints is None:
            raise PortraitError(
                "expected a stage 1 with a pose, to estimate the whole body, received "
                "one without"
            )
        top, bottom = _fit(answer.joints, ends, height)
        left, right = answer.edges[2:]
        around = _AROUND * (bottom - top)
        margins = {"top": around - top, "bottom": bottom + around - height}
    body = _in_photo(person, (top, bottom, left, right))
    return body if joints is None else _reaching(body, joints, photo.shape[:2])


def _in_photo(person: _Person, edges: tuple[float, float, float, float]) -> Body:
    """The body in the photo, of its edges in the crop where the photo cuts it off."""
    height, width = person.crop.shape[:2]
    top, bottom, left, right = edges
    cut, own, corner, times = person.cut, person.edges, person.view, person.times
    # A body that an edge cuts does not end before it.
    top = min(top, 0.0) if "top" in cut else own[0]
    bottom = max(bottom, float(height)) if "bottom" in cut else own[1]
    left = min(left, 0.0) if "left" in cut else own[2]
    right = max(right, float(width)) if "right" in cut else own[3]
    return Body(
        corner.top + times * top,
        corner.top + times * bottom,
        corner.left + times * left,
        corner.left + times * right,
        cut,
    )


def _reaching(body: Body, joints: np.ndarray, size: tuple[int, int]) -> Body:
    """The body that has its joints where the user says."""
    given = joints[joints[:, 2] > 0]
    if not len(given):
        return body
    left, top = given[:, :2].min(0)
    right, bottom = given[:, :2].max(0)
    ankles = joints[_ANKLES]
    ankles = ankles[ankles[:, 2] > 0, 1]
    end = body.bottom
    if len(ankles):
        # Feet go on below ankles. Of one ankle, the other may be lower.
        feet = ankles.max() + (1 - MEANS[-1]) * (body.bottom - body.top)
        end = feet if len(ankles) == len(_ANKLES) else max(feet, end)
    beyond = {
        "top": top < 0,
        "bottom": bottom > size[0] - 1 or (len(ankles) > 0 and end > size[0]),
        "left": left < 0,
        "right": right > size[1] - 1,
    }
    return Body(
        min(body.top, top),
        max(end, bottom),
        min(body.left, left),
        max(body.right, right + 1),
        tuple(side for side in beyond if side in body.cut or beyond[side]),
    )


def cut_sides(engine: Engine, photo: np.ndarray) -> tuple[str, ...]:
    """The sides of the photo at which the largest person is cut off; none: nobody."""
    person = _find_person(engine, photo)
    return () if person is None else person.cut


def levels_of(joints: np.ndarray) -> np.ndarray:
    """The rows of `LEVELS` `[6]`: of pairs the middle, of ankles the lower one."""
    rows = []
    for level in LEVELS:
        if level in JOINTS:
            rows.append(joints[JOINTS.index(level), 1])
            continue
        pair = [joints[JOINTS.index(f"{side}_{level}"), 1] for side in "RL"]
        rows.append(max(pair) if level == "Ankle" else sum(pair) / 2)
    return np.array(rows, float)


def fit_body(
    levels: np.ndarray, seen: np.ndarray, ends: list[float | None]
) -> tuple[float, float]:
    """Fits a body to its levels.

    Generalized least squares (Aitken 1936) for the place and the scale. Top and bottom
    have no spread: they are what the levels of people are measured by.

    Args:
        levels: Rows of `LEVELS`, `[6]`.
        seen: Which of them are in the photo, `bool` `[6]`.
        ends: The rows of top and bottom, None where they are not known.

    Returns:
        The rows of top and bottom.
    """
    known_ends = [index for index, end in enumerate(ends) if end is not None]
    values = np.array([*levels, *(ends[index] for index in known_ends)], float)
    model = np.array([*MEANS, *(float(index) for index in known_ends)])
    covariance = np.zeros((len(values), len(values)))
    count = len(LEVELS)
    covariance[:count, :count] = SPREAD
    noise = np.where(seen, SEEN, GUESSED)
    covariance += np.diag([*noise**2, *([_END**2] * len(known_ends))])
    design = np.stack([np.ones_like(model), model], axis=1)
    weights = np.linalg.inv(covariance)
    place, scale = np.linalg.solve(
        design.T @ weights @ design, design.T @ weights @ values
    )
    return float(place), float(place + scale)


def _fit(
    joints: np.ndarray, ends: list[float | None], height: int
) -> tuple[float, float]:
    levels = levels_of(joints)
    # At the very border a joint is as much a guess as beyond it.
    inset = _INSET * height
    seen = (levels > inset) & (levels < height - inset)
    top, bottom = fit_body(levels, seen, ends)
    if bottom - top < _LEAST * height:
        # Joints that are nobody's; at least the photo is as high as the person.
        return 0.0, float(height)
    return top, bottom


def _find_person(engine: Engine, photo: np.ndarray) -> _Person | None:
    photo = check_photo(photo)
    size = photo.shape[:2]
    view = Box(0, 0, *size)
    crop, answer = _see(engine, photo)
    if not answer.found:
        return None
    times = size[0] / crop.shape[0]
    top, bottom, left, right = (times * edge for edge in answer.edges)
    # The shape that stage 1 learned from, where the photo has it.
    rows = round(0.15 * (bottom - top))
    columns = max(rows, round(0.35 * (right - left)))
    box = Box(int(top), int(left), math.ceil(bottom), math.ceil(right))
    box = box.grown(rows, columns, size)
    if box.area < _SAME * view.area:
        view = box
        crop, answer = _see(engine, view.of(photo))
        times = view.height / crop.shape[0]
    height, width = crop.shape[:2]
    top, bottom, left, right = answer.edges
    gaps = {
        "top": (top, view.top == 0),
        "bottom": (height - bottom, view.bottom == size[0]),
        "left": (left, view.left == 0),
        "right": (width - right, view.right == size[1]),
    }
    least = dict.fromkeys(gaps, _TOUCHES * answer.unit)
    # Legs fade near the border, and feet may stand on it.
    least["bottom"] = 0.0 if answer.feet else max(least["bottom"], _NO_FEET * height)
    cut = tuple(
        side
        for side, (gap, is_border) in gaps.items()
        if is_border and gap < least[side]
    )
    return _Person(crop, view, times, answer.edges, cut)


def _see(engine: Engine, photo: np.ndarray) -> tuple[np.ndarray, Answer]:
    """A photo shrunk, as the networks have no use for more, and what stage 1 says."""
    no_hole = np.zeros(photo.shape[:2], np.uint8)
    crop, _ = shrink(photo, no_hole, tuple(2 * n for n in frame_of(engine)))
    return crop, look_at(engine, crop, (0, 0, 0, 0))


def look_at(
    engine: Engine,
    photo: np.ndarray,
    margins: tuple[int, int, int, int],
    given: Given = Given(),
) -> Answer:
    """Stage 1 on a photo with an unknown border: top, bottom, left, right.

    It is given what the user says, in pixels of the photo.
    """
    top, bottom, left, right = margins
    size = photo.shape[:2]
    padding = ((top, bottom), (left, right))
    mask = np.pad(np.zeros(size, np.uint8), padding, constant_values=255)
    canvas = np.pad(photo, (*padding, (0, 0)))
    small, hole = shrink(canvas, mask, frame_of(engine))
    box = Box(-top, -left, size[0] + bottom, size[1] + right)
    labels, joints = given.shrunk(box, hole.shape).parse(engine, small, hole)
    scale = np.array([full / n for full, n in zip(mask.shape, hole.shape, strict=True)])
    person = (labels > 0) & (labels != VOID_LABEL)
    inside = largest_person(person.astype(np.uint8))
    if inside is not None:
        # Of others beside them nothing is asked.
        person[:, : inside.left] = person[:, inside.right :] = False
    if joints is not None:
        joints = scale_joints(joints.astype(float), hole.shape, mask.shape)
        joints -= (left, top, 0)
    # A single pixel is no end of a body.
    rows = np.flatnonzero(person.sum(1) >= 2)
    columns = np.flatnonzero(person.sum(0) >= 2)
    found = inside is not None and len(rows) > 0 and len(columns) > 0
    edges = (0.0, float(size[0]), 0.0, float(size[1]))
    if found:
        edges = (
            rows[0] * scale[0] - top,
            (rows[-1] + 1) * scale[0] - top,
            columns[0] * scale[1] - left,
            (columns[-1] + 1) * scale[1] - left,
        )
    feet = found and _shows_feet(labels, person, rows, joints, edges, size[0])
    return Answer(joints, edges, float(scale.max()), found, feet)


def _shows_feet(
    labels: np.ndarray,
    person: np.ndarray,
    rows: np.ndarray,
    joints: np.ndarray | None,
    edges: tuple[float, float, float, float],
    height: int,
) -> bool:
    """Whether the person's lowest part is shoes, or an ankle is well in the photo."""
    lowest = max(0, rows[-1] - round(_LOWEST * (rows[-1] - rows[0])))
    below = labels[lowest : rows[-1] + 1][person[lowest : rows[-1] + 1]]
    if np.isin(below, SHOE_LABELS).mean() >= 0.5:
        return True
    if joints is None:
        return False
    ankles = joints[_ANKLES]
    middle = (edges[0] + edges[1]) / 2
    inside = (ankles[:, 1] > middle) & (ankles[:, 1] < (1 - _LOWEST) * height)
    return bool((inside & (ankles[:, 2] >= SURE)).any())
