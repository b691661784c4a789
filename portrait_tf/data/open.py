"""Opens a data set, whichever layout it has."""

import pathlib

from portrait_tf.data.atr import AtrDataset
from portrait_tf.data.cihp import CihpDataset
from portrait_tf.data.folder import FolderDataset
from portrait_tf.data.lip import LipDataset
from portrait_tf.data.reader import SPLITS, DatasetReader, NoSplitError, Split
from portrait_tf.data.shards import ShardDataset, unfinished
from portrait_tf.errors import PortraitError

# Layouts with a file of their own come first; the others are told by their folders.
READERS: dict[str, type[DatasetReader]] = {
    reader.layout: reader
    for reader in (ShardDataset, FolderDataset, LipDataset, AtrDataset, CihpDataset)
}


def _found(directory: pathlib.Path) -> str:
    entries = sorted(
        entry.name + "/" * entry.is_dir()
        for entry in directory.iterdir()
        if not entry.name.startswith(".")
    )
    more = f" and {len(entries) - 8} more" if len(entries) > 8 else ""
    return ", ".join(entries[:8]) + more if entries else "nothing"


def _detect(directory: pathlib.Path) -> type[DatasetReader]:
    if not directory.is_dir():
        what = "a file" if directory.exists() else "nothing"
        raise PortraitError(f"{directory}: expected a data set's folder, found {what}")
    for reader in READERS.values():
        if reader.detects(directory):
            return reader
    if unfinished(directory):
        raise PortraitError(
            f"{directory}: expected finished shards, found some without shards.json; "
            "run the same `portrait-tf data shards` again to finish them"
        )
    layouts = "\n\n".join(
        f"{name}:\n{reader.expected}" for name, reader in reversed(READERS.items())
    )
    raise PortraitError(
        f"{directory}: found {_found(directory)}; expected one of these layouts\n\n"
        f"{layouts}"
    )


def _reader(directory: str | pathlib.Path, layout: str | None) -> type[DatasetReader]:
    if layout is None:
        return _detect(pathlib.Path(directory))
    if layout not in READERS:
        raise PortraitError(
            expected=f"a layout of {', '.join(READERS)}", received=f"'{layout}'"
        )
    return READERS[layout]


def open_dataset(
    directory: str | pathlib.Path,
    split: Split,
    skip_broken: bool = False,
    layout: str | None = None,
) -> DatasetReader:
    """Opens a split of a data set.

    Args:
        directory, split, skip_broken: As in `DatasetReader`.
        layout: A key of `READERS`, or None to detect it.

    Raises:
        PortraitError: The folder has none of the layouts, or what the reader raises.
    """
    return _reader(directory, layout)(directory, split, skip_broken)


def open_splits(
    directory: str | pathlib.Path,
    skip_broken: bool = False,
    layout: str | None = None,
) -> dict[str, DatasetReader]:
    """Opens the splits that a data set has.

    Args:
        directory, skip_broken, layout: As in `open_dataset`.

    Raises:
        PortraitError: As `open_dataset`, also for a split that is there but cannot be
            read; none of the splits is there.
    """
    reader = _reader(directory, layout)
    found: dict[str, DatasetReader] = {}
    for split in SPLITS:
        try:
            found[split] = reader(directory, split, skip_broken)
        except NoSplitError as error:
            missing = error
    if not found:
        raise missing
    return found
