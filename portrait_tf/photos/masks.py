"""Masks: from files, where white or transparent is the hole, and from arrays."""

import dataclasses
import pathlib

import cv2
import numpy as np

from portrait_tf.errors import PortraitError, SizeError
from portrait_tf.photos.photo_file import PhotoFile, as_bytes
from portrait_tf.photos.reading import open_photo

HOLE = 255
"""The value of a hole; 0 is known."""

_THRESHOLD = 127
"""The hole is above it."""

_GRAYS = (32, 223)
"""What compression leaves of black and white is beyond these."""

_MANY = 0.25


@dataclasses.dataclass(frozen=True)
class MaskOptions:
    """How a mask is read.

    Attributes:
        from_alpha: Transparent = hole: in the mask, or without one in the photo.
        invert: Hole and photo change places.
        resize: A mask of another size is brought to the photo's.
    """

    from_alpha: bool = False
    invert: bool = False
    resize: bool = False


def read_hole(
    path: str | pathlib.Path,
    size: tuple[int, int],
    options: MaskOptions = MaskOptions(),
) -> tuple[np.ndarray, list[str]]:
    """Reads the mask of a photo, which is painted over the upright photo.

    Args:
        path: Any file that `open_photo` reads; turned as its own EXIF says. White on
            transparent counts as white on black.
        size: Height and width of the upright photo.
        options: How it is read.

    Returns:
        `uint8` `[H, W]`, 255 = hole, above 127 in the file; and warnings.

    Raises:
        PortraitError: As `open_photo`; another size than the photo's; no alpha channel
            where one is wanted; no hole, or nothing but hole.
    """
    return hole_from_photo(open_photo(path, "mask"), size, options)


def hole_from_photo(
    photo: PhotoFile, size: tuple[int, int], options: MaskOptions = MaskOptions()
) -> tuple[np.ndarray, list[str]]:
    """The hole of a mask that is read already; see `read_hole`."""
    light = _transparency(photo) if options.from_alpha else _brightness(photo)
    notes = []
    if options.resize and light.shape != tuple(size):
        notes.append(
            f"{photo.path}: the mask was brought from {light.shape[0]}x{light.shape[1]}"
            f" to the photo's {size[0]}x{size[1]} (height x width)"
        )
        light = cv2.resize(light, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    hole, more = _threshold(light, size, photo, options)
    return hole, notes + more


def hole_from_alpha(
    photo: PhotoFile, options: MaskOptions = MaskOptions()
) -> tuple[np.ndarray, list[str]]:
    """The photo's own transparent parts as its hole; as `read_hole`.

    Raises:
        PortraitError: There is no alpha channel, no hole, or nothing but hole.
    """
    options = dataclasses.replace(options, from_alpha=True)
    return _threshold(_transparency(photo), photo.size, photo, options)


def _brightness(photo: PhotoFile) -> np.ndarray:
    pixels = as_bytes(photo.pixels)
    if photo.is_gray:
        light = pixels[..., 0]
    else:
        light = cv2.cvtColor(np.ascontiguousarray(pixels[..., :3]), cv2.COLOR_RGB2GRAY)
    if photo.alpha is None:
        return light
    alpha = pixels[..., -1].astype(np.uint16)
    return ((light * alpha + 127) // 255).astype(np.uint8)


def _transparency(photo: PhotoFile) -> np.ndarray:
    if photo.alpha is None:
        raise PortraitError(
            path=photo.path,
            expected="an alpha channel, whose transparent parts are the hole",
            received="a picture without one",
        )
    return 255 - as_bytes(photo.alpha)


def _threshold(
    light: np.ndarray, size: tuple[int, int], photo: PhotoFile, options: MaskOptions
) -> tuple[np.ndarray, list[str]]:
    name = str(photo.path)
    above = light > _THRESHOLD
    if light.shape == tuple(size) and (above.all() or not above.any()):
        raise PortraitError(_one_sided(light, photo, options), path=name)
    hole = as_hole_mask(above != options.invert, size, name)
    grays = np.count_nonzero((light > _GRAYS[0]) & (light < _GRAYS[1]))
    if grays <= _MANY * np.count_nonzero(hole):
        return hole, []
    return hole, [
        f"{name}: {grays / light.size:.0%} of the mask is gray; all above "
        f"{_THRESHOLD} was taken for white"
    ]


def _one_sided(light: np.ndarray, photo: PhotoFile, options: MaskOptions) -> str:
    """What is wrong with a mask that is all hole, or has none."""
    is_hole = (light.max() > _THRESHOLD) != options.invert
    if light.max() > _THRESHOLD:
        wanted, extreme, found = "at most", "darkest", light.min()
    else:
        wanted, extreme, found = "above", "brightest", light.max()
    if options.from_alpha:
        what, extreme = "a transparency", {"darkest": "lowest"}.get(extreme, "highest")
    else:
        what = "a brightness"
    text = (
        f"expected {what} {wanted} {_THRESHOLD} of 255 where the "
        f"{'photo is known' if is_hole else 'hole is'}, but the {extreme} value found "
        f"is {found}"
    )
    if not (options.from_alpha or photo.is_gray):
        # A pure red is dark.
        pixels = as_bytes(photo.pixels)
        place = np.argmin if extreme == "darkest" else np.argmax
        color = pixels.reshape(-1, pixels.shape[2])[place(_brightness(photo))]
        text += f", of the color {tuple(color[:3].tolist())}"
    return text + (" (all of it is hole)" if is_hole else "")


def as_hole_mask(
    mask: np.ndarray, size: tuple[int, int], name: str = "mask"
) -> np.ndarray:
    """Checks a mask that came from outside and gives it our shape and values.

    Args:
        mask: `uint8` or `bool`; `[H, W]`, `[H, W, 1]`, or `[H, W, 3]` with equal
            channels. Non-zero is a hole.
        size: Height and width of the photo that it belongs to.
        name: What to call the mask in a message, such as its file's name.

    Returns:
        `uint8` `[H, W]`, 255 in the hole and 0 elsewhere.

    Raises:
        PortraitError: The type, the shape or the size is another one, the channels
            differ, or there is no hole or nothing else.
    """
    mask = np.asarray(mask)
    if mask.dtype not in (np.uint8, np.bool_):
        raise PortraitError(
            path=name, expected="values of type uint8", received=mask.dtype
        )
    if not (mask.ndim == 2 or (mask.ndim == 3 and mask.shape[2] in (1, 3))):
        raise PortraitError(
            path=name,
            expected="the shape [height, width], with 1 or 3 equal channels or none",
            received=list(mask.shape),
        )
    if mask.shape[:2] != tuple(size):
        raise SizeError(
            path=name,
            expected=f"the photo's size of {size[0]}x{size[1]} (height x width)",
            received=f"{mask.shape[0]}x{mask.shape[1]}",
        )
    if mask.ndim == 3:
        if (mask != mask[..., :1]).any():
            raise PortraitError(
                path=name,
                expected="one channel or three equal ones",
                received="three that differ",
            )
        mask = mask[..., 0]
    hole = mask != 0
    if not hole.any():
        raise PortraitError(
            path=name, expected="non-zero pixels where the hole is", received="none"
        )
    if hole.all():
        raise PortraitError(
            path=name,
            expected="zero pixels where the photo is known",
            received="none (all of it is hole)",
        )
    return np.where(hole, np.uint8(HOLE), np.uint8(0))
