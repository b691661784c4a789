"""Draws what detail does to a hole, at the photo's own size.

    python examples/detail.py --out docs/detail.png

A synthetic person and NASA's portrait of Eileen Collins (public domain, in
scikit-image), each with a hole, completed by the bundled weights
with detail and without.
"""

import argparse
import pathlib

import cv2
import numpy as np
import skimage.data

from portrait_tf.data.synthetic import synthesize
from portrait_tf.geometry import Box
from portrait_tf.inference.engines import open_engine
from portrait_tf.inference.large_photos import complete_photo
from portrait_tf.photos import write_png
from portrait_tf.photos.drawing import contact_sheet, show_hole
from portrait_tf.photos.masks import HOLE

SIDE = 320


def cases() -> list[tuple[np.ndarray, np.ndarray]]:
    """Photos and masks."""
    person = synthesize(11, (960, 640)).photo
    hole = np.zeros(person.shape[:2], np.uint8)
    cv2.ellipse(hole, (340, 600), (75, 60), 0, 0, 360, HOLE, -1)
    astronaut = skimage.data.astronaut()
    stroke = np.zeros(astronaut.shape[:2], np.uint8)
    cv2.line(stroke, (90, 300), (230, 430), HOLE, 60)
    return [(person, hole), (astronaut, stroke)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("detail.png"))
    options = parser.parse_args()
    engine = open_engine(None, None)
    rows = []
    for photo, mask in cases():
        middle = Box.about(mask)
        top, left = (
            max(0, min((a + b - SIDE) // 2, length - SIDE))
            for a, b, length in zip(
                middle[:2], middle[2:], photo.shape[:2], strict=True
            )
        )
        box = Box(top, left, top + SIDE, left + SIDE)
        row = [show_hole(photo, mask)]
        for engine.detail in (False, True):
            row.append(complete_photo(engine, photo, mask).completed)
        rows.append([box.of(picture) for picture in row])
    titles = ["input", "without detail", "with detail"]
    write_png(options.out, contact_sheet(rows, titles, height=SIDE))


if __name__ == "__main__":
    main()
