"""The benchmark of both shoes, as a program, on synthetic people."""

import pathlib
import re
import subprocess
import sys

import cv2
import pytest

from portrait_tf.data.synthetic import write_synthetic

ROOT = pathlib.Path(__file__).parents[1]


@pytest.mark.long
def test_from_a_data_set_to_numbers_and_a_sheet(tmp_path):
    write_synthetic(tmp_path / "data", train=1, val=6, size=(192, 128))
    command = [sys.executable, "-m", "benchmarks.shoes", str(tmp_path / "data")]
    command += ["--count", "3", "--enlarge", "3", "--out", str(tmp_path / "sheet.png")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = re.findall(r"(\w+) +median (\w+) distance +([\d.]+)", done.stdout)
    values = {(method, name): float(value) for method, name, value in found}
    assert len(values) == 6 and "of 3 photos" in done.stdout
    # A painted shoe is another than the seen one; the true ones are a pair.
    assert values["truth", "color"] < values["without", "color"]
    assert cv2.imread(str(tmp_path / "sheet.png")).shape[0] > 3 * 288
