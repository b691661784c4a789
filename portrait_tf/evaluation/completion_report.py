"""Reports on a chain's completions: tables for the terminal, and a folder.

```
FOLDER/index.html             the tables, and photos to look at
FOLDER/scores.json            the numbers of the page
FOLDER/photos.csv             a row per photo, task and method
FOLDER/contact_TASK.png       photos spread evenly over the split, not picked
FOLDER/examples_TASK.png      the best, the median and the worst photo
```
"""

import json
import pathlib

import numpy as np

from portrait_tf.data.masks import EVALUATION_TASKS
from portrait_tf.evaluation.completion_sheets import ContactSheets, example_sheet
from portrait_tf.evaluation.confusion import GROUP_PHOTOS
from portrait_tf.evaluation.evaluate import (
    BASELINE,
    DISTANCE,
    OURS,
    Evaluation,
    PhotoScores,
    complete_holes,
)
from portrait_tf.evaluation.holes import Example, Hole, draw_examples, pick_examples
from portrait_tf.evaluation.kernel_distance import (
    PATCH_LAYERS,
    SUBSET_PATCHES,
    SUBSETS,
)
from portrait_tf.evaluation.page import render
from portrait_tf.evaluation.report_folder import (
    PAGE,
    PHOTOS_FILE,
    SCORES_FILE,
    write_folder,
)
from portrait_tf.evaluation.summary import LOWER, RESAMPLES, SCORES, TaskSummary
from portrait_tf.evaluation.tables import (
    TASK_NAMES,
    Cell,
    Table,
    number,
    pair_table,
    render_csv,
    score_table,
    spread,
)
from portrait_tf.labels import color_parsing
from portrait_tf.photos import encode_png
from portrait_tf.photos.drawing import show_hole

METHOD_NAMES = {
    OURS: "ours",
    "true_map": "ours, true map",
    "without_parsing": "ours, without parsing",
    "telea": "Telea",
    "navier_stokes": "Navier-Stokes",
    "patchmatch": "PatchMatch",
    "fsr": "Frequency selective",
}
GROUPS = {
    "hole_miou": "mean IoU of our label map in the hole",
    "hole_share": "part of the photo that is masked",
    "hole_texture": "deviation of the true gray levels in the hole",
}
"""Values that photos are sorted by, to show where a chain fails."""

_PARSING = {
    "miou": "mean IoU",
    "miou_hole": "mean IoU in the hole",
    "pixel_accuracy": "pixel accuracy",
    "pckh": "PCKh@0.5",
}


# === Numbers ===
def score_columns(features: str | None = None) -> dict[str, dict]:
    """Name of each score, which value is `better`, and how Telea's is set against it.

    Args:
        features: Name of the features of the perceptual distance; None: no distance.
    """
    columns = {
        key: {**one, "by": "ratio" if key == "l1" else "difference"}
        for key, one in SCORES.items()
    }
    if features:
        name = f"{features} distance"
        columns[DISTANCE] = {"name": name, "features": features}
        columns[DISTANCE] |= {"better": LOWER, "by": "ratio"}
    return columns


def summarize_photos(
    found: PhotoScores,
    setup: dict,
    features: str | None = None,
    left_out: dict[str, str] | None = None,
) -> dict:
    """The report as plain values for JSON.

    Args:
        found: The scores.
        setup: Names and values of what is scored.
        features: As in `score_columns`.
        left_out: What is missing, and why.

    Returns:
        * `setup`, `left_out`; `parsing`, `label_groups` and `kernel_distances` of
          `found`;
        * `scores`: `score_columns`;
        * `tasks`: for each task

          * `methods`: `TaskSummary.statistics`, beside Telea's if that is scored;
          * `against`: for each other method `compare_pair` of the hole PSNR, ours
            minus the other's, on the photos that both have;
          * `groups`: for each key of `GROUPS` the photos in three parts, from low to
            high: `low` and `high` of the key, `photos`, and `difference`, the mean
            hole PSNR of ours minus Telea's. Empty where the key is missing or the same
            for all photos, or there are fewer than three;
          * `examples`: `pick_examples` by our hole PSNR.
    """
    columns = score_columns(features)
    tasks = {}
    for task in EVALUATION_TASKS:
        rows = [row for row in found.rows if row["task"] == task]
        baseline = BASELINE if any(r["method"] == BASELINE for r in rows) else None
        one, key = TaskSummary(rows, columns), "psnr_hole"
        pairs = one.pairs(OURS)
        tasks[task] = {
            "methods": one.statistics(baseline),
            "against": {name: pair[key] for name, pair in pairs.items()},
            "groups": {name: _groups(one, name) for name in GROUPS if baseline},
            "examples": pick_examples(one.ranked(OURS), key),
        }
    return {
        "setup": setup,
        "scores": columns,
        "tasks": tasks,
        "parsing": found.parsing,
        "label_groups": found.label_groups,
        "kernel_distances": found.kernel_distances,
        "left_out": left_out or {},
    }


def _groups(scores: TaskSummary, key: str) -> list[dict]:
    ours, baseline = scores.photos(OURS), scores.photos(BASELINE)
    known = {i: row for i, row in ours.items() if row[key] is not None}
    values = np.array([row[key] for row in known.values()])
    if len(known) < 3 or np.ptp(values) < 1e-9:
        return []
    gains = np.array(
        [row["psnr_hole"] - baseline[i]["psnr_hole"] for i, row in known.items()]
    )
    return [
        {
            "low": float(values[part].min()),
            "high": float(values[part].max()),
            "photos": len(part),
            "difference": float(gains[part].mean()),
        }
        for part in np.array_split(np.argsort(values, kind="stable"), 3)
    ]


# === Tables ===
def report_tables(report: dict) -> list[Table]:
    """The tables of the terminal: scores by task, and of the label maps."""
    return [*_task_tables(report), *_kernel_tables(report), *_structure_tables(report)]


def _named(methods: dict) -> dict:
    return {METHOD_NAMES.get(name, name): one for name, one in methods.items()}


def _task_tables(report: dict) -> list[Table]:
    tables = []
    for task, one in report["tasks"].items():
        columns = report["scores"]
        if BASELINE not in one["methods"]:
            kept = ("name", "better")
            columns = {k: {n: c[n] for n in kept} for k, c in columns.items()}
        methods = _named(one["methods"])
        facts = {name: {"photos": str(m["photos"])} for name, m in methods.items()}
        tables.append(score_table(TASK_NAMES[task], methods, columns, OURS, facts))
    return tables


def _kernel_tables(report: dict) -> list[Table]:
    """Kernel distances by method and task; no table without features."""
    distances = report["kernel_distances"]
    if not distances:
        return []
    features = report["scores"][DISTANCE]["features"]
    title = f"Kernel distance of patches, {features} {' + '.join(PATCH_LAYERS)} ↓"
    table = Table(title, ["method"])
    for task in distances:
        table.groups.append((TASK_NAMES[task], 3))
        table.columns += ["mean", "÷ Telea", "patches"]
    nothing = {"mean": None, "std": None, "to_telea": None, "patches": 0}
    for name in dict.fromkeys(n for methods in distances.values() for n in methods):
        cells = []
        for methods in distances.values():
            one = methods.get(name, nothing)
            cells += [spread(one["mean"], one["std"]), number(one["to_telea"], 2)]
            cells.append(str(one["patches"]))
        style = "total" if name == OURS else ""
        table.add(METHOD_NAMES.get(name, name), *cells, style=style)
    return [table]


def _structure_tables(report: dict) -> list[Table]:
    """Scores of the label maps and joints; groups that hardly occur in small print."""
    parsing, tasks = report["parsing"], report["label_groups"]
    whole = Table("Label maps and poses", ["all holes together", *_PARSING.values()])
    whole.add(OURS, *(number(parsing[key], 4) for key in _PARSING))
    names = next(iter(tasks.values()))["groups"]
    groups = Table(
        "IoU in the hole, by label group", ["task", *names, "mean", "silhouette"]
    )
    for task, one in tasks.items():
        cells = [
            Cell(number(value))
            if one["photos"][name] >= GROUP_PHOTOS
            else Cell("", number(value))
            for name, value in one["groups"].items()
        ]
        cells += [number(one["mean"]), number(one["silhouette"])]
        groups.add(TASK_NAMES[task], *cells)
    return [whole, groups]


def _pair_table(tasks: dict[str, dict]) -> Table:
    pairs: dict[str, dict] = {}
    for task, one in tasks.items():
        for name, pair in _named(one["against"]).items():
            pairs.setdefault(name, {})[task] = pair
    return pair_table(OURS, pairs, {task: TASK_NAMES[task] for task in tasks})


def _group_table(tasks: dict[str, dict]) -> Table:
    """Where the chain fails: the gain over Telea for three parts of the photos."""
    thirds = ["lowest third", "middle", "highest third"]
    table = Table("", ["task, and what photos are sorted by", *thirds])
    for task, one in tasks.items():
        for key, title in GROUPS.items():
            cells = [
                Cell(
                    f"{part['difference']:+.2f}",
                    f"{part['low']:.3g} to {part['high']:.3g}; {part['photos']}",
                )
                for part in one["groups"][key]
            ]
            table.add(f"{TASK_NAMES[task]}: {title}", *(cells or ["-"] * 3))
    return table


# === The folder ===
def draw_photos(
    evaluation: Evaluation, tasks: dict[str, dict]
) -> dict[str, list[Example]]:
    """Completes the examples of each task again, by all methods."""

    def draw(hole: Hole) -> dict[str, np.ndarray]:
        ((completed, parsing),) = complete_holes(evaluation.engine, [hole])
        pictures = {
            "input": show_hole(hole.photo, hole.mask),
            "predicted map": color_parsing(parsing),
            OURS: completed,
        }
        for name, method in evaluation.methods.items():
            (picture,) = method([hole])
            if picture is not None:
                pictures[METHOD_NAMES.get(name, name)] = picture
        return {**pictures, "truth": hole.photo}

    chosen = {task: one["examples"] for task, one in tasks.items()}
    return draw_examples(evaluation.holes, chosen, "psnr_hole", draw)


def render_page(report: dict, examples: dict[str, list[Example]]) -> str:
    """The page; the contact sheets lie beside it.

    Args:
        report: The result of `summarize_photos`.
        examples: The result of `draw_photos`.
    """
    tasks, headline = report["tasks"], []
    for task, one in tasks.items():
        gain = one["against"][BASELINE]
        caption = (
            f"{TASK_NAMES[task]}: mean hole PSNR, ours minus Telea "
            f"(95 %: {gain['low']:+.2f} to {gain['high']:+.2f})"
        )
        headline.append((f"{gain['difference']:+.2f} dB", caption))
    return render(
        "completion.html",
        setup=report["setup"],
        report=report,
        headline=headline,
        tasks=_task_tables(report),
        kernel=_kernel_tables(report),
        pairs=_pair_table(tasks),
        groups=_group_table(tasks),
        structure=_structure_tables(report),
        drawn=examples,
        subsets=SUBSETS,
        subset_patches=SUBSET_PATCHES,
        resamples=RESAMPLES,
        group_photos=GROUP_PHOTOS,
    )


def write_report(
    folder: pathlib.Path,
    evaluation: Evaluation,
    found: PhotoScores,
    sheets: ContactSheets,
    report: dict,
) -> None:
    """Draws the examples and writes the folder; an old report there is replaced.

    Args:
        folder: A folder that `check_folder` accepts.
        evaluation: What was scored.
        found: Its scores.
        sheets: The contact sheets, which have observed the evaluation.
        report: The result of `summarize_photos`.

    Raises:
        PortraitError: As `write_folder`.
    """
    examples = draw_photos(evaluation, report["tasks"])
    files = {
        PAGE: render_page(report, examples),
        SCORES_FILE: json.dumps(report, indent=1, allow_nan=False),
        PHOTOS_FILE: render_csv(found.rows, ("photo", "task", "method")),
    }
    for task, sheet in sheets.draw().items():
        files[f"contact_{task}.png"] = encode_png(sheet)
    for task, some in examples.items():
        files[f"examples_{task}.png"] = encode_png(example_sheet(some))
    write_folder(folder, files)
