"""Random changes of a sample that no affine map can make: a smooth warp, and cutout."""

import cv2
import numpy as np

from portrait_tf.config import AugmentationConfig
from portrait_tf.geometry import inside
from portrait_tf.labels import VOID_LABEL

_CELLS = 4
"""Independent shifts along each side: about a head, a torso and two of legs."""

_GRAY = 127


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
