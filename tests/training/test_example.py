"""The example of docs/training.md, as it stands there."""

import pathlib
import re

import numpy as np

DOCS = pathlib.Path(__file__).parents[2] / "docs" / "training.md"


def test_the_example_trains():
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    names = {}
    exec(code, names)
    trainer = names["trainer"]
    assert trainer.step == 5 and int(np.array(trainer.optimizer.iterations)) == 5
    assert np.isfinite(trainer.history.history["loss"]).all()
