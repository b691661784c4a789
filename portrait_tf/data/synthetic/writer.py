"""Synthetic portraits written in the layout of LIP."""

import pathlib
import shutil
from collections.abc import Callable

import cv2
import numpy as np

from portrait_tf.data.lip import LipFolders
from portrait_tf.data.poses import pose_row
from portrait_tf.data.reader import Progress, ticker
from portrait_tf.data.synthetic.portrait import synthesize
from portrait_tf.errors import PortraitError
from portrait_tf.files import temporary_beside
from portrait_tf.photos import encode_png

VAL_OFFSET = 500_000
"""Validation seeds start this far after the training seeds."""

SEED_STRIDE = 1_000_000
"""Seeds that one `seed` of `write_synthetic` may use."""


def _write_split(
    folders: LipFolders, seeds: range, size: tuple[int, int], tick: Callable[[], None]
) -> None:
    names, rows = [], []
    for seed in seeds:
        sample = synthesize(seed, size)
        bgr = np.ascontiguousarray(sample.photo[..., ::-1])
        _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 95])
        (folders.photos / f"{sample.name}.jpg").write_bytes(jpeg.tobytes())
        (folders.maps / f"{sample.name}.png").write_bytes(encode_png(sample.parsing))
        names.append(f"{sample.name}\n")
        # Without the sign of a negative zero.
        joints = sample.joints.round() + 0.0
        rows.append(pose_row(f"{sample.name}.jpg", joints) + "\n")
        tick()
    folders.names.write_text("".join(names), encoding="utf-8")
    folders.poses.write_text("".join(rows), encoding="utf-8")


def write_synthetic(
    directory: str | pathlib.Path,
    train: int,
    val: int,
    seed: int = 0,
    size: tuple[int, int] = (480, 320),
    progress: Progress | None = None,
) -> None:
    """Writes synthetic portraits in the layout of LIP.

    The folder is written under a temporary name beside `directory` and renamed when
    it is complete.

    Args:
        directory: A folder that is absent or empty.
        train, val: Numbers of portraits; the two never share a seed.
        seed: Different seeds give different people.
        size: Height and width, pixels.
        progress: Called as `progress(done, total)` after every portrait.

    Raises:
        PortraitError: If `directory` holds something, or a number is out of range.
    """
    directory = pathlib.Path(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise PortraitError(
            f"{directory} is not an empty folder; name a new or an empty one."
        )
    if not 0 <= train <= VAL_OFFSET or not 0 <= val <= SEED_STRIDE - VAL_OFFSET:
        raise PortraitError(
            f"train and val must be 0 to {VAL_OFFSET}; received {train} and {val}."
        )
    if not train + val:
        raise PortraitError(
            expected="a portrait or more, of train and val", received="0 of both"
        )
    if seed < 0:
        raise PortraitError(f"seed must not be negative; received {seed}.")
    first, tick = seed * SEED_STRIDE, ticker(progress, train + val)
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(directory)
    try:
        for split, start, count in (
            ("train", first, train),
            ("val", first + VAL_OFFSET, val),
        ):
            folders = LipFolders(temporary, split)
            _write_split(folders, range(start, start + count), size, tick)
        # Replaces an empty folder; fails if it has been filled meanwhile.
        temporary.rename(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
