"""Photos on a larger canvas, whose new border is the hole."""

import numpy as np

from portrait_tf.errors import PortraitError


def check_margins(margins: dict[str, float]) -> None:
    """Raises PortraitError: a margin not from 0 to 1, or none above 0."""
    for side, part in margins.items():
        if not 0 <= part <= 1:
            raise PortraitError(
                f"the margin '{side}' is a fraction of the photo: expected 0 to 1, "
                f"received {part}"
            )
    if not any(margins.values()):
        raise PortraitError(
            expected=f"at least one margin ({', '.join(margins)}) above 0",
            received="none",
        )


def extend_photo(
    photo: np.ndarray,
    top: float = 0,
    bottom: float = 0,
    left: float = 0,
    right: float = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Puts a photo on a larger canvas, whose new border is the hole.

    Args:
        photo: RGB `uint8` `[H, W, 3]`.
        top: As a part of the height; `bottom` likewise.
        bottom: See `top`.
        left: As a part of the width; `right` likewise.
        right: See `left`.

    Returns:
        The canvas, gray in the border, and its mask.

    Raises:
        PortraitError: A negative margin, one above 1, or none at all.
    """
    height, width = photo.shape[:2]
    check_margins({"top": top, "bottom": bottom, "left": left, "right": right})
    rows = [round(part * height) for part in (top, bottom)]
    columns = [round(part * width) for part in (left, right)]
    if not sum(rows + columns):
        raise PortraitError(
            expected="margins of a pixel or more",
            received=f"less than a pixel of a photo of {height}x{width}",
        )
    padding = (rows, columns)
    canvas = np.pad(photo, (*padding, (0, 0)), constant_values=128)
    mask = np.pad(np.zeros((height, width), np.uint8), padding, constant_values=255)
    return canvas, mask
