"""The benchmark of training steps, on tiny networks."""

import time

import pytest
from tiny import TINY

from benchmarks.training_speed import clocked, main, table
from portrait_tf.config import parse_config, save_config


def test_medians_of_clock_and_cpu():
    results = clocked({"sleep": lambda: time.sleep(0.02), "nothing": list}, repeats=3)
    wall, cpu = results["sleep"]
    assert wall >= 0.02 > cpu and results["nothing"][0] < 0.01
    row = table({"sleep": (0.5, 0.25)}, photos=4).splitlines()[2]
    assert row == "| sleep | 125.00 | 62.50 | 8.00 |"


@pytest.mark.long
@pytest.mark.parametrize("stage", ["parsing", "completion", "face"])
def test_the_program_prints_every_part(tmp_path, capsys, monkeypatch, stage):
    # So that they are put back.
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "1")
    config = tmp_path / "config.yaml"
    save_config(parse_config(TINY), config)
    main(["--config", str(config), "--stage", stage, "--batch", "2", "--repeats", "1"])
    printed = capsys.readouterr().out
    expected = {"the step", "optimizer and average", "forward", "tf.data", "hole"}
    if stage == "completion":
        expected |= {"pre-fill", "perceptual loss", "a step of the critics"}
    assert expected <= {line.split(" | ")[0][2:] for line in printed.splitlines()}
