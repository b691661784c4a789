import cv2
import numpy as np
import pytest

from portrait_tf.compat.addons import cutout, dense_image_warp
from portrait_tf.config import AugmentationConfig
from portrait_tf.data.augment import prepare
from portrait_tf.data.dataset import training_sample
from portrait_tf.data.distortion import (
    random_cutout,
    random_flow,
    swing_arms,
    warp_sample,
)
from portrait_tf.data.sample import Sample
from portrait_tf.labels import JOINTS, LABELS

SIZE = (48, 32)
LARGEST = 0.06


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_warp_is_bilinear_and_repeats_the_border():
    image = rng().uniform(0, 255, (6, 5, 3)).astype(np.float32)
    flow = np.zeros((6, 5, 2), np.float32)
    np.testing.assert_allclose(dense_image_warp(image, flow), image, atol=1e-3)
    flow[..., 0], flow[..., 1] = 1.0, -0.5
    warped = dense_image_warp(image, flow)
    # One row from above, half a column from the right.
    expected = (image[1, 1] + image[1, 2]) / 2
    np.testing.assert_allclose(warped[2, 1], expected, atol=1e-3)
    np.testing.assert_allclose(warped[0, 4], image[0, 4], atol=1e-3)


def test_a_flow_is_smooth_and_as_large_as_it_may_be():
    flow = random_flow(rng(), SIZE, LARGEST)
    assert flow.shape == (*SIZE, 2) and flow.dtype == np.float32
    assert 0.5 * LARGEST * 32 < np.abs(flow).max() <= LARGEST * 32
    assert max(np.abs(np.diff(flow, axis=axis)).max() for axis in (0, 1)) < 1
    np.testing.assert_array_equal(flow, random_flow(rng(), SIZE, LARGEST))


def still() -> tuple:
    """A black photo, a map of one label, and no joints."""
    return (
        np.zeros((*SIZE, 3), np.uint8), np.ones(SIZE, np.uint8),
        np.zeros((16, 3), np.float32),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_labels_and_joints_move_with_the_photo(seed):
    image, parsing, joints = still()
    parsing[:] = 0
    for index, (x, y) in enumerate([(8, 9), (22, 14), (15, 36)]):
        image[y - 2 : y + 3, x - 2 : x + 3, index] = 255
        parsing[y - 2 : y + 3, x - 2 : x + 3] = index + 1
        joints[index] = x, y, 1
    flow = random_flow(rng(seed), SIZE, LARGEST)
    warped, labels, moved = warp_sample(image, parsing, joints, flow)
    assert not moved[3:].any() and (moved[:3, 2] == 1).all()
    assert np.abs(moved - joints)[:3].max() > 0.8
    rows, columns = np.indices(SIZE)
    for index in range(3):
        weights = warped[..., index] / warped[..., index].sum()
        center = [(weights * columns).sum(), (weights * rows).sum()]
        np.testing.assert_allclose(moved[index, :2], center, atol=0.7)
        of_label = labels == index + 1
        agree = (warped[..., index] > 127) == of_label
        assert of_label.sum() > 9 and (~agree).sum() <= 0.3 * of_label.sum()


@pytest.mark.parametrize("size", [(96, 64), (64, 96)])
def test_joints_are_where_the_largest_warp_shows_them(size):
    image = np.zeros((*size, 3), np.uint8)
    joints = np.zeros((16, 3), np.float32)
    for seed in range(200):
        random = rng(seed)
        joints[:, :2] = random.uniform(0.3, 0.7, (16, 2)) * size[::-1]
        joints[:, 2] = 1
        flow = random_flow(random, size, LARGEST)
        *_, moved = warp_sample(image, np.ones(size, np.uint8), joints, flow)
        assert (moved[:, 2] == 1).all()
        rows, columns = moved[:, 1::-1].T.reshape(2, -1, 1)
        shift = cv2.remap(flow, columns, rows, cv2.INTER_LINEAR)[:, 0]
        np.testing.assert_allclose(moved[:, 1::-1] - shift, joints[:, 1::-1], atol=0.05)


def test_what_a_warp_brings_in_is_void_and_what_it_moves_out_is_gone():
    image, parsing, joints = still()
    joints[0] = 20, 46, 1
    flow = np.zeros((*SIZE, 2), np.float32)
    flow[..., 0] = 3.0
    _, labels, moved = warp_sample(image, parsing, joints, flow)
    assert (labels[:3] == 255).all() and (labels[3:] == 1).all()
    assert not moved.any()


def test_cutout_is_a_rectangle_that_ends_at_the_border():
    image = rng().integers(0, 100, (20, 30, 3)).astype(np.uint8)
    before = image.copy()
    cut = cutout(image, (2, 29), (8, 6), 127)
    expected = image.copy()
    expected[:6, 26:] = 127
    np.testing.assert_array_equal(cut, expected)
    np.testing.assert_array_equal(image, before)
    values = AugmentationConfig(cutout=1.0, cutout_size=(0.25, 0.25))
    areas = [
        (random_cutout(rng(seed), still()[0], values) == 127).all(-1).sum()
        for seed in range(20)
    ]
    # 12 by 8 pixels; less at the border.
    assert max(areas) == 96 and min(areas) < 96


def test_samples_are_the_same_again_and_off_by_default():
    sample = Sample("one", rng(1).integers(0, 256, (60, 40, 3), np.uint8))
    plain = prepare(sample, SIZE, rng(), AugmentationConfig())
    changed = AugmentationConfig(warp=0.05, cutout=1.0)
    one, two = (prepare(sample, SIZE, rng(), changed) for _ in range(2))
    np.testing.assert_array_equal(one["image"], two["image"])
    assert (one["image"] != plain["image"]).mean() > 0.5
    assert (one["image"] == 127).all(-1).sum() > 8


ARM = [JOINTS.index(f"R_{name}") for name in ("Shoulder", "Elbow", "Wrist")]
BARE = LABELS.index("RightArm")


def hanging_arm() -> tuple:
    """A map with a torso and a bare arm beside it, its joints, and a hole around."""
    parsing = np.zeros((96, 64), np.uint8)
    parsing[20:70, 24:40] = LABELS.index("UpperClothes")
    parsing[20:66, 15:19] = BARE
    joints = np.zeros((16, 3), np.float32)
    joints[ARM] = [(17, 22, 1), (17, 42, 1), (17, 60, 1)]
    mask = np.zeros((96, 64), np.uint8)
    mask[30:90, :60] = 255
    return parsing, joints, mask


@pytest.mark.parametrize("seed", range(6))
def test_an_arm_swings_with_its_joints_and_in_the_hole_only(seed):
    parsing, joints, mask = hanging_arm()
    before = parsing.copy()
    swung, moved = swing_arms(rng(seed), parsing, joints, mask, 1.0)
    shift = moved[ARM[2], :2] - joints[ARM[2], :2]
    reach = np.hypot(*shift)
    assert 0.5 < reach <= 0.4 * 38 + 1e-3
    # The elbow moves less than the wrist, the shoulder and what is seen not at all.
    bend = moved[ARM[1], :2] - joints[ARM[1], :2]
    np.testing.assert_allclose(bend / shift, bend[0] / shift[0], rtol=1e-3)
    assert 0 <= bend[0] / shift[0] <= 0.7
    np.testing.assert_array_equal(moved[ARM[0]], joints[ARM[0]])
    np.testing.assert_array_equal(swung[mask == 0], parsing[mask == 0])
    np.testing.assert_array_equal(parsing, before)
    # The map has a bare wrist where the joint went, and none where it was.
    column, row = np.rint(moved[ARM[2], :2]).astype(int)
    near = swung[row - 2 : row + 3, column - 2 : column + 3]
    assert (near == BARE).mean() > 0.3
    if reach > 8:
        assert (swung[57:63, 15:19] == BARE).mean() < 0.5


@pytest.mark.parametrize("seed", range(6))
def test_a_seen_elbow_stays_while_its_hidden_wrist_swings(seed):
    parsing, joints, mask = hanging_arm()
    mask[:45] = 0
    swung, moved = swing_arms(rng(seed), parsing, joints, mask, 1.0)
    np.testing.assert_array_equal(moved[ARM[:2]], joints[ARM[:2]])
    assert np.hypot(*(moved[ARM[2], :2] - joints[ARM[2], :2])) > 0.5
    np.testing.assert_array_equal(swung[mask == 0], parsing[mask == 0])
    column, row = np.rint(moved[ARM[2], :2]).astype(int)
    near = swung[row - 2 : row + 3, column - 2 : column + 3]
    assert (near == BARE).mean() > 0.3


def test_an_arm_whose_wrist_is_seen_stays():
    parsing, joints, mask = hanging_arm()
    mask[58:] = 0
    swung, moved = swing_arms(rng(), parsing, joints, mask, 1.0)
    np.testing.assert_array_equal(swung, parsing)
    np.testing.assert_array_equal(moved, joints)
    mask[:] = 255
    swung, _ = swing_arms(rng(), parsing, joints, mask, 0.0)
    np.testing.assert_array_equal(swung, parsing)


def test_a_swing_leaves_photo_and_hole_of_a_training_sample(tiny_config):
    photo = rng().integers(0, 256, (96, 64, 3), np.uint8)
    parsing, joints, _ = hanging_arm()
    reader = [Sample("one", photo, parsing, joints)]
    update = {"augmentation": AugmentationConfig(swing=1.0)}
    swinging = tiny_config.model_copy(update=update)
    plain = tiny_config.model_copy(update={"augmentation": AugmentationConfig()})
    differing = 0
    for position in range(40):
        one, two = (
            training_sample(reader, config, position, 0) for config in (plain, swinging)
        )
        for key in ("image", "mask"):
            np.testing.assert_array_equal(one[key], two[key])
        known = one["mask"] == 0
        np.testing.assert_array_equal(one["parsing"][known], two["parsing"][known])
        differing += (one["joints"] != two["joints"]).any()
    assert differing
