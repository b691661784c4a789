"""What a data set holds, in numbers and in a picture."""

from collections.abc import Iterable

import numpy as np

from portrait_tf.data.augment import prepare
from portrait_tf.data.reader import DatasetReader, Progress
from portrait_tf.data.sample import Sample
from portrait_tf.errors import PortraitError
from portrait_tf.labels import LABELS, NUM_LABELS, VOID_LABEL
from portrait_tf.photos.drawing import (
    caption,
    contact_sheet,
    draw_joints,
    label_legend,
    overlay_parsing,
)

_HEIGHT = 192
_LEAST_WIDTH = 100  # a name needs room
_IN_A_ROW = 3


def _range(values: list[int]) -> dict[str, float]:
    return {
        "min": int(min(values)),
        "median": float(np.median(values)),
        "max": int(max(values)),
    }


def describe(reader: DatasetReader, progress: Progress | None = None) -> dict:
    """Reads a split of a data set and says what is in it.

    Args:
        reader: The split.
        progress: As in `DatasetReader.summaries`.

    Returns:
        `layout`, `photos` (readable ones), `height` and `width` (`min`, `median`,
        `max` in pixels), `labels` (of each label's name: `pixels`, the per cent of the
        annotated ones, and `photos`, how many show it), `void_pixels` (per cent of all
        in the label maps), `missing_poses`, `missing_parsing`, `left_out` (by the
        reader's own rule), and `broken` (name and message). Plain values, fit for JSON.
    """
    summaries = reader.summaries(progress)
    good = [one for one in summaries if one.error is None]
    maps = np.array(
        [one.pixels for one in good if one.pixels is not None], np.int64
    ).reshape(-1, VOID_LABEL + 1)
    pixels = maps.sum(axis=0)
    annotated = max(1, int(pixels[:NUM_LABELS].sum()))
    return {
        "layout": reader.layout,
        "photos": len(good),
        "height": _range([one.size[0] for one in good]) if good else None,
        "width": _range([one.size[1] for one in good]) if good else None,
        "labels": {
            label: {
                "pixels": 100 * int(pixels[index]) / annotated,
                "photos": int(np.count_nonzero(maps[:, index])),
            }
            for index, label in enumerate(LABELS)
        },
        "void_pixels": 100 * int(pixels[VOID_LABEL]) / max(1, int(pixels.sum())),
        "missing_poses": sum(not one.has_joints for one in good),
        "missing_parsing": sum(one.pixels is None for one in good),
        "left_out": reader.left_out,
        "broken": {one.name: one.error for one in summaries if one.error},
    }


def _pick(readers: Iterable[DatasetReader], count: int) -> list[Sample]:
    """Readable samples, evenly from all splits; the next one for a broken one."""
    places = [(reader, index) for reader in readers for index in range(len(reader))]
    bounds = np.linspace(0, len(places), min(count, len(places)) + 1).astype(int)
    picked = []
    for first, stop in zip(bounds[:-1], bounds[1:], strict=True):
        for reader, index in places[first:stop]:
            try:
                picked.append(reader[index])
                break
            except PortraitError:
                continue
    return picked


def _show(sample: Sample) -> list[np.ndarray]:
    height, width = sample.photo.shape[:2]
    # Panoramas are shown small, as a column has one width.
    scale = min(_HEIGHT / height, 1.5 * _HEIGHT / width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    shown = prepare(sample, size)
    photo = shown["image"]
    drawn = photo
    if sample.parsing is not None:
        drawn = overlay_parsing(photo, shown["parsing"])
    drawn = draw_joints(drawn, shown["joints"])
    missing = [
        what
        for what, there in (("map", sample.parsing), ("pose", sample.joints))
        if there is None
    ]
    return [
        caption(_pad(photo), sample.name),
        caption(_pad(drawn), f"no {' and no '.join(missing)}" if missing else ""),
    ]


def _pad(picture: np.ndarray) -> np.ndarray:
    below = _HEIGHT - picture.shape[0]
    right = max(0, _LEAST_WIDTH - picture.shape[1])
    return np.pad(picture, ((0, below), (0, right), (0, 0)), constant_values=255)


def sample_sheet(
    readers: Iterable[DatasetReader], count: int = 12
) -> np.ndarray | None:
    """Draws some samples: photo, label map and skeleton, and what the colors mean.

    Args:
        readers: The splits.
        count: How many samples, at most.

    Returns:
        RGB `uint8`; None if no sample can be read.
    """
    cells = [_show(sample) for sample in _pick(readers, count)]
    if not cells:
        return None
    columns = min(_IN_A_ROW, len(cells))
    blank = [np.full((_HEIGHT, 1, 3), 255, np.uint8)] * 2
    cells += [blank] * (-len(cells) % columns)
    rows = [
        sum(cells[first : first + columns], [])
        for first in range(0, len(cells), columns)
    ]
    sheet = contact_sheet(
        rows, ["photo", "labels and pose"] * columns, max(map(len, rows[0]))
    )
    return np.vstack([sheet, label_legend(sheet.shape[1])])
