"""Whether a folder of many photos needs more memory than a folder of few.

    python -m benchmarks.folder_memory --photos 1000

Draws small photos of random sizes, as JPEG, PNG (8 and 16 bits, alpha), WebP and TIFF,
completes them in one process as `portrait-tf complete DIR` does, with the bundled
weights, and prints the resident memory as it goes. Growth is from the first quarter's
end to the run's: before, TensorFlow still allocates.
"""

import pathlib
import tempfile
import time

import numpy as np
from PIL import Image

from benchmarks.common import new_parser
from portrait_tf import Portrait
from portrait_tf.apps import folders


def resident_mib() -> float:
    """Of this process, now."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def draw(folder: pathlib.Path, count: int) -> None:
    """Photos, and a mask of each photo's size."""
    rng = np.random.default_rng(0)
    for index in range(count):
        height, width = rng.integers(48, 160, 2)
        pixels = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
        photo = Image.fromarray(pixels).resize((width, height))
        extension = (".jpg", ".png", ".webp", ".tif", ".png", ".png")[index % 6]
        if index % 6 == 4:
            photo.putalpha(200)
        if index % 6 == 5:
            photo = Image.fromarray(np.asarray(photo.convert("L"), np.uint16) * 250)
        mask = np.zeros((height, width), np.uint8)
        mask[height // 3 : height // 2, width // 4 : width // 2] = 255
        for kind, picture, suffix in (
            ("photos", photo, extension),
            ("masks", Image.fromarray(mask), ".png"),
        ):
            path = folder / kind / f"{index // 100:03}" / f"{index:05}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--photos", type=int, default=1000)
    count = parser.parse_args().photos
    portrait = Portrait.load()
    memory = []

    def complete(job: folders.Job) -> list[str]:
        return folders.write_completion(portrait.complete(job.photo, job.mask), job)

    def watch(done: int, total: int) -> None:
        memory.append(resident_mib())
        if done % max(total // 10, 1) == 0:
            print(f"{done:6} photos: {memory[-1]:.0f} MiB", flush=True)

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        draw(folder, count)
        jobs = folders.plan_folder(
            folder / "photos", folder / "out", folder / "masks", folder / "maps"
        )
        start = time.perf_counter()
        summary = folders.run_folder(
            jobs, complete, log=folder / "log.jsonl", progress=watch
        )
        seconds = time.perf_counter() - start
        again = folders.run_folder(jobs, complete)
    grown = memory[-1] - memory[count // 4]
    print(
        f"{summary.completed} completed, {summary.failed} failed in {seconds:.0f} s; "
        f"{grown:+.1f} MiB over the last three quarters; a second run skipped "
        f"{again.skipped}"
    )


if __name__ == "__main__":
    main()
