"""Draws columns of a run's `log.csv` over its steps.

    python -m benchmarks.plot_curves RUN/parsing --out curve.png val_miou val_miou_hole

Needs matplotlib (extra `demo`).
"""

import argparse
import csv
import pathlib

from portrait_tf.files import temporary_beside
from portrait_tf.runs.folder import run_config


def read_curves(stage_folder: pathlib.Path, columns: list[str]) -> dict[str, list]:
    """Steps and columns of a stage's `log.csv`, a value an epoch.

    Args:
        stage_folder: `RUN/parsing` or `RUN/completion`.
        columns: Names in the file's first line.
    """
    config = run_config(stage_folder.parent, stage_folder.name)
    epoch = getattr(config, stage_folder.name).training.steps_per_epoch
    # An epoch that was broken off and gone on with has more rows: the last one counts.
    with open(stage_folder / "log.csv", newline="") as file:
        rows = {int(row["epoch"]): row for row in csv.DictReader(file)}
    if missing := [name for name in columns if name not in next(iter(rows.values()))]:
        raise SystemExit(f"{stage_folder / 'log.csv'} has no column {missing[0]!r}")
    curves = {"step": [(number + 1) * epoch for number in rows]}
    return curves | {
        name: [float(row[name]) for row in rows.values()] for name in columns
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stage_folder", type=pathlib.Path)
    parser.add_argument("columns", nargs="+")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args(arguments)
    curves = read_curves(options.stage_folder, options.columns)

    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3.5), layout="constrained")
    steps = curves.pop("step")
    for name, values in curves.items():
        axes.plot(steps, values, marker="o", label=name)
    axes.set_xlabel("step")
    axes.grid(alpha=0.3)
    axes.legend()
    temporary = temporary_beside(options.out)
    figure.savefig(temporary, dpi=120, format="png")
    temporary.rename(options.out)


if __name__ == "__main__":
    main()
