"""The load benchmark, for seconds."""

import json
import pathlib

import pytest
from processes import python_output


@pytest.mark.long
def test_measure_with_servers_of_its_own(models_dir, tmp_path):
    path = tmp_path / "serving.json"
    said = python_output(
        "-m", "benchmarks.serving", "--models", models_dir, "--minutes", "0.05",
        "--swap-seconds", "1", "--repeats", "4", "--size", "24", "16", "--clients", "2",
        "--json", path, cwd=pathlib.Path(__file__).parents[2],
    )  # fmt: skip
    results = json.loads(path.read_text())
    assert list(results) == ["cost", "plain", "batching", "swap"]
    assert results["cost"]["by"] == "server"
    assert len(results["swap"]["swaps"]) >= 1
    assert len(results["swap"]["versions"]) >= 2
    assert all(results[name]["failed"] == 0 for name in ("plain", "batching", "swap"))
    assert "batching" in said
