"""Several ways to complete, with one budget, one set of holes and one set of scores.

```
OUT/stage_1/                    a run: the network that predicts every method's map
OUT/methods/NAME/seed_0/        a run: stage 2 of this method, resumed after a stop
OUT/setup.json                  what the runs were trained with; another is refused
OUT/report.json, photos.csv, report.html
```
"""

import contextlib
import gc
import itertools
import json
import logging
import pathlib
import time
from collections.abc import Callable, Iterator

import numpy as np

from portrait_tf.config import Config, with_changes
from portrait_tf.data.dataset import Reader
from portrait_tf.errors import PortraitError
from portrait_tf.evaluation.classical import CLASSICAL, MISSING, available
from portrait_tf.evaluation.compare_cases import cases, check_cases, read_pictures
from portrait_tf.evaluation.compare_config import Plan
from portrait_tf.evaluation.compare_report import render_page, summarize
from portrait_tf.evaluation.evaluate import score_photo
from portrait_tf.evaluation.features import FeatureDistance, frechet_distance
from portrait_tf.evaluation.holes import (
    Example,
    Hole,
    Method,
    by_engine,
    classical,
    draw_examples,
    pick_examples,
)
from portrait_tf.evaluation.summary import ALL_TASKS
from portrait_tf.evaluation.tables import render_csv
from portrait_tf.files import write_result
from portrait_tf.photos.drawing import show_hole

logger = logging.getLogger(__name__)

ONCE = "once"
"""In place of a seed: the one run of a method that is not trained."""


class Comparison:
    """Trains, scores and reports; resumes training where it was stopped.

    Args:
        plan: The result of `load_plan`.
        training: Training samples.
        reader: The photos that are scored.
        out: The folder for everything.
        verbose: Passed to `model.fit`.
        progress: Returns a context manager for a label; the context manager gives a
            function of the numbers done and total.
    """

    def __init__(
        self,
        plan: Plan,
        training: Reader,
        reader: Reader,
        out: pathlib.Path,
        verbose: int | str = 0,
        progress: Callable[[str], object] | None = None,
    ) -> None:
        self.plan, self.training, self.reader = plan, training, reader
        self.holes = cases(plan, reader)
        self.out, self.verbose = out, verbose
        self.progress = progress or (lambda _: contextlib.nullcontext())
        self.left_out: dict[str, str] = {}

    def run(self) -> dict:
        """Runs everything.

        Returns:
            The report, as `report.json` has it.

        Raises:
            PortraitError: Something is missing or does not fit, before anything is
                trained; the folder holds other runs.
        """
        plan = self.plan
        check_networks(plan)
        data = check_cases(plan, self.reader)
        features = self._open_features()
        self._open_folder(data)
        self._train()
        rows: list[dict] = []
        frechet: dict[str, list] = {}
        methods: dict[str, Method] = {}
        for name, seed, method in self._methods():
            methods.setdefault(name, method)
            label = f"scoring {name}" + (f", seed {seed}" if seed != ONCE else "")
            with self.progress(label) as advance:
                scored, distances = self._score(method, features, advance)
            rows += [{"method": name, "seed": seed, **row} for row in scored]
            if features:
                frechet.setdefault(name, []).append(distances)
        report = summarize(plan, rows, frechet, self._seconds(methods), self.left_out)
        page = render_page(report, self._draw(report, methods))
        files = {
            "report.json": json.dumps(report, indent=1, allow_nan=False),
            "photos.csv": render_csv(rows, ("method", "seed", "task", "photo")),
            "report.html": page,
        }
        for name, text in files.items():
            write_result(self.out / name, text)
        return report

    # === Training ===
    def _open_folder(self, data: str) -> None:
        """Creates the folder, or checks that its runs are of the same comparison.

        Methods and seeds may be added or left out.

        Args:
            data: The result of `check_cases`.
        """
        if self.out.exists() and not self.out.is_dir():
            raise PortraitError(f"{self.out} is a file; a folder is expected")
        plan, path = self.plan, self.out / "setup.json"
        setup = {
            "steps": plan.compare.steps,
            "base": plan.base.model_dump(
                mode="json", exclude={"completion", "name", "seed"}
            ),
            "stage_1": plan.compare.stage_1.model_dump(),
            "data": data,
        }
        methods = {
            name: config.completion.model_dump(mode="json")
            for name, config in plan.networks.items()
        }
        old = _read_json(path) if path.is_file() else {}
        known = old.get("methods", {})
        before = {key: old.get(key, value) for key, value in setup.items()}
        before["methods"] = methods | known
        setup["methods"] = known | methods
        if problem := _difference(before, setup):
            raise PortraitError(
                f"{self.out} holds a comparison with another {problem}; give another "
                "--out"
            )
        write_result(path, json.dumps(setup, indent=1))

    def _run(self, name: str, seed: int) -> pathlib.Path:
        return self.out / "methods" / name / f"seed_{seed}"

    def _train(self) -> None:
        """Trains what is not trained yet.

        Photos that are scored are not used, not even to choose a checkpoint.
        """
        from portrait_tf.training.commands import train_stage

        make_stage_1(self.plan, self.training, self.out / "stage_1", self.verbose)
        # Seeds first: a stop after some hours leaves every method with as many.
        for seed in self.plan.compare.seeds:
            for name, config in self.plan.networks.items():
                config = with_changes(config, [f"seed={seed}"])
                if _is_trained(self._run(name, seed), "completion", config):
                    continue
                logger.info("training %s, seed %d", name, seed)
                train_stage(
                    "completion",
                    config,
                    self.training,
                    self._run(name, seed),
                    earlier={"parsing": self.out / "stage_1"},
                    verbose=self.verbose,
                )
                # A trainer's graphs refer to each other; several would fill the memory.
                gc.collect()

    # === Scores ===
    def _open_features(self) -> FeatureDistance | None:
        chosen = self.plan.compare.features
        if not chosen.weights:
            self.left_out["perceptual and Fréchet distance"] = (
                "need VGG weights ('features.weights')"
            )
            return None
        try:
            return FeatureDistance.from_config(chosen)
        except PortraitError as error:
            raise PortraitError(f"'features' of the comparison: {error}") from None

    def _methods(self) -> Iterator[tuple[str, int | str, Method]]:
        """Name, seed and method, in the config's order."""
        for name in self.plan.methods:
            if name in self.plan.pictures:
                yield name, ONCE, read_pictures(self.plan.pictures[name])
                continue
            for seed in self.plan.compare.seeds:
                yield name, seed, self._open_network(name, seed)
        for name in self.plan.compare.classical:
            if available(name):
                yield name, ONCE, classical(name)
            else:
                self.left_out[name] = MISSING
                logger.warning("%s is left out: it %s", name, MISSING)

    def _open_network(self, name: str, seed: int) -> Method:
        """A trained method, given the map that the plan names."""
        from portrait_tf.inference.engines import PipelineEngine
        from portrait_tf.inference.pipeline import Pipeline
        from portrait_tf.runs.folder import load_run_network

        pipeline = Pipeline(
            load_run_network(self.out / "stage_1", "parsing"),
            load_run_network(self._run(name, seed), "completion"),
            flip=self.plan.base.pipeline.flip,
            scales=self.plan.base.pipeline.scales,
        )
        true_map = self.plan.methods[name].parsing == "truth"
        return by_engine(PipelineEngine(pipeline), true_map)

    def _score(
        self,
        method: Method,
        features: FeatureDistance | None,
        advance: Callable[[int, int], None] | None,
    ) -> tuple[list[dict], dict[str, float]]:
        """Rows of one method by photo and task, and Fréchet distances by task."""
        tasks = self.plan.compare.tasks
        total = len(self.holes) * len(tasks)
        rows, true_pooled = [], []
        pooled: dict[str, list] = {task: [] for task in tasks}
        for holes in self.holes:
            if features:
                truth = features.features(holes[0].photo)
                true_pooled.append(features.pool(truth))
            for hole, picture in zip(holes, method(holes), strict=True):
                completed = hole.over(picture)
                row = {"index": hole.index, "task": hole.task, "photo": hole.name}
                row |= score_photo(hole.photo, completed, hole.mask)
                if features:
                    found = features.features(completed)
                    row["perceptual"] = features.distance(truth, found)
                    pooled[hole.task].append(features.pool(found))
                rows.append(row)
            if advance:
                advance(len(rows), total)
        if not features:
            return rows, {}
        pooled[ALL_TASKS] = [one for some in pooled.values() for one in some]
        return rows, {
            task: frechet_distance(true_pooled, one) for task, one in pooled.items()
        }

    def _seconds(self, methods: dict[str, Method]) -> dict[str, float]:
        """Median seconds per photo of each method; methods take turns."""
        # Pictures have no time, and no user has the true map.
        maps = {name: one.parsing for name, one in self.plan.methods.items()}
        timed = [n for n in methods if n in CLASSICAL or maps[n] not in ("truth", None)]
        seconds: dict[str, list[float]] = {name: [] for name in timed}
        for holes in itertools.islice(self.holes, self.plan.compare.timed_photos):
            for name in timed:
                if holes[0].index == 0:
                    # Networks are traced here.
                    methods[name](holes[:1])
                for hole in holes:
                    start = time.perf_counter()
                    methods[name]([hole])
                    seconds[name].append(time.perf_counter() - start)
        return {name: float(np.median(all_)) for name, all_ in seconds.items() if all_}

    def _draw(
        self, report: dict, methods: dict[str, Method]
    ) -> dict[str, list[Example]]:
        """The best, the median and the worst photo of the reference, of each task."""
        key = "psnr_hole"
        chosen = {t: pick_examples(one, key) for t, one in report["ranked"].items()}

        def draw(hole: Hole) -> dict[str, np.ndarray]:
            pictures = {"input": show_hole(hole.photo, hole.mask)}
            for name, method in methods.items():
                pictures[name] = hole.over(method([hole])[0])
            return {**pictures, "truth": hole.photo}

        return draw_examples(self.holes, chosen, key, draw)


def check_networks(plan: Plan) -> None:
    """Builds every network once, and reads every file of VGG weights.

    Sets `parsing` of the methods that do not say which map they are given.

    Raises:
        PortraitError: A network cannot be built, or is given a map that does not fit;
            VGG weights are missing; the run of stage 1 is not trained.
    """
    from portrait_tf.losses.perceptual import build_vgg
    from portrait_tf.runs.folder import build_network, trained_stages

    source = plan.compare.stage_1.source
    if source not in ("bundled", "train") and "parsing" not in trained_stages(source):
        raise PortraitError(
            f"{source}: expected a run with a trained stage 1 ('stage_1.source')"
        )
    seen = set()
    for name, config in plan.networks.items():
        perceptual, loss = config.completion.perceptual, config.completion.loss
        vgg = (perceptual.network, perceptual.weights, tuple(perceptual.layers))
        try:
            if (loss.perceptual or loss.style) and vgg not in seen:
                build_vgg(vgg[0], vgg[1], list(vgg[2]))
                seen.add(vgg)
            takes = build_network("completion", config).takes_parsing
        except (PortraitError, ValueError) as error:
            raise PortraitError(f"methods.{name}: {error}") from None
        method = plan.methods[name]
        if method.parsing is None:
            method.parsing = "predicted" if takes else "none"
        elif takes != (method.parsing != "none"):
            expected = "predicted or truth" if takes else "none"
            raise PortraitError(
                f"methods.{name}.parsing: expected {expected}, for its network "
                f"{'takes a map' if takes else 'takes no map'}; received "
                f"{method.parsing}"
            )


def make_stage_1(
    plan: Plan, training: Reader, run: pathlib.Path, verbose: int | str = 0
) -> None:
    """Trains or copies the network that predicts the maps, unless it is there.

    Args:
        plan: The comparison.
        training: Training samples.
        run: The folder of the run.
        verbose: Passed to `model.fit`.

    Raises:
        PortraitError: The run that the plan names is of another size.
    """
    from portrait_tf.runs.folder import GIVEN_NAME, load_run_network
    from portrait_tf.runs.weights import at_size, load_bundled, save_weights
    from portrait_tf.training.commands import train_stage

    chosen, size = plan.compare.stage_1, plan.base.size
    if chosen.source == "train":
        config = plan.base
        if chosen.steps:
            config = with_changes(config, [f"parsing.training.steps={chosen.steps}"])
        if not _is_trained(run, "parsing", config):
            logger.info("training stage 1, %d steps", config.parsing.training.steps)
            train_stage("parsing", config, training, run, verbose=verbose)
        return
    path = run / "parsing" / GIVEN_NAME
    if path.is_file():
        return
    if chosen.source == "bundled":
        network = at_size(load_bundled("parsing"), size)
    else:
        network = load_run_network(chosen.source, "parsing")
        if tuple(network.size) != size:
            raise PortraitError(
                f"{chosen.source}: stage 1 works at {tuple(network.size)}, the "
                f"comparison at {size}: expected one size"
            )
    save_weights(network, path, {"source": chosen.source}, dtype=None)


def _is_trained(run: pathlib.Path, stage: str, config: Config) -> bool:
    from portrait_tf.runs.checkpoint import CHECKPOINT_NAME
    from portrait_tf.runs.storage import read_meta

    checkpoint = run / stage / CHECKPOINT_NAME
    steps = getattr(config, stage).training.steps
    return checkpoint.is_file() and read_meta(checkpoint)["step"] >= steps


def _difference(old: object, new: object, key: str = "") -> str | None:
    """The first key that differs, with both values, in words."""
    # JSON has no tuples.
    old, new = (json.loads(json.dumps(one)) for one in (old, new))
    if old == new:
        return None
    if isinstance(old, dict) and isinstance(new, dict):
        for name in {**old, **new}:
            before, now = (one.get(name) for one in (old, new))
            if before != now:
                return _difference(before, now, f"{key}.{name}" if key else name)
    return "data set" if key == "data" else f"'{key}' ({old} there, {new} now)"


def _read_json(path: pathlib.Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise PortraitError(f"{path}: expected a JSON file of portrait-tf") from None
