"""Does stage 1's map follow a joint that it is told of?

    python -m benchmarks.joint_hints --data DIR --parsing RUN --out hints.png

On validation photos whose lower third is hidden, stage 1 is asked three times: without
hints, with the true joints, and with knee and ankle of both legs moved sideways by a
part of the height. Printed are, of the legs and shoes in the hole: IoU with the true
map, without hints and with the true joints; and how far the map's centre moved, as a
part of how far the joints were moved: 1 follows wholly, 0 not at all.
"""

import pathlib

import cv2
import keras
import numpy as np

from benchmarks.common import new_parser, user_errors
from portrait_tf.config import Config
from portrait_tf.data.dataset import Reader, usable_reader, validation_sample
from portrait_tf.errors import PortraitError
from portrait_tf.geometry import joint_parts
from portrait_tf.labels import GROUP_OF_LABEL, JOINTS, LABEL_GROUPS, color_parsing
from portrait_tf.models.parsing import find_structure, full_size_logits
from portrait_tf.photos import write_png
from portrait_tf.photos.drawing import contact_sheet, draw_joints, show_hole

MOVED = [
    JOINTS.index(f"{side}_{joint}") for side in "RL" for joint in ("Knee", "Ankle")
]
LOWER_BODY = [list(LABEL_GROUPS).index(group) for group in ("legs", "shoes")]
TITLES = ("photo", "no hints", "true joints", "moved left", "moved right", "truth")


def lower_body(labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Where legs and shoes are in the hole: `bool` `[H, W]`."""
    groups = GROUP_OF_LABEL[np.minimum(labels, len(GROUP_OF_LABEL) - 1)]
    return np.isin(groups, LOWER_BODY) & (mask > 0) & (labels < len(GROUP_OF_LABEL))


def hinted_maps(
    network: keras.Model, sample: dict[str, np.ndarray], shift: float
) -> list[np.ndarray]:
    """Label maps `[H, W]`: no hints, true joints, moved left, moved right.

    Joints are moved by `shift`, a part of the height.
    """
    height, width = network.size
    image = sample["image"][None] / np.float32(127.5) - 1
    mask = (sample["mask"][None, ..., None] > 0).astype(np.float32)
    true = np.array(joint_parts(sample["joints"][None], network.size))
    maps = []
    for joints in (None, true, -shift, shift):
        if isinstance(joints, float):
            offset, joints = joints * height / width, true.copy()
            joints[:, MOVED, 0] += offset
        outputs = find_structure(network, image * (1 - mask), mask, joints)
        logits = np.array(full_size_logits(outputs, network.size))[0]
        maps.append(logits.argmax(-1).astype(np.uint8))
    return maps


def score(
    network: keras.Model, reader: Reader, count: int, shift: float, seed: int = 0
) -> tuple[dict[str, float], list[list[np.ndarray]]]:
    """Scores over the first photos with both ankles in the hole, and their pictures.

    Raises:
        PortraitError: The network takes no hints; no photo is left.
    """
    if not getattr(network, "hints", False):
        raise PortraitError("expected a stage 1 with hints, received one without")
    config = Config(size=tuple(network.size))
    overlaps, unions = np.zeros(2), np.zeros(2)
    followed, rows = [], []
    for index in range(min(count, len(reader))):
        sample = validation_sample(reader, config, index, seed, ("lower_third",))
        joints, mask = sample["joints"], sample["mask"]
        there = joints[MOVED, 2] > 0
        if not there.all() or not mask[joints[MOVED[1], 1].astype(int)].any():
            continue
        maps = hinted_maps(network, sample, shift)
        bodies = [lower_body(one, mask) for one in maps]
        truth = lower_body(sample["parsing"], mask)
        for which in range(2):
            overlaps[which] += (bodies[which] & truth).sum()
            unions[which] += (bodies[which] | truth).sum()
        centres = [np.nonzero(body)[1].mean() for body in bodies[2:] if body.any()]
        if len(centres) == 2:
            followed.append((centres[1] - centres[0]) / (2 * shift * network.size[0]))
        photo = show_hole(sample["image"], mask / 255)
        drawn = draw_joints(photo, joints)
        rows.append([drawn, *map(color_parsing, [*maps, sample["parsing"]])])
    if not followed:
        raise PortraitError("no photo has both knees and ankles below the cut")
    without, with_true = overlaps / np.maximum(unions, 1)
    scores = {
        "photos": len(rows),
        "IoU without hints": float(without),
        "IoU with the true joints": float(with_true),
        "followed, median": float(np.median(followed)),
        "followed, lowest tenth below": float(np.quantile(followed, 0.1)),
    }
    return scores, rows


def open_stage_1(path: str) -> keras.Model:
    """Stage 1 of a run's folder, a file of weights, or `bundled`."""
    from portrait_tf.runs.folder import load_run_network
    from portrait_tf.runs.weights import load_bundled, load_weights

    if path == "bundled":
        return load_bundled("parsing")
    if pathlib.Path(path).is_dir():
        return load_run_network(path, "parsing")
    return load_weights(path)


def main(arguments: list[str] | None = None) -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--data", required=True, help="a data set")
    parser.add_argument("--parsing", default="bundled", help="a run, a file, bundled")
    parser.add_argument("--count", type=int, default=104, help="of the first photos")
    parser.add_argument("--shift", type=float, default=0.06, help="of the height")
    parser.add_argument("--rows", type=int, default=8, help="of the sheet")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("hints.png"))
    options = parser.parse_args(arguments)

    from portrait_tf.data.open import open_dataset

    with user_errors():
        scores, rows = score(
            open_stage_1(options.parsing),
            usable_reader(open_dataset(options.data, "val")),
            options.count,
            options.shift,
        )
        sheet = contact_sheet(rows[: options.rows], TITLES)
        write_png(options.out, cv2.resize(sheet, None, fx=2, fy=2))
    for name, value in scores.items():
        print(f"{name:30s} {value:.3f}")


if __name__ == "__main__":
    main()
