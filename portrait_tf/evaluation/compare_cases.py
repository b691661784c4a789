"""What every method of a comparison is asked, and answers that are files."""

import hashlib
import pathlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from portrait_tf.data.augment import prepare
from portrait_tf.data.dataset import Reader
from portrait_tf.data.masks import evaluation_mask
from portrait_tf.errors import PortraitError
from portrait_tf.evaluation.compare_config import Plan
from portrait_tf.labels import NUM_LABELS
from portrait_tf.photos import read_photo, write_png


class Case(NamedTuple):
    """One question: photo and label map at the working size, and a hole.

    `photo` is RGB `uint8` `[H, W, 3]`, `truth` `uint8` `[H, W]` (255 is void), `mask`
    `uint8` `[H, W]`, 255 = hole.
    """

    index: int
    name: str
    task: str
    photo: np.ndarray
    truth: np.ndarray
    mask: np.ndarray


Complete = Callable[[Case], np.ndarray]
"""Gives the completed photo, RGB `uint8` `[H, W, 3]`."""


def cases(
    plan: Plan, reader: Reader, indices: range | list[int] | None = None
) -> Iterator[Case]:
    """Every photo with every task, photos first.

    Args:
        plan: What is compared.
        reader: The split that is scored.
        indices: Of photos; None for all that the plan scores.
    """
    compare, size = plan.compare, plan.base.size
    for index in indices if indices is not None else range(photo_count(plan, reader)):
        sample = reader[index]
        prepared = prepare(sample, size)
        photo, truth, joints = (prepared[k] for k in ("image", "parsing", "joints"))
        for task in compare.tasks:
            seed = [compare.mask_seed, index]
            mask = evaluation_mask(task, seed, size, joints, truth)
            yield Case(index, sample.name, task, photo, truth, mask)


def photo_count(plan: Plan, reader: Reader) -> int:
    """How many photos are scored."""
    wanted = plan.compare.photos
    return len(reader) if wanted is None else min(wanted, len(reader))


def paste(complete: Complete, case: Case) -> np.ndarray:
    """The answer, with the known pixels as they were."""
    return np.where(case.mask[..., None] > 0, complete(case), case.photo)


def write_inputs(plan: Plan, reader: Reader, folder: pathlib.Path) -> int:
    """Writes what a method from outside is asked, and nothing of the answer.

    `inputs/TASK/NAME.png`, grey (128) in the hole, and `masks/TASK/NAME.png`, 255 =
    hole.

    Returns:
        The number of inputs.
    """
    count = 0
    for case in cases(plan, reader):
        hole = case.mask[..., None] > 0
        name = f"{case.task}/{case.name}.png"
        write_png(folder / "inputs" / name, np.where(hole, np.uint8(128), case.photo))
        write_png(folder / "masks" / name, case.mask)
        count += 1
    return count


def check_cases(plan: Plan, reader: Reader) -> dict:
    """Reads all photos that are scored, and all pictures that are finished.

    Returns:
        `photos`, how many, and `sha256` of all photos, label maps and masks.

    Raises:
        PortraitError: A photo or a picture is broken, missing or of another size; no
            label map for a method that is given the true one; fewer than two photos.
    """
    count = photo_count(plan, reader)
    if count < 2:
        raise PortraitError(f"expected at least 2 photos to score, found {count}")
    true_map = [name for name, one in plan.methods.items() if one.parsing == "truth"]
    readers = {name: open_pictures(folder) for name, folder in plan.pictures.items()}
    digest = hashlib.sha256()
    for case in cases(plan, reader):
        if true_map and not (case.truth < NUM_LABELS).any():
            raise PortraitError(
                f"{case.name}: expected a label map, for methods.{true_map[0]} is "
                "given the true one; the photo has none"
            )
        for array in (case.photo, case.truth, case.mask):
            digest.update(array.tobytes())
        for complete in readers.values():
            complete(case)
    return {"photos": count, "sha256": digest.hexdigest()}


def open_pictures(folder: pathlib.Path) -> Complete:
    """A method whose answers are files: `FOLDER/TASK/NAME.png`, or another format."""

    def complete(case: Case) -> np.ndarray:
        beside = folder / case.task
        path = next(
            (
                path
                for extension in (".png", ".webp", ".jpg", ".jpeg", ".bmp")
                if (path := beside / f"{case.name}{extension}").is_file()
            ),
            None,
        )
        if path is None:
            raise PortraitError(f"expected a picture {beside / case.name}.png")
        picture = read_photo(path, oriented=False)
        if picture.shape != case.photo.shape:
            expected, received = (
                "x".join(map(str, one.shape[:2])) for one in (case.photo, picture)
            )
            raise PortraitError(
                f"{path}: expected a picture of {expected} (height x width), received "
                f"{received}"
            )
        return picture

    return complete
