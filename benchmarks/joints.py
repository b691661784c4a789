"""Does the painted body have its joints where they are said to be?

    python -m benchmarks.joints DATA --count 40 --pictures pictures

On validation photos with the holes of `evaluate`, lower third and square. Printed are:

* IoU of the six label groups in the hole, without joints and with the true ones given;
* with the true joints given, but limbs swung sideways in the hole, ankles and wrists by
  10 % of the body's height, knees and elbows by half of that: how far ankles and wrists
  of the painted picture are from the moved places, as a part of that height, and how
  far from the true ones.

The painted picture's joints are what stage 1 itself finds in it, without a hole: a
judge from within. `--pictures` writes what another judge needs: `truth`, `masks`, and
a folder for each way of completing, `moved/joints.json` with the moved places.
"""

import json
import pathlib

import numpy as np

from benchmarks.common import markdown, new_parser, user_errors
from portrait_tf.data.dataset import usable_reader
from portrait_tf.data.open import open_dataset
from portrait_tf.errors import PortraitError
from portrait_tf.evaluation.confusion import Confusion, GroupScores
from portrait_tf.evaluation.holes import Hole, HoleSet
from portrait_tf.files import write_result
from portrait_tf.geometry import inside
from portrait_tf.inference.engines import PipelineEngine, open_engine
from portrait_tf.labels import JOINTS, LABEL_GROUPS, NUM_LABELS
from portrait_tf.photos import write_png

TASKS = ("lower_third", "square")
WAYS = ("without", "true", "moved")
MOVES = {"Ankle": 0.1, "Wrist": 0.1, "Knee": 0.05, "Elbow": 0.05}
"""Parts of the body's height."""
ENDS = np.array([name.endswith(("Ankle", "Wrist")) for name in JOINTS])


def body_height(hole: Hole) -> float:
    """Rows from the person's first pixel to the last, in the true label map."""
    rows = np.flatnonzero(((hole.truth > 0) & (hole.truth < NUM_LABELS)).any(1))
    return float(rows[-1] - rows[0] + 1) if len(rows) else 0.0


def in_hole(hole: Hole, joints: np.ndarray) -> np.ndarray:
    """Which joints are given and lie in the hole: `bool` `[16]`."""
    there = (joints[:, 2] > 0) & inside(joints[:, :2], hole.mask.shape)
    columns, rows = np.rint(np.where(there, joints[:, :2].T, 0)).astype(int)
    return there & (hole.mask[rows, columns] != 0)


def moved_joints(hole: Hole) -> tuple[np.ndarray, np.ndarray]:
    """The joints with limbs swung in the hole, and which ends of limbs have moved.

    All of a photo's go to one side, left and right in turn; joints that would leave the
    hole or the frame stay where they are.
    """
    parts = np.array([MOVES.get(name.split("_")[-1], 0) for name in JOINTS])
    moved = hole.joints.copy()
    moved[:, 0] += parts * body_height(hole) * (-1) ** hole.index
    chosen = in_hole(hole, hole.joints) & in_hole(hole, moved)
    return np.where(chosen[:, None], moved, hole.joints), chosen & ENDS


def write_pictures(
    folder: pathlib.Path, hole: Hole, pictures: dict[str, np.ndarray]
) -> dict[str, dict]:
    """Writes `FOLDER/WAY/NAME_TASK.png`; gives the moved joints by that name."""
    name = f"{pathlib.Path(hole.name).stem}_{hole.task.replace('_', '')}.png"
    for way, picture in {**pictures, "truth": hole.photo, "masks": hole.mask}.items():
        write_png(folder / way / name, picture)
    moved, chosen = moved_joints(hole)
    told = {"joints": moved.tolist(), "moved": chosen.tolist()}
    return {name: told | {"height": body_height(hole)}}


def distances(
    engine: PipelineEngine, hole: Hole, painted: np.ndarray
) -> list[list[float]]:
    """How far the moved joints are, in the picture, from their moved and true places.

    As parts of the body's height.
    """
    moved, chosen = moved_joints(hole)
    seen = engine.parse(painted)[1][chosen, :2]
    return [
        (np.linalg.norm(seen - one[chosen, :2], axis=1) / body_height(hole)).tolist()
        for one in (moved, hole.joints)
    ]


def main(arguments: list[str] | None = None) -> None:
    parser = new_parser(__doc__)
    parser.add_argument("data", help="a data set with label maps and joints")
    parser.add_argument("--count", type=int, help="the first photos only")
    parser.add_argument("--pictures", type=pathlib.Path, help="a folder")
    options = parser.parse_args(arguments)
    engine = open_engine(None, None)
    reader = usable_reader(open_dataset(options.data, "val"))
    holes = HoleSet(reader, engine.working_size, count=options.count, tasks=TASKS)
    scores = {way: GroupScores() for way in WAYS[:2]}
    away, written = {task: ([], []) for task in TASKS}, {}
    for hole in (hole for some in holes for hole in some):
        if not body_height(hole) or not hole.joints.any():
            continue
        moved, _ = moved_joints(hole)
        given = zip(WAYS, (None, hole.joints, moved), strict=True)
        found = {
            way: engine.complete(hole.photo, hole.mask, joints=joints)
            for way, joints in given
        }
        for way, groups in scores.items():
            counted = Confusion()
            counted.add(hole.truth, found[way][1], hole.mask)
            groups.add(hole.task, counted)
        several = distances(engine, hole, found["moved"][0])
        for to, one in zip(away[hole.task], several, strict=True):
            to += one
        if options.pictures:
            painted = {way: picture for way, (picture, _) in found.items()}
            written |= write_pictures(options.pictures, hole, painted)
    if not all(moved for moved, _ in away.values()):
        raise PortraitError(
            "expected photos with label maps and joints in both holes, found none "
            f"among {len(holes)}"
        )
    if options.pictures:
        write_result(options.pictures / "moved" / "joints.json", json.dumps(written))
    lines = []
    for task in TASKS:
        for way, groups in scores.items():
            one = groups.result()[task]
            values = [*one["groups"].values(), one["mean"], one["silhouette"]]
            shown = ["-" if value is None else f"{value:.3f}" for value in values]
            lines.append([task, way, *shown])
    print(markdown(["task", "joints", *LABEL_GROUPS, "mean", "silhouette"], lines))
    lines = [
        [task, len(moved), f"{np.median(moved):.1%}", f"{np.quantile(moved, 0.9):.1%}"]
        + [f"{np.median(true):.1%}"]
        for task, (moved, true) in away.items()
    ]
    columns = ["task", "joints", "from the moved place", "90 % below"]
    print(markdown([*columns, "from the true place"], lines))


if __name__ == "__main__":
    with user_errors():
        main()
