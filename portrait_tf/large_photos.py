"""Completes a photo of any size."""

import dataclasses

import numpy as np

from portrait_tf.engines import Engine


@dataclasses.dataclass(frozen=True)
class PhotoResult:
    """RGB `uint8` `[H, W, 3]`, labels `uint8` `[H, W]`, and sentences for the user."""

    completed: np.ndarray
    parsing: np.ndarray
    notes: list[str] = dataclasses.field(default_factory=list)


def complete_photo(engine: Engine, photo: np.ndarray, mask: np.ndarray) -> PhotoResult:
    """Completes one photo: RGB `uint8` `[H, W, 3]`; mask `[H, W]`, non-zero = hole."""
    return PhotoResult(*engine.complete(photo, mask))
