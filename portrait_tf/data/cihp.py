"""Reads CIHP (*Instance-level Human Parsing via Part Grouping*, arXiv 1808.00157).

Several people a photo: a sample is one of them, cut out with a margin. The others stay
in the photo but are background in its label map, as are labels that belong to nobody.
CIHP has LIP's labels, and no poses.
"""

import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from portrait_tf.data.files import count_unread, list_files, read_names, unwrap
from portrait_tf.data.reader import (
    DatasetReader,
    NoSplitError,
    Split,
    check_size,
    in_threads,
)
from portrait_tf.data.sample import Sample
from portrait_tf.errors import PortraitError
from portrait_tf.geometry import Box
from portrait_tf.photos import read_photo
from portrait_tf.photos.label_maps import read_parsing, read_values

LAYOUT = """\
instance-level_human_parsing/      (or its content)
    Training/                      and Validation/
        Images/NAME.jpg
        Category_ids/NAME.png      labels 0 to 19
        Human_ids/NAME.png         0 is nobody, 1, 2, ... the people
        train_id.txt               (optional: one NAME a line; val_id.txt)"""

SMALLEST_PERSON = 64
"""A person whose box has no side of so many pixels is left out: it shows no detail."""

MARGIN = 0.15
"""Around a person, of the longer side of the box: what is next to it, but little."""

_FOLDERS = {"train": "Training", "val": "Validation"}


class _Person(NamedTuple):
    photo: str
    number: int
    box: Box = Box(0, 0, 0, 0)


def _find(directory: pathlib.Path, split: str) -> pathlib.Path | None:
    for root in (unwrap(directory / "instance-level_human_parsing"), directory):
        if (root / _FOLDERS[split]).is_dir():
            return unwrap(root / _FOLDERS[split])
    return None


class CihpDataset(DatasetReader):
    """The people of one split of CIHP on disk.

    A sample is called `PHOTO_PERSON`; the order is that of the id file, or by name,
    then by the person's number. The maps in `Human_ids` are all read up front, in
    threads, to find the people; a photo whose map cannot be read is one broken sample
    with the photo's name.

    Args:
        directory, split, skip_broken: As in `DatasetReader`.
        smallest: People whose box is smaller, in height and in width, are left out;
            `left_out` counts them.

    Raises:
        PortraitError: A folder is missing, or nobody is in any of the photos.
    """

    layout = "cihp"
    expected = LAYOUT

    def __init__(
        self,
        directory: str | pathlib.Path,
        split: Split = "train",
        skip_broken: bool = False,
        smallest: int = SMALLEST_PERSON,
    ) -> None:
        self._smallest = smallest
        super().__init__(directory, split, skip_broken)

    def _open(self) -> None:
        root = _find(self.directory, self.split)
        if root is None:
            raise NoSplitError(
                f"{self.directory}: no folder {_FOLDERS[self.split]}; "
                f"expected\n{LAYOUT}"
            )
        for name in ("Images", "Category_ids", "Human_ids"):
            if not (root / name).is_dir():
                raise PortraitError(f"{root}: no folder {name}; expected\n{LAYOUT}")
        self._root = root
        self._photos = list_files(root / "Images")
        self._maps = {
            name: list_files(root / name, (".png",))
            for name in ("Category_ids", "Human_ids")
        }
        names = root / f"{self.split}_id.txt"
        photos = read_names(names) if names.exists() else tuple(self._photos)
        self._people: dict[str, _Person] = {}
        for people in in_threads(self._find_people, photos):
            kept = {name: person for name, person in people.items() if person}
            self._people.update(kept)
            self.left_out += len(people) - len(kept)
        self.names = tuple(self._people)
        if not self.names:
            raise PortraitError(
                f"{root}: expected people of at least {self._smallest} pixels, "
                f"found none in {len(photos)} photos ({self.left_out} are smaller)"
            )
        self.left_out += count_unread(root / "Images")

    @classmethod
    def detects(cls, directory: pathlib.Path) -> bool:
        return any(_find(directory, split) for split in _FOLDERS)

    def _map(self, folder: str, photo: str) -> pathlib.Path:
        return self._maps[folder].get(photo, self._root / folder / f"{photo}.png")

    def _photo(self, photo: str) -> pathlib.Path:
        return self._photos.get(photo, self._root / "Images" / f"{photo}.jpg")

    def _find_people(self, photo: str) -> dict[str, _Person | None]:
        """The people of a photo by name; None for one that is too small."""
        try:
            owners = read_values(self._map("Human_ids", photo))
        except PortraitError:
            # Met again, with its message, when the sample is read.
            return {photo: _Person(photo, 0)}
        people = {}
        for number in np.unique(owners[owners > 0]):
            box = Box.about(owners == number)
            longest = max(box.height, box.width)
            margin = round(MARGIN * longest)
            person = _Person(
                photo, int(number), box.grown(margin, margin, owners.shape)
            )
            large = longest >= self._smallest
            people[f"{photo}_{number}"] = person if large else None
        return people

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        person = self._people[name]
        photo = read_photo(self._photo(person.photo), oriented=False)
        owners = self._read(read_values, "Human_ids", person.photo, photo)
        parsing = self._read(read_parsing, "Category_ids", person.photo, photo)
        parsing = np.where(owners == person.number, parsing, 0).astype(np.uint8)
        photo, parsing = (person.box.of(one).copy() for one in (photo, parsing))
        return Sample(name, photo, parsing)

    def _read(
        self, read: Callable, folder: str, name: str, photo: np.ndarray
    ) -> np.ndarray:
        path = self._map(folder, name)
        values = read(path)
        check_size(path, values, photo)
        return values

    def source_files(self, index: int) -> tuple[pathlib.Path, ...]:
        photo = self._people[self.names[index]].photo
        return (
            self._photo(photo),
            self._map("Human_ids", photo),
            self._map("Category_ids", photo),
        )
