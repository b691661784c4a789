"""Data sets as a few large files: TFRecord shards, and a manifest, `shards.json`.

A record is a `tf.train.Example` with the features

* `name`: the sample's;
* `photo`: the bytes of the photo's file, or a PNG where the photo was cut out of its
  file or made smaller;
* `parsing`: the label map as a gray PNG of LIP's labels, 255 is void; may be missing;
* `joints`: 48 floats as in `Sample`, row by row; may be missing.

A shard has exactly the arrays of its source, in the same order. The manifest
has each shard's SHA-256, and each record's place, length and CRC-32 (of the whole
record, TFRecord's own checksums too): any sample is one read away, and is checked.
"""

import contextlib
import hashlib
import os
import pathlib
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import cv2
import numpy as np
import pydantic
from pydantic import Field

from portrait_tf.data.reader import (
    SPLITS,
    DatasetReader,
    NoSplitError,
    Progress,
    Split,
    ticker,
)
from portrait_tf.data.sample import Sample
from portrait_tf.errors import PortraitError
from portrait_tf.files import temporary_beside, write_result
from portrait_tf.geometry import means, scale_joints, shrunk_size
from portrait_tf.labels import NUM_JOINTS
from portrait_tf.photos import decode_image, encode_png
from portrait_tf.startup import load_tensorflow

MANIFEST = "shards.json"
VERSION = 1

PHOTOS_PER_SHARD = 1000
"""Of 100 KB each: shards of about 100 MB, which copy and stream well."""

LAYOUT = """\
shards.json                        what `portrait-tf data shards` writes
train-00000.tfrecord, ...          and val-00000.tfrecord, ..."""

# A record is its data between a length with a checksum, and the data's checksum.
_HEADER, _FOOTER = 12, 4

_AT_ONCE = 32

_OTHER_DATA = (
    "{}: holds the finished shards of other data, or of this data before it changed; "
    "expected a new folder"
)


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    def json_lines(self) -> bytes:
        return (self.model_dump_json(indent=1) + "\n").encode()


class Record(_Part):
    """A sample's place in its shard, and the CRC-32 of the whole record."""

    name: str
    offset: int = Field(ge=0)
    length: int = Field(ge=_HEADER + _FOOTER)
    crc32: int


class Shard(_Part):
    """A file of records.

    `source` is a digest of the files and settings it was made from; `broken` has the
    names and messages of the samples that were left out.
    """

    file: str = Field(pattern=r"^(train|val)-\d{5,}\.tfrecord$")
    sha256: str
    source: str
    records: list[Record]
    broken: dict[str, str]


class SplitShards(_Part):
    """The shards of a split; `left_out` is that of the source's reader."""

    count: int
    left_out: int
    shards: list[Shard]


class Settings(_Part):
    """Settings that shape the shards."""

    layout: str
    size: tuple[int, int] | None
    photos_per_shard: int


class Manifest(_Part):
    """What `shards.json` holds."""

    version: Literal[1]
    settings: Settings
    splits: dict[Split, SplitShards]


def _load(model: type[_Part], path: pathlib.Path) -> _Part:
    try:
        return model.model_validate_json(path.read_bytes())
    except OSError as error:
        raise PortraitError(f"{path}: cannot read: {error.strerror}") from None
    except pydantic.ValidationError as error:
        # One is enough: a manifest has a line for each sample.
        first = error.errors(include_input=False, include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise PortraitError(
            f"{path}: expected what `portrait-tf data shards` writes, in version "
            f"{VERSION}; '{key}': {first['msg']}"
        ) from None


def _made_files(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """Shards, notes, and what a run that was killed has left."""
    for split in SPLITS:
        yield from directory.glob(f"{split}-*.tfrecord*")
        yield from directory.glob(f".{split}-*.tfrecord*.tmp")


def unfinished(directory: pathlib.Path) -> bool:
    """Whether a folder holds shards, but not all of them yet."""
    whole = (directory / MANIFEST).exists()
    return not whole and next(_made_files(directory), None) is not None


def _sha256(path: pathlib.Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "missing"


def _shrink(sample: Sample, size: tuple[int, int]) -> Sample | None:
    """The sample shrunk into a height and width; None if it fits already."""
    height, width = sample.photo.shape[:2]
    small = shrunk_size((height, width), size)
    if small == (height, width):
        return None
    photo = means(sample.photo, small)
    parsing, joints = sample.parsing, sample.joints
    if parsing is not None:
        parsing = cv2.resize(
            parsing, small[::-1], interpolation=cv2.INTER_NEAREST_EXACT
        )
    if joints is not None:
        joints = scale_joints(joints, (height, width), small)
    return Sample(sample.name, photo, parsing, joints)


class _Writer:
    """Writes the shards of one split, and keeps finished ones."""

    def __init__(
        self,
        reader: DatasetReader,
        out: pathlib.Path,
        settings: Settings,
        known: dict[str, Shard],
        whole: bool,
    ) -> None:
        self.reader, self.out, self.settings, self.known = reader, out, settings, known
        self.whole, self.kept = whole, 0
        size = settings.photos_per_shard
        self.parts = [
            range(first, min(first + size, len(reader)))
            for first in range(0, len(reader), size)
        ]

    def path(self, number: int) -> pathlib.Path:
        return self.out / f"{self.reader.split}-{number:05d}.tfrecord"

    def note(self, number: int) -> pathlib.Path:
        """The file that describes a finished shard until there is a manifest."""
        return self.path(number).with_suffix(".tfrecord.json")

    def source(self, part: range) -> str:
        """A digest of all that the samples of a shard are made of."""
        known: dict[pathlib.Path, str] = {}
        digest = hashlib.sha256(self.settings.json_lines() + str(VERSION).encode())
        for index in part:
            digest.update(self.reader.names[index].encode() + b"\n")
            for path in self.reader.source_files(index):
                if path not in known:
                    known[path] = _sha256(path)
                digest.update(known[path].encode())
        return digest.hexdigest()

    def finished(self, number: int, source: str) -> Shard | None:
        """The shard, if it is whole and made from the same files."""
        path = self.path(number)
        shard = self.known.get(path.name)
        if shard is None or (shard.broken and not self.reader.skip_broken):
            return None
        whole = shard.source == source and shard.sha256 == _sha256(path)
        return shard if whole else None

    def _serialize(self, index: int) -> tuple[str, bytes] | PortraitError:
        import tensorflow as tf

        try:
            sample = self.reader[index]
        except PortraitError as error:
            return error
        path = self.reader.photo_file(index)
        small = _shrink(sample, self.settings.size) if self.settings.size else None
        sample = small or sample
        as_it_is = small is None and path is not None
        photo = path.read_bytes() if as_it_is else encode_png(sample.photo)
        files = {"name": sample.name.encode(), "photo": photo}
        if sample.parsing is not None:
            files["parsing"] = encode_png(sample.parsing)
        features = {
            key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
            for key, value in files.items()
        }
        if sample.joints is not None:
            features["joints"] = tf.train.Feature(
                float_list=tf.train.FloatList(value=sample.joints.ravel())
            )
        example = tf.train.Example(features=tf.train.Features(feature=features))
        return sample.name, example.SerializeToString(deterministic=True)

    def _serialized(
        self, part: range
    ) -> Iterator[tuple[int, tuple[str, bytes] | PortraitError]]:
        # A few at a time: they wait in memory, and an interrupt waits for them.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for first in range(0, len(part), _AT_ONCE):
                few = part[first : first + _AT_ONCE]
                yield from zip(few, pool.map(self._serialize, few), strict=True)

    def write_all(self, tick: Callable[[int], None]) -> SplitShards:
        """Writes the shards that are not there; `tick` gets the samples done.

        Raises:
            PortraitError: Finished shards are of other data.
        """
        shards = []
        for number, part in enumerate(self.parts):
            source = self.source(part)
            shard = self.finished(number, source)
            if shard:
                self.kept += 1
                tick(len(part))
            elif self.whole and source != self.known[self.path(number).name].source:
                raise PortraitError(_OTHER_DATA.format(self.out))
            else:
                shard = self.write(number, source, tick)
            shards.append(shard)
        return SplitShards(
            count=sum(len(shard.records) for shard in shards),
            left_out=self.reader.left_out,
            shards=shards,
        )

    def write(self, number: int, source: str, tick: Callable[[int], None]) -> Shard:
        """Writes a shard and its note."""
        import tensorflow as tf

        path, part = self.path(number), self.parts[number]
        temporary = temporary_beside(path)
        names, broken = [], {}
        try:
            with tf.io.TFRecordWriter(str(temporary)) as file:
                for index, made in self._serialized(part):
                    if not isinstance(made, PortraitError):
                        names.append((made[0], len(made[1])))
                        file.write(made[1])
                    elif self.reader.skip_broken:
                        broken[self.reader.names[index]] = str(made)
                    else:
                        raise made
                    tick(1)
            content = memoryview(temporary.read_bytes())
            shard = Shard(
                file=path.name,
                sha256=hashlib.sha256(content).hexdigest(),
                source=source,
                records=list(_records(names, content)),
                broken=broken,
            )
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        write_result(self.note(number), shard.json_lines())
        return shard


def _records(names: list[tuple[str, int]], content: memoryview) -> Iterator[Record]:
    offset = 0
    for name, size in names:
        length = _HEADER + size + _FOOTER
        crc32 = zlib.crc32(content[offset : offset + length])
        yield Record(name=name, offset=offset, length=length, crc32=crc32)
        offset += length


def _known_shards(out: pathlib.Path, settings: Settings) -> dict[str, Shard]:
    """The shards in the folder's manifest, or else in its notes.

    Raises:
        PortraitError: The folder holds something else.
    """
    if (out / MANIFEST).exists():
        manifest = _load(Manifest, out / MANIFEST)
        if manifest.settings != settings:
            raise PortraitError(
                f"{out}: expected a new folder, or shards of the same settings "
                f"({settings}), found shards of others ({manifest.settings})"
            )
        shards = [one for split in manifest.splits.values() for one in split.shards]
        return {shard.file: shard for shard in shards}
    known: dict[str, Shard] = {}
    if unfinished(out):
        for note in out.glob("*.tfrecord.json"):
            # An unreadable note is ignored.
            with contextlib.suppress(PortraitError):
                shard = _load(Shard, note)
                known[shard.file] = shard
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PortraitError(f"{out}: expected a new or an empty folder for the shards")
    return known


def write_shards(
    readers: dict[str, DatasetReader],
    out: str | pathlib.Path,
    size: tuple[int, int] | None = None,
    photos_per_shard: int = PHOTOS_PER_SHARD,
    progress: Progress | None = None,
) -> tuple[Manifest, int]:
    """Writes a data set as shards, or continues a stopped run.

    The same data gives the same bytes. A shard that is there already, whole and made
    from the same files, is kept. The manifest is written last: without it there is no
    data set.

    Args:
        readers: The splits, as `open_splits` gives them. Where they `skip_broken`,
            broken samples are left out, and named in the manifest.
        out: A new or empty folder, or one that holds these shards or a part of them.
        size: Height and width that no photo is to exceed; larger ones are made smaller,
            with their label maps and joints. None: every photo stays as it is.
        photos_per_shard: How many samples go into one file.
        progress: Called with how many samples are done and the total.

    Returns:
        The manifest, and how many shards were kept.

    Raises:
        PortraitError: A broken sample, unless they are left out; `out` holds something
            else, or finished shards of other data; it cannot be written to.
    """
    out = pathlib.Path(out)
    layout = next(iter(readers.values())).layout
    if layout == ShardDataset.layout:
        raise PortraitError(expected="a data set's own files", received="shards of one")
    settings = Settings(layout=layout, size=size, photos_per_shard=photos_per_shard)
    known = _known_shards(out, settings)
    whole = (out / MANIFEST).exists()
    writers = [
        _Writer(reader, out, settings, known, whole) for reader in readers.values()
    ]
    files = {one.path(n).name for one in writers for n in range(len(one.parts))}
    if whole and files != set(known):
        raise PortraitError(_OTHER_DATA.format(out))
    load_tensorflow()
    import tensorflow as tf

    tick = ticker(progress, sum(map(len, readers.values())))
    try:
        out.mkdir(parents=True, exist_ok=True)
        splits = {writer.reader.split: writer.write_all(tick) for writer in writers}
        manifest = Manifest(version=VERSION, settings=settings, splits=splits)
        write_result(out / MANIFEST, manifest.json_lines())
        # Notes, and what runs that were killed have left.
        for path in list(_made_files(out)):
            if path.name not in files:
                path.unlink()
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or error.message
        raise PortraitError(f"{out}: cannot write: {reason}") from None
    return manifest, sum(writer.kept for writer in writers)


def _open_at_once(path: str, flags: int) -> int:
    # A pipe cannot be read from a place in it, and opening it would wait.
    return os.open(path, flags | os.O_NONBLOCK)


class ShardDataset(DatasetReader):
    """One split of a data set that `write_shards` has written.

    Its arguments are those of `DatasetReader`. The samples are those of the source, in
    the same order and bit for bit, unless `write_shards` was given a size.

    Raises:
        PortraitError: The manifest is missing, cut off or of another version, or it
            does not have the split. A damaged record raises when it is read.
    """

    layout = "shards"
    expected = LAYOUT

    def _open(self) -> None:
        manifest = _load(Manifest, self.directory / MANIFEST)
        if self.split not in manifest.splits:
            raise NoSplitError(
                f"{self.directory / MANIFEST}: no split {self.split}; expected one of "
                f"{', '.join(manifest.splits)}"
            )
        found = manifest.splits[self.split]
        self.left_out = found.left_out + sum(len(one.broken) for one in found.shards)
        self._records = {
            record.name: (self.directory / shard.file, number, record)
            for shard in found.shards
            for number, record in enumerate(shard.records)
        }
        self.names = tuple(self._records)
        # Not thread by thread, when the first samples are read.
        load_tensorflow()

    @classmethod
    def detects(cls, directory: pathlib.Path) -> bool:
        return (directory / MANIFEST).is_file()

    def __getitem__(self, index: int) -> Sample:
        import tensorflow as tf

        name = self.names[index]
        path, number, record = self._records[name]
        place = f"{path}, record {number} ({name})"
        try:
            with open(path, "rb", buffering=0, opener=_open_at_once) as file:
                file.seek(record.offset)
                data = file.read(record.length)
        except OSError as error:
            raise PortraitError(f"{place}: cannot read: {error.strerror}") from None
        if len(data) < record.length:
            raise PortraitError(
                path=place,
                expected=f"{record.length} bytes",
                received=f"{len(data)}: the shard is cut off",
            )
        crc32 = zlib.crc32(data)
        if crc32 != record.crc32:
            raise PortraitError(
                path=place,
                expected=f"the checksum {record.crc32:08x}",
                received=f"{crc32:08x}: the shard is damaged",
            )
        example = tf.train.Example.FromString(data[_HEADER:-_FOOTER])
        features = example.features.feature

        def picture(key: str, flags: int) -> np.ndarray:
            return decode_image(features[key].bytes_list.value[0], flags)

        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        photo, parsing, joints = picture("photo", flags), None, None
        if "parsing" in features:
            parsing = picture("parsing", cv2.IMREAD_UNCHANGED)
        if "joints" in features:
            values = np.array(features["joints"].float_list.value, np.float32)
            joints = values.reshape(NUM_JOINTS, 3)
        return Sample(name, cv2.cvtColor(photo, cv2.COLOR_BGR2RGB), parsing, joints)
