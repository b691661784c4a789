"""Detail in holes: from the same label, mirrored if need be, as strong as around."""

import copy

import cv2
import numpy as np
import pytest
import tensorflow as tf

from portrait_tf.inference.detail import DETAILED_FROM, add_details, detailed_hole
from portrait_tf.inference.large_photos import complete_photo
from portrait_tf.inference.pipeline import Pipeline
from portrait_tf.labels import LABELS
from portrait_tf.photos.masks import HOLE

SIZE = (120, 96)
TIMES = 4.0
BELOW = 0.9 * DETAILED_FROM
COAT, LEFT_SHOE, RIGHT_SHOE = (
    LABELS.index(name) for name in ("Coat", "LeftShoe", "RightShoe")
)


def hole_of(box, size=SIZE):
    mask = np.zeros(size, np.uint8)
    top, left, bottom, right = box
    mask[top:bottom, left:right] = HOLE
    return mask


def blurred_in(photo, mask, sigma=6.0):
    """What networks paint that work at a small size: the truth, without its detail."""
    return np.where(mask[..., None] > 0, cv2.GaussianBlur(photo, None, sigma), photo)


def noise(size=SIZE, seed=0, strength=40):
    rng = np.random.default_rng(seed)
    gray = cv2.GaussianBlur(rng.normal(0, 4 * strength, size), None, 1.5)
    photo = 120 + gray[..., None] + np.linspace(-20, 20, size[1])[None, :, None]
    return np.clip(np.repeat(photo, 3, -1)[..., :3], 0, 255).astype(np.uint8)


def sharpness(photo, mask):
    """How far pixels of the hole are from the mean about them."""
    inside = cv2.erode(mask, np.ones((5, 5), np.uint8)) > 0
    gray = photo[..., 0].astype(np.float32)
    return float(np.abs(gray - cv2.GaussianBlur(gray, None, 2.0))[inside].mean())


def labels_of(value, size=SIZE):
    return np.full(size, value, np.uint8)


def test_a_hole_becomes_as_sharp_as_the_photo_around_it():
    photo, mask = noise(), hole_of((40, 30, 80, 70))
    soft = blurred_in(photo, mask)
    detailed = detailed_hole(soft, mask, labels_of(COAT), TIMES)
    truth = sharpness(photo, mask)
    assert sharpness(soft, mask) < 0.3 * truth
    assert 0.6 * truth < sharpness(detailed, mask) < 1.2 * truth
    np.testing.assert_array_equal(detailed[mask == 0], photo[mask == 0])
    # The low frequencies stay those that were painted.
    far = cv2.GaussianBlur(detailed, None, 10.0).astype(int)
    assert np.abs(far - cv2.GaussianBlur(soft, None, 10.0))[mask > 0].max() < 8


def test_patches_come_from_the_same_label():
    rows, columns = np.indices(SIZE)
    across, down = (
        120 + 60 * np.sign(np.sin(at * np.pi / 2.5 + 0.4)) for at in (rows, columns)
    )
    labels = labels_of(0)
    labels[:, SIZE[1] // 2 :] = COAT
    photo = np.repeat(np.where(labels, down, across)[..., None], 3, -1)
    photo = photo.astype(np.uint8)
    mask = hole_of((40, 20, 80, 76))
    detailed = detailed_hole(blurred_in(photo, mask, 8.0), mask, labels, TIMES)
    gray = detailed[..., 0].astype(np.float32)
    vertical, horizontal = (
        np.abs(cv2.Sobel(gray, cv2.CV_32F, *axis)) for axis in ((0, 1), (1, 0))
    )
    for at, along, other in (
        (slice(24, 44), vertical, horizontal), (slice(52, 72), horizontal, vertical),
    ):  # fmt: skip
        assert along[44:76, at].mean() > 3 * other[44:76, at].mean()


@pytest.mark.parametrize(
    ("other", "found"), [(RIGHT_SHOE, True), (LABELS.index("Pants"), False)]
)
def test_one_shoe_tells_the_other_how_it_looks(other, found):
    """The hidden shoe is the mirrored other one, and nothing else is alike."""
    size = (96, 128)
    shoe = noise((64, 48), seed=3, strength=60)
    photo = np.full((*size, 3), 128, np.uint8)
    labels = labels_of(0, size)
    photo[16:80, 8:56], labels[16:80, 8:56] = shoe, other
    photo[16:80, 72:120], labels[16:80, 72:120] = shoe[:, ::-1], LEFT_SHOE
    mask = hole_of((24, 80, 72, 112), size)
    # Blurred less than above: enough is left to tell where a patch belongs.
    detailed = detailed_hole(blurred_in(photo, mask, 2.0), mask, labels, TIMES)
    inside = hole_of((30, 86, 66, 106), size) > 0
    fine = [
        (x.astype(float) - cv2.GaussianBlur(x, None, 4.0))[inside].ravel()
        for x in (photo, detailed)
    ]
    assert (np.corrcoef(*fine)[0, 1] > 0.5) == found


@pytest.mark.parametrize(
    "size", [(40, 60), (1, 200), (7, 300), (300, 9), (41, 333)], ids=str
)
def test_any_shape_of_photo(size):
    photo = noise(size)
    mask = hole_of((0, size[1] // 2, size[0], size[1]), size)
    detailed = detailed_hole(photo, mask, labels_of(0, size), 2.0)
    assert detailed.shape == photo.shape
    np.testing.assert_array_equal(detailed[mask == 0], photo[mask == 0])


@pytest.mark.parametrize(
    ("box", "times"),
    [((0, 0, 0, 0), 4.0), ((0, 0, *SIZE), 4.0), ((40, 30, 80, 70), BELOW)],
    ids=["no hole", "nothing known", "hardly enlarged"],
)  # fmt: skip
def test_without_need_or_source_nothing_changes(box, times):
    photo = noise()
    detailed = detailed_hole(photo, hole_of(box), labels_of(0), times)
    np.testing.assert_array_equal(detailed, photo)


def test_colors_that_no_source_has_get_no_texture():
    """What is nearest to gray in a photo of black and white are its edges."""
    size, frame = (96, 96), (60, 20, 84, 76)
    stripes = np.where(np.arange(96)[:, None] % 24 < 12, np.uint8(0), np.uint8(255))
    photo = np.repeat(np.broadcast_to(stripes, size)[..., None], 3, -1).copy()
    mask = hole_of(frame, size)
    photo[mask > 0] = (128, 90, 60)
    answered = detailed_hole(photo, mask, labels_of(COAT, size), TIMES)
    off = np.abs(answered.astype(int) - photo)[70:76, 30:66]
    assert off.max() < 12


def test_a_batch_is_as_its_photos_alone():
    photos = np.stack([noise(seed=seed) for seed in (1, 2)])
    mask = hole_of((30, 0, 90, 50))
    batch = [np.stack([x] * 2)[..., None] for x in (mask, labels_of(COAT))]
    together = add_details(
        tf.constant(photos), *map(tf.constant, batch), tf.constant(TIMES)
    )
    for photo, one in zip(photos, together.numpy(), strict=True):
        alone = detailed_hole(photo, mask, labels_of(COAT), TIMES)
        np.testing.assert_array_equal(one, alone)


@pytest.fixture(scope="module")
def results(tiny_engine):
    """A photo, its hole, and what comes of it with detail and without."""
    engine = copy.copy(tiny_engine)
    size = tuple(4 * n for n in engine.working_size)
    photo = noise(size)
    mask = hole_of((size[0] // 2, 0, size[0], size[1] // 2), size)
    results = []
    for engine.detail in (True, False):
        results.append(complete_photo(engine, photo, mask))
    return photo, mask, results


class TestLargePhotos:
    def test_detail_is_sharper_and_the_switch_is_obeyed(self, results):
        photo, mask, (detailed, soft) = results
        # Random networks paint colors of which the photo has few.
        sharp, blurred = (sharpness(x.completed, mask) for x in (detailed, soft))
        assert sharp > 1.1 * blurred

    def test_the_photo_stays_as_it_was(self, results):
        photo, mask, completed = results
        for one in completed:
            np.testing.assert_array_equal(one.completed[mask == 0], photo[mask == 0])

    def test_only_what_is_soft_is_called_soft(self, results):
        _, _, (detailed, soft) = results
        assert not any("soft" in note for note in detailed.notes)
        assert any("soft" in note for note in soft.notes)

    def test_pixels_under_the_hole_are_never_seen(self, tiny_engine, results):
        photo, mask, (detailed, _) = results
        other = np.where(mask[..., None] > 0, np.uint8(255) - photo, photo)
        engine = copy.copy(tiny_engine)
        engine.detail = True
        again = complete_photo(engine, other, mask)
        np.testing.assert_array_equal(again.completed, detailed.completed)


@pytest.fixture(scope="module")
def detailed(tiny_pipeline, tmp_path_factory):
    """A pipeline with detail, and an export of it with one signature, that runs."""
    from export.saved_model import export_pipeline, open_session

    networks = tiny_pipeline.parsing_network, tiny_pipeline.completion_network
    pipeline = Pipeline(*networks, detail=True)
    folder = tmp_path_factory.mktemp("detailed")
    version = export_pipeline(pipeline, folder, signatures=["serving_default"])
    with open_session(version) as run:
        yield pipeline, run


@pytest.mark.parametrize("size", [(96, 80), (131, 97), (160, 240)], ids=str)
def test_an_export_adds_the_same_detail(tiny_pipeline, detailed, size):
    pipeline, run = detailed
    photo = noise(size)
    mask = hole_of((size[0] // 2, 0, size[0], size[1] // 2), size)
    inputs = {"image": photo[None], "mask": mask[None, ..., None]}
    exported = run("serving_default", inputs)["completed"]
    expected, soft = (
        one(*map(tf.constant, inputs.values()))["completed"].numpy()
        for one in (pipeline, tiny_pipeline)
    )
    assert np.abs(exported.astype(int) - expected).max() <= 1
    assert (exported != soft)[0][mask > 0].mean() > 0.2
