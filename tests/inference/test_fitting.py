"""Photos are fitted around the networks alike in NumPy and in TensorFlow's graph."""

import numpy as np
import pytest

from portrait_tf import geometry
from portrait_tf.inference import fitting
from portrait_tf.models.parsing import parsing_labels

FRAME = (48, 32)
SIZES = [(48, 32), (48, 20), (31, 32), (7, 5), (50, 70), (163, 97), (400, 30)]


@pytest.fixture(params=SIZES, ids=lambda size: "x".join(map(str, size)))
def case(request):
    """Two photos of one size with holes, and where they go by both ways."""
    size, rng = request.param, np.random.default_rng(0)
    photos = rng.integers(0, 256, (2, *size, 3), np.uint8)
    masks = np.zeros((2, *size), np.uint8)
    masks[0, size[0] // 3 : size[0] // 2 + 1, : size[1] // 2] = 255
    masks[1, ::3, ::2] = 1
    placement = geometry.fit_placement(size, FRAME)
    place = tuple(int(one) for one in geometry.place_photos(np.int32(size), FRAME))
    return rng, size, photos, masks, placement, place


def test_photos(case):
    rng, size, photos, masks, placement, place = case
    wanted = geometry.fit_photos(photos, masks[..., None], FRAME)
    found = fitting.fit_photos(photos, masks, FRAME, placement)
    for one, other in zip(found, wanted, strict=False):
        np.testing.assert_allclose(one, other, atol=1e-5)
    painted = rng.uniform(-1.1, 1.1, (2, *FRAME, 3)).astype(np.float32)
    wanted = geometry.enlarge_photos(painted, size, place).numpy()
    found = fitting.enlarge_photos(painted, size, placement)
    assert np.abs(found.astype(int) - wanted).max() <= 1


def test_label_maps(case):
    rng, size, _, _, placement, place = case
    labels = rng.integers(0, 22, (2, *size), np.uint8)
    labels[labels == 21] = 255
    shares, unknown = geometry.fit_maps(labels[..., None], FRAME, place)
    found = fitting.fit_maps(labels, FRAME, placement)
    np.testing.assert_allclose(found, shares, atol=1e-5)
    np.testing.assert_allclose(1 - found.sum(-1), unknown[..., 0], atol=2e-4)
    probabilities = rng.dirichlet(np.full(20, 0.2), (2, *FRAME)).astype(np.float32)
    wanted = geometry.enlarge_maps(probabilities, size, place, parsing_labels)
    found = fitting.enlarge_maps(probabilities, size, placement)
    assert np.mean(found != wanted[..., 0]) < 1e-3


def test_joints(case):
    rng, size, _, _, placement, place = case
    joints = rng.uniform(0, 40, (2, 16, 3)).astype(np.float32)
    wanted = geometry.place_joints(joints, size, place)
    found = fitting.place_joints(joints, size, placement)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-3)
    back = fitting.fit_joints(found, size, placement)
    np.testing.assert_allclose(back, joints, rtol=1e-4, atol=1e-3)
