"""Holes: random ones for training, and fixed ones for evaluation.

A mask is `uint8` `[H, W]`; 255 is a hole, 0 is known. MAT, PConv-Keras and NVIDIA's
partial convolution use the opposite convention. Sizes are (height, width). All
randomness comes from the generator that is passed in: the same seed, the same mask.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from portrait_tf.config import MaskConfig
from portrait_tf.errors import PortraitError
from portrait_tf.labels import FACE_LABELS, VOID_LABEL
from portrait_tf.photos.masks import HOLE

MAX_HOLE_FRACTION = 0.85
"""Random masks leave at least the rest of the photo known."""

EVALUATION_TASKS = ("square", "strokes", "lower_third", "right_quarter")
FACE_TASK = "face"
"""The task of face refinement; not among the four of the tables."""

_BODY_PAIRS = {14: 15, 15: 14, 16: 17, 17: 16, 18: 19, 19: 18}
_ATTEMPTS = 20


def rectangle_mask(
    rng: np.random.Generator,
    size: tuple[int, int],
    side: tuple[float, float] = (0.2, 0.6),
) -> np.ndarray:
    """Draws one rectangle that lies wholly in the photo.

    Args:
        side: Smallest and largest side, as parts of the photo's.
    """
    lengths = [
        min(total, max(1, round(total * part)))
        for total, part in zip(size, rng.uniform(*side, 2), strict=True)
    ]
    corner = [
        int(rng.integers(0, total - length, endpoint=True))
        for total, length in zip(size, lengths, strict=True)
    ]
    return _box_hole(size, corner, lengths)


def _box_hole(
    size: tuple[int, int], corner: Sequence[int], lengths: Sequence[int]
) -> np.ndarray:
    mask = np.zeros(size, np.uint8)
    top, left = corner
    mask[top : top + lengths[0], left : left + lengths[1]] = HOLE
    return mask


def _square_hole(
    size: tuple[int, int], middle: Sequence[float], side: int
) -> np.ndarray:
    """A square about a row and column, moved to lie wholly in the photo."""
    corner = [
        int(np.clip(round(place - side / 2), 0, total - side))
        for place, total in zip(middle, size, strict=True)
    ]
    return _box_hole(size, corner, (side, side))


def stroke_mask(
    rng: np.random.Generator,
    size: tuple[int, int],
    count: tuple[int, int] = (1, 6),
    width: tuple[float, float] = (0.05, 0.2),
    length: tuple[float, float] = (0.2, 0.8),
) -> np.ndarray:
    """Draws free-form strokes: polylines with round caps and a width that varies.

    The idea is that of DeepFill v2's free-form masks (arXiv 1806.03589, section 3.5);
    the distribution of turns and widths is ours.

    Args:
        count: Fewest and most strokes, both included.
        width: Of a stroke, as parts of the photo's shorter side.
        length: Of a stroke, as parts of the photo's longer side.
    """
    mask = np.zeros(size, np.uint8)
    last_pixel = np.array([size[1] - 1, size[0] - 1])
    for _ in range(int(rng.integers(*count, endpoint=True))):
        stroke_width = rng.uniform(*width) * min(size)
        segments = int(rng.integers(2, 6, endpoint=True))
        step = rng.uniform(*length) * max(size) / segments
        point = rng.uniform(0, 1, 2) * last_pixel
        angle = rng.uniform(0, 2 * np.pi)
        for _ in range(segments):
            angle += rng.normal(0, 0.7)
            direction = np.array([np.cos(angle), np.sin(angle)])
            end = point + step * direction
            # At the photo's border a stroke turns back, so it keeps its length.
            outside = (end < 0) | (end > last_pixel)
            direction[outside] *= -1
            end = np.clip(point + step * direction, 0, last_pixel)
            angle = np.arctan2(direction[1], direction[0])
            thickness = max(1, round(stroke_width * rng.uniform(0.7, 1.0)))
            ends = [np.round(one).astype(int).tolist() for one in (point, end)]
            cv2.line(mask, *ends, HOLE, thickness)
            # Joints between segments of unequal width need the larger cap.
            for one in ends:
                cv2.circle(mask, one, thickness // 2, HOLE, -1)
            point = end
    return mask


def body_part_mask(
    rng: np.random.Generator,
    size: tuple[int, int],
    parsing: np.ndarray | None,
    dilation: float = 0.03,
) -> np.ndarray:
    """Hides a part of the person: the region of one label, made somewhat larger.

    Every label in the photo is equally likely, so small parts (shoes, face) are
    hidden as often as large ones. Both of a pair (arms, legs, shoes) go together half
    of the time; of a region in several pieces, sometimes one piece alone is hidden.

    Args:
        parsing: LIP labels `[H, W]`, 255 is void. None, or a map without a person,
            gives a rectangle.
        dilation: By how much the region grows, as a part of the longer side.
    """
    if parsing is None:
        return rectangle_mask(rng, size)
    pixels = np.bincount(parsing.ravel(), minlength=VOID_LABEL + 1)
    labels = [int(label) for label in np.flatnonzero(pixels[:VOID_LABEL]) if label]
    if not labels:
        return rectangle_mask(rng, size)
    label = labels[int(rng.integers(len(labels)))]
    region = parsing == label
    if rng.random() < 0.5 and label in _BODY_PAIRS:
        region |= parsing == _BODY_PAIRS[label]
    if rng.random() < 0.3:
        pieces, piece_of, statistics, _ = cv2.connectedComponentsWithStats(
            region.astype(np.uint8)
        )
        # By area, or else specks of a ragged label map would be most of the pieces.
        area = statistics[1:, cv2.CC_STAT_AREA]
        region = piece_of == 1 + rng.choice(pieces - 1, p=area / area.sum())
    radius = max(1.0, dilation * max(size))
    distance = cv2.distanceTransform((~region).astype(np.uint8), cv2.DIST_L2, 5)
    return _as_mask(distance <= radius)


def face_extent(parsing: np.ndarray | None) -> tuple[float, ...] | None:
    """Where the face is: its middle row and column, its height and width.

    Between quantiles, so that stray pixels of a ragged label map do not count.

    Args:
        parsing: LIP labels `[H, W]`, or None.

    Returns:
        In pixels; None where there is no face.
    """
    if parsing is None:
        return None
    places = np.nonzero(np.isin(parsing, FACE_LABELS))
    if not len(places[0]):
        return None
    # A part of the pixels is left out on both sides, and made up for.
    low, high = np.quantile(np.stack(places), (0.05, 0.95), axis=1)
    return (*((low + high) / 2), *np.maximum((high - low) / 0.9, 1.0))


def face_mask(
    rng: np.random.Generator,
    size: tuple[int, int],
    parsing: np.ndarray | None,
    side: tuple[float, float] = (0.5, 2.0),
) -> np.ndarray:
    """Hides the face or a part of it, and what is around: a rectangle or an ellipse.

    Its middle is within the middle half of the face.

    Args:
        parsing: LIP labels `[H, W]`. None, or a map without a face, gives a rectangle
            somewhere.
        side: Smallest and largest side, as parts of the face's.
    """
    extent = face_extent(parsing)
    if extent is None:
        return rectangle_mask(rng, size)
    middle, face = np.array(extent[:2]), np.array(extent[2:])
    middle = middle + rng.uniform(-0.25, 0.25, 2) * face
    half = np.maximum(rng.uniform(*side, 2) * face / 2, 1.0)
    distance = [
        np.abs(np.arange(length) - center) / radius
        for length, center, radius in zip(size, middle, half, strict=True)
    ]
    rows, columns = distance[0][:, None], distance[1][None]
    if rng.random() < 0.5:
        hole = (rows <= 1) & (columns <= 1)
    else:
        hole = rows**2 + columns**2 <= 1
    return _as_mask(hole)


def _as_mask(hole: np.ndarray) -> np.ndarray:
    return np.where(hole, np.uint8(HOLE), np.uint8(0))


def border_mask(
    size: tuple[int, int],
    top: float = 0,
    bottom: float = 0,
    left: float = 0,
    right: float = 0,
) -> np.ndarray:
    """Cuts the photo's borders off.

    Args:
        top, bottom: Parts of the height, 0 to 1; above 0 they are at least one row.
        left, right: Parts of the width.
    """
    hole = np.zeros(size, bool)
    for lines, parts in ((hole, (top, bottom)), (hole.T, (left, right))):
        first, last = (max(1, round(p * len(lines))) if p else 0 for p in parts)
        lines[:first] = lines[len(lines) - last :] = True
    return _as_mask(hole)


def random_border_mask(
    rng: np.random.Generator, size: tuple[int, int], config: MaskConfig
) -> np.ndarray:
    """Cuts off one side or two, weighted by `config`.

    Args:
        config: Uses `border_size`, `border_sides` and `second_border`.
    """
    sides = ("top", "bottom", "left", "right")
    weights = np.array([config.border_sides.get(side, 0.0) for side in sides])
    if not weights.sum():
        weights = np.ones(len(sides))
    parts = {}
    for chance in (1.0, config.second_border):
        if parts and (rng.random() >= chance or not weights.sum()):
            break
        chosen = int(rng.choice(len(sides), p=weights / weights.sum()))
        parts[sides[chosen]] = rng.uniform(*config.border_size)
        weights[chosen] = 0
    return border_mask(size, **parts)


def random_mask(
    rng: np.random.Generator,
    size: tuple[int, int],
    config: MaskConfig,
    parsing: np.ndarray | None = None,
) -> np.ndarray:
    """Draws a hole for training.

    Args:
        config: How often each kind is drawn, and how large it is.
        parsing: LIP labels `[H, W]` for holes that hide a body part, or None.

    Returns:
        `uint8` `[H, W]`, 255 in the hole: at least one pixel of it, and at most
        `MAX_HOLE_FRACTION` of the photo.

    Raises:
        PortraitError: The photo has a single pixel, so that nothing would be known.
    """
    if size[0] * size[1] < 2:
        raise PortraitError(f"a photo of {size[0]}x{size[1]} has no room for a hole")
    kinds = ("rectangle", "strokes", "body_part", "border", "face")
    weights = np.array([getattr(config, kind) for kind in kinds])
    for _ in range(_ATTEMPTS):
        kind = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
        if kind == "rectangle":
            mask = rectangle_mask(rng, size, config.rectangle_size)
        elif kind == "strokes":
            options = config.stroke_count, config.stroke_width, config.stroke_length
            mask = stroke_mask(rng, size, *options)
        elif kind == "body_part":
            dilation = rng.uniform(*config.body_part_dilation)
            mask = body_part_mask(rng, size, parsing, dilation)
        elif kind == "border":
            mask = random_border_mask(rng, size, config)
        else:
            mask = face_mask(rng, size, parsing, config.face_size)
        hole = np.count_nonzero(mask)
        if 0 < hole <= MAX_HOLE_FRACTION * mask.size:
            return mask
    # A config may ask for holes that are always too large.
    return rectangle_mask(rng, size, (0.5, 0.5))


def _square_on_person(
    rng: np.random.Generator,
    size: tuple[int, int],
    joints: np.ndarray | None,
    parsing: np.ndarray | None,
) -> np.ndarray:
    height, width = size
    rows = columns = np.zeros(0)
    if parsing is not None:
        rows, columns = np.nonzero((parsing > 0) & (parsing != VOID_LABEL))
    if not len(rows) and joints is not None:
        annotated = joints[joints[:, 2] > 0]
        columns, rows = annotated[:, 0], annotated[:, 1]
    if len(rows):
        chosen = int(rng.integers(len(rows)))
        row, column = rows[chosen], columns[chosen]
    else:
        row, column = rng.uniform(0, 1, 2) * size
    side = max(1, min(round(width / 2), height))
    return _square_hole(size, (row, column), side)


def _wide_strokes(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    smallest, largest = (part * size[0] * size[1] for part in (0.2, 0.3))
    mask = np.zeros(size, np.uint8)
    for _ in range(1000):
        longer = mask | stroke_mask(rng, size, (1, 1), (0.1, 0.18), (0.3, 0.7))
        # A stroke that would make the hole too large is drawn anew.
        if np.count_nonzero(longer) <= largest:
            mask = longer
        if np.count_nonzero(mask) >= smallest:
            return mask
    raise PortraitError(f"a photo of {size[0]}x{size[1]} has no room for strokes")


def evaluation_mask(
    task: str,
    seed: int | Sequence[int],
    size: tuple[int, int],
    joints: np.ndarray | None = None,
    parsing: np.ndarray | None = None,
) -> np.ndarray:
    """Draws the hole of one evaluation task; the same arguments, the same hole.

    * `square`: half the photo's width, about a random point of the person, moved to
      lie wholly in the photo (compare PBHC's squares, CVPR 2021).
    * `strokes`: wide free-form strokes that cover 20 to 30 % of the photo.
    * `lower_third` and `right_quarter`: extrapolation past the border.
    * `face` (`FACE_TASK`): a square somewhat larger than the face, over it; as
      `square` where there is no face.

    Args:
        task: One of `EVALUATION_TASKS`, or `FACE_TASK`.
        seed: An integer or several, as `numpy.random.default_rng` takes them.
        joints: `[16, 3]` of x, y in pixels and a weight, 0 where the joint is not
            annotated; places the square where there is no label map.
        parsing: LIP labels `[H, W]`, 255 is void. With neither, the square's place is
            uniform.

    Raises:
        PortraitError: There is no such task, or the photo is too small for it.
    """
    rng = np.random.default_rng(seed)
    face = face_extent(parsing) if task == FACE_TASK else None
    if face is not None:
        side = max(1, min(round(1.2 * max(face[2:])), *size))
        return _square_hole(size, face[:2], side)
    if task in ("square", FACE_TASK):
        return _square_on_person(rng, size, joints, parsing)
    if task == "strokes":
        return _wide_strokes(rng, size)
    if task == "lower_third":
        return border_mask(size, bottom=1 / 3)
    if task == "right_quarter":
        return border_mask(size, right=1 / 4)
    raise PortraitError(
        f"'{task}' is no evaluation task; expected one of "
        f"{', '.join((*EVALUATION_TASKS, FACE_TASK))}"
    )
