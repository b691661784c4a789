"""Boxes around or within holes, crops of them, and the way back.

A box is its four edges, which lie between pixels: see `portrait_tf.geometry`. Gradients
flow through all of it.
"""

from portrait_tf.compat import Tensor, ops
from portrait_tf.geometry import scaled


def _extent(profile: Tensor) -> tuple[Tensor, Tensor]:
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


def hole_boxes(mask: Tensor, context: float = 0.15, smallest: float = 0.25) -> Tensor:
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


def random_hole_boxes(mask: Tensor, chance: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes of one size, each about a pixel of the hole drawn at random.

    Holes far apart, which one box could only hold with all that lies between, are seen
    one by one, each as often as it is large. Larger than the photo, a box is the photo;
    at a border it is moved inwards. Our choice: connected parts, as a critic would like
    them, cannot be found with static shapes on every backend.

    Args:
        mask: `[B, H, W, 1]`, 1.0 = hole; without a hole any pixel may be drawn.
        chance: `[B, N]`, uniform in [0, 1): which pixel each of N boxes is about.
        size: Height and width in pixels.

    Returns:
        `[B, N, 4]` float: top, left, bottom, right in whole pixels, inside the photo.
    """
    height, width = mask.shape[1:3]
    inside = ops.cast(ops.reshape(mask, (-1, height * width)) > 0.5, "float32")
    some = ops.max(inside, axis=1, keepdims=True)
    before = ops.cumsum(ops.maximum(inside, 1.0 - some), axis=1)
    drawn = chance * before[:, -1:]
    # The first pixel that more of the hole lies before, itself included, than drawn.
    passed = ops.cast(before[:, None, :] <= drawn[..., None], "float32")
    index = ops.minimum(ops.sum(passed, axis=-1), height * width - 1.0)
    row = ops.floor((index + 0.5) / width)
    edges = []
    for position, side, length in (
        (row, size[0], height),
        (index - row * width, size[1], width),
    ):
        side = float(min(side, length))
        start = ops.clip(position - side // 2, 0.0, length - side)
        edges.append((start, start + side))
    (top, bottom), (left, right) = edges
    return ops.stack([top, left, bottom, right], axis=-1)


def _sampling(start: Tensor, stop: Tensor, length: int, count: int) -> Tensor:
    """Bilinear weights `[..., count, length]` of `count` samples between two edges.

    Where the box has more pixels than samples, the kernel widens with it, so that
    every pixel is seen.
    """
    step = (stop - start) / count
    samples = ops.arange(count, dtype="float32")
    centers = start[..., None] + scaled(samples, step[..., None])
    pixels = ops.arange(length, dtype="float32")
    distance = ops.abs(centers[..., None] - pixels)
    radius = ops.maximum(step, 1.0)[..., None, None]
    weights = ops.maximum(1.0 - distance / radius, 0.0)
    # Samples off the pixels, where a crop is put back, have no weight at all.
    return weights / ops.maximum(ops.sum(weights, axis=-1, keepdims=True), 1e-6)


def crop_and_resize(images: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Crops boxes and resizes them; linear in the pixels, so differentiable.

    Two matrix products, not a gather: they run, with their gradients, on every
    backend of Keras.

    Args:
        images: `[B, H, W, C]`, static height and width.
        boxes: `[B, 4]`, one a sample, or `[B, N, 4]`: top, left, bottom, right in
            pixels.
        size: Height and width of the crops.

    Returns:
        `[B, size[0], size[1], C]`, or `[B * N, size[0], size[1], C]`, the crops of a
        sample in a row.
    """
    if len(boxes.shape) == 2:
        boxes = boxes[:, None]
    rows = _sampling(boxes[..., 0], boxes[..., 2], images.shape[1], size[0])
    columns = _sampling(boxes[..., 1], boxes[..., 3], images.shape[2], size[1])
    count, (height, width, channels) = boxes.shape[1], images.shape[1:]
    # Reshaped so that nothing is transposed, as an einsum would do.
    crops = ops.matmul(
        ops.reshape(rows, (-1, count * size[0], height)),
        ops.reshape(images, (-1, height, width * channels)),
    )
    crops = ops.reshape(crops, (-1, count, size[0], width, channels))
    crops = ops.matmul(columns[:, :, None], crops)
    return ops.reshape(crops, (-1, *size, channels))


def uncrop(crops: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Puts crops back where they were: the inverse of `crop_and_resize`.

    Two matrix products as well. A box with fewer pixels than its crop averages it.

    Args:
        crops: `[B, h, w, C]`, static height and width.
        boxes: `[B, 4]`: top, left, bottom, right in pixels of the photos.
        size: Height and width of the photos.

    Returns:
        `[B, size[0], size[1], C]`; 0 further than a pixel from the box.
    """
    edges = []
    for axis, length in enumerate(size):
        start, stop = boxes[:, axis], boxes[:, axis + 2]
        # The photo's edges, in pixels of the crop.
        scale = crops.shape[axis + 1] / (stop - start)
        edges.append((-start * scale, (length - start) * scale))
    (top, bottom), (left, right) = edges
    photos = ops.stack([top, left, bottom, right], axis=1)
    return crop_and_resize(crops, photos, size)


def box_window(boxes: Tensor, size: tuple[int, int], feather: float = 0.1) -> Tensor:
    """1.0 in a box, 0.0 outside, and a ramp between: what a crop is pasted with.

    The ramp lies inside the box. Where the box ends with the photo there is none, for
    there is no seam either.

    Args:
        boxes: `[B, 4]`: top, left, bottom, right in pixels.
        size: Height and width of the photos.
        feather: Length of the ramp, as a part of the box' side; 0 for a hard border.

    Returns:
        `[B, size[0], size[1], 1]`.
    """
    profiles = []
    for axis, length in enumerate(size):
        # In two steps: of a slice out of a stack, TensorFlow's graph optimizer drops a
        # new axis.
        start, stop = boxes[:, axis][:, None], boxes[:, axis + 2][:, None]
        centers = ops.arange(length, dtype="float32")[None] + 0.5
        ramp = ops.maximum(feather * (stop - start), 1e-3)
        first = ops.clip((centers - start) / ramp, 0.0, 1.0)
        last = ops.clip((stop - centers) / ramp, 0.0, 1.0)
        first = ops.where(start < 0.5, 1.0, first)
        last = ops.where(stop > length - 0.5, 1.0, last)
        profiles.append(ops.minimum(first, last))
    rows, columns = profiles
    return (rows[:, :, None] * columns[:, None, :])[..., None]
