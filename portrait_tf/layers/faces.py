"""The box around a face, from label probabilities."""

from portrait_tf.compat import Tensor, ops
from portrait_tf.labels import FACE_LABELS, HAIR_LABELS
from portrait_tf.layers.boxes import box_window

# Hair can hang to the waist: it moves the box, but a face outweighs it.
_HAIR_WEIGHT = 0.25
# As much of the head's mass is left out at each end; it is made up for.
_QUANTILE = 0.1
# No side is shorter than this part of the photo's.
_SMALLEST_SIDE = 0.05


def _quantile(profile: Tensor, part: float) -> Tensor:
    """Where a cumulative profile reaches a part of its sum: `[B, N]` -> `[B]`.

    Linear within a pixel; 0 where the profile is empty.
    """
    before = ops.cumsum(profile, axis=1) - profile
    wanted = part * ops.sum(profile, axis=1, keepdims=True)
    passed = (wanted - before) / ops.maximum(profile, 1e-9)
    return ops.sum(ops.clip(passed, 0.0, 1.0), axis=1)


def face_boxes(
    parsing: Tensor,
    mask: Tensor,
    aspect: float = 1.0,
    context: float = 0.3,
    smallest_face: float = 0.001,
    smallest_hole: float = 0.01,
) -> tuple[Tensor, Tensor]:
    """Boxes around the faces, and which of them are worth refining.

    The paper (arXiv 1808.07757) crops by the parsing map; how is not known to us. Ours
    reaches between quantiles of where face and sunglasses are, and, with less weight,
    hair and hat: stray pixels hardly move it. Only what is
    more likely head than not counts, or low probabilities everywhere would add up.

    Args:
        parsing: `[B, H, W, 20]` probabilities, static height and width.
        mask: `[B, H, W, 1]`, 1.0 = hole.
        aspect: Height of a box over its width, in pixels.
        context: Added on each side, as a part of the head.
        smallest_face: A face covers at least this part of the photo.
        smallest_hole: The hole covers at least this part of the box.

    Returns:
        `[B, 4]` float: top, left, bottom, right in pixels, inside the photo; and
        `[B]` bool: whether there is a face, and a hole in its box. Without a face the
        box means nothing.
    """
    face = sum(parsing[..., label] for label in FACE_LABELS)
    hair = sum(parsing[..., label] for label in HAIR_LABELS)
    sure = ops.relu(2.0 * (face + hair) - 1.0) / ops.maximum(face + hair, 1e-6)
    area = ops.mean(sure * face, axis=(1, 2))
    weight = sure * (face + _HAIR_WEIGHT * hair)
    full = (float(parsing.shape[1]), float(parsing.shape[2]))
    middles, sides = [], []
    for axis in (2, 1):
        profile = ops.sum(weight, axis=axis)
        low, high = (_quantile(profile, part) for part in (_QUANTILE, 1 - _QUANTILE))
        middles.append((low + high) / 2)
        sides.append((high - low) / (1 - 2 * _QUANTILE) * (1 + 2 * context))
    height = ops.maximum(sides[0], sides[1] * aspect)
    largest = min(full[0], full[1] * aspect)
    height = ops.clip(height, min(_SMALLEST_SIDE * full[0], largest), largest)
    edges = []
    for middle, side, length in zip(
        middles, (height, height / aspect), full, strict=True
    ):
        start = ops.clip(middle - side / 2, 0.0, length - side)
        edges.append((start, start + side))
    (top, bottom), (left, right) = edges
    boxes = ops.stack([top, left, bottom, right], axis=1)
    inside = box_window(boxes, mask.shape[1:3], feather=0.0)
    hole = ops.sum(inside * mask, axis=(1, 2, 3))
    hole = hole / ops.maximum(ops.sum(inside, axis=(1, 2, 3)), 1.0)
    return boxes, ops.logical_and(area >= smallest_face, hole >= smallest_hole)
