"""Photos larger than the networks: crops and blending."""

import copy

import cv2
import numpy as np
import pytest
import tensorflow as tf

from portrait_tf.data.synthetic import synthesize
from portrait_tf.errors import PortraitError
from portrait_tf.inference.blending import blend, cubic_weights, membrane
from portrait_tf.inference.engines import DEFAULT_WORKING_SIZE, described
from portrait_tf.inference.large_photos import Box, complete_photo


class Watched:
    """An engine, and the sizes of what it was shown."""

    def __init__(self, engine):
        self.engine = engine
        self.working_size = engine.working_size
        self.detail = getattr(engine, "detail", False)
        self.sizes = []

    def complete(self, photo, mask):
        assert photo.dtype == mask.dtype == np.uint8 and photo.shape[:2] == mask.shape
        self.sizes.append(mask.shape)
        return self.engine.complete(photo, mask)


class RedPeople:
    """Takes red for people; fills holes with a gray. Random networks see nobody."""

    working_size = (48, 32)

    def complete(self, photo, mask):
        person = (photo[..., 0] > 150) & (photo[..., 1] < 100) & (mask == 0)
        painted = np.where((mask != 0)[..., None], np.uint8(90), photo)
        return painted, np.where(person, np.uint8(5), np.uint8(0))


@pytest.fixture
def engine(tiny_engine):
    """With detail, which a large photo is given outside of the networks' graph."""
    engine = copy.copy(tiny_engine)
    engine.detail = True
    return engine


def hole_at(size, top, left, bottom, right):
    mask = np.zeros(size, np.uint8)
    mask[top:bottom, left:right] = 255
    return mask


def noise(size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)


def street(size, *people):
    """A gray place with red rectangles for people, each a box."""
    photo = np.full((*size, 3), 128, np.uint8)
    for box in people:
        Box(*box).of(photo)[:] = (220, 30, 30)
    return photo


CASES = {
    "square": ((150, 100), (60, 30, 100, 70)),
    "one pixel": ((150, 100), (75, 50, 76, 51)),
    "one pixel in the corner": ((150, 100), (149, 99, 150, 100)),
    "below": ((150, 100), (110, 0, 150, 100)),
    "on the left": ((90, 120), (0, 0, 90, 25)),
    "all but a strip": ((150, 100), (0, 0, 150, 97)),
    "all but a corner": ((150, 100), (0, 0, 149, 100)),
    "tall": ((400, 24), (150, 5, 220, 24)),
    "wide": ((24, 400), (5, 20, 20, 390)),
    "a line": ((1, 300), (0, 100, 1, 130)),
    "much larger": ((700, 500), (300, 200, 420, 260)),
}


class TestPhotos:
    @pytest.mark.parametrize("case", CASES)
    def test_the_hole_changes_and_nothing_else(self, engine, case):
        size, box = CASES[case]
        photo, mask = noise(size), hole_at(size, *box)
        watched = Watched(engine)
        result = complete_photo(watched, photo, mask)
        assert result.completed.shape == photo.shape
        assert result.completed.dtype == result.parsing.dtype == np.uint8
        assert result.parsing.shape == size and result.parsing.max() < 20
        known = mask == 0
        np.testing.assert_array_equal(result.completed[known], photo[known])
        # What lies under the hole is in no pixel of the answer: all of it is painted.
        other = np.where(known[..., None], photo, 255 - photo)
        again = complete_photo(engine, other, mask)
        np.testing.assert_array_equal(again.completed, result.completed)
        np.testing.assert_array_equal(again.parsing, result.parsing)
        assert all(rows <= 32 and columns <= 32 for rows, columns in watched.sizes)
        covered = np.zeros(size, bool)
        for crop in result.crops:
            assert 0 <= crop.top < crop.bottom <= size[0]
            assert 0 <= crop.left < crop.right <= size[1]
            crop.of(covered)[:] = True
        assert covered[~known].all()

    def test_many_holes(self, engine):
        photo = noise((100, 80))
        mask = (np.random.default_rng(1).random((100, 80)) < 0.003).astype(np.uint8)
        result = complete_photo(engine, photo, mask)
        known = mask == 0
        np.testing.assert_array_equal(result.completed[known], photo[known])
        other = np.where(known[..., None], photo, 255 - photo)
        again = complete_photo(engine, other, mask)
        np.testing.assert_array_equal(again.completed, result.completed)

    def test_what_is_given_stays(self, engine):
        portrait = synthesize(3, (160, 110)).photo
        mask = hole_at((160, 110), 60, 30, 110, 80)
        before = portrait.copy(), mask.copy()
        complete_photo(engine, portrait, mask)
        np.testing.assert_array_equal(portrait, before[0])
        np.testing.assert_array_equal(mask, before[1])

    @pytest.mark.parametrize("size", [(32, 32), (20, 31), (32, 5)])
    def test_a_small_photo_is_the_engine_s_own_answer(self, engine, size):
        photo, mask = noise(size), hole_at(size, 5, 1, 15, 4)
        watched = Watched(engine)
        result = complete_photo(watched, photo, mask)
        completed, parsing = engine.complete(photo, mask)
        np.testing.assert_array_equal(result.completed, completed)
        np.testing.assert_array_equal(result.parsing, parsing)
        assert watched.sizes == [size] and result.notes == []

    def test_an_engine_that_does_not_know_its_working_size(self, engine):
        photo, mask = noise((300, 200)), hole_at((300, 200), 100, 80, 140, 120)
        watched = Watched(engine)
        watched.working_size = None
        complete_photo(watched, photo, mask)
        assert max(watched.sizes) == DEFAULT_WORKING_SIZE

    @pytest.mark.parametrize(
        ("photo", "mask", "message"),
        [
            (noise((40, 30)) / 255, hole_at((40, 30), 1, 1, 5, 5), "type uint8"),
            (noise((40, 30))[..., 0], hole_at((40, 30), 1, 1, 5, 5), "shape"),
            (noise((40, 30)), hole_at((30, 40), 1, 1, 5, 5), "photo's size"),
            (noise((40, 30)), np.zeros((40, 30), np.uint8), "non-zero"),
        ],
    )
    def test_mistakes(self, engine, photo, mask, message):
        with pytest.raises(PortraitError, match=message):
            complete_photo(engine, photo, mask)


class TestCrops:
    SIZE = (480, 800)
    LEFT, RIGHT = (100, 100, 400, 200), (100, 560, 400, 660)

    def crops(self, mask):
        photo = street(self.SIZE, self.LEFT, self.RIGHT)
        return complete_photo(RedPeople(), photo, mask).crops

    def test_a_person_is_shown_whole(self):
        (crop,) = self.crops(hole_at(self.SIZE, 200, 130, 260, 230))
        assert crop.joined(Box(*self.LEFT)) == crop
        assert crop.right < self.RIGHT[1]
        # In the networks' shape, so that none of their pixels are wasted.
        assert abs(crop.width / crop.height - 2 / 3) < 0.02

    def test_one_crop_a_person(self):
        two = hole_at(self.SIZE, 200, 130, 260, 230)
        two |= hole_at(self.SIZE, 150, 600, 220, 650)
        # A second hole in the same person is no second crop.
        two |= hole_at(self.SIZE, 300, 150, 340, 230)
        crops = sorted(self.crops(two), key=lambda crop: crop.left)
        assert len(crops) == 2
        for crop, person in zip(crops, (self.LEFT, self.RIGHT), strict=True):
            assert crop.joined(Box(*person)) == crop and crop.width < 500

    def test_a_hole_in_two_people_is_shared(self):
        mask = hole_at(self.SIZE, 200, 150, 280, 600)
        crops = sorted(self.crops(mask), key=lambda crop: crop.left)
        assert len(crops) == 2
        for crop, person in zip(crops, (self.LEFT, self.RIGHT), strict=True):
            assert crop.joined(Box(*person)) == crop
        photo = street(self.SIZE, self.LEFT, self.RIGHT)
        results = [
            complete_photo(RedPeople(), np.where(mask[..., None], fill, photo), mask)
            for fill in (np.uint8(0), np.uint8(255))
        ]
        np.testing.assert_array_equal(results[0].completed, results[1].completed)

    def test_a_hole_without_a_person_has_context_of_its_own_size(self):
        (crop,) = self.crops(hole_at(self.SIZE, 200, 360, 240, 400))
        assert crop.joined(Box(160, 320, 280, 440)) == crop
        assert crop.height <= 200 and crop.width <= 134

    def test_a_speck_is_seen_from_near(self):
        mask = hole_at(self.SIZE, 200, 140, 212, 152)
        (crop,) = self.crops(mask)
        assert crop.height <= 75

    def test_no_crop_is_smaller_than_the_networks(self):
        (crop,) = self.crops(hole_at(self.SIZE, 200, 360, 201, 361))
        assert (crop.height, crop.width) == RedPeople.working_size

    def test_at_a_border_the_crop_goes_along(self):
        size = (600, 400)
        photo = street(size, (60, 150, 500, 260))
        mask = hole_at(size, 480, 0, 600, 400)
        (crop,) = complete_photo(RedPeople(), photo, mask).crops
        assert (crop.bottom, crop.left, crop.right) == (600, 0, 400)
        assert crop.top <= 60

    def test_a_hole_that_would_shrink_the_person_goes_in_parts(self):
        size = (400, 1000)
        photo = street(size, (40, 450, 340, 550))
        mask = hole_at(size, 300, 0, 400, 1000)
        watched = Watched(RedPeople())
        result = complete_photo(watched, photo, mask)
        assert result.crops[0].joined(Box(40, 450, 340, 550)) == result.crops[0]
        assert result.crops[0].width < 600 and len(result.crops) > 1
        known = mask == 0
        np.testing.assert_array_equal(result.completed[known], photo[known])

    def test_a_panorama_is_looked_at_in_parts(self):
        size = (100, 3000)
        photo = street(size, (20, 2000, 80, 2020))
        mask = hole_at(size, 40, 2015, 60, 2030)
        # Of the whole panorama, shrunk to 32 columns, nobody would be seen.
        (crop,) = complete_photo(RedPeople(), photo, mask).crops
        assert crop.joined(Box(20, 2000, 80, 2030)) == crop and crop.width < 200

    def test_a_crop_in_a_huge_hole_still_shows_something_known(self):
        size = (60, 4000)
        photo, mask = street(size), hole_at(size, 0, 10, 60, 4000)

        class Careful(RedPeople):
            def complete(self, photo, mask):
                assert mask.any() and not mask.all()
                return super().complete(photo, mask)

        result = complete_photo(Careful(), photo, mask)
        known = mask == 0
        np.testing.assert_array_equal(result.completed[known], photo[known])
        other = complete_photo(
            Careful(), np.where(known[..., None], photo, 0).astype(np.uint8), mask
        )
        np.testing.assert_array_equal(result.completed, other.completed)

    def test_the_label_map_is_the_crop_s(self):
        photo = street(self.SIZE, self.LEFT, self.RIGHT)
        mask = hole_at(self.SIZE, 200, 190, 260, 230)
        parsing = complete_photo(RedPeople(), photo, mask).parsing
        truth = (photo[..., 0] > 200) & (mask == 0)
        assert ((parsing == 5) == truth).mean() > 0.97


class TestNotes:
    def test_a_large_hole_is_soft_and_a_thin_one_is_not(self, tiny_engine):
        size, engine = (320, 320), tiny_engine
        wide = complete_photo(engine, noise(size), hole_at(size, 100, 40, 220, 280))
        (note,) = wide.notes
        assert "rows 100 to 219, columns 40 to 279" in note and "times smaller" in note
        thin = complete_photo(engine, noise(size), hole_at(size, 100, 40, 104, 280))
        assert thin.notes == []

    def test_the_factor_is_the_crop_s(self):
        size = (480, 800)
        photo = street(size, TestCrops.LEFT)
        mask = hole_at(size, 150, 150, 300, 190)
        result = complete_photo(RedPeople(), photo, mask)
        (crop,) = result.crops
        assert f"{crop.height / 48:.1f} times smaller" in result.notes[0]

    def test_what_is_hardly_enlarged_is_not_soft(self, engine):
        size = (48, 48)
        result = complete_photo(engine, noise(size), hole_at(size, 8, 8, 40, 40))
        assert result.notes == []


def as_channel(photo):
    return lambda channel: photo[..., channel].astype(np.float32)


class TestBlending:
    def scene(self):
        photo = synthesize(1, (90, 60)).photo
        hole = np.zeros((90, 60), bool)
        hole[30:60, 0:40] = True
        return photo, hole

    def test_a_perfect_painting_stays(self):
        photo, hole = self.scene()
        photo = cv2.GaussianBlur(photo, (0, 0), 6)
        np.testing.assert_array_equal(blend(photo, hole, as_channel(photo)), photo)

    def test_a_color_cast(self):
        photo, hole = self.scene()
        cast = np.clip(photo, 40, 210)
        photo = cast - np.uint8(30)
        result = blend(photo, hole, as_channel(cast))
        np.testing.assert_array_equal(result[~hole], photo[~hole])
        assert np.abs(result.astype(int) - photo)[hole].max() <= 1

    def test_a_membrane_is_harmonic(self):
        rows, columns = np.mgrid[:70, :90].astype(np.float32)
        truth = (rows**2 - columns**2) / 50 + rows
        known = np.ones((70, 90), bool)
        known[15:50, 20:80] = False
        known[30:35, 40:45] = True
        spanned = membrane(np.where(known, truth, 1e6), known)
        np.testing.assert_array_equal(spanned[known], truth[known])
        assert np.abs(spanned - truth).max() < 0.02 * np.ptp(truth)

    def test_a_membrane_of_nothing_is_flat(self):
        values = np.ones((5, 9), np.float32)
        assert not membrane(values, np.zeros((5, 9), bool)).any()

    @pytest.mark.parametrize(("count", "total"), [(7, 40), (12, 12), (9, 20)])
    def test_enlarging_is_tensorflow_s(self, count, total):
        row = np.random.default_rng(0).uniform(0, 255, count).astype(np.float32)
        theirs = tf.image.resize(row[None, :, None], (1, total), method="bicubic")
        ours = cubic_weights(count, total, 0, total) @ row
        # They leave out what lies beyond the ends.
        inner = slice(2 * total // count, -2 * total // count)
        np.testing.assert_allclose(ours[inner], theirs[0, inner, 0], atol=0.2)
        part = cubic_weights(count, total, 3, 8) @ row
        # A product of another shape may add in another order.
        np.testing.assert_allclose(part, ours[3:8], rtol=1e-6)


def test_an_exported_model_says_its_working_size(tmp_path):
    assert described(tmp_path) == (None, False)
    good = '{"working_size": [64, 48], "detail": true}'
    for content, size in ((good, (64, 48)), ("{}", None), ("[]", None), ("{", None)):
        (tmp_path / "signature.json").write_text(content)
        assert described(tmp_path) == (size, size is not None)
