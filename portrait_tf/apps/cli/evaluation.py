"""Scores what was trained."""

import contextlib
import json
import pathlib
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from typer.core import TyperCommand

from portrait_tf.apps.cli.shared import (
    Checkpoint,
    Data,
    Model,
    Seed,
    Server,
    SkipBroken,
    Split,
    Which,
    check_checkpoint,
    evaluate_app,
    open_console,
    progress,
    start_tensorflow,
)
from portrait_tf.errors import PortraitError
from portrait_tf.files import check_target, write_result

if TYPE_CHECKING:
    from portrait_tf.evaluation.features import FeatureDistance
    from portrait_tf.evaluation.holes import Hole, Method
    from portrait_tf.inference.engines import Engine


JsonOut = Annotated[
    Optional[pathlib.Path],  # noqa: UP045
    typer.Option("--json", help="Write the numbers to a file, too."),
]
Count = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(min=1, help="The first photos only."),
]
Scored = Annotated[Split, typer.Option(help="Which photos.")]
Side = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(min=16, help="Photos are brought to it; else the networks' own."),
]


@evaluate_app.callback(invoke_without_command=True)
def evaluate(
    context: typer.Context,
    data: Annotated[
        Optional[pathlib.Path],  # noqa: UP045
        typer.Option("--data", help="A data set in LIP's layout."),
    ] = None,
    split: Scored = Split.val,
    model: Model = None,
    server: Server = None,
    run: Annotated[
        Optional[pathlib.Path],  # noqa: UP045
        typer.Option(help="A trained run, in place of the bundled weights."),
    ] = None,
    checkpoint: Which = Checkpoint.last,
    json_out: JsonOut = None,
    report: Annotated[
        Optional[pathlib.Path],  # noqa: UP045
        typer.Option(help="Write a folder: a page, pictures, a row a photo as CSV."),
    ] = None,
    pictures: Annotated[
        Optional[pathlib.Path],  # noqa: UP045
        typer.Option(
            metavar="DIR",
            help="Write truths, holes and every method's pictures into a new folder.",
        ),
    ] = None,
    method: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            metavar="NAME",
            help="Classical methods beside ours: telea, navier_stokes, patchmatch, fsr."
            " A report always has telea.",
        ),
    ] = None,
    true_map: Annotated[
        Optional[bool],  # noqa: UP045
        typer.Option(
            "--true-map/--no-true-map",
            help="Ours, given the true label map, as a row; in a report by default.",
        ),
    ] = None,
    without_parsing: Annotated[
        Optional[pathlib.Path],  # noqa: UP045
        typer.Option(
            metavar="RUN", help="A run whose network takes no label map, as a row."
        ),
    ] = None,
    features: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="FILE:NAME",
            help="VGG-16 weights for perceptual and kernel distances, and their name.",
        ),
    ] = None,
    height: Side = None,
    width: Side = None,
    count: Count = None,
    seed: Seed = 0,
    skip_broken: SkipBroken = False,
) -> None:
    """Score a chain on fixed holes, beside classical methods; or stage 1 alone."""
    from portrait_tf.data.open import open_dataset
    from portrait_tf.evaluation.tables import print_tables

    if context.invoked_subcommand:
        if before := _given(context):
            raise PortraitError(
                f"expected the options of `evaluate {context.invoked_subcommand}` "
                f"after that name, received {before[0]} before it"
            )
        return
    if data is None:
        raise typer.BadParameter("expected the folder of a data set", param_hint="data")
    if json_out:
        check_target(json_out)
    if sum(map(bool, (run, model, server))) > 1:
        raise PortraitError("expected one of --run, --model and --server")
    check_checkpoint(checkpoint, run)
    names = _method_names(method, report is not None)
    weights = _feature_weights(features)
    _check_folders(report, pictures)
    reader = open_dataset(data, split.value, skip_broken=skip_broken)
    start_tensorflow()
    from portrait_tf.data.dataset import usable_reader
    from portrait_tf.evaluation import completion_report, report_folder
    from portrait_tf.evaluation.completion_sheets import ContactSheets
    from portrait_tf.evaluation.evaluate import Evaluation, mean_scores
    from portrait_tf.evaluation.holes import HoleSet
    from portrait_tf.inference import engines

    if run:
        from portrait_tf.inference.pipeline import Pipeline

        engine = engines.PipelineEngine(Pipeline.from_run(run, checkpoint))
    else:
        engine = engines.open_engine(server, model)
    own = engine.working_size or (192, 128)
    size = (height or own[0], width or own[1])
    wants_map = report is not None if true_map is None else true_map
    methods, left_out = _methods(engine, names, wants_map, without_parsing)
    distance = features_name = None
    if weights:
        distance, features_name = _open_features(*weights)
    else:
        left_out["perceptual and kernel distance"] = "no --features FILE:NAME was given"
    holes = HoleSet(usable_reader(reader), size, seed, count)
    evaluation = Evaluation(engine, holes, methods, distance)
    sheets = ContactSheets(len(holes))
    observers = [sheets.observe] if report else []
    if pictures:
        observers.append(
            lambda hole, parsing, done, row: report_folder.write_pictures(
                pictures, hole, done
            )
        )
    with progress("evaluating") as advance:
        found = evaluation.score(advance, observers)
    if wants_map and all(row["method"] != "true_map" for row in found.rows):
        evaluation.methods.pop("true_map", None)
        left_out.setdefault("true map", "no photo has a label map")
    setup = {
        "data": str(data),
        "split": split.value,
        "photos": len(holes),
        "network": str(run or model or server or "bundled"),
        "checkpoint": checkpoint.value,
        "size": list(size),
        "seed": seed,
        "contact_sheet_photos": len(sheets.indices),
    }
    if without_parsing:
        setup["without_parsing"] = str(without_parsing)
    summary = completion_report.summarize_photos(found, setup, features_name, left_out)
    console = open_console()
    console.print(f"photos at {size[0]}x{size[1]}: {len(holes)}")
    print_tables(completion_report.report_tables(summary), console)
    if json_out:
        scores = {"size": size, **mean_scores(found)}
        if features_name:
            scores["features"] = {
                "name": features_name,
                "distance": distance.layers,
                "kernel_distances": distance.patches,
            }
        write_result(json_out, json.dumps(scores, indent=2))
    if report:
        completion_report.write_report(report, evaluation, found, sheets, summary)
        console.print(f"{report}/index.html", soft_wrap=True)


def _check_folders(report: pathlib.Path | None, pictures: pathlib.Path | None) -> None:
    """Raises PortraitError: a report or pictures cannot be written there."""
    from portrait_tf.evaluation.report_folder import (
        check_empty_folder,
        check_report_folder,
    )

    if report:
        check_report_folder(report)
    if pictures:
        check_empty_folder(pictures)
        if report and pictures.absolute().is_relative_to(report.absolute()):
            raise PortraitError(
                f"--pictures: expected a folder outside {report}, which --report "
                f"replaces; received {pictures}"
            )


def _methods(
    engine: "Engine",
    names: list[str],
    true_map: bool,
    without_parsing: pathlib.Path | None,
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
    if without_parsing:
        methods["without_parsing"] = by_engine(_open_without_parsing(without_parsing))
    else:
        left_out["ours without parsing"] = "no --without-parsing RUN was given"
    return methods | {name: classical(name) for name in names}, left_out


def _method_names(given: list[str] | None, report: bool) -> list[str]:
    """The classical methods to score, as the user or the default has them.

    Raises:
        PortraitError: There is no such method, or what it needs is not installed.
    """
    from portrait_tf.evaluation.classical import CLASSICAL, MISSING, available

    if not given:
        return ["telea", "navier_stokes", *(["patchmatch"] if report else [])]
    for name in given:
        if name not in CLASSICAL:
            raise PortraitError(
                f"--method: expected one of {', '.join(CLASSICAL)}, received '{name}'"
            )
        if not available(name):
            raise PortraitError(f"--method {name} {MISSING}")
    return list(dict.fromkeys([*(["telea"] if report else []), *given]))


def _feature_weights(text: str | None) -> tuple[str, str] | None:
    """File (or `imagenet`, `random`) and name of `--features`.

    Raises:
        PortraitError: There is no such file.
    """
    if text is None:
        return None
    path, colon, name = text.rpartition(":")
    if not colon or pathlib.Path(text).is_file():
        path, name = text, pathlib.Path(text).name.split(".")[0]
    if path not in ("imagenet", "random") and not pathlib.Path(path).is_file():
        raise PortraitError(
            f"--features: expected a file of VGG-16 weights and a name, FILE:NAME; no "
            f"such file: {path}"
        )
    return path, name or pathlib.Path(path).name.split(".")[0]


def _open_features(path: str, name: str) -> "tuple[FeatureDistance, str]":
    """The distance as `portrait-tf compare` takes it, and what it is called."""
    from portrait_tf.evaluation.compare_config import FeaturesConfig
    from portrait_tf.evaluation.features import FeatureDistance
    from portrait_tf.evaluation.kernel_distance import PATCH_LAYERS

    chosen = FeaturesConfig(weights=path)
    try:
        distance = FeatureDistance(
            chosen.network,
            path,
            list(chosen.layers),
            chosen.frechet_layer,
            PATCH_LAYERS,
        )
    except PortraitError as error:
        raise PortraitError(f"--features: {error}") from None
    return distance, f"VGG-16 {name}"


def _open_without_parsing(run: pathlib.Path) -> "Engine":
    """A run's networks, the second of which is given no label map.

    Raises:
        PortraitError: It takes one, or is not trained.
    """
    from portrait_tf.inference.engines import PipelineEngine
    from portrait_tf.inference.pipeline import Pipeline

    # The face network finds its face in the label map.
    engine = PipelineEngine(Pipeline.from_run(run, face=False))
    if engine.takes_parsing:
        raise PortraitError(
            f"{run}: expected a run whose stage 2 takes no label map "
            "(completion.network.parsing: false), received one that takes it"
        )
    return engine


def _given(context: typer.Context) -> list[str]:
    """The options of a command that its user has typed."""
    return [
        option.opts[-1]
        for option in context.command.params
        if context.get_parameter_source(option.name).name == "COMMANDLINE"
    ]


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


@evaluate_app.command("parsing", cls=_ScalesInARow)
def evaluate_parsing(
    data: Data,
    split: Scored = Split.val,
    run: Annotated[
        str, typer.Option(metavar="RUN", help="A trained run, or `bundled`.")
    ] = "bundled",
    checkpoint: Which = Checkpoint.last,
    json_out: JsonOut = None,
    html_out: Annotated[
        Optional[pathlib.Path],  # noqa: UP045
        typer.Option("--html", help="Write a page with numbers and pictures."),
    ] = None,
    masks: Annotated[
        Optional[pathlib.Path],  # noqa: UP045
        typer.Option(help="Write the holes into a folder: TASK/NAME.png."),
    ] = None,
    count: Count = None,
    min_photos: Annotated[
        int, typer.Option(min=0, help="A label in as many photos is frequent.")
    ] = 10,
    scales: Annotated[
        Optional[list[float]],  # noqa: UP045
        typer.Option(
            metavar="FLOAT...",
            min=0.1,
            max=4,
            help="Average stage 1 over scales, in place of its config's: 0.75 1 1.25.",
        ),
    ] = None,
    flip: Annotated[
        Optional[bool],  # noqa: UP045
        typer.Option(
            "--flip/--no-flip",
            help="Average with the mirrored photo, in place of its config's.",
        ),
    ] = None,
    seed: Seed = 0,
    skip_broken: SkipBroken = False,
) -> None:
    """Score stage 1 alone: label maps and poses, with fixed holes and without."""
    from portrait_tf.data.open import open_dataset

    for path in (json_out, html_out):
        if path:
            check_target(path)
    if masks and masks.exists() and not masks.is_dir():
        raise PortraitError(f"{masks} is a file; a folder is expected")
    if run != "bundled" and not pathlib.Path(run).is_dir():
        raise PortraitError(
            f"{run}: expected the folder of a trained run, or 'bundled'"
        )
    check_checkpoint(checkpoint, run)
    reader = open_dataset(data, split.value, skip_broken=skip_broken)
    start_tensorflow()
    from portrait_tf.data.dataset import usable_reader
    from portrait_tf.evaluation import parsing, parsing_report
    from portrait_tf.evaluation.holes import HoleSet
    from portrait_tf.evaluation.tables import print_tables
    from portrait_tf.photos import write_png

    structure = _structure(run, checkpoint, flip, scales)
    predict = parsing.predictor(structure)
    holes = HoleSet(usable_reader(reader), structure.size, seed, count, parsing.TASKS)

    def write_mask(hole: "Hole") -> None:
        write_png(masks / hole.task / f"{hole.name}.png", hole.mask)

    with progress("evaluating") as advance:
        scores = parsing.score_parsing(
            predict,
            holes,
            min_photos,
            progress=advance,
            observe=write_mask if masks else None,
        )
    setup = {
        "data": str(data),
        "split": split.value,
        "photos": len(holes),
        "network": run,
        "checkpoint": checkpoint.value,
        "size": list(structure.size),
        "scales": list(structure.scales),
        "flip": structure.flip,
        "seed": seed,
        "min_photos": min_photos,
    }
    scores = {"setup": setup, **scores}
    tables = [parsing_report.task_table(scores), parsing_report.label_table(scores)]
    print_tables(tables, open_console())
    if json_out:
        write_result(json_out, json.dumps(scores, indent=2, allow_nan=False))
    if html_out:
        page = parsing_report.render_page(
            scores, parsing.draw_parsing(predict, holes, scores)
        )
        write_result(html_out, page)


def _structure(  # noqa: ANN202
    run: str, checkpoint: Checkpoint, flip: bool | None, scales: list[float] | None
):
    """Stage 1 of a run, or the bundled one, averaged as its config or the user says."""
    from portrait_tf.inference.averaging import AveragedParsing
    from portrait_tf.runs.folder import load_run_network, run_config
    from portrait_tf.runs.weights import bundled_pipeline_config, load_bundled

    if run == "bundled":
        network, config = load_bundled("parsing"), bundled_pipeline_config()
    else:
        network = load_run_network(run, "parsing", checkpoint)
        config = run_config(run).pipeline
    return AveragedParsing(
        network,
        config.flip if flip is None else flip,
        tuple(scales) if scales else config.scales,
    )
