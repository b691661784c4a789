"""The package's own weights files (MODEL_CARD.md), read without Keras."""

import functools
import hashlib
import json
import pathlib

import numpy as np

from portrait_tf.errors import PortraitError
from portrait_tf.runs.storage import read_arrays

FOLDER = pathlib.Path(__file__).parents[1] / "weights"
HASHES = FOLDER / "hashes.json"


@functools.cache
def bundled_arrays(stage: str) -> tuple[dict[str, np.ndarray], dict]:
    """`read_arrays` of a stage's file; not to be changed, as it is read once.

    Raises:
        PortraitError: There is no such file, or it is not the published one.
    """
    path = FOLDER / f"{stage}_demo.npz"
    check_hash(path)
    return read_arrays(path)


def file_hash(path: str | pathlib.Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def check_hash(path: pathlib.Path) -> None:
    """Compares a bundled file with the published hashes in `hashes.json` beside it.

    Raises:
        PortraitError: It is missing or differs.
    """
    if not path.is_file():
        raise PortraitError(f"no such weights file: {path}")
    expected = json.loads(path.with_name(HASHES.name).read_text()).get(path.name)
    received = file_hash(path)
    if received != expected:
        raise PortraitError(
            f"{path} is damaged or was exchanged: expected the SHA-256 {expected}, "
            f"received {received}; install the package again"
        )
