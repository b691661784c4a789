"""The report of a comparison: numbers, tables, and a page.

docs/compare.md defines the numbers.
"""

from collections.abc import Iterable

from portrait_tf.evaluation.compare_config import Plan
from portrait_tf.evaluation.holes import Example
from portrait_tf.evaluation.page import render
from portrait_tf.evaluation.summary import (
    ALL_TASKS,
    LOWER,
    RESAMPLES,
    SCORES,
    TaskSummary,
    deviation,
    over_all_tasks,
)
from portrait_tf.evaluation.tables import (
    TASK_NAMES,
    Table,
    best_first,
    number,
    pair_table,
    score_table,
)


def score_columns(plan: Plan) -> dict[str, dict]:
    """Name of each score, with the weights it depends on, and which is better."""
    features = plan.compare.features
    if not features.weights:
        return dict(SCORES)
    network = {"vgg16": "VGG-16", "vgg19": "VGG-19"}[features.network]
    weights = features.name or {"imagenet": "ImageNet"}.get(
        features.weights, features.weights.rsplit("/", 1)[-1].split(".")[0]
    )
    frechet = f"Fréchet, {network} {weights} {features.frechet_layer}"
    return {
        **SCORES,
        "perceptual": {"name": f"{network} {weights} distance", "better": LOWER},
        "frechet": {"name": frechet, "better": LOWER},
    }


def summarize(
    plan: Plan,
    rows: list[dict],
    frechet: dict[str, list[dict[str, float]]],
    seconds: dict[str, float],
    left_out: dict[str, str],
) -> dict:
    """The report of a comparison as plain values for JSON.

    Args:
        plan: The comparison.
        rows: One dict per method, seed, task and photo, with the scores.
        frechet: Fréchet distances by method, for each seed by task.
        seconds: Seconds per photo by method.
        left_out: What is missing, and why.

    Returns:
        * `setup`: what was compared;
        * `scores`: `score_columns`;
        * `methods`: for each `kind`, `parsing`, `seeds`, `seconds`, and `tasks`: for
          each task and for `all` `TaskSummary.statistics`; the Fréchet distance, which
          no single photo has, has no median;
        * `order`: for each task and score the methods, the best first;
        * `pairs`: for each other method `compare_pair` with the reference, by task and
          score;
        * `ranked`: for each task all photos (`photo`, `index`, `psnr_hole`), the
          reference's best first;
        * `left_out`.
    """
    columns, summaries = score_columns(plan), _summaries(plan, rows)
    names = list(dict.fromkeys(row["method"] for row in rows))
    # A classical reference may be missing.
    reference = plan.reference if plan.reference in names else names[0]
    tasks = {task: one.statistics() for task, one in summaries.items()}
    for name, runs in frechet.items():
        for task, methods in tasks.items():
            values = [one[task] for one in runs]
            methods[name]["frechet"] = {
                "mean": sum(values) / len(values),
                "seed_deviation": deviation(values),
            }
    pairs = {task: one.pairs(reference) for task, one in summaries.items()}
    setup = _setup(plan) | {"reference": reference}
    setup["photos"] = len(summaries[ALL_TASKS].photos(reference))
    return {
        "setup": setup,
        "scores": columns,
        "methods": {
            name: {
                **_facts(plan, name),
                "seconds": seconds.get(name),
                "tasks": {task: methods[name] for task, methods in tasks.items()},
            }
            for name in names
        },
        "order": {
            task: {key: best_first(methods, key, columns) for key in columns}
            for task, methods in tasks.items()
        },
        "pairs": {
            name: {task: one[name] for task, one in pairs.items()}
            for name in names
            if name != reference
        },
        "ranked": {t: summaries[t].ranked(reference) for t in plan.compare.tasks},
        "left_out": left_out,
    }


def _summaries(plan: Plan, rows: list[dict]) -> dict[str, TaskSummary]:
    """The scores of photos by task, and of `all`."""
    columns = {k: one for k, one in score_columns(plan).items() if k != "frechet"}
    rows = rows + over_all_tasks(rows, list(columns))
    return {
        task: TaskSummary([row for row in rows if row["task"] == task], columns)
        for task in (*plan.compare.tasks, ALL_TASKS)
    }


def _setup(plan: Plan) -> dict:
    compare = plan.compare
    return {
        "size": list(plan.base.size),
        "steps": compare.steps,
        "seeds": list(compare.seeds),
        "split": compare.split,
        "mask_seed": compare.mask_seed,
        "stage_1": compare.stage_1.source,
        "features": compare.features.weights,
        "same_features_in_training": _trained_on(plan),
    }


def _trained_on(plan: Plan) -> list[str]:
    """Methods whose loss compares features of the weights file of the scores."""
    weights = plan.compare.features.weights
    if not weights:
        return []
    # One file may have several paths.
    file = weights.rsplit("/", 1)[-1]
    return [
        name
        for name, config in plan.networks.items()
        if (config.completion.loss.perceptual or config.completion.loss.style)
        and config.completion.perceptual.weights.rsplit("/", 1)[-1] == file
    ]


def _facts(plan: Plan, name: str) -> dict:
    if name not in plan.networks:
        kind = "pictures" if name in plan.pictures else "classical"
        return {"kind": kind, "parsing": None, "seeds": []}
    parsing = plan.methods[name].parsing
    return {"kind": "trained", "parsing": parsing, "seeds": list(plan.compare.seeds)}


def report_tables(report: dict) -> list[Table]:
    """The tables of the terminal: scores by task, order and pairs over all tasks."""
    order = _order_table(report, [ALL_TASKS])
    tables = [*_task_tables(report), order, _pair_table(report)]
    if report["left_out"]:
        tables.append(Table("Left out", ["what", "why"]))
        for name, reason in report["left_out"].items():
            tables[-1].add(name, reason)
    return tables


def _task_tables(report: dict) -> list[Table]:
    methods, reference = report["methods"], report["setup"]["reference"]
    facts = {
        name: {"map": one["parsing"] or "-", "seconds": number(one["seconds"])}
        for name, one in methods.items()
    }
    return [
        score_table(
            TASK_NAMES[task],
            {name: one["tasks"][task] for name, one in methods.items()},
            report["scores"],
            reference,
            facts,
        )
        for task in report["order"]
    ]


def _order_table(report: dict, tasks: Iterable[str]) -> Table:
    table = Table("Order", ["score", "best first"])
    for task in tasks:
        for key, names in report["order"][task].items():
            title = f"{TASK_NAMES[task]}: {report['scores'][key]['name']}"
            table.add(title, " > ".join(names))
    return table


def _pair_table(report: dict) -> Table:
    pairs = {name: tasks[ALL_TASKS] for name, tasks in report["pairs"].items()}
    titles = {k: c["name"] for k, c in report["scores"].items() if k != "frechet"}
    return pair_table(report["setup"]["reference"], pairs, titles)


def render_page(report: dict, examples: dict[str, list[Example]]) -> str:
    """The page of a report and its examples."""
    setup = dict(report["setup"])
    same_features = setup.pop("same_features_in_training")
    return render(
        "comparison.html",
        setup=setup,
        report=report,
        tasks=_task_tables(report)[::-1],
        order=_order_table(report, report["order"]),
        pairs=_pair_table(report),
        drawn=examples,
        same_features=same_features,
        resamples=RESAMPLES,
    )
