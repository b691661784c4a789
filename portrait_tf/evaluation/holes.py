"""The holes that every method is asked to complete, and the methods.

A hole follows from a seed and the photo's position in the split. Photos are brought to
the working size first, so that all methods are asked the same question.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from portrait_tf.data.augment import prepare
from portrait_tf.data.dataset import Reader
from portrait_tf.data.masks import EVALUATION_TASKS, evaluation_mask
from portrait_tf.data.sample import Sample
from portrait_tf.evaluation.classical import CLASSICAL
from portrait_tf.inference.engines import Engine
from portrait_tf.labels import NUM_LABELS

NO_HOLE = "none"
"""The task of a whole photo."""

GRAY = 128
"""What a hole looks like to methods that know no mask."""


class Hole(NamedTuple):
    """A photo at the working size with the hole of one task.

    Attributes:
        index: Position of the photo in its reader.
        task: One of `EVALUATION_TASKS`, or `NO_HOLE`.
        sample: The photo as its reader returns it.
        photo: RGB `uint8` `[H, W, 3]`.
        truth: LIP's labels, `uint8` `[H, W]`; 255 is void.
        joints: `[16, 3]`, as `prepare` returns them.
        mask: `uint8` `[H, W]`, 255 = hole.
    """

    index: int
    task: str
    sample: Sample
    photo: np.ndarray
    truth: np.ndarray
    joints: np.ndarray
    mask: np.ndarray

    @property
    def name(self) -> str:
        return self.sample.name

    @property
    def has_map(self) -> bool:
        """Whether the photo has a label map."""
        return bool((self.truth < NUM_LABELS).any())

    def hidden(self) -> np.ndarray:
        """The photo with a gray hole, RGB `uint8` `[H, W, 3]`."""
        return self.over(np.uint8(GRAY))

    def over(self, picture: np.ndarray) -> np.ndarray:
        """The picture in the hole, the photo around it, RGB `uint8` `[H, W, 3]`."""
        return np.where(self.mask[..., None] > 0, picture, self.photo)


@dataclasses.dataclass(frozen=True)
class HoleSet:
    """The photos of a reader, each with the hole of every task.

    Attributes:
        reader: The photos.
        size: Height and width that photos are brought to.
        seed: Seed of the holes.
        count: Number of the first photos that are used; None: all.
        tasks: The tasks.
    """

    reader: Reader
    size: tuple[int, int]
    seed: int = 0
    count: int | None = None
    tasks: Sequence[str] = EVALUATION_TASKS

    def __len__(self) -> int:
        """The number of photos."""
        total = len(self.reader)
        return total if self.count is None else min(self.count, total)

    def __getitem__(self, index: int) -> list[Hole]:
        """The holes of a photo, by the order of the tasks."""
        if index >= len(self):
            raise IndexError(index)
        sample = self.reader[index]
        prepared = prepare(sample, self.size)
        photo, truth, joints = (prepared[k] for k in ("image", "parsing", "joints"))

        def mask(task: str) -> np.ndarray:
            if task == NO_HOLE:
                return np.zeros(self.size, np.uint8)
            seed = [self.seed, index]
            return evaluation_mask(task, seed, self.size, joints, truth)

        return [
            Hole(index, task, sample, photo, truth, joints, mask(task))
            for task in self.tasks
        ]


Method = Callable[[list[Hole]], list[np.ndarray | None]]
"""Completes several holes of one photo.

The results are RGB `uint8` `[H, W, 3]`; None where the method cannot complete a hole.
"""


def classical(name: str) -> Method:
    """A method of `CLASSICAL`."""
    return lambda holes: [CLASSICAL[name](one.photo, one.mask) for one in holes]


def by_engine(engine: Engine, true_map: bool = False) -> Method:
    """An engine; with `true_map` it completes only photos with a label map."""

    def complete(holes: list[Hole]) -> list[np.ndarray | None]:
        if true_map and not holes[0].has_map:
            return [None] * len(holes)
        return [done for done, _ in complete_holes(engine, holes, true_map)]

    return complete


def complete_holes(
    engine: Engine, holes: list[Hole], true_map: bool = False
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Completes all holes of one photo, in one batch if the engine supports it.

    Args:
        engine: The engine.
        holes: Holes of one photo.
        true_map: Whether stage 2 is given the true label map. Void pixels of the map
            take stage 1's labels.

    Returns:
        Completed photos `[H, W, 3]` and label maps `[H, W]`.
    """
    photo, truth = holes[0].photo, holes[0].truth
    given = (truth,) if true_map else ()
    if hasattr(engine, "complete_masks"):
        masks = np.stack([hole.mask for hole in holes])
        return list(zip(*engine.complete_masks(photo, masks, *given), strict=True))
    return [engine.complete(photo, hole.mask, *given) for hole in holes]


class Example(NamedTuple):
    """A photo to look at.

    Attributes:
        place: `best`, `median` or `worst`.
        name: The photo's name.
        score: The score that ranked it.
        pictures: RGB `uint8` `[H, W, 3]` by title.
    """

    place: str
    name: str
    score: float
    pictures: dict[str, np.ndarray]


def pick_examples(ranked: list[dict], key: str) -> dict[str, dict]:
    """The best, the median and the worst photo of a list that is ranked best first.

    Args:
        ranked: One dict per photo.
        key: The score that ranks.

    Returns:
        `index`, `photo` and the score, by place. With one or two photos the earlier
        places of the list above take them.
    """
    count = len(ranked)
    places = {count // 2: "median", count - 1: "worst", 0: "best"} if count else {}
    return {
        places[rank]: {name: ranked[rank][name] for name in ("index", "photo", key)}
        for rank in sorted(places)
    }


def draw_examples(
    holes: HoleSet,
    chosen: dict[str, dict[str, dict]],
    key: str,
    draw: Callable[[Hole], dict[str, np.ndarray]],
) -> dict[str, list[Example]]:
    """Draws chosen photos; only numbers are kept while a data set is scored.

    Args:
        holes: The photos.
        chosen: `pick_examples` by task.
        key: The score that ranked them.
        draw: Returns the pictures of a hole by title.
    """
    tasks = list(holes.tasks)

    def example(task: str, place: str, one: dict) -> Example:
        hole = holes[one["index"]][tasks.index(task)]
        return Example(place, one["photo"], one[key], draw(hole))

    return {
        task: [example(task, place, one) for place, one in places.items()]
        for task, places in chosen.items()
    }
