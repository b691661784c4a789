"""Tables of scores: one description for the terminal and for a page; scores as CSV."""

import csv
import dataclasses
import io
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import rich.table
from rich.console import Console
from rich.text import Text

from portrait_tf.evaluation.summary import HIGHER

TASK_NAMES = {
    "square": "Square on the person",
    "strokes": "Wide strokes",
    "lower_third": "Lower third",
    "right_quarter": "Right quarter",
    "all": "All holes together",
    "none": "No hole",
}
DIGITS = {"ssim": 4, "distance": 4, "perceptual": 4, "frechet": 1}
"""Decimals of scores; the others have 2."""


class Cell(NamedTuple):
    """One value of a table.

    Attributes:
        text: The value.
        note: Small print behind it.
        best: Whether it is the best of its column.
        bar: Length of a bar behind the value, 0 to 1; None: no bar.
        color: A color to show before the value, `#rrggbb`.
    """

    text: str
    note: str = ""
    best: bool = False
    bar: float | None = None
    color: str = ""


class Row(NamedTuple):
    """A row of a table: `style` is `total`, `rare` or empty."""

    cells: list[Cell]
    style: str = ""


@dataclasses.dataclass
class Table:
    """A table of scores.

    Attributes:
        title: What stands above it.
        columns: Titles of the columns.
        rows: The rows; the first cell of a row names it.
        groups: Titles over the last columns, and how many columns each title spans.
    """

    title: str
    columns: list[str]
    rows: list[Row] = dataclasses.field(default_factory=list)
    groups: list[tuple[str, int]] = dataclasses.field(default_factory=list)

    @property
    def lead(self) -> int:
        """The number of columns before the groups."""
        return len(self.columns) - sum(span for _, span in self.groups)

    def add(self, *cells: Cell | str, style: str = "") -> None:
        """Appends a row."""
        whole = [one if isinstance(one, Cell) else Cell(one) for one in cells]
        self.rows.append(Row(whole, style))


def number(value: float | None, digits: int = 3, signed: bool = False) -> str:
    """The value with fixed decimals; `-` for None."""
    return "-" if value is None else f"{value:{'+' if signed else ''}.{digits}f}"


def bar(value: float | None, note: str = "") -> Cell:
    """A value from 0 to 1 with a bar of that length."""
    return Cell(number(value), note, bar=value or 0)


def spread(mean: float | None, deviation: float | None, digits: int = 3) -> str:
    """`mean ± deviation`, without a deviation that is None."""
    text = number(mean, digits)
    return text if deviation is None else f"{text} ± {number(deviation, digits)}"


# === Tables of scores ===
def score_table(
    title: str,
    methods: dict[str, dict],
    columns: dict[str, dict],
    reference: str,
    facts: dict[str, dict[str, str]],
) -> Table:
    """Means and, in brackets, medians by method; the best mean of a score is marked.

    Scores that are set against Telea's have a second column for that.

    Args:
        title: Title of the table.
        methods: `TaskSummary.statistics`, with further scores.
        columns: `name` and `better` of each score.
        reference: The method whose row is marked.
        facts: Further columns and their values, by method.
    """
    table = Table(title, ["method"])
    for column in columns.values():
        arrow = "↑" if column["better"] == HIGHER else "↓"
        table.columns.append(f"{column['name']} {arrow}")
        if "by" in column:
            sign = "−" if column["by"] == "difference" else "÷"
            table.columns.append(f"{sign} Telea")
    table.columns += next(iter(facts.values()))
    best = {key: best_first(methods, key, columns)[0] for key in columns}
    for name, method in methods.items():
        cells = []
        for key, column in columns.items():
            one, digits = method[key], DIGITS.get(key, 2)
            text = spread(one["mean"], one.get("seed_deviation"), digits)
            note = number(one["median"], digits) if "median" in one else ""
            cells.append(Cell(text, note, best=best[key] == name))
            if "by" in column:
                ratio = column["by"] == "ratio"
                mean, median = (
                    number(one[f"{kind}_to_telea"], 2 if ratio else digits, not ratio)
                    for kind in ("mean", "median")
                )
                cells.append(Cell(mean, median))
        style = "total" if name == reference else ""
        table.add(name, *cells, *facts[name].values(), style=style)
    return table


def best_first(methods: dict[str, dict], key: str, columns: dict) -> list[str]:
    """The methods by the mean of one score, the best first."""
    better = columns[key]["better"] == HIGHER
    return sorted(methods, key=lambda name: methods[name][key]["mean"], reverse=better)


def pair_table(
    reference: str, pairs: dict[str, dict[str, dict]], titles: dict[str, str]
) -> Table:
    """The reference minus each other method.

    Args:
        reference: Its name.
        pairs: `compare_pair` by the other's name and by column.
        titles: Titles of the columns. A column that is a score has its decimals.
    """
    table = Table(f"{reference} against the others", ["", *titles.values()])
    for name, columns in pairs.items():
        cells = []
        for key in titles:
            one, digits = columns[key], DIGITS.get(key, 2)
            difference, low, high = (
                number(one[part], digits, True)
                for part in ("difference", "low", "high")
            )
            note = f"{low} to {high}, {one['wins']} of {one['photos']}"
            cells.append(Cell(difference, f"{note}, {one['verdict']}"))
        table.add(f"vs {name}", *cells)
    return table


# === Output ===
def print_tables(tables: Iterable[Table], console: Console) -> None:
    """Prints tables; each group of columns becomes a table of its own."""
    for table in tables:
        start = table.lead
        for group, span in table.groups or [("", 0)]:
            shown = [*range(table.lead), *range(start, start + span)]
            start += span
            title = f"{table.title}: {group}" if group else table.title
            _print(table, title, shown, console)


def _print(table: Table, title: str, shown: list[int], console: Console) -> None:
    # No markup: a method or a file may be called anything.
    printed = rich.table.Table()
    for index in shown:
        name = table.columns[index]
        longest = max(map(len, name.split()), default=None)
        printed.add_column(Text(name), overflow="fold", min_width=longest)
    for row in table.rows:
        cells = [row.cells[index] for index in shown]
        texts = [f"{one.text} ({one.note})" if one.note else one.text for one in cells]
        style = {"rare": "dim", "total": "bold"}.get(row.style)
        printed.add_row(*map(Text, texts), style=style)
    # A table's own title would wrap at the table's width.
    console.print(Text(title, style="italic"), soft_wrap=True)
    # Rich would cut what is wider than a pipe's assumed width.
    console.print(printed, crop=console.is_terminal)


def render_csv(rows: Sequence[dict], names: Sequence[str]) -> str:
    """Scores as CSV.

    Args:
        rows: Dicts with the same keys. All values but names are numbers or None, which
            is left empty; `index` is not written.
        names: The keys of names; their columns come first.
    """
    keys = [key for key in rows[0] if key not in (*names, "index")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*names, *keys])
    for row in rows:
        values = ["" if row[key] is None else f"{row[key]:.6g}" for key in keys]
        writer.writerow([*(row[name] for name in names), *values])
    return text.getvalue()
