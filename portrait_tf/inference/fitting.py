"""Fits photos into the working frame and back, in NumPy.

What `portrait_tf.geometry` does with tensors inside a graph, for engines whose graph
holds the networks alone. Both give the same: the filters are those of
`tf.image.resize`.
"""

import functools

import numpy as np

from portrait_tf.geometry import Placement, scale_joints, scaled
from portrait_tf.labels import GROUP_MEMBERS, NUM_LABELS


@functools.lru_cache(maxsize=64)
def _filter(old: int, new: int, kind: str) -> np.ndarray:
    """Weights `float32` `[new, old]` that resize one axis; each row's sum is 1.

    Args:
        old: The axis's length.
        new: Its length afterwards.
        kind: `mean` (a triangle as wide as what a new pixel covers), `bilinear` or
            `bicubic` (Keys, a = -0.5).
    """
    centers = scaled(np.arange(new, dtype=np.float32), np.float32(old / new))
    distance = np.abs(centers[:, None] - np.arange(old, dtype=np.float32))
    if kind == "mean":
        distance /= max(1.0, old / new)
    if kind == "bicubic":
        near = (1.5 * distance - 2.5) * distance**2 + 1
        far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
        weights = np.where(distance <= 1, near, np.where(distance < 2, far, 0))
    else:
        weights = np.maximum(1 - distance, 0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def resize(values: np.ndarray, size: tuple[int, int], kind: str) -> np.ndarray:
    """Resizes `float32` `[B, H, W, C]` to a height and width by `_filter`'s kind."""
    batch, height, width, channels = values.shape
    if (height, width) == tuple(size):
        return values
    rows = _filter(height, size[0], kind) @ values.reshape(batch, height, -1)
    return _filter(width, size[1], kind) @ rows.reshape(batch, size[0], width, channels)


def _nearest(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes `[B, H, W]` by nearest neighbor."""
    # In float32, as TensorFlow rounds where a pixel lies between two.
    rows, columns = (
        ((np.arange(new, dtype=np.float32) + 0.5) * np.float32(old / new))
        .astype(int)
        .clip(max=old - 1)
        for old, new in zip(values.shape[1:3], size, strict=True)
    )
    return values[:, rows[:, None], columns]


def _in_frame(
    values: np.ndarray, frame: tuple[int, int], place: Placement, rest: float = 0.0
) -> np.ndarray:
    whole = np.full((len(values), *frame, values.shape[-1]), rest, np.float32)
    whole[:, *_slices(place)] = values
    return whole


def _slices(place: Placement) -> tuple[slice, slice]:
    box = place.box
    return slice(box.top, box.bottom), slice(box.left, box.right)


def fit_photos(
    photos: np.ndarray, masks: np.ndarray, frame: tuple[int, int], place: Placement
) -> tuple[np.ndarray, np.ndarray]:
    """Fits photos into the working frame; what is left of it is hole.

    Args:
        photos: `uint8` `[B, H, W, 3]`.
        masks: `uint8` `[B, H, W]`, non-zero = hole.
        frame: Height h and width w.
        place: Of `portrait_tf.geometry.fit_placement`.

    Returns:
        Photos `[B, h, w, 3]` in [-1, 1], 0 in the hole, and masks `[B, h, w, 1]`.
    """
    known = (masks == 0).astype(np.float32)[..., None]
    # Hole pixels have no weight in the mean, so nothing of them leaks out.
    values = (photos.astype(np.float32) / 127.5 - 1.0) * known
    small = resize(
        np.concatenate([values, known], axis=-1), (place.height, place.width), "mean"
    )
    weight = np.clip(small[..., 3:], 0.0, 1.0)
    small_masks = (weight < 0.999).astype(np.float32)
    small_photos = small[..., :3] / np.maximum(weight, 1e-3) * (1.0 - small_masks)
    return (
        _in_frame(small_photos, frame, place),
        _in_frame(small_masks, frame, place, 1.0),
    )


def enlarge_photos(
    painted: np.ndarray, size: tuple[int, int], place: Placement
) -> np.ndarray:
    """Brings photos from the working frame to their own size.

    Args:
        painted: `[B, h, w, 3]` in [-1, 1].
        size: Height and width of the photos.
        place: Where they lie in the frame.

    Returns:
        `uint8` `[B, H, W, 3]`.
    """
    painted = resize(painted[:, *_slices(place)], size, "bicubic")
    return np.clip(np.rint((painted + 1.0) * 127.5), 0, 255).astype(np.uint8)


def fit_maps(
    parsing: np.ndarray, frame: tuple[int, int], place: Placement
) -> np.ndarray:
    """Fits label maps into the working frame.

    Args:
        parsing: `uint8` `[B, H, W]`, LIP's labels; any other value: not known.
        frame: Height h and width w.
        place: Where the photos lie in the frame.

    Returns:
        Each label's share of a pixel `[B, h, w, 20]`; what is left of 1 is not known.
    """
    fitted = place.height, place.width
    # At the photo's size there would be 20 floats a pixel.
    fine = np.minimum(parsing.shape[1:], np.multiply(fitted, 4))
    labels = _nearest(parsing, fine)[..., None]
    shares = (labels == np.arange(NUM_LABELS)).astype(np.float32)
    return np.clip(_in_frame(resize(shares, fitted, "mean"), frame, place), 0.0, 1.0)


def enlarge_maps(
    probabilities: np.ndarray, size: tuple[int, int], place: Placement
) -> np.ndarray:
    """Brings label probabilities from the working frame to the photos' size, as labels.

    Args:
        probabilities: `[B, h, w, 20]`.
        size: Height and width of the photos.
        place: Where they lie in the frame.

    Returns:
        `uint8` `[B, H, W]`, LIP's labels.
    """
    # Twice the working size gives smooth borders; the photo's own size would take 20
    # floats a pixel.
    fine = np.minimum(size, (2 * place.height, 2 * place.width))
    probabilities = resize(probabilities[:, *_slices(place)], tuple(fine), "bilinear")
    return _nearest(_labels(probabilities), size)


def _labels(probabilities: np.ndarray) -> np.ndarray:
    """`portrait_tf.models.parsing.parsing_labels`, as `uint8`."""
    parts = probabilities @ GROUP_MEMBERS
    # NumPy's own maximum over a short last axis takes ten times as long.
    highest = functools.reduce(np.maximum, np.moveaxis(parts, -1, 0))
    chosen = (parts >= highest[..., None]).astype(np.float32)
    return (probabilities * (chosen @ GROUP_MEMBERS.T)).argmax(-1).astype(np.uint8)


def fit_joints(
    joints: np.ndarray, size: tuple[int, int], place: Placement
) -> np.ndarray:
    """Brings joints `[B, 16, 3]` from pixels of the photos to pixels of the frame."""
    moved = scale_joints(joints, size, (place.height, place.width))
    return (moved + np.float32([place.left, place.top, 0])).astype(np.float32)


def place_joints(
    joints: np.ndarray, size: tuple[int, int], place: Placement
) -> np.ndarray:
    """Brings joints `[B, 16, 3]` from pixels of the frame to pixels of the photos."""
    moved = joints - np.float32([place.left, place.top, 0])
    moved = scale_joints(moved, (place.height, place.width), size)
    return moved.astype(np.float32)
