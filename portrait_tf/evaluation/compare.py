"""Several ways to complete, with one budget, one set of holes and one set of scores.

```
OUT/setup.json                  what all methods share; another setup is refused
OUT/stage_1/                    a run: the network that predicts every method's map
OUT/methods/NAME/seed_0/        a run: stage 2 of this method, resumed after a kill
OUT/methods/NAME/scores.json    the method as it was trained, and its finished scores
OUT/report.json, photos.csv, report.html
```
"""

import gc
import json
import logging
import pathlib
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from portrait_tf.config import Config, with_changes
from portrait_tf.data.dataset import Reader
from portrait_tf.errors import PortraitError
from portrait_tf.evaluation.classical import CLASSICAL, available
from portrait_tf.evaluation.compare_cases import (
    Case,
    Complete,
    cases,
    check_cases,
    open_pictures,
    paste,
    photo_count,
)
from portrait_tf.evaluation.compare_config import Plan
from portrait_tf.evaluation.page import example_places
from portrait_tf.files import write_result

logger = logging.getLogger(__name__)

ONCE = "once"
"""In place of a seed: the one run of what is not trained."""

MISSING = {"fsr": "needs opencv-contrib-python-headless, which is not installed"}


def check_networks(plan: Plan) -> None:
    """Builds every network once, and reads every file of VGG weights.

    Settles, too, which map each network is given.

    Raises:
        PortraitError: A network cannot be built, is to be given a map that it does
            not take, or not the one that it needs; VGG weights that cannot be had.
    """
    from portrait_tf.losses.perceptual import build_vgg
    from portrait_tf.runs.folder import build_network

    seen = set()
    for name, config in plan.networks.items():
        perceptual, loss = config.completion.perceptual, config.completion.loss
        vgg = (perceptual.network, perceptual.weights, tuple(perceptual.layers))
        if (loss.perceptual or loss.style) and vgg not in seen:
            seen.add(vgg)
            try:
                build_vgg(vgg[0], vgg[1], list(vgg[2]))
            except PortraitError as error:
                raise PortraitError(f"methods.{name}: {error}") from None
        try:
            network = build_network("completion", config)
        except ValueError as error:
            raise PortraitError(f"methods.{name}: {error}") from None
        method = plan.methods[name]
        takes = network.takes_parsing
        if method.parsing is None:
            method.parsing = "predicted" if takes else "none"
        elif takes != (method.parsing != "none"):
            expected = "predicted or truth" if takes else "none"
            raise PortraitError(
                f"methods.{name}.parsing: expected {expected}, for its network "
                f"{'takes a map' if takes else 'takes no map'}; received "
                f"{method.parsing}"
            )


def open_folder(plan: Plan, inputs: dict, out: pathlib.Path) -> None:
    """Makes the folder, or checks that it holds the same comparison.

    A method may be added to a folder, or left out; what methods share, and a method
    that is there already, may not change.

    Raises:
        PortraitError: It holds another one.
    """
    compare = plan.compare
    setup = {
        "base": plan.base.model_dump(mode="json", exclude={"completion", "name"}),
        "steps": compare.steps,
        "split": compare.split,
        "tasks": list(compare.tasks),
        "mask_seed": compare.mask_seed,
        "stage_1": compare.stage_1.model_dump(),
        "features": compare.features.model_dump(mode="json"),
        "inputs": inputs,
    }
    # The seed is that of the first training; more of them may be added.
    setup["base"].pop("seed")
    if not out.is_dir() and out.exists():
        raise PortraitError(f"{out} is a file; a folder is expected")
    path = out / "setup.json"
    if path.is_file() and (problem := _difference(_read_json(path), setup)):
        raise PortraitError(
            f"{out} holds a comparison with another {problem}; give another --out"
        )
    definitions = {
        name: {
            "completion": config.completion.model_dump(mode="json"),
            "parsing": plan.methods[name].parsing,
        }
        for name, config in plan.networks.items()
    }
    for name, definition in definitions.items():
        kept = read_scores(scores_path(out, name))
        if kept and (problem := _difference(kept["definition"], definition)):
            raise PortraitError(
                f"{out} holds a method {name!r} with another {problem}; give it "
                "another name, or another --out"
            )
    # All of it fits: only now is anything written.
    write_json(path, setup)
    for name, definition in definitions.items():
        if not read_scores(scores_path(out, name)):
            write_json(scores_path(out, name), {"definition": definition, "runs": {}})


def _difference(old: object, new: object, key: str = "") -> str | None:
    """The first key that differs, with both values, in words."""
    # As JSON has it: a tuple is a list there.
    old, new = (json.loads(json.dumps(one)) for one in (old, new))
    if old == new:
        return None
    if isinstance(old, dict) and isinstance(new, dict):
        for name in {**old, **new}:
            before, now = (one.get(name) for one in (old, new))
            if before != now:
                return _difference(before, now, f"{key}.{name}" if key else name)
    if key == "inputs.sha256":
        return "data set (photos, label maps or holes differ)"
    return f"'{key}' ({old} there, {new} now)"


def _read_json(path: pathlib.Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise PortraitError(f"{path}: expected a JSON file of portrait-tf") from None


def write_json(path: pathlib.Path, value: object) -> None:
    """Writes JSON, whole or not at all.

    Raises:
        PortraitError: The folder cannot be written to.
    """
    write_result(path, json.dumps(value, indent=1, allow_nan=False))


def scores_path(out: pathlib.Path, name: str) -> pathlib.Path:
    return out / "methods" / name / "scores.json"


def read_scores(path: pathlib.Path) -> dict | None:
    """What is kept of a method; None before it has begun."""
    return _read_json(path) if path.is_file() else None


def make_stage_1(
    plan: Plan, training: Reader, out: pathlib.Path, verbose: int | str = 0
) -> pathlib.Path:
    """The run with the network that predicts the maps; trained or copied if it is new.

    Returns:
        Its folder.

    Raises:
        PortraitError: There is none where the plan says; it is of another size.
    """
    from portrait_tf.runs.folder import GIVEN_NAME, load_run_network
    from portrait_tf.runs.weights import at_size, load_bundled, save_weights
    from portrait_tf.training.commands import train_stage

    run, chosen = out / "stage_1", plan.compare.stage_1
    if chosen.source == "train":
        config = plan.base
        if chosen.steps:
            config = with_changes(config, [f"parsing.training.steps={chosen.steps}"])
        if not _is_trained(run, "parsing", config):
            logger.info("training stage 1, %d steps", config.parsing.training.steps)
            train_stage("parsing", config, training, run, verbose=verbose)
        return run
    path = run / "parsing" / GIVEN_NAME
    if path.is_file():
        return run
    if chosen.source == "bundled":
        network = load_bundled("parsing")
        if tuple(network.size) != plan.base.size:
            logger.info(
                "stage 1: the bundled network, trained at %dx%d, built for %dx%d",
                *network.size,
                *plan.base.size,
            )
        network = at_size(network, plan.base.size)
    else:
        network = load_run_network(chosen.source, "parsing")
        if tuple(network.size) != plan.base.size:
            raise PortraitError(
                f"{chosen.source}: stage 1 works at {tuple(network.size)}, the "
                f"comparison at {plan.base.size}: expected one size"
            )
    save_weights(network, path, {"source": chosen.source}, dtype=None)
    return run


def check_stage_1(plan: Plan) -> None:
    """Raises PortraitError: the run that stage 1 is taken from has none."""
    from portrait_tf.runs.folder import trained_stages

    source = plan.compare.stage_1.source
    if source not in ("bundled", "train") and "parsing" not in trained_stages(source):
        raise PortraitError(
            f"{source}: expected a run with a trained stage 1 ('stage_1.source')"
        )


def _is_trained(run: pathlib.Path, stage: str, config: Config) -> bool:
    from portrait_tf.runs.checkpoint import CHECKPOINT_NAME
    from portrait_tf.runs.storage import read_meta

    checkpoint = run / stage / CHECKPOINT_NAME
    steps = getattr(config, stage).training.steps
    return checkpoint.is_file() and read_meta(checkpoint)["step"] >= steps


def run_folder(out: pathlib.Path, name: str, seed: int) -> pathlib.Path:
    return out / "methods" / name / f"seed_{seed}"


def train_method(
    plan: Plan,
    name: str,
    seed: int,
    training: Reader,
    out: pathlib.Path,
    verbose: int | str = 0,
) -> None:
    """Trains stage 2 of a method, or goes on with it, or leaves it as it is.

    Photos that are scored are not shown to it, not even to choose a checkpoint.
    """
    from portrait_tf.training.commands import train_stage

    config = with_changes(plan.networks[name], [f"seed={seed}"])
    run = run_folder(out, name, seed)
    if _is_trained(run, "completion", config):
        return
    logger.info("training %s, seed %d, %d steps", name, seed, plan.compare.steps)
    earlier = {"parsing": out / "stage_1"}
    train_stage("completion", config, training, run, earlier=earlier, verbose=verbose)
    # Graphs of a trainer hold each other; several would fill the memory.
    gc.collect()


def open_network(plan: Plan, name: str, seed: int, out: pathlib.Path) -> Complete:
    """A trained method, given the map that the plan says."""
    import tensorflow as tf

    from portrait_tf.inference.pipeline import Pipeline
    from portrait_tf.models.parsing import true_parsing
    from portrait_tf.runs.folder import load_run_network

    averaging, size = plan.base.pipeline, plan.base.size
    pipeline = Pipeline(
        load_run_network(out / "stage_1", "parsing"),
        load_run_network(run_folder(out, name, seed), "completion"),
        flip=averaging.flip,
        scales=averaging.scales,
    )
    true_map = plan.methods[name].parsing == "truth"

    @tf.function(
        input_signature=[
            tf.TensorSpec([*size, 3], tf.uint8),
            tf.TensorSpec(size, tf.uint8),
            tf.TensorSpec(size, tf.uint8),
        ]
    )
    def call(photo: tf.Tensor, mask: tf.Tensor, truth: tf.Tensor) -> tf.Tensor:
        image = tf.cast(photo, tf.float32)[None] / 127.5 - 1.0
        hole = tf.cast(mask != 0, tf.float32)[None, ..., None]
        parsing = None
        if true_map:
            predicted = pipeline.structure(image * (1.0 - hole), hole)["parsing"]
            parsing = true_parsing(tf.cast(truth, tf.int32)[None], predicted)
        completed = pipeline.networks(image, hole, parsing)["completed"][0]
        grey = tf.clip_by_value(tf.round((completed + 1.0) * 127.5), 0.0, 255.0)
        return tf.cast(grey, tf.uint8)

    return lambda case: call(case.photo, case.mask, case.truth).numpy()


def score_method(
    plan: Plan,
    reader: Reader,
    complete: Complete,
    features: object | None,
    progress: Callable[[int, int], None] | None = None,
) -> dict:
    """Scores of a method.

    Args:
        plan: What is compared.
        reader: The split that is scored.
        complete: The method.
        features: A `FeatureDistance`, or None.
        progress: Called with cases done and cases in all.

    Returns:
        `rows`: of each case `task`, `photo`, and `score_photo` and `perceptual`;
        `frechet`: of each task, and of `all`.
    """
    from portrait_tf.evaluation.evaluate import score_photo
    from portrait_tf.evaluation.features import frechet_distance

    total = photo_count(plan, reader) * len(plan.compare.tasks)
    rows, true_pooled, last = [], [], None
    pooled = {task: [] for task in plan.compare.tasks}
    for done, case in enumerate(cases(plan, reader), 1):
        completed = paste(complete, case)
        row = {"task": case.task, "photo": case.name}
        row |= score_photo(case.photo, completed, case.mask)
        if features:
            if case.index != last:
                last, truth = case.index, features.features(case.photo)
                true_pooled.append(features.pool(truth))
            found = features.features(completed)
            row["perceptual"] = features.distance(truth, found)
            pooled[case.task].append(features.pool(found))
        rows.append(row)
        if progress:
            progress(done, total)
    frechet = {}
    if features:
        frechet = {t: frechet_distance(true_pooled, one) for t, one in pooled.items()}
        together = [one for task in pooled.values() for one in task]
        frechet["all"] = frechet_distance(true_pooled, together)
    return {"rows": rows, "frechet": frechet}


def time_methods(
    plan: Plan, reader: Reader, methods: dict[str, Complete]
) -> dict[str, float]:
    """Median seconds a photo of each method, which take turns.

    The first photo is not counted: networks are traced there.
    """
    count = min(plan.compare.timed_photos, photo_count(plan, reader))
    seconds = {name: [] for name in methods}
    for place, case in enumerate(cases(plan, reader, range(count))):
        for name, complete in methods.items():
            if place == 0:
                complete(case)
            start = time.perf_counter()
            complete(case)
            seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(all_)) for name, all_ in seconds.items() if all_}


def open_classical(name: str) -> Complete:
    method = CLASSICAL[name]
    return lambda case: method(case.photo, case.mask)


def run_compare(
    plan: Plan,
    training: Reader,
    reader: Reader,
    out: pathlib.Path,
    verbose: int | str = 0,
    progress: Callable[[str], object] | None = None,
) -> dict:
    """Trains, scores and reports; goes on where it was stopped.

    Args:
        plan: Of `load_plan`.
        training: Training samples.
        reader: Photos that are scored.
        out: The folder of it all.
        verbose: Of training, as `model.fit` has it.
        progress: A context manager of a label, that gives a function of done and
            total.

    Returns:
        The report, as `report.json` has it.

    Raises:
        PortraitError: Something is missing or does not fit, before anything is
            trained; the folder holds another comparison.
    """
    from portrait_tf.evaluation.compare_page import render_csv, render_page
    from portrait_tf.evaluation.compare_summary import summarise
    from portrait_tf.evaluation.features import FeatureDistance

    check_stage_1(plan)
    check_networks(plan)
    inputs = check_cases(plan, reader)
    features = None
    chosen = plan.compare.features
    if chosen.weights:
        try:
            features = FeatureDistance(
                chosen.network, chosen.weights, chosen.layers, chosen.frechet_layer
            )
        except PortraitError as error:
            raise PortraitError(f"'features' of the comparison: {error}") from None
    open_folder(plan, inputs, out)
    make_stage_1(plan, training, out, verbose)

    results: dict[str, dict] = {}

    def scored(name: str, run: str, complete: Callable[[], Complete]) -> None:
        path = scores_path(out, name)
        kept = read_scores(path) or {"definition": {}, "runs": {}}
        if run not in kept["runs"] or name in plan.pictures:
            label = f"scoring {name}" + (f", seed {run}" if run != ONCE else "")
            if progress:
                with progress(label) as advance:
                    found = score_method(plan, reader, complete(), features, advance)
            else:
                found = score_method(plan, reader, complete(), features)
            kept["runs"][run] = found
            write_json(path, kept)
        results.setdefault(name, {})[run] = kept["runs"][run]

    kept_open = {}

    def opened(name: str, seed: int) -> Complete:
        """Of the first seed kept, to be timed and drawn, too."""
        if name in kept_open and seed == plan.compare.seeds[0]:
            return kept_open[name]
        complete = open_network(plan, name, seed, out)
        if seed == plan.compare.seeds[0]:
            kept_open[name] = complete
        return complete

    # Seeds first: a stop after some hours leaves every method with as many.
    for seed in plan.compare.seeds:
        for name in plan.networks:
            train_method(plan, name, seed, training, out, verbose)
            scored(name, str(seed), lambda n=name, s=seed: opened(n, s))
    for name, folder in plan.pictures.items():
        scored(name, ONCE, lambda f=folder: open_pictures(f))
    left_out = {}
    for name in plan.compare.classical:
        if available(name):
            scored(name, ONCE, lambda n=name: open_classical(n))
        else:
            left_out[name] = MISSING[name]
            logger.warning("%s is left out: it %s", name, MISSING[name])
    if features is None:
        left_out["perceptual and Fréchet distance"] = (
            "need VGG weights ('features.weights')"
        )

    # In the config's order.
    results = {
        name: results[name]
        for name in (*plan.methods, *plan.compare.classical)
        if name in results
    }
    methods = {name: opened(name, plan.compare.seeds[0]) for name in plan.networks}
    methods |= {name: open_classical(name) for name in results if name in CLASSICAL}
    # Of a method that is given the truth, no user can have the speed.
    timed = {
        name: complete
        for name, complete in methods.items()
        if name not in plan.methods or plan.methods[name].parsing != "truth"
    }
    seconds = time_methods(plan, reader, timed)
    methods |= {name: open_pictures(folder) for name, folder in plan.pictures.items()}
    report = summarise(plan, results, seconds, left_out)
    examples = draw_examples(
        plan, reader, {name: methods[name] for name in results}, report
    )
    write_json(out / "report.json", report)
    for name, text in (
        ("photos.csv", render_csv(results)),
        ("report.html", render_page(report, examples)),
    ):
        write_result(out / name, text)
    return report


class ComparedExample(NamedTuple):
    """A photo to look at, and what every method makes of it, RGB `uint8`."""

    case: Case
    place: str
    completed: dict[str, np.ndarray]


def draw_examples(
    plan: Plan, reader: Reader, methods: dict[str, Complete], report: dict
) -> list[ComparedExample]:
    """The best, the median and the worst photo of the reference method, of each task.

    Args:
        plan: What is compared.
        reader: The split that is scored.
        methods: In the order of the page.
        report: Of `summarise`; its `ranked` has photos by task, best first.
    """
    examples = []
    for task in plan.compare.tasks:
        ranked = report["ranked"][task]
        for rank, place in example_places(len(ranked)).items():
            for case in cases(plan, reader, [ranked[rank]["index"]]):
                if case.task == task:
                    completed = {n: paste(one, case) for n, one in methods.items()}
                    examples.append(ComparedExample(case, place, completed))
    return examples
