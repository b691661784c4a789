"""Puts the bundled weights' hashes and scores where they are published.

    portrait-tf evaluate --data CCP --features HED:HED-BSDS \\
        --json portrait_tf/weights/scores.json
    python -m tools.publish_scores

Writes `portrait_tf/weights/hashes.json`, and the tables between the marks
`<!-- scores -->` and `<!-- /scores -->` (and `hashes`) of README.md and MODEL_CARD.md.
With `--check` it changes nothing, and fails if a file is out of date.
"""

import argparse
import json
import pathlib
import re
import sys

from benchmarks.common import markdown
from portrait_tf.files import write_result

ROOT = pathlib.Path(__file__).parent.parent
FOLDER = ROOT / "portrait_tf" / "weights"
SCORES = FOLDER / "scores.json"
PAGES = (ROOT / "README.md", ROOT / "MODEL_CARD.md")

_TASKS = {
    "square": "square of half the width, on the person",
    "strokes": "wide strokes",
    "lower_third": "lower third (extrapolation)",
    "right_quarter": "right quarter (extrapolation)",
}
_PEERS = {"telea": "OpenCV Telea", "navier_stokes": "OpenCV Navier-Stokes"}


def scores_table(scores: dict) -> str:
    """Markdown of what `portrait-tf evaluate --json` wrote: a row a hole."""
    peers = {key: name for key, name in _PEERS.items() if key in scores["peers"]}
    lines = []
    for task, ours in scores["completion"].items():
        rows = [ours, *(scores["peers"][peer][task] for peer in peers)]
        cells = [" / ".join(_numbers(row)) for row in rows]
        lines.append([_TASKS.get(task, task), *cells])
    return markdown(["hole", "ours", *peers.values()], lines)


def _numbers(row: dict) -> list[str]:
    numbers = [f"{row['psnr_hole']:.2f}", f"{row['ssim']:.3f}", f"{row['l1']:.1f}"]
    return [*numbers, f"{row['distance']:.3f}"] if row.get("distance") else numbers


def parsing_sentence(scores: dict) -> str:
    """What stage 1 scored with those holes."""
    one = scores["parsing"]
    return (
        f"Stage 1, with those holes: mean IoU {one['miou']:.3f}, in the hole "
        f"{one['miou_hole']:.3f}, pixel\naccuracy {one['pixel_accuracy']:.3f}, "
        f"PCKh@0.5 {one['pckh']:.3f}."
    )


def hashes_table(hashes: dict[str, str]) -> str:
    rows = [
        [f"`{name}`", f"{(FOLDER / name).stat().st_size / 1e6:.1f}", f"`{value}`"]
        for name, value in hashes.items()
    ]
    return markdown(["file", "MB", "SHA-256"], rows)


def published(page: str, blocks: dict[str, str]) -> str:
    """A page with what stands between its marks replaced."""
    for name, text in blocks.items():
        marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        page = marks.sub(lambda found, text=text: f"{found[1]}{text}\n{found[2]}", page)
    return page


def expected_files() -> dict[pathlib.Path, str]:
    """What all published files should hold."""
    from portrait_tf.runs.bundled import HASHES, file_hash

    hashes = {path.name: file_hash(path) for path in sorted(FOLDER.glob("*.npz"))}
    scores = json.loads(SCORES.read_text())
    blocks = {
        "scores": f"{scores_table(scores)}\n\n{parsing_sentence(scores)}",
        "hashes": hashes_table(hashes),
    }
    files = {path: published(path.read_text(), blocks) for path in PAGES}
    return {HASHES: json.dumps(hashes, indent=2) + "\n", **files}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing")
    options = parser.parse_args(arguments)
    for path, text in expected_files().items():
        if path.is_file() and path.read_text() == text:
            continue
        if options.check:
            sys.exit(f"{path} is out of date: run python -m tools.publish_scores")
        write_result(path, text.encode())
        print(f"{path} written")


if __name__ == "__main__":
    main()
