"""Shards: the source's samples to the bit, whole or named as damaged, resumable."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from layouts import MAKERS, first_files, make_lip

from portrait_tf.data.dataset import usable_reader
from portrait_tf.data.lip import LipDataset
from portrait_tf.data.open import open_dataset, open_splits
from portrait_tf.data.shards import ShardDataset, write_shards
from portrait_tf.errors import PortraitError


@pytest.fixture
def lip(tmp_path):
    return make_lip(tmp_path / "lip")


def pack(source, out, skip_broken=False, photos_per_shard=2, **arguments):
    readers = open_splits(source, skip_broken)
    write_shards(readers, out, photos_per_shard=photos_per_shard, **arguments)
    return out


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def assert_same_samples(one, other):
    assert one.names == other.names
    for first, second in zip(one, other, strict=True):
        assert first.name == second.name
        for key in ("photo", "parsing", "joints"):
            np.testing.assert_array_equal(getattr(first, key), getattr(second, key))


@pytest.mark.parametrize("layout", MAKERS)
def test_shards_give_what_their_source_gives(layout, tmp_path):
    source = MAKERS[layout](tmp_path / "data")
    out = pack(source, tmp_path / "out")
    for split, reader in open_splits(source).items():
        shards = open_dataset(out, split)
        assert isinstance(shards, ShardDataset)
        assert shards.left_out == reader.left_out
        assert_same_samples(reader, shards)


def test_the_same_data_gives_the_same_bytes(lip, tmp_path):
    first, second = pack(lip, tmp_path / "one"), pack(lip, tmp_path / "two")
    assert contents(first) == contents(second)
    assert sorted(contents(first)) == [
        "shards.json", "train-00000.tfrecord", "train-00001.tfrecord",
        "train-00002.tfrecord", "val-00000.tfrecord",
    ]  # fmt: skip


def test_tensorflow_reads_the_shards(lip, tmp_path):
    out = pack(lip, tmp_path / "out")
    files = sorted(str(path) for path in out.glob("train-*"))
    names, reader = [], LipDataset(lip, "train")
    for index, data in enumerate(tf.data.TFRecordDataset(files).as_numpy_iterator()):
        feature = tf.train.Example.FromString(data).features.feature
        names.append(feature["name"].bytes_list.value[0].decode())
        photo = feature["photo"].bytes_list.value[0]
        assert photo == reader.photo_file(index).read_bytes()
    assert tuple(names) == reader.names


def test_from_many_threads(lip, tmp_path):
    reader = ShardDataset(pack(lip, tmp_path / "out"), "train")
    expected = [sample.photo for sample in reader]
    order = np.random.default_rng(0).integers(0, len(reader), 200).tolist()
    with ThreadPoolExecutor(8) as pool:
        for index, sample in zip(order, pool.map(reader.__getitem__, order)):  # noqa: B905
            np.testing.assert_array_equal(sample.photo, expected[index])


STOPPING = """
import sys, time
from portrait_tf.data.open import open_splits
from portrait_tf.data.shards import write_shards

def progress(done, total):
    if done == 3:  # in the middle of the second shard
        print("stopped", flush=True)
        time.sleep(600)

write_shards(open_splits(sys.argv[1]), sys.argv[2], None, 2, progress)
"""


def test_goes_on_after_a_kill(lip, tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPING, str(lip), str(out)], stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout.readline() == b"stopped\n"
        os.kill(process.pid, signal.SIGKILL)
    names = [path.name for path in out.iterdir()]
    assert sum(name.endswith(".tmp") for name in names) == 1
    assert "shards.json" not in names
    with pytest.raises(PortraitError, match="expected finished shards"):
        open_dataset(out, "train")
    before = (out / "train-00000.tfrecord").stat()
    _, kept = write_shards(open_splits(lip), out, photos_per_shard=2)
    after = (out / "train-00000.tfrecord").stat()
    assert kept == 1
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert contents(out) == contents(pack(lip, tmp_path / "fresh"))


def test_a_finished_set_is_kept_and_mended_but_not_written_over(lip, tmp_path):
    out = pack(lip, tmp_path / "out")
    before = contents(out)
    assert write_shards(open_splits(lip), out, photos_per_shard=2)[1] == 4
    path = out / "train-00001.tfrecord"
    path.write_bytes(path.read_bytes()[:-1])
    assert write_shards(open_splits(lip), out, photos_per_shard=2)[1] == 3
    assert contents(out) == before
    with pytest.raises(PortraitError, match="shards of the same settings"):
        pack(lip, out, photos_per_shard=3)
    photo = first_files("lip", lip)[0]
    photo.write_bytes(photo.read_bytes() + b"\0")
    with pytest.raises(PortraitError, match="finished shards of other data"):
        pack(lip, out)
    with pytest.raises(PortraitError, match="finished shards of other data"):
        pack(make_lip(tmp_path / "more", 7), out)
    assert contents(out) == before
    with pytest.raises(PortraitError, match="expected a new or an empty folder"):
        pack(lip, lip)
    with pytest.raises(PortraitError, match="received shards"):
        pack(out, tmp_path / "again")


def test_a_run_that_goes_on_sees_what_has_changed(lip, tmp_path):
    out = pack(lip, tmp_path / "out")
    manifest = json.loads((out / "shards.json").read_text())
    for shard in manifest["splits"]["train"]["shards"]:
        (out / f"{shard['file']}.json").write_text(json.dumps(shard))
    (out / "shards.json").unlink()
    photo = first_files("lip", lip)[0]
    photo.write_bytes(photo.read_bytes() + b"\0")
    _, kept = write_shards(open_splits(lip), out, photos_per_shard=2)
    assert kept == 2
    assert contents(out) == contents(pack(lip, tmp_path / "fresh"))


def test_a_flipped_byte_is_named(lip, tmp_path):
    out = pack(lip, tmp_path / "out")
    manifest = json.loads((out / "shards.json").read_text())
    record = manifest["splits"]["train"]["shards"][0]["records"][1]
    path = out / "train-00000.tfrecord"
    whole = path.read_bytes()
    message = (
        rf"train-00000\.tfrecord, record 1 \({record['name']}\): expected the checksum "
        r"\w{8}, received \w{8}: the shard is damaged$"
    )
    # In the record's length, its data and its checksum.
    for offset in (3, record["length"] // 2, record["length"] - 1):
        data = bytearray(whole)
        data[record["offset"] + offset] ^= 4
        path.write_bytes(data)
        reader = ShardDataset(out, "train", skip_broken=True)
        assert reader[0].name == reader.names[0]
        with pytest.raises(PortraitError, match=message):
            reader[1]
    usable = usable_reader(reader)
    assert len(usable) == 4 and list(usable.broken) == [record["name"]]


def test_a_truncated_or_missing_shard_is_named(lip, tmp_path):
    out = pack(lip, tmp_path / "out")
    path = out / "train-00001.tfrecord"
    path.write_bytes(path.read_bytes()[:-9])
    reader = ShardDataset(out, "train")
    reader[2]
    message = r"train-00001\.tfrecord, record 1 \(.*: expected \d+ bytes, .* cut off$"
    with pytest.raises(PortraitError, match=message):
        reader[3]
    path.unlink()
    with pytest.raises(PortraitError, match=r"00001\.tfrecord, record 0 .* No such"):
        reader[2]
    os.mkfifo(path)
    with pytest.raises(PortraitError, match=r"record 0 .*: cannot read: Illegal seek"):
        reader[2]


def test_a_damaged_manifest_is_named(lip, tmp_path):
    path = pack(lip, tmp_path / "out") / "shards.json"
    whole = path.read_text()
    for text, message in (
        (whole[:-30], ".*Invalid JSON"),
        (whole.replace('"version": 1', '"version": 2'), "'version'"),
        (whole.replace("train-00000", "../train-00000"), "file"),
        (whole.replace('"sha256"', '"sha25"'), "sha256': Field required"),
    ):
        path.write_text(text)
        with pytest.raises(PortraitError, match=rf"shards\.json: .*{message}") as error:
            open_dataset(path.parent, "train")
        assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_broken_samples_are_errors_or_counted(lip, tmp_path):
    photo = first_files("lip", lip)[0]
    photo.write_bytes(photo.read_bytes()[:100])
    with pytest.raises(PortraitError, match=f"{photo.name}: expected a whole photo"):
        pack(lip, tmp_path / "out")
    out = pack(lip, tmp_path / "out", skip_broken=True)
    reader = ShardDataset(out, "train")
    assert_same_samples(LipDataset(lip, "train").usable(), reader)
    assert reader.left_out == 1
    shards = json.loads((out / "shards.json").read_text())["splits"]["train"]["shards"]
    assert photo.name in shards[0]["broken"][photo.stem]
    # Asked for without it again, what was left out is an error again.
    with pytest.raises(PortraitError, match=photo.name):
        pack(lip, out)


def test_a_limit_of_the_size(lip, tmp_path):
    out = pack(lip, tmp_path / "out", size=(48, 64))
    large, small = LipDataset(lip, "train")[0], ShardDataset(out, "train")[0]
    assert large.photo.shape == (96, 64, 3)
    assert small.photo.shape == (48, 32, 3) and small.parsing.shape == (48, 32)
    mean = large.photo.reshape(48, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(small.photo - mean).max() <= 1
    agree = small.parsing == large.parsing[::2, ::2]
    assert agree.mean() > 0.9
    np.testing.assert_allclose(
        small.joints[:, :2], (large.joints[:, :2] + 0.5) / 2 - 0.5, rtol=1e-5
    )
    np.testing.assert_array_equal(small.joints[:, 2], large.joints[:, 2])
    same = pack(lip, tmp_path / "same", size=(96, 64))
    assert_same_samples(LipDataset(lip, "train"), ShardDataset(same, "train"))


def test_a_split_that_is_not_there(tmp_path):
    out = pack(make_lip(tmp_path / "lip", 2, 0), tmp_path / "out")
    assert list(open_splits(out)) == ["train"]
    with pytest.raises(PortraitError, match=r"shards\.json: no split val"):
        open_dataset(out, "val")
