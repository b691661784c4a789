"""Of two answers for a hole, the one that is like the photo around it."""

import numpy as np
import pytest
import tensorflow as tf

from portrait_tf.inference.choice import prefers

SIZE = (80, 120)


def pictures():
    """Noise on the left and gray on the right; all noise; all gray."""
    noise = np.random.default_rng(0).integers(90, 166, (*SIZE, 3)).astype(np.uint8)
    gray = np.full_like(noise, 128)
    photo = np.where(np.arange(SIZE[1])[None, :, None] < 60, noise, gray)
    return photo, noise[::-1], gray


def chosen(one, other, hole, labels=None):
    labels = np.zeros(hole.shape, np.int32) if labels is None else labels
    return prefers(*map(tf.constant, (one, other, hole, labels))).numpy()


def painted(photo, hole, answer):
    return np.where(hole[..., None], answer, photo)


@pytest.mark.parametrize("times", [1, 13], ids=["small", "above a megapixel"])
def test_each_hole_takes_what_its_own_label_shows(times):
    photo, noise, gray = (
        np.repeat(np.repeat(x, times, 0), times, 1) for x in pictures()
    )
    hole = np.zeros(SIZE, bool)
    hole[30:50, 20:40] = hole[30:50, 80:100] = True
    labels = np.zeros(SIZE, np.int32)
    labels[:, 60:] = 5
    hole, labels = (
        np.kron(x, np.ones((times, times), x.dtype)) for x in (hole, labels)
    )
    rough, flat = (painted(photo, hole, x) for x in (noise, gray))
    left = np.arange(hole.shape[1]) < 60 * times
    for one, other, expected in (
        (rough, flat, hole & left), (flat, rough, hole & ~left), (rough, rough, hole),
    ):  # fmt: skip
        np.testing.assert_array_equal(chosen(one, other, hole, labels), expected)


def test_a_winding_hole_is_one_and_a_cut_one_is_two():
    photo, noise, gray = pictures()
    hole = np.zeros(SIZE, bool)
    hole[2:79:8, 10:110] = True
    for index, row in enumerate(range(2, 74, 8)):
        hole[row : row + 8, 108 if index % 2 else 10] = True
    cut = hole.copy()
    cut[:, 57:63] = False
    labels = np.zeros(SIZE, np.int32)
    labels[:, 60:] = 5
    taken = [
        chosen(painted(photo, x, noise), painted(photo, x, gray), x, labels)
        for x in (hole, cut)
    ]
    assert len(np.unique(taken[0][hole])) == 1
    assert taken[1][cut & (labels == 0)].all()
    assert not taken[1][cut & (labels == 5)].any()
