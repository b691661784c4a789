"""The kernel distance, against plain loops."""

import itertools

import numpy as np
import pytest

from portrait_tf.evaluation.features import FeatureDistance
from portrait_tf.evaluation.kernel_distance import (
    SUBSET_PATCHES,
    PatchDistances,
    hole_patches,
    kernel_distance,
    subset_distances,
)


def by_loops(one, two):
    """KID as its paper has it, pair by pair."""

    def kernel(x, y):
        return (x @ y / len(x) + 1) ** 3

    within = [
        np.mean([kernel(x, y) for x, y in itertools.permutations(rows, 2)])
        for rows in (one, two)
    ]
    between = np.mean([kernel(x, y) for x, y in itertools.product(one, two)])
    return sum(within) - 2 * between


def test_kernel_distance():
    rng = np.random.default_rng(0)
    one, two = rng.normal(0, 1, (12, 5)), rng.normal(0.3, 1.5, (9, 5))
    assert kernel_distance(one, two) == pytest.approx(by_loops(one, two))
    # One number a row: k(0, y) = 1, k(1, 1) = 8.
    zeros, ones = np.zeros((3, 1)), np.ones((2, 1))
    assert kernel_distance(zeros, ones) == pytest.approx(1 + 8 - 2)
    assert kernel_distance(zeros, zeros) == pytest.approx(0)
    # Pairs within [0, 1]: 1; across: (1 + 1 + 1 + 8) / 4.
    both = np.array([[0.0], [1.0]])
    assert kernel_distance(both, both) == pytest.approx(1 + 1 - 2 * 11 / 4)


def test_unlike_sets_are_farther_than_samples_of_one_distribution():
    rng = np.random.default_rng(0)
    one, same, other = (
        rng.normal(mean, 1, (SUBSET_PATCHES * 2, 8)) for mean in (0, 0, 0.5)
    )
    near, deviation = subset_distances(one, same)
    far, _ = subset_distances(one, other)
    assert abs(near) < 3 * deviation < far / 3
    assert far == pytest.approx(kernel_distance(one, other), rel=0.05)
    assert subset_distances(one, other) == subset_distances(one, other)
    assert subset_distances(one, other, seed=1) != subset_distances(one, other)
    # Of few rows all are taken.
    few = one[:9], other[:9]
    assert subset_distances(*few) == (kernel_distance(*few), None)


def test_patches_are_in_the_hole():
    mask = np.zeros((64, 96), np.uint8)
    mask[:, 48:] = 255
    found = {tuple(place) for place in hole_patches(mask)}
    # At column 32 half of a patch is hole.
    assert found == {(top, left) for top in (0, 16, 32) for left in (32, 48, 64)}
    assert hole_patches(np.full((20, 20), 255, np.uint8)).tolist() == [[0, 0]]
    mask[:] = 0
    assert hole_patches(mask).shape == (0, 2)


@pytest.fixture(scope="module")
def features():
    layers = ["block1_conv1", "block2_conv1"]
    return FeatureDistance("vgg16", "random", layers[:1], layers[0], layers)


class TestPatchDistances:
    def test_methods_in_order(self, features, portraits):
        distances = PatchDistances(features, len(portraits))
        mask = np.zeros((64, 64), np.uint8)
        mask[16:56, 8:60] = 255
        hole = mask[..., None] > 0
        for number, portrait in enumerate(portraits):
            photo = portrait.photo
            pictures = {
                "truth": photo,
                "mirrored": np.where(hole, photo[:, ::-1], photo),
                "black": np.where(hole, np.uint8(0), photo),
            }
            if number == 0:
                pictures["once"] = pictures["black"]
            painted = {n: features.features(p) for n, p in pictures.items()}
            distances.add("square", mask, painted["truth"], painted)
        found = distances.result()["square"]
        count = len(hole_patches(mask))
        assert found["once"]["patches"] == count
        assert found["truth"]["patches"] == count * len(portraits)
        assert found["truth"]["mean"] <= 0
        means = [found[name]["mean"] for name in ("truth", "mirrored", "black")]
        assert means == sorted(means) and means[2] > means[1] + 0.01

    def test_known_pixels_do_not_count(self, features, portraits):
        """But for what the convolutions see of them."""
        distances = PatchDistances(features, 1)
        mask = np.zeros((64, 64), np.uint8)
        mask[8:40, 8:40] = 255
        true = {n: np.ones_like(f) for n, f in
                features.features(portraits[0].photo).items()}  # fmt: skip
        wild = {}
        for name, one in true.items():
            stride = 64 // one.shape[0]
            cells = mask[::stride, ::stride, None] > 0
            wild[name] = np.where(cells, one, np.float32(1000))
        distances.add("square", mask, true, {"wild": wild})
        found = distances.result()["square"]["wild"]
        assert found["patches"] > 1
        assert found["mean"] == pytest.approx(0, abs=1e-5)

    def test_how_many_patches_are_kept(self, features, portraits):
        found = features.features(portraits[0].photo)
        mask = np.full((64, 64), 255, np.uint8)
        # Few of each of many photos.
        distances = PatchDistances(features, 8000, seed=3)
        for _ in range(40):
            distances.add("square", mask, found, {"ours": found})
        assert 10 < distances.result()["square"]["ours"]["patches"] < 30
        # None of a small hole.
        mask[4:], mask[:, 4:] = 0, 0
        distances = PatchDistances(features, 1)
        distances.add("strokes", mask, found, {"ours": found})
        nothing = {"mean": None, "std": None, "patches": 0}
        assert distances.result() == {"strokes": {"ours": nothing}}

    def test_sizes_that_no_cell_divides(self, features):
        rng = np.random.default_rng(0)
        photo = rng.integers(0, 256, (23, 45, 3)).astype(np.uint8)
        found = features.features(photo)
        distances = PatchDistances(features, 1)
        distances.add("all", np.full((23, 45), 255, np.uint8), found, {"o": found})
        assert distances.result()["all"]["o"]["patches"] == 1
