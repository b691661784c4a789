"""Boxes around faces, and the way back from a crop."""

import numpy as np
import pytest

from portrait_tf.labels import LABELS
from portrait_tf.layers import box_window, crop_and_resize, face_boxes, uncrop

FACE, HAIR, CLOTHES = (LABELS.index(name) for name in ("Face", "Hair", "UpperClothes"))


def parsing_of(labels):
    return np.eye(20, dtype=np.float32)[labels]


def person(rows=(10, 20), columns=(22, 30), size=(64, 48)):
    labels = np.zeros((1, *size), int)
    labels[0, 30:60, 10:40] = CLOTHES
    labels[0, slice(*rows), slice(*columns)] = FACE
    return labels


def hole(rows=(0, 64), columns=(0, 48), size=(64, 48)):
    mask = np.zeros((1, *size, 1), np.float32)
    mask[:, slice(*rows), slice(*columns)] = 1
    return mask


def find(labels, mask=None, **arguments):
    parsing = labels if labels.ndim == 4 else parsing_of(labels)
    boxes, found = face_boxes(parsing, hole() if mask is None else mask, **arguments)
    return np.array(boxes), np.array(found)


class TestFaceBoxes:
    def test_hand_computed(self):
        boxes, found = find(person(), context=0.1)
        # 10 rows and 1 more on each side; the width follows, about column 26.
        np.testing.assert_allclose(boxes, [[9, 20, 21, 32]], atol=1e-3)
        assert found.tolist() == [True]

    def test_the_aspect_is_fixed(self):
        boxes, _ = find(person(), context=0.1, aspect=0.75)
        top, left, bottom, right = boxes[0]
        assert (bottom - top) / (right - left) == pytest.approx(0.75, abs=1e-4)
        assert bottom - top == pytest.approx(12, abs=1e-3)

    def test_stray_pixels_hardly_move_it(self):
        labels = person()
        labels[0, 62, 2] = labels[0, 55, 46] = labels[0, 0, 45] = FACE
        clean, stray = (find(one)[0] for one in (person(), labels))
        assert np.abs(clean - stray).max() < 1.5

    def test_low_probabilities_everywhere_do_not_count(self):
        parsing = 0.7 * parsing_of(person()) + 0.3 * parsing_of(
            np.full((1, 64, 48), FACE)
        )
        clean, soft = (find(x)[0] for x in (person(), parsing))
        np.testing.assert_allclose(clean, soft, atol=1e-2)

    def test_hair_counts_for_less_than_a_face(self):
        labels = person()
        labels[0, 20:50, 22:30] = HAIR
        boxes, found = find(labels, context=0.0)
        assert found.all()
        # Between the face's middle and that of all of the head.
        assert 15 < (boxes[0, 0] + boxes[0, 2]) / 2 < 30
        assert not find(np.where(labels == FACE, HAIR, labels))[1].any()

    @pytest.mark.parametrize("corner", [(0, 0), (0, 40), (56, 0), (56, 40)])
    def test_it_stays_in_the_photo(self, corner):
        labels = person((corner[0], corner[0] + 8), (corner[1], corner[1] + 8))
        boxes, _ = find(labels, context=1.0, aspect=1.5)
        top, left, bottom, right = boxes[0]
        assert 0 <= top < bottom <= 64 + 1e-3 and 0 <= left < right <= 48 + 1e-3
        assert (bottom - top) / (right - left) == pytest.approx(1.5, abs=1e-3)

    def test_a_face_as_large_as_the_photo(self):
        boxes, found = find(np.full((1, 64, 48), FACE))
        np.testing.assert_allclose(boxes, [[8, 0, 56, 48]], atol=1e-3)
        assert found.all()

    def test_only_a_face_whose_box_has_a_hole_is_found(self):
        near, far = hole((20, 22), (20, 40)), hole((40, 64))
        assert find(person(), near)[1].all() and not find(person(), far)[1].any()
        assert not find(person(), np.zeros_like(far))[1].any()
        assert not find(person((10, 11), (22, 23)))[1].any()

    def test_no_face_gives_a_box_in_the_photo_and_no_flag(self):
        boxes, found = find(np.zeros((2, 64, 48), int), hole().repeat(2, axis=0))
        assert not found.any() and np.isfinite(boxes).all()
        assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] > boxes[:, :2]).all()

    def test_each_photo_has_its_own(self):
        labels = np.concatenate([person(), person((30, 44), (4, 14))])
        together, _ = find(labels, hole().repeat(2, axis=0))
        for index in range(2):
            alone, _ = find(labels[index : index + 1])
            np.testing.assert_allclose(together[index], alone[0], atol=1e-4)


class TestUncrop:
    def test_it_puts_a_crop_of_its_own_size_back(self):
        crops = np.random.default_rng(0).uniform(size=(1, 6, 4, 3)).astype(np.float32)
        boxes = np.array([[2, 3, 8, 7]], np.float32)
        photos = np.array(uncrop(crops, boxes, (12, 10)))
        np.testing.assert_allclose(photos[:, 2:8, 3:7], crops, atol=1e-5)
        assert not photos[:, 9:].any() and not photos[:, :, 8:].any()
        assert not photos[:, :1].any() and not photos[:, :, :2].any()

    @pytest.mark.parametrize("size", [(16, 16), (5, 5), (40, 24)])
    def test_it_inverts_a_crop_of_something_smooth(self, size):
        rows, columns = np.indices((32, 32)) / 31
        image = np.stack([rows, columns, rows * 0.5 + columns * 0.5], -1)[None]
        image = image.astype(np.float32)
        boxes = np.array([[4.5, 7.2, 20.5, 23.2]], np.float32)
        back = np.array(uncrop(crop_and_resize(image, boxes, size), boxes, (32, 32)))
        # Half a sample within the box' border a crop knows but one side.
        inner = (slice(None), slice(8, 17), slice(11, 20))
        np.testing.assert_allclose(back[inner], image[inner], atol=0.02)

    def test_gradients_reach_every_value_of_the_crop(self):
        import tensorflow as tf

        crops = tf.Variable(tf.zeros([1, 8, 8, 2]))
        boxes = np.array([[3, 2, 10, 13]], np.float32)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(uncrop(crops, boxes, (16, 16)))
        assert (tape.gradient(loss, crops).numpy() > 0).all()

    def test_a_far_box_leaves_zeros_and_no_nan(self):
        crops = np.ones((1, 4, 4, 1), np.float32)
        boxes = np.array([[0, 0, 3.2, 3.2]], np.float32)
        photos = np.array(uncrop(crops, boxes, (64, 64)))
        assert np.isfinite(photos).all() and not photos[:, 5:].any()


class TestBoxWindow:
    def window(self, box, feather, size=(20, 20)):
        boxes = np.array([box], np.float32)
        return np.array(box_window(boxes, size, feather))[0, ..., 0]

    def test_a_ramp_inside_the_box(self):
        row = self.window([5, 5, 15, 15], 0.2)[10]
        np.testing.assert_allclose(
            row[4:16], [0, 0.25, 0.75, 1, 1, 1, 1, 1, 1, 0.75, 0.25, 0], atol=1e-5
        )

    def test_without_feather_it_is_the_box(self):
        window = self.window([5, 6, 15, 11], 0.0)
        expected = np.zeros((20, 20))
        expected[5:15, 6:11] = 1
        np.testing.assert_array_equal(window, expected)

    def test_no_ramp_at_the_border_of_the_photo(self):
        window = self.window([0, 10, 10, 20], 0.3)
        assert window[0, 19] == 1 and window[0, 15] == 1
        assert window[9, 19] < 0.5 and window[0, 10] < 0.5
