"""The benchmark of what more data is worth, at its smallest."""

import pytest

from benchmarks.data_sources import run_sources
from portrait_tf.config import with_changes
from portrait_tf.data.open import open_dataset, open_splits
from portrait_tf.data.synthetic import write_synthetic

SHORT = ["parsing.training.steps=2", "parsing.training.steps_per_epoch=2"]


@pytest.mark.long
def test_all_ways_are_scored_and_a_second_run_keeps_them(tiny_config, tmp_path):
    data = tmp_path / "data"
    write_synthetic(data, train=3, val=2, size=(64, 64), seed=0)
    reader, validation = open_dataset(data, "train"), open_dataset(data, "val")
    arguments = (
        with_changes(tiny_config, SHORT),
        reader,
        open_splits(data),
        validation,
        1,
        tmp_path / "out",
        3,
    )
    scores = run_sources(*arguments)
    assert set(scores) == {
        "labelled", "labelled_longer", "self_training", "synthetic", "synthetic_first",
    }  # fmt: skip
    values = [one["0"]["miou"] for one in scores.values()]
    assert all(0 <= value <= 1 for value in values) and len(set(values)) > 1
    assert run_sources(*arguments) == scores
