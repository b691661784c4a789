"""Scores of stage 1 for people: tables on a terminal, and a page that stands alone."""

import html

from rich.console import Console
from rich.table import Table

from portrait_tf.evaluation.page import (
    TASK_NAMES,
    example,
    figure,
    html_table,
    jpeg,
    number,
    page,
    setup_line,
)
from portrait_tf.evaluation.parsing import (
    ALL_TASKS,
    JOINT_SETS,
    NO_HOLE,
    REGIONS,
    Example,
)
from portrait_tf.labels import LABELS, PALETTE
from portrait_tf.photos import encode_png

_MEASURES = {
    "mean_iou_frequent": "Mean IoU, frequent labels",
    "mean_iou": "Mean IoU, all labels",
    "pixel_accuracy": "Pixel accuracy",
    "mean_accuracy": "Mean accuracy",
}
_JOINT_SET_NAMES = {
    "all": "all",
    "in_hole": "in hole",
    "marked_hidden": "marked hidden",
}


def print_scores(scores: dict, console: Console) -> None:
    """Prints a table of tasks and one of labels.

    Args:
        scores: Of `evaluate_parsing`.
        console: Where to.
    """
    for measure, title in _MEASURES.items():
        table = Table("task", *REGIONS, title=title, title_justify="left")
        for task, one in scores["tasks"].items():
            table.add_row(task, *(number(one[region][measure]) for region in REGIONS))
        console.print(table)
    table = Table(
        "task",
        *(_JOINT_SET_NAMES[name] for name in JOINT_SETS),
        title="PCKh@0.5 (joints counted)",
        title_justify="left",
    )
    for task, one in scores["tasks"].items():
        cells = [one["pckh"][name] for name in JOINT_SETS]
        table.add_row(
            task, *(f"{number(cell['mean'])} ({cell['count']})" for cell in cells)
        )
    console.print(table)
    table = Table(
        "label",
        "photos",
        NO_HOLE,
        *REGIONS,
        title="IoU of each label: without a hole, and over all tasks",
        title_justify="left",
    )
    for label, found in scores["labels"].items():
        table.add_row(
            label,
            str(found["photos"]),
            *(number(value) for value in _label_ious(scores, label)),
            style=None if found["frequent"] else "dim",
        )
    console.print(table)


def _label_ious(scores: dict, label: str) -> list[float | None]:
    tasks = scores["tasks"]
    return [
        tasks[NO_HOLE]["whole"]["iou"][label],
        *(tasks[ALL_TASKS][region]["iou"][label] for region in REGIONS),
    ]


def render_html(scores: dict, examples: list[Example]) -> str:
    """A page that needs no other file and no network.

    Args:
        scores: Of `evaluate_parsing`, with `setup`: names and values of what was
            scored, shown at the top.
        examples: Of `draw_examples`.
    """
    together, whole = scores["tasks"][ALL_TASKS], scores["tasks"][NO_HOLE]
    mean = "mean_iou_frequent"
    tiles = {
        "mean IoU in the hole, frequent labels": together["hole"][mean],
        "mean IoU of whole maps, with holes": together["whole"][mean],
        "mean IoU without a hole": whole["whole"][mean],
        "PCKh@0.5 of joints in the hole": together["pckh"]["in_hole"]["mean"],
    }
    tiles = "".join(
        f'<div class="tile"><b>{number(value)}</b>{caption}</div>'
        for caption, value in tiles.items()
    )
    rare = [name for name, one in scores["labels"].items() if not one["frequent"]]
    width = scores["band_pixels"]
    body = f"""<p class="setup">{setup_line(scores["setup"])}</p>
<div class="tiles">{tiles}</div>
<h2>By task</h2>
{_task_table(scores)}
<h2>Labels</h2>
<p>Intersection over union, without a hole and over all tasks together. Labels in grey
are shown by fewer than {html.escape(str(scores["setup"]["min_photos"]))} photos; the
frequent ones are the others.</p>
{_label_table(scores)}
<h2>Joints</h2>
<p>PCKh@0.5, over all tasks together; in brackets, how many joints were counted.</p>
{_joint_table(scores)}
<h2>Photos to look at</h2>
<p>Of each task the best, the median and the worst photo by its mean IoU in the hole.
The white line is the hole's edge; grey in a map is void.</p>
{_legend()}
{"".join(_example_rows(examples))}
<h2>What the numbers are</h2>
<p>All are from 0 to 1, and more is better. One confusion matrix is counted over all
photos; void pixels are left out. <b>Whole</b> is the whole map, <b>hole</b> the masked
pixels alone, <b>band</b> those within {width} pixel{"s" * (width != 1)} of the hole's
edge, on both sides. The mean over <b>frequent labels</b> leaves out
{html.escape(", ".join(rare) or "none")}; that over <b>all labels</b> takes every one
that occurs in truth or prediction. <b>PCKh@0.5</b> is the part of the joints found
within half a head, the mean over 14 joints; <b>marked hidden</b> are those that the
annotation says cannot be seen in the whole photo.</p>"""
    return page("Stage 1: parsing and pose", body)


def _bar(value: float | None, note: str = "") -> str:
    share = 0 if value is None else 100 * value
    return f'<td class="bar" style="--share:{share:.1f}%">{number(value)}{note}</td>'


def _task_table(scores: dict) -> str:
    groups = {**_MEASURES, "pckh": "PCKh@0.5"}
    names = {**dict.fromkeys(_MEASURES, REGIONS), "pckh": JOINT_SETS}
    head = "<tr><th></th>" + "".join(
        f'<th colspan="3" class="group">{title}</th>' for title in groups.values()
    )
    head += "</tr><tr><th>task</th>" + "".join(
        f"<th>{_JOINT_SET_NAMES[name] if measure == 'pckh' else name}</th>"
        for measure, group in names.items()
        for name in group
    )
    rows = []
    for task, one in scores["tasks"].items():
        cells = [_bar(one[region][key]) for key in _MEASURES for region in REGIONS]
        cells += [_bar(one["pckh"][name]["mean"]) for name in JOINT_SETS]
        name = html.escape(TASK_NAMES.get(task, task))
        kind = ' class="total"' if task == ALL_TASKS else ""
        rows.append(f'<tr{kind}><th scope="row">{name}</th>{"".join(cells)}</tr>')
    return html_table(f"{head}</tr>", rows)


def _swatch(label: str) -> str:
    colour = "".join(f"{int(part):02x}" for part in PALETTE[LABELS.index(label)])
    return f'<i class="swatch" style="background:#{colour}"></i>{html.escape(label)}'


def _label_table(scores: dict) -> str:
    head = "<tr><th>label</th><th>photos</th><th>no hole</th>" + "".join(
        f"<th>{region}</th>" for region in REGIONS
    )
    rows = []
    for label, found in scores["labels"].items():
        cells = "".join(map(_bar, _label_ious(scores, label)))
        kind = "" if found["frequent"] else ' class="rare"'
        rows.append(
            f'<tr{kind}><th scope="row">{_swatch(label)}</th>'
            f"<td>{found['photos']}</td>{cells}</tr>"
        )
    return html_table(f"{head}</tr>", rows)


def _joint_table(scores: dict) -> str:
    head = "<tr><th>joint</th><th>no hole</th>" + "".join(
        f"<th>{_JOINT_SET_NAMES[name]}</th>" for name in JOINT_SETS
    )
    whole, together = (scores["tasks"][task]["pckh"] for task in (NO_HOLE, ALL_TASKS))
    columns = [whole["all"], *(together[name] for name in JOINT_SETS)]
    rows = []
    for joint in whole["all"]["joints"]:
        cells = [column["joints"][joint] for column in columns]
        rows.append(_joint_row(joint, [(one["rate"], one["count"]) for one in cells]))
    means = [(column["mean"], column["count"]) for column in columns]
    rows.append(_joint_row("Mean", means, ' class="total"'))
    return html_table(f"{head}</tr>", rows)


def _joint_row(name: str, cells: list[tuple], kind: str = "") -> str:
    bars = "".join(_bar(rate, f" <small>({count})</small>") for rate, count in cells)
    return f'<tr{kind}><th scope="row">{html.escape(name)}</th>{bars}</tr>'


def _legend() -> str:
    spans = "".join(f"<span>{_swatch(label)}</span>" for label in LABELS)
    return f'<p class="legend">{spans}</p>'


def _example_rows(examples: list[Example]) -> list[str]:
    rows, task = [], None
    for one in examples:
        if one.task != task:
            if task is not None:
                rows.append("</div>")
            task = one.task
            name = html.escape(TASK_NAMES.get(task, task))
            rows.append(f'<h3>{name}</h3><div class="examples">')
        pictures = (
            figure(one.photo, "input", "jpeg", jpeg)
            + figure(one.truth, "truth", "png", encode_png)
            + figure(one.parsing, "predicted", "png", encode_png)
        )
        text = f"{html.escape(one.name)}, mean IoU {number(one.mean_iou_hole)}"
        rows.append(example(one.place, text, pictures, "pictures"))
    return [*rows, "</div>"] if rows else ["<p>No photo has a label map.</p>"]
