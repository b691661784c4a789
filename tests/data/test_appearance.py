"""Strong augmentation: close-ups, rotation, other clothes and other backgrounds."""

import cv2
import numpy as np
import pytest
from test_augment import STILL, changed, rng, sample_of

from portrait_tf.config import AugmentationConfig, Config
from portrait_tf.data.appearance import (
    GARMENTS,
    exchange_background,
    recolor_clothes,
    without_person,
)
from portrait_tf.data.augment import Placement, placement_matrix, prepare
from portrait_tf.data.dataset import training_sample
from portrait_tf.data.mixture import Mixture
from portrait_tf.data.sample import Sample
from portrait_tf.data.synthetic import synthesize
from portrait_tf.errors import PortraitError
from portrait_tf.labels import LABELS

SIZE = (96, 64)
CLOTHES = np.isin(np.arange(256), [label for one in GARMENTS for label in one])
SKIN = [LABELS.index(name) for name in ("Hair", "Face", "LeftArm", "RightArm")]


@pytest.fixture(scope="module")
def people():
    return [synthesize(seed, SIZE) for seed in range(4)]


def plain_person(color=(200, 40, 40), behind=(60, 120, 60)) -> Sample:
    """A head, a shirt and a skirt, before one color."""
    parsing = np.zeros(SIZE, np.uint8)
    parsing[10:25, 24:40] = LABELS.index("Face")
    parsing[25:60, 18:46] = LABELS.index("UpperClothes")
    parsing[60:90, 18:46] = LABELS.index("Skirt")
    photo = np.full((*SIZE, 3), behind, np.uint8)
    photo[parsing > 0] = color
    photo[10:25, 24:40] = 230, 190, 170
    return Sample("plain", photo, parsing)


def test_defaults_draw_the_numbers_that_they_drew():
    """Mirror, zoom, shift, three colors: then the hole is that of old configs, too."""
    used, expected = rng(5), rng(5)
    prepare(sample_of(60, 40, {0: (20, 30, 0)}), (48, 32), used)
    expected.random(7)
    assert used.random() == expected.random()


def test_another_sample_is_not_read_where_it_is_not_wanted(people):
    def never(rng):
        raise AssertionError

    prepare(people[0], SIZE, rng(), AugmentationConfig(), never)
    wanting = changed(background=1)
    prepare(people[0], SIZE, None, wanting, never)
    prepare(Sample("bare", people[0].photo), SIZE, rng(), wanting, never)


def test_recoloring_changes_clothes_and_nothing_else(people):
    hit = 0
    for seed in range(8):
        sample = people[seed % len(people)]
        image = recolor_clothes(rng(seed), sample.photo, sample.parsing)
        assert image.dtype == np.uint8 and image.shape == sample.photo.shape
        different = (image != sample.photo).any(axis=2)
        hit += different[CLOTHES[sample.parsing]].mean() > 0.3
        assert not different[np.isin(sample.parsing, SKIN)].any()
        # Of the background only what touches a garment, and that in part.
        near = _grown(CLOTHES[sample.parsing], 1)
        assert not different[(sample.parsing == 0) & ~near].any()
    assert hit >= 6


def test_a_garment_changes_as_a_whole():
    sample = plain_person()
    seen = set()
    for seed in range(6):
        image = recolor_clothes(rng(seed), sample.photo, sample.parsing)
        for name in ("UpperClothes", "Skirt"):
            colors = image[sample.parsing == LABELS.index(name)]
            assert len(np.unique(colors, axis=0)) == 1
            seen.add((name, *colors[0]))
    assert len(seen) > 8
    # Both shoes are one.
    left, right = LABELS.index("LeftShoe"), LABELS.index("RightShoe")
    sample.parsing[60:90, 18:30], sample.parsing[60:90, 30:46] = left, right
    for seed in range(6):
        image = recolor_clothes(rng(seed), sample.photo, sample.parsing)
        np.testing.assert_array_equal(image[70, 20], image[70, 40])


def test_a_mixed_pixel_takes_its_part_of_the_change():
    sample = plain_person((200, 40, 40), (200, 40, 40))
    for seed in range(6):
        image = recolor_clothes(rng(seed), sample.photo, sample.parsing).astype(int)
        whole = image[40, 18] - sample.photo[40, 18]
        beside = image[40, 17] - sample.photo[40, 17]
        # A 3x3 Gauss kernel: a quarter of its weight is one column beside.
        np.testing.assert_allclose(beside, whole / 4, atol=1)
        np.testing.assert_array_equal(image[40, 16], sample.photo[40, 16])


def test_recolored_samples_keep_labels_and_joints(people):
    for seed in range(4):
        plain, other = (
            prepare(people[0], SIZE, rng(seed), changed(recolor=chance))
            for chance in (0, 1)
        )
        np.testing.assert_array_equal(plain["parsing"], other["parsing"])
        np.testing.assert_array_equal(plain["joints"], other["joints"])
    again = prepare(people[0], SIZE, rng(3), changed(recolor=1))
    np.testing.assert_array_equal(again["image"], other["image"])
    assert (plain["image"] != other["image"]).any()


def test_nothing_to_recolor():
    sample = sample_of(32, 16)
    for parsing in (np.zeros((32, 16), np.uint8), np.full((32, 16), 255, np.uint8)):
        image = recolor_clothes(rng(), sample.photo, parsing)
        np.testing.assert_array_equal(image, sample.photo)
    bare = Sample("bare", sample.photo)
    image = prepare(bare, (32, 16), rng(), changed(recolor=1))["image"]
    np.testing.assert_array_equal(image, sample.photo)


def test_the_background_is_from_the_other_photo():
    sample, other = plain_person(), plain_person((20, 20, 90), (30, 40, 200))
    prepared = prepare(sample, SIZE, rng(), changed(background=1), lambda rng: other)
    np.testing.assert_array_equal(prepared["parsing"], sample.parsing)
    person = sample.parsing > 0
    inside = np.zeros_like(person)
    inside[27:88, 20:44] = True
    np.testing.assert_array_equal(prepared["image"][inside], sample.photo[inside])
    # Nobody of the other photo is left, and nothing of this one's background but in
    # the corner of neck and shoulder, which is no wider than a belt.
    away = prepared["image"].astype(int)[~_grown(person, 2)]
    np.testing.assert_allclose(away, np.tile((30, 40, 200), (len(away), 1)), atol=6)
    beside = prepared["image"][70, [16, 17, 46, 47]]
    np.testing.assert_allclose(beside, np.tile((30, 40, 200), (4, 1)), atol=6)


def _grown(region: np.ndarray, reach: int) -> np.ndarray:
    size = 2 * reach + 1
    return cv2.dilate(region.view(np.uint8), np.ones((size, size))) > 0


def test_what_is_exchanged():
    sample = plain_person()
    # Not a gap as thin as a belt, nor what is void inside the photo.
    sample.parsing[58:61, 18:46] = 0
    sample.parsing[40:50, 46:60] = 255
    sample.parsing[:, :6] = 255
    covered = np.ones(SIZE, np.uint8)
    covered[:, :6] = 0
    backdrop = np.full((*SIZE, 3), (30, 40, 200), np.uint8)
    image = exchange_background(sample.photo, sample.parsing, covered, backdrop)
    np.testing.assert_array_equal(image[59, 22:42], sample.photo[59, 22:42])
    np.testing.assert_array_equal(image[45, 50:57], sample.photo[45, 50:57])
    np.testing.assert_array_equal(image[:, :6], backdrop[:, :6])


def test_without_a_person_or_another_map_the_photo_stays(people):
    empty = Sample("empty", people[0].photo, np.zeros(SIZE, np.uint8))
    bare = Sample("bare", people[1].photo)
    for sample, other in ((empty, people[1]), (people[0], bare)):
        image = prepare(
            sample, SIZE, rng(), changed(background=1), lambda rng, other=other: other
        )["image"]
        np.testing.assert_array_equal(image, sample.photo)
    # A photo that is all person lends a background all the same.
    photo = sample_of(*SIZE).photo
    filled = without_person(photo, np.full(SIZE, 5, np.uint8))
    assert filled.shape == photo.shape
    assert filled.std() < photo.std() / 4


def test_backgrounds_follow_from_seed_and_position(people):
    config = Config(size=SIZE, augmentation=changed(background=1))
    first, second = (
        [training_sample(people, config, position, 3) for position in range(6)]
        for _ in range(2)
    )
    plain = config.model_copy(update={"augmentation": STILL})
    for position, (one, other) in enumerate(zip(first, second, strict=True)):
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])
        kept = training_sample(people, plain, position, 3)
        np.testing.assert_array_equal(one["parsing"], kept["parsing"])
        assert (one["image"] != kept["image"]).any()


@pytest.mark.parametrize("lenders", [None, (1, 1)])
def test_backgrounds_come_from_a_samples_own_data_set_or_another(lenders):
    """Blue and green; with `lenders`, people before blue get green, too."""
    blue = [plain_person(behind=(0, 0, 200)) for _ in range(3)]
    green = [plain_person(behind=(0, 200, 0)) for _ in range(3)]
    background = 1 if lenders is None else 0
    config = Config(
        size=SIZE, augmentation=changed(background=background),
        data={"backgrounds": lenders},
    )  # fmt: skip
    reader = Mixture([blue, green])
    for position in range(12):
        image = training_sample(reader, config, position, 0)["image"]
        source = 1 if lenders else reader.source(reader.index_at(position, 0))
        assert image[2, 2, 2 - source] > 150 and image[2, 2, 1 + source] < 50
    config.data.backgrounds = (2, 1)
    with pytest.raises(PortraitError, match=r"2 numbers from 0 to 1, .* \[2, 1\]"):
        training_sample(reader, config, 0, 0)


def test_close_ups_show_the_body_and_nothing_outside_the_photo(people):
    sizes = set()
    for seed in range(12):
        sample = people[seed % len(people)]
        prepared = prepare(sample, SIZE, rng(seed), changed(crop=1))
        assert (prepared["parsing"] != 255).all()
        assert (prepared["parsing"] > 0).any()
        assert prepared["joints"][:, 2].any()
        sizes.add(int((prepared["parsing"] > 0).sum()))
        again = prepare(sample, SIZE, rng(seed), changed(crop=1))
        np.testing.assert_array_equal(prepared["image"], again["image"])
    assert len(sizes) > 6
    joints = {0: (20, 30, 0), 1: (24, 36, 0)}
    sample = sample_of(60, 40, joints)
    sample.joints[2:] = np.nan
    for seed in range(20):
        augmentation = changed(crop=1, crop_zoom=(1.5, 1.5))
        moved = prepare(sample, (60, 40), rng(seed), augmentation)["joints"]
        if moved[:2, 2].all():
            np.testing.assert_allclose(moved[1, :2] - moved[0, :2], [6, 9], atol=1e-4)
        assert moved[:2, 2].any()


def test_a_close_up_is_about_the_map_where_there_are_no_joints():
    sample = sample_of(60, 40)
    sample.joints, sample.parsing[:] = None, 0
    sample.parsing[48:56, 28:36] = 5
    for seed in range(10):
        parsing = prepare(sample, (60, 40), rng(seed), changed(crop=1))["parsing"]
        assert (parsing == 5).any()
    sample.parsing = None
    assert prepare(sample, (60, 40), rng(), changed(crop=1))["image"].shape[0] == 60


def test_a_turn_moves_photo_labels_and_joints_alike():
    photo = np.zeros((64, 64, 3), np.uint8)
    parsing = np.zeros((64, 64), np.uint8)
    photo[10:17, 40:47], parsing[10:17, 40:47] = 255, 5
    joints = np.full((16, 3), np.nan, np.float32)
    joints[0] = 43, 13, 0
    sample = Sample("turned", photo, parsing, joints)
    moved = set()
    for seed in range(8):
        for mirror in (0, 1):
            augmentation = changed(rotate=20, mirror=mirror)
            prepared = prepare(sample, (64, 64), rng(seed), augmentation)
            joint = prepared["joints"][prepared["joints"][:, 2] > 0][0, :2]
            for region in (prepared["parsing"] == 5, prepared["image"][..., 0] > 127):
                rows, columns = np.nonzero(region)
                center = [columns.mean(), rows.mean()]
                np.testing.assert_allclose(center, joint, atol=0.6)
            moved.add((round(float(joint[0])), round(float(joint[1]))))
    assert len(moved) > 8


def test_a_turn_is_about_the_frames_center_and_against_the_clock():
    matrix = placement_matrix((64, 64), (64, 64), Placement(64, 64, 0, 0, angle=90.0))
    np.testing.assert_allclose(matrix @ [31.5, 31.5, 1], [31.5, 31.5], atol=1e-9)
    np.testing.assert_allclose(matrix @ [63, 31.5, 1], [31.5, 0], atol=1e-9)
