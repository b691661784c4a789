"""Base classes of the data set readers.

A reader is one split of a data set on disk. Where possible it reads only names up
front: a broken file raises when its sample is read, or is listed by `summaries`.
Readers are safe to use from several threads.
"""

import abc
import copy
import hashlib
import os
import pathlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar, Literal, NoReturn, Self, TypeVar

import numpy as np

from portrait_tf.data.files import PHOTO_EXTENSIONS, count_unread, read_names
from portrait_tf.data.poses import PoseRow
from portrait_tf.data.sample import Sample
from portrait_tf.errors import PortraitError, SizeError
from portrait_tf.labels import VOID_LABEL
from portrait_tf.photos import read_photo
from portrait_tf.photos.label_maps import LIP_TABLE, LabelTable, read_parsing

Split = Literal["train", "val"]
SPLITS = ("train", "val")

Progress = Callable[[int, int], None]

Item = TypeVar("Item")
Result = TypeVar("Result")


class NoSplitError(PortraitError):
    """The data set does not have this split, or nothing is in it."""


@dataclass(frozen=True)
class Summary:
    """Facts about a sample that was read.

    Attributes:
        name: The sample's.
        error: What is wrong with it; the rest is then not known.
        pixels: `int64` `[256]`: how many pixels have each label; None: no label map.
        has_joints: Whether there is a pose.
    """

    name: str
    error: str | None = None
    size: tuple[int, int] = (0, 0)
    pixels: np.ndarray | None = None
    has_joints: bool = False


def in_threads(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    tick: Callable[[], None] = lambda: None,
) -> list[Result]:
    """Results in the items' order; `tick` is called after each."""
    results = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for result in pool.map(work, items):
            results.append(result)
            tick()
    return results


def ticker(progress: Progress | None, total: int) -> Callable[[int], None]:
    """A function that adds to the number done, and calls `progress` with it."""
    done = 0

    def tick(count: int = 1) -> None:
        nonlocal done
        done += count
        if progress:
            progress(done, total)

    return tick


class DatasetReader(abc.ABC):
    """Base of the readers.

    Args:
        directory: The folder that holds what `expected` shows.
        split: `train` or `val`.
        skip_broken: Whether the streams of `portrait_tf.data.dataset` leave broken
            samples out, after reading everything once. This object still counts them;
            `usable()` does not.

    Attributes:
        layout: The layout's short name.
        expected: The layout, drawn.
        names: The samples' names in order.
        broken: Names and messages of the samples that `usable` has left out.
        left_out: Number of samples that the reader leaves out by its own rule, and of
            pictures in formats that it does not read.

    Raises:
        NoSplitError: The directory has no such split.
        PortraitError: There are no photos, or a list of the split cannot be read.
    """

    layout: ClassVar[str]
    expected: ClassVar[str]

    def __init__(
        self,
        directory: str | pathlib.Path,
        split: Split = "train",
        skip_broken: bool = False,
    ) -> None:
        if split not in SPLITS:
            raise PortraitError(
                expected="the split train or val", received=f"'{split}'"
            )
        self.directory = pathlib.Path(directory)
        self.split = split
        self.skip_broken = skip_broken
        self.names: tuple[str, ...] = ()
        self.broken: dict[str, str] = {}
        self.left_out = 0
        self._summaries: list[Summary] | None = None
        self._open()

    @abc.abstractmethod
    def _open(self) -> None:
        """Finds the split's files, and sets `names`; the directory and so on are set.

        Raises:
            PortraitError: As the class.
        """

    @classmethod
    @abc.abstractmethod
    def detects(cls, directory: pathlib.Path) -> bool:
        """Whether a directory looks like this layout."""

    def __len__(self) -> int:
        return len(self.names)

    @abc.abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """Reads one sample.

        Raises:
            PortraitError: One of its files is missing or broken; the message names it.
            IndexError: There is no sample of this index.
        """

    def photo_file(self, index: int) -> pathlib.Path | None:
        """The file that holds just the sample's photo, if there is one."""
        return None

    def source_files(self, index: int) -> tuple[pathlib.Path, ...]:
        """All files that the sample is made of; a missing one may be among them."""
        return ()

    def _summarize(self, index: int) -> Summary:
        try:
            sample = self[index]
        except PortraitError as error:
            return Summary(self.names[index], str(error))
        pixels = None
        if sample.parsing is not None:
            pixels = np.bincount(sample.parsing.ravel(), minlength=VOID_LABEL + 1)
        return Summary(
            sample.name, None, sample.photo.shape[:2], pixels, sample.joints is not None
        )

    def summaries(self, progress: Progress | None = None) -> list[Summary]:
        """Reads every sample, the first time it is called.

        Args:
            progress: Called after each sample with how many are done and the total.
        """
        if self._summaries is None:
            tick = ticker(progress, len(self))
            self._summaries = in_threads(self._summarize, range(len(self)), tick)
        return self._summaries

    def usable(self) -> Self:
        """The same split without its broken samples, which it names in `broken`."""
        usable, summaries = copy.copy(self), self.summaries()
        usable.names = tuple(one.name for one in summaries if one.error is None)
        usable.broken = {one.name: one.error for one in summaries if one.error}
        usable.skip_broken = False
        usable._summaries = None
        return usable


class PhotoFolder(DatasetReader):
    """Base of the readers of photos and label maps of equal names.

    A subclass fills in what is where. Annotations are in pixels of the photo as it is
    stored, so an EXIF orientation is not applied.
    """

    def _open(self) -> None:
        self._images = self.directory
        self._photos: dict[str, pathlib.Path] = {}
        self._maps: dict[str, pathlib.Path] = {}
        self._table: LabelTable = LIP_TABLE
        self._poses: dict[str, PoseRow] = {}
        self._list: pathlib.Path | None = None
        self._settings: tuple[pathlib.Path, ...] = ()
        self._find_files()
        if self._poses and self._photos.keys().isdisjoint(self._poses):
            row = next(iter(self._poses.values()))
            raise PortraitError(
                path=row.file,
                expected=f"names of photos in {self._images}",
                received=f"none of them, but {row.values[0]!r}",
            )
        self.left_out = count_unread(self._images)

    @abc.abstractmethod
    def _find_files(self) -> None:
        """Sets what differs from the defaults of `_open`, and `names`."""

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        if name not in self._photos:
            raise PortraitError(
                f"{self._images / name}: no photo of this name "
                f"({', '.join(PHOTO_EXTENSIONS)}), though {self._list.name} has it"
            )
        photo = read_photo(self._photos[name], oriented=False)
        parsing = joints = None
        if name in self._maps:
            path = self._maps[name]
            parsing = read_parsing(path, self._table)
            check_size(path, parsing, photo)
        if name in self._poses:
            joints = self._poses[name].joints()
        return Sample(name, photo, parsing, joints)

    def photo_file(self, index: int) -> pathlib.Path | None:
        return self._photos.get(self.names[index])

    def source_files(self, index: int) -> tuple[pathlib.Path, ...]:
        name = self.names[index]
        files = [self._photos.get(name, self._images / name)]
        if name in self._maps:
            files.append(self._maps[name])
        if name in self._poses:
            files.append(self._poses[name].file)
        return (*files, *self._settings)

    def _refuse_without_photos(self) -> NoReturn:
        raise NoSplitError(
            f"{self._images}: expected photos ({', '.join(PHOTO_EXTENSIONS)}), "
            "found none"
        )

    def _take_names(self, lists: dict[str, pathlib.Path | None]) -> None:
        """Takes the split's names from its list, or else from the photos there are.

        Where only the other split has a list, this one is all other photos. Without
        lists, `hash_split` decides.
        """
        if not self._photos:
            self._refuse_without_photos()
        path = lists[self.split]
        if path is not None:
            self._list = path
            self.names = read_names(path)
            if not self.names:
                raise PortraitError(f"{path}: expected a name a line, found none")
            return
        (other,) = (lists[split] for split in SPLITS if split != self.split)
        if other is not None:
            taken = set(read_names(other))
            self.names = tuple(n for n in sorted(self._photos) if n not in taken)
            how = f"{other.name} has every photo"
        else:
            self.names = tuple(
                name for name in sorted(self._photos) if hash_split(name) == self.split
            )
            how = f"none of the {len(self._photos)} photos falls into it"
        if not self.names:
            raise NoSplitError(
                f"{self._images}: the split {self.split} is empty, as {how}; expected "
                "lists of names for the splits, or more photos"
            )


def check_size(path: pathlib.Path, values: np.ndarray, photo: np.ndarray) -> None:
    """Raises SizeError: a map `[H, W]` has not the photo's size."""
    if values.shape != photo.shape[:2]:
        raise SizeError(
            path=path,
            expected=(
                f"the photo's size of {photo.shape[0]}x{photo.shape[1]} (height "
                "x width)"
            ),
            received=f"{values.shape[0]}x{values.shape[1]}",
        )


def hash_split(name: str) -> Split:
    """The split of a photo of a data set that has none: one in ten is for validation.

    It follows from the name alone, so it stays when photos are added or removed.
    """
    digest = hashlib.sha256(name.encode()).digest()
    return "val" if int.from_bytes(digest[:8], "big") % 10 == 0 else "train"
