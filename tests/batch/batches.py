"""Manifests and photos for batches, and what a run leaves behind."""

import csv
import hashlib
import json
import pathlib

import cv2
import numpy as np
from command_line import run
from PIL import Image

from portrait_tf.data.synthetic import synthesize


def write_photos(folder, count=6):
    """Portraits as JPEG, PNG (8 and 16 bits, alpha), TIFF and WebP; gives the rows.

    They are in `photos` and its sub-folder, masks of the upright photos likewise in
    `masks`. The first is stored turned, the second is large.
    """
    rows = []
    (folder / "photos" / "sub").mkdir(parents=True)
    (folder / "masks" / "sub").mkdir(parents=True)
    for index in range(count):
        size = (150, 100) if index % 6 == 1 else (40 + index % 5, 30 + index % 3)
        pixels = synthesize(index % 4, (64, 64)).photo
        pixels = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA)
        photo, options = Image.fromarray(pixels), {}
        kind = index % 6
        extension = (".jpg", ".png", ".tif", ".webp", ".png", ".png")[kind]
        if kind == 0:
            exif = Image.Exif()
            exif[0x0112], exif[0x010F] = 6, "a camera's maker"
            photo, options = photo.rotate(90, expand=True), {"exif": exif}
        if kind == 4:
            photo.putalpha(200)
        if kind == 5:
            photo = Image.fromarray(np.asarray(photo.convert("L"), np.uint16) * 250)
        mask = np.zeros(size, np.uint8)
        mask[size[0] // 3 : size[0] // 2, size[1] // 4 : size[1] // 2] = 255
        name = f"sub/{index:03}{extension}" if index % 2 else f"{index:03}{extension}"
        photo.save(folder / "photos" / name, **options)
        mask_name = pathlib.PurePosixPath(name).with_suffix(".bmp")
        Image.fromarray(mask).save(folder / "masks" / mask_name)
        rows.append({"photo": name, "mask": f"../masks/{mask_name}"})
    return rows


def write_csv(path, rows, columns=None):
    columns = columns or list(dict.fromkeys(key for row in rows for key in row))
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def batch(folder, out, *arguments, manifest="manifest.csv"):
    """A run on what `write_photos` and `write_csv` have written."""
    root = ("--root", folder / "photos")
    return run("batch", folder / manifest, "-o", out, *root, *arguments)


def complete_folder(folder, out, *arguments):
    """What the command line makes of the same photos."""
    masks = ("--mask", folder / "masks")
    return run("complete", folder / "photos", *masks, "-o", out, *arguments)


def pictures(out):
    """The digest of each file but the tables, by name."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and "_batch" not in path.parts
    }


def everything(out):
    """Names, contents and times of all files, hidden ones and tables included."""
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def table(out, kind, run=None):
    """The lines of a table, of one run or of all."""
    number = "*" if run is None else f"{run:04}"
    return [
        json.loads(line)
        for path in sorted((out / "_batch").glob(f"run-{number}-*-{kind}-*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def counts(output):
    """What a command has printed of: completed, skipped, failed, failed before."""
    numbers = []
    for words in ("completed", "skipped, as", "failed  ", "failed before"):
        line = next(line for line in output.splitlines() if words in line)
        numbers.append(int(line.split("│")[-2].strip().replace(",", "")))
    return tuple(numbers)
