"""Both stacks with each other, where an environment of each is there.

`make test-addons` has `.venv` and `.venv-addons` side by side; elsewhere the variables
name the interpreters.
"""

import os
import pathlib

import numpy as np
import pytest

from benchmarks.cross_serving import STACKS, measure
from portrait_tf.data.synthetic import synthetic_portrait

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
    return measure(
        pythons, tmp_path_factory.mktemp("cross"), photo, mask, bundled=False
    )


@pytest.mark.timeout(1200)
def test_weights_of_either_stack_do_the_same_in_the_other(rows):
    found = [row for row in rows if row.kind == "weights"]
    assert {(row.made, row.ran) for row in found} == {
        (made, ran) for made in STACKS for ran in STACKS
    }
    assert all(row.grey_levels <= 1 and row.labels < 0.001 for row in found), found


def test_every_server_answers_every_client_alike_with_either_export(rows):
    found = [row for row in rows if row.kind == "serving"]
    assert {(row.made, row.ran, row.called) for row in found} == {
        (made, ran, called) for made in STACKS for ran in STACKS for called in STACKS
    }
    assert all(row.grey_levels <= 1 and row.labels < 0.001 for row in found), found
