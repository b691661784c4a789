"""The face network, and how its answer comes back into the photo."""

import numpy as np
import pytest
from tiny import shaken

from portrait_tf.labels import LABELS
from portrait_tf.models import FaceNetwork
from portrait_tf.models.face import (
    face_inputs,
    find_faces,
    paste_correction,
    refine_faces,
)

SMALL = {"size": (16, 16), "widths": (8, 8, 8), "blocks": 1}


def scene(batch=3, seed=0):
    """Photos whose hole is at a face, but for the second, which shows none."""
    rng = np.random.default_rng(seed)
    completed = rng.uniform(-1, 1, (batch, 32, 24, 3)).astype(np.float32)
    labels = np.zeros((batch, 32, 24), int)
    labels[:, 6:16, 8:18] = LABELS.index("Face")
    labels[1] = 0
    mask = np.zeros((batch, 32, 24, 1), np.float32)
    mask[:, 8:28, 4:14] = 1
    return completed, np.eye(20, dtype=np.float32)[labels], mask


def test_it_begins_as_identity():
    completed, parsing, mask = scene()
    result = refine_faces(FaceNetwork(**SMALL), completed, parsing, mask)
    np.testing.assert_array_equal(np.array(result["completed"]), completed)
    assert np.array(result["face_found"]).tolist() == [True, False, True]


def test_known_pixels_and_photos_without_a_face_are_bit_for_bit():
    completed, parsing, mask = scene()
    network = shaken(FaceNetwork(**SMALL), 0.1)
    result = refine_faces(network, completed, parsing, mask)
    refined = np.array(result["completed"])
    known = np.repeat(mask == 0, 3, axis=-1)
    np.testing.assert_array_equal(refined[known], completed[known])
    np.testing.assert_array_equal(refined[1], completed[1])
    # It does something, in the hole and the box alone.
    changed = (refined[0] != completed[0]).any(-1)
    top, left, bottom, right = np.array(result["face_boxes"])[0]
    assert changed.any() and np.abs(refined).max() <= 1
    rows, columns = np.nonzero(changed)
    assert rows.min() >= top - 0.5 and rows.max() < bottom + 0.5
    assert columns.min() >= left - 0.5 and columns.max() < right + 0.5


def test_the_correction_is_added_where_the_box_is():
    completed, parsing, mask = scene()
    network = FaceNetwork(**SMALL)
    boxes, found = find_faces(network, parsing, mask)
    correction = np.full((3, 16, 16, 3), 0.1, np.float32)
    refined = np.array(
        paste_correction(network, 0.5 * completed, mask, correction, boxes, found)
    )
    # Well inside the box, under the hole.
    np.testing.assert_allclose(
        refined[0, 11, 12], 0.5 * completed[0, 11, 12] + 0.1, atol=1e-5
    )


def test_the_inputs_are_crops_of_one_place():
    completed, parsing, mask = scene()
    network = FaceNetwork(**SMALL)
    boxes, _ = find_faces(network, parsing, mask)
    inputs = face_inputs(network, completed, parsing, mask, boxes)
    assert {k: tuple(v.shape) for k, v in inputs.items()} == {
        "image": (3, 16, 16, 3), "parsing": (3, 16, 16, 20), "mask": (3, 16, 16, 1),
    }  # fmt: skip
    # The face fills the middle of its crop, and the hole its lower left.
    face = np.array(inputs["parsing"])[0, ..., LABELS.index("Face")]
    assert face[8, 8] > 0.99 and face[0, 0] < 0.01
    np.testing.assert_allclose(np.array(inputs["mask"])[0, 12, 2], 1, atol=1e-5)


def test_a_size_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="multiples of 8"):
        FaceNetwork(size=(60, 64))


def test_filters_take_the_checkerboard_of_the_last_shuffle():
    completed, parsing, mask = scene()
    found = {}
    for upsampling in ("shuffle", "smooth_shuffle"):
        network = FaceNetwork(**SMALL, upsampling=upsampling)
        network.get_layer("correction_conv").bias.assign(np.linspace(-1, 1, 12))
        boxes, _ = find_faces(network, parsing, mask)
        inputs = face_inputs(network, completed, parsing, mask, boxes)
        found[upsampling] = np.array(network(inputs)["correction"])[:, 4:-4, 4:-4]
    plain, smooth = found.values()
    assert plain.std(axis=(1, 2)).min() > 0.4
    assert smooth.std(axis=(1, 2)).max() < 1e-5
    np.testing.assert_allclose(smooth.mean((1, 2)), plain.mean((1, 2)), atol=1e-5)
