"""How visible is the border of a filled hole, at the photo's own resolution?

    python -m benchmarks.seams --data DIR

Each photo is completed with fixed holes (of seed 0): the tasks of `portrait-tf
evaluate`, and `spot` and `speck`, squares of an eighth and of a 32nd of the photo's
width on the person. Compared are plain pasting, which is the pipeline's own answer
enlarged, and `complete_photo` with each way of blending, and with each context where
several are given; the engine is asked once for what several of them need. Scores, in
grey levels (0-255), means over the hole's border and the channels, then medians over
photos:

* `jump`: the difference of two neighbours (4-connected), one in the hole, one outside:
  the derivative across the border. `true` is the same in the true photo, and
  `jump/true` the median of the quotients: 1 is a border as in a photo, above it shows.
* `error`: the difference of these two derivatives, before the mean: what is continuous
  where the true photo has an edge is an error, too.
* `step`: how much the mean of the hole's pixels within 4 px (a window of 9x9) differs
  from that of the known ones beyond what it does in the true photo: colours that are
  wrong just behind a border without a jump.
* `psnr` in dB and `sharpness`, the mean of the Laplacian's amount by the true photo's,
  of the hole.
"""

import argparse
import itertools
import json
import pathlib
import shlex
import sys
from collections.abc import Sequence

import cv2
import numpy as np

from portrait_tf.data.dataset import Reader
from portrait_tf.data.masks import EVALUATION_TASKS, evaluation_mask
from portrait_tf.errors import PortraitError
from portrait_tf.files import write_result
from portrait_tf.inference.blending import METHODS
from portrait_tf.inference.large_photos import CONTEXTS, complete_photo
from portrait_tf.photos.masks import HOLE

SPOTS = {"speck": 32, "spot": 8}
PLAIN = "plain pasting"
SCORES = ("jump", "true", "jump/true", "error", "step", "psnr", "sharpness")
_BAND = 4


def hole_for(
    task: str, seed: list[int], size: tuple[int, int], parsing: np.ndarray | None
) -> np.ndarray:
    """The hole of a task of `evaluation_mask` or of `SPOTS`; `uint8` `[H, W]`."""
    if task not in SPOTS:
        return evaluation_mask(task, seed, size, None, parsing)
    rows, columns = np.nonzero(evaluation_mask("square", seed, size, None, parsing))
    half = max(1, size[1] // SPOTS[task] // 2)
    row, column = (int(round(places.mean())) for places in (rows, columns))
    mask = np.zeros(size, np.uint8)
    mask[max(0, row - half) : row + half, max(0, column - half) : column + half] = HOLE
    return mask


def derivatives(photo: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """From each known pixel to each neighbour in the hole: `[N, 3]`, grey levels."""
    values, hole = photo.astype(np.float32), mask != 0
    found = []
    for axis in (0, 1):
        change = np.diff(values, axis=axis)
        into = np.diff(hole.astype(np.int8), axis=axis)
        found += [change[into == 1], -change[into == -1]]
    return np.concatenate(found)


def steps(photo: np.ndarray, mask: np.ndarray, radius: int = _BAND) -> np.ndarray:
    """Mean of the hole's minus mean of the known pixels near it: `[N, 3]`.

    One for each hole pixel that touches (4-connected) a known one.
    """
    hole = (mask != 0).astype(np.float32)
    side = (2 * radius + 1, 2 * radius + 1)

    def mean(weight: np.ndarray) -> np.ndarray:
        sums = [
            cv2.boxFilter(
                values, -1, side, normalize=False, borderType=cv2.BORDER_CONSTANT
            )
            for values in (photo.astype(np.float32) * weight[..., None], weight)
        ]
        return sums[0] / np.maximum(sums[1], 1e-6)[..., None]

    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    border = (hole > 0) & (cv2.dilate(1 - hole, cross) > 0)
    return (mean(hole) - mean(1 - hole))[border]


def seam_scores(
    completed: np.ndarray, truth: np.ndarray, mask: np.ndarray
) -> dict[str, float]:
    """The scores of one photo; `uint8` `[H, W, 3]` twice, and `[H, W]`."""
    ours, true = derivatives(completed, mask), derivatives(truth, mask)
    step = steps(completed, mask) - steps(truth, mask)
    hole = mask != 0
    square = np.mean((completed[hole].astype(float) - truth[hole]) ** 2)
    detail = [
        np.abs(cv2.Laplacian(one, cv2.CV_32F)[hole]).mean()
        for one in (completed, truth)
    ]
    jump, real = np.abs(ours).mean(), np.abs(true).mean()
    scores = {
        "jump": jump,
        "true": real,
        "jump/true": jump / max(real, 1e-3),
        "error": np.abs(ours - true).mean(),
        "step": np.abs(step).mean(),
        "psnr": 10 * np.log10(255**2 / max(square, 1e-3)),
        "sharpness": detail[0] / max(detail[1], 1e-3),
    }
    return {name: float(value) for name, value in scores.items()}


class Remembering:
    """An engine that answers the same question once."""

    def __init__(self, engine: object) -> None:
        self.engine = engine
        self.working_size = engine.working_size
        self._answers = {}

    def complete(self, photo: np.ndarray, mask: np.ndarray) -> tuple:
        question = (photo.tobytes(), mask.tobytes())
        if question not in self._answers:
            self._answers[question] = self.engine.complete(photo, mask)
        return self._answers[question]


def measure(
    engine: object,
    reader: Reader,
    tasks: list[str],
    methods: list[str],
    count: int,
    seed: int = 0,
    contexts: Sequence[str] = ("auto",),
) -> tuple[list[dict], list[dict]]:
    """Completes and scores.

    Args:
        engine: With `complete` and `working_size`.
        reader: Photos with label maps.
        tasks: Kinds of holes.
        methods: Ways of blending.
        count: So many photos, spread evenly.
        seed: Of the holes.
        contexts: Of `complete_photo`; of more than one, names are `METHOD, CONTEXT`.

    Returns:
        A dict each of `task`, `name`, `method` and the scores; and a dict each of
        `task`, `name`, `mask`, `truth` and a picture for each method.
    """
    scores, pictures = [], []
    for index in np.linspace(0, len(reader) - 1, min(count, len(reader))).astype(int):
        sample = reader[int(index)]
        for task in tasks:
            asked = Remembering(engine)
            photo = sample.photo
            hole = hole_for(task, [seed, int(index)], photo.shape[:2], sample.parsing)
            # Nothing can leak from where nothing is.
            holed = np.where((hole != 0)[..., None], np.uint8(128), photo)
            answers = {PLAIN: asked.complete(holed, hole)[0]}
            for method, context in itertools.product(methods, contexts):
                name = f"{method}, {context}" if len(contexts) > 1 else method
                answers[name] = complete_photo(
                    asked, holed, hole, method=method, context=context
                ).completed
            key = {"task": task, "name": sample.name}
            pictures.append({**key, "mask": hole, "truth": photo, **answers})
            scores += [
                {**key, "method": method, **seam_scores(answer, photo, hole)}
                for method, answer in answers.items()
            ]
    return scores, pictures


def summary(scores: list[dict]) -> list[dict]:
    """Medians over photos, a dict for each task and method, in the order met."""
    groups: dict[tuple, list] = {}
    for one in scores:
        groups.setdefault((one["task"], one["method"]), []).append(one)
    return [
        {
            "task": task,
            "method": method,
            "photos": len(group),
            **{name: float(np.median([one[name] for one in group])) for name in SCORES},
        }
        for (task, method), group in groups.items()
    ]


def table(medians: list[dict]) -> str:
    """`summary` as a Markdown table."""
    lines = [
        f"| hole | method | {' | '.join(SCORES)} |",
        "| --- " * (len(SCORES) + 2) + "|",
    ]
    for one in medians:
        values = " | ".join(f"{one[name]:.2f}" for name in SCORES)
        lines.append(f"| {one['task']} | {one['method']} | {values} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    tasks = (*SPOTS, *EVALUATION_TASKS)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="a data set with label maps")
    parser.add_argument("--split", default="val", choices=("train", "val"))
    parser.add_argument("--count", type=int, default=24, help="photos, spread evenly")
    parser.add_argument("--tasks", nargs="+", default=tasks, choices=tasks)
    parser.add_argument(
        "--methods", nargs="+", default=list(METHODS), choices=list(METHODS)
    )
    parser.add_argument("--contexts", nargs="+", default=["auto"], choices=CONTEXTS)
    parser.add_argument("--run", help="a run, in place of the bundled weights")
    parser.add_argument("--seed", type=int, default=0, help="of the holes")
    parser.add_argument("--json", type=pathlib.Path, help="write all scores")
    parser.add_argument("--sheet", type=pathlib.Path, help="draw the holes, as a PNG")
    options = parser.parse_args(arguments)

    from portrait_tf.data.open import open_dataset
    from portrait_tf.inference.engines import PipelineEngine
    from portrait_tf.inference.pipeline import Pipeline
    from portrait_tf.photos import write_png
    from portrait_tf.photos.drawing import contact_sheet, show_hole

    try:
        reader = open_dataset(options.data, options.split)
        pipeline = (
            Pipeline.from_run(options.run, detail=False)
            if options.run
            else Pipeline.bundled(detail=False)
        )
        scores, pictures = measure(
            PipelineEngine(pipeline), reader, options.tasks, options.methods,
            options.count, options.seed, options.contexts,
        )  # fmt: skip
    except PortraitError as error:
        raise SystemExit(str(error)) from None
    given = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["python", "-m", "benchmarks.seams", *given])
    medians = summary(scores)
    if options.json:
        content = {"command": command, "medians": medians, "scores": scores}
        write_result(options.json, json.dumps(content, indent=2).encode())
    if options.sheet:
        others = ("task", "name", "mask", "truth")
        shown = [*(name for name in pictures[0] if name not in others), "truth"]
        rows = [
            [show_hole(one["truth"], one["mask"]), *(one[name] for name in shown)]
            for one in pictures
        ]
        write_png(options.sheet, contact_sheet(rows, ["input", *shown], 480))
    print(command)
    print(table(medians))


if __name__ == "__main__":
    main()
