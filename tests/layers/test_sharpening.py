"""Undecided maps are decided, decided ones stay."""

import numpy as np

from portrait_tf.layers import SharpenParsing


def map_of(**labels):
    parsing = np.zeros((1, 1, 1, 20), np.float32)
    for name, value in labels.items():
        parsing[..., int(name[1:])] = value
    return parsing


def test_a_true_map_stays():
    rng = np.random.default_rng(0)
    parsing = np.eye(20, dtype=np.float32)[rng.integers(0, 20, (2, 6, 5))]
    np.testing.assert_allclose(SharpenParsing(3.0)(parsing), parsing, atol=1e-5)


def test_person_or_background_comes_first():
    # Background leads all labels, and yet a person is likelier than none.
    sharp = np.array(SharpenParsing(2.0)(map_of(_0=0.4, _9=0.35, _12=0.25)))[0, 0, 0]
    person = 0.36 / (0.36 + 0.16)
    assert np.isclose(sharp[0], 1 - person, atol=1e-4)
    assert np.isclose(sharp[9], person * 0.35**2 / (0.35**2 + 0.25**2), atol=1e-4)
    assert sharp[9] > sharp[0]


def test_then_the_part_of_the_body_then_the_label():
    # An arm leads all labels, but that it is some garment of the torso is likelier.
    sharp = SharpenParsing(2.0)(map_of(_14=0.4, _5=0.35, _7=0.25))
    sharp = np.array(sharp)[0, 0, 0]
    torso = 0.6**2 / (0.6**2 + 0.4**2)
    assert np.isclose(sharp[14], 1 - torso, atol=1e-4)
    assert np.isclose(sharp[5], torso * 0.35**2 / (0.35**2 + 0.25**2), atol=1e-4)
    assert sharp[5] > sharp[14]


def test_sums_stay_one_and_power_one_changes_nothing():
    rng = np.random.default_rng(1)
    parsing = rng.dirichlet(np.full(20, 0.2), (2, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(SharpenParsing(1.0)(parsing), parsing, atol=1e-4)
    sharp = np.array(SharpenParsing(8.0)(parsing))
    np.testing.assert_allclose(sharp.sum(-1), 1, atol=1e-5)
    assert sharp.max(-1).mean() > parsing.max(-1).mean()
