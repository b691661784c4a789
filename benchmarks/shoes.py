"""Does a painted shoe take after the one that is seen? With detail and without.

    python -m benchmarks.shoes --data DIR --count 20 --out shoes.png
    python -m benchmarks.shoes --data DIR --with RUN --without RUN --out shoes.png

Of every validation photo that shows both shoes, one is hidden, left and right in turn,
with some of what is around it. It is painted through the true map by the bundled
weights, with detail and without, or by two runs. Printed are medians over photos of how
far the painted shoe is from the seen one, beside how far the true shoes are apart:
`color` is CIE76 of the mean colors (2.3 is just noticeable), `texture` the factor
between the mean differences of neighbouring pixels, as a power of 2.
"""

import argparse
import dataclasses
import pathlib

import cv2
import numpy as np

from portrait_tf.data.dataset import Reader, usable_reader
from portrait_tf.errors import PortraitError
from portrait_tf.geometry import Box
from portrait_tf.labels import LABELS
from portrait_tf.photos import write_png
from portrait_tf.photos.drawing import contact_sheet, show_hole
from portrait_tf.photos.masks import HOLE

SHOES = (LABELS.index("LeftShoe"), LABELS.index("RightShoe"))
METHODS = ("without", "with")


@dataclasses.dataclass
class Hidden:
    """A photo, one of whose shoes is hidden.

    Attributes:
        name: Of the photo.
        photo: RGB `uint8` `[H, W, 3]`.
        parsing: The true labels, `uint8` `[H, W]`; 255 is void.
        mask: `uint8` `[H, W]`, 255 in the hole.
        painted: `bool` `[H, W]`, where the hidden shoe is.
        seen: `bool` `[H, W]`, what is seen of the other one.
    """

    name: str
    photo: np.ndarray
    parsing: np.ndarray
    mask: np.ndarray
    painted: np.ndarray
    seen: np.ndarray


def hide_a_shoe(
    name: str,
    photo: np.ndarray,
    parsing: np.ndarray,
    hidden: int,
    dilation: float = 0.03,
    smallest: int = 20,
) -> Hidden | None:
    """Hides the region of one shoe's label, made somewhat larger.

    Args:
        name: Of the photo.
        photo: RGB `uint8` `[H, W, 3]`.
        parsing: LIP's labels, `uint8` `[H, W]`.
        hidden: Which of `SHOES` is hidden, 0 or 1.
        dilation: By how much the region grows, as a part of the longer side.
        smallest: Pixels that both shoes must have, the seen one outside the hole.

    Returns:
        None if one of the shoes is not there.
    """
    painted, other = (parsing == SHOES[index] for index in (hidden, 1 - hidden))
    if painted.sum() < smallest:
        return None
    radius = max(1.0, dilation * max(parsing.shape))
    distance = cv2.distanceTransform((~painted).astype(np.uint8), cv2.DIST_L2, 5)
    hole = distance <= radius
    seen = other & ~hole
    if seen.sum() < smallest:
        return None
    mask = np.where(hole, np.uint8(HOLE), np.uint8(0))
    return Hidden(name, photo, parsing, mask, painted, seen)


def hidden_shoes(
    reader: Reader, enlarge: float = 1.0, count: int | None = None
) -> list[Hidden]:
    """Every photo of a split that shows both shoes, one of them hidden in turn.

    Args:
        reader: Photos with label maps.
        enlarge: How often photos are enlarged before.
        count: No more than so many.

    Raises:
        PortraitError: There is no such photo.
    """
    found = []
    for index in range(len(reader)):
        if len(found) == count:
            break
        sample = reader[index]
        if sample.parsing is None:
            continue
        size = [round(enlarge * n) for n in sample.parsing.shape[::-1]]
        photo, parsing = (
            cv2.resize(x, size, interpolation=how)
            for x, how in (
                (sample.photo, cv2.INTER_CUBIC), (sample.parsing, cv2.INTER_NEAREST),
            )
        )  # fmt: skip
        one = hide_a_shoe(sample.name, photo, parsing, len(found) % 2)
        if one is not None:
            found.append(one)
    if not found:
        raise PortraitError(
            f"expected photos with both shoes labelled, found none among {len(reader)}"
        )
    return found


def color_distance(picture: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    """Distance of two regions' mean colors: CIE76, of the means in L*a*b*.

    Args:
        picture: RGB `uint8` `[H, W, 3]`.
        one: `bool` `[H, W]`.
        other: The same.
    """
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return float(np.linalg.norm(lab[one].mean(0) - lab[other].mean(0)))


def texture_distance(picture: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    """By what factor two regions' mean differences of neighbours differ, as log2.

    Args:
        picture: RGB `uint8` `[H, W, 3]`.
        one: `bool` `[H, W]`.
        other: The same.
    """
    gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    means = []
    for region in (one, other):
        differences = [
            np.abs(np.diff(gray, axis=axis))[both]
            for axis, both in (
                (0, region[1:] & region[:-1]), (1, region[:, 1:] & region[:, :-1]),
            )
        ]  # fmt: skip
        means.append(max(float(np.concatenate(differences).mean()), 0.1))
    return abs(float(np.log2(means[0] / means[1])))


DISTANCES = {"color": color_distance, "texture": texture_distance}


def score_shoes(
    shoes: list[Hidden], completed: dict[str, list[np.ndarray]]
) -> dict[str, dict[str, list[float]]]:
    """Distances between the shoes of each photo.

    Args:
        shoes: What was hidden.
        completed: A picture a photo, by method.

    Returns:
        `{METHOD: {"color": [...], "texture": [...]}}`; the method `truth` is added.
    """
    pictures = {**completed, "truth": [one.photo for one in shoes]}
    return {
        method: {
            name: [
                distance(picture, one.painted, one.seen)
                for one, picture in zip(shoes, made, strict=True)
            ]
            for name, distance in DISTANCES.items()
        }
        for method, made in pictures.items()
    }


def summary(scores: dict[str, dict[str, list[float]]]) -> str:
    """Medians over photos, and how often `with` is nearer to the seen shoe."""
    lines = [
        f"{method:<8} median {name} distance {np.median(found):6.2f}"
        for method, by_name in scores.items()
        for name, found in by_name.items()
    ]
    for name in DISTANCES:
        nearer = np.less(scores["with"][name], scores["without"][name])
        lines.append(
            f"{name} nearer with than without: {nearer.sum()} of {nearer.size} photos"
        )
    return "\n".join(lines)


def draw_shoes(
    shoes: list[Hidden], completed: dict[str, list[np.ndarray]], rows: int
) -> np.ndarray:
    """A row a photo, evenly chosen, about the hole: RGB `uint8`."""
    chosen = np.unique(np.linspace(0, len(shoes) - 1, min(rows, len(shoes))).round())
    sheet = []
    for index in chosen.astype(int):
        one = shoes[index]
        box = Box.about(one.mask)
        box = box.grown(box.height, box.width, one.mask.shape)
        made = [completed[method][index] for method in METHODS]
        row = [show_hole(one.photo, one.mask), *made, one.photo]
        sheet.append([box.of(picture) for picture in row])
    return contact_sheet(sheet, ["input", *METHODS, "truth"], height=288)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="a data set")
    parser.add_argument("--with", metavar="RUN", help="in place of detail")
    parser.add_argument("--without", metavar="RUN", help="in place of no detail")
    parser.add_argument("--count", type=int, help="the first photos only")
    parser.add_argument("--enlarge", type=float, default=1.0, help="photos, before")
    parser.add_argument("--rows", type=int, default=8, help="of the sheet")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("shoes.png"))
    options = parser.parse_args(arguments)
    runs = {method: vars(options)[method] for method in METHODS}
    if None in runs.values() and any(runs.values()):
        parser.error("expected --with and --without, or neither; received one")

    from portrait_tf.data.open import open_dataset
    from portrait_tf.inference.engines import PipelineEngine
    from portrait_tf.inference.large_photos import complete_photo
    from portrait_tf.inference.pipeline import Pipeline

    try:
        shoes = hidden_shoes(
            usable_reader(open_dataset(options.data, "val")),
            options.enlarge,
            options.count,
        )
        completed = {}
        for method, run in runs.items():
            pipeline = (
                Pipeline.from_run(run)
                if run
                else Pipeline.bundled(detail=method == "with")
            )
            engine = PipelineEngine(pipeline)
            completed[method] = [
                complete_photo(
                    engine, one.photo, one.mask, parsing=one.parsing
                ).completed
                for one in shoes
            ]
        write_png(options.out, draw_shoes(shoes, completed, options.rows))
    except PortraitError as error:
        raise SystemExit(str(error)) from None
    print(summary(score_shoes(shoes, completed)))


if __name__ == "__main__":
    main()
