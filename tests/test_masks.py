import numpy as np
import pytest

from portrait_tf.config import MaskConfig
from portrait_tf.data.masks import (
    EVALUATION_TASKS,
    FACE_TASK,
    MAX_HOLE_FRACTION,
    body_part_mask,
    border_mask,
    evaluation_mask,
    face_extent,
    face_mask,
    random_border_mask,
    random_mask,
    rectangle_mask,
    stroke_mask,
)
from portrait_tf.errors import PortraitError
from portrait_tf.photos.masks import as_hole_mask

SIZE = (96, 64)


def person() -> np.ndarray:
    parsing = np.zeros(SIZE, np.uint8)
    parsing[10:20, 28:36] = 13
    parsing[20:50, 24:40] = 5
    parsing[20:45, 16:20] = 15
    parsing[20:45, 44:48] = 14
    parsing[0:4] = 255
    return parsing


def only(kind: str, **values) -> MaskConfig:
    kinds = ("rectangle", "strokes", "body_part", "border", "face")
    weights = dict.fromkeys(kinds, 0.0)
    return MaskConfig(**{**weights, kind: 1.0, **values})


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def check_form(mask: np.ndarray, size: tuple[int, int] = SIZE) -> None:
    assert mask.dtype == np.uint8
    assert mask.shape == size
    assert set(np.unique(mask)) <= {0, 255}
    assert mask.any()


def test_rectangle_has_the_asked_size_and_lies_in_the_photo():
    mask = rectangle_mask(rng(), SIZE, (0.25, 0.25))
    check_form(mask)
    assert np.count_nonzero(mask) == 24 * 16
    assert mask.any(axis=1).sum() == 24
    assert mask.any(axis=0).sum() == 16


def test_strokes_are_about_as_wide_and_long_as_asked():
    for seed in range(10):
        mask = stroke_mask(rng(seed), (200, 200), (1, 1), (0.1, 0.1), (0.5, 0.5))
        check_form(mask, (200, 200))
        # 100 long and 14 to 20 wide, with caps; bends overlap themselves.
        assert 500 < np.count_nonzero(mask) < 100 * 20 + 7 * 400


def test_strokes_of_no_width_are_still_drawn():
    check_form(stroke_mask(rng(), (8, 8), (1, 1), (0.0, 0.0), (0.1, 0.1)), (8, 8))


def test_body_part_is_one_part_and_its_surroundings():
    parsing = person()
    seen = set()
    for seed in range(60):
        mask = body_part_mask(rng(seed), SIZE, parsing, 1 / 96)
        check_form(mask)
        core = frozenset(
            label for label in (5, 13, 14, 15) if (mask[parsing == label] == 255).all()
        )
        seen.add(core)
    assert seen == {
        frozenset([13]),
        frozenset([5]),
        frozenset([14]),
        frozenset([15]),
        frozenset([14, 15]),
    }


def test_body_part_grows_by_the_dilation():
    parsing = np.zeros(SIZE, np.uint8)
    parsing[40:50, 20:30] = 13
    mask = body_part_mask(rng(), SIZE, parsing, 3 / 96)
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max()) == (37, 52)
    assert (columns.min(), columns.max()) == (17, 32)
    assert not mask[37, 17]


def test_body_part_may_be_one_piece_of_a_region():
    parsing = np.zeros(SIZE, np.uint8)
    parsing[10:20, 10:20] = parsing[60:70, 40:50] = 5
    masks = [body_part_mask(rng(seed), SIZE, parsing, 0) for seed in range(30)]
    assert {(bool(one[15, 15]), bool(one[65, 45])) for one in masks} == {
        (True, True),
        (True, False),
        (False, True),
    }


@pytest.mark.parametrize("value", [0, 255])
def test_body_part_without_a_person_is_a_rectangle(value):
    parsing = np.full(SIZE, value, np.uint8)
    assert (
        body_part_mask(rng(), SIZE, parsing) == body_part_mask(rng(), SIZE, None)
    ).all()
    check_form(body_part_mask(rng(), SIZE, parsing))


def test_holes_at_the_face_hide_some_of_it():
    face = person() == 13
    hidden = []
    for seed in range(60):
        mask = face_mask(rng(seed), SIZE, person(), (0.5, 2.0))
        check_form(mask)
        hidden.append((mask[face] > 0).mean())
        assert np.count_nonzero(mask) <= 21 * 17
    assert min(hidden) > 0.05 and max(hidden) == 1 and np.std(hidden) > 0.1


def test_stray_pixels_do_not_move_the_face():
    parsing = person()
    parsing[90, 2] = parsing[50, 60] = 13
    for one, two in zip(face_extent(person()), face_extent(parsing), strict=True):
        assert abs(one - two) < 2
    assert face_extent(None) is None and face_extent(np.zeros(SIZE)) is None


def test_holes_at_the_face_without_a_face_are_rectangles():
    for parsing in (None, np.zeros(SIZE, np.uint8)):
        np.testing.assert_array_equal(
            face_mask(rng(3), SIZE, parsing), rectangle_mask(rng(3), SIZE)
        )


def test_border_is_the_asked_part_of_each_side():
    mask = border_mask((10, 20), top=0.2, bottom=0.1, left=0.25)
    expected = np.zeros((10, 20), np.uint8)
    expected[:2] = expected[9:] = expected[:, :5] = 255
    np.testing.assert_array_equal(mask, expected)
    # A part above 0 is at least a pixel.
    assert np.count_nonzero(border_mask((10, 20), right=0.001)) == 10
    assert not border_mask((10, 20)).any()


def test_random_border_follows_the_weights():
    config = only("border", border_sides={"left": 1.0}, second_border=1.0)
    for seed in range(10):
        mask = random_border_mask(rng(seed), SIZE, config)
        assert mask[:, 0].all()
        assert not mask[:, -1].any()
        assert not mask[0].all()


def test_second_border_is_another_side():
    config = only(
        "border",
        border_sides={"left": 1.0, "top": 1.0},
        second_border=1.0,
        border_size=(0.25, 0.25),
    )
    mask = random_border_mask(rng(), SIZE, config)
    assert mask[0].all()
    assert mask[:, 0].all()
    assert np.count_nonzero(mask) == 96 * 64 - 72 * 48


def test_border_sides_without_a_weight_are_all_alike():
    config = only("border", border_sides={}, second_border=0.0)
    corners = {
        tuple(bool(side.all()) for side in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
        for mask in (random_border_mask(rng(seed), SIZE, config) for seed in range(40))
    }
    assert len(corners) == 4


@pytest.mark.parametrize(
    "kind", ["rectangle", "strokes", "body_part", "border", "face"]
)
def test_random_masks_are_never_empty_and_never_too_large(kind):
    for seed in range(40):
        mask = random_mask(rng(seed), SIZE, only(kind), person())
        check_form(mask)
        assert np.count_nonzero(mask) <= MAX_HOLE_FRACTION * mask.size


@pytest.mark.parametrize(
    "config",
    [
        only("rectangle", rectangle_size=(1.0, 1.0)),
        only("border", border_size=(1.0, 1.0)),
        only("body_part", body_part_dilation=(1.0, 1.0)),
    ],
)
def test_a_config_that_only_gives_unusable_holes_still_gives_a_hole(config):
    mask = random_mask(rng(), SIZE, config, person())
    check_form(mask)
    assert np.count_nonzero(mask) <= MAX_HOLE_FRACTION * mask.size


@pytest.mark.parametrize("size", [(1, 2), (2, 1), (3, 3), (1, 500)])
def test_tiny_photos_have_holes_too(size):
    for seed in range(20):
        mask = random_mask(rng(seed), size, MaskConfig())
        check_form(mask, size)
        assert not mask.all()


def test_a_photo_of_one_pixel_has_no_room():
    with pytest.raises(PortraitError, match="1x1 has no room"):
        random_mask(rng(), (1, 1), MaskConfig())


def test_the_same_seed_gives_the_same_mask():
    for seed in range(12):
        first, second = (
            random_mask(rng(seed), SIZE, MaskConfig(), person()) for _ in range(2)
        )
        np.testing.assert_array_equal(first, second)
    masks = {
        random_mask(rng(seed), SIZE, MaskConfig(), person()).tobytes()
        for seed in range(12)
    }
    assert len(masks) == 12


@pytest.mark.parametrize("task", [*EVALUATION_TASKS, FACE_TASK])
def test_evaluation_masks_are_fixed(task):
    first, second = (
        evaluation_mask(task, [3, 7], SIZE, parsing=person()) for _ in range(2)
    )
    check_form(first)
    np.testing.assert_array_equal(first, second)


def test_square_lies_on_the_person_and_in_the_photo():
    for seed in range(40):
        mask = evaluation_mask("square", seed, SIZE, parsing=person())
        assert np.count_nonzero(mask) == 32 * 32
        assert mask[(person() > 0) & (person() < 255)].any()
    places = {
        evaluation_mask("square", seed, SIZE, parsing=person()).tobytes()
        for seed in range(10)
    }
    assert len(places) > 5


def test_square_lies_on_a_joint_without_a_label_map():
    joints = np.zeros((16, 3), np.float32)
    joints[4] = 30, 60, 1
    for parsing in (None, np.zeros(SIZE, np.uint8)):
        mask = evaluation_mask("square", 0, SIZE, joints, parsing)
        rows, columns = np.nonzero(mask)
        assert (rows.min(), rows.max()) == (44, 75)
        assert (columns.min(), columns.max()) == (14, 45)


def test_square_without_annotations_is_anywhere():
    joints = np.zeros((16, 3), np.float32)
    masks = [
        evaluation_mask("square", seed, SIZE, given)
        for given in (None, joints)
        for seed in range(5)
    ]
    assert all(np.count_nonzero(one) == 32 * 32 for one in masks)
    assert len({one.tobytes() for one in masks}) == 5


def test_square_of_a_wide_photo_is_no_higher_than_the_photo():
    mask = evaluation_mask("square", 0, (20, 100))
    assert np.count_nonzero(mask) == 20 * 20


def test_evaluation_strokes_cover_a_fifth_to_three_tenths():
    for seed in range(20):
        assert 0.2 <= (evaluation_mask("strokes", seed, SIZE) > 0).mean() <= 0.3


def test_evaluation_borders():
    lower = evaluation_mask("lower_third", 0, SIZE)
    assert not lower[:64].any()
    assert lower[64:].all()
    right = evaluation_mask("right_quarter", 0, SIZE)
    assert not right[:, :48].any()
    assert right[:, 48:].all()


def test_a_square_over_the_face():
    mask = evaluation_mask(FACE_TASK, 0, SIZE, parsing=person())
    # The face is rows 10 to 19, columns 28 to 35; quantiles cost some of a row.
    assert mask[10:20, 28:36].all() and np.count_nonzero(mask) <= 13 * 13
    no_face = np.where(person() == 13, 0, person())
    np.testing.assert_array_equal(
        evaluation_mask(FACE_TASK, 3, SIZE, parsing=no_face),
        evaluation_mask("square", 3, SIZE, parsing=no_face),
    )


def test_unknown_evaluation_task_names_the_known_ones():
    with pytest.raises(PortraitError, match=r"'circle'.*square, strokes"):
        evaluation_mask("circle", 0, SIZE)


def test_photo_too_small_for_strokes():
    with pytest.raises(PortraitError, match="1x2 has no room"):
        evaluation_mask("strokes", 0, (1, 2))


@pytest.mark.parametrize(
    "given",
    [
        np.array([[0, 1], [255, 0]], np.uint8),
        np.array([[0, 1], [255, 0]], np.uint8)[..., np.newaxis],
        np.repeat(np.array([[0, 1], [255, 0]], np.uint8)[..., np.newaxis], 3, 2),
        np.array([[False, True], [True, False]]),
    ],
)
def test_accepted_masks_become_ours(given):
    mask = as_hole_mask(given, (2, 2))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, [[0, 255], [255, 0]])


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones((2, 2), np.float32), "type uint8, received float32"),
        (np.ones(4, np.uint8), r"received \[4\]"),
        (np.ones((1, 2, 2, 1), np.uint8), r"received \[1, 2, 2, 1\]"),
        (np.ones((2, 2, 4), np.uint8), r"received \[2, 2, 4\]"),
        (np.ones((3, 2), np.uint8), r"size of 2x2 .*received 3x2"),
        (np.zeros((2, 2), np.uint8), "non-zero pixels.*received none"),
        (np.ones((2, 2), np.uint8), "zero pixels.*all of it is hole"),
        (np.arange(12, dtype=np.uint8).reshape(2, 2, 3), "three that differ"),
    ],
)
def test_refused_masks_say_why(mask, message):
    with pytest.raises(PortraitError, match=rf"^hole\.png: .*{message}"):
        as_hole_mask(mask, (2, 2), "hole.png")
