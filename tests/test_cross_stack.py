"""Both stacks with each other, where an environment of each is there.

`make test-addons` has `.venv` and `.venv-addons` side by side; elsewhere the variables
name the interpreters.
"""

import os
import pathlib
import shutil
import subprocess

import numpy as np
import pytest
from tiny import TINY

from benchmarks.cross_serving import STACKS, measure
from portrait_tf.config import parse_config, save_config, with_changes
from portrait_tf.data.synthetic import synthetic_portrait, write_synthetic
from portrait_tf.runs.storage import read_arrays

ROOT = pathlib.Path(__file__).parents[1]
PYTHONS = {
    "default": os.environ.get("PORTRAIT_TF_DEFAULT_PYTHON", ROOT / ".venv/bin/python"),
    "addons": os.environ.get(
        "PORTRAIT_TF_ADDONS_PYTHON", ROOT / ".venv-addons/bin/python"
    ),
}
MISSING = [stack for stack, path in PYTHONS.items() if not pathlib.Path(path).is_file()]

pytestmark = pytest.mark.skipif(
    bool(MISSING) and os.environ.get("PORTRAIT_TF_CROSS_STACK") != "required",
    reason=f"no environment of the stack {' and '.join(MISSING)}",
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    photo = synthetic_portrait(3, (80, 56)).photo
    mask = np.zeros((80, 56, 1), np.uint8)
    mask[20:50, 15:40] = 255
    pythons = {stack: str(path) for stack, path in PYTHONS.items()}
    scratch = tmp_path_factory.mktemp("cross")
    return measure(pythons, scratch, photo, mask, bundled=False, sessions=pythons)


def is_alike(row):
    return row.grey_levels <= 1 and row.labels < 0.001 and row.joints < 0.01


@pytest.mark.timeout(1200)
def test_weights_of_either_stack_do_the_same_in_the_other(rows):
    found = [row for row in rows if row.kind == "weights"]
    assert {(row.made, row.ran) for row in found} == {
        (made, ran) for made in STACKS for ran in STACKS
    }
    assert all(is_alike(row) for row in found), found


def test_every_server_answers_every_client_alike_with_either_export(rows):
    found = [row for row in rows if row.kind == "serving"]
    assert {(row.made, row.ran, row.called) for row in found} == {
        (made, ran, called) for made in STACKS for ran in STACKS for called in STACKS
    }
    assert all(is_alike(row) for row in found), found


def test_every_session_answers_alike_with_either_export(rows):
    found = [row for row in rows if row.kind == "session"]
    assert {(row.made, row.ran) for row in found} == {
        (made, f"TensorFlow {ran}") for made in STACKS for ran in STACKS
    }
    assert all(is_alike(row) for row in found), found


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
                np.testing.assert_allclose(
                    array, expected[name], rtol=1e-3, atol=1e-5, err_msg=name
                )
