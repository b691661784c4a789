"""Draws two people in three poses each: joints are said, and the body is painted there.

    python examples/poses.py --out docs/poses.png

Synthetic people whose photos end at the hips, extended past the border by the bundled
weights. The joints that are given are drawn as dots.
"""

import argparse
import pathlib

import cv2
import numpy as np

from portrait_tf import Portrait
from portrait_tf.data.synthetic import synthesize
from portrait_tf.labels import JOINTS
from portrait_tf.photos import write_png
from portrait_tf.photos.drawing import contact_sheet, show_hole

SEEDS, SIZE, CUT = (21, 15), (576, 384), 330
POSES = {
    "standing": {
        "R_Knee": (-22, 105), "R_Ankle": (-24, 205),
        "L_Knee": (22, 105), "L_Ankle": (24, 205),
    },
    "astride": {
        "R_Knee": (-45, 100), "R_Ankle": (-75, 190),
        "L_Knee": (45, 100), "L_Ankle": (75, 190),
    },
    "a step aside": {
        "R_Knee": (-16, 105), "R_Ankle": (-14, 205),
        "L_Knee": (55, 95), "L_Ankle": (95, 180),
    },
}  # fmt: skip
"""Columns and rows from the pelvis."""


def poses(portrait: Portrait, seed: int) -> list[np.ndarray]:
    """A person's photo with its hole, and the person in each pose."""
    sample = synthesize(seed, SIZE)
    photo = sample.photo[:CUT]
    pelvis = sample.joints[JOINTS.index("Pelvis"), :2]
    canvas = np.pad(photo, ((0, SIZE[0] - CUT), (0, 0), (0, 0)))
    hole = np.zeros(SIZE, np.uint8)
    hole[CUT:] = 255
    row = [show_hole(canvas, hole)]
    for offsets in POSES.values():
        joints = {name: pelvis + offset for name, offset in offsets.items()}
        result = portrait.extrapolate(photo, bottom=f"{SIZE[0] - CUT}px", joints=joints)
        picture = result.completed.copy()
        for place in joints.values():
            center = tuple(int(round(float(one))) for one in place)
            cv2.circle(picture, center, 5, (224, 36, 120), -1, cv2.LINE_AA)
        row.append(picture)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("poses.png"))
    options = parser.parse_args()
    portrait = Portrait.load()
    rows = [poses(portrait, seed) for seed in SEEDS]
    write_png(options.out, contact_sheet(rows, ["photo", *POSES], height=300))


if __name__ == "__main__":
    main()
