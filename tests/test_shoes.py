"""The benchmark of both shoes, as a program, on synthetic people."""

import pathlib
import re

import cv2
import pytest
from processes import python_output

from portrait_tf.data.synthetic import write_synthetic

ROOT = pathlib.Path(__file__).parents[1]


@pytest.mark.long
def test_from_a_data_set_to_numbers_and_a_sheet(tmp_path):
    write_synthetic(tmp_path / "data", train=1, val=6, size=(192, 128))
    command = ["-m", "benchmarks.shoes", tmp_path / "data", "--count", 3]
    command += ["--enlarge", 3, "--out", tmp_path / "sheet.png"]
    said = python_output(*command, cwd=ROOT)
    found = re.findall(r"(\w+) +median (\w+) distance +([\d.]+)", said)
    values = {(method, name): float(value) for method, name, value in found}
    assert len(values) == 6 and "of 3 photos" in said
    # A painted shoe is another than the seen one; the true ones are a pair.
    assert values["truth", "color"] < values["without", "color"]
    assert cv2.imread(str(tmp_path / "sheet.png")).shape[0] > 3 * 288
