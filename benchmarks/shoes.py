"""Does a painted shoe take after the one that is seen? With detail and without.

    python -m benchmarks.shoes DATA --count 20 --enlarge 3 --out shoes.png

Of every validation photo that shows both shoes, one is hidden, left and right in turn,
with some of what is around it, and painted through the true map by the bundled weights.
Printed are medians over photos of how far the painted shoe is from the seen one, beside
how far the true shoes are apart: `color` is CIE76 of the mean colors (2.3 is just
noticeable), `texture` the factor between the mean differences of neighboring pixels, as
a power of 2.
"""

import collections
import pathlib

import cv2
import numpy as np

from benchmarks.common import new_parser, user_errors
from portrait_tf.data.dataset import usable_reader
from portrait_tf.data.open import open_dataset
from portrait_tf.errors import PortraitError
from portrait_tf.geometry import Box
from portrait_tf.inference.engines import open_engine
from portrait_tf.inference.large_photos import complete_photo
from portrait_tf.labels import LABELS
from portrait_tf.photos import write_png
from portrait_tf.photos.drawing import contact_sheet, show_hole
from portrait_tf.photos.masks import HOLE

SHOES = (LABELS.index("LeftShoe"), LABELS.index("RightShoe"))
METHODS = ("without", "with")
DILATION = 0.03
"""By how much the hole is larger than the shoe, as a part of the longer side."""
SMALLEST = 20
"""Pixels that both shoes must have, the seen one outside the hole."""


def color_distance(picture: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    """CIE76 of the mean colors of two regions, `bool` `[H, W]`."""
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return float(np.linalg.norm(lab[one].mean(0) - lab[other].mean(0)))


def texture_distance(picture: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    """By what factor two regions' mean differences of neighbors differ, as log2."""
    gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    down, across = (np.abs(np.diff(gray, axis=axis)) for axis in (0, 1))
    means = [
        np.concatenate(
            [down[region[1:] & region[:-1]], across[region[:, 1:] & region[:, :-1]]]
        ).mean()
        for region in (one, other)
    ]
    return abs(float(np.log2(max(means[0], 0.1) / max(means[1], 0.1))))


DISTANCES = {"color": color_distance, "texture": texture_distance}


def hide_a_shoe(parsing: np.ndarray, hidden: int) -> tuple | None:
    """The hole over one of `SHOES`, and where that shoe and the seen one are."""
    painted, other = (parsing == SHOES[index] for index in (hidden, 1 - hidden))
    radius = max(1.0, DILATION * max(parsing.shape))
    distance = cv2.distanceTransform((~painted).astype(np.uint8), cv2.DIST_L2, 5)
    seen = other & (distance > radius)
    if min(painted.sum(), seen.sum()) < SMALLEST:
        return None
    return np.where(distance <= radius, np.uint8(HOLE), np.uint8(0)), painted, seen


def main(arguments: list[str] | None = None) -> None:
    parser = new_parser(__doc__)
    parser.add_argument("data", help="a data set with label maps")
    parser.add_argument("--count", type=int, help="the first photos only")
    parser.add_argument("--enlarge", type=float, default=1.0, help="photos, before")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("shoes.png"))
    options = parser.parse_args(arguments)
    reader = usable_reader(open_dataset(options.data, "val"))
    engine, found, rows = open_engine(None, None), collections.defaultdict(list), []
    for index in range(len(reader)):
        if len(rows) == options.count:
            break
        sample = reader[index]
        if sample.parsing is None:
            continue
        size = [round(options.enlarge * n) for n in sample.parsing.shape[::-1]]
        photo = cv2.resize(sample.photo, size, interpolation=cv2.INTER_CUBIC)
        parsing = cv2.resize(sample.parsing, size, interpolation=cv2.INTER_NEAREST)
        shoes = hide_a_shoe(parsing, len(rows) % 2)
        if shoes is None:
            continue
        mask, painted, seen = shoes
        pictures = {"truth": photo}
        for method in METHODS:
            engine.detail = method == "with"
            result = complete_photo(engine, photo, mask, parsing=parsing)
            pictures[method] = result.completed
        for method, picture in pictures.items():
            for name, distance in DISTANCES.items():
                found[method, name].append(distance(picture, painted, seen))
        box = Box.about(mask)
        box = box.grown(box.height, box.width, mask.shape)
        row = [show_hole(photo, mask), *(pictures[one] for one in METHODS), photo]
        rows.append([box.of(picture) for picture in row])
    if not rows:
        raise PortraitError(
            f"expected photos with both shoes labelled, found none among {len(reader)}"
        )
    write_png(
        options.out, contact_sheet(rows, ["input", *METHODS, "truth"], height=288)
    )
    for (method, name), values in found.items():
        print(f"{method:<8} median {name} distance {np.median(values):6.2f}")
    for name in DISTANCES:
        nearer = np.less(found["with", name], found["without", name])
        print(f"{name} nearer with detail: {nearer.sum()} of {nearer.size} photos")


if __name__ == "__main__":
    with user_errors():
        main()
