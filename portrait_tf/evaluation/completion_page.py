"""The report on completions for people: a page, and a row a photo as CSV."""

import csv
import html
import io
import json

from portrait_tf.evaluation.compare_summary import RESAMPLES
from portrait_tf.evaluation.completion_report import (
    BASELINE,
    GROUPS,
    Example,
    kernel_title,
    method_name,
    show_deviation,
)
from portrait_tf.evaluation.evaluate import GROUP_PHOTOS, OURS
from portrait_tf.evaluation.kernel_distance import SUBSET_PATCHES, SUBSETS
from portrait_tf.evaluation.page import (
    TASK_NAMES,
    completed_example,
    html_table,
    number,
    page,
    setup_line,
)

_DIGITS = {"psnr_hole": 2, "ssim": 4, "l1": 2, "distance": 4}
_ARROWS = {"higher": "&uarr;", "lower": "&darr;"}
_ROWS = ("photo", "task", "method")
_PARSING = {
    "miou": "mean IoU",
    "miou_hole": "mean IoU in the hole",
    "pixel_accuracy": "pixel accuracy",
    "pckh": "PCKh@0.5",
}


def render_csv(rows: list[dict]) -> str:
    """A row a photo, task and method; empty where there is no label map.

    Args:
        rows: Of `score_photos`.
    """
    keys = [key for key in rows[0] if key not in (*_ROWS, "index")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_ROWS, *keys])
    for row in rows:
        values = ["" if row[key] is None else f"{row[key]:.6g}" for key in keys]
        writer.writerow([*(row[key] for key in _ROWS), *values])
    return text.getvalue()


def render_json(report: dict) -> str:
    """`summarise_photos`' report."""
    return json.dumps(report, indent=1, allow_nan=False)


def render_page(report: dict, examples: dict[str, list[Example]]) -> str:
    """The page; but for the contact sheets beside it, it needs no other file.

    Args:
        report: Of `summarise_photos`.
        examples: Of `draw_examples`.
    """
    tiles, sections = [], []
    for task, one in report["tasks"].items():
        name = html.escape(TASK_NAMES.get(task, task))
        gain = one["against"][BASELINE]
        tiles.append(
            f'<div class="tile"><b>{gain["difference"]:+.2f} dB</b>{name}: mean hole '
            f"PSNR, ours minus Telea ({_interval(gain)})</div>"
        )
        rows = "".join(completed_example(*one) for one in examples[task])
        sections.append((name, task, one, rows))
    missing = "".join(
        f"<li><b>{html.escape(name)}</b>: {html.escape(reason)}</li>"
        for name, reason in report["left_out"].items()
    )
    tables = "".join(
        f"<h3>{name}</h3>{_score_table(report, one)}" for name, _, one, _ in sections
    )
    pictures = "".join(f"<h3>{name}</h3>{rows}" for name, _, _, rows in sections)
    sheets = "".join(
        f'<h3>{name}</h3><p><a href="contact_{task}.png"><img src="contact_{task}.png" '
        f'alt="Contact sheet: {name}" loading="lazy"></a></p>'
        for name, task, _, _ in sections
    )
    scored = report["setup"]["contact_sheet_photos"]
    body = f"""<p class="setup">{setup_line(report["setup"])}</p>
<div class="tiles">{"".join(tiles)}</div>
<h2>Scores</h2>
<p>Mean and median over photos, and each beside Telea's on the same photos: PSNR and
SSIM minus it, the others divided by it.</p>
{tables}
{_kernel_section(report)}
{f"<h2>Left out</h2><ul>{missing}</ul>" if missing else ""}
<h2>How sure</h2>
<p>Mean hole PSNR of ours minus that of the other, in dB, with the 95 % interval that
other photos of the same kind would give (paired bootstrap over photos, {RESAMPLES}
draws), and on how many photos ours is ahead. It does not say what another training
would change.</p>
{_pair_table(report)}
<h2>Where it fails</h2>
<p>Mean hole PSNR of ours minus Telea's, in dB, for three parts of the photos, sorted by
what the row says; below, from where to where the part goes, and how many photos it
has. A row of dashes has no parts: all values are equal or unknown, or there are fewer
than three photos.</p>
{_group_table(report)}
<h2>Label maps and poses</h2>
{_parsing_table(report["parsing"])}
<p>IoU in the hole, all photos together, of groups of labels, and of the silhouette: the
person against the background. The mean leaves out groups (small print) that fewer than
{GROUP_PHOTOS} photos have in the hole.</p>
{_label_group_table(report["label_groups"])}
<h2>Photos to look at</h2>
<p>Of each task the best, the median and the worst photo by our hole PSNR.</p>
{pictures}
<h2>Contact sheets</h2>
<p>{scored} photos, spread evenly over those scored, not picked; the same ones for every
task.</p>
{sheets}
<h2>What the numbers are</h2>
{_explanation(report)}"""
    return page("Completion: scores and pictures", body)


def _interval(one: dict) -> str:
    return f"95 %: {one['low']:+.2f} to {one['high']:+.2f}"


def _score_table(report: dict, task: dict) -> str:
    columns = report["scores"]
    head = "<tr><th></th><th></th>" + "".join(
        f'<th colspan="4" class="group">{html.escape(one["name"])} '
        f"{_ARROWS[one['better']]}</th>"
        for one in columns.values()
    )
    head += "</tr><tr><th>method</th><th>photos</th>"
    for one in columns.values():
        sign = "&minus;" if one["by"] == "difference" else "&divide;"
        head += (
            f"<th>mean</th><th>{sign} Telea</th><th>median</th><th>{sign} Telea</th>"
        )
    rows = []
    for name, method in task["methods"].items():
        cells = ""
        for key, column in columns.items():
            for average in ("mean", "median"):
                against = method[key][f"{average}_to_telea"]
                cells += f"<td>{method[key][average]:.{_DIGITS[key]}f}</td>"
                cells += f"<td><small>{_to_baseline(key, column, against)}</small></td>"
        kind = ' class="total"' if name == OURS else ""
        rows.append(
            f'<tr{kind}><th scope="row">{html.escape(method_name(name))}</th>'
            f"<td>{method['photos']}</td>{cells}</tr>"
        )
    return html_table(f"{head}</tr>", rows)


def _to_baseline(key: str, column: dict, value: float | None) -> str:
    if value is None:
        return "-"
    if column["by"] == "ratio":
        return f"{value:.2f}"
    return f"{value:+.{_DIGITS[key]}f}"


def _pair_table(report: dict) -> str:
    tasks = report["tasks"]
    head = "<tr><th></th>" + "".join(
        f"<th>{html.escape(TASK_NAMES.get(task, task))}</th>" for task in tasks
    )
    names = dict.fromkeys(name for one in tasks.values() for name in one["against"])
    rows = []
    for name in names:
        cells = ""
        for one in tasks.values():
            pair = one["against"][name]
            cells += (
                f"<td>{pair['difference']:+.2f} <small>({pair['low']:+.2f} to "
                f"{pair['high']:+.2f}), {pair['wins']}/{pair['photos']}</small></td>"
            )
        rows.append(
            f'<tr><th scope="row">vs {html.escape(method_name(name))}</th>{cells}</tr>'
        )
    return html_table(f"{head}</tr>", rows)


def _group_table(report: dict) -> str:
    head = "<tr><th>task, and what photos are sorted by</th>" + "".join(
        f"<th>{third}</th>" for third in ("lowest third", "middle", "highest third")
    )
    rows = []
    for task, one in report["tasks"].items():
        for key, title in GROUPS.items():
            groups = one["groups"][key]
            cells = "".join(
                f"<td>{group['difference']:+.2f} <small>({group['low']:.3g} to "
                f"{group['high']:.3g}; {group['photos']})</small></td>"
                for group in groups
            )
            name = f"{TASK_NAMES.get(task, task)}: {title}"
            rows.append(
                f'<tr><th scope="row">{html.escape(name)}</th>'
                f"{cells or '<td>-</td>' * 3}</tr>"
            )
    return html_table(f"{head}</tr>", rows)


def _parsing_table(parsing: dict) -> str:
    head = "<tr><th>all holes together</th>" + "".join(
        f"<th>{title}</th>" for title in _PARSING.values()
    )
    cells = "".join(f"<td>{number(parsing[key])}</td>" for key in _PARSING)
    return html_table(f"{head}</tr>", [f'<tr><th scope="row">ours</th>{cells}</tr>'])


def _label_group_table(tasks: dict[str, dict]) -> str:
    groups = next(iter(tasks.values()))["groups"]
    head = "<tr><th></th>" + "".join(
        f"<th>{name}</th>" for name in (*groups, "mean", "silhouette")
    )
    rows = []
    for task, one in tasks.items():
        cells = "".join(
            f"<td>{number(value)}</td>"
            if one["photos"][name] >= GROUP_PHOTOS
            else f"<td><small>{number(value)}</small></td>"
            for name, value in one["groups"].items()
        )
        cells += "".join(f"<td>{number(one[k])}</td>" for k in ("mean", "silhouette"))
        name = html.escape(TASK_NAMES.get(task, task))
        rows.append(f'<tr><th scope="row">{name}</th>{cells}</tr>')
    return html_table(f"{head}</tr>", rows)


def _kernel_section(report: dict) -> str:
    """Nothing without features."""
    tasks = report["kernel_distances"]
    if not tasks:
        return ""
    head = "<tr><th>method</th>" + "".join(
        f'<th colspan="2" class="group">{html.escape(TASK_NAMES.get(task, task))}</th>'
        for task in tasks
    )
    head += "</tr><tr><th></th>" + "<th>mean</th><th>&divide; Telea</th>" * len(tasks)
    names = dict.fromkeys(name for methods in tasks.values() for name in methods)
    rows = []
    for name in names:
        cells = ""
        for methods in tasks.values():
            one = methods.get(name, {"mean": None, "std": None, "to_telea": None})
            beside = "-" if one["to_telea"] is None else f"{one['to_telea']:.2f}"
            cells += f"<td>{show_deviation(one['mean'], one['std'])}</td>"
            cells += f"<td><small>{beside}</small></td>"
        kind = ' class="total"' if name == OURS else ""
        rows.append(
            f'<tr{kind}><th scope="row">{html.escape(method_name(name))}</th>{cells}'
            "</tr>"
        )
    title = html.escape(kernel_title(report["scores"]["distance"]["features"]))
    return f"""<h3>{title} &darr;</h3>
<p>Squared maximum mean discrepancy of true and painted patches of the holes, by KID's
kernel: whether what was painted looks like what is in such holes. 0 is what equal sets
have in the mean, so it may be negative. Mean +- standard deviation over {SUBSETS}
subsets of {SUBSET_PATCHES} patches. It is not KID, for the features are others.</p>
{html_table(f"{head}</tr>", rows)}"""


def _explanation(report: dict) -> str:
    lines = [
        "Known pixels are those of the photo for every method. <b>Hole PSNR</b> and "
        "<b>hole L1</b> (grey levels) look at the hole alone, <b>SSIM</b> at the whole "
        "photo. All three favour a blurred guess over a sharp one that is somewhere "
        "else.",
        "<b>Ours, true map</b> is given the photo's own label map, which no user has "
        "of what is missing: a bound. <b>Ours, without parsing</b> is a network that "
        "was trained without one.",
    ]
    if "distance" in report["scores"]:
        lines.append(
            f"<b>{html.escape(report['scores']['distance']['name'])}</b> is the mean "
            "squared difference of VGG features of unit length, as LPIPS has it, but "
            "with these weights and without LPIPS' learned ones: it is not LPIPS. "
            "Weights that were trained with the same features do better by it."
        )
    return "".join(f"<p>{line}</p>" for line in lines)
