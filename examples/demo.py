"""The main job from end to end, as `make demo` runs it.

Exports the bundled weights, serves them, completes and extrapolates portraits over
gRPC, trains both stages for a few minutes on synthetic portraits, and writes a page
with what came out.
"""

import argparse
import contextlib
import csv
import html
import json
import pathlib
import re
import shutil
import subprocess
import sys
import time

import cv2
import matplotlib
import numpy as np
import skimage.data

from portrait_tf.data.masks import body_part_mask, border_mask, stroke_mask
from portrait_tf.data.synthetic import synthesize
from portrait_tf.inference.extrapolation import Margins, extend_photo
from portrait_tf.labels import color_parsing
from portrait_tf.photos import write_png
from portrait_tf.photos.drawing import contact_sheet, show_hole
from portrait_tf.startup import load_tensorflow
from serving.client import PortraitClient

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROOT = pathlib.Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "portrait_tf"]


def run(*arguments: object) -> None:
    """Runs a command of the command line, and shows it."""
    print("\n$ portrait-tf", *arguments, flush=True)
    subprocess.run([*COMMAND, *map(str, arguments)], check=True)


@contextlib.contextmanager
def served(models: pathlib.Path):  # noqa: ANN201
    """Runs `portrait-tf serve` on free ports; gives the gRPC address."""
    print("\n$ portrait-tf serve", models, flush=True)
    with subprocess.Popen(
        [*COMMAND, "serve", str(models), "--port", "0", "--rest_api_port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            line = server.stdout.readline()
            address = re.search(r"gRPC (\S+:\d+)", line)
            if not address:
                raise SystemExit(f"the server did not start: {line!r}")
            print(line, end="", flush=True)
            yield address.group(1)
        finally:
            server.terminate()
            server.wait(30)


def cases() -> list[tuple]:
    """Name, photo, mask, and the truth where there is one."""
    found = []
    for seed, kind in (
        (3, "square"), (7, "part"), (203, "strokes"), (209, "feet"), (52, "side"),
    ):  # fmt: skip
        sample = synthesize(seed)
        photo, size = sample.photo, sample.photo.shape[:2]
        rng = np.random.default_rng([seed, 1])
        if kind == "square":
            mask = np.zeros(size, np.uint8)
            mask[150:310, 90:250] = 255
        elif kind == "part":
            mask = body_part_mask(rng, size, sample.parsing, 0.03)
        elif kind == "strokes":
            mask = stroke_mask(rng, size, (3, 4), (0.12, 0.18), (0.4, 0.8))
        else:
            sides = {"bottom": 1 / 3} if kind == "feet" else {"right": 1 / 4}
            mask = border_mask(size, **sides)
        found.append((f"synthetic {seed}: {kind}", photo, mask, photo))
    astronaut = skimage.data.astronaut()
    mask = np.zeros(astronaut.shape[:2], np.uint8)
    cv2.ellipse(mask, (330, 330), (70, 90), 20, 0, 360, 255, -1)
    found.append(("astronaut: occluder", astronaut, mask, astronaut))
    mask = stroke_mask(
        np.random.default_rng(4), mask.shape, (3, 4), (0.02, 0.03), (0.5, 0.9)
    )
    found.append(("astronaut: scratches", astronaut, mask, astronaut))
    canvas, mask = extend_photo(
        astronaut, Margins.from_fractions(astronaut.shape[:2], bottom=0.5)
    )
    found.append(("astronaut: extended", canvas, mask, None))
    return found


def complete_all(out: pathlib.Path, address: str) -> list[str]:
    """Completes every case over gRPC; writes the contact sheet, returns the times."""
    rows, lines = [], []
    with PortraitClient(address) as client:
        client.wait_until_available()
        for name, photo, mask, truth in cases():
            start = time.perf_counter()
            result = client.complete(photo, mask)
            lines.append(f"{name}: {time.perf_counter() - start:.2f} s")
            if not np.array_equal(result.completed[mask == 0], photo[mask == 0]):
                raise SystemExit(f"{name}: known pixels were changed")
            row = [show_hole(photo, mask), mask, color_parsing(result.parsing)]
            truth = np.full_like(photo, 255) if truth is None else truth
            rows.append([*row, result.completed, truth])
            print(lines[-1], flush=True)
    titles = ["input", "mask", "parsing", "output", "truth"]
    write_png(out / "contact_sheet.png", contact_sheet(rows, titles, height=240))
    return lines


def train_both(out: pathlib.Path) -> dict[str, list[dict]]:
    """Makes synthetic portraits and trains both stages on them; gives the curves."""
    data, folder = out / "portraits", out / "run"
    config = ROOT / "configs" / "smoke.yaml"
    run("data", "synth", data, "--train", 240, "--val", 32, "--height", 192,
        "--width", 128)  # fmt: skip
    for stage in ("parsing", "completion"):
        run("train", stage, "--config", config, "--data", data, "--run", folder)
    logs = {}
    for stage in ("parsing", "completion"):
        with open(folder / stage / "log.csv", newline="") as file:
            logs[stage] = [
                {key: float(value) for key, value in row.items()}
                for row in csv.DictReader(file)
            ]
    return logs


def plot(logs: dict[str, list[dict]], path: pathlib.Path) -> None:
    """Draws the curves that say whether training works."""
    panels = (
        ("parsing", "val_loss", "stage 1: loss"),
        ("parsing", "val_miou_hole", "stage 1: mean IoU in the hole"),
        ("completion", "val_l1_hole", "stage 2: L1 in the hole"),
        ("completion", "val_psnr_hole", "stage 2: PSNR in the hole (dB)"),
    )
    figure, axes = plt.subplots(1, len(panels), figsize=(15, 3.2))
    for axis, (stage, key, title) in zip(axes, panels, strict=True):
        axis.plot([row[key] for row in logs[stage]], marker="o")
        axis.set_title(f"{title}, validation", fontsize=9)
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    plt.close(figure)


def check_curves(logs: dict[str, list[dict]]) -> list[str]:
    """What should have improved, and by how much it did.

    Raises:
        SystemExit: Something did not.
    """
    lines = []
    # The adversarial phase trades pixels for texture: stage 2 is judged by its best.
    for stage, key, better in (
        ("parsing", "val_loss", min),
        ("parsing", "val_miou_hole", max),
        ("completion", "val_l1_hole", min),
        ("completion", "val_psnr_hole", max),
    ):
        values = [row[key] for row in logs[stage]]
        first, best = values[0], better(values)
        lines.append(f"{stage} {key}: {first:.3f} after one epoch, {best:.3f} at best")
        if best == first:
            raise SystemExit(f"training does not improve: {lines[-1]}")
    return lines


def write_page(out: pathlib.Path, times: list[str], curves: list[str]) -> None:
    """Writes `index.html`: what was completed, the curves, the last previews."""
    times, curves = (
        "".join(f"<li>{html.escape(line)}</li>" for line in lines)
        for lines in (times, curves)
    )
    (out / "index.html").write_text(
        f"""<!doctype html><html lang="en"><meta charset="utf-8">
<title>portrait-tf demo</title>
<style>body {{font: 16px sans-serif; margin: 2em}} img {{max-width: 100%}}</style>
<h1>portrait-tf demo</h1>
<p>Bundled weights, exported, served, and called over gRPC. Synthetic portraits, and
NASA's portrait of Eileen Collins (public domain).</p>
<ul>{times}</ul><p><img src="contact_sheet.png" alt="completed photos"></p>
<h2>A short training run</h2>
<p><img src="curves.png" alt="curves"></p><ul>{curves}</ul>
<h3>Stage 1, after the last epoch</h3>
<p><img src="run/parsing/preview.png" alt="parsing"></p>
<h3>Stage 2, after the last epoch</h3>
<p><img src="run/completion/preview.png" alt="completion"></p></html>
""",
        encoding="utf-8",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("demo"))
    out = parser.parse_args().out
    start = time.monotonic()
    for part in ("models", "portraits", "run"):
        shutil.rmtree(out / part, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    load_tensorflow()
    run("export", "bundled", out / "models")
    with served(out / "models") as address:
        times = complete_all(out, address)
    logs = train_both(out)
    lines = check_curves(logs)
    plot(logs, out / "curves.png")
    (out / "curves.json").write_text(json.dumps(logs, indent=2))
    write_page(out, times, lines)
    print("\n" + "\n".join(lines))
    print(f"\n{out / 'index.html'} and {out / 'contact_sheet.png'}")
    print(f"took {(time.monotonic() - start) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
