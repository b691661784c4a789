"""What every method of a comparison is asked, and methods whose results are files."""

import hashlib
import pathlib

import numpy as np

from portrait_tf.data.dataset import Reader
from portrait_tf.errors import PortraitError
from portrait_tf.evaluation.compare_config import Plan
from portrait_tf.evaluation.holes import Hole, HoleSet, Method
from portrait_tf.photos import read_photo, write_png


def cases(plan: Plan, reader: Reader) -> HoleSet:
    """The photos of a reader that a plan scores, with their holes."""
    compare = plan.compare
    return HoleSet(
        reader, plan.base.size, compare.mask_seed, compare.photos, compare.tasks
    )


def write_inputs(plan: Plan, reader: Reader, folder: pathlib.Path) -> int:
    """Writes the questions for a method from outside, without the answers.

    `inputs/TASK/NAME.png` is gray (128) in the hole, `masks/TASK/NAME.png` 255.

    Returns:
        The number of inputs.
    """
    count = 0
    for holes in cases(plan, reader):
        for hole in holes:
            name = f"{hole.task}/{hole.name}.png"
            write_png(folder / "inputs" / name, hole.hidden())
            write_png(folder / "masks" / name, hole.mask)
            count += 1
    return count


def check_cases(plan: Plan, reader: Reader) -> str:
    """Reads all photos that are scored, and all finished pictures.

    Returns:
        SHA-256 of the first photo and its label map, to recognize the data set.

    Raises:
        PortraitError: A photo or a picture is broken, missing or of another size; a
            label map is missing for a method that is given the true map; there are
            fewer than two photos.
    """
    if len(asked := cases(plan, reader)) < 2:
        raise PortraitError(f"expected at least 2 photos to score, found {len(asked)}")
    true_map = [name for name, one in plan.methods.items() if one.parsing == "truth"]
    pictures = [read_pictures(folder) for folder in plan.pictures.values()]
    digest = ""
    for holes in asked:
        photo, truth = holes[0].photo, holes[0].truth
        digest = digest or hashlib.sha256(photo.tobytes() + truth.tobytes()).hexdigest()
        if true_map and not holes[0].has_map:
            raise PortraitError(
                f"{holes[0].name}: expected a label map, because methods.{true_map[0]} "
                "is given the true one; the photo has none"
            )
        for method in pictures:
            method(holes)
    return digest


def read_pictures(folder: pathlib.Path) -> Method:
    """A method whose results are files: `FOLDER/TASK/NAME.png`, or another format."""

    def read(hole: Hole) -> np.ndarray:
        expected = folder / hole.task / f"{hole.name}.png"
        beside = [
            expected.with_name(hole.name + extension)
            for extension in (".png", ".webp", ".jpg", ".jpeg", ".bmp")
        ]
        path = next((path for path in beside if path.is_file()), None)
        if path is None:
            raise PortraitError(f"expected a picture {expected}")
        picture = read_photo(path, oriented=False)
        if picture.shape != hole.photo.shape:
            expected, received = (
                "x".join(map(str, one.shape[:2])) for one in (hole.photo, picture)
            )
            raise PortraitError(
                f"{path}: expected a picture of {expected} (height x width), received "
                f"{received}"
            )
        return picture

    return lambda holes: [read(hole) for hole in holes]
