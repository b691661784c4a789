"""How well is it estimated how far a body goes beyond the photo?

    python -m benchmarks.whole_body --data DIR
    python -m benchmarks.whole_body --data DIR --fit

Photos of whole people, with label maps and joints, are cropped: below, above, at a
side, at both ends, or so that the person is still whole. What is left of the background
around the person is random, so that the photo's framing tells nothing of the body's
height. `estimate_body` sees the crop; the truth is the label map's person in the whole
photo. The error is the distance of estimated and true end (feet or head, the one that
was cut; of a whole person, the larger of the two), in percent of the body's height.

With `--fit`, nothing is measured: the constants of
`portrait_tf.inference.whole_body` are computed from the training split and printed.
`MEANS` and `SPREAD` are of joints against
label maps; `SEEN` and `GUESSED` are stage 1's errors on canvases that are wrong by up
to 10 % of the body's height, as those of the estimate's looks may be.
"""

import pathlib
from collections.abc import Iterator

import cv2
import numpy as np

from benchmarks.common import markdown, new_parser, user_errors, write_json
from portrait_tf.data.dataset import Reader
from portrait_tf.data.sample import Sample
from portrait_tf.inference.engines import Engine
from portrait_tf.inference.large_photos import Box
from portrait_tf.inference.whole_body import (
    LEVELS,
    estimate_body,
    levels_of,
    look_at,
)
from portrait_tf.labels import VOID_LABEL

BELOW = ("shins", "knees", "thighs", "hips", "waist")
ABOVE = ("forehead", "chin", "shoulders")
SIDES = ("left", "right")
KINDS = ("whole", *BELOW, *ABOVE, *SIDES, "head and knees")


def body_box(sample: Sample) -> Box | None:
    """The box about the largest person of the label map."""
    if sample.parsing is None or sample.joints is None:
        return None
    person = (sample.parsing > 0) & (sample.parsing != VOID_LABEL)
    count, _, statistics, _ = cv2.connectedComponentsWithStats(person.astype(np.uint8))
    if count < 2:
        return None
    best = 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())
    left, top, width, height = (int(one) for one in statistics[best][:4])
    box = Box(top, left, top + height, left + width)
    levels = levels_of(sample.joints)
    # A person whose head or feet are elsewhere is not whole, or badly annotated.
    gaps = (levels[0] - box.top, box.bottom - levels[-1])
    if not all(abs(gap) < 0.15 * box.height for gap in gaps):
        return None
    return box


def crop_of(kind: str, sample: Sample, body: Box, rng: np.random.Generator) -> Box:
    """The part of the photo that is left."""
    height, width = sample.photo.shape[:2]
    level = dict(zip(LEVELS, levels_of(sample.joints), strict=True))
    middle = {
        "shins": (level["Knee"] + level["Ankle"]) / 2,
        "knees": level["Knee"],
        "thighs": (level["Hip"] + level["Knee"]) / 2,
        "hips": level["Hip"],
        "waist": (level["Shoulder"] + level["Hip"]) / 2,
        "forehead": body.top + 0.04 * body.height,
        "chin": body.top + 0.12 * body.height,
        "shoulders": level["Shoulder"],
    }
    jitter = rng.uniform(-0.03, 0.03) * body.height
    below, above = rng.uniform(0.005, (0.06, 0.1)) * body.height
    beside = rng.uniform(0.02, 0.2, 2) * body.height
    off = rng.uniform(0.1, 0.35) * body.width
    top, bottom = body.top - above, body.bottom + below
    left, right = body.left - beside[0], body.right + beside[1]
    if kind in BELOW:
        bottom = middle[kind] + jitter
    elif kind in ABOVE:
        top = middle[kind] + jitter
    elif kind == "head and knees":
        top, bottom = middle["chin"] + jitter, middle["knees"] + jitter
    elif kind == "left":
        left = body.left + off
    elif kind == "right":
        right = body.right - off
    return Box(*(round(float(edge)) for edge in (top, left, bottom, right))).common(
        Box(0, 0, height, width)
    )


def crops(
    reader: Reader, kinds: list[str], count: int
) -> Iterator[tuple[str, Sample, Box, Box]]:
    """Kind, sample, the crop, and the body, in pixels of the whole photo."""
    for index in np.linspace(0, len(reader) - 1, min(count, len(reader))).astype(int):
        sample = reader[int(index)]
        body = body_box(sample)
        if body is None:
            continue
        for kind in kinds:
            rng = np.random.default_rng([0, int(index), KINDS.index(kind)])
            yield kind, sample, crop_of(kind, sample, body, rng), body


def measure(engine: Engine, reader: Reader, kinds: list[str], count: int) -> list[dict]:
    """A dict for each crop: `kind`, `missing` and `error` in percent."""
    scores = []
    for kind, sample, crop, body in crops(reader, kinds, count):
        found = estimate_body(engine, crop.of(sample.photo))
        found = Box(found.top, found.left, found.bottom, found.right)
        found = found.moved(crop.top, crop.left)
        sides = [kind] if kind in SIDES else ["top", "bottom"]
        sides = ["bottom"] if kind in BELOW else ["top"] if kind in ABOVE else sides

        def distances(box: Box, sides: list = sides, body: Box = body) -> list[float]:
            gaps = (getattr(box, side) - getattr(body, side) for side in sides)
            return [float(100 * gap / body.height) for gap in gaps]

        missing = [
            gap if side in ("top", "left") else -gap
            for side, gap in zip(sides, distances(crop), strict=True)
        ]
        error = max(map(abs, distances(found)))
        scores.append({"kind": kind, "missing": max(missing), "error": error})
    return scores


def summary(scores: list[dict]) -> list[dict]:
    """A dict for each kind, and for all below, above and of every kind."""
    groups = {kind: (kind,) for kind in dict.fromkeys(one["kind"] for one in scores)}
    groups |= {"all below": BELOW, "all above": ABOVE, "all": KINDS}
    rows = []
    for name, members in groups.items():
        chosen = [one for one in scores if one["kind"] in members]
        if not chosen:
            continue
        errors = np.array([one["error"] for one in chosen])
        rows.append(
            {
                "crop": name,
                "photos": len(chosen),
                "missing": float(np.median([one["missing"] for one in chosen])),
                "median error": float(np.median(errors)),
                "90 % below": float(np.quantile(errors, 0.9)),
                "under 10 %": float(100 * np.mean(errors < 10)),
            }
        )
    return rows


def fit(engine: Engine, reader: Reader, count: int) -> dict[str, list]:
    """The constants of `whole_body`; stage 1's from `count` photos."""
    relative = []
    for index in range(len(reader)):
        sample = reader[index]
        body = body_box(sample)
        if body is not None:
            relative.append((levels_of(sample.joints) - body.top) / body.height)
    relative = np.array(relative)
    errors: dict[bool, list[list[float]]] = {True: [[] for _ in LEVELS]}
    errors[False] = [[] for _ in LEVELS]
    kinds = [*BELOW, *ABOVE, "head and knees"]
    for kind, sample, crop, body in crops(reader, kinds, count):
        rng = np.random.default_rng([0, *sample.name.encode(), KINDS.index(kind)])
        around = (0.05 + rng.uniform(-0.1, 0.1, 2)) * body.height
        rows = [
            max(0, round(float(edge)))
            for edge in (
                crop.top - body.top + around[0],
                body.bottom - crop.bottom + around[1],
            )
        ]
        answer = look_at(engine, crop.of(sample.photo), (*rows, 0, 0))
        found = levels_of(answer.joints) + crop.top
        true = levels_of(sample.joints)
        inset = 0.02 * crop.height
        for level in range(len(LEVELS)):
            seen = crop.top + inset < found[level] < crop.bottom - inset
            errors[bool(seen)][level].append((found[level] - true[level]) / body.height)
    # The spread of the middle two thirds: some joints are on the wrong leg.
    deviations = {
        seen: [
            float(np.quantile(np.abs(values), 0.683)) if len(values) > 4 else None
            for values in errors[seen]
        ]
        for seen in errors
    }
    return {
        "photos": [len(relative)],
        "MEANS": np.round(np.median(relative, axis=0), 3).tolist(),
        "SPREAD": np.round(np.cov(relative.T) * 1e4, 2).tolist(),
        "SEEN": deviations[True],
        "GUESSED": deviations[False],
        "counts": [[len(values) for values in errors[seen]] for seen in (True, False)],
        "bias": [
            [float(np.median(values)) if values else None for values in errors[seen]]
            for seen in (True, False)
        ],
    }


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--data", required=True, help="with label maps and joints")
    parser.add_argument("--fit", action="store_true", help="print the constants")
    parser.add_argument("--count", type=int, default=1000, help="photos, spread evenly")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--run", help="a run, in place of the bundled weights")
    parser.add_argument("--json", type=pathlib.Path, help="write all errors")
    options = parser.parse_args()

    from portrait_tf.data.open import open_dataset
    from portrait_tf.inference.engines import PipelineEngine
    from portrait_tf.inference.pipeline import Pipeline

    reader = open_dataset(options.data, "train" if options.fit else "val")
    pipeline = Pipeline.from_run(options.run) if options.run else Pipeline.bundled()
    engine = PipelineEngine(pipeline)
    if options.fit:
        constants = fit(engine, reader, options.count)
        print(*(f"{name} = {values}" for name, values in constants.items()), sep="\n")
        return
    scores = measure(engine, reader, options.kinds, options.count)
    rows = summary(scores)
    write_json(options.json, {"summary": rows, "scores": scores})
    cells = [
        [f"{one:.1f}" if isinstance(one, float) else one for one in row.values()]
        for row in rows
    ]
    print(markdown(list(rows[0]), cells))


if __name__ == "__main__":
    with user_errors():
        main()
