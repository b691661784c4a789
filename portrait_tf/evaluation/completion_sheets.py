"""Contact sheets of completed photos."""

import cv2
import numpy as np

from portrait_tf.data.masks import EVALUATION_TASKS
from portrait_tf.evaluation.evaluate import OURS
from portrait_tf.evaluation.holes import Example, Hole
from portrait_tf.labels import color_parsing
from portrait_tf.photos.drawing import caption, contact_sheet, label_legend, show_hole

SHEET_PHOTOS = 24
_PICTURE_HEIGHT = 192
_LARGEST_SHEET = 4000
_STRIPS = 2
"""Photos side by side on a contact sheet."""


class ContactSheets:
    """Keeps the pictures of photos that are spread evenly over a split.

    Its `observe` is an observer of `Evaluation.score`.

    Args:
        total: The number of photos that are scored.
    """

    titles = ("input", "predicted map", OURS, "truth")

    def __init__(self, total: int) -> None:
        chosen = np.linspace(0, total - 1, min(SHEET_PHOTOS, total))
        self.indices = {int(index) for index in np.round(chosen)}
        self._rows: dict[str, list] = {task: [] for task in EVALUATION_TASKS}

    def observe(
        self,
        hole: Hole,
        parsing: np.ndarray,
        pictures: dict[str, np.ndarray | None],
        row: dict,
    ) -> None:
        """Keeps the pictures of a hole if its photo is one of the chosen."""
        if hole.index not in self.indices:
            return
        iou = row["hole_miou"]
        shown = [
            (show_hole(hole.photo, hole.mask), hole.name),
            (color_parsing(parsing), "" if iou is None else f"IoU in hole {iou:.2f}"),
            (pictures[OURS], f"{row['psnr_hole']:.1f} dB in hole"),
            (hole.photo, ""),
        ]
        self._rows[hole.task].append([_noted(*one) for one in shown])

    def draw(self) -> dict[str, np.ndarray]:
        """A sheet per task, RGB `uint8`, with the labels' colors below."""
        sheets = {}
        for task, rows in self._rows.items():
            strips = min(_STRIPS, len(rows))
            height = -(-len(rows) // strips)
            blank = [np.full_like(picture, 255) for picture in rows[0]]
            rows = rows + [blank] * (strips * height - len(rows))
            joined = [sum(rows[i::height], []) for i in range(height)]
            sheet = contact_sheet(
                joined, self.titles * strips, _sheet_height(joined, len(joined))
            )
            sheets[task] = np.vstack([sheet, label_legend(sheet.shape[1])])
        return sheets


def example_sheet(examples: list[Example]) -> np.ndarray:
    """A row per example, with the pictures of all methods, RGB `uint8`."""
    titles = list(dict.fromkeys(name for one in examples for name in one.pictures))
    blank = np.full_like(examples[0].pictures["truth"], 255)
    rows = []
    for one in examples:
        notes = {"input": one.name, OURS: f"{one.place}, {one.score:.1f} dB"}
        rows.append(
            [_noted(one.pictures.get(t, blank), notes.get(t, "")) for t in titles]
        )
    return contact_sheet(rows, titles, _sheet_height(rows, 1))


def _noted(picture: np.ndarray, text: str) -> np.ndarray:
    """The picture at the sheets' height, with a line of text below it."""
    height, width = picture.shape[:2]
    if height != _PICTURE_HEIGHT:
        width = max(1, round(width * _PICTURE_HEIGHT / height))
        shrinks = height > _PICTURE_HEIGHT
        method = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST_EXACT
        picture = cv2.resize(picture, (width, _PICTURE_HEIGHT), interpolation=method)
    return caption(picture, text[: max(1, width // 7)])


def _sheet_height(rows: list[list[np.ndarray]], count: int) -> int:
    """Height of a picture with its text, so that no side of a sheet is too long."""
    height = rows[0][0].shape[0]
    width = max(sum(picture.shape[1] + 6 for picture in row) for row in rows)
    allowed = min(
        _LARGEST_SHEET / max(width, 1), (_LARGEST_SHEET - 200) / (count * (height + 6))
    )
    return max(16, int(height * min(1.0, allowed)))
