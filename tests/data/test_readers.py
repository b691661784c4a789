"""The readers of all layouts: what they give, and what bad data gets."""

import os

import cv2
import numpy as np
import pytest
from layouts import (
    MAKERS,
    YAML,
    first_files,
    make_atr,
    make_cihp,
    make_folder,
    make_lip,
    person,
    write_map,
)

from portrait_tf.data.atr import AtrDataset
from portrait_tf.data.cihp import CihpDataset
from portrait_tf.data.dataset import usable_reader
from portrait_tf.data.folder import FolderDataset
from portrait_tf.data.open import open_dataset, open_splits
from portrait_tf.data.reader import hash_split
from portrait_tf.errors import PortraitError
from portrait_tf.labels import ATR_TO_LIP, LABELS, VOID_LABEL

CHOICES = pytest.mark.parametrize("layout", MAKERS)


@CHOICES
def test_a_layout_is_found_and_read(layout, tmp_path):
    MAKERS[layout](tmp_path / "data")
    for split in ("train", "val"):
        reader = open_dataset(tmp_path / "data", split)
        assert reader.layout == layout
        assert len(reader) == len(reader.names) == len(set(reader.names)) > 0
        for name, sample in zip(reader.names, reader, strict=True):
            assert sample.name == name
            assert sample.photo.dtype == sample.parsing.dtype == np.uint8
            assert sample.parsing.shape == sample.photo.shape[:2]
            assert (sample.parsing > 0).any()
            assert (sample.joints is None) == (layout in ("atr", "cihp"))
        with pytest.raises(IndexError):
            reader[len(reader)]


@CHOICES
def test_a_truncated_photo_is_named_or_counted(layout, tmp_path):
    root = MAKERS[layout](tmp_path / "data")
    photo, _ = first_files(layout, root)
    photo.write_bytes(photo.read_bytes()[:-100])
    reader = open_dataset(root, "train")
    message = rf"{photo.name}: expected a whole photo, received a file that is cut off"
    with pytest.raises(PortraitError, match=message):
        reader[0]
    usable = usable_reader(open_dataset(root, "train", skip_broken=True))
    # In CIHP, two people are in that photo.
    assert len(usable.broken) == (2 if layout == "cihp" else 1)
    assert len(usable) == len(reader) - len(usable.broken)
    assert photo.name in next(iter(usable.broken.values()))


def out_of_range(values):
    values[5, 5] = 33
    return values


@CHOICES
@pytest.mark.parametrize(
    ("damage", "extension", "message"),
    [
        (out_of_range, ".png", "expected .* received 33"),
        (lambda v: v[:-3], ".png", r"expected the photo's size of 96x\d+ .* 93x\d+"),
        # Whatever its name says: its gray levels are near the labels.
        (lambda v: v, ".jpg", "expected a PNG label map, received .* format JPEG"),
    ],
    ids=["label", "size", "jpeg"],
)
def test_a_broken_label_map_is_named(layout, tmp_path, damage, extension, message):
    root = MAKERS[layout](tmp_path / "data")
    _, path = first_files(layout, root)
    values = damage(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
    path.write_bytes(cv2.imencode(extension, values)[1].tobytes())
    reader = open_dataset(root, "train", skip_broken=True)
    with pytest.raises(PortraitError, match=rf"{path.name}: {message}$"):
        reader[0]
    assert path.name in next(iter(reader.usable().broken.values()))


@CHOICES
def test_names_that_cannot_be_are_named(layout, tmp_path):
    root = MAKERS[layout](tmp_path / "data")
    photo, _ = first_files(layout, root)
    other = photo.with_suffix(".png")
    other.write_bytes(photo.read_bytes())
    message = f"one file of each name, found {photo.name} and {photo.stem}.png"
    with pytest.raises(PortraitError, match=message):
        open_dataset(root, "train")
    other.rename(photo.with_name(os.fsdecode(b"caf\xe9.jpg")))
    with pytest.raises(PortraitError, match=r"names in UTF-8, received b'caf.xe9.jpg'"):
        open_dataset(root, "train")


@CHOICES
@pytest.mark.parametrize("index", [0, 1], ids=["photo", "map"])
def test_a_pipe_among_the_files_is_not_waited_for(layout, tmp_path, index):
    path = first_files(layout, MAKERS[layout](tmp_path / "data"))[index]
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(PortraitError, match=rf"{path}: expected a file, received a pi"):
        open_dataset(tmp_path / "data", "train")


@pytest.mark.parametrize("name", ["*_images/train_id.txt", "*/lip_train_set.csv"])
def test_a_list_that_is_a_pipe_is_not_waited_for(tmp_path, name):
    (path,) = make_lip(tmp_path).glob(name)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(PortraitError, match=rf"{path}: expected a file, received a pi"):
        open_dataset(tmp_path, "train")


@CHOICES
def test_pictures_of_other_formats_are_counted(layout, tmp_path):
    root = MAKERS[layout](tmp_path / "data")
    photo, _ = first_files(layout, root)
    before = open_dataset(root, "train").left_out
    for suffix in (".jfif", ".WEBP", ".txt"):
        photo.with_name(f"other{suffix}").write_bytes(b"")
    assert open_dataset(root, "train").left_out == before + 2


@CHOICES
def test_spellings_of_one_name_are_paired(layout, tmp_path):
    """The photo is composed as Linux has it, the map decomposed as macOS does."""
    root = MAKERS[layout](tmp_path / "data")
    photo, path = first_files(layout, root)
    others = []
    if layout == "cihp":
        others = [photo.parent.parent / "Human_ids" / f"{photo.stem}.png"]
    for listing in root.rglob("*"):
        if listing.suffix in (".txt", ".csv"):
            text = listing.read_text()
            listing.write_text(text.replace(photo.stem, f"{photo.stem}u\u0308"))
    photo.rename(photo.with_stem(f"{photo.stem}\u00fc"))
    for one in (path, *others):
        one.rename(one.with_stem(f"{one.stem}u\u0308"))
    samples = [one for reader in open_splits(root).values() for one in reader]
    renamed = [one for one in samples if "\u00fc" in one.name]
    # In CIHP, two people are in that photo.
    assert len(renamed) == (2 if layout == "cihp" else 1)
    for sample in renamed:
        assert (sample.parsing > 0).any()
        assert (sample.joints is None) == (layout in ("atr", "cihp"))


@CHOICES
def test_an_empty_split_is_named(layout, tmp_path):
    root = MAKERS[layout](tmp_path / "data")
    photo, _ = first_files(layout, root)
    for path in list(photo.parent.iterdir()):
        path.unlink()
    for path in [*root.rglob("*.txt"), *root.rglob("Training/Human_ids/*")]:
        path.unlink()
    if layout == "folder":
        (root / "dataset.yaml").write_text("images: photos")
    with pytest.raises(PortraitError, match="expected p.* found none") as error:
        open_dataset(root, "train")
    assert str(root) in str(error.value)


def test_a_folder_of_no_layout(tmp_path):
    (tmp_path / "holiday").mkdir()
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(PortraitError) as error:
        open_dataset(tmp_path, "train")
    message = str(error.value)
    assert message.startswith(f"{tmp_path}: found a.jpg, holiday/; expected one of")
    for part in ("TrainVal_images/", "JPEGImages", "Human_ids", "dataset.yaml",
                 "shards.json"):  # fmt: skip
        assert part in message
    with pytest.raises(PortraitError, match="expected a data set's folder, found noth"):
        open_dataset(tmp_path / "none", "train")
    with pytest.raises(PortraitError, match=r"a\.jpg: .* found a file"):
        open_dataset(tmp_path / "a.jpg", "train")
    with pytest.raises(PortraitError, match="layout of .*, received 'coco'"):
        open_dataset(tmp_path, "train", layout="coco")
    with pytest.raises(PortraitError, match="no folder train_images"):
        open_dataset(tmp_path, "train", layout="lip")


def test_splits_that_are_there(tmp_path):
    make_cihp(tmp_path / "cihp", ["Validation"])
    assert list(open_splits(tmp_path / "cihp")) == ["val"]
    with pytest.raises(PortraitError, match="no folder Training"):
        open_dataset(tmp_path / "cihp", "train")
    # One that is broken is not passed over.
    make_lip(tmp_path / "lip")
    (tmp_path / "lip/TrainVal_pose_annotations/lip_val_set.csv").write_text("x;y\n")
    with pytest.raises(PortraitError, match=r"lip_val_set\.csv, line 1"):
        open_splits(tmp_path / "lip")


class TestAtr:
    def test_labels_become_lips(self, tmp_path):
        sample = AtrDataset(make_atr(tmp_path), "train")[0]
        expected = person(0).parsing.copy()
        missing = [n for n, one in enumerate(LABELS) if one not in ATR_TO_LIP.values()]
        expected[np.isin(expected, missing)] = 0
        assert sample.name == "atr00"
        np.testing.assert_array_equal(sample.parsing, expected)

    def test_belt_is_void_and_bag_is_background(self, tmp_path):
        path = make_atr(tmp_path) / "humanparsing/SegmentationClassAug/atr00.png"
        values = np.repeat(np.arange(18, dtype=np.uint8), 6)[:96, None] * np.ones(64)
        write_map(path, values.astype(np.uint8))
        column = AtrDataset(tmp_path, "train")[0].parsing[::6, 0]
        # The order is ATR's own: a number names a label there.
        np.testing.assert_array_equal(
            column, [0, 1, 2, 4, 5, 12, 9, 6, VOID_LABEL, 18, 19, 13, 16, 17, 14, 15]
        )
        values[:] = [[16]]
        values[0] = 17
        write_map(path, values.astype(np.uint8))
        parsing = AtrDataset(tmp_path, "train")[0].parsing
        assert (parsing[0] == LABELS.index("Scarf")).all() and not parsing[1:].any()

    def test_the_split_stays_when_photos_are_added(self, tmp_path):
        few = AtrDataset(make_atr(tmp_path, 12), "val").names
        assert few == ("atr02", "atr05")
        assert set(few) <= set(AtrDataset(make_atr(tmp_path, 30), "val").names)
        names = [f"photo_{number}" for number in range(5000)]
        part = sum(hash_split(name) == "val" for name in names) / len(names)
        assert 0.08 < part < 0.12

    def test_lists_and_the_inner_folder(self, tmp_path):
        make_atr(tmp_path, 4, inner="humanparsing/humanparsing")
        inner = tmp_path / "humanparsing" / "humanparsing"
        (inner / "val_id.txt").write_text("atr02\natr01.jpg\n")
        assert open_dataset(tmp_path, "val").names == ("atr02", "atr01")
        assert open_dataset(inner, "train").names == ("atr00", "atr03")
        (inner / "train_id.txt").write_text("atr09\n")
        with pytest.raises(PortraitError, match=r"atr09: no photo .*train_id\.txt has"):
            open_dataset(inner, "train")[0]
        (inner / "val_id.txt").write_text("\n")
        with pytest.raises(PortraitError, match=r"val_id\.txt: expected a name a line"):
            open_dataset(inner, "val")

    def test_a_hash_split_with_no_photo(self, tmp_path):
        make_atr(tmp_path, 1)
        assert list(open_splits(tmp_path)) == ["train"]
        with pytest.raises(PortraitError, match="split val is empty"):
            AtrDataset(tmp_path, "val")

    def test_without_label_maps(self, tmp_path):
        for path in (make_atr(tmp_path, 2)).rglob("*.png"):
            path.unlink()
        (tmp_path / "humanparsing/SegmentationClassAug").rmdir()
        with pytest.raises(PortraitError, match="no folder SegmentationClassAug"):
            open_dataset(tmp_path, "train")


class TestCihp:
    def test_a_sample_is_a_person(self, tmp_path):
        reader = CihpDataset(make_cihp(tmp_path), "train")
        assert reader.names == ("0001_1", "0001_2", "0002_1")
        assert reader.left_out == 1
        whole = np.concatenate([person(0).parsing, person(1).parsing], axis=1)
        whole[:6, :4] = 0
        for index, columns in ((0, slice(0, 64)), (1, slice(64, 128))):
            expected = np.zeros_like(whole)
            expected[:, columns] = whole[:, columns]
            rows, places = np.nonzero(expected)
            margin = round(0.15 * max(np.ptp(rows) + 1, np.ptp(places) + 1))
            left, right = max(0, places.min() - margin), places.max() + 1 + margin
            top, bottom = max(0, rows.min() - margin), rows.max() + 1 + margin
            np.testing.assert_array_equal(
                reader[index].parsing, expected[top:bottom, left:right]
            )

    def test_the_others_stay_in_the_photo(self, tmp_path):
        reader = CihpDataset(make_cihp(tmp_path), "train", smallest=1)
        assert "0001_3" in reader.names and reader.left_out == 0
        path = tmp_path / "instance-level_human_parsing/Training/Images/0001.jpg"
        photo = cv2.imread(str(path))[..., ::-1]
        cut = reader[0].photo
        windows = np.lib.stride_tricks.sliding_window_view(photo, cut.shape)
        assert (windows == cut).all(axis=(-3, -2, -1)).any()
        with pytest.raises(PortraitError, match=r"none in 2 photos \(4 are smaller\)"):
            CihpDataset(tmp_path, "train", smallest=500)

    def test_a_broken_map_of_people_is_one_broken_sample(self, tmp_path):
        root = make_cihp(tmp_path)
        path = root / "instance-level_human_parsing/Training/Human_ids/0001.png"
        path.write_bytes(path.read_bytes()[:40])
        reader = CihpDataset(root, "train", skip_broken=True)
        assert reader.names == ("0001", "0002_1")
        usable = reader.usable()
        assert usable.names == ("0002_1",)
        assert "Human_ids/0001.png: expected a whole label map" in usable.broken["0001"]
        write_map(path, np.ones((7, 7), np.uint8) * 1)
        reader = CihpDataset(root, "train", smallest=1)
        with pytest.raises(PortraitError, match=r"Human_ids/0001\.png: .* 7x7$"):
            reader[0]

    def test_id_lists_and_the_inner_folder(self, tmp_path):
        inner = make_cihp(tmp_path) / "instance-level_human_parsing"
        (inner / "Training/train_id.txt").write_text("0002\n")
        assert open_dataset(inner, "train").names == ("0002_1",)
        (inner / "Training/train_id.txt").write_text("0002\n0009")
        with pytest.raises(PortraitError, match=r"0009\.jpg: cannot read the photo"):
            open_dataset(inner, "train")[1]


class TestFolder:
    def test_labels_by_name(self, tmp_path):
        reader = FolderDataset(make_folder(tmp_path), "train")
        assert reader.names == ("a0", "a1", "a2", "a3")
        sample, truth = reader[2], person(2)
        assert (sample.parsing[0] == VOID_LABEL).all()
        for label in ("Hair", "UpperClothes"):
            number = LABELS.index(label)
            np.testing.assert_array_equal(
                sample.parsing[1:] == number, truth.parsing[1:] == number
            )
        np.testing.assert_allclose(sample.joints, truth.joints, rtol=1e-4)
        # With one list, the other split is the rest.
        assert FolderDataset(tmp_path, "val").names == ("a4",)

    def test_without_maps_poses_and_lists(self, tmp_path):
        make_folder(tmp_path, 20, "images: photos\n")
        splits = open_splits(tmp_path)
        assert sum(map(len, splits.values())) == 20 and len(splits) == 2
        assert splits["train"][0].parsing is None and splits["train"][0].joints is None

    def test_values_that_are_lips(self, tmp_path):
        make_folder(tmp_path, 3, "{images: photos, labels: maps}")
        for seed in range(3):
            write_map(tmp_path / "maps" / f"a{seed}.png", person(seed).parsing)
        np.testing.assert_array_equal(
            FolderDataset(tmp_path, "train")[0].parsing, person(0).parsing
        )

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("labels:", "lables:", "unknown key 'lables'; did you mean 'labels'?"),
            ("UpperClothes", "Upper-clothes", "2: unknown label 'Upper-clothes'; did "
             "you mean 'UpperClothes'?"),
            ("Hair", "Zzz", "1: unknown label 'Zzz'; expected one of Background, Hat"),
            ("0: B", "zero: B", "'map.zero"),
            ("photos", "fotos", "'images': expected a folder, found none at"),
            ("train.txt", "t.txt", "'train': expected a file, found none at"),
            (YAML, "- a", "expected keys and values, received list"),
            (YAML, "a: [", "not YAML"),
            (YAML, f"{YAML}labels: maps", "found 'labels' in line 2 and line 6"),
            ("7: void", "2: void", "expected each key once, found 2 in line 3 and"),
        ],
    )  # fmt: skip
    def test_mistakes_in_the_file(self, tmp_path, old, new, message):
        make_folder(tmp_path, 2, YAML.replace(old, new))
        with pytest.raises(PortraitError) as error:
            open_dataset(tmp_path, "train")
        assert message in str(error.value)
        assert "dataset.yaml" in str(error.value)

    @pytest.mark.parametrize("text", ["map: {}", "map: {3: Hair}"])
    def test_a_value_that_is_not_in_the_map(self, tmp_path, text):
        make_folder(tmp_path, 2, f"images: photos\nlabels: maps\n{text}\n")
        message = r"maps/a0\.png: expected a value of the map in .*dataset\.yaml .* 7$"
        with pytest.raises(PortraitError, match=message):
            open_dataset(tmp_path, "train")[0]

    def test_two_poses_of_one_name(self, tmp_path):
        make_folder(tmp_path)
        path = tmp_path / "poses.csv"
        lines = path.read_text().splitlines()
        path.write_text("\n".join([*lines, lines[0]]))
        assert FolderDataset(tmp_path, "train")[0].joints is not None
        path.write_text("\n".join([*lines, lines[1].replace("a1", "a0")]))
        with pytest.raises(PortraitError, match="ones of 'a0' in line 1 and line 6"):
            FolderDataset(tmp_path, "train")
