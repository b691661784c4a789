"""The benchmark of both shoes, on synthetic people."""

import re

import cv2
import numpy as np
import pytest

from benchmarks import shoes
from portrait_tf.data.synthetic import write_synthetic
from portrait_tf.errors import PortraitError

LEFT, RIGHT = shoes.SHOES


def standing(left, right):
    """Two shoes of given colours on grey; the map, too."""
    photo = np.full((40, 60, 3), 128, np.uint8)
    parsing = np.zeros((40, 60), np.uint8)
    photo[30:36, 10:20], photo[30:36, 35:45] = right, left
    parsing[30:36, 10:20], parsing[30:36, 35:45] = RIGHT, LEFT
    return photo, parsing


@pytest.mark.parametrize("hidden", [0, 1])
def test_one_shoe_is_hidden_with_some_of_what_is_around_it(hidden):
    photo, parsing = standing((200, 30, 30), (30, 30, 200))
    one = shoes.hide_a_shoe("a", photo, parsing, hidden, dilation=0.05)
    np.testing.assert_array_equal(one.painted, parsing == shoes.SHOES[hidden])
    np.testing.assert_array_equal(one.seen, parsing == shoes.SHOES[1 - hidden])
    hole = one.mask > 0
    assert (hole & one.painted).sum() == 60 and hole.sum() > 60 + 2 * (6 + 10)
    assert not (hole & one.seen).any()


def test_photos_without_both_shoes_are_passed_over():
    photo, parsing = standing((200, 30, 30), (30, 30, 200))
    for missing in (LEFT, RIGHT):
        other = np.where(parsing == missing, 0, parsing)
        assert shoes.hide_a_shoe("a", photo, other, 0) is None
    # The hole reaches over the other shoe.
    assert shoes.hide_a_shoe("a", photo, parsing, 0, dilation=0.6) is None


def test_the_distance_is_that_of_colors_in_lab():
    photo, parsing = standing((200, 30, 30), (90, 30, 60))
    found = shoes.color_distance(photo, parsing == LEFT, parsing == RIGHT)
    skimage = pytest.importorskip("skimage.color")
    lab = skimage.rgb2lab(np.uint8([[[200, 30, 30], [90, 30, 60]]]))[0]
    assert found == pytest.approx(np.linalg.norm(lab[0] - lab[1]), abs=0.2)
    same, _ = standing((90, 30, 60), (90, 30, 60))
    assert shoes.color_distance(same, parsing == LEFT, parsing == RIGHT) < 1e-4


def test_texture_is_the_factor_between_differences():
    photo, parsing = standing((128, 128, 128), (128, 128, 128))
    checks = np.where(np.indices(parsing.shape).sum(0) % 2, 1, -1)[..., None]
    strength = np.where(parsing == LEFT, 40, 10)[..., None]
    photo = np.repeat(128 + checks * strength, 3, axis=-1).astype(np.uint8)
    left, right = (parsing == label for label in (LEFT, RIGHT))
    assert shoes.texture_distance(photo, left, right) == pytest.approx(2.0)
    assert shoes.texture_distance(photo, right, right) == 0.0


def test_scores_tell_a_copied_shoe_from_a_wrong_one():
    photo, parsing = standing((200, 30, 30), (190, 30, 30))
    hidden = [shoes.hide_a_shoe("a", photo, parsing, 0)]
    wrong, _ = standing((30, 200, 30), (190, 30, 30))
    right, _ = standing((190, 30, 30), (190, 30, 30))
    scores = shoes.score_shoes(hidden, {"without": [wrong], "with": [right]})
    with_, truth, without = (
        scores[method]["color"][0] for method in ("with", "truth", "without")
    )
    assert with_ < truth < 10 < without
    lines = shoes.summary(scores).splitlines()
    assert lines[-2:] == [
        "color nearer with than without: 1 of 1 photos",
        "texture nearer with than without: 0 of 1 photos",
    ]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shoes") / "data"
    write_synthetic(folder, train=1, val=6, size=(192, 128))
    return folder


@pytest.mark.long
def test_from_a_data_set_to_numbers_and_a_sheet(data, tmp_path, capsys):
    arguments = ["--data", str(data), "--out", str(tmp_path / "sheet.png")]
    shoes.main([*arguments, "--count", "3", "--rows", "2", "--enlarge", "3"])
    text = capsys.readouterr().out
    found = re.findall(r"(\w+) +median (\w+) distance +([\d.]+)", text)
    values = {(method, name): float(value) for method, name, value in found}
    assert len(values) == 6 and "of 3 photos" in text
    assert values["with", "texture"] != values["without", "texture"]
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape[0] > 2 * 288
    with pytest.raises(SystemExit, match="none"):
        shoes.main([*arguments, "--with", "none", "--without", "none"])
    with pytest.raises(SystemExit):
        shoes.main([*arguments, "--with", "none"])


def test_a_data_set_without_shoes_is_named(portraits):
    for sample in portraits[:1]:
        barefoot = type(sample)(sample.name, sample.photo, None, None)
        with pytest.raises(PortraitError, match="both shoes labelled, found none"):
            shoes.hidden_shoes([barefoot])
