"""Where pixels go when pictures are placed, shrunk, enlarged, cropped and mirrored.

A coordinate is the center of a pixel, everywhere: the first column of a photo W pixels
wide is at x = 0, the last at x = W - 1, and the photo covers -0.5 to W - 0.5.

* A scale s, new length over old length, maps x to `(x + 0.5) * s - 0.5` (`scaled`), as
  `cv2.resize` and `tf.image.resize` do with pixels.
* A mirror maps x to `W - 1 - x`.
* A crop or a placement at column `left` subtracts or adds `left`.
* Edges of boxes, margins and the ends of a body lie between pixels: edge e is at
  coordinate e - 0.5, so a scale maps e to `e * s`, and a mirror to `W - e`.
* Heat maps of stage 1 hold the joint at x at `x / W` of their width (`joint_parts`).

Sizes are (height, width), points (x, y).

The formulas take Python numbers, NumPy arrays and tensors. The functions below
"Tensors" import TensorFlow when they are called.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from portrait_tf.labels import NUM_LABELS

if TYPE_CHECKING:
    import tensorflow as tf


def scaled(x: object, scale: object) -> object:
    """Maps coordinates by a scale: `(x + 0.5) * scale - 0.5`."""
    return (x + 0.5) * scale - 0.5


def inside(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Tells which points lie on a photo's pixels.

    Args:
        points: `[..., 2]`, x and y; NaN lies outside.
        size: Height and width.

    Returns:
        `bool` `[...]`.
    """
    return ((points >= -0.5) & (points < np.array(size[::-1]) - 0.5)).all(axis=-1)


# === Joints ===


def scale_joints(
    joints: np.ndarray, size: tuple[int, int], new_size: tuple[int, int]
) -> np.ndarray:
    """Joints of a photo, in the photo resized.

    Args:
        joints: `[..., 2 or more]`: x, y, and columns that stay.
        size: Height and width of the photo.
        new_size: Its new height and width.
    """
    moved = np.array(joints)
    moved[..., :2] = scaled(joints[..., :2], np.divide(new_size, size)[::-1])
    return moved


def joint_parts(joints: object, size: tuple[int, int]) -> object:
    """Joints as parts of width and height, as heat maps are drawn by.

    The part is `x / width`; by the convention above it would be `(x + 0.5) / width`.
    Stage 1, the bundled weights too, is trained with the former: its heat maps are half
    a pixel of its input too far up and left. `joints_of_parts` reads them so, and
    nothing is lost.

    Args:
        joints: `[..., 3]`: x, y, and a column that stays.
        size: Height and width of the network's input.
    """
    return joints * np.float32([1 / size[1], 1 / size[0], 1])


def joints_of_parts(parts: object, size: tuple[int, int]) -> object:
    """Joints in pixels of the network's input: the inverse of `joint_parts`."""
    return parts * np.float32([size[1], size[0], 1])


# === Sizes, boxes and placements ===


def fitted_size(
    size: tuple, frame: tuple, minimum: Callable = min, maximum: Callable = max
) -> tuple:
    """The size of a photo that fits into a frame, aspect kept, enlarged if need be.

    Args:
        size: Height and width of the photo.
        frame: Height and width at most.
        minimum: `tf.minimum` for sizes that are tensors.
        maximum: `tf.maximum`, in the same way.

    Returns:
        Height and width, at least 1; halves are rounded up.
    """
    height, width = size
    rows = (2 * height * frame[1] + width) // (2 * width)
    columns = (2 * width * frame[0] + height) // (2 * height)
    return tuple(
        maximum(1, minimum(most, length))
        for most, length in zip(frame, (rows, columns), strict=True)
    )


def shrunk_size(size: tuple[int, int], frame: tuple[int, int]) -> tuple[int, int]:
    """As `fitted_size`, but a photo that fits already keeps its size."""
    if size[0] <= frame[0] and size[1] <= frame[1]:
        return tuple(size)
    return fitted_size(size, frame)


class Box(NamedTuple):
    """Rows `top` to `bottom` and columns `left` to `right`, the ends not included."""

    top: int
    left: int
    bottom: int
    right: int

    @classmethod
    def about(cls, chosen: np.ndarray) -> "Box":
        """The smallest box about what is not zero in `[H, W]`; something is."""
        rows, columns = (np.flatnonzero(chosen.any(axis)) for axis in (1, 0))
        edges = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
        return cls(*(int(edge) for edge in edges))

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def area(self) -> int:
        return self.height * self.width

    def of(self, values: np.ndarray) -> np.ndarray:
        """The part of `[H, W, ...]` in the box, a view."""
        return values[self.top : self.bottom, self.left : self.right]

    def joined(self, other: "Box") -> "Box":
        """The smallest box about both."""
        return Box(
            min(self.top, other.top),
            min(self.left, other.left),
            max(self.bottom, other.bottom),
            max(self.right, other.right),
        )

    def common(self, other: "Box") -> "Box":
        """What both have; they overlap."""
        return Box(
            max(self.top, other.top),
            max(self.left, other.left),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        )

    def grown(self, rows: int, columns: int, size: tuple[int, int]) -> "Box":
        """Larger on all sides, but inside a photo of that size."""
        return Box(
            max(0, self.top - rows),
            max(0, self.left - columns),
            min(size[0], self.bottom + rows),
            min(size[1], self.right + columns),
        )

    def moved(self, rows: int, columns: int) -> "Box":
        """The box further down and to the right."""
        return Box(
            self.top + rows,
            self.left + columns,
            self.bottom + rows,
            self.right + columns,
        )

    def scaled(self, size: tuple[int, int], new_size: tuple[int, int]) -> "Box":
        """The whole pixels that the box covers, in part, once the photo is resized.

        Args:
            size: Height and width of the photo.
            new_size: Its new height and width.
        """
        return Box(
            self.top * new_size[0] // size[0],
            self.left * new_size[1] // size[1],
            -(-self.bottom * new_size[0] // size[0]),
            -(-self.right * new_size[1] // size[1]),
        )


class Placement(NamedTuple):
    """Where a scaled photo lies in the working frame, in whole working pixels.

    Whole pixels keep photo and labels aligned, and let the photo be resampled once,
    where it is not turned. `angle` turns it about the frame's center, in degrees
    against the clock, before it is mirrored.
    """

    height: int
    width: int
    top: int
    left: int
    mirror: bool = False
    angle: float = 0.0

    @property
    def box(self) -> Box:
        """Where the photo lies, before it is mirrored or turned."""
        return Box(self.top, self.left, self.top + self.height, self.left + self.width)


def fit_placement(photo_size: tuple[int, int], size: tuple[int, int]) -> Placement:
    """Fits a photo into the frame: aspect kept, centered, at the top.

    The space below is where a portrait most often goes on.

    Args:
        photo_size: Height and width of the photo.
        size: Height and width of the frame.
    """
    height, width = fitted_size(photo_size, size)
    return Placement(height, width, 0, (size[1] - width) // 2)


def placement_matrix(
    photo_size: tuple[int, int], size: tuple[int, int], placement: Placement
) -> np.ndarray:
    """The affine map from the photo's pixels (x, y) to the frame's.

    Args:
        photo_size: Height and width of the photo.
        size: Height and width of the frame.
        placement: Where the photo lies.

    Returns:
        `float64` `[2, 3]`, to multiply with `[x, y, 1]`.
    """
    scale_x = placement.width / photo_size[1]
    scale_y = placement.height / photo_size[0]
    matrix = np.array(
        [
            [scale_x, 0, placement.left + scaled(0, scale_x)],
            [0, scale_y, placement.top + scaled(0, scale_y)],
        ]
    )
    if placement.angle:
        center = (size[1] - 1) / 2, (size[0] - 1) / 2
        turn = cv2.getRotationMatrix2D(center, placement.angle, 1.0)
        matrix = turn @ np.vstack([matrix, [0, 0, 1]])
    if placement.mirror:
        matrix[0] *= -1
        matrix[0, 2] += size[1] - 1
    return matrix


# === Arrays ===


def means(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Shrinks `[H, W, ...]` to a height and width, by means over each new pixel."""
    return cv2.resize(values, size[::-1], interpolation=cv2.INTER_AREA)


def any_in_cells(mask: np.ndarray, cells: tuple[int, int]) -> np.ndarray:
    """Tells which cells of a coarser grid have any pixel of a mask; `bool`."""
    return means((mask != 0).astype(np.float32), cells) > 0


def shrink(
    photo: np.ndarray, mask: np.ndarray, frame: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Brings a photo into a frame, never enlarged.

    Args:
        photo: RGB `uint8` `[H, W, 3]`.
        mask: `uint8` `[H, W]`, non-zero = hole; something is known.
        frame: Height and width at most.

    Returns:
        The photo `[h, w, 3]` and its mask, 0 or 255.
    """
    size = shrunk_size(mask.shape, frame)
    # A pixel of which anything is hole is hole: nothing of the hole leaks out.
    hole = any_in_cells(mask, size)
    if hole.all():
        # A strip thinner than a pixel is all that is known.
        known = (mask == 0).astype(np.float32)
        weight = means(known, size)
        hole = weight == 0
        small = np.stack(
            [
                means(photo[..., channel] * known, size) / np.maximum(weight, 1e-6)
                for channel in range(3)
            ],
            axis=-1,
        )
        small = np.clip(np.rint(small), 0, 255).astype(np.uint8)
    else:
        small = means(photo, size)
    return small, np.where(hole, np.uint8(255), np.uint8(0))


def strongest_labels(
    maps: Iterable[tuple[int, np.ndarray]], size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Enlarges a map for each label, and takes the label whose map is highest.

    Args:
        maps: Labels, and maps `[h, w]`; only one of them is enlarged at a time, since
            20 numbers a pixel of a large photo would take gigabytes.
        size: Height and width of the result.

    Returns:
        Labels `uint8` `[H, W]`, the first among equals; and their maps' values.
    """
    labels = highest = None
    for label, small in maps:
        one = cv2.resize(small, size[::-1], interpolation=cv2.INTER_LINEAR)
        if highest is None:
            labels, highest = np.full(size, label, np.uint8), one
        else:
            labels[one > highest] = label
            np.maximum(highest, one, out=highest)
    return labels, highest


def enlarge_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Enlarges a label map `uint8` `[h, w]` to a height and width, with smooth borders.

    A pixel gets the label whose enlarged region covers it most.
    """
    regions = (
        (label, np.where(labels == label, np.uint8(255), np.uint8(0)))
        for label in np.unique(labels)
    )
    return strongest_labels(regions, size)[0]


# === Tensors ===


def place_photos(full: "tf.Tensor", frame: tuple[int, int]) -> tuple:
    """Where `fit_placement` puts photos, for a size that a graph does not know.

    Args:
        full: Height and width of the photos, int32 `[2]`.
        frame: Height and width of the working frame.

    Returns:
        Top, left, height and width, in pixels of the frame.
    """
    import tensorflow as tf

    height, width = fitted_size(tf.unstack(full), frame, tf.minimum, tf.maximum)
    return 0, (frame[1] - width) // 2, height, width


def _in_frame(
    values: "tf.Tensor", frame: tuple[int, int], place: tuple, rest: float = 0.0
) -> "tf.Tensor":
    """Pads `[B, h, w, C]` to the frame with the value `rest`."""
    import tensorflow as tf

    top, left, height, width = place
    padding = [
        [0, 0],
        [top, frame[0] - height - top],
        [left, frame[1] - width - left],
        [0, 0],
    ]
    padded = tf.pad(values, padding, constant_values=rest)
    return tf.ensure_shape(padded, [None, *frame, values.shape[-1]])


def fit_photos(image: "tf.Tensor", mask: "tf.Tensor", frame: tuple[int, int]) -> tuple:
    """Fits photos into the working frame; what is left of it is hole.

    Args:
        image: `uint8` `[B, H, W, 3]`.
        mask: `uint8` `[B, H, W, 1]`, non-zero = hole.
        frame: Height h and width w.

    Returns:
        Photo `[B, h, w, 3]` in [-1, 1], mask `[B, h, w, 1]`, and `place_photos`.
    """
    import tensorflow as tf

    place = place_photos(tf.shape(image)[1:3], frame)
    known = tf.cast(mask == 0, tf.float32)
    # Hole pixels have no weight in the mean, so nothing of them leaks out.
    values = (tf.cast(image, tf.float32) / 127.5 - 1.0) * known
    small = tf.image.resize(
        tf.concat([values, known], axis=-1), tf.stack(place[2:]), antialias=True
    )
    weight = tf.clip_by_value(small[..., 3:], 0.0, 1.0)
    small_mask = tf.cast(weight < 0.999, tf.float32)
    small_image = small[..., :3] / tf.maximum(weight, 1e-3) * (1.0 - small_mask)
    return (
        _in_frame(small_image, frame, place),
        _in_frame(small_mask, frame, place, 1.0),
        place,
    )


def enlarge_photos(
    painted: "tf.Tensor", full: "tf.Tensor", place: tuple
) -> "tf.Tensor":
    """Brings photos from the working frame to their own size.

    Args:
        painted: `[B, h, w, 3]` in [-1, 1].
        full: Height and width of the photos.
        place: Of `fit_photos`.

    Returns:
        `uint8` `[B, H, W, 3]`.
    """
    import tensorflow as tf

    painted = tf.image.crop_to_bounding_box(painted, *place)
    painted = tf.image.resize(painted, full, method="bicubic")
    levels = tf.clip_by_value(tf.round((painted + 1.0) * 127.5), 0.0, 255.0)
    return tf.cast(levels, tf.uint8)


def fit_maps(
    parsing: "tf.Tensor", frame: tuple[int, int], place: tuple
) -> tuple["tf.Tensor", "tf.Tensor"]:
    """Fits label maps into the working frame.

    Args:
        parsing: `uint8` `[B, H, W, 1]`, LIP's labels; any other value: not known.
        frame: Height h and width w.
        place: Of `fit_photos`.

    Returns:
        Each label's share of a pixel `[B, h, w, 20]`, and the share that is not known
        `[B, h, w, 1]`, 1.0 in what is left of the frame. They add up to 1.
    """
    import tensorflow as tf

    fitted = tf.stack(place[2:])
    # At the photo's size there would be 20 floats a pixel.
    fine = tf.minimum(tf.shape(parsing)[1:3], fitted * 4)
    labels = tf.image.resize(parsing, fine, method="nearest")[..., 0]
    shares = tf.image.resize(
        tf.one_hot(tf.cast(labels, tf.int32), NUM_LABELS), fitted, antialias=True
    )
    shares = tf.clip_by_value(_in_frame(shares, frame, place), 0.0, 1.0)
    unknown = 1.0 - tf.reduce_sum(shares, axis=-1, keepdims=True)
    # Rounding errors are no label.
    return shares, tf.where(unknown < 1e-4, 0.0, unknown)


def enlarge_maps(
    probabilities: "tf.Tensor",
    full: "tf.Tensor",
    place: tuple,
    labels_of: Callable[[object], object],
) -> "tf.Tensor":
    """Brings label probabilities from the working frame to the photos' size, as labels.

    Args:
        probabilities: `[B, h, w, 20]`.
        full: Height and width of the photos.
        place: Of `fit_photos`.
        labels_of: Chooses the labels `[B, h, w]`.

    Returns:
        `uint8` `[B, H, W, 1]`, LIP's labels.
    """
    import tensorflow as tf

    probabilities = tf.image.crop_to_bounding_box(probabilities, *place)
    # Twice the working size gives smooth borders; the photo's own size would take 20
    # floats a pixel.
    fine = tf.minimum(full, tf.stack(place[2:]) * 2)
    labels = labels_of(tf.image.resize(probabilities, fine))
    labels = tf.image.resize(labels[..., None], full, method="nearest")
    return tf.cast(labels, tf.uint8)


def fit_joints(joints: "tf.Tensor", full: "tf.Tensor", place: tuple) -> "tf.Tensor":
    """Brings joints from the photo to the working frame: `place_joints` backwards."""
    import tensorflow as tf

    top, left, height, width = (tf.cast(edge, tf.float32) for edge in place)
    full = tf.cast(full, tf.float32)
    x = scaled(joints[..., 0], width / full[1]) + left
    y = scaled(joints[..., 1], height / full[0]) + top
    return tf.stack([x, y, joints[..., 2]], axis=-1)


def place_joints(joints: "tf.Tensor", full: "tf.Tensor", place: tuple) -> "tf.Tensor":
    """Brings joints from the working frame to the photo.

    Args:
        joints: `[B, 16, 3]`: x and y in pixels of the frame, and a column that stays.
        full: Height and width of the photos.
        place: Of `fit_photos`.

    Returns:
        `[B, 16, 3]`: x and y in pixels of the photo.
    """
    import tensorflow as tf

    top, left, height, width = (tf.cast(edge, tf.float32) for edge in place)
    full = tf.cast(full, tf.float32)
    x = scaled(joints[..., 0] - left, full[1] / width)
    y = scaled(joints[..., 1] - top, full[0] / height)
    return tf.stack([x, y, joints[..., 2]], axis=-1)
