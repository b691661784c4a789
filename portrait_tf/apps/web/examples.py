"""Synthetic people to try the page with; nobody's photo is in the package."""

import functools
import pathlib

from portrait_tf.data.synthetic import synthesize
from portrait_tf.photos import PhotoFile

_SEEDS = (3, 8, 21, 34)
_SIZE = (600, 400)


@functools.cache
def example_photos() -> list[PhotoFile]:
    """Photos as if they were read from PNG files; the same ones each time."""
    return [
        PhotoFile(
            pathlib.Path(f"example-{number}.png"),
            "PNG",
            synthesize(seed, _SIZE).photo,
            encoding={"chunks": []},
        )
        for number, seed in enumerate(_SEEDS, 1)
    ]
