"""Does a painted shoe take after the one that is seen? With attention and without.

    python -m benchmarks.shoes --data DIR --with RUN --without RUN --out shoes.png

Of every validation photo that shows both shoes, one is hidden, left and right in turn,
with some of what is around it. Both networks paint it through the same map. What is
printed is the distance of the painted shoe's mean colour from the seen one's (CIE76 in
L*a*b*: 2.3 is just noticeable), the median over photos, beside the distance that the
true shoes have: light falls otherwise on each. `--with` and `--without` take a run or
a file of weights.
"""

import argparse
import dataclasses
import pathlib

import cv2
import numpy as np

from portrait_tf.data.augment import prepare
from portrait_tf.data.dataset import Reader, usable_reader
from portrait_tf.errors import PortraitError
from portrait_tf.labels import LABELS
from portrait_tf.photos import write_png
from portrait_tf.photos.drawing import contact_sheet, show_hole
from portrait_tf.photos.masks import HOLE

SHOES = (LABELS.index("LeftShoe"), LABELS.index("RightShoe"))
TITLES = ("input", "without", "with", "truth")


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
    reader: Reader, size: tuple[int, int], count: int | None = None, **arguments: float
) -> list[Hidden]:
    """Every photo of a split that shows both shoes, one of them hidden in turn.

    Args:
        reader: Photos with label maps.
        size: Height and width that photos are brought to.
        count: No more than so many.
        **arguments: Of `hide_a_shoe`.

    Raises:
        PortraitError: There is no such photo.
    """
    found = []
    for index in range(len(reader)):
        if len(found) == count:
            break
        sample = reader[index]
        prepared = prepare(sample, size)
        one = hide_a_shoe(
            sample.name,
            prepared["image"],
            prepared["parsing"],
            len(found) % 2,
            **arguments,
        )
        if one is not None:
            found.append(one)
    if not found:
        raise PortraitError(
            f"expected photos with both shoes labelled, found none among {len(reader)}"
        )
    return found


def complete_hidden(
    pipeline: object, shoes: list[Hidden], true_map: bool
) -> list[np.ndarray]:
    """Completes at the working size, photo by photo.

    Args:
        pipeline: A `portrait_tf.inference.pipeline.Pipeline`.
        shoes: Photos of its size.
        true_map: Whether stage 2 gets the true map, in place of stage 1's; what is void
            there is stage 1's even so.

    Returns:
        RGB `uint8` `[H, W, 3]` a photo.
    """
    import tensorflow as tf

    from portrait_tf.models.parsing import true_parsing

    completed = []
    for one in shoes:
        image = (one.photo[None] / 127.5 - 1.0).astype(np.float32)
        mask = (one.mask[None, ..., None] > 0).astype(np.float32)
        parsing = None
        if true_map:
            structure = pipeline.structure(image * (1.0 - mask), mask)
            labels = tf.constant(one.parsing[None], tf.int32)
            parsing = true_parsing(labels, structure["parsing"])
        result = np.asarray(pipeline.networks(image, mask, parsing)["completed"])[0]
        painted = np.clip(np.rint((result + 1.0) * 127.5), 0, 255).astype(np.uint8)
        completed.append(np.where(one.mask[..., None] > 0, painted, one.photo))
    return completed


def colour_distance(picture: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    """Distance of two regions' mean colours: CIE76, of the means in L*a*b*.

    Args:
        picture: RGB `uint8` `[H, W, 3]`.
        one: `bool` `[H, W]`.
        other: The same.
    """
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return float(np.linalg.norm(lab[one].mean(0) - lab[other].mean(0)))


def score_shoes(
    shoes: list[Hidden], completed: dict[str, list[np.ndarray]]
) -> dict[str, dict[str, float]]:
    """Colour distances between the shoes, by photo.

    Args:
        shoes: What was hidden.
        completed: A picture a photo, by method.

    Returns:
        `{METHOD: {NAME: DISTANCE}}`; the method `truth` is added.
    """
    pictures = {**completed, "truth": [one.photo for one in shoes]}
    return {
        method: {
            one.name: colour_distance(picture, one.painted, one.seen)
            for one, picture in zip(shoes, made, strict=True)
        }
        for method, made in pictures.items()
    }


def summary(scores: dict[str, dict[str, float]]) -> str:
    """Medians over photos, and how often attention is nearer to the seen shoe."""
    lines = [
        f"{method:<8} median distance {np.median(list(distances.values())):6.2f}"
        for method, distances in scores.items()
    ]
    nearer = [
        scores["with"][name] < distance for name, distance in scores["without"].items()
    ]
    return "\n".join(
        [*lines, f"nearer with than without: {sum(nearer)} of {len(nearer)} photos"]
    )


def draw_shoes(
    shoes: list[Hidden], completed: dict[str, list[np.ndarray]], rows: int
) -> np.ndarray:
    """A row a photo, evenly chosen: input, without, with, truth.

    Returns:
        RGB `uint8`.
    """
    chosen = np.unique(np.linspace(0, len(shoes) - 1, min(rows, len(shoes))).round())
    return contact_sheet(
        [
            [
                show_hole(shoes[index].photo, shoes[index].mask),
                completed["without"][index],
                completed["with"][index],
                shoes[index].photo,
            ]
            for index in chosen.astype(int)
        ],
        list(TITLES),
        height=288,
    )


def open_network(path: str, stage: str) -> object:
    """A stage's network from a run's folder, a file of weights, or `bundled`."""
    from portrait_tf.runs.folder import load_run_network
    from portrait_tf.runs.weights import load_bundled, load_weights

    if path == "bundled":
        return load_bundled(stage)
    if pathlib.Path(path).is_dir():
        return load_run_network(path, stage)
    return load_weights(path)


def stage_1_of(path: str) -> str:
    """The run itself if it has a stage 1, else the bundled one."""
    from portrait_tf.runs.folder import trained_stages

    return path if "parsing" in trained_stages(path) else "bundled"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="a data set")
    parser.add_argument("--with", dest="attentive", required=True, metavar="RUN")
    parser.add_argument("--without", dest="plain", required=True, metavar="RUN")
    parser.add_argument(
        "--parsing", help="stage 1: a run, a file, bundled; else that of --with"
    )
    parser.add_argument("--map", choices=("true", "predicted"), default="true")
    parser.add_argument("--count", type=int, help="the first photos only")
    parser.add_argument("--dilation", type=float, default=0.03)
    parser.add_argument("--rows", type=int, default=8, help="of the sheet")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("shoes.png"))
    options = parser.parse_args(arguments)

    from portrait_tf.data.open import open_dataset
    from portrait_tf.inference.pipeline import Pipeline

    try:
        stage_1 = open_network(
            options.parsing or stage_1_of(options.attentive), "parsing"
        )
        pipelines = {
            "without": Pipeline(stage_1, open_network(options.plain, "completion")),
            "with": Pipeline(stage_1, open_network(options.attentive, "completion")),
        }
        shoes = hidden_shoes(
            usable_reader(open_dataset(options.data, "val")),
            pipelines["with"].size,
            options.count,
            dilation=options.dilation,
        )
        completed = {
            method: complete_hidden(pipeline, shoes, options.map == "true")
            for method, pipeline in pipelines.items()
        }
        write_png(options.out, draw_shoes(shoes, completed, options.rows))
    except PortraitError as error:
        raise SystemExit(str(error)) from None
    print(summary(score_shoes(shoes, completed)))


if __name__ == "__main__":
    main()
