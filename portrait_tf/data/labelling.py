"""Label maps and joints that stage 1 predicts, written as a data set in LIP's layout.

For photos without labels: stage 2 then has maps to hide body parts by, and
stage 1 can be trained on what an earlier stage 1 is sure of (self-training).

The folder is made under another name, `OUT.unfinished`, and renamed when it is whole.
Its pose files say what is done: a photo's row is written after its map.
"""

import hashlib
import itertools
import os
import pathlib
import shutil
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

import keras
import numpy as np
import pydantic

from portrait_tf.data.augment import prepare
from portrait_tf.data.lip import LipFolders
from portrait_tf.data.poses import pose_row, read_poses
from portrait_tf.data.reader import DatasetReader, Progress, in_threads, ticker
from portrait_tf.data.sample import Sample
from portrait_tf.errors import PortraitError
from portrait_tf.files import cannot_write, temporary_beside, write_result
from portrait_tf.geometry import (
    Placement,
    fit_placement,
    inside,
    joints_of_parts,
    scale_joints,
    strongest_labels,
)
from portrait_tf.labels import NUM_JOINTS, NUM_LABELS, VOID_LABEL
from portrait_tf.photos import encode_png

SETTINGS = "labelled.json"
"""In the data set's folder: where its maps come from."""

_BATCH = 8
_AT_ONCE = 32 * _BATCH  # Photos between two writes of the pose file.


class Settings(pydantic.BaseModel):
    """Settings that the maps depend on; a folder is only continued with equal ones.

    Attributes:
        data: The folder of the photos.
        network: Digest of stage 1's weights.
        size: Its working height and width.
        confidence: Pixels whose label has a lower probability are void.
        joint_confidence: Joints whose heatmap has a lower peak are left out.
        replace: Whether existing maps and joints are replaced.
    """

    data: str
    network: str
    size: tuple[int, int]
    confidence: float
    joint_confidence: float
    replace: bool


class Counts(NamedTuple):
    """Numbers of this run, without the work of earlier runs."""

    photos: int
    predicted_maps: int
    predicted_poses: int
    kept: int
    void: float
    """Part of the predicted maps' pixels that are void."""


def network_digest(network: keras.Model) -> str:
    """SHA-256 of a network's weights."""
    digest = hashlib.sha256()
    for array in network.get_weights():
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


class Structure(Protocol):
    """Stage 1 as `portrait_tf.inference.averaging.AveragedParsing` asks it."""

    network: keras.Model
    size: tuple[int, int]

    def predict(
        self, image: np.ndarray, mask: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Probabilities and peaks of a batch."""


def enlarge_map(
    probabilities: np.ndarray,
    placement: Placement,
    size: tuple[int, int],
    confidence: float,
) -> np.ndarray:
    """Labels of the photo's size: probabilities enlarged bilinearly, then the highest.

    Args:
        probabilities: `float32` `[h, w, 20]`, of the working frame.
        placement: Where the photo lies in the frame.
        size: Height and width of the photo.
        confidence: Where the highest is lower, the label is void.

    Returns:
        `uint8` `[H, W]`.
    """
    shown = placement.box.of(probabilities)
    maps = ((label, shown[..., label].copy()) for label in range(NUM_LABELS))
    labels, highest = strongest_labels(maps, size)
    labels[highest < confidence] = VOID_LABEL
    return labels


def photo_joints(
    peaks: np.ndarray,
    placement: Placement,
    photo_size: tuple[int, int],
    size: tuple[int, int],
    confidence: float,
) -> np.ndarray:
    """Joints in the photo's pixels, as `Sample` has them.

    Args:
        peaks: `[16, 3]`, as `Structure.predict` gives them.
        placement: Where the photo lies in the frame.
        photo_size: Height and width of the photo.
        size: Height and width of the frame.
        confidence: A joint of a lower peak is NaN, and so is one outside the photo.
    """
    points = joints_of_parts(peaks, size)[:, :2] - (placement.left, placement.top)
    points = scale_joints(points, placement[:2], photo_size)
    known = inside(points, photo_size) & (peaks[:, 2] >= confidence)
    joints = np.full((NUM_JOINTS, 3), np.nan, np.float32)
    joints[known, :2] = points[known].round(2)
    joints[known, 2] = 0
    return joints


def _place_photo(
    source: pathlib.Path | None, target: pathlib.Path, sample: Sample
) -> None:
    """A hard link to the photo's file, a copy on another disk, or a PNG."""
    if source is None:
        write_result(target, encode_png(sample.photo))
        return
    temporary = temporary_beside(target)
    try:
        try:
            os.link(source.resolve(), temporary)
        except OSError:
            shutil.copyfile(source, temporary)
        os.replace(temporary, target)
    finally:
        # A rename onto the same file leaves both names.
        temporary.unlink(missing_ok=True)


class _Split:
    """One split of the new data set."""

    def __init__(
        self,
        reader: DatasetReader,
        folder: pathlib.Path,
        structure: Structure,
        settings: Settings,
    ) -> None:
        self.reader, self.settings = reader, settings
        self.predict = structure.predict
        self.size = tuple(structure.size)
        self.folders = LipFolders(folder, reader.split)
        self.rows: dict[str, str] = {}
        if self.folders.poses.is_file():
            self.rows = {
                name: ",".join(row.values)
                for name, row in read_poses(self.folders.poses).items()
            }
        self.kept = len(self.rows)
        self.predicted_maps = self.predicted_poses = self.pixels = self.void = 0

    def _label(self, indices: range) -> None:
        """Predicts and writes a batch."""
        names = self.reader.names
        todo = [index for index in indices if names[index] not in self.rows]
        samples = in_threads(self.reader.__getitem__, todo)
        each = zip(todo, samples, self._predict(samples), strict=True)
        done = in_threads(lambda one: self._finish(*one), each)
        for index, (row, void, pixels, posed) in zip(todo, done, strict=True):
            self.rows[names[index]] = row
            self.void += void
            self.pixels += pixels
            self.predicted_maps += pixels > 0
            self.predicted_poses += posed

    def _predict(self, samples: list[Sample]) -> list[tuple]:
        """Probabilities and peaks; None where they are not needed, or not to be had."""
        wanted = [
            self.settings.replace or sample.parsing is None or sample.joints is None
            for sample in samples
        ]
        asked = list(itertools.compress(samples, wanted))
        answers = iter(())
        if asked:
            inputs = zip(*map(self._network_inputs, asked), strict=True)
            probabilities, peaks = self.predict(*map(np.stack, inputs))
            peaks = [None] * len(asked) if peaks is None else peaks
            answers = zip(probabilities, peaks, strict=True)
        return [next(answers) if one else (None, None) for one in wanted]

    def _network_inputs(self, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        """The whole photo; what is left of the frame is hole, as in the pipeline."""
        fit = fit_placement(sample.photo.shape[:2], self.size)
        image = prepare(sample, self.size)["image"].astype(np.float32) / 127.5 - 1
        mask = np.ones((*self.size, 1), np.float32)
        fit.box.of(mask)[:] = 0
        return image * (1 - mask), mask

    def _finish(
        self,
        index: int,
        sample: Sample,
        answer: tuple[np.ndarray | None, np.ndarray | None],
    ) -> tuple[str, int, int, bool]:
        """Writes map and photo; gives the pose's row and what was counted."""
        probabilities, peaks = answer
        replace, size = self.settings.replace, sample.photo.shape[:2]
        fit = fit_placement(size, self.size)
        parsing, joints, void, pixels = sample.parsing, sample.joints, 0, 0
        if replace or parsing is None:
            parsing = enlarge_map(probabilities, fit, size, self.settings.confidence)
            void, pixels = np.count_nonzero(parsing == VOID_LABEL), parsing.size
        posed = peaks is not None and (replace or joints is None)
        if posed:
            confidence = self.settings.joint_confidence
            joints = photo_joints(peaks, fit, size, self.size, confidence)
        write_result(self.folders.maps / f"{sample.name}.png", encode_png(parsing))
        source = self.reader.photo_file(index)
        suffix = ".png" if source is None else source.suffix
        _place_photo(source, self.folders.photos / f"{sample.name}{suffix}", sample)
        return pose_row(f"{sample.name}.jpg", joints), void, pixels, posed

    def write(self, tick: Callable[[int], None]) -> None:
        """Labels what is not labelled yet; `tick` gets how many photos are done."""
        names = self.reader.names
        for first in range(0, len(names), _AT_ONCE):
            part = range(first, min(first + _AT_ONCE, len(names)))
            before = len(self.rows)
            try:
                for start in range(part.start, part.stop, _BATCH):
                    batch = range(start, min(start + _BATCH, part.stop))
                    self._label(batch)
                    tick(len(batch))
            finally:
                # Also of what came before a broken photo, or Ctrl-C.
                if len(self.rows) > before:
                    rows = (self.rows[name] for name in names if name in self.rows)
                    write_result(self.folders.poses, _lines(rows))
        write_result(self.folders.names, _lines(names))


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _check_folder(
    out: pathlib.Path, unfinished: pathlib.Path, settings: Settings
) -> None:
    """Raises PortraitError: one of the folders holds something else."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PortraitError(
            f"{out}: expected a new or an empty folder for the labelled data set, "
            f"found {'files in it' if out.is_dir() else 'a file'}"
        )
    try:
        found = Settings.model_validate_json((unfinished / SETTINGS).read_bytes())
    except (OSError, ValueError):
        if unfinished.is_file() or (unfinished.exists() and any(unfinished.iterdir())):
            raise PortraitError(
                f"{unfinished}: expected what an earlier run has left, found something "
                "else; remove it, or name another folder"
            ) from None
        return
    different = ", ".join(
        f"{key} {getattr(found, key)} (now {value})"
        for key, value in settings
        if getattr(found, key) != value
    )
    if different:
        raise PortraitError(
            f"{unfinished}: was begun with {different}; remove it, or name another "
            "folder"
        )


def _check_names(reader: DatasetReader) -> None:
    """Raises PortraitError: LIP's pose files cannot hold a name."""
    if commas := [name for name in reader.names if "," in name]:
        raise PortraitError(
            f"{reader.directory}: expected names without commas, as LIP's pose files "
            f"are separated by them, found '{commas[0]}'"
        )


def label_dataset(
    readers: dict[str, DatasetReader],
    structure: Structure,
    out: str | pathlib.Path,
    confidence: float = 0.5,
    joint_confidence: float = 0.3,
    replace: bool = False,
    progress: Progress | None = None,
) -> Counts:
    """Writes a data set with predicted maps, or continues a stopped run.

    Stage 1 sees the whole photo, fitted into its working size, and the mirrored one;
    the mean of both answers is enlarged to the photo's size (`enlarge_map`). Photos are
    hard links where they can be, else copies; those that have no file of their own
    (people of CIHP, shards) are written as PNG.

    Args:
        readers: The splits, as `open_splits` gives them.
        structure: Stage 1.
        out: A new or empty folder.
        confidence: Pixels whose label has a lower probability are void.
        joint_confidence: Joints whose heatmap has a lower peak are left out.
        replace: Whether existing maps and joints are replaced; else they are kept.
        progress: Called with how many photos are done and the total.

    Returns:
        What was done.

    Raises:
        PortraitError: A broken photo; `out` holds something; what an earlier run has
            left was begun with other settings; a folder cannot be written to.
    """
    out = pathlib.Path(out).absolute()
    unfinished = out.with_name(f"{out.name}.unfinished")
    settings = Settings(
        data=str(next(iter(readers.values())).directory.resolve()),
        network=network_digest(structure.network),
        size=tuple(structure.size),
        confidence=confidence,
        joint_confidence=joint_confidence,
        replace=replace,
    )
    _check_folder(out, unfinished, settings)
    for reader in readers.values():
        _check_names(reader)
    tick = ticker(progress, sum(map(len, readers.values())))
    try:
        write_result(unfinished / SETTINGS, settings.model_dump_json().encode())
        splits = [
            _Split(reader, unfinished, structure, settings)
            for reader in readers.values()
        ]
        for split in splits:
            split.write(tick)
        unfinished.rename(out)
    except OSError as error:
        raise cannot_write(unfinished, error) from None

    def total(key: str) -> int:
        return sum(getattr(split, key) for split in splits)

    return Counts(
        sum(len(split.rows) for split in splits),
        total("predicted_maps"),
        total("predicted_poses"),
        total("kept"),
        total("void") / max(total("pixels"), 1),
    )
