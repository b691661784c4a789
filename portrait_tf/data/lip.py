"""Reads the *Look into Person* data set (LIP, arXiv 1703.05446) and what looks like it.

`LAYOUT` shows the expected files. The pose files have no header; a row is
`name.jpg,x1,y1,v1,...,x16,y16,v16` with x the column, `nan` where a joint is not
annotated, and v 1 for a hidden joint. Annotations are in pixels of the photo as it is
stored, so an EXIF orientation is not applied.
"""

import copy
import os
import pathlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np

from portrait_tf.data.sample import Sample
from portrait_tf.errors import PortraitError
from portrait_tf.labels import LABELS, NUM_JOINTS, NUM_LABELS, VOID_LABEL
from portrait_tf.photos import decode_image, read_image_bytes, read_photo

Split = Literal["train", "val"]
SPLITS = ("train", "val")

LAYOUT = """\
TrainVal_images/
    train_images/NAME.jpg          (or .jpeg, .png), and val_images/
    train_id.txt, val_id.txt       (optional: one NAME a line)
TrainVal_parsing_annotations/      (optional)
    train_segmentations/NAME.png   labels 0 to 19, and val_segmentations/
TrainVal_pose_annotations/         (optional)
    lip_train_set.csv, lip_val_set.csv"""

_PHOTO_EXTENSIONS = (".jpg", ".jpeg", ".png")
_CSV_COLUMNS = 1 + 3 * NUM_JOINTS

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Scan:
    """What reading every sample has shown.

    Attributes:
        ok: Names of the samples that can be read.
        broken: Of each other sample, its name and what is wrong with it.
    """

    ok: tuple[str, ...]
    broken: dict[str, str]


@dataclass
class _Summary:
    name: str
    error: str | None = None
    size: tuple[int, int] = (0, 0)
    pixels: np.ndarray | None = None
    has_joints: bool = False


@dataclass
class _PoseRow:
    file: pathlib.Path
    line: int
    values: list[str] = field(default_factory=list)


def _stem(name: str) -> str:
    """The name without folder and without a photo's extension; other dots stay."""
    name = name.strip().replace("\\", "/").rsplit("/", 1)[-1]
    root, extension = os.path.splitext(name)
    return root if extension.lower() in _PHOTO_EXTENSIONS else name


def _unwrap(folder: pathlib.Path) -> pathlib.Path:
    """Enters a folder of the same name: archives often unpack to a doubled one."""
    while (folder / folder.name).is_dir():
        folder = folder / folder.name
    return folder


def _find(root: pathlib.Path, parent: str, name: str) -> pathlib.Path | None:
    for base in (_unwrap(root / parent), root):
        if (base / name).exists():
            return base / name
    return None


def _files(folder: pathlib.Path, extensions: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for extension in reversed(extensions):
        for entry in sorted(os.listdir(folder)):
            root, ending = os.path.splitext(entry)
            if ending.lower() == extension and not entry.startswith("."):
                found[root] = entry
    return found


def _png_palette(data: bytes) -> np.ndarray | None:
    """The colours `[N, 3]` (RGB) of a PNG whose pixels are indices, else None."""
    if not data.startswith(b"\x89PNG") or data[25:26] != b"\x03":
        return None
    position = 8
    while position + 8 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] == b"PLTE":
            colours = np.frombuffer(data, np.uint8, length, position + 8)
            return colours.reshape(-1, 3)
        position += 12 + length
    return None


def _indices(path: pathlib.Path, data: bytes, palette: np.ndarray) -> np.ndarray:
    """Recovers the labels of a coloured PNG, which OpenCV gives as colours only."""
    picture = decode_image(data, cv2.IMREAD_COLOR)
    if picture is None:
        raise PortraitError(f"{path}: expected a PNG label map, cannot decode it")
    weights = np.array([1 << 16, 1 << 8, 1])
    codes = palette @ weights
    if len(np.unique(codes[:NUM_LABELS])) < len(codes[:NUM_LABELS]):
        raise PortraitError(
            f"{path}: expected a colour of its own for each label, received a palette "
            "that repeats one"
        )
    # Unused entries at the end are often black, like the background: the first counts.
    codes, first = np.unique(codes, return_index=True)
    return first[np.searchsorted(codes, picture @ weights[::-1])]


def read_parsing(path: str | pathlib.Path) -> np.ndarray:
    """Reads a label map: grey values, palette indices, or three equal channels.

    Args:
        path: A PNG file.

    Returns:
        `uint8` `[H, W]`: LIP's labels 0 to 19, or 255 for void.

    Raises:
        PortraitError: The file is missing, cut off or no picture, its channels
            differ, or it has a value of 20 to 254.
    """
    path = pathlib.Path(path)
    data = read_image_bytes(path, "label map")
    palette = _png_palette(data)
    if palette is not None:
        parsing = _indices(path, data, palette)
    else:
        parsing = decode_image(data, cv2.IMREAD_UNCHANGED)
        if parsing is None:
            raise PortraitError(f"{path}: expected a PNG label map, cannot decode it")
        if parsing.ndim == 3:
            colours = parsing[..., :3]
            if (colours != colours[..., :1]).any():
                raise PortraitError(
                    f"{path}: expected labels in one channel or in three equal ones, "
                    "received three that differ"
                )
            parsing = parsing[..., 0]
    wrong = parsing[(parsing >= NUM_LABELS) & (parsing != VOID_LABEL)]
    if wrong.size:
        raise PortraitError(
            f"{path}: expected labels 0 to {NUM_LABELS - 1}, or {VOID_LABEL} for void, "
            f"received {wrong.max()}"
        )
    return np.ascontiguousarray(parsing, dtype=np.uint8)


def _parse_pose(row: _PoseRow) -> np.ndarray:
    place = f"{row.file}, line {row.line}"
    if len(row.values) != _CSV_COLUMNS:
        raise PortraitError(
            f"{place}: expected {_CSV_COLUMNS} columns (a name and x, y, v of "
            f"{NUM_JOINTS} joints), received {len(row.values)}"
        )
    joints = np.empty(3 * NUM_JOINTS, np.float32)
    for column, text in enumerate(row.values[1:]):
        try:
            joints[column] = float(text)
        except ValueError:
            raise PortraitError(
                f"{place}: expected a number or nan in column {column + 2}, received "
                f"'{text.strip()}'"
            ) from None
    if np.isinf(joints).any():
        raise PortraitError(f"{place}: expected finite numbers or nan, received inf")
    joints = joints.reshape(NUM_JOINTS, 3)
    joints[np.isnan(joints).any(axis=1)] = np.nan
    return joints


class LipDataset:
    """One split of LIP on disk.

    Nothing but names and the pose file's lines is read up front, so a broken file is
    met when its sample is read, or by `scan`. Folders that an archive has doubled
    (`TrainVal_images/TrainVal_images`) are found, and so are `train_images` and its
    like directly inside the directory.

    Args:
        directory: The folder that holds what `LAYOUT` shows.
        split: `train` or `val`.
        skip_broken: Whether the streams of `portrait_tf.data.dataset` are to leave
            broken samples out (they read everything once, first). This object itself
            still counts them; `usable()` does not.

    Attributes:
        names: The samples' names in order: that of the id file, or by name.
        broken: Names and messages of the samples that `usable` has left out.

    Raises:
        PortraitError: The directory has no photos of the split, or a file of names or
            poses cannot be read.

    Example:

    ```python
    dataset = LipDataset("LIP", "val")
    sample = dataset[0]
    print(sample.name, sample.photo.shape)
    ```
    """

    def __init__(
        self,
        directory: str | pathlib.Path,
        split: Split = "train",
        skip_broken: bool = False,
    ) -> None:
        if split not in SPLITS:
            raise PortraitError(f"expected the split train or val, received '{split}'")
        self.directory = pathlib.Path(directory)
        self.split = split
        self.skip_broken = skip_broken
        self.broken: dict[str, str] = {}
        self._summaries: list[_Summary] | None = None

        images = _find(self.directory, "TrainVal_images", f"{split}_images")
        if images is None or not images.is_dir():
            raise PortraitError(
                f"{self.directory}: no folder {split}_images; expected\n{LAYOUT}"
            )
        self._images = _unwrap(images)
        self._photos = _files(self._images, _PHOTO_EXTENSIONS)
        segmentations = _find(
            self.directory, "TrainVal_parsing_annotations", f"{split}_segmentations"
        )
        self._segmentations = segmentations and _unwrap(segmentations)
        self._maps = (
            _files(self._segmentations, (".png",)) if self._segmentations else {}
        )
        self._poses = self._read_poses(
            _find(self.directory, "TrainVal_pose_annotations", f"lip_{split}_set.csv")
        )
        self.names = self._read_names(
            _find(self.directory, "TrainVal_images", f"{split}_id.txt")
        )
        if not self.names:
            raise PortraitError(
                f"{self._images}: expected photos ({', '.join(_PHOTO_EXTENSIONS)}), "
                "found none"
            )

    @staticmethod
    def _read_lines(path: pathlib.Path) -> list[str]:
        try:
            return path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            raise PortraitError(f"{path}: cannot read the file: {reason}") from None

    def _read_names(self, path: pathlib.Path | None) -> tuple[str, ...]:
        if path is None:
            return tuple(sorted(self._photos))
        return tuple(_stem(line) for line in self._read_lines(path) if line.strip())

    def _read_poses(self, path: pathlib.Path | None) -> dict[str, _PoseRow]:
        if path is None:
            return {}
        rows = {}
        for number, line in enumerate(self._read_lines(path), 1):
            if not line.strip():
                continue
            values = line.split(",")
            # Such a row would match no photo: all poses would be missing, unsaid.
            if len(values) == 1:
                raise PortraitError(
                    f"{path}, line {number}: expected {_CSV_COLUMNS} columns with "
                    "commas between them, received 1"
                )
            rows[_stem(values[0])] = _PoseRow(path, number, values)
        return rows

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """Reads one sample.

        Raises:
            PortraitError: One of its files is missing or broken; the message names it.
            IndexError: There is no sample of this index.
        """
        name = self.names[index]
        if name not in self._photos:
            raise PortraitError(
                f"{self._images / name}: no photo of this name "
                f"({', '.join(_PHOTO_EXTENSIONS)}), though {self.split}_id.txt has it"
            )
        photo = read_photo(self._images / self._photos[name], oriented=False)
        parsing = joints = None
        if name in self._maps:
            path = self._segmentations / self._maps[name]
            parsing = read_parsing(path)
            if parsing.shape != photo.shape[:2]:
                raise PortraitError(
                    f"{path}: expected the photo's size of "
                    f"{photo.shape[0]}x{photo.shape[1]} (height x width), received "
                    f"{parsing.shape[0]}x{parsing.shape[1]}"
                )
        if name in self._poses:
            joints = _parse_pose(self._poses[name])
        return Sample(name, photo, parsing, joints)

    def _summarise(self, index: int) -> _Summary:
        try:
            sample = self[index]
        except PortraitError as error:
            return _Summary(self.names[index], str(error))
        pixels = None
        if sample.parsing is not None:
            pixels = np.bincount(sample.parsing.ravel(), minlength=VOID_LABEL + 1)
        return _Summary(
            sample.name, None, sample.photo.shape[:2], pixels, sample.joints is not None
        )

    def _summarise_all(self, progress: Progress | None = None) -> list[_Summary]:
        if self._summaries is None:
            summaries = []
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                for summary in pool.map(self._summarise, range(len(self))):
                    summaries.append(summary)
                    if progress:
                        progress(len(summaries), len(self))
            self._summaries = summaries
        return self._summaries

    def scan(self, progress: Progress | None = None) -> Scan:
        """Reads every sample once and says which ones are broken.

        Args:
            progress: Called after each sample with how many are done and the total.
        """
        summaries = self._summarise_all(progress)
        return Scan(
            tuple(one.name for one in summaries if one.error is None),
            {one.name: one.error for one in summaries if one.error is not None},
        )

    def usable(self, progress: Progress | None = None) -> "LipDataset":
        """The same split without its broken samples, which it names in `broken`.

        Args:
            progress: As in `scan`.
        """
        scan = self.scan(progress)
        usable = copy.copy(self)
        usable.names, usable.broken = scan.ok, scan.broken
        usable.skip_broken = False
        usable._summaries = None
        return usable


def _range(values: list[int]) -> dict[str, float]:
    return {
        "min": int(min(values)),
        "median": float(np.median(values)),
        "max": int(max(values)),
    }


def describe(
    directory: str | pathlib.Path, progress: Progress | None = None
) -> dict[str, dict]:
    """Reads a whole data set and says what is in it.

    Args:
        directory: The folder that holds what `LAYOUT` shows, with one split or both.
        progress: As in `LipDataset.scan`, for each split.

    Returns:
        For each split: `photos` (readable ones), `height` and `width` (`min`,
        `median`, `max` in pixels), `labels` (of each label's name: `pixels`, the
        per cent of the annotated ones, and `photos`, how many show it),
        `void_pixels` (per cent of all in the label maps), `missing_poses`,
        `missing_parsing`, and `broken` (name and message). Plain values, fit for JSON.

    Raises:
        PortraitError: The directory has neither split.
    """
    root = pathlib.Path(directory)
    splits = [
        split
        for split in SPLITS
        if _find(root, "TrainVal_images", f"{split}_images") is not None
    ]
    if not splits:
        raise PortraitError(
            f"{root}: neither train_images nor val_images; expected\n{LAYOUT}"
        )
    description = {}
    for split in splits:
        dataset = LipDataset(root, split)
        summaries = dataset._summarise_all(progress)
        good = [one for one in summaries if one.error is None]
        maps = np.array(
            [one.pixels for one in good if one.pixels is not None], np.int64
        ).reshape(-1, VOID_LABEL + 1)
        pixels = maps.sum(axis=0)
        annotated = max(1, int(pixels[:NUM_LABELS].sum()))
        description[split] = {
            "photos": len(good),
            "height": _range([one.size[0] for one in good]) if good else None,
            "width": _range([one.size[1] for one in good]) if good else None,
            "labels": {
                label: {
                    "pixels": 100 * int(pixels[index]) / annotated,
                    "photos": int(np.count_nonzero(maps[:, index])),
                }
                for index, label in enumerate(LABELS)
            },
            "void_pixels": 100 * int(pixels[VOID_LABEL]) / max(1, int(pixels.sum())),
            "missing_poses": sum(not one.has_joints for one in good),
            "missing_parsing": sum(one.pixels is None for one in good),
            "broken": dataset.scan().broken,
        }
    return description
