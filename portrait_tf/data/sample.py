"""A sample: one photo of one person, with its annotations."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Sample:
    """A photo and what is known about the person in it.

    Attributes:
        name: File name without extension, unique in its data set.
        photo: RGB `uint8` `[H, W, 3]`.
        parsing: LIP labels, `uint8` `[H, W]`; 255 is void. None: not annotated.
        joints: `float32` `[16, 3]`, LIP's order; columns are x (column) and y (row)
            in pixels of `photo` (the center of the first is 0), and v as LIP has it (0
            visible, 1 hidden). A joint that is not annotated is three times NaN. None:
            no pose annotated.
    """

    name: str
    photo: np.ndarray
    parsing: np.ndarray | None = None
    joints: np.ndarray | None = None
