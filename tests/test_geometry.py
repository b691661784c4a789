"""Where a dot goes: out of a photo, into the networks' frame, and back."""

import json
from fractions import Fraction

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from processes import python_output

from portrait_tf.apps.folders import parse_file, plan_parsing
from portrait_tf.geometry import (
    Box,
    Placement,
    enlarge_labels,
    enlarge_maps,
    fit_maps,
    fit_photos,
    fit_placement,
    fitted_size,
    inside,
    joint_parts,
    joints_of_parts,
    place_joints,
    place_photos,
    placement_matrix,
    scale_joints,
    scaled,
    shrink,
    shrunk_size,
)
from portrait_tf.inference.averaging import AveragedParsing
from portrait_tf.inference.large_photos import parse_photo
from portrait_tf.inference.whole_body import look_at
from portrait_tf.layers import crop_and_resize, heatmap_peaks, joint_heatmaps, uncrop
from portrait_tf.models.parsing import parsing_labels
from portrait_tf.photos import write_png
from portrait_tf.portrait import Portrait

FRAME = (192, 128)
SIZES = [
    (192, 128),
    (3840, 2560),
    (1023, 677),
    (97, 61),
    (500, 1501),
    (1999, 301),
]


def dot(size, place, spread):
    """A white dot on black, about x and y of any fraction of a pixel."""
    rows, columns = (np.arange(n, dtype=np.float32) for n in size)
    bright = np.exp(-((columns - place[0]) ** 2) / (2 * spread**2))
    bright = bright * np.exp(-((rows - place[1]) ** 2) / (2 * spread**2))[:, None]
    return np.repeat(np.rint(255 * bright).astype(np.uint8)[..., None], 3, axis=-1)


def middle_of(bright):
    """x and y of the center of mass of `[h, w]`."""
    rows, columns = np.indices(bright.shape)
    return np.array([(bright * n).sum() / bright.sum() for n in (columns, rows)])


class DotEngine:
    """A stage 1 that takes a dot for all joints, and sees no person."""

    working_size = FRAME

    def parse(self, photo, mask=None):
        joints = np.ones((16, 3), np.float32)
        joints[:, :2] = middle_of(photo[..., 0].astype(float))
        return np.zeros(photo.shape[:2], np.uint8), joints


class DotNetwork:
    """A network that has learned to draw heat maps of a dot without any error."""

    size, pose, rounds, hints = FRAME, True, 0, False

    def __init__(self):
        self.input = {"image": keras.Input((None, None, 3))}

    def __call__(self, inputs, training=False):
        bright = np.array(inputs["image"])[..., 0] + 1.0
        batch, height, width = bright.shape
        joints = np.ones((batch, 16, 3), np.float32)
        joints[..., :2] = [[middle_of(one)] for one in bright]
        joints = joint_parts(joints, (height, width))
        return {
            "parsing": tf.zeros([batch, height // 2, width // 2, 20]),
            "pose_0": joint_heatmaps(joints, (height // 4, width // 4), 0.021),
        }


class TestJoints:
    @pytest.mark.parametrize("size", SIZES)
    def test_a_dot_comes_back_through_the_working_frame(self, size):
        times = max(size[0] / FRAME[0], size[1] / FRAME[1])
        place = np.array([0.63 * size[1] + 0.3, 0.37 * size[0]])
        photo = dot(size, place, max(1.5, 2 * times))
        mask = np.zeros((1, *size, 1), np.uint8)
        small, hole, where = fit_photos(photo[None], mask, FRAME)
        seen = middle_of(((small + 1.0) * (1.0 - hole)).numpy()[0, ..., 0])
        joints = np.ones((1, 16, 3), np.float32)
        joints[..., :2] = seen
        # As training draws it, and as the answer is read.
        target = joint_heatmaps(joint_parts(joints, FRAME), (48, 32), 0.021)
        found = joints_of_parts(heatmap_peaks(target), FRAME)
        np.testing.assert_allclose(found[..., :2], joints[..., :2], atol=1e-3)
        found = place_joints(found, size, where).numpy()
        np.testing.assert_allclose(
            found[..., :2], np.broadcast_to(place, (1, 16, 2)), atol=0.02 * times + 0.02
        )
        # The same way, with arrays.
        fit = fit_placement(size, FRAME)
        matrix = placement_matrix(size, FRAME, fit)
        np.testing.assert_allclose(matrix @ [*place, 1], seen, atol=0.04)

    def test_joints_at_exact_places(self):
        joints = np.zeros((1, 16, 3), np.float32)
        joints[0, :3, :2] = (0, 0), (127, 191), (63.5, 95.5)
        joints[..., 2] = 0.7
        found = place_joints(tf.constant(joints), (3840, 2560), (0, 0, *FRAME)).numpy()
        wanted = [(9.5, 9.5), (2549.5, 3829.5), (1279.5, 1919.5)]
        np.testing.assert_allclose(found[0, :3, :2], wanted, atol=1e-3)
        np.testing.assert_array_equal(found[..., 2], joints[..., 2])
        again = scale_joints(found, (3840, 2560), FRAME)
        np.testing.assert_allclose(again, joints, atol=1e-4)
        assert again.dtype == np.float32

    @pytest.mark.parametrize("size", SIZES)
    def test_parse_finds_a_dot(self, size, tmp_path):
        place = np.array([0.41 * size[1], 0.58 * size[0] + 0.4])
        times = max(1, size[0] / FRAME[0], size[1] / FRAME[1])
        photo = dot(size, place, 2 * times)
        labels, joints = parse_photo(DotEngine(), photo)
        assert labels.shape == size and not labels.any()
        wanted = np.broadcast_to(place, (16, 2))
        np.testing.assert_allclose(joints[:, :2], wanted, atol=0.02 * times)
        if size == (1023, 677):
            write_png(tmp_path / "dot.png", photo)
            (job,) = plan_parsing(tmp_path / "dot.png", tmp_path)
            parse_file(Portrait(DotEngine()), job)
            told = json.loads(job.joints_out.read_text())["joints"]
            told = [[one["x"], one["y"]] for one in told.values()]
            np.testing.assert_allclose(told, wanted, atol=0.2)

    def test_a_canvas_beyond_the_photo(self):
        place = (411.3, 700.2)
        photo = dot((960, 640), place, 12)
        answer = look_at(DotEngine(), photo, (200, 100, 50, 90))
        np.testing.assert_allclose(
            answer.joints[:, :2], np.broadcast_to(place, (16, 2)), atol=0.1
        )

    @pytest.mark.parametrize("flip", [False, True])
    @pytest.mark.parametrize("scales", [(1.0,), (1.0, 1.5)])
    def test_averaged_answers_are_at_the_same_place(self, flip, scales):
        structure = AveragedParsing(DotNetwork(), flip, scales)
        places = np.random.default_rng(0).uniform(30, 90, (24, 2))
        photos = np.stack([dot(FRAME, place, 4) for place in places])
        image = photos.astype(np.float32) / 127.5 - 1.0
        pose = structure(image, np.zeros((24, *FRAME, 1), np.float32))["pose"]
        found = joints_of_parts(structure.peaks(pose), FRAME).numpy()[:, 0, :2]
        np.testing.assert_allclose(found, places, atol=0.04)

    def test_inside(self):
        points = np.array(
            [[-0.5, 0], [-0.51, 0], [3.49, 0], [3.5, 0], [0, 1.5], [np.nan, 0]]
        )
        wanted = [True, False, True, False, False, False]
        np.testing.assert_array_equal(inside(points, (2, 4)), wanted)


class TestPlacements:
    def test_arrays_and_tensors_are_placed_alike(self):
        rng = np.random.default_rng(1)
        for _ in range(200):
            size, frame = (tuple(int(n) for n in rng.integers(1, 99, 2)) for _ in "ab")
            fit = fit_placement(size, frame)
            where = [int(n) for n in place_photos(tf.constant(size), frame)]
            assert where == [fit.top, fit.left, fit.height, fit.width]
            scale = min(Fraction(full, n) for full, n in zip(frame, size, strict=True))
            wanted = [max(1, int(n * scale + Fraction(1, 2))) for n in size]
            assert list(fitted_size(size, frame)) == wanted
            fits = scale >= 1
            assert shrunk_size(size, frame) == (size if fits else tuple(wanted))

    def test_a_mirrored_dot(self):
        photo = np.zeros((9, 14), np.uint8)
        photo[6, 3] = 255
        placement = Placement(18, 28, 4, -5, mirror=True)
        matrix = placement_matrix(photo.shape, (30, 20), placement)
        found = cv2.warpAffine(photo, matrix, (20, 30), flags=cv2.INTER_LINEAR)
        wanted = matrix @ [3, 6, 1]
        np.testing.assert_allclose(wanted, [19 - (scaled(3, 2) - 5), scaled(6, 2) + 4])
        np.testing.assert_allclose(middle_of(found.astype(float)), wanted, atol=0.02)
        same = placement_matrix((9, 14), (9, 14), Placement(9, 14, 0, 0, mirror=True))
        np.testing.assert_allclose(same @ [3, 6, 1], [10, 6])
        assert photo[:, ::-1][6, 10] == 255


class TestBoxes:
    def test_scaled_boxes_cover_what_they_covered(self):
        assert Box(1, 2, 3, 4).scaled((10, 10), (20, 30)) == Box(2, 6, 6, 12)
        assert Box(1, 2, 3, 4).scaled((10, 10), (5, 3)) == Box(0, 0, 2, 2)
        # Floating point has 3 * (10 / 3) a little above 10.
        assert Box(0, 0, 3, 3).scaled((3, 3), (10, 10)) == Box(0, 0, 10, 10)
        assert Box(1, 2, 3, 5).moved(10, -2) == Box(11, 0, 13, 3)
        mask = np.zeros((37, 53), np.uint8)
        box = Box(11, 5, 23, 40)
        box.of(mask)[:] = 255
        hole = shrink(np.zeros((37, 53, 3), np.uint8), mask, (19, 19))[1]
        rows, columns = (np.flatnonzero(hole.any(axis)) for axis in (1, 0))
        wanted = box.scaled(mask.shape, hole.shape)
        assert (rows[0], rows[-1] + 1) == (wanted.top, wanted.bottom)
        assert (columns[0], columns[-1] + 1) == (wanted.left, wanted.right)

    def test_crops_take_pixels_from_between_the_edges(self):
        rows, columns = np.indices((40, 30)).astype(np.float32)
        photo = np.stack([rows, columns], axis=-1)[None]
        boxes = np.float32([[8.5, 4.0, 28.5, 19.0]])
        crop = np.array(crop_and_resize(photo, boxes, (10, 30)))[0]
        np.testing.assert_allclose(
            crop[:, 0, 0], 8.5 + scaled(np.arange(10), 2), atol=1e-4
        )
        np.testing.assert_allclose(
            crop[0, :, 1], 4 + scaled(np.arange(30), 0.5), atol=1e-4
        )
        back = np.array(uncrop(crop[None], boxes, (40, 30)))[0, 12:26, 6:17]
        np.testing.assert_allclose(back, photo[0, 12:26, 6:17], atol=1e-3)


class TestMaps:
    @pytest.mark.parametrize("size", [(48, 96), (50, 77), (16, 24)])
    def test_borders_of_labels_stay(self, size):
        """An edge after 5 of 16 rows and 7 of 24 columns."""
        labels = np.zeros((16, 24), np.uint8)
        labels[5:], labels[:, 7:] = 3, 9
        wide = tf.one_hot(labels[None], 20)
        for found in (
            enlarge_labels(labels, size),
            enlarge_maps(wide, size, (0, 0, 16, 24), parsing_labels).numpy()[0, ..., 0],
        ):
            assert found.shape == size and set(np.unique(found)) == {0, 3, 9}
            assert abs((found[0] < 9).sum() - 7 * size[1] / 24) <= 0.6 * size[1] / 24
            assert abs((found[:, 0] < 3).sum() - 5 * size[0] / 16) <= 0.6 * size[0] / 16

    def test_shares_have_the_labels_center(self):
        labels = np.zeros((120, 200, 1), np.uint8)
        labels[40:70, 90:150] = 5
        where = place_photos(tf.constant([120, 200]), (64, 64))
        shares, unknown = fit_maps(labels[None], (64, 64), where)
        found = middle_of(shares.numpy()[0, ..., 5])
        scale = (38 / 120, 64 / 200)
        assert [int(n) for n in where] == [0, 0, 38, 64]
        wanted = [scaled(119.5, scale[1]), scaled(54.5, scale[0])]
        np.testing.assert_allclose(found, wanted, atol=0.1)
        np.testing.assert_allclose(np.sum(shares, -1)[0, :38], 1.0, atol=1e-5)
        np.testing.assert_array_equal(unknown[0, 38:], 1.0)


def test_the_formulas_need_no_tensorflow():
    code = "import sys, portrait_tf.geometry; sys.exit('tensorflow' in sys.modules)"
    python_output("-c", code)
