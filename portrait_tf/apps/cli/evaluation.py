"""Scores what was trained."""

import contextlib
import dataclasses
import functools
import json
import pathlib
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperCommand

from portrait_tf.apps.cli.shared import (
    Checkpoint,
    Data,
    JsonOut,
    Model,
    Seed,
    Server,
    SkipBroken,
    Split,
    Stage1Choice,
    Which,
    check_checkpoint,
    evaluate_app,
    grouped,
    open_console,
    progress,
    start_tensorflow,
)
from portrait_tf.errors import PortraitError
from portrait_tf.files import check_target, write_result

if TYPE_CHECKING:
    from portrait_tf.data.reader import DatasetReader
    from portrait_tf.evaluation.completion_sheets import ContactSheets
    from portrait_tf.evaluation.evaluate import Evaluation, PhotoScores
    from portrait_tf.evaluation.features import FeatureDistance
    from portrait_tf.evaluation.holes import Hole, HoleSet, Method
    from portrait_tf.inference.averaging import AveragedParsing
    from portrait_tf.inference.engines import Engine

Side = Annotated[
    int | None,
    typer.Option(min=16, help="Photos are brought to it; else the networks' own."),
]


@dataclasses.dataclass(frozen=True)
class Scored:
    """The photos that are scored, and their holes."""

    split: Annotated[Split, typer.Option(help="Which photos.")] = "val"
    count: Annotated[int | None, typer.Option(min=1, help="The first photos only.")] = (
        None
    )
    seed: Seed = 0
    skip_broken: SkipBroken = False

    def open(self, data: pathlib.Path) -> "DatasetReader":
        """The photos of a data set."""
        from portrait_tf.data.open import open_dataset

        return open_dataset(data, self.split, skip_broken=self.skip_broken)

    def setup(
        self,
        data: pathlib.Path,
        holes: "HoleSet",
        network: object,
        checkpoint: Checkpoint,
        size: tuple[int, int],
    ) -> dict:
        """What a report says of how the scores came about."""
        return {
            "data": str(data),
            "split": self.split,
            "photos": len(holes),
            "network": str(network),
            "checkpoint": checkpoint,
            "size": list(size),
            "seed": self.seed,
        }


@dataclasses.dataclass(frozen=True)
class Chain:
    """The networks that are scored."""

    model: Model = None
    server: Server = None
    run: Annotated[
        pathlib.Path | None,
        typer.Option(help="A trained run, in place of the bundled weights."),
    ] = None
    checkpoint: Which = "last"

    def check(self) -> None:
        """Raises PortraitError: several are named, or the checkpoint of none."""
        if sum(map(bool, (self.run, self.model, self.server))) > 1:
            raise PortraitError("expected one of --run, --model and --server")
        check_checkpoint(self.checkpoint, self.run)

    def open(self) -> "Engine":
        from portrait_tf.inference import engines

        if not self.run:
            return engines.open_engine(self.server, self.model)
        from portrait_tf.inference.pipeline import Pipeline

        return engines.PipelineEngine(Pipeline.from_run(self.run, self.checkpoint))


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What an evaluation writes."""

    json_out: JsonOut = None
    report: Annotated[
        pathlib.Path | None,
        typer.Option(help="Write a folder: a page, pictures, a row a photo as CSV."),
    ] = None
    pictures: Annotated[
        pathlib.Path | None,
        typer.Option(
            metavar="DIR",
            help="Write truths, holes and every method's pictures into a new folder.",
        ),
    ] = None

    def check(self) -> None:
        """Raises PortraitError: one of them cannot be written there."""
        from portrait_tf.evaluation.report_folder import check_folder

        if self.json_out:
            check_target(self.json_out)
        if self.report:
            check_folder(self.report)
        if self.pictures:
            check_folder(self.pictures, report=False)
            report = self.report and self.report.absolute()
            if report and self.pictures.absolute().is_relative_to(report):
                raise PortraitError(
                    f"--pictures: expected a folder outside {self.report}, which "
                    f"--report replaces; received {self.pictures}"
                )

    def observers(self, sheets: "ContactSheets") -> list:
        """What takes the pictures of every hole while they are scored."""
        from portrait_tf.evaluation.report_folder import write_pictures

        observers = [sheets.observe] if self.report else []
        if self.pictures:
            write = functools.partial(write_pictures, self.pictures)
            observers.append(lambda hole, parsing, done, row: write(hole, done))
        return observers

    def write(
        self,
        evaluation: "Evaluation",
        found: "PhotoScores",
        sheets: "ContactSheets",
        summary: dict,
        features_name: str | None,
    ) -> None:
        """Writes the numbers and the report."""
        from portrait_tf.evaluation import completion_report
        from portrait_tf.evaluation.evaluate import mean_scores

        if self.json_out:
            scores = {"size": evaluation.holes.size, **mean_scores(found)}
            if one := evaluation.features:
                kinds = {"distance": one.layers, "kernel_distances": one.patches}
                scores["features"] = {"name": features_name, **kinds}
            write_result(self.json_out, json.dumps(scores, indent=2))
        if self.report:
            completion_report.write_report(
                self.report, evaluation, found, sheets, summary
            )
            open_console().print(f"{self.report}/index.html", soft_wrap=True)


@dataclasses.dataclass(frozen=True)
class Beside:
    """What the networks are compared with, and by which distances."""

    method: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Classical methods beside ours: telea, navier_stokes, patchmatch, fsr."
            " A report always has telea.",
        ),
    ] = None
    true_map: Annotated[
        bool | None,
        typer.Option(
            "--true-map/--no-true-map",
            help="Ours, given the true label map, as a row; in a report by default.",
        ),
    ] = None
    without_parsing: Annotated[
        pathlib.Path | None,
        typer.Option(
            metavar="RUN", help="A run whose network takes no label map, as a row."
        ),
    ] = None
    features: Annotated[
        str | None,
        typer.Option(
            metavar="FILE:NAME",
            help="VGG-16 weights for perceptual and kernel distances, and their name.",
        ),
    ] = None

    def classical_names(self, report: bool) -> list[str]:
        """The classical methods to score."""
        from portrait_tf.evaluation.classical import CLASSICAL, MISSING, available

        if not self.method:
            return ["telea", "navier_stokes", *(["patchmatch"] if report else [])]
        for name in self.method:
            if name not in CLASSICAL:
                raise PortraitError(
                    f"--method: expected one of {', '.join(CLASSICAL)}, received "
                    f"'{name}'"
                )
            if not available(name):
                raise PortraitError(f"--method {name} {MISSING}")
        return list(dict.fromkeys([*(["telea"] if report else []), *self.method]))

    def feature_weights(self) -> tuple[str, str] | None:
        """File (or `imagenet`, `random`) and name of `--features`."""
        text = self.features
        if text is None:
            return None
        path, colon, name = text.rpartition(":")
        if not colon or pathlib.Path(text).is_file():
            path, name = text, ""
        if path not in ("imagenet", "random") and not pathlib.Path(path).is_file():
            raise PortraitError(
                f"--features: expected a file of VGG-16 weights and a name, FILE:NAME; "
                f"no such file: {path}"
            )
        return path, name or pathlib.Path(path).name.split(".")[0]

    def methods(
        self, engine: "Engine", names: list[str], true_map: bool
    ) -> tuple[dict[str, "Method"], dict[str, str]]:
        """The methods beside an engine, and the reasons why others are left out."""
        from portrait_tf.evaluation.holes import by_engine, classical

        methods, left_out = {}, {}
        if not true_map:
            left_out["true map"] = "by --no-true-map"
        elif getattr(engine, "takes_parsing", True):
            methods["true_map"] = by_engine(engine, true_map=True)
        else:
            left_out["true map"] = "the network takes no label map"
        if self.without_parsing:
            other = _open_without_parsing(self.without_parsing)
            methods["without_parsing"] = by_engine(other)
        else:
            left_out["ours without parsing"] = "no --without-parsing RUN was given"
        return methods | {name: classical(name) for name in names}, left_out


@evaluate_app.callback(invoke_without_command=True)
@grouped
def evaluate(
    context: typer.Context,
    data: Annotated[
        pathlib.Path | None,
        typer.Option("--data", help="A data set; docs/data.md says which."),
    ] = None,
    scored: Scored = Scored(),
    chain: Chain = Chain(),
    outputs: Outputs = Outputs(),
    beside: Beside = Beside(),
    height: Side = None,
    width: Side = None,
) -> None:
    """Score a chain on fixed holes, beside classical methods; or stage 1 alone."""
    if context.invoked_subcommand:
        _refuse_given(context)
        return
    if data is None:
        raise PortraitError("expected --data, the folder of a data set, received none")
    outputs.check()
    chain.check()
    report = outputs.report
    names = beside.classical_names(report is not None)
    weights = beside.feature_weights()
    reader = scored.open(data)
    start_tensorflow()
    from portrait_tf.data.dataset import usable_reader
    from portrait_tf.evaluation import completion_report
    from portrait_tf.evaluation.completion_sheets import ContactSheets
    from portrait_tf.evaluation.evaluate import Evaluation
    from portrait_tf.evaluation.holes import HoleSet
    from portrait_tf.evaluation.tables import print_tables

    engine = chain.open()
    own = engine.working_size or (192, 128)
    size = (height or own[0], width or own[1])
    wants_map = report is not None if beside.true_map is None else beside.true_map
    methods, left_out = beside.methods(engine, names, wants_map)
    distance = features_name = None
    if weights:
        distance, features_name = _open_features(*weights)
    else:
        left_out["perceptual and kernel distance"] = "no --features FILE:NAME was given"
    holes = HoleSet(usable_reader(reader), size, scored.seed, scored.count)
    evaluation = Evaluation(engine, holes, methods, distance)
    sheets = ContactSheets(len(holes))
    with progress("evaluating") as advance:
        found = evaluation.score(advance, outputs.observers(sheets))
    if wants_map and all(row["method"] != "true_map" for row in found.rows):
        evaluation.methods.pop("true_map", None)
        left_out.setdefault("true map", "no photo has a label map")
    network = chain.run or chain.model or chain.server or "bundled"
    setup = scored.setup(data, holes, network, chain.checkpoint, size)
    setup["contact_sheet_photos"] = len(sheets.indices)
    if beside.without_parsing:
        setup["without_parsing"] = str(beside.without_parsing)
    summary = completion_report.summarize_photos(found, setup, features_name, left_out)
    console = open_console()
    console.print(f"photos at {size[0]}x{size[1]}: {len(holes)}")
    print_tables(completion_report.report_tables(summary), console)
    outputs.write(evaluation, found, sheets, summary, features_name)


def _open_features(path: str, name: str) -> "tuple[FeatureDistance, str]":
    """The distance as `portrait-tf compare` takes it, and what it is called."""
    from portrait_tf.evaluation.compare_config import FeaturesConfig
    from portrait_tf.evaluation.features import FeatureDistance
    from portrait_tf.evaluation.kernel_distance import PATCH_LAYERS

    try:
        distance = FeatureDistance.from_config(
            FeaturesConfig(weights=path), PATCH_LAYERS
        )
    except PortraitError as error:
        raise PortraitError(f"--features: {error}") from None
    return distance, f"VGG-16 {name}"


def _open_without_parsing(run: pathlib.Path) -> "Engine":
    """A run's networks, the second of which takes no label map; others are refused."""
    from portrait_tf.inference.engines import PipelineEngine
    from portrait_tf.inference.pipeline import Pipeline

    # The face network finds its face in the label map.
    engine = PipelineEngine(Pipeline.from_run(run, face=False))
    if engine.takes_parsing:
        raise PortraitError(
            "expected a run whose stage 2 takes no label map "
            "(completion.network.parsing: false), received one that takes it",
            path=run,
        )
    return engine


def _refuse_given(context: typer.Context) -> None:
    """Raises PortraitError: an option is given before the name of a subcommand."""
    for option in context.command.params:
        if context.get_parameter_source(option.name).name == "COMMANDLINE":
            raise PortraitError(
                f"expected the options of `evaluate {context.invoked_subcommand}` "
                f"after that name, received {option.opts[-1]} before it"
            )


class _ScalesInARow(TyperCommand):
    """Reads `--scales 0.75 1.25` as `--scales 0.75 --scales 1.25`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:
        spread = []
        for argument in args:
            if spread[-2:-1] == ["--scales"] and _is_number(argument):
                spread.append("--scales")
            spread.append(argument)
        return super().parse_args(ctx, spread)


def _is_number(text: str) -> bool:
    with contextlib.suppress(ValueError):
        float(text)
        return True
    return False


@dataclasses.dataclass(frozen=True)
class ParsingOutputs:
    """What an evaluation of stage 1 writes."""

    json_out: JsonOut = None
    html_out: Annotated[
        pathlib.Path | None,
        typer.Option("--html", help="Write a page with numbers and pictures."),
    ] = None
    masks: Annotated[
        pathlib.Path | None,
        typer.Option(help="Write the holes into a new folder: TASK/NAME.png."),
    ] = None

    def check(self) -> None:
        """Raises PortraitError: one of them cannot be written there."""
        from portrait_tf.evaluation.report_folder import check_folder

        for path in (self.json_out, self.html_out):
            if path:
                check_target(path)
        if self.masks:
            check_folder(self.masks, report=False)

    def write_mask(self, hole: "Hole") -> None:
        from portrait_tf.photos import write_png

        write_png(self.masks / hole.task / f"{hole.name}.png", hole.mask)


@dataclasses.dataclass(frozen=True)
class Averaged:
    """How stage 1's answers are averaged."""

    scales: Annotated[
        list[float] | None,
        typer.Option(
            metavar="FLOAT...",
            min=0.1,
            max=4,
            help="Average stage 1 over scales, in place of its config's: 0.75 1 1.25.",
        ),
    ] = None
    flip: Annotated[
        bool | None,
        typer.Option(
            "--flip/--no-flip",
            help="Average with the mirrored photo, in place of its config's.",
        ),
    ] = None

    def structure(self, chosen: Stage1Choice) -> "AveragedParsing":
        """A stage 1, averaged as its config or the user says."""
        from portrait_tf.inference.averaging import AveragedParsing
        from portrait_tf.runs.folder import run_config
        from portrait_tf.runs.weights import bundled_pipeline_config

        network = chosen.load()
        if chosen.run == "bundled":
            config = bundled_pipeline_config()
        else:
            config = run_config(chosen.run).pipeline
        return AveragedParsing(
            network,
            config.flip if self.flip is None else self.flip,
            tuple(self.scales) if self.scales else config.scales,
        )


@evaluate_app.command("parsing", cls=_ScalesInARow)
@grouped
def evaluate_parsing(
    data: Data,
    scored: Scored = Scored(),
    network: Stage1Choice = Stage1Choice(),
    outputs: ParsingOutputs = ParsingOutputs(),
    min_photos: Annotated[
        int, typer.Option(min=0, help="A label in as many photos is frequent.")
    ] = 10,
    averaged: Averaged = Averaged(),
) -> None:
    """Score stage 1 alone: label maps and poses, with fixed holes and without."""
    outputs.check()
    network.check()
    reader = scored.open(data)
    start_tensorflow()
    from portrait_tf.data.dataset import usable_reader
    from portrait_tf.evaluation import parsing, parsing_report
    from portrait_tf.evaluation.holes import HoleSet
    from portrait_tf.evaluation.tables import print_tables

    structure = averaged.structure(network)
    predict = parsing.predictor(structure)
    holes = HoleSet(
        usable_reader(reader), structure.size, scored.seed, scored.count, parsing.TASKS
    )
    observe = outputs.write_mask if outputs.masks else None
    with progress("evaluating") as advance:
        scores = parsing.score_parsing(
            predict, holes, min_photos, progress=advance, observe=observe
        )
    run, checkpoint = network.run, network.checkpoint
    setup = scored.setup(data, holes, run, checkpoint, structure.size) | {
        "scales": list(structure.scales),
        "flip": structure.flip,
        "min_photos": min_photos,
    }
    scores = {"setup": setup, **scores}
    tables = [parsing_report.task_table(scores), parsing_report.label_table(scores)]
    print_tables(tables, open_console())
    if outputs.json_out:
        text = json.dumps(scores, indent=2, allow_nan=False)
        write_result(outputs.json_out, text)
    if outputs.html_out:
        drawn = parsing.draw_parsing(predict, holes, scores)
        page = parsing_report.render_page(scores, drawn)
        write_result(outputs.html_out, page)
