"""Both stacks with each other, where an environment of each is there.

`make test-addons` has `.venv` and `.venv-addons` side by side; elsewhere the variables
name the interpreters.
"""

import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from tiny import TINY

from portrait_tf.config import parse_config, save_config, with_changes
from portrait_tf.data.synthetic import write_synthetic
from portrait_tf.runs.storage import read_arrays

ROOT = pathlib.Path(__file__).parents[1]
PYTHONS = {
    "default": os.environ.get("PORTRAIT_TF_DEFAULT_PYTHON", ROOT / ".venv/bin/python"),
    "addons": os.environ.get(
        "PORTRAIT_TF_ADDONS_PYTHON", ROOT / ".venv-addons/bin/python"
    ),
}
STACKS = tuple(PYTHONS)
MISSING = [stack for stack, path in PYTHONS.items() if not pathlib.Path(path).is_file()]

pytestmark = pytest.mark.skipif(
    bool(MISSING) and os.environ.get("PORTRAIT_TF_CROSS_STACK") != "required",
    reason=f"no environment of the stack {' and '.join(MISSING)}",
)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_weights_exports_and_servers_of_both_stacks_agree(tmp_path):
    """`benchmarks.cross_serving` runs every pairing; all of them agree."""
    command = [sys.executable, "-m", "benchmarks.cross_serving", "--tiny"]
    command += ["--size", "80", "56", "--json", str(tmp_path / "rows.json")]
    for stack, python in PYTHONS.items():
        command += [f"--{stack}", str(python), "--session", f"{stack}={python}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    rows = json.loads((tmp_path / "rows.json").read_text())
    found = {(r["kind"], r["made"], r["ran"].split(" ")[-1], r["called"]) for r in rows}
    pairs = list(itertools.product(STACKS, repeat=2))
    assert found == {
        *(("weights", *pair, "") for pair in pairs),
        *(("session", *pair, "") for pair in pairs),
        *(("serving", *pair, called) for pair in pairs for called in STACKS),
    }
    for row in rows:
        assert row["grey_levels"] <= 1 and row["labels"] < 0.001, row
        assert row["joints"] < 0.01, row


# === Runs ===
@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """A data set of the networks' own size, and a config; paths."""
    folder = tmp_path_factory.mktemp("runs")
    write_synthetic(folder / "people", 6, 2, size=(32, 32))
    changes = ["completion.training.ema=0.9", "parsing.training.optimizer.name=sgd"]
    save_config(with_changes(parse_config(TINY), changes), folder / "config.yaml")
    return folder


def train(stack, stage, experiment, run, steps):
    command = [
        str(PYTHONS[stack]), "-m", "portrait_tf", "train", stage,
        "--data", str(experiment / "people"), "--run", str(run),
        "--config", str(experiment / "config.yaml"), "--steps", str(steps),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_run_of_one_stack_goes_on_with_the_other(experiment, tmp_path):
    """Stopped by either and ended by either: four runs, all alike."""
    earlier = None
    for stage, steps in (("parsing", 4), ("completion", 5)):
        found = {}
        for began in STACKS:
            stopped = tmp_path / f"{stage}_{began}"
            if earlier is not None:
                shutil.copytree(earlier, stopped)
            train(began, stage, experiment, stopped, 3)
            for ended in STACKS:
                run = tmp_path / f"{stage}_{began}_{ended}"
                shutil.copytree(stopped, run)
                said = train(ended, stage, experiment, run, steps)
                assert f"resuming {stage} at step 3" in said
                found[began, ended] = read_arrays(run / stage / "checkpoint.npz")
        earlier = tmp_path / f"{stage}_default_default"
        expected, expected_meta = found["default", "default"]
        assert expected_meta["step"] == steps
        for arrays, meta in found.values():
            assert meta == expected_meta
            assert arrays.keys() == expected.keys()
            for name, array in arrays.items():
                # While no score leaves the hinge's margin, their bias has a gradient of
                # 1 - 1: of the rounding that is left, Adam makes part of a step.
                atol = 1e-4 if name.endswith("/scores/bias") else 1e-5
                np.testing.assert_allclose(
                    array, expected[name], rtol=1e-3, atol=atol, err_msg=name
                )
