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
KINDS = ("rectangle", "strokes", "body_part", "border", "face")


def person() -> np.ndarray:
    parsing = np.zeros(SIZE, np.uint8)
    parsing[10:20, 28:36] = 13
    parsing[20:50, 24:40] = 5
    parsing[20:45, 16:20] = 15
    parsing[20:45, 44:48] = 14
    parsing[0:4] = 255
    return parsing


def only(kind: str, **values) -> MaskConfig:
    return MaskConfig(**{**dict.fromkeys(KINDS, 0.0), kind: 1.0, **values})


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def check_form(mask: np.ndarray, size: tuple[int, int] = SIZE) -> None:
    assert mask.dtype == np.uint8
    assert mask.shape == size
    assert set(np.unique(mask)) <= {0, 255}
    assert mask.any()


def extent(mask: np.ndarray) -> tuple:
    """First and last row, first and last column."""
    rows, columns = np.nonzero(mask)
    return rows.min(), rows.max(), columns.min(), columns.max()


def test_rectangle_has_the_asked_size_and_lies_in_the_photo():
    mask = rectangle_mask(rng(), SIZE, (0.25, 0.25))
    check_form(mask)
    top, bottom, left, right = extent(mask)
    assert (bottom - top, right - left) == (23, 15)
    assert np.count_nonzero(mask) == 24 * 16


def test_strokes_are_about_as_wide_and_long_as_asked():
    for seed in range(10):
        mask = stroke_mask(rng(seed), (200, 200), (1, 1), (0.1, 0.1), (0.5, 0.5))
        check_form(mask, (200, 200))
        # 100 long and 14 to 20 wide, with caps; bends overlap themselves.
        assert 500 < np.count_nonzero(mask) < 100 * 20 + 7 * 400
    check_form(stroke_mask(rng(), (8, 8), (1, 1), (0.0, 0.0), (0.1, 0.1)), (8, 8))


def test_body_part_is_one_part_and_its_surroundings():
    parsing = person()
    seen = set()
    for seed in range(60):
        mask = body_part_mask(rng(seed), SIZE, parsing, 1 / 96)
        check_form(mask)
        parts = (n for n in (5, 13, 14, 15) if (mask[parsing == n] == 255).all())
        seen.add(tuple(parts))
    assert seen == {(13,), (5,), (14,), (15,), (14, 15)}
    parsing = np.zeros(SIZE, np.uint8)
    parsing[40:50, 20:30] = 13
    mask = body_part_mask(rng(), SIZE, parsing, 3 / 96)
    assert extent(mask) == (37, 52, 17, 32)
    assert not mask[37, 17]


def test_body_part_may_be_one_piece_of_a_region():
    parsing = np.zeros(SIZE, np.uint8)
    parsing[10:20, 10:20] = parsing[60:70, 40:50] = 5
    masks = [body_part_mask(rng(seed), SIZE, parsing, 0) for seed in range(30)]
    seen = {(bool(one[15, 15]), bool(one[65, 45])) for one in masks}
    assert seen == {(True, True), (True, False), (False, True)}


@pytest.mark.parametrize("draw", [body_part_mask, face_mask])
def test_without_a_person_the_hole_is_a_rectangle(draw):
    for parsing in (None, np.zeros(SIZE, np.uint8), np.full(SIZE, 255, np.uint8)):
        mask = draw(rng(3), SIZE, parsing)
        np.testing.assert_array_equal(mask, rectangle_mask(rng(3), SIZE))


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


def test_border_is_the_asked_part_of_each_side():
    mask = border_mask((10, 20), top=0.2, bottom=0.1, left=0.25)
    expected = np.zeros((10, 20), np.uint8)
    expected[:2] = expected[9:] = expected[:, :5] = 255
    np.testing.assert_array_equal(mask, expected)
    # A part above 0 is at least a pixel.
    assert np.count_nonzero(border_mask((10, 20), right=0.001)) == 10
    assert not border_mask((10, 20)).any()


def test_random_borders_follow_the_weights():
    def sides(seed: int, **values) -> tuple:
        mask = random_border_mask(rng(seed), SIZE, only("border", **values))
        return tuple(
            edge.all() for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1])
        )

    for seed in range(10):
        left = sides(seed, border_sides={"left": 1.0}, second_border=1.0)
        assert left == (False, False, True, False)
    seen = {sides(seed, border_sides={}, second_border=0.0) for seed in range(40)}
    assert len(seen) == 4
    config = only(
        "border", border_sides={"left": 1.0, "top": 1.0}, second_border=1.0,
        border_size=(0.25, 0.25),
    )  # fmt: skip
    mask = random_border_mask(rng(), SIZE, config)
    assert mask[0].all() and mask[:, 0].all()
    assert np.count_nonzero(mask) == 96 * 64 - 72 * 48


@pytest.mark.parametrize(
    "config",
    [
        *map(only, KINDS),
        # These give nothing but holes that are too large.
        only("rectangle", rectangle_size=(1.0, 1.0)),
        only("border", border_size=(1.0, 1.0)),
        only("body_part", body_part_dilation=(1.0, 1.0)),
    ],
)
def test_random_masks_are_never_empty_and_never_too_large(config):
    for seed in range(40):
        mask = random_mask(rng(seed), SIZE, config, person())
        check_form(mask)
        assert np.count_nonzero(mask) <= MAX_HOLE_FRACTION * mask.size


def test_tiny_photos_have_holes_too():
    for size in ((1, 2), (2, 1), (3, 3), (1, 500)):
        for seed in range(20):
            mask = random_mask(rng(seed), size, MaskConfig())
            check_form(mask, size)
            assert not mask.all()
    with pytest.raises(PortraitError, match="1x1 has no room"):
        random_mask(rng(), (1, 1), MaskConfig())


def test_the_same_seed_gives_the_same_mask():
    first, second = (
        [random_mask(rng(seed), SIZE, MaskConfig(), person()) for seed in range(12)]
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
    assert len({mask.tobytes() for mask in first}) == 12
    for task in (*EVALUATION_TASKS, FACE_TASK):
        one, two = (
            evaluation_mask(task, [3, 7], SIZE, parsing=person()) for _ in range(2)
        )
        check_form(one)
        np.testing.assert_array_equal(one, two)


def test_square_lies_on_the_person_and_in_the_photo():
    masks = [
        evaluation_mask("square", seed, SIZE, parsing=person()) for seed in range(40)
    ]
    for mask in masks:
        assert np.count_nonzero(mask) == 32 * 32
        assert mask[(person() > 0) & (person() < 255)].any()
    assert len({mask.tobytes() for mask in masks}) > 20


def test_square_without_a_label_map():
    joints = np.zeros((16, 3), np.float32)
    masks = [
        evaluation_mask("square", seed, SIZE, given)
        for given in (None, joints)
        for seed in range(5)
    ]
    assert all(np.count_nonzero(one) == 32 * 32 for one in masks)
    assert len({one.tobytes() for one in masks}) == 5
    joints[4] = 30, 60, 1
    for parsing in (None, np.zeros(SIZE, np.uint8)):
        mask = evaluation_mask("square", 0, SIZE, joints, parsing)
        assert extent(mask) == (44, 75, 14, 45)
    # No higher than a wide photo.
    assert np.count_nonzero(evaluation_mask("square", 0, (20, 100))) == 20 * 20


def test_other_tasks():
    for seed in range(20):
        assert 0.2 <= (evaluation_mask("strokes", seed, SIZE) > 0).mean() <= 0.3
    np.testing.assert_array_equal(
        evaluation_mask("lower_third", 0, SIZE), border_mask(SIZE, bottom=1 / 3)
    )
    np.testing.assert_array_equal(
        evaluation_mask("right_quarter", 0, SIZE), border_mask(SIZE, right=1 / 4)
    )
    mask = evaluation_mask(FACE_TASK, 0, SIZE, parsing=person())
    # The face is rows 10 to 19, columns 28 to 35; quantiles cost some of a row.
    assert mask[10:20, 28:36].all() and np.count_nonzero(mask) <= 13 * 13
    no_face = np.where(person() == 13, 0, person())
    one, two = (
        evaluation_mask(t, 3, SIZE, parsing=no_face) for t in (FACE_TASK, "square")
    )
    np.testing.assert_array_equal(one, two)
    with pytest.raises(PortraitError, match=r"'circle'.*square, strokes"):
        evaluation_mask("circle", 0, SIZE)
    with pytest.raises(PortraitError, match="1x2 has no room"):
        evaluation_mask("strokes", 0, (1, 2))


FOUR = np.array([[0, 1], [255, 0]], np.uint8)


@pytest.mark.parametrize(
    "given", [FOUR, FOUR[..., None], np.repeat(FOUR[..., None], 3, 2), FOUR > 0]
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
