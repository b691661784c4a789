"""Which design of a stage learns most in a given time: quality per second of training.

    python -m benchmarks.design_search --config configs/design_search.yaml \\
        --stage completion --data DIR --minutes 3 --out designs

Every design gets the same wall time and the learning rate's whole schedule within it:
its steps are counted out from its own speed, which is measured first. Designs then take
turns of a few seconds each, so that whatever else the machine does meets all of them.
Each is scored on the validation photos with the holes of all evaluation tasks, at the
networks' size. `--out/scores.json` keeps what is finished (a killed search goes on with
the design that was cut off), `--out/table.md` is the table.

Designs are changes of one base config: see `configs/design_search.yaml`.
"""

import argparse
import gc
import json
import pathlib
import time
from collections.abc import Callable

import numpy as np

from portrait_tf.config import Config, load_config, parse_yaml, with_changes
from portrait_tf.errors import PortraitError
from portrait_tf.files import write_result

CONFIG = pathlib.Path(__file__).parent.parent / "configs" / "design_search.yaml"

_TIMED_STEPS = 8
_TURN_SECONDS = 15.0
_BATCH = 16


class Candidate:
    """One design in training.

    Args:
        stage: `parsing` or `completion`.
        config: Of the design.
        reader: Training samples.
        parsing_network: Stage 1, for `completion`.
    """

    def __init__(
        self, stage: str, config: Config, reader: object, parsing_network: object
    ) -> None:
        self.stage, self.config, self.reader = stage, config, reader
        self.parsing_network = parsing_network
        self.seconds, self.steps = 0.0, 0

    def start(self, steps: int) -> None:
        """Begins anew, with schedules for so many steps."""
        import keras

        from portrait_tf.data.dataset import training_dataset
        from portrait_tf.runs.backbone_weights import load_backbone_weights
        from portrait_tf.runs.folder import build_network
        from portrait_tf.training.build import build_trainer

        warmup = min(50, steps // 10)
        self.config = with_changes(
            self.config,
            [
                f"{self.stage}.training.steps={steps}",
                f"{self.stage}.training.optimizer.warmup_steps={warmup}",
            ],
        )
        keras.utils.set_random_seed(self.config.seed)
        network = build_network(self.stage, self.config, training=True)
        if self.stage == "parsing":
            weights = self.config.parsing.backbone_weights
            if weights != "none":
                load_backbone_weights(network, weights)
        self.trainer = build_trainer(
            self.stage, network, [self.parsing_network], self.config
        )
        training = getattr(self.config, self.stage).training
        self.trainer.make_train_function()
        data = training_dataset(self.reader, self.config, training.batch_size, seed=0)
        self.batches = iter(data)
        self.total = steps
        self.seconds, self.steps = 0.0, 0

    def step(self) -> None:
        """One step; returns when it is done."""
        begin = time.perf_counter()
        logs = self.trainer.train_function(self.batches)
        float(logs["loss"])
        self.seconds += time.perf_counter() - begin
        self.steps += 1

    def measure(self) -> float:
        """Seconds a step, without those of the first, in which it is traced."""
        self.start(1000)
        times = []
        for _ in range(_TIMED_STEPS):
            before = self.seconds
            self.step()
            times.append(self.seconds - before)
        return float(np.median(times[2:]))

    def turn(self) -> bool:
        """Trains for some seconds; whether there is more to do."""
        until = self.seconds + _TURN_SECONDS
        while self.steps < self.total and self.seconds < until:
            self.step()
        return self.steps < self.total


def validation_batches(reader: object, config: Config, seed: int = 0) -> list[dict]:
    """Every photo with every task's hole, in batches of arrays for the networks."""
    from portrait_tf.data.augment import prepare
    from portrait_tf.data.masks import EVALUATION_TASKS, evaluation_mask

    cases = []
    for index in range(len(reader)):
        one = prepare(reader[index], config.size)
        for task in EVALUATION_TASKS:
            mask = evaluation_mask(
                task, [seed, index], config.size, one["joints"], one["parsing"]
            )
            cases.append((one["image"], one["parsing"], mask, task))
    batches = []
    for first in range(0, len(cases), _BATCH):
        images, labels, masks, tasks = zip(*cases[first : first + _BATCH], strict=True)
        batches.append(
            {
                "image": np.stack(images).astype(np.float32) / 127.5 - 1.0,
                "parsing": np.stack(labels),
                "mask": (np.stack(masks) > 0).astype(np.float32)[..., None],
                "task": tasks,
            }
        )
    return batches


Complete = Callable[[int], np.ndarray]
"""Gives a batch's completed photos `[B, H, W, 3]` in [-1, 1], by the batch's number."""

Measure = Callable[[dict, np.ndarray], list[float]]
"""Perceptual distances of a batch and its completed photos."""


def telea(batches: list[dict]) -> Complete:
    """OpenCV's Telea."""
    from portrait_tf.evaluation.classical import CLASSICAL

    def complete(number: int) -> np.ndarray:
        photos = _grey_levels(batches[number]["image"])
        holes = np.uint8(255) * (batches[number]["mask"][..., 0] > 0)
        filled = map(CLASSICAL["telea"], photos, holes)
        return np.stack(list(filled)) / 127.5 - 1

    return complete


def stage_2(network: object, batches: list[dict], maps: list[np.ndarray]) -> Complete:
    """A network of stage 2, given what stage 1 predicts: `[B, H, W, 20]` a batch."""
    from portrait_tf.models.completion import completion_inputs

    def complete(number: int) -> np.ndarray:
        image, mask = batches[number]["image"], batches[number]["mask"]
        inputs = completion_inputs(network, image * (1 - mask), maps[number], mask)
        painted = np.asarray(network(inputs, training=False)["painted"])
        return image * (1 - mask) + painted * mask

    return complete


def score_completion(
    complete: Complete, batches: list[dict], measure: Measure
) -> dict[str, float]:
    """Hole PSNR, a mean over photos, by task; and `distance`.

    Args:
        complete: What is scored.
        batches: Of `validation_batches`.
        measure: Of `perceptual_distances`.
    """
    from portrait_tf.evaluation.evaluate import hole_psnr

    scores, distances = {}, []
    for number, batch in enumerate(batches):
        completed = complete(number)
        distances += measure(batch, completed)
        photos, completed = map(_grey_levels, (batch["image"], completed))
        for photo, filled, mask, task in zip(
            photos, completed, batch["mask"][..., 0], batch["task"], strict=True
        ):
            scores.setdefault(task, []).append(hole_psnr(photo, filled, mask))
    return {
        **{task: float(np.mean(values)) for task, values in scores.items()},
        "distance": float(np.mean(distances)),
    }


def perceptual_distances(config: Config) -> Measure:
    """Perceptual distances of some of a batch, in the features that the loss has, too.

    Args:
        config: Names the VGG network and its weights.

    Returns:
        Called with a batch and completed photos `[B, H, W, 3]` in [-1, 1]; every photo
        is looked at once, with the tasks in turn.
    """
    from portrait_tf.evaluation.compare_config import FeaturesConfig
    from portrait_tf.evaluation.features import FeatureDistance

    given, layers = config.completion.perceptual, FeaturesConfig().layers
    features = FeatureDistance(given.network, given.weights, layers, layers[0])

    def measure(batch: dict, completed: np.ndarray) -> list[float]:
        values = []
        for image, filled in zip(batch["image"][::5], completed[::5], strict=True):
            pair = [features.features(_grey_levels(photo)) for photo in (image, filled)]
            values.append(features.distance(*pair))
        return values

    return measure


def _grey_levels(image: np.ndarray) -> np.ndarray:
    return np.round((np.clip(image, -1, 1) + 1) * 127.5).astype(np.uint8)


def predict_maps(network: object, batches: list[dict]) -> list[np.ndarray]:
    """Probabilities `[B, H, W, 20]` of stage 1 for every batch."""
    from portrait_tf.models.parsing import parsing_probabilities

    return [
        np.asarray(
            parsing_probabilities(
                network(
                    {
                        "image": batch["image"] * (1 - batch["mask"]),
                        "mask": batch["mask"],
                    },
                    training=False,
                ),
                network.size,
            )
        )
        for batch in batches
    ]


def score_parsing(network: object, batches: list[dict]) -> dict[str, float]:
    """Mean IoU of the whole map and in the hole, as `portrait-tf evaluate` has them."""
    from portrait_tf.evaluation.evaluate import ParsingScores

    scores = ParsingScores()
    for batch, maps in zip(batches, predict_maps(network, batches), strict=True):
        for truth, found, mask in zip(
            batch["parsing"], maps.argmax(-1), batch["mask"][..., 0], strict=True
        ):
            scores.add(truth, found.astype(np.uint8), np.uint8(255) * (mask > 0))
    return scores.result()


def search(
    stage: str,
    designs: dict[str, Config],
    reader: object,
    validation_reader: object,
    seconds: float,
    parsing_network: object,
    done: dict[str, dict],
    save: Callable[[], None],
) -> None:
    """Trains all designs that are not in `done` in turns, and scores them into it.

    Args:
        stage: `parsing` or `completion`.
        designs: Configs, by name.
        reader: Training samples.
        validation_reader: What is scored.
        seconds: Of training, for each.
        parsing_network: Stage 1, for `completion`.
        done: Scores by name.
        save: Called after each score.
    """
    from portrait_tf.runs.folder import build_network

    first = next(iter(designs.values()))
    batches = validation_batches(validation_reader, first)
    if stage == "parsing":

        def score(network: object) -> dict[str, float]:
            return score_parsing(network, batches)

    else:
        measure = perceptual_distances(first)
        maps = predict_maps(parsing_network, batches)

        def score(network: object) -> dict[str, float]:
            return score_completion(stage_2(network, batches, maps), batches, measure)

        if "telea" not in done:
            scores = score_completion(telea(batches), batches, measure)
            # What the first design answers before it has learned anything: its
            # pre-fill.
            untrained = score(build_network("completion", first))
            done |= {"telea": {"scores": scores}, "untrained": {"scores": untrained}}
            save()
    waiting = {}
    for name, config in designs.items():
        if name in done:
            continue
        candidate = Candidate(stage, config, reader, parsing_network)
        step = candidate.measure()
        steps = max(2, round(seconds / step))
        candidate.start(steps)
        candidate.step()
        # Tracing is not training.
        candidate.seconds = 0.0
        waiting[name] = candidate
        print(f"{name}: {step:.3f} s a step, {steps} steps", flush=True)
        gc.collect()
    for name in list(waiting):
        print(f"{name}: {waiting[name].total} steps", flush=True)
    while waiting:
        for name, candidate in list(waiting.items()):
            if candidate.turn():
                continue
            network = candidate.trainer.answering_network
            batch = getattr(candidate.config, stage).training.batch_size
            done[name] = {
                "seconds": candidate.seconds,
                "steps": candidate.steps,
                "photos": candidate.steps * batch,
                "parameters": network.count_params(),
                "scores": score(network),
            }
            save()
            print(f"{name}: {json.dumps(done[name])}", flush=True)
            del waiting[name]


def table(done: dict[str, dict]) -> str:
    """Markdown: a row a design, best mean first."""
    columns = list(next(iter(done.values()))["scores"])
    tasks = [column for column in columns if column != "distance"]
    telea = done.get("telea", {}).get("scores")

    def mean(row: dict) -> float:
        values = [row["scores"][task] for task in tasks]
        return float(np.mean(values)) if telea else row["scores"]["miou_hole"]

    head = ["design", "parameters", "photos seen", "photos/s", *columns]
    head += ["mean over Telea"] if telea else []
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head)]
    lines[1] += " |"
    for name, row in sorted(done.items(), key=lambda one: -mean(one[1])):
        cells = [name]
        if "photos" in row:
            cells += [f"{row['parameters'] / 1e6:.2f} M", f"{row['photos']:,}"]
            cells += [f"{row['photos'] / row['seconds']:.1f}"]
        else:
            cells += ["-", "-", "-"]
        cells += [
            f"{row['scores'][column]:.{2 if telea and column in tasks else 3}f}"
            for column in columns
        ]
        if telea:
            cells += [f"{mean(row) - mean(done['telea']):+.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def load_designs(path: pathlib.Path, stage: str, changes: list[str]) -> dict:
    """The configs of a stage's designs, by name."""
    found = parse_yaml(path.read_text(), str(path))
    base = load_config(path.parent / found["base"])
    shared = [*found.get("set", []), *changes]
    return {
        name: with_changes(base, [*shared, *own]) for name, own in found[stage].items()
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=pathlib.Path, default=CONFIG)
    parser.add_argument("--stage", choices=("parsing", "completion"), required=True)
    parser.add_argument("--data", required=True, help="a data set with both splits")
    parser.add_argument("--parsing", default="bundled", help="a run with stage 1")
    parser.add_argument("--minutes", type=float, default=3, help="a design")
    parser.add_argument("--set", action="append", default=[], dest="changes")
    parser.add_argument("--only", nargs="*", help="names of designs")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("designs"))
    options = parser.parse_args(arguments)

    from portrait_tf.data.open import open_dataset
    from portrait_tf.startup import load_tensorflow

    load_tensorflow()
    from portrait_tf.runs.folder import load_run_network
    from portrait_tf.runs.weights import load_bundled

    try:
        designs = load_designs(options.config, options.stage, options.changes)
        if options.only:
            designs = {name: designs[name] for name in options.only}
        parsing_network = None
        if options.stage == "completion":
            parsing_network = (
                load_bundled("parsing")
                if options.parsing == "bundled"
                else load_run_network(options.parsing, "parsing")
            )
        path = options.out / f"{options.stage}.json"
        done = json.loads(path.read_text()) if path.is_file() else {}

        def save() -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_result(path, json.dumps(done, indent=2).encode())

        search(
            options.stage,
            designs,
            open_dataset(options.data, "train"),
            open_dataset(options.data, "val"),
            60 * options.minutes,
            parsing_network,
            done,
            save,
        )
    except PortraitError as error:
        raise SystemExit(str(error)) from None
    text = table(done)
    write_result(options.out / f"{options.stage}.md", text.encode())
    print(text)


if __name__ == "__main__":
    main()
