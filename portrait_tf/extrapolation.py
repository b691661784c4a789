"""Photos extended past their border; a stand-in until its own branch is merged."""

from typing import NamedTuple

import numpy as np

from portrait_tf.engines import Engine
from portrait_tf.errors import PortraitError
from portrait_tf.large_photos import PhotoResult, complete_photo


class Margins(NamedTuple):
    """What to add at each side, in pixels of the photo."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    @classmethod
    def from_fractions(
        cls,
        size: tuple[int, int],
        top: float = 0.0,
        bottom: float = 0.0,
        left: float = 0.0,
        right: float = 0.0,
    ) -> "Margins":
        """Parts of the height and of the width, each 0 to 1."""
        for side, part in zip(cls._fields, (top, bottom, left, right), strict=True):
            if not 0 <= part <= 1:
                raise PortraitError(
                    f"the margin '{side}' is a fraction of the photo: expected 0 to 1, "
                    f"received {part}"
                )
        height, width = size
        return cls(
            *(round(part * height) for part in (top, bottom)),
            *(round(part * width) for part in (left, right)),
        )


def extrapolate_photo(
    engine: Engine, photo: np.ndarray, margins: Margins
) -> PhotoResult:
    """Completes a photo on a larger canvas."""
    if not any(margins):
        raise PortraitError(
            f"expected at least one margin ({', '.join(margins._fields)}) above 0, "
            "received none"
        )
    top, bottom, left, right = margins
    padding = ((top, bottom), (left, right))
    canvas = np.pad(photo, (*padding, (0, 0)), constant_values=128)
    mask = np.pad(np.zeros(photo.shape[:2], np.uint8), padding, constant_values=255)
    return complete_photo(engine, canvas, mask)
