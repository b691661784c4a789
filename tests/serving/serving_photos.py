"""Photos for the tests of serving, and what the stand-in model makes of them."""

import numpy as np

FILLED_LABEL = 5


def make_photo(height=9, width=11, batch=None, seed=0):
    """A photo of noise and a mask with a hole inside; a batch of them if asked for."""
    shape = (height, width) if batch is None else (batch, height, width)
    image = np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)
    mask = np.zeros((*shape, 1), np.uint8)
    mask[..., height // 4 : height // 2, width // 4 : width // 2, :] = 255
    return image, mask


def check_completed(image, mask, completed, parsing):
    """Asserts that known pixels are untouched and the hole has the mean and label."""
    assert completed.shape == image.shape and completed.dtype == np.uint8
    assert parsing.shape == mask.shape and parsing.dtype == np.uint8
    hole = mask[..., 0] != 0
    np.testing.assert_array_equal(completed[~hole], image[~hole])
    np.testing.assert_array_equal(parsing[..., 0], hole * FILLED_LABEL)
    if image.ndim == 3:
        image, hole, completed = image[None], hole[None], completed[None]
    for one, where, done in zip(image, hole, completed, strict=True):
        np.testing.assert_allclose(
            done[where].astype(int),
            np.tile(one[~where].mean(0), (where.sum(), 1)),
            atol=1.01,
        )
