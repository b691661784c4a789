import copy

import numpy as np
import pytest

from portrait_tf.config import AugmentationConfig
from portrait_tf.data.augment import (
    Placement,
    fit_placement,
    prepare,
    random_placement,
)
from portrait_tf.data.sample import Sample
from portrait_tf.errors import PortraitError
from portrait_tf.labels import JOINTS

STILL = AugmentationConfig(
    mirror=0,
    scale=(1, 1),
    shift=0,
    cover=False,
    brightness=0,
    contrast=0,
    saturation=0,
)


def changed(**values) -> AugmentationConfig:
    return STILL.model_copy(update=values)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def sample_of(height: int, width: int, joints: dict | None = None) -> Sample:
    photo = rng(7).integers(0, 256, (height, width, 3), np.uint8)
    parsing = rng(8).integers(0, 20, (height, width)).astype(np.uint8)
    all_joints = np.full((16, 3), np.nan, np.float32)
    for index, values in (joints or {}).items():
        all_joints[index] = values
    return Sample("one", photo, parsing, all_joints)


def test_fit_is_centered_at_the_top():
    assert fit_placement((200, 100), (100, 80)) == Placement(100, 50, 0, 15)
    assert fit_placement((50, 100), (100, 80)) == Placement(40, 80, 0, 0)
    assert fit_placement((10, 5), (100, 80)) == Placement(100, 50, 0, 15)
    assert fit_placement((1, 5000), (100, 80)) == Placement(1, 80, 0, 0)


@pytest.mark.parametrize("random", [(), (rng(), STILL)])
def test_a_sample_of_the_working_size_stays_as_it_is(random):
    sample = sample_of(32, 16, {0: (3, 30, 0), 5: (12.5, 29.25, 1)})
    prepared = prepare(sample, (32, 16), *random)
    types = {"image": np.uint8, "parsing": np.uint8, "joints": np.float32}
    assert {key: value.dtype for key, value in prepared.items()} == types
    np.testing.assert_array_equal(prepared["image"], sample.photo)
    np.testing.assert_array_equal(prepared["parsing"], sample.parsing)
    expected = np.zeros((16, 3))
    expected[[0, 5]] = (3, 30, 1), (12.5, 29.25, 1)
    np.testing.assert_array_equal(prepared["joints"], expected)


def test_shrinking_averages_areas():
    sample = sample_of(64, 32)
    prepared = prepare(sample, (16, 8))
    blocks = sample.photo.reshape(16, 4, 8, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(prepared["image"], blocks, atol=0.51)


def test_labels_and_photo_stay_aligned():
    cells = rng(3).integers(0, 20, (8, 8)).astype(np.uint8)
    parsing = np.kron(cells, np.ones((10, 10), np.uint8))
    photo = np.repeat(parsing[..., np.newaxis] * 12, 3, axis=2)
    for size in ((40, 40), (240, 240)):
        prepared = prepare(Sample("one", photo, parsing), size)
        assert prepared["parsing"].shape == size
        scale = size[0] // 8
        middle = (slice(scale // 2, None, scale),) * 2
        np.testing.assert_array_equal(prepared["parsing"][middle], cells)
        np.testing.assert_array_equal(prepared["image"][middle][..., 0], cells * 12)


def test_fit_fills_the_rest_with_edges_and_void():
    sample = sample_of(20, 8, {0: (0, 0, 0), 1: (7, 19, 0)})
    prepared = prepare(sample, (20, 16))
    around = (0, 0), (4, 4)
    image = np.pad(sample.photo, (*around, (0, 0)), mode="edge")
    np.testing.assert_array_equal(prepared["image"], image)
    parsing = np.pad(sample.parsing, around, constant_values=255)
    np.testing.assert_array_equal(prepared["parsing"], parsing)
    np.testing.assert_array_equal(prepared["joints"][:2], [[4, 0, 1], [11, 19, 1]])


def test_mirror_swaps_sides():
    joints = {
        JOINTS.index("R_Ankle"): (2, 30, 0),
        JOINTS.index("L_Wrist"): (12, 10, 1),
        JOINTS.index("Neck"): (8, 5, 0),
    }
    sample = sample_of(32, 16, joints)
    sample.parsing[:] = 255
    sample.parsing[10:20, :3] = 14
    sample.parsing[20:30, 13:] = 17
    sample.parsing[30:, 0] = 18
    sample.parsing[:5] = 13
    prepared = prepare(sample, (32, 16), rng(), changed(mirror=1))
    np.testing.assert_array_equal(prepared["image"], sample.photo[:, ::-1])
    expected = np.full((32, 16), 255)
    expected[10:20, 13:] = 15
    expected[20:30, :3] = 16
    expected[30:, 15] = 19
    expected[:5] = 13
    np.testing.assert_array_equal(prepared["parsing"], expected)
    moved = np.zeros((16, 3))
    moved[JOINTS.index("L_Ankle")] = 13, 30, 1
    moved[JOINTS.index("R_Wrist")] = 3, 10, 1
    moved[JOINTS.index("Neck")] = 7, 5, 1
    np.testing.assert_array_equal(prepared["joints"], moved)
    # Also where the photo does not fill the frame.
    sample = sample_of(40, 13)
    plain = prepare(sample, (20, 16), rng(), STILL)
    mirrored = prepare(sample, (20, 16), rng(), changed(mirror=1))
    np.testing.assert_array_equal(mirrored["image"], plain["image"][:, ::-1])
    void = mirrored["parsing"] == 255
    np.testing.assert_array_equal(void, plain["parsing"][:, ::-1] == 255)


def test_zoom_is_about_the_photos_center():
    sample = sample_of(32, 16, {0: (7.5, 15.5, 0), 1: (8.5, 19.5, 0)})
    prepared = prepare(sample, (32, 16), rng(), changed(scale=(2, 2)))
    np.testing.assert_allclose(prepared["joints"][:2], [[7.5, 15.5, 1], [9.5, 23.5, 1]])
    np.testing.assert_array_equal(
        prepared["parsing"], sample.parsing[8:24, 4:12].repeat(2, 0).repeat(2, 1)
    )


def test_smaller_photo_shows_its_reflection_and_void():
    sample = sample_of(32, 16)
    prepared = prepare(sample, (32, 16), rng(), changed(scale=(0.5, 0.5)))
    assert (prepared["parsing"] != 255).sum() == 16 * 8
    inside = prepared["image"][8:24, 4:12]
    np.testing.assert_array_equal(prepared["image"][8:24, 3], inside[:, 1])
    np.testing.assert_array_equal(prepared["image"][7, 4:12], inside[1])


@pytest.mark.parametrize("photo_size", [(32, 16), (20, 30), (64, 16), (7, 3)])
def test_a_covering_photo_leaves_nothing_to_its_reflection(photo_size):
    sample = sample_of(*photo_size)
    for seed in range(50):
        augmentation = changed(mirror=0.5, scale=(0.5, 1.5), shift=0.3, cover=True)
        prepared = prepare(sample, (32, 16), rng(seed), augmentation)
        assert (prepared["parsing"] != 255).all()


def test_shift_moves_everything_by_the_same_whole_pixels():
    sample = sample_of(32, 16, {0: (8, 16, 0)})
    seen = set()
    for seed in range(20):
        prepared = prepare(sample, (32, 16), rng(seed), changed(shift=0.25))
        x, y = prepared["joints"][0, :2]
        right, down = int(x) - 8, int(y) - 16
        assert (x, y) == (8 + right, 16 + down)
        assert abs(right) <= 4
        assert abs(down) <= 8
        seen.add((right, down))
        rows = slice(max(0, down), 32 + min(0, down))
        columns = slice(max(0, right), 16 + min(0, right))
        source = (
            slice(rows.start - down, rows.stop - down),
            slice(columns.start - right, columns.stop - right),
        )
        window = prepared["parsing"][rows, columns]
        np.testing.assert_array_equal(window, sample.parsing[source])
        np.testing.assert_array_equal(
            prepared["image"][rows, columns], sample.photo[source]
        )
        assert (prepared["parsing"] != 255).sum() == window.size
    assert len(seen) > 10


def test_random_placement_stays_in_its_ranges():
    augmentation = changed(mirror=0.5, scale=(0.5, 2), shift=0.1)
    placements = [
        random_placement(rng(seed), (100, 50), (100, 50), augmentation)
        for seed in range(100)
    ]
    heights = [one.height for one in placements]
    assert 50 <= min(heights) < 60
    assert 180 < max(heights) <= 200
    assert 30 < sum(one.mirror for one in placements) < 70
    for one in placements:
        assert abs(one.top + one.height / 2 - 50) <= 10.5
        assert abs(one.left + one.width / 2 - 25) <= 5.5


def test_joints_inside_the_frame_count():
    places = (-1, 5, 0), (5, 32, 0), (15.4, 31.4, 0), (15.5, 5, 0), (-0.5, -0.5, 1)
    sample = sample_of(32, 16, dict(enumerate(places)))
    joints = prepare(sample, (32, 16))["joints"]
    np.testing.assert_array_equal(joints[:, 2], [0, 0, 1, 0, 1] + [0] * 11)
    assert not joints[[0, 1, 3]].any()
    assert np.isfinite(joints).all()
    # Outside the photo, too.
    sample = sample_of(20, 8, {0: (-2, 3, 0)})
    np.testing.assert_array_equal(prepare(sample, (20, 16))["joints"][0], [2, 3, 1])


@pytest.mark.parametrize("source", [None, rng()])
def test_without_annotation(source):
    prepared = prepare(Sample("one", sample_of(20, 8).photo), (20, 16), source)
    assert (prepared["parsing"] == 255).all()
    assert not prepared["joints"].any()


def jittered(top: tuple, below: tuple, seeds: int, **changes: float) -> np.ndarray:
    """First and last row `[seeds, 2, 3]` of a photo of two colors, changed."""
    photo = np.zeros((16, 16, 3), np.uint8)
    photo[:8], photo[8:] = top, below
    images = [
        prepare(Sample("one", photo), (16, 16), rng(seed), changed(**changes))["image"]
        for seed in range(seeds)
    ]
    return np.array(images)[:, [0, -1], 0].astype(int)


def test_colors_change_by_brightness_contrast_and_saturation():
    values = jittered((128,) * 3, (128,) * 3, 60, brightness=0.1)
    assert 102 <= values.min() < 110
    assert 146 < values.max() <= 154
    grays = jittered((100,) * 3, (100,) * 3, 5, contrast=0.5, saturation=0.5)
    np.testing.assert_array_equal(grays, 100)
    # Contrast scales about the mean.
    high, low = jittered((140,) * 3, (100,) * 3, 5, contrast=0.5)[..., 0].T
    assert (abs(low + high - 240) <= 1).all()
    assert (high - low >= 20).all() and (high - low <= 60).all()
    # Saturation keeps the luma.
    colors = jittered((140, 100, 100), (140, 100, 100), 5, saturation=0.5)
    luma = colors @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(luma, 100 + 0.299 * 40, atol=0.6)
    chroma = colors[..., 0] - colors[..., 1]
    assert (chroma >= 20).all() and (chroma <= 60).all()


def test_a_seed_is_a_sample_and_the_source_is_not_changed():
    sample = sample_of(60, 40, {0: (20, 30, 0)})
    before = copy.deepcopy(sample)
    first, second, other = (prepare(sample, (32, 16), rng(seed)) for seed in (1, 1, 2))
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])
    assert (first["image"] != other["image"]).any()
    prepare(sample, (60, 40), rng(), AugmentationConfig(mirror=1))
    for key in ("photo", "parsing", "joints"):
        np.testing.assert_array_equal(getattr(sample, key), getattr(before, key))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("photo", np.zeros((8, 8, 3), np.float32), "photo of type uint8.*float32"),
        ("photo", np.zeros((8, 8), np.uint8), r"\[height, width, 3\].*\[8, 8\]"),
        ("parsing", np.zeros((8, 8), np.int64), "label map of type uint8.*int64"),
        ("parsing", np.zeros((8, 7), np.uint8), r"\[8, 8\].*\[8, 7\]"),
        ("joints", np.zeros((14, 3), np.float32), r"\[16, 3\].*\[14, 3\]"),
    ],
)
def test_wrong_samples_say_why(field, value, message):
    sample = sample_of(8, 8)
    setattr(sample, field, value)
    with pytest.raises(PortraitError, match=rf"^one: expected .*{message}"):
        prepare(sample, (16, 16))
