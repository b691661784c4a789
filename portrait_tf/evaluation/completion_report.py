"""A folder about a chain's completions: numbers by photo, tables and pictures.

```
FOLDER/index.html             the tables, and photos to look at
FOLDER/scores.json            the numbers of the page
FOLDER/photos.csv             a row a photo, task and method
FOLDER/contact_TASK.png       photos spread evenly over the split, not picked
FOLDER/examples_TASK.png      the best, the median and the worst photo
```
"""

import pathlib
from typing import NamedTuple

import numpy as np

from portrait_tf.data.dataset import Reader
from portrait_tf.data.masks import EVALUATION_TASKS
from portrait_tf.evaluation.compare_summary import HIGHER, LOWER, compare_pair
from portrait_tf.evaluation.evaluate import (
    BASELINE,
    DISTANCE,
    OURS,
    Hole,
    Method,
    PhotoScores,
    complete_holes,
    photo_holes,
)
from portrait_tf.evaluation.kernel_distance import PATCH_LAYERS
from portrait_tf.evaluation.page import example_places
from portrait_tf.evaluation.report_folder import (
    PAGE,
    PHOTOS_FILE,
    SCORES_FILE,
    write_folder,
)
from portrait_tf.inference.engines import Engine
from portrait_tf.labels import color_parsing
from portrait_tf.photos.drawing import caption, contact_sheet, label_legend, show_hole

SHEET_PHOTOS = 24
_PICTURE_HEIGHT = 192
_LARGEST_SHEET = 4000
_STRIPS = 2
"""Photos that lie side by side on a contact sheet."""

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
    "hole_texture": "deviation of the true grey levels in the hole",
}
"""What photos are sorted by, to see where a chain fails."""


def score_columns(features: str | None = None) -> dict[str, dict]:
    """Of each score its `name`, which is `better`, and how it is set against Telea's.

    The perceptual distance has `features`, too, what it is named after.

    Args:
        features: What the perceptual distance is named after; None: there is none.
    """
    columns = {
        "psnr_hole": {"name": "hole PSNR (dB)", "better": HIGHER, "by": "difference"},
        "ssim": {"name": "SSIM", "better": HIGHER, "by": "difference"},
        "l1": {"name": "hole L1 (0-255)", "better": LOWER, "by": "ratio"},
    }
    if features:
        columns[DISTANCE] = {
            "name": f"{features} distance",
            "features": features,
            "better": LOWER,
            "by": "ratio",
        }
    return columns


def summarise_photos(
    found: PhotoScores,
    setup: dict,
    features: str | None = None,
    left_out: dict[str, str] | None = None,
) -> dict:
    """The report, plain values for JSON.

    Args:
        found: Of `score_photos`, with Telea's method among the methods.
        setup: Names and values of what was scored.
        features: As in `score_columns`.
        left_out: Why something is missing, by its name.

    Returns:
        * `setup`, `left_out`; `parsing`, `label_groups` and `kernel_distances` of
          `found`;
        * `scores`: `score_columns`;
        * `tasks`: of each task

          * `methods`: of each method `photos`, how many it was scored on, and of each
            score `mean` and `median` over them, and `mean_to_telea` and
            `median_to_telea`: minus, or divided by, the same of Telea's on the same
            photos (None where that is 0);
          * `against`: of each other method `compare_pair` of the hole PSNR, ours minus
            its, on the photos that both have;
          * `groups`: of each key of `GROUPS` the photos in three parts, from low to
            high: `low` and `high` of the key, `photos`, and `difference`, the mean
            hole PSNR of ours minus Telea's. Empty where the key is missing, the same
            for all photos, or there are fewer than three;
          * `examples`: `index` and `photo` of the `best`, `median` and `worst` photo
            by our hole PSNR, and that;
    """
    columns = score_columns(features)
    methods = list(dict.fromkeys(row["method"] for row in found.rows))
    tasks = {}
    for task in EVALUATION_TASKS:
        tables: dict[str, dict[int, dict]] = {name: {} for name in methods}
        for row in found.rows:
            if row["task"] == task:
                tables[row["method"]][row["index"]] = row
        ours, baseline = tables[OURS], tables[BASELINE]
        tasks[task] = {
            "methods": {
                name: {
                    "photos": len(table),
                    **{
                        key: _statistics(table, baseline, key, one["by"])
                        for key, one in columns.items()
                    },
                }
                for name, table in tables.items()
            },
            "against": {
                name: _against(ours, table)
                for name, table in tables.items()
                if name != OURS
            },
            "groups": {key: _groups(ours, baseline, key) for key in GROUPS},
            "examples": _examples(ours),
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


def _statistics(
    table: dict[int, dict], baseline: dict[int, dict], key: str, by: str
) -> dict[str, float | None]:
    values = [row[key] for row in table.values()]
    beside = [baseline[index][key] for index in table]
    result: dict[str, float | None] = {}
    for name, average in (("mean", np.mean), ("median", np.median)):
        value, other = float(average(values)), float(average(beside))
        result[name] = value
        if by == "difference":
            result[f"{name}_to_telea"] = value - other
        else:
            result[f"{name}_to_telea"] = value / other if other else None
    return result


def _against(ours: dict[int, dict], other: dict[int, dict]) -> dict:
    first, second = (
        np.array([[table[index]["psnr_hole"] for index in other]])
        for table in (ours, other)
    )
    return compare_pair(first, second, HIGHER)


def _groups(ours: dict[int, dict], baseline: dict[int, dict], key: str) -> list[dict]:
    known = [row for row in ours.values() if row[key] is not None]
    values = np.array([row[key] for row in known])
    if len(known) < 3 or np.ptp(values) < 1e-9:
        return []
    gains = np.array(
        [row["psnr_hole"] - baseline[row["index"]]["psnr_hole"] for row in known]
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


def _examples(ours: dict[int, dict]) -> dict[str, dict]:
    ranked = sorted(ours.values(), key=lambda row: -row["psnr_hole"])
    return {
        place: {key: ranked[rank][key] for key in ("index", "photo", "psnr_hole")}
        for rank, place in example_places(len(ranked)).items()
    }


def kernel_title(features: str) -> str:
    """What the kernel distance is called, after its features."""
    return f"Kernel distance of patches, {features} {' + '.join(PATCH_LAYERS)}"


def show_deviation(mean: float | None, deviation: float | None) -> str:
    """`mean +- deviation`; the latter is left out where there is none."""
    if mean is None:
        return "-"
    return f"{mean:.3f}" + ("" if deviation is None else f" +- {deviation:.3f}")


def method_name(name: str) -> str:
    """A method as the page and the terminal call it."""
    return METHOD_NAMES.get(name, name)


class Example(NamedTuple):
    """A photo to look at: `pictures` by their titles, RGB `uint8` `[H, W, 3]`."""

    place: str
    photo: str
    psnr_hole: float
    pictures: dict[str, np.ndarray]


def draw_examples(
    engine: Engine,
    reader: Reader,
    size: tuple[int, int],
    seed: int,
    methods: dict[str, Method],
    report: dict,
) -> dict[str, list[Example]]:
    """The best, the median and the worst photo of each task, completed by all methods.

    They are completed once more, so that nothing but numbers is kept of a large data
    set.

    Args:
        engine: As `score_photos` was given it, like the others.
        reader: Likewise.
        size: Likewise.
        seed: Likewise.
        methods: Likewise.
        report: Of `summarise_photos`.
    """
    drawn: dict[str, list[Example]] = {}
    for place, task in enumerate(EVALUATION_TASKS):
        drawn[task] = []
        for name, one in report["tasks"][task]["examples"].items():
            hole = photo_holes(reader, one["index"], size, seed)[place]
            ((completed, parsing),) = complete_holes(engine, [hole])
            pictures = {
                "input": show_hole(hole.photo, hole.mask),
                "predicted map": color_parsing(parsing),
                OURS: completed,
            }
            for other, method in methods.items():
                (picture,) = method([hole])
                if picture is not None:
                    pictures[method_name(other)] = picture
            pictures["truth"] = hole.photo
            drawn[task].append(Example(name, one["photo"], one["psnr_hole"], pictures))
    return drawn


def example_sheet(examples: list[Example]) -> np.ndarray:
    """A row an example, the pictures of all methods beside each other."""
    titles = list(dict.fromkeys(name for one in examples for name in one.pictures))
    blank = np.full_like(examples[0].pictures["truth"], 255)
    rows = []
    for one in examples:
        row = [one.pictures.get(title, blank) for title in titles]
        notes = {"input": one.photo, OURS: f"{one.place}, {one.psnr_hole:.1f} dB"}
        rows.append(
            [_noted(p, notes.get(t, "")) for t, p in zip(titles, row, strict=True)]
        )
    return contact_sheet(rows, titles, _sheet_height(rows, 1))


class ContactSheets:
    """Keeps what an engine made of photos spread evenly over a split.

    Its `seen` is what `score_photos` calls.

    Args:
        total: How many photos are scored.
        wanted: How many of them are kept.
    """

    titles = ("input", "predicted map", OURS, "truth")

    def __init__(self, total: int, wanted: int = SHEET_PHOTOS) -> None:
        chosen = np.linspace(0, total - 1, min(wanted, total))
        self.indices = {int(index) for index in np.round(chosen)}
        self._rows: dict[str, list] = {task: [] for task in EVALUATION_TASKS}

    def seen(
        self, hole: Hole, completed: np.ndarray, parsing: np.ndarray, row: dict
    ) -> None:
        if hole.index not in self.indices:
            return
        score = row["hole_miou"]
        pictures = {
            hole.name: show_hole(hole.photo, hole.mask),
            "" if score is None else f"IoU in hole {score:.2f}": color_parsing(parsing),
            f"{row['psnr_hole']:.1f} dB in hole": completed,
        }
        noted = [_noted(picture, text) for text, picture in pictures.items()]
        self._rows[hole.task].append([*noted, _noted(hole.photo, "")])

    def draw(self) -> dict[str, np.ndarray]:
        """Of each task a sheet, RGB `uint8`, with the labels' colours below."""
        sheets = {}
        for task, rows in self._rows.items():
            strips = min(_STRIPS, len(rows))
            height = -(-len(rows) // strips)
            blank = [np.full_like(picture, 255) for picture in rows[0]]
            rows = rows + [blank] * (strips * height - len(rows))
            joined = [sum(rows[i::height], []) for i in range(height)]
            sheet = contact_sheet(
                joined, self.titles * strips, _sheet_height(joined, len(joined))
            )
            sheets[task] = np.vstack([sheet, label_legend(sheet.shape[1])])
        return sheets


def _noted(picture: np.ndarray, text: str) -> np.ndarray:
    """The picture at the sheets' height, a line of text below it."""
    import cv2

    height, width = picture.shape[:2]
    if height != _PICTURE_HEIGHT:
        width = max(1, round(width * _PICTURE_HEIGHT / height))
        shrinks = height > _PICTURE_HEIGHT
        method = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST_EXACT
        picture = cv2.resize(picture, (width, _PICTURE_HEIGHT), interpolation=method)
    return caption(picture, text[: max(1, width // 7)])


def _sheet_height(rows: list[list[np.ndarray]], count: int) -> int:
    """Of a picture with its text, so that no side of a sheet is too long."""
    height = rows[0][0].shape[0]
    width = max(sum(picture.shape[1] + 6 for picture in row) for row in rows)
    allowed = min(
        _LARGEST_SHEET / max(width, 1), (_LARGEST_SHEET - 200) / (count * (height + 6))
    )
    return max(16, int(height * min(1.0, allowed)))


def write_report(
    folder: pathlib.Path,
    engine: Engine,
    reader: Reader,
    size: tuple[int, int],
    seed: int,
    methods: dict[str, Method],
    found: PhotoScores,
    sheets: ContactSheets,
    setup: dict,
    features: str | None = None,
    left_out: dict[str, str] | None = None,
) -> dict:
    """Draws the examples, and writes the folder.

    Args:
        folder: Where; an old report there is replaced.
        engine: As `score_photos` was given it, as are `reader`, `size`, `seed` and
            `methods`.
        reader: See `engine`.
        size: See `engine`.
        seed: See `engine`.
        methods: See `engine`.
        found: What `score_photos` returned.
        sheets: Whose `seen` it was given.
        setup: As in `summarise_photos`, like the rest.
        features: See `setup`.
        left_out: See `setup`.

    Returns:
        The report, as `scores.json` has it.

    Raises:
        PortraitError: As `write_folder`.
    """
    from portrait_tf.evaluation.completion_page import (
        render_csv,
        render_json,
        render_page,
    )
    from portrait_tf.photos import encode_png

    setup = setup | {"contact_sheet_photos": len(sheets.indices)}
    report = summarise_photos(found, setup, features, left_out)
    examples = draw_examples(engine, reader, size, seed, methods, report)
    files = {
        PAGE: render_page(report, examples),
        SCORES_FILE: render_json(report),
        PHOTOS_FILE: render_csv(found.rows),
    }
    for task, sheet in sheets.draw().items():
        files[f"contact_{task}.png"] = encode_png(sheet)
    for task, some in examples.items():
        files[f"examples_{task}.png"] = encode_png(example_sheet(some))
    write_folder(folder, files)
    return report
