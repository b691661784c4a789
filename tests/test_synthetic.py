"""Synthetic portraits: repeatable, labelled exactly, and written as LIP is."""

import csv

import cv2
import numpy as np
import pytest

from portrait_tf.data.synthetic import VAL_OFFSET, synthesize, write_synthetic
from portrait_tf.errors import PortraitError
from portrait_tf.labels import JOINTS, LABELS, NUM_JOINTS, NUM_LABELS

SMALL = (120, 80)
JOINT = {name: index for index, name in enumerate(JOINTS)}
LABEL = {name: index for index, name in enumerate(LABELS)}


@pytest.fixture(scope="module")
def people():
    return [synthesize(seed, SMALL) for seed in range(120)]


def test_a_seed_is_a_person(people):
    for seed in (0, 7, 31):
        one, two = people[seed], synthesize(seed, SMALL)
        assert one.name == two.name
        for key in ("photo", "parsing", "joints"):
            np.testing.assert_array_equal(getattr(one, key), getattr(two, key))
    assert len({person.photo.tobytes() for person in people}) == len(people)
    assert len({person.name for person in people}) == len(people)


@pytest.mark.parametrize("size", [(480, 320), (120, 80), (64, 64), (97, 131), (16, 16)])
def test_shapes_and_ranges(size):
    person = synthesize(3, size)
    assert person.name == "synthetic_000003"
    assert person.photo.shape == (*size, 3) and person.photo.dtype == np.uint8
    assert person.parsing.shape == size and person.parsing.dtype == np.uint8
    assert person.parsing.max() < NUM_LABELS
    assert person.joints.shape == (NUM_JOINTS, 3)
    assert person.joints.dtype == np.float32


def test_size_changes_the_scale_only():
    large, small = synthesize(5, (240, 160)), synthesize(5, SMALL)
    known = np.isfinite(large.joints[:, 0]) & np.isfinite(small.joints[:, 0])
    assert known.sum() >= 12
    halved = (large.joints[known, :2] + 0.5) / 2 - 0.5
    np.testing.assert_allclose(halved, small.joints[known, :2], atol=0.3)
    assert (large.parsing[::2, ::2] == small.parsing).mean() > 0.93


def test_photos_are_exposed_and_every_label_occurs(people):
    means = np.array([person.photo.mean() for person in people])
    assert (means > 15).all() and (means < 245).all()
    assert all(person.photo.std() > 8 for person in people)
    shown = [np.bincount(one.parsing.ravel(), minlength=NUM_LABELS) for one in people]
    share = (np.array(shown) > 0).mean(0)
    assert not [name for name, part in zip(LABELS, share, strict=True) if not part]
    for name in ("Face", "Hair", "UpperClothes", "LeftArm", "RightArm", "LeftShoe"):
        assert share[LABEL[name]] > 0.5, name
    assert share[LABEL["Pants"]] > 0.4


def test_joints_are_on_the_body_or_unknown(people):
    on, total = 0, 0
    for person in people:
        unknown = np.isnan(person.joints)
        assert (unknown.any(1) == unknown.all(1)).all()
        x, y, v = person.joints[~unknown.any(1)].T
        assert (x >= -0.5).all() and (x < SMALL[1] - 0.5).all()
        assert (y >= -0.5).all() and (y < SMALL[0] - 0.5).all()
        assert np.isin(v, (0, 1)).all()
        near = cv2.dilate((person.parsing > 0).astype(np.uint8), np.ones((3, 3)))
        on += near[y.round().astype(int), x.round().astype(int)].sum()
        total += len(x)
    assert on / total > 0.99
    values = np.concatenate([person.joints[:, 2] for person in people])
    assert 0.005 < (values == 1).mean() < 0.3


def test_visible_limb_joints_lie_on_their_own_limb(people):
    for person in people:
        for name in ("L_Ankle", "L_Knee", "R_Ankle", "R_Knee"):
            other = "Right" if name[0] == "L" else "Left"
            x, y, v = person.joints[JOINT[name]]
            if v == 0:
                window = person.parsing[int(y) : int(y) + 2, int(x) : int(x) + 2]
                wrong = [LABEL[f"{other}Leg"], LABEL[f"{other}Shoe"]]
                assert not np.isin(window, wrong).all()


def test_most_people_face_the_camera(people):
    left, right = (
        np.array([person.joints[JOINT[name], 0] for person in people])
        for name in ("L_Shoulder", "R_Shoulder")
    )
    offsets = (left - right)[np.isfinite(left - right)]
    assert 0.7 < (offsets > 0).mean() < 1.0


@pytest.mark.parametrize(
    ("part", "joints"),
    [("Arm", ("Wrist",)), ("Shoe", ("Ankle",)), ("Leg", ("Ankle", "Knee"))],
)
def test_sides_are_the_persons(people, part, joints):
    right = []
    for person in people:
        for side, other, letter in (("Right", "L", "R"), ("Left", "R", "L")):
            rows, columns = np.nonzero(person.parsing == LABEL[f"{side}{part}"])
            own, far = (
                person.joints[[JOINT[f"{each}_{name}"] for name in joints], :2].mean(0)
                for each in (letter, other)
            )
            if len(rows) < 15 or not np.linalg.norm(own - far) > 8:
                continue
            center = np.array([columns.mean(), rows.mean()])
            right.append(np.linalg.norm(center - own) < np.linalg.norm(center - far))
    assert len(right) > 30
    assert np.mean(right) > 0.95


def test_both_shoes_are_one_design():
    alike = []
    for seed in range(25):
        person = synthesize(seed, (240, 160))
        means = []
        for name in ("LeftShoe", "RightShoe"):
            mask = (person.parsing == LABEL[name]).astype(np.uint8)
            # The border blends with what is behind, so only the inside counts.
            inside = cv2.erode(mask, np.ones((3, 3))) > 0
            if inside.sum() > 20:
                means.append(person.photo[inside].mean(0))
        if len(means) == 2:
            alike.append(np.abs(means[0] - means[1]).max() < 40)
    assert len(alike) > 12
    assert np.mean(alike) > 0.9


@pytest.mark.parametrize(("seed", "size"), [(-1, SMALL), (0, (8, 80)), (0, (80, 8))])
def test_bad_arguments_are_refused(seed, size):
    with pytest.raises(PortraitError):
        synthesize(seed, size)


@pytest.mark.parametrize("exists", [False, True])
def test_written_folder_rereads(tmp_path, exists):
    folder = tmp_path / "deep" / "synthetic"
    if exists:
        folder.mkdir(parents=True)
    calls = []
    write_synthetic(
        folder, 3, 2, seed=4, size=SMALL, progress=lambda *c: calls.append(c)
    )
    assert calls == [(done, 5) for done in range(1, 6)]
    first = 4_000_000
    splits = {"train": (first, 3), "val": (first + VAL_OFFSET, 2)}
    for split, (start, count) in splits.items():
        listing = folder / "TrainVal_images" / f"{split}_id.txt"
        names = listing.read_text().split()
        table = folder / "TrainVal_pose_annotations" / f"lip_{split}_set.csv"
        with open(table, newline="") as file:
            rows = list(csv.reader(file))
        assert names == [f"synthetic_{start + index:06d}" for index in range(count)]
        assert [row[0] for row in rows] == [f"{name}.jpg" for name in names]
        for index, (name, row) in enumerate(zip(names, rows, strict=True)):
            person = synthesize(start + index, SMALL)
            images = folder / "TrainVal_images" / f"{split}_images"
            photo = cv2.imread(str(images / f"{name}.jpg"), cv2.IMREAD_COLOR)[..., ::-1]
            assert np.abs(photo.astype(int) - person.photo).mean() < 8
            maps = folder / "TrainVal_parsing_annotations" / f"{split}_segmentations"
            parsing = cv2.imread(str(maps / f"{name}.png"), cv2.IMREAD_UNCHANGED)
            np.testing.assert_array_equal(parsing, person.parsing)
            assert all(cell == "nan" or cell == str(int(cell)) for cell in row[1:])
            joints = np.array(row[1:], np.float32).reshape(NUM_JOINTS, 3)
            np.testing.assert_array_equal(joints, person.joints.round())
    assert [each.name for each in folder.parent.iterdir()] == ["synthetic"]


@pytest.mark.parametrize("inside", ["TrainVal_images/mine.txt", "mine.txt"])
def test_a_full_folder_is_refused_and_untouched(tmp_path, inside):
    mine = tmp_path / "data" / inside
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(PortraitError, match="data"):
        write_synthetic(tmp_path / "data", 1, 1, size=SMALL)
    assert mine.read_text() == "mine"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [mine]


def test_bad_numbers_and_an_interrupt_leave_nothing(tmp_path):
    for numbers in ({"train": -1}, {"val": 10**7}, {"seed": -3}):
        with pytest.raises(PortraitError):
            write_synthetic(tmp_path / "data", **{"train": 1, "val": 1, **numbers})

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_synthetic(tmp_path / "data", 2, 1, size=SMALL, progress=stop)
    assert not list(tmp_path.iterdir())
