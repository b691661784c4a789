"""What the face network changes: holes at the face, before it and after.

    python -m benchmarks.face_refinement --run RUN --data DIR --vgg-weights FILE

Each validation photo with a face gets a square hole over it (`portrait-tf`'s task
`face`, of seed 0), and is completed at the run's size. Inside the hole, in the box
around the true face: PSNR, and a perceptual distance, which is that of
`portrait_tf.losses.perceptual` on the crop of that box; medians over photos. Photos in
which stage 1 finds no face in the hole count too: nothing changes there.
"""

import argparse
import json
import pathlib
import shlex
import sys

import numpy as np

from portrait_tf.data.dataset import Reader
from portrait_tf.errors import PortraitError
from portrait_tf.files import write_result

SCORES = ("psnr", "perceptual")
_SHEET_SIDE = 128


def measure(
    pipeline: object,
    reader: Reader,
    distance: object,
    count: int | None = None,
    seed: int = 0,
) -> tuple[list[dict], list[list[np.ndarray]]]:
    """Scores every photo that shows a face.

    Args:
        pipeline: A `Pipeline` with a face network.
        reader: Photos with label maps; those without a face are passed over.
        distance: A `PerceptualLoss`, or any function of two `[1, h, w, 3]`.
        count: The first so many with a face.
        seed: Of the holes; with that a photo's hole depends on its place alone.

    Returns:
        For each photo a dict of `name`, `found` (whether stage 1 saw a face in the
        hole) and `before` and `after`, dicts of `psnr` in dB and `perceptual`; and a
        row of pictures: input, stage 2, with face, truth.
    """
    import tensorflow as tf

    from portrait_tf.data.augment import prepare
    from portrait_tf.data.masks import FACE_TASK, evaluation_mask, face_extent
    from portrait_tf.labels import NUM_LABELS
    from portrait_tf.layers import box_window, crop_and_resize
    from portrait_tf.metrics import hole_psnr
    from portrait_tf.models.face import find_faces
    from portrait_tf.photos.drawing import show_hole

    run = tf.function(
        pipeline.networks,
        input_signature=[
            tf.TensorSpec([None, *pipeline.size, 3]),
            tf.TensorSpec([None, *pipeline.size, 1]),
        ],
    )
    network = pipeline.face_network
    scores, rows = [], []
    for index in range(len(reader)):
        if len(scores) == count:
            break
        sample = reader[index]
        prepared = prepare(sample, pipeline.size)
        photo, labels = prepared["image"], prepared["parsing"]
        if face_extent(labels) is None:
            continue
        hole = evaluation_mask(FACE_TASK, [seed, index], pipeline.size, None, labels)
        truth = tf.constant(photo[None] / 127.5 - 1.0, tf.float32)
        mask = tf.constant(hole[None, ..., None] > 0, tf.float32)
        result = run(truth, mask)
        # The true face's box: the same for every network that is measured.
        boxes, _ = find_faces(network, tf.one_hot(labels[None], NUM_LABELS), mask)
        region = mask * box_window(boxes, pipeline.size, feather=0.0)
        crop = crop_and_resize(truth, boxes, network.size)
        score = {"name": sample.name, "found": bool(result["face_found"][0])}
        for key, name in (("before", "unrefined"), ("after", "completed")):
            completed = result[name]
            score[key] = {
                "psnr": float(hole_psnr(truth, completed, region)[0]),
                "perceptual": float(
                    distance(crop, crop_and_resize(completed, boxes, network.size))
                ),
            }
        scores.append(score)
        shown = [show_hole(photo, hole)[None] / 127.5 - 1.0, result["unrefined"],
                 result["completed"], truth]  # fmt: skip
        rows.append([_draw(tf.cast(one, tf.float32), boxes) for one in shown])
    return scores, rows


def _draw(image: object, boxes: object) -> np.ndarray:
    from portrait_tf.layers import crop_and_resize

    crop = crop_and_resize(image, boxes, (_SHEET_SIDE, _SHEET_SIDE))
    return np.clip(np.rint((np.asarray(crop)[0] + 1) * 127.5), 0, 255).astype(np.uint8)


def summary(scores: list[dict]) -> dict:
    """Medians before and after, and in how many photos the face network helped."""
    medians = {
        key: {
            name: float(np.median([one[key][name] for one in scores]))
            for name in SCORES
        }
        for key in ("before", "after")
    }
    better = {
        "psnr": sum(one["after"]["psnr"] > one["before"]["psnr"] for one in scores),
        "perceptual": sum(
            one["after"]["perceptual"] < one["before"]["perceptual"] for one in scores
        ),
    }
    found = sum(one["found"] for one in scores)
    return {"photos": len(scores), "found": found, "better": better, **medians}


def table(result: dict) -> str:
    """`summary` for people."""
    lines = [
        f"{result['photos']} photos with a hole at the face; stage 1 finds a face in "
        f"{result['found']} of the holes",
        f"{'median':<12} {'stage 2':>9} {'with face':>10} {'better in':>10}",
    ]
    for name in SCORES:
        lines.append(
            f"{name:<12} {result['before'][name]:>9.4f} {result['after'][name]:>10.4f} "
            f"{result['better'][name]:>10}"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True, help="a run with a face network")
    parser.add_argument("--data", required=True, help="a data set")
    parser.add_argument("--split", default="val", choices=("train", "val"))
    parser.add_argument("--count", type=int, default=100, help="photos with a face")
    parser.add_argument("--seed", type=int, default=0, help="of the holes")
    parser.add_argument("--vgg", default="vgg16", choices=("vgg16", "vgg19"))
    parser.add_argument(
        "--vgg-weights", required=True, help="a file, `imagenet` or `random`"
    )
    parser.add_argument(
        "--layers",
        nargs="+",
        default=["block1_conv2", "block2_conv2", "block3_conv1"],
        help="of the VGG, by Keras' names; alike in weight",
    )
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("face"))
    parser.add_argument("--rows", type=int, default=12, help="of the sheet")
    options = parser.parse_args(arguments)

    from portrait_tf.data.open import open_dataset
    from portrait_tf.inference.pipeline import Pipeline
    from portrait_tf.losses import PerceptualLoss
    from portrait_tf.photos import write_png
    from portrait_tf.photos.drawing import contact_sheet

    try:
        reader = open_dataset(options.data, options.split)
        pipeline = Pipeline.from_run(options.run, face=True)
        distance = PerceptualLoss(
            options.vgg, options.vgg_weights, dict.fromkeys(options.layers, 1.0)
        )
        scores, rows = measure(pipeline, reader, distance, options.count, options.seed)
        if not scores:
            raise PortraitError(
                f"{options.data}: no photo of its label maps has a face"
            )
    except PortraitError as error:
        raise SystemExit(str(error)) from None
    result = summary(scores)
    given = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["python", "-m", "benchmarks.face_refinement", *given])
    content = json.dumps({"command": command, **result, "scores": scores}, indent=2)
    write_result(options.out / "scores.json", content.encode())
    titles = ["input", "stage 2", "with face", "truth"]
    sheet = contact_sheet(rows[: options.rows], titles, _SHEET_SIDE)
    write_png(options.out / "sheet.png", sheet)
    print(command)
    print(table(result))


if __name__ == "__main__":
    main()
