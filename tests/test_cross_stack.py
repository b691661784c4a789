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

import numpy as np
import pytest
from processes import python_output
from tiny import TINY

from portrait_tf.config import parse_config, save_config, with_changes
from portrait_tf.data.synthetic import write_synthetic
from portrait_tf.runs.folder import GIVEN_NAME, build_network
from portrait_tf.runs.storage import read_arrays
from portrait_tf.runs.weights import save_weights

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
    command = ["-m", "benchmarks.cross_serving", "--tiny"]
    command += ["--size", 80, 56, "--json", tmp_path / "rows.json"]
    for stack, python in PYTHONS.items():
        command += [f"--{stack}", python]
    python_output(*command, cwd=ROOT)
    rows = json.loads((tmp_path / "rows.json").read_text())
    found = {(r["kind"], r["made"], r["ran"].split(" ")[-1], r["called"]) for r in rows}
    pairs = list(itertools.product(STACKS, repeat=2))
    assert found == {
        *(("weights", *pair, "") for pair in pairs),
        *(("serving", *pair, called) for pair in pairs for called in STACKS),
    }
    for row in rows:
        assert row["gray_levels"] <= 1 and row["labels"] < 0.001, row
        assert row["joints"] < 0.01, row


# === Runs ===
# Several commands in one process: the import of TensorFlow takes as long as one does.
_COMMANDS = """
import json, sys
from portrait_tf.apps.cli import app
for words in json.loads(sys.argv[1]):
    app(words, standalone_mode=False)
"""
STEPS = {"parsing": 4, "completion": 5}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """A data set of the networks' own size, a config, and a run with a stage 1."""
    folder = tmp_path_factory.mktemp("runs")
    write_synthetic(folder / "people", 6, 2, size=(32, 32))
    changes = ["completion.training.ema=0.9", "parsing.training.optimizer.name=sgd"]
    config = with_changes(parse_config(TINY), changes)
    save_config(config, folder / "config.yaml")
    save_config(config, folder / "given" / "config.yaml")
    path = folder / "given" / "parsing" / GIVEN_NAME
    save_weights(build_network("parsing", config), path, {}, dtype=None)
    return folder


def train(experiment, jobs):
    """Runs jobs (stage, run, steps), each stack's one by one; what each stack said."""
    processes = []
    for stack, own in jobs.items():
        commands = [
            ["train", stage, "--data", str(experiment / "people"), "--run", str(run),
             "--config", str(experiment / "config.yaml"), "--steps", str(steps)]
            for stage, run, steps in own
        ]  # fmt: skip
        command = [str(PYTHONS[stack]), "-c", _COMMANDS, json.dumps(commands)]
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        processes.append(subprocess.Popen(command, cwd=ROOT, text=True, **pipes))
    said = [process.communicate()[1] for process in processes]
    assert not any(process.returncode for process in processes), said
    return said


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_run_of_one_stack_goes_on_with_the_other(experiment, tmp_path):
    """Each is stopped in the middle; whoever goes on ends in the same numbers."""

    def run(stage, *stacks):
        return tmp_path / "_".join([stage, *stacks])

    for began in STACKS:
        run("parsing", began).mkdir()
        shutil.copytree(experiment / "given", run("completion", began))
    train(
        experiment,
        {one: [(stage, run(stage, one), 3) for stage in STEPS] for one in STACKS},
    )
    pairs = [pair for pair in itertools.product(STACKS, repeat=2) if "default" in pair]
    jobs = {stack: [] for stack in STACKS}
    for stage, steps in STEPS.items():
        for began, ended in pairs:
            shutil.copytree(run(stage, began), run(stage, began, ended))
            jobs[ended].append((stage, run(stage, began, ended), steps))
    said = "".join(train(experiment, jobs))
    for stage, steps in STEPS.items():
        assert said.count(f"resuming {stage} at step 3") == len(pairs)
        found = {
            pair: read_arrays(run(stage, *pair) / stage / "checkpoint.npz")
            for pair in pairs
        }
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
