import io
import json
import shutil

import cv2
import numpy as np
import pytest
from layouts import pose_row, write_map, write_photo
from PIL import Image

from portrait_tf.data.check import describe
from portrait_tf.data.lip import LipDataset
from portrait_tf.data.open import open_splits
from portrait_tf.data.poses import pose_row as write_pose_row
from portrait_tf.errors import PortraitError
from portrait_tf.photos import read_photo
from portrait_tf.photos.label_maps import read_parsing

HEIGHT, WIDTH = 24, 16
JOINTS = np.arange(48).reshape(16, 3) % 10


def label_map() -> np.ndarray:
    parsing = np.zeros((HEIGHT, WIDTH), np.uint8)
    parsing[4:10, 4:12] = 13
    parsing[10:20, 4:12] = 5
    parsing[0] = 255
    return parsing


def photo_of(index: int) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), (200, 10 * index, 0), np.uint8)


class Folder:
    """A tiny split of LIP: photos 1_a, 2_b and 3.c; the last has no annotation."""

    names = ("1_a", "2_b", "3.c")

    def __init__(self, root, doubled=(False, False, False), split="train"):
        self.root, self.split = root, split
        names = ("images", "parsing_annotations", "pose_annotations")
        parents = []
        for name, twice in zip(names, doubled, strict=True):
            parent = root / f"TrainVal_{name}"
            parents.append(parent / parent.name if twice else parent)
        self.images = parents[0] / f"{split}_images"
        self.maps = parents[1] / f"{split}_segmentations"
        self.csv = parents[2] / f"lip_{split}_set.csv"
        self.ids = parents[0] / f"{split}_id.txt"
        parents[2].mkdir(parents=True, exist_ok=True)
        for index, name in enumerate(self.names):
            write_photo(self.photo(name), photo_of(index))
        for name in self.names[:2]:
            write_map(self.map(name), label_map())
        self.csv.write_text("\n".join(pose_row(n, JOINTS) for n in self.names[:2]))
        self.ids.write_text("\n".join(self.names) + "\n")

    def photo(self, name):
        return self.images / f"{name}.jpg"

    def map(self, name):
        return self.maps / f"{name}.png"

    def read(self, **arguments):
        return LipDataset(self.root, self.split, **arguments)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_reads_samples(folder):
    dataset = folder.read()
    assert len(dataset) == 3 and dataset.names == folder.names
    sample = dataset[1]
    assert sample.name == "2_b"
    assert sample.photo.dtype == sample.parsing.dtype == np.uint8
    assert np.abs(sample.photo.astype(int) - photo_of(1)).max() <= 3  # RGB, by JPEG
    np.testing.assert_array_equal(sample.parsing, label_map())
    np.testing.assert_array_equal(sample.joints, JOINTS)
    assert sample.joints.dtype == np.float32
    # The last has no annotation, and an iteration ends behind it.
    assert [one.parsing is None for one in dataset] == [False, False, True]
    assert dataset[2].joints is None
    shutil.rmtree(folder.maps)
    folder.csv.unlink()
    sample = folder.read()[0]
    assert sample.parsing is None and sample.joints is None


@pytest.mark.parametrize(
    "doubled",
    [(True, True, True), (True, False, False), (False, True, False), None],
)
def test_folders_of_archives(tmp_path, doubled):
    """Doubled by an archive, or None: directly inside the directory."""
    folder = Folder(tmp_path, doubled or (False,) * 3)
    if not doubled:
        for path in (folder.images, folder.maps, folder.csv, folder.ids):
            path.rename(folder.root / path.name)
    sample = folder.read()[1]
    assert sample.name == "2_b"
    assert sample.parsing is not None and sample.joints is not None


def test_splits_that_are_not_there(tmp_path):
    with pytest.raises(PortraitError, match="found nothing; expected one of") as error:
        open_splits(tmp_path)
    assert "TrainVal_parsing_annotations/" in str(error.value)
    assert len(Folder(tmp_path, split="val").read()) == 3
    with pytest.raises(PortraitError, match="no folder train_images") as error:
        LipDataset(tmp_path, "train")
    assert str(error.value).startswith(str(tmp_path))
    assert "TrainVal_parsing_annotations/" in str(error.value)
    with pytest.raises(PortraitError, match="train or val, received 'test'"):
        LipDataset(tmp_path, "test")


@pytest.mark.parametrize(
    "text",
    [
        "2_b\n1_a\n",
        "2_b.jpg\n1_a.jpg",
        "\ufeff\n2_b\r\n\r\n  1_a.JPG \n\n",
        "train_images/2_b.png\ntrain_images/1_a\n",
    ],
)
def test_id_files(folder, text):
    folder.ids.write_text(text, encoding="utf-8")
    assert folder.read().names == ("2_b", "1_a")


@pytest.mark.parametrize("extension", [".jpg", ".jpeg", ".png", ".JPG"])
def test_without_id_file_all_photos_in_order(folder, extension):
    folder.ids.unlink()
    (folder.images / "notes.txt").write_text("no photo")
    folder.photo("1_a").unlink()
    write_photo(folder.images / f"1_a{extension}", photo_of(0))
    dataset = folder.read()
    assert dataset.names == folder.names
    assert dataset[0].photo.shape == (HEIGHT, WIDTH, 3)
    assert dataset[0].joints is not None


def test_joints_nan_and_outside(folder):
    joints = np.arange(48, dtype=float).reshape(16, 3)
    joints[3] = np.nan
    joints[4] = np.nan, 5, 0
    joints[5] = -7, 1000, 1
    folder.csv.write_text(pose_row("1_a", joints) + "\n\n")
    read = folder.read()[0].joints
    assert np.isnan(read[3:5]).all()
    np.testing.assert_array_equal(read[5], [-7, 1000, 1])
    assert np.isnan(read).sum() == 6


@pytest.mark.parametrize("name", ["4,b", '5"c'])
def test_names_in_quotes_match_their_photos(folder, name):
    folder.photo("3.c").rename(folder.photo(name))
    rows = [pose_row("1_a", JOINTS).replace("1_a.jpg", '"1_a.jpg"')]
    rows.append(write_pose_row(f"{name}.jpg", JOINTS))
    folder.csv.write_text("\n".join(rows))
    folder.ids.write_text(f"1_a\n{name}\n1_a.jpg")
    samples = list(folder.read())
    assert [sample.name for sample in samples] == ["1_a", name]
    for sample in samples:
        np.testing.assert_array_equal(sample.joints, JOINTS)


def test_exif_orientation_is_not_applied(folder):
    exif = Image.Exif()
    exif[0x0112] = 6  # A viewer turns the photo by 90 degrees.
    Image.fromarray(photo_of(0)).save(folder.photo("1_a"), exif=exif)
    assert cv2.imread(str(folder.photo("1_a"))).shape == (WIDTH, HEIGHT, 3)
    assert folder.read()[0].photo.shape == (HEIGHT, WIDTH, 3)


def palette_png(indices: np.ndarray, palette: np.ndarray, **options) -> bytes:
    image, file = Image.fromarray(indices), io.BytesIO()
    image.putpalette(palette.astype(np.uint8).tobytes())
    image.save(file, "PNG", **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["colors", "one color", "4 bits"])
def test_colored_label_map_gives_its_indices(tmp_path, kind):
    path, expected = tmp_path / "map.png", label_map()
    palette, options = np.zeros((256, 3), np.uint8), {}
    if kind == "colors":
        palette[:20] = np.random.default_rng(0).integers(1, 256, (20, 3))
        palette[0], palette[255] = 0, (255, 255, 254)
    elif kind == "4 bits":
        expected = np.arange(16, dtype=np.uint8).reshape(2, 8)
        palette, options = palette[:16], {"bits": 4}
    path.write_bytes(palette_png(expected, palette, **options))
    assert path.read_bytes()[24:26] == bytes([options.get("bits", 8), 3])
    np.testing.assert_array_equal(read_parsing(path), expected)


def broken_sample(folder, match):
    dataset = folder.read()
    with pytest.raises(PortraitError, match=match) as error:
        dataset[0]
    assert "\n" not in str(error.value)


def test_truncated_jpeg_with_a_whole_thumbnail(folder):
    path = folder.photo("1_a")
    data = path.read_bytes()
    segment = b"\xff\xe1" + (len(data) + 2).to_bytes(2, "big") + data
    with_thumbnail = data[:2] + segment + data[2:]
    path.write_bytes(with_thumbnail)
    assert folder.read()[0].photo.shape == (HEIGHT, WIDTH, 3)
    path.write_bytes(with_thumbnail[:-10])
    broken_sample(folder, r"1_a\.jpg: expected a whole photo")
    # Bytes after the photo do no harm.
    for trailer in (b"\0" * 100, b"MPF and the like"):
        path.write_bytes(data + trailer)
        assert folder.read()[0].photo.shape == (HEIGHT, WIDTH, 3)


def test_photo_that_is_none_or_missing(folder, tmp_path):
    for data in (b"", b"GIF89a or a web page", b"\xff\xd8\xff"):
        folder.photo("1_a").write_bytes(data)
        broken_sample(folder, r"1_a\.jpg: expected a")
    folder.photo("1_a").unlink()
    broken_sample(folder, r"1_a: no photo of this name .*train_id\.txt")
    with pytest.raises(PortraitError, match=r"none\.jpg: cannot read the photo: No su"):
        read_photo(tmp_path / "none.jpg")


def changed_map(value, place=(5, 5)):
    parsing = label_map()
    if len(place) == 3:
        parsing = np.repeat(parsing[..., None], 3, 2)
    parsing[place] = value
    return parsing


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (changed_map(20), "labels 0 to 19.* received 20$"),
        (changed_map(254), "labels 0 to 19.* received 254$"),
        (label_map().astype(np.uint16) * 256, "labels 0 to 19"),
        (changed_map(7, (5, 5, 1)), "labels in one channel"),
    ],
)
def test_label_maps_that_are_refused(folder, values, message):
    write_map(folder.map("1_a"), values)
    broken_sample(folder, rf"1_a\.png: expected {message}")


@pytest.mark.parametrize("keep", [0, 30])
def test_label_map_that_is_none(folder, keep):
    path = folder.map("1_a")
    path.write_bytes(path.read_bytes()[:keep])
    broken_sample(folder, r"1_a\.png: expected a")


def test_label_maps_of_equal_channels_or_16_bits(folder):
    for values in (changed_map(5, (10, 10, 0)), label_map().astype(np.uint16)):
        write_map(folder.map("1_a"), values)
        np.testing.assert_array_equal(folder.read()[0].parsing, label_map())


SHORT_ROW = pose_row("1_a", JOINTS).rsplit(",", 1)[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{pose_row('2_b', JOINTS)}\n{SHORT_ROW}", "2: expected 49 .* received 48$"),
        (f"{SHORT_ROW},left", "1: expected .*received 'left'"),
        (f"{SHORT_ROW},", "1: expected .*received ''"),
        (f"{SHORT_ROW},inf", "1: expected .*received inf"),
        (f"{SHORT_ROW},-1e39", "1: expected .*received -1e\\+39"),
    ],
)
def test_pose_rows_that_are_broken(folder, text, message):
    folder.csv.write_text(text)
    broken_sample(folder, rf"lip_train_set\.csv, line {message}")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (SHORT_ROW.replace(",", ";").encode(), ", line 1: expected 49 col"),
        (b"\xff\xfe\x00\x81", ": cannot read .* UTF-16"),
        (b"7" * 200_000 + b",8", ", line 1: field larger than field limit"),
        (b"other.jpg,8", ": expected names of photos in .*, but 'other.jpg'"),
    ],
)
def test_pose_files_that_are_broken(folder, data, message):
    folder.csv.write_bytes(data)
    with pytest.raises(PortraitError, match=rf"set\.csv{message}"):
        folder.read()


def test_summaries_and_usable(folder):
    folder.photo("2_b").write_bytes(b"no photo")
    dataset = folder.read(skip_broken=True)
    calls = []
    summaries = dataset.summaries(lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert [one.name for one in summaries if one.error is None] == ["1_a", "3.c"]
    assert "2_b.jpg: expected a photo (JPEG, PNG" in summaries[1].error
    usable = dataset.usable()
    assert usable.broken == {"2_b": summaries[1].error}
    assert list(usable.names) == [sample.name for sample in usable] == ["1_a", "3.c"]
    assert len(dataset) == 3
    assert all(one.error is None for one in usable.summaries())


def test_describe(folder):
    Folder(folder.root, split="val").photo("2_b").write_bytes(b"")
    readers = open_splits(folder.root)
    description = {split: describe(reader) for split, reader in readers.items()}
    json.dumps(description)
    train, val = description["train"], description["val"]
    assert train["photos"] == 3
    assert train["height"] == {"min": 24, "median": 24.0, "max": 24}
    assert train["width"]["median"] == 16
    assert train["missing_poses"] == train["missing_parsing"] == 1
    assert train["broken"] == {}
    assert train["layout"] == "lip" and train["left_out"] == 0
    assert train["labels"]["Face"]["photos"] == 2
    assert train["labels"]["Face"]["pixels"] == pytest.approx(100 * 48 / (23 * 16))
    assert train["labels"]["Hat"] == {"pixels": 0, "photos": 0}
    assert sum(one["pixels"] for one in train["labels"].values()) == pytest.approx(100)
    assert train["void_pixels"] == pytest.approx(100 / 24)
    assert val["photos"] == 2
    assert "2_b.jpg" in val["broken"]["2_b"]
    for name in folder.names:
        folder.photo(name).write_bytes(b"")
    train = describe(folder.read())
    assert train["photos"] == 0 and train["height"] is None
    assert len(train["broken"]) == 3
