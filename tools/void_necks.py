"""Copies a data set in LIP's layout, its people's necks made void.

    python tools/void_necks.py VITON_LIP OUT

VITON's maps call the neck background. Where other data call it skin, one of both is
wrong, so in the copy it is void: background pixels around the neck that do not have the
color of the plain background. Photos and joints are linked, not copied.
"""

import pathlib
import sys

import cv2
import numpy as np

from portrait_tf.data.open import open_dataset
from portrait_tf.labels import JOINTS, VOID_LABEL

NECK, SHOULDERS = JOINTS.index("Neck"), ("R_Shoulder", "L_Shoulder")
# Of 255: the shop's backgrounds are lighter, and have no color.
PLAIN_LIGHTNESS, PLAIN_CHROMA = 215, 14


def without_neck(
    photo: np.ndarray, parsing: np.ndarray, joints: np.ndarray
) -> np.ndarray:
    """The label map with the neck void.

    Args:
        photo: RGB `uint8` `[H, W, 3]`.
        parsing: LIP's labels `[H, W]`.
        joints: `[16, 3]` of x, y in pixels; NaN where there is none.
    """
    shoulders = [joints[JOINTS.index(name), :2] for name in SHOULDERS]
    neck = joints[NECK, :2]
    if np.isnan(neck).any():
        return parsing
    width = np.linalg.norm(shoulders[0] - shoulders[1])
    radius = 0.5 * width if np.isfinite(width) else parsing.shape[0] / 10
    rows, columns = np.indices(parsing.shape)
    near = np.hypot(columns - neck[0], rows - neck[1]) < radius
    chroma = photo.max(axis=-1).astype(int) - photo.min(axis=-1)
    plain = (photo.min(axis=-1) > PLAIN_LIGHTNESS) & (chroma < PLAIN_CHROMA)
    found = near & (parsing == 0) & ~plain
    return np.where(found, np.uint8(VOID_LABEL), parsing)


def main(source: str, target: str) -> None:
    """Writes the copy.

    Args:
        source: The data set.
        target: A new folder.
    """
    source, target = pathlib.Path(source).resolve(), pathlib.Path(target)
    maps = pathlib.Path("TrainVal_parsing_annotations", "train_segmentations")
    (target / maps).mkdir(parents=True)
    for folder in ("TrainVal_images", "TrainVal_pose_annotations"):
        (target / folder).symlink_to(source / folder)
    reader = open_dataset(source, "train")
    for index in range(len(reader)):
        sample = reader[index]
        parsing = without_neck(sample.photo, sample.parsing, sample.joints)
        cv2.imwrite(str(target / maps / f"{reader.names[index]}.png"), parsing)


if __name__ == "__main__":
    main(*sys.argv[1:])
