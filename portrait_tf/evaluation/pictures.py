"""Pictures of what `evaluate` scores, for programs that judge them from outside.

```
FOLDER/truth/NAME_TASK.png     the photo
FOLDER/masks/NAME_TASK.png     its hole, 255 = hole
FOLDER/METHOD/NAME_TASK.png    the photo, completed
FOLDER/grey/NAME_TASK.png      the hole left grey
```
"""

import pathlib

import numpy as np

from portrait_tf.evaluation.evaluate import Hole
from portrait_tf.photos import write_png

GREY = 128


class PictureFolder:
    """Writes every hole and what each method made of it.

    Its `write` is the `completed` of `score_photos`.

    Args:
        folder: New or empty (`check_empty_folder`).
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder

    def write(self, hole: Hole, done: dict[str, np.ndarray | None]) -> None:
        """Writes the pictures of one hole.

        Args:
            hole: What the methods were asked.
            done: Of each method the completed photo, RGB `uint8` `[H, W, 3]`; None: it
                could not, and no file is written.

        Raises:
            PortraitError: The folder cannot be written to.
        """
        grey = np.where(hole.mask[..., None] > 0, np.uint8(GREY), hole.photo)
        pictures = {"truth": hole.photo, "masks": hole.mask, **done, "grey": grey}
        for name, picture in pictures.items():
            if picture is not None:
                write_png(self.folder / name / picture_name(hole), picture)


def picture_name(hole: Hole) -> str:
    """`NAME_TASK.png`; a task has `-` for `_`, so that the last `_` precedes it."""
    return f"{hole.name}_{hole.task.replace('_', '-')}.png"
