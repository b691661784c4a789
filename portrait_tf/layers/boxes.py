"""The box around a hole, and a crop of it through which gradients flow."""

from portrait_tf.compat import ops


def _extent(profile: object) -> tuple[object, object]:
    """First and one-past-last position of 1.0 in `[B, N]`; (0, N) where there is none.

    Returns:
        Two float tensors `[B]`.
    """
    length = profile.shape[1]
    positions = ops.arange(length, dtype="float32")
    inside = profile > 0.5
    first = ops.min(ops.where(inside, positions, float(length)), axis=1)
    last = ops.max(ops.where(inside, positions + 1.0, 0.0), axis=1)
    found = last > first
    return ops.where(found, first, 0.0), ops.where(found, last, float(length))


def hole_boxes(mask: object, context: float = 0.15, smallest: float = 0.25) -> object:
    """Boxes around all holes of each sample, with some context.

    Args:
        mask: `[B, H, W, 1]`, 1.0 = hole; height and width must be static.
        context: Added on each side, as a part of the box.
        smallest: No side is shorter than this part of the photo's.

    Returns:
        `[B, 4]` float: top, left, bottom, right in pixels, inside the photo.
    """
    edges = []
    for axis in (2, 1):
        length = float(mask.shape[3 - axis])
        first, last = _extent(ops.max(mask[..., 0], axis=axis))
        side = ops.maximum((last - first) * (1 + 2 * context), smallest * length)
        side = ops.minimum(side, length)
        start = ops.clip((first + last - side) / 2, 0.0, length - side)
        edges.append((start, start + side))
    (top, bottom), (left, right) = edges
    return ops.stack([top, left, bottom, right], axis=1)


def _sampling(start: object, stop: object, length: int, count: int) -> object:
    """Bilinear weights `[B, count, length]` of `count` samples between two edges.

    Where the box has more pixels than samples, the kernel widens with it, so that
    every pixel is seen.
    """
    step = (stop - start) / count
    centres = start[:, None] + step[:, None] * (
        ops.arange(count, dtype="float32") + 0.5
    )
    pixels = ops.arange(length, dtype="float32") + 0.5
    distance = ops.abs(centres[:, :, None] - pixels[None, None, :])
    radius = ops.maximum(step, 1.0)[:, None, None]
    weights = ops.maximum(1.0 - distance / radius, 0.0)
    return weights / ops.sum(weights, axis=-1, keepdims=True)


def crop_and_resize(images: object, boxes: object, size: tuple[int, int]) -> object:
    """Crops one box a sample and resizes it; linear in the pixels, so differentiable.

    Two matrix products, not a gather: they run, with their gradients, on every
    backend of Keras.

    Args:
        images: `[B, H, W, C]`, static height and width.
        boxes: `[B, 4]`: top, left, bottom, right in pixels.
        size: Height and width of the crops.

    Returns:
        `[B, size[0], size[1], C]`.
    """
    rows = _sampling(boxes[:, 0], boxes[:, 2], images.shape[1], size[0])
    columns = _sampling(boxes[:, 1], boxes[:, 3], images.shape[2], size[1])
    images = ops.einsum("bih,bhwc->biwc", rows, images)
    return ops.einsum("bjw,biwc->bijc", columns, images)
