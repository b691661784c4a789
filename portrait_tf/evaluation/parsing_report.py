"""Reports on stage 1: tables for the terminal, and a page."""

from portrait_tf.evaluation.holes import NO_HOLE, Example
from portrait_tf.evaluation.page import render
from portrait_tf.evaluation.parsing import JOINT_SETS, REGIONS
from portrait_tf.evaluation.summary import ALL_TASKS
from portrait_tf.evaluation.tables import TASK_NAMES, Cell, Table, bar, number
from portrait_tf.labels import LABELS, PALETTE

_MEASURES = {
    "mean_iou_frequent": "Mean IoU, frequent labels",
    "mean_iou": "Mean IoU, all labels",
    "pixel_accuracy": "Pixel accuracy",
    "mean_accuracy": "Mean accuracy",
}
_JOINT_SETS = [name.replace("_", " ") for name in JOINT_SETS]
_COLORS = {name: "#" + bytes(PALETTE[label]).hex() for label, name in enumerate(LABELS)}


def task_table(scores: dict) -> Table:
    """All measures by task, for the result of `score_parsing`."""
    table = Table("By task", ["task"])
    table.groups = [(title, len(REGIONS)) for title in _MEASURES.values()]
    table.groups.append(("PCKh@0.5", len(JOINT_SETS)))
    table.columns += [*REGIONS] * len(_MEASURES) + _JOINT_SETS
    for task, one in scores["tasks"].items():
        cells = [bar(one[region][key]) for key in _MEASURES for region in REGIONS]
        joints = [one["pckh"][name] for name in JOINT_SETS]
        cells += [bar(found["mean"], str(found["count"])) for found in joints]
        style = "total" if task == ALL_TASKS else ""
        table.add(TASK_NAMES[task], *cells, style=style)
    return table


def label_table(scores: dict) -> Table:
    """IoU of each label without a hole, and over all tasks together."""
    table = Table(
        "IoU of each label: without a hole, and over all tasks",
        ["label", "photos", "no hole", *REGIONS],
    )
    whole, together = (scores["tasks"][task] for task in (NO_HOLE, ALL_TASKS))
    for label, found in scores["labels"].items():
        ious = [whole["whole"]["iou"][label]]
        ious += [together[region]["iou"][label] for region in REGIONS]
        table.add(
            Cell(label, color=_COLORS[label]),
            str(found["photos"]),
            *map(bar, ious),
            style="" if found["frequent"] else "rare",
        )
    return table


def joint_table(scores: dict) -> Table:
    """PCKh of each joint without a hole, and over all tasks together."""
    table = Table(
        "PCKh@0.5 of each joint: without a hole, and over all tasks",
        ["joint", "no hole", *_JOINT_SETS],
    )
    whole, together = (scores["tasks"][task]["pckh"] for task in (NO_HOLE, ALL_TASKS))
    columns = [whole["all"], *(together[name] for name in JOINT_SETS)]
    for joint in whole["all"]["joints"]:
        cells = [column["joints"][joint] for column in columns]
        table.add(joint, *(bar(one["rate"], str(one["count"])) for one in cells))
    means = [bar(column["mean"], str(column["count"])) for column in columns]
    table.add("Mean", *means, style="total")
    return table


def render_page(scores: dict, examples: dict[str, list[Example]]) -> str:
    """The page with scores and photos.

    Args:
        scores: The result of `score_parsing`, with `setup`: names and values that the
            page shows at the top.
        examples: The result of `draw_parsing`.
    """
    together, whole = scores["tasks"][ALL_TASKS], scores["tasks"][NO_HOLE]
    mean = "mean_iou_frequent"
    return render(
        "parsing.html",
        setup=scores["setup"],
        headline=[
            (number(together["hole"][mean]), "mean IoU in the hole, frequent labels"),
            (number(together["whole"][mean]), "mean IoU of whole maps, with holes"),
            (number(whole["whole"][mean]), "mean IoU without a hole"),
            (
                number(together["pckh"]["in_hole"]["mean"]),
                "PCKh@0.5 of joints in the hole",
            ),
        ],
        tasks=task_table(scores),
        labels=label_table(scores),
        joints=joint_table(scores),
        legend=_COLORS.items(),
        drawn=examples,
        band=scores["band_pixels"],
        rare=[name for name, one in scores["labels"].items() if not one["frequent"]],
    )
