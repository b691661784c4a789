"""From a sample of any size to the networks' working size, with random changes.

Coordinates are those of `portrait_tf.geometry`. Nothing here needs TensorFlow, but for
`warp` and `cutout`, which are off by default.
"""

from collections.abc import Callable
from typing import NoReturn

import cv2
import numpy as np

from portrait_tf.config import AugmentationConfig
from portrait_tf.data.appearance import (
    exchange_background,
    recolor_clothes,
    without_person,
)
from portrait_tf.data.distortion import random_cutout, random_flow, warp_sample
from portrait_tf.data.sample import Sample
from portrait_tf.errors import PortraitError
from portrait_tf.geometry import Placement, fit_placement, inside, placement_matrix
from portrait_tf.labels import (
    FLIPPED_JOINTS,
    FLIPPED_LABELS,
    NUM_JOINTS,
    NUM_LABELS,
    VOID_LABEL,
)

_MIRRORED_LABEL = np.arange(256, dtype=np.uint8)
_MIRRORED_LABEL[:NUM_LABELS] = FLIPPED_LABELS

_LUMA = np.array([0.299, 0.587, 0.114])


def random_placement(
    rng: np.random.Generator,
    photo_size: tuple[int, int],
    size: tuple[int, int],
    augmentation: AugmentationConfig,
    points: np.ndarray | None = None,
) -> Placement:
    """Changes the fit at random: mirrored, zoomed about the photo's center, shifted.

    Or, in place of zoom and shift, a close-up; in both cases turned, too.

    Args:
        photo_size: Height and width of the photo.
        size: Height and width of the frame.
        augmentation: Uses `mirror`, `scale`, `shift`, `cover`, `crop`, `crop_zoom` and
            `rotate`.
        points: `[N, 2]`: x and y, in the photo, that a close-up may be about; None or
            empty: any point.
    """
    fit = fit_placement(photo_size, size)
    mirror = bool(rng.random() < augmentation.mirror)
    zoom = rng.uniform(*augmentation.scale)
    shift = rng.uniform(-augmentation.shift, augmentation.shift, 2) * size
    # What is off by default draws no number: then samples are those of old configs.
    if augmentation.crop and rng.random() < augmentation.crop:
        placement = _close_up(rng, photo_size, size, augmentation.crop_zoom, points)
    else:
        if augmentation.cover:
            zoom = max(zoom, size[0] / fit.height, size[1] / fit.width)
        sides = [max(1, round(side * zoom)) for side in (fit.height, fit.width)]
        corner = [
            round(fit.top + (fit.height - sides[0]) / 2 + shift[0]),
            round(fit.left + (fit.width - sides[1]) / 2 + shift[1]),
        ]
        if augmentation.cover:
            corner = [
                min(0, max(frame - side, place))
                for frame, side, place in zip(size, sides, corner, strict=True)
            ]
        placement = Placement(*sides, *corner)
    angle = 0.0
    if augmentation.rotate:
        angle = rng.uniform(-augmentation.rotate, augmentation.rotate)
    return placement._replace(mirror=mirror, angle=angle)


def _close_up(
    rng: np.random.Generator,
    photo_size: tuple[int, int],
    size: tuple[int, int],
    zooms: tuple[float, float],
    points: np.ndarray | None,
) -> Placement:
    """The fit enlarged, with a random point of the body in the frame's middle half.

    Nearer to the photo's border the point is nearer to the frame's: nothing outside of
    the photo is shown, where it is large enough.
    """
    fit = fit_placement(photo_size, size)
    zoom = rng.uniform(*zooms)
    if points is None or not len(points):
        points = rng.uniform(0, 1, (1, 2)) * photo_size[::-1] - 0.5
    point = points[rng.integers(len(points))]
    scaled = [max(1, round(side * zoom)) for side in (fit.height, fit.width)]
    corner = []
    for axis, wanted in enumerate(rng.uniform(0.25, 0.75, 2)):
        place = wanted * size[axis]
        place -= (point[1 - axis] + 0.5) * scaled[axis] / photo_size[axis]
        room = size[axis] - scaled[axis]
        # A photo that is narrower than the frame, even enlarged, is centered.
        corner.append(room // 2 if room > 0 else round(min(0, max(room, place))))
    return Placement(*scaled, *corner)


def _body_points(sample: Sample) -> np.ndarray:
    """x and y of the annotated joints inside the photo, or else of person's pixels."""
    if sample.joints is not None:
        points = sample.joints[:, :2]
        shown = inside(points, sample.photo.shape[:2])
        if shown.any():
            return points[shown]
    if sample.parsing is None:
        return np.zeros((0, 2))
    coarse = sample.parsing[::4, ::4]
    rows, columns = np.nonzero((coarse > 0) & (coarse != VOID_LABEL))
    return 4 * np.stack([columns, rows], axis=1)


def _warp_photo(
    photo: np.ndarray, size: tuple[int, int], placement: Placement, border: int
) -> np.ndarray:
    if placement.width < photo.shape[1] or placement.height < photo.shape[0]:
        # Averages over each new pixel's area: bilinear sampling alone would skip
        # pixels. What is left for the warp is then a move by whole pixels.
        photo = cv2.resize(
            photo, (placement.width, placement.height), interpolation=cv2.INTER_AREA
        )
    matrix = placement_matrix(photo.shape[:2], size, placement)
    # Turned by a few degrees, bilinear sampling would blur.
    flags = cv2.INTER_CUBIC if placement.angle else cv2.INTER_LINEAR
    return cv2.warpAffine(photo, matrix, size[::-1], flags=flags, borderMode=border)


def _warp_parsing(
    parsing: np.ndarray, size: tuple[int, int], placement: Placement
) -> np.ndarray:
    warped = cv2.warpAffine(
        parsing,
        placement_matrix(parsing.shape, size, placement),
        size[::-1],
        flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=VOID_LABEL,
    )
    return _MIRRORED_LABEL[warped] if placement.mirror else warped


def _move_joints(
    joints: np.ndarray | None,
    photo_size: tuple[int, int],
    size: tuple[int, int],
    placement: Placement,
) -> np.ndarray:
    moved = np.zeros((NUM_JOINTS, 3), np.float32)
    if joints is None:
        return moved
    matrix = placement_matrix(photo_size, size, placement)
    points = joints[:, :2].astype(np.float64) @ matrix[:, :2].T + matrix[:, 2]
    # A joint that is not annotated is NaN.
    shown = inside(points, size)
    moved[shown, :2] = points[shown]
    moved[shown, 2] = 1
    return moved[FLIPPED_JOINTS] if placement.mirror else moved


def _covered(
    photo_size: tuple[int, int], size: tuple[int, int], placement: Placement
) -> np.ndarray:
    """Where the frame shows the photo itself: `uint8` `[h, w]`, 1 or 0."""
    return cv2.warpAffine(
        np.ones(photo_size, np.uint8),
        placement_matrix(photo_size, size, placement),
        size[::-1],
        flags=cv2.INTER_NEAREST,
    )


def _backdrop(
    rng: np.random.Generator, other: Sample, size: tuple[int, int]
) -> np.ndarray | None:
    """The background of another sample, which fills the frame; None without a map."""
    if other.parsing is None:
        return None
    _check(other)
    photo_size = other.photo.shape[:2]
    cover = max(size[0] / photo_size[0], size[1] / photo_size[1])
    scale = cover * rng.uniform(1.0, 1.25)
    sides = np.maximum(np.round(np.multiply(photo_size, scale)).astype(int), size)
    corner = [-int(rng.integers(room + 1)) for room in sides - size]
    placement = Placement(*sides.tolist(), *corner, mirror=bool(rng.random() < 0.5))
    return without_person(
        _warp_photo(other.photo, size, placement, cv2.BORDER_REFLECT_101),
        _warp_parsing(other.parsing, size, placement),
    )


def _jitter_colors(
    rng: np.random.Generator, image: np.ndarray, augmentation: AugmentationConfig
) -> np.ndarray:
    brightness, contrast, saturation = (
        rng.uniform(-getattr(augmentation, name), getattr(augmentation, name))
        for name in ("brightness", "contrast", "saturation")
    )
    # Saturation scales the distance to gray, contrast that to the mean gray: one
    # 3x4 matrix does all.
    mean_luma = float(_LUMA @ cv2.mean(image)[:3])
    color = (1 + saturation) * np.eye(3) - saturation * _LUMA
    offset = np.full((3, 1), -contrast * mean_luma + 255 * brightness)
    return cv2.transform(image, np.hstack([(1 + contrast) * color, offset]))


def _check(sample: Sample) -> None:
    photo, parsing, joints = sample.photo, sample.parsing, sample.joints

    def refuse(expected: str, received: object) -> NoReturn:
        raise PortraitError(path=sample.name, expected=expected, received=received)

    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
        refuse(
            "a photo of type uint8 and shape [height, width, 3]",
            f"{photo.dtype} {list(photo.shape)}",
        )
    size = photo.shape[:2]
    if parsing is not None and (parsing.dtype != np.uint8 or parsing.shape != size):
        refuse(
            f"a label map of type uint8 and the photo's shape {list(size)}",
            f"{parsing.dtype} {list(parsing.shape)}",
        )
    if joints is not None and joints.shape != (NUM_JOINTS, 3):
        refuse(f"joints of shape [{NUM_JOINTS}, 3]", list(joints.shape))


def prepare(
    sample: Sample,
    size: tuple[int, int],
    rng: np.random.Generator | None = None,
    augmentation: AugmentationConfig | None = None,
    another: Callable[[np.random.Generator], Sample] | None = None,
) -> dict[str, np.ndarray]:
    """Brings a sample to the working size.

    Without `rng` the whole photo is fitted into the frame (aspect kept, centered
    horizontally, at the top) and its edge pixels fill what is left. With `rng` it is
    also mirrored, zoomed, shifted and its colors changed, and what is left (without
    `cover`, or turned) shows the photo's reflection. Either way labels outside the
    photo are void. `recolor` and `background` of the augmentation change the photo
    alone, and only with a label map.

    Args:
        sample: The sample, as a reader returns it.
        size: Height and width of the frame.
        rng: Source of randomness, or None for the plain fit.
        augmentation: How strong the random changes are; None for the defaults. Not
            used without `rng`.
        another: Draws another sample, whose background may come behind the person;
            without it, or if it has no label map, the photo's own stays.

    Returns:
        `image`: RGB `uint8` `[h, w, 3]`. `parsing`: `uint8` `[h, w]`, 255 (void)
        where there is no annotation. `joints`: `float32` `[16, 3]` of x and y in
        working pixels and the weight 1; a joint that is not annotated or not inside
        the frame is three times 0.

    Raises:
        PortraitError: An array of the sample has another type or shape than `Sample`
            promises.
    """
    _check(sample)
    photo_size = sample.photo.shape[:2]
    if rng is None:
        placement, border = fit_placement(photo_size, size), cv2.BORDER_REPLICATE
    else:
        augmentation = augmentation or AugmentationConfig()
        points = _body_points(sample) if augmentation.crop else None
        placement = random_placement(rng, photo_size, size, augmentation, points)
        border = cv2.BORDER_REFLECT_101
    image = _warp_photo(sample.photo, size, placement, border)
    parsing = np.full(size, VOID_LABEL, np.uint8)
    if sample.parsing is not None:
        parsing = _warp_parsing(sample.parsing, size, placement)
    joints = _move_joints(sample.joints, photo_size, size, placement)
    if rng is not None:
        if sample.parsing is not None:
            covered = _covered(photo_size, size, placement)
            image = _change_looks(rng, image, parsing, covered, augmentation, another)
        image = _jitter_colors(rng, image, augmentation)
        if augmentation.warp:
            flow = random_flow(rng, size, augmentation.warp)
            image, parsing, joints = warp_sample(image, parsing, joints, flow)
        if augmentation.cutout and rng.random() < augmentation.cutout:
            image = random_cutout(rng, image, augmentation)
    return {"image": image, "parsing": parsing, "joints": joints}


def _change_looks(
    rng: np.random.Generator,
    image: np.ndarray,
    parsing: np.ndarray,
    covered: np.ndarray,
    augmentation: AugmentationConfig,
    another: Callable[[np.random.Generator], Sample] | None,
) -> np.ndarray:
    """Changes clothes' colors and the background, each with its probability."""
    if augmentation.recolor and rng.random() < augmentation.recolor:
        image = recolor_clothes(rng, image, parsing)
    wanted = another is not None and augmentation.background
    if wanted and rng.random() < augmentation.background:
        backdrop = _backdrop(rng, another(rng), parsing.shape)
        if backdrop is not None:
            image = exchange_background(image, parsing, covered, backdrop)
    return image
