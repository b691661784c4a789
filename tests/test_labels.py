import numpy as np

from portrait_tf.labels import (
    FLIPPED_JOINTS,
    FLIPPED_LABELS,
    GROUP_OF_LABEL,
    JOINTS,
    LABEL_GROUPS,
    LABELS,
    PALETTE,
    color_parsing,
)


def mirrored(name):
    for one, other in (
        ("Left", "Right"),
        ("Right", "Left"),
        ("L_", "R_"),
        ("R_", "L_"),
    ):
        if name.startswith(one):
            return other + name.removeprefix(one)
    return name


def test_a_mirror_swaps_names_of_left_and_right():
    assert [LABELS[i] for i in FLIPPED_LABELS] == [mirrored(name) for name in LABELS]
    assert [JOINTS[i] for i in FLIPPED_JOINTS] == [mirrored(name) for name in JOINTS]


def test_every_label_is_in_one_group():
    grouped = [label for labels in LABEL_GROUPS.values() for label in labels]
    assert sorted(grouped) == sorted(LABELS)
    groups = [list(LABEL_GROUPS)[group] for group in GROUP_OF_LABEL]
    assert all(
        label in LABEL_GROUPS[group]
        for label, group in zip(LABELS, groups, strict=True)
    )


def test_colors_tell_labels_apart():
    assert len(np.unique(PALETTE, axis=0)) == len(LABELS)


def test_color_parsing_takes_both_ranks_and_void():
    parsing = np.array([[0, 13], [255, 1]], np.uint8)
    colored = color_parsing(parsing)
    assert colored.dtype == np.uint8
    assert colored.tolist() == [
        [[0, 0, 0], [0, 0, 255]],
        [[128, 128, 128], [128, 0, 0]],
    ]
    np.testing.assert_array_equal(color_parsing(parsing[..., None]), colored)
