"""Tiny data sets of synthetic people in each layout, written on the fly."""

import functools

import cv2
import numpy as np

from portrait_tf.data.synthetic import synthesize, write_synthetic
from portrait_tf.labels import ATR_TO_LIP, LABELS

SIZE = (96, 64)
YAML = """\
images: photos
labels: maps
map: {0: Background, 1: Hair, 2: UpperClothes, 7: void}
poses: poses.csv
train: train.txt
"""


@functools.cache
def person(seed):
    return synthesize(seed, SIZE)


def write_photo(path, photo):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), photo[..., ::-1])


def write_map(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), values)


def pose_row(name, joints):
    return ",".join([f"{name}.jpg", *(f"{value:g}" for value in joints.ravel())])


def make_lip(root, train=5, val=2):
    write_synthetic(root, train, val, size=SIZE)
    return root


def atr_values(parsing):
    """The map as ATR would have it; what ATR has no label for becomes its Bag."""
    values = np.full(parsing.shape, list(ATR_TO_LIP).index("Bag"), np.uint8)
    for value, name in enumerate(ATR_TO_LIP.values()):
        if name in LABELS and list(ATR_TO_LIP)[value] != "Bag":
            values[parsing == LABELS.index(name)] = value
    return values


def make_atr(root, count=12, inner="humanparsing"):
    """Photos atr00, atr01, ... of which the hash puts atr02 and atr05 into val."""
    for seed in range(count):
        folder = root / inner
        write_photo(folder / "JPEGImages" / f"atr{seed:02d}.jpg", person(seed).photo)
        write_map(
            folder / "SegmentationClassAug" / f"atr{seed:02d}.png",
            atr_values(person(seed).parsing),
        )
    return root


def make_cihp(root, splits=("Training", "Validation")):
    """Two photos a split: the first of two people and one tiny, the second of one."""
    for split in splits:
        folder = root / "instance-level_human_parsing" / split
        people = [person(0), person(1)]
        wide = np.concatenate([one.photo for one in people], axis=1)
        labels = np.concatenate([one.parsing for one in people], axis=1)
        owners = np.concatenate(
            [(one.parsing > 0) * np.uint8(n) for n, one in enumerate(people, 1)], axis=1
        )
        labels[:6, :4], owners[:6, :4] = 2, 3
        for name, photo, category, human in (
            ("0001", wide, labels, owners),
            ("0002", people[0].photo, people[0].parsing, owners[:, : SIZE[1]] % 3),
        ):
            write_photo(folder / "Images" / f"{name}.jpg", photo)
            write_map(folder / "Category_ids" / f"{name}.png", category)
            write_map(folder / "Human_ids" / f"{name}.png", human)
    return root


def folder_values(parsing):
    values = np.zeros(parsing.shape, np.uint8)
    values[parsing == LABELS.index("Hair")] = 1
    values[parsing == LABELS.index("UpperClothes")] = 2
    values[0] = 7
    return values


def make_folder(root, count=5, text=YAML):
    """Photos a0, a1, ...; all but the last in the list of training."""
    rows = []
    for seed in range(count):
        write_photo(root / "photos" / f"a{seed}.jpg", person(seed).photo)
        write_map(root / "maps" / f"a{seed}.png", folder_values(person(seed).parsing))
        rows.append(pose_row(f"a{seed}", person(seed).joints))
    (root / "poses.csv").write_text("\n".join(rows))
    (root / "train.txt").write_text("\n".join(f"a{n}" for n in range(count - 1)))
    (root / "dataset.yaml").write_text(text)
    return root


MAKERS = {
    "lip": make_lip,
    "atr": make_atr,
    "cihp": make_cihp,
    "folder": make_folder,
}


def first_files(layout, root):
    """Photo and label map of the first training sample of a layout."""
    folders = {
        "lip": ("TrainVal_images/train_images", "TrainVal_parsing_annotations"),
        "atr": ("humanparsing/JPEGImages", "humanparsing/SegmentationClassAug"),
        "cihp": (
            "instance-level_human_parsing/Training/Images",
            "instance-level_human_parsing/Training/Category_ids",
        ),
        "folder": ("photos", "maps"),
    }
    photos, maps = folders[layout]
    return min((root / photos).rglob("*.jpg")), min((root / maps).rglob("*.png"))
