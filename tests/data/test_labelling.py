"""`data label`: data sets whose maps stage 1 has predicted."""

import csv
import os

import keras
import numpy as np
import pytest
import yaml
from command_line import run
from layouts import make_cihp, make_lip
from tiny import TINY, shaken

from portrait_tf.config import parse_config, save_config
from portrait_tf.data import labelling
from portrait_tf.data.augment import fit_placement, prepare
from portrait_tf.data.labelling import enlarge_map, label_dataset, photo_joints
from portrait_tf.data.open import open_splits
from portrait_tf.errors import PortraitError
from portrait_tf.inference.averaging import AveragedParsing
from portrait_tf.labels import FLIPPED_LABELS
from portrait_tf.photos import write_png
from portrait_tf.runs.folder import build_network
from portrait_tf.runs.weights import save_weights


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(3)
    return shaken(build_network("parsing", parse_config(TINY)))


def label(source, network, out, *options, **more):
    structure = AveragedParsing(network, flip=True)
    return label_dataset(source, structure, out, *options, **more)


def unlabelled(root, train=11, val=2):
    """Synthetic people without their maps, and of one without the pose."""
    make_lip(root, train, val)
    for path in (root / "TrainVal_parsing_annotations").rglob("*.png"):
        path.unlink()
    poses = root / "TrainVal_pose_annotations" / "lip_train_set.csv"
    poses.write_text("".join(poses.read_text().splitlines(keepends=True)[1:]))
    return root


def test_probabilities_are_enlarged_before_the_highest_is_taken():
    probabilities = np.zeros((4, 6, 20), np.float32)
    placement = fit_placement((8, 4), (4, 6))
    assert placement[:4] == (4, 2, 0, 2)
    probabilities[:, 2, 5], probabilities[:, 2, 9] = 0.6, 0.4
    probabilities[:, 3, 5], probabilities[:, 3, 9] = 0.1, 0.9
    # Outside the photo.
    probabilities[:, :2, 3] = probabilities[:, 4:, 3] = 1
    labels = enlarge_map(probabilities, placement, (8, 4), 0.0)
    # At columns -0.25, 0.25, 0.75 and 1.25 of the two: 0.6, 0.475, 0.225, 0.1 of 5.
    np.testing.assert_array_equal(labels, np.tile([5, 9, 9, 9], (8, 1)))
    labels = enlarge_map(probabilities, placement, (8, 4), 0.65)
    np.testing.assert_array_equal(labels, np.tile([255, 255, 9, 9], (8, 1)))


def test_joints_come_back_to_where_training_puts_them(portraits):
    sample, size = portraits[0], (48, 80)
    moved = prepare(sample, size)["joints"]
    peaks = moved / [size[1], size[0], 1]
    peaks[3, 2] = 0.2
    fit = fit_placement(sample.photo.shape[:2], size)
    joints = photo_joints(peaks, fit, sample.photo.shape[:2], size, 0.3)
    expected = np.where(moved[:, 2:] > 0, sample.joints, np.nan)
    expected[3] = np.nan
    np.testing.assert_allclose(joints[:, :2], expected[:, :2], atol=0.01)
    known = ~np.isnan(joints[:, 0])
    assert known.sum() > 8 and (joints[known, 2] == 0).all()
    assert np.isnan(joints[~known]).all()


def test_maps_of_photos_without_any(tmp_path, network):
    source = open_splits(unlabelled(tmp_path / "photos"))
    seen = []
    counts = label(
        source, network, tmp_path / "new", 0.06, -1.0,
        progress=lambda *n: seen.append(n),
    )  # fmt: skip
    assert counts[:4] == (13, 13, 1, 0) and 0 < counts.void < 1
    assert seen[-1] == (13, 13)
    made = open_splits(tmp_path / "new")
    structure = AveragedParsing(network, flip=True)
    for split, reader in made.items():
        assert reader.names == source[split].names
        for index in range(len(reader)):
            photo, sample = source[split][index], reader[index]
            np.testing.assert_array_equal(sample.photo, photo.photo)
            image = prepare(photo, network.size)["image"][None] / np.float32(127.5) - 1
            mask = np.ones((1, *network.size, 1), np.float32)
            fit = fit_placement(photo.photo.shape[:2], network.size)
            mask[:, : fit.height, fit.left : fit.left + fit.width] = 0
            answer = structure(image * (1 - mask), mask)["parsing"].numpy()[0]
            expected = enlarge_map(answer, fit, photo.photo.shape[:2], 0.06)
            # A pixel may be at the edge of two labels in another batch's rounding.
            assert (sample.parsing == expected).mean() > 0.999
            if photo.joints is None:
                # Some peaks are in the frame but not in the photo.
                assert np.isfinite(sample.joints).any()
            else:
                np.testing.assert_array_equal(sample.joints, photo.joints)
    photo = tmp_path / "photos" / "TrainVal_images" / "val_images"
    for path in photo.iterdir():
        copy = tmp_path / "new" / "TrainVal_images" / "val_images" / path.name
        assert os.path.samefile(path, copy)
    assert not (tmp_path / "new.unfinished").exists()


def test_mirrored_answers_are_averaged(tmp_path, network, portraits):
    """A mirrored photo gets the mirrored map."""
    maps = []
    for photo in (portraits[0].photo, portraits[0].photo[:, ::-1]):
        folder = tmp_path / str(len(maps))
        images = folder / "photos" / "TrainVal_images" / "train_images"
        images.mkdir(parents=True)
        write_png(images / "one.png", np.ascontiguousarray(photo))
        label(open_splits(folder / "photos"), network, folder / "new", 0.0)
        maps.append(open_splits(folder / "new")["train"][0].parsing)
    swapped = FLIPPED_LABELS[maps[1][:, ::-1]]
    assert (maps[0] == swapped).mean() > 0.99


def test_maps_and_poses_that_there_are_stay_or_are_replaced(tmp_path, network):
    source = open_splits(make_lip(tmp_path / "photos", 3, 0))
    for replace in (False, True):
        out = tmp_path / f"new-{replace}"
        counts = label(source, network, out, 0.0, -1.0, replace)
        assert counts.predicted_maps == counts.predicted_poses == 3 * replace
        reader = open_splits(out)["train"]
        for index in range(3):
            old, new = source["train"][index], reader[index]
            assert np.array_equal(old.parsing, new.parsing) is not replace
            same = np.array_equal(old.joints, new.joints, equal_nan=True)
            assert same is not replace


def test_people_that_have_no_photo_of_their_own_are_written_as_png(tmp_path, network):
    source = open_splits(make_cihp(tmp_path / "photos", ("Training",)))
    label(source, network, tmp_path / "new", replace=True)
    reader = open_splits(tmp_path / "new")["train"]
    assert reader.names == source["train"].names and len(reader) > 1
    for index in range(len(reader)):
        np.testing.assert_array_equal(reader[index].photo, source["train"][index].photo)
    folder = tmp_path / "new" / "TrainVal_images" / "train_images"
    assert {path.suffix for path in folder.iterdir()} == {".png"}


class TestInterrupted:
    """Ctrl-C after two batches, and the same call again."""

    @pytest.fixture
    def stopped(self, tmp_path, network):
        source = open_splits(unlabelled(tmp_path / "photos", 18, 1))

        def interrupt(done, total):
            if done >= 16:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            label(source, network, tmp_path / "new", progress=interrupt)
        assert not (tmp_path / "new").exists()
        return source

    def test_what_was_done_is_kept(self, stopped, tmp_path, network):
        unfinished = tmp_path / "new.unfinished"
        maps = unfinished / "TrainVal_parsing_annotations" / "train_segmentations"
        before = {path.name: path.stat().st_mtime_ns for path in maps.iterdir()}
        assert len(before) == 16
        counts = label(stopped, network, tmp_path / "new")
        assert (counts.photos, counts.kept, counts.predicted_maps) == (19, 16, 3)
        maps = tmp_path / "new" / "TrainVal_parsing_annotations" / "train_segmentations"
        after = {path.name: path.stat().st_mtime_ns for path in maps.iterdir()}
        assert len(after) == 18 and before.items() <= after.items()
        label(stopped, network, tmp_path / "whole")
        for split, reader in open_splits(tmp_path / "whole").items():
            resumed = open_splits(tmp_path / "new")[split]
            for index in range(len(reader)):
                one, other = reader[index], resumed[index]
                assert (one.parsing == other.parsing).mean() > 0.999
                np.testing.assert_allclose(one.joints, other.joints, atol=0.05)
        poses = "TrainVal_pose_annotations/lip_train_set.csv"
        rows = list(csv.reader((tmp_path / "new" / poses).read_text().splitlines()))
        names = [row[0] for row in rows]
        assert names == [f"{name}.jpg" for name in stopped["train"].names]

    def test_other_settings_do_not_go_on_with_it(self, stopped, tmp_path, network):
        begun = r"new\.unfinished: was begun with "
        with pytest.raises(PortraitError, match=begun + r"confidence 0\.5 "):
            label(stopped, network, tmp_path / "new", confidence=0.7)
        other = build_network("parsing", parse_config(TINY))
        with pytest.raises(PortraitError, match=begun + "network "):
            label(stopped, other, tmp_path / "new")


def test_a_broken_photo_is_named_and_what_came_before_is_kept(tmp_path, network):
    root = unlabelled(tmp_path / "photos", 10, 0)
    source = open_splits(root)
    photos = sorted((root / "TrainVal_images" / "train_images").iterdir())
    whole = photos[9].read_bytes()
    photos[9].unlink()
    photos[9].write_bytes(whole[:100])
    with pytest.raises(PortraitError, match=photos[9].name):
        label(source, network, tmp_path / "new")
    photos[9].write_bytes(whole)
    assert label(source, network, tmp_path / "new").kept == 8


@pytest.fixture
def tiny_run(tmp_path, network):
    """A run that has but a stage 1."""
    save_config(parse_config(TINY), tmp_path / "run" / "config.yaml")
    save_weights(network, tmp_path / "run" / "parsing" / "network.npz", {}, None)
    return tmp_path / "run"


def test_label_and_train_on_all_from_the_command_line(tmp_path, tiny_run):
    labelled = make_lip(tmp_path / "labelled", 3, 2)
    photos = unlabelled(tmp_path / "photos", 4, 0)
    for path in (photos / "TrainVal_images").glob("val_*"):
        path.rmdir() if path.is_dir() else path.unlink()
    command = ["data", "label", "--data", photos, "--run", tiny_run, "--out"]
    code, output = run(*command, tmp_path / "new", "--confidence", 0.1)
    assert code == 0, output
    assert "4 photos, 0 of them done before; predicted 4 maps (" in output
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump(TINY))
    data = ["--data", photos, "--data", tmp_path / "new", "--data", labelled]
    code, output = run(
        "train", "parsing", *data, "--config", config, "--run", tmp_path / "mixed",
        "--set", "data.weights=[1, 1, 2]", "--set", "data.cache_gigabytes=0.01",
        "--set", "augmentation.background=0.5", "--steps", 2,
    )  # fmt: skip
    assert code == 0, output
    assert f"validation: {labelled}" in output
    log = tmp_path / "mixed" / "parsing" / "log.csv"
    rows = list(csv.DictReader(log.read_text().splitlines()))
    assert len(rows) == 1 and np.isfinite(float(rows[0]["loss"]))
    assert np.isfinite(float(rows[0]["val_loss"]))


def test_mistakes(tmp_path, tiny_run, network):
    photos, new = unlabelled(tmp_path / "photos", 1, 0), tmp_path / "new"
    unfinished = tmp_path / "new.unfinished"
    unfinished.mkdir()
    (unfinished / "mine.txt").touch()
    for data, out, trained, message in (
        (tmp_path / "none", new, tiny_run, "none: expected a data set"),
        (photos, new, tmp_path / "no", "no: expected the folder"),
        (photos, new, photos, "has no trained parsing stage"),
        (photos, photos, tiny_run, f"{photos}: expected a new or an empty folder"),
        (photos, new, tiny_run, "expected what an earlier run has left"),
    ):
        arguments = "--data", data, "--out", out, "--run", trained
        code, output = run("data", "label", *arguments)
        assert code == 2 and message in output, output
    images = tmp_path / "commas" / "TrainVal_images" / "train_images"
    images.mkdir(parents=True)
    write_png(images / "a,b.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(PortraitError, match="names without commas.*'a,b'"):
        label(open_splits(tmp_path / "commas"), network, tmp_path / "newer")
    assert list(tmp_path.glob("new*")) == [unfinished]


def test_the_digest_is_of_the_weights(network):
    other = type(network).from_config(network.get_config())
    assert labelling.network_digest(other) != labelling.network_digest(network)
    other.set_weights(network.get_weights())
    assert labelling.network_digest(other) == labelling.network_digest(network)
