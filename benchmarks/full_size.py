"""Photos at the size that their files have: as sharp in the hole as around it?

    python -m benchmarks.full_size DATA [--features FILE] [--out DIR]

Holes are those of `portrait-tf evaluate`, enlarged. Each photo is completed by the
bundled weights with detail (`portrait_tf.inference.detail`), without it, and by
OpenCV's Telea. Printed are, by task, means over photos: the gradients in the hole as a
part of the truth's; the PSNR of the hole; the distance in VGG features, of the hole and
a third of its size around it, over Telea's; and the median CPU seconds of a photo. DATA
is a data set, or a folder of photos. `--out` writes the truth, the masks and every
method's pictures, as `portrait-tf evaluate --pictures` does.
"""

import collections
import pathlib
import statistics
import time
from collections.abc import Iterator

import cv2
import numpy as np

from benchmarks.common import markdown, new_parser, user_errors
from portrait_tf.data.masks import EVALUATION_TASKS, evaluation_mask
from portrait_tf.data.sample import Sample
from portrait_tf.geometry import Box, scale_joints, shrunk_size
from portrait_tf.photos import write_png

METHODS = ("telea", "without detail", "with detail")


def samples(data: pathlib.Path, count: int | None) -> Iterator[Sample]:
    """Validation photos of a data set, or the photos of a folder.

    Raises:
        PortraitError: The folder cannot be read as either.
    """
    from portrait_tf.data.open import open_dataset
    from portrait_tf.errors import PortraitError
    from portrait_tf.photos import open_photo

    files = [path for path in sorted(data.iterdir()) if path.is_file()]
    if files:
        for path in files[:count]:
            yield Sample(path.stem, open_photo(path).rgb())
        return
    reader = open_dataset(data, "val")
    if not len(reader):
        raise PortraitError(f"{data}: expected photos, found none")
    for index in range(len(reader))[:count]:
        yield reader[index]


def enlarged_hole(
    sample: Sample, task: str, seed: list[int], frame: tuple[int, int]
) -> np.ndarray:
    """The hole of a task, drawn at the working size: `uint8` `[H, W]`, 255 = hole."""
    full = sample.photo.shape[:2]
    size = shrunk_size(full, frame)
    joints = parsing = None
    if sample.joints is not None:
        joints = scale_joints(sample.joints, full, size)
        joints[:, 2] = np.isfinite(joints[:, 0])
    if sample.parsing is not None:
        parsing = cv2.resize(
            sample.parsing, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT
        )
    mask = evaluation_mask(task, seed, size, joints, parsing)
    return cv2.resize(mask, full[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def gradients(photo: np.ndarray, mask: np.ndarray) -> float:
    """Mean absolute differences of neighbors in the hole, down and across, of gray."""
    gray = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(np.float32)
    total = np.abs(np.diff(gray, axis=0))[:, :-1] + np.abs(np.diff(gray, axis=1))[:-1]
    return float(total[mask[:-1, :-1] > 0].mean())


def around(mask: np.ndarray) -> Box:
    """The hole's box and a third of its sides around it."""
    box = Box.about(mask)
    return box.grown(box.height // 3, box.width // 3, mask.shape)


def main(arguments: list[str] | None = None) -> None:
    parser = new_parser(__doc__)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--features", metavar="FILE", help="of VGG-16 weights")
    parser.add_argument("--count", type=int, help="the first photos only")
    parser.add_argument("--enlarge", type=float, default=1.0, help="photos, before")
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args(arguments)

    from portrait_tf.evaluation.classical import telea
    from portrait_tf.evaluation.evaluate import hole_psnr
    from portrait_tf.inference.engines import open_engine
    from portrait_tf.inference.large_photos import complete_photo

    engine = open_engine(None, None)
    distance = None
    found = collections.defaultdict(list)

    def complete(method: str, photo: np.ndarray, mask: np.ndarray) -> np.ndarray:
        if method == "telea":
            return telea(photo, mask)
        engine.detail = method == "with detail"
        return complete_photo(engine, photo, mask).completed

    if options.features:
        from portrait_tf.evaluation.compare_config import FeaturesConfig
        from portrait_tf.evaluation.features import FeatureDistance

        config = FeaturesConfig(weights=options.features)
        distance = FeatureDistance.from_config(config)
    for index, sample in enumerate(samples(options.data, options.count)):
        if options.enlarge != 1:
            sample = _enlarged(sample, options.enlarge)
        for task in EVALUATION_TASKS:
            mask = enlarged_hole(sample, task, [0, index], engine.working_size)
            hidden = np.where(mask[..., None] > 0, np.uint8(128), sample.photo)
            box, pictures = around(mask), {"truth": sample.photo}
            for method in METHODS:
                start = time.process_time()
                done = pictures[method] = complete(method, hidden, mask)
                found[task, method, "seconds"].append(time.process_time() - start)
                found[task, method, "psnr"].append(hole_psnr(sample.photo, done, mask))
                found[task, method, "gradients"].append(
                    gradients(done, mask) / max(gradients(sample.photo, mask), 0.1)
                )
                if distance:
                    pair = [distance.features(box.of(x)) for x in (sample.photo, done)]
                    found[task, method, "distance"].append(distance.distance(*pair))
            if options.out:
                _write(options.out, f"{sample.name}_{task}.png", pictures, mask)
    print(table(found))


def _enlarged(sample: Sample, times: float) -> Sample:
    size = tuple(round(times * n) for n in sample.photo.shape[:2])
    photo = cv2.resize(sample.photo, size[::-1], interpolation=cv2.INTER_CUBIC)
    return Sample(sample.name, photo)


def _write(folder: pathlib.Path, name: str, pictures: dict, mask: np.ndarray) -> None:
    for method, picture in {**pictures, "masks": mask}.items():
        path = folder / method.replace(" ", "_") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(path, picture)


def table(found: dict[tuple[str, str, str], list[float]]) -> str:
    """Markdown of scores by task, method and name."""
    columns = ["hole", "method", "gradients", "PSNR, dB", "distance over Telea's"]
    rows = []
    for task in EVALUATION_TASKS:
        for method in METHODS:
            means = [
                f"{statistics.mean(found[task, method, name]):.2f}"
                for name in ("gradients", "psnr")
            ]
            over = "-"
            if distances := found.get((task, method, "distance")):
                telea = statistics.mean(found[task, "telea", "distance"])
                over = f"{statistics.mean(distances) / telea:.3f}"
            seconds = statistics.median(found[task, method, "seconds"])
            rows.append([task, method, *means, over, f"{seconds:.2f}"])
    return markdown([*columns, "CPU s"], rows)


if __name__ == "__main__":
    with user_errors():
        main()
