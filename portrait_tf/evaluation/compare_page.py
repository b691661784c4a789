"""A comparison for people: tables on a terminal, CSV, and a page that stands alone."""

import csv
import html
import io

from rich.console import Console
from rich.table import Table

from portrait_tf.evaluation.compare_summary import ALL_TASKS, RESAMPLES
from portrait_tf.evaluation.page import (
    TASK_NAMES,
    completed_example,
    html_table,
    page,
    setup_line,
)
from portrait_tf.photos.drawing import show_hole

_DIGITS = {"psnr_hole": 2, "ssim": 4, "l1": 2, "perceptual": 4, "frechet": 1}
_SECONDS = "seconds"
_ARROWS = {"higher": "&uarr;", "lower": "&darr;"}


def _show(key: str, value: float | None) -> str:
    return "-" if value is None else f"{value:.{_DIGITS[key]}f}"


def _show_seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _signed(key: str, value: float) -> str:
    return f"{value:+.{_DIGITS[key]}f}"


def pair_line(report: dict, name: str, task: str = ALL_TASKS) -> str:
    """One line: how the reference does against another method."""
    parts = []
    for key, one in report["pairs"][name][task].items():
        title = report["scores"][key]["name"]
        interval = f"{_signed(key, one['low'])} to {_signed(key, one['high'])}"
        parts.append(
            f"{title} {_signed(key, one['difference'])} ({interval}), "
            f"{one['wins']}/{one['photos']} photos: {one['verdict']}"
        )
    return f"{report['setup']['reference']} vs {name}: {'; '.join(parts)}"


def print_report(report: dict, console: Console) -> None:
    """Prints means by task and method, the orders, and a line a pair.

    Args:
        report: Of `summarise`.
        console: Where to.
    """
    columns = report["scores"]
    for task in report["order"]:
        table = Table(
            "method",
            *(one["name"] for one in columns.values()),
            _SECONDS,
            title=TASK_NAMES.get(task, task),
            title_justify="left",
        )
        for name, method in report["methods"].items():
            scores = method["tasks"][task]
            table.add_row(
                name,
                *(_show(key, scores[key]["mean"]) for key in columns),
                _show_seconds(method["seconds"]),
            )
        console.print(table)
    for key, names in report["order"][ALL_TASKS].items():
        # No markup: a method may be called anything.
        line = f"{columns[key]['name']}: {' > '.join(names)}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for name in report["pairs"]:
        console.print(
            pair_line(report, name), markup=False, highlight=False, soft_wrap=True
        )
    for name, reason in report["left_out"].items():
        console.print(
            f"left out: {name}: {reason}", markup=False, highlight=False, soft_wrap=True
        )


def render_csv(results: dict[str, dict]) -> str:
    """A row a method, seed, task and photo.

    Args:
        results: Of each method and seed what `score_method` returned.
    """
    first = next(iter(next(iter(results.values())).values()))["rows"][0]
    keys = [key for key in first if key not in ("task", "photo")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "seed", "task", "photo", *keys])
    for name, runs in results.items():
        for seed, one in runs.items():
            for row in one["rows"]:
                values = [f"{row[key]:.6g}" for key in keys]
                writer.writerow([name, seed, row["task"], row["photo"], *values])
    return text.getvalue()


def render_page(report: dict, examples: list) -> str:
    """A page that needs no other file and no network.

    Args:
        report: Of `summarise`.
        examples: Of `draw_examples`.
    """
    reference = html.escape(report["setup"]["reference"])
    missing = "".join(
        f"<li><b>{html.escape(name)}</b>: {html.escape(reason)}</li>"
        for name, reason in report["left_out"].items()
    )
    columns = report["scores"]
    setup = {
        key: value
        for key, value in report["setup"].items()
        if key != "same_features_in_training"
    }
    tables = "".join(
        f"<h3>{html.escape(TASK_NAMES.get(task, task))}</h3>{_task_table(report, task)}"
        for task in (ALL_TASKS, *(t for t in report["order"] if t != ALL_TASKS))
    )
    body = f"""<p class="setup">{setup_line(setup)}</p>
<h2>Scores</h2>
<p>Means over photos, in brackets medians; the best of each column is bold.</p>
{tables}
{f"<h2>Left out</h2><ul>{missing}</ul>" if missing else ""}
<h2>Order</h2>
{_order_table(report)}
<h2>{reference} against the others</h2>
<p>Over all tasks, a photo's scores averaged over them: {reference} minus the other,
in brackets the 95 % interval of the mean (paired bootstrap over photos, {RESAMPLES}
draws), and on how many photos {reference} is ahead. <b>Open</b>: the interval holds 0.
It says what other photos would change, not what another training would; no correction
is made for the number of pairs.</p>
{_pair_table(report, ALL_TASKS)}
<h2>Photos to look at</h2>
<p>Of each task the best, the median and the worst photo of {reference}, by its PSNR in
the hole.</p>
{"".join(_example_rows(examples, report))}
<h2>What the numbers are</h2>
{_explanation(report, columns)}"""
    return page("Ways to complete, compared", body)


def _task_table(report: dict, task: str) -> str:
    columns = report["scores"]
    head = "<tr><th>method</th>" + "".join(
        f"<th>{html.escape(one['name'])} {_ARROWS[one['better']]}</th>"
        for one in columns.values()
    )
    head += f"<th>map</th><th>{_SECONDS}</th></tr>"
    rows = []
    for name, method in report["methods"].items():
        cells = "".join(
            _cell(
                key, method["tasks"][task][key], name == report["order"][task][key][0]
            )
            for key in columns
        )
        kind = ' class="total"' if name == report["setup"]["reference"] else ""
        rows.append(
            f'<tr{kind}><th scope="row">{html.escape(name)}</th>{cells}'
            f"<td>{method['parsing'] or '-'}</td>"
            f"<td>{_show_seconds(method['seconds'])}</td></tr>"
        )
    return html_table(head, rows)


def _cell(key: str, one: dict, best: bool) -> str:
    text = _show(key, one["mean"])
    if one["seed_deviation"] is not None:
        text += f" &plusmn; {_show(key, one['seed_deviation'])}"
    text = f"<b>{text}</b>" if best else text
    if "median" in one:
        text += f" <small>({_show(key, one['median'])})</small>"
    return f"<td>{text}</td>"


def _order_table(report: dict) -> str:
    rows = []
    for task, scores in report["order"].items():
        for key, names in scores.items():
            title = f"{TASK_NAMES.get(task, task)}: {report['scores'][key]['name']}"
            order = " &gt; ".join(map(html.escape, names))
            rows.append(
                f'<tr><th scope="row">{html.escape(title)}</th><td>{order}</td></tr>'
            )
    return html_table("<tr><th>score</th><th>best first</th></tr>", rows)


def _pair_table(report: dict, task: str) -> str:
    columns = [key for key in report["scores"] if key != "frechet"]
    head = "<tr><th></th>" + "".join(
        f"<th>{html.escape(report['scores'][key]['name'])}</th>" for key in columns
    )
    rows = []
    for name, tasks in report["pairs"].items():
        cells = []
        for key in columns:
            one = tasks[task][key]
            cells.append(
                f"<td>{_signed(key, one['difference'])} <small>("
                f"{_signed(key, one['low'])} to {_signed(key, one['high'])}), "
                f"{one['wins']}/{one['photos']}</small> "
                f"<b>{one['verdict']}</b></td>"
            )
        rows.append(
            f'<tr><th scope="row">vs {html.escape(name)}</th>{"".join(cells)}</tr>'
        )
    return html_table(f"{head}</tr>", rows)


def _example_rows(examples: list, report: dict) -> list[str]:
    rows, task = [], None
    for case, place, completed in examples:
        if case.task != task:
            task = case.task
            rows.append(f"<h3>{html.escape(TASK_NAMES.get(task, task))}</h3>")
        score = next(
            one["psnr_hole"]
            for one in report["ranked"][task]
            if one["index"] == case.index
        )
        pictures = {
            "input": show_hole(case.photo, case.mask),
            **completed,
            "truth": case.photo,
        }
        rows.append(completed_example(place, case.name, score, pictures))
    return rows


def _explanation(report: dict, columns: dict) -> str:
    lines = [
        "Known pixels are those of the photo for every method. <b>Hole PSNR</b> and "
        "<b>hole L1</b> (grey levels) look at the hole alone, <b>SSIM</b> at the whole "
        "photo. All three favour a blurred guess over a sharp one that is somewhere "
        "else."
    ]
    if "perceptual" in columns:
        lines.append(
            f"<b>{html.escape(columns['perceptual']['name'])}</b> is the mean squared "
            "difference of VGG features of unit length, as LPIPS has it, but with "
            "these weights and without LPIPS' learned ones: it is not LPIPS. "
            f"<b>{html.escape(columns['frechet']['name'])}</b> compares mean and "
            "covariance of that layer's average over completed and true photos: it is "
            "not FID, and with as few photos as channels it is too large, for all "
            "methods alike."
        )
    if same := report["setup"]["same_features_in_training"]:
        lines.append(
            "The loss of " + ", ".join(map(html.escape, same)) + " compares features "
            "of the same weights file: the last two scores favour what is trained so."
        )
    lines.append(
        "<b>Map</b>: what a network is given at evaluation, stage 1's prediction, the "
        "true map (a bound that no user can reach), or none. <b>Seconds</b>: the "
        "median of one photo on the machine that made this page, methods taking turns."
    )
    return "".join(f"<p>{line}</p>" for line in lines)
