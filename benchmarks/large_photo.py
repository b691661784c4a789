"""A photo of 24 megapixels with a small hole: seconds, and memory at its peak.

    /usr/bin/time -v python -m benchmarks.large_photo

The photo is a synthetic portrait, drawn at 1500x1000 and enlarged, with noise, so that
no two pixels are alike by chance. It is completed with the bundled weights; outside the
hole it has to come back bit for bit, or else the program fails. What is printed: the
seconds that completing takes, TensorFlow's start and the networks' apart, the peak of
the process' memory, and the notes.
"""

import argparse
import resource
import time

import cv2
import numpy as np

from portrait_tf.data.synthetic import synthetic_portrait
from portrait_tf.engines import open_engine
from portrait_tf.large_photos import complete_photo
from portrait_tf.masks import HOLE

_DRAWN = (1500, 1000)


def make_photo(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """A synthetic portrait with noise; RGB `uint8` `[H, W, 3]`, a strip at a time."""
    drawn = synthetic_portrait(seed, _DRAWN).photo
    photo = cv2.resize(drawn, size[::-1], interpolation=cv2.INTER_CUBIC)
    rng = np.random.default_rng(seed)
    for top in range(0, size[0], 256):
        strip = photo[top : top + 256]
        noisy = strip + rng.normal(0, 4, strip.shape).astype(np.float32)
        strip[:] = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    return photo


def peak_memory() -> float:
    """The most that this process has held so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--height", type=int, default=6000)
    parser.add_argument("--width", type=int, default=4000)
    parser.add_argument(
        "--hole", type=float, nargs=4, default=(0.45, 0.40, 0.05, 0.075),
        metavar=("TOP", "LEFT", "HEIGHT", "WIDTH"), help="as parts of the photo",
    )  # fmt: skip
    options = parser.parse_args(arguments)

    size = (options.height, options.width)
    photo = make_photo(size)
    top, left, height, width = (
        round(part * length)
        for part, length in zip(options.hole, size * 2, strict=True)
    )
    mask = np.zeros(size, np.uint8)
    mask[top : top + height, left : left + width] = HOLE
    photo[mask != 0] = 0
    before = peak_memory()

    start = time.perf_counter()
    engine = open_engine(None, None)
    small = np.zeros((64, 48), np.uint8)
    small[:8] = HOLE
    engine.complete(np.zeros((64, 48, 3), np.uint8), small)
    loaded = time.perf_counter()
    result = complete_photo(engine, photo, mask)
    done = time.perf_counter()

    changed = (result.completed != photo).any(axis=-1)
    if (changed & (mask == 0)).any():
        raise SystemExit("a pixel outside the hole has changed")
    filled = np.count_nonzero(changed) / np.count_nonzero(mask)
    print(f"photo {size[0]}x{size[1]}, hole {height}x{width}, {filled:.1%} filled anew")
    for box in result.crops:
        print(f"crop: rows {box.top}-{box.bottom}, columns {box.left}-{box.right}")
    print(f"start and first answer {loaded - start:.1f} s")
    print(f"completing {done - loaded:.1f} s")
    print(f"memory at its peak {peak_memory():.0f} MiB, {before:.0f} before TensorFlow")
    print(*result.notes, sep="\n")


if __name__ == "__main__":
    main()
