"""A photo of 24 megapixels with a small hole: seconds, and memory at its peak.

    /usr/bin/time -v python -m benchmarks.large_photo
    python -m benchmarks.large_photo --height 1200 --width 800 --hole 0.3 0.3 0.25 0.4

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

from benchmarks.common import new_parser
from portrait_tf.data.synthetic import synthesize
from portrait_tf.inference.engines import Engine, open_engine
from portrait_tf.inference.large_photos import PhotoResult, complete_photo
from portrait_tf.photos.masks import HOLE

_DRAWN = (1500, 1000)


def make_photo(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """A synthetic portrait with noise, RGB `uint8` `[H, W, 3]`."""
    drawn = synthesize(seed, _DRAWN).photo
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


def make_hole(size: tuple[int, int], parts: tuple[float, ...]) -> np.ndarray:
    """A rectangle: top, left, height and width as parts of the photo's sides."""
    top, left, height, width = (
        round(part * length) for part, length in zip(parts, size * 2, strict=True)
    )
    mask = np.zeros(size, np.uint8)
    mask[top : top + height, left : left + width] = HOLE
    return mask


def complete_checked(
    engine: Engine, photo: np.ndarray, mask: np.ndarray
) -> PhotoResult:
    """Completes, and ends the program if a pixel outside the hole has changed."""
    result = complete_photo(engine, photo, mask)
    for top in range(0, photo.shape[0], 256):
        rows = slice(top, top + 256)
        known = mask[rows] == 0
        if (result.completed[rows][known] != photo[rows][known]).any():
            raise SystemExit("a pixel outside the hole has changed")
    return result


def main(arguments: list[str] | None = None) -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--height", type=int, default=6000)
    parser.add_argument("--width", type=int, default=4000)
    parser.add_argument(
        "--hole", type=float, nargs=4, default=(0.45, 0.40, 0.05, 0.075),
        metavar=("TOP", "LEFT", "HEIGHT", "WIDTH"), help="as parts of the photo",
    )  # fmt: skip
    parser.add_argument("--detail", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args(arguments)

    size = (options.height, options.width)
    photo, mask = make_photo(size), make_hole(size, options.hole)
    photo[mask != 0] = 0
    before = peak_memory()
    start = time.perf_counter()
    engine = open_engine(None, None, options.detail)
    # Large enough for detail, whose graph is built by the first photo.
    first = tuple(2 * n for n in engine.working_size)
    complete_checked(engine, make_photo(first), make_hole(first, (0.4, 0.4, 0.1, 0.1)))
    loaded, used = time.perf_counter(), time.process_time()
    result = complete_checked(engine, photo, mask)
    done = time.perf_counter()
    print(f"photo {size[0]}x{size[1]}, {(mask != 0).mean():.2%} of it hole")
    for box in result.crops:
        print(f"crop: rows {box.top}-{box.bottom}, columns {box.left}-{box.right}")
    print(f"start and first answer {loaded - start:.1f} s")
    print(
        f"completing and checking {done - loaded:.1f} s, "
        f"{time.process_time() - used:.1f} s of CPUs"
    )
    print(f"memory at its peak {peak_memory():.0f} MiB, {before:.0f} before TensorFlow")
    print(*result.notes, sep="\n")


if __name__ == "__main__":
    main()
