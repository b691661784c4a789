"""The search for designs, with tiny ones."""

import json

import pytest
import yaml
from tiny import TINY

from benchmarks.design_search import CONFIG, load_designs, main, search, table
from portrait_tf.data.synthetic import write_synthetic
from portrait_tf.errors import PortraitError
from portrait_tf.runs.folder import build_network

DESIGNS = {
    "base": "tiny.yaml",
    # One phase, for every other one is traced anew.
    "set": ["completion.schedule.reconstruction_steps=100000"],
    "completion": {
        "plain": ["completion.network.prefill=plain"],
        "none": ["completion.network.prefill=none", "completion.loss.perceptual=0"],
    },
    "parsing": {"one_round": ["parsing.network.rounds=1"]},
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    (tmp_path / "designs.yaml").write_text(yaml.safe_dump(DESIGNS, sort_keys=False))
    return tmp_path


@pytest.mark.parametrize("stage", ["parsing", "completion"])
def test_the_designs_of_the_project_fit_the_schema(stage):
    designs = load_designs(CONFIG, stage, [])
    assert len(designs) >= 5
    assert len({one.model_dump_json() for one in designs.values()}) == len(designs)


def test_designs_are_changes_of_one_base(folder):
    designs = load_designs(folder / "designs.yaml", "completion", ["seed=9"])
    assert list(designs) == ["plain", "none"]
    assert designs["plain"].completion.network.prefill == "plain"
    assert designs["none"].completion.loss.perceptual == 0
    assert {one.seed for one in designs.values()} == {9}
    with pytest.raises(PortraitError, match="prefil"):
        load_designs(
            folder / "designs.yaml", "parsing", ["completion.network.prefil=none"]
        )


@pytest.mark.long
def test_equal_time_and_a_table(folder, portraits, tiny_config):
    designs = load_designs(folder / "designs.yaml", "completion", [])
    stage_1 = build_network("parsing", tiny_config)
    done, saved = {}, []
    search(
        "completion", designs, portraits, portraits, 2.0, stage_1, done,
        lambda: saved.append(json.dumps(done)),
    )  # fmt: skip
    assert list(done)[0] == "telea" and set(done) == {
        "telea", "untrained", "plain", "none",
    }  # fmt: skip
    assert len(saved) == 3 and json.loads(saved[-1]) == done
    for name in designs:
        assert done[name]["steps"] >= 2 and done[name]["seconds"] > 0
        assert done[name]["photos"] == 2 * done[name]["steps"]
        assert set(done[name]["scores"]) == set(done["telea"]["scores"])
    rows = table(done).splitlines()
    assert len(rows) == 6 and rows[0].startswith("| design | parameters |")
    # What is done is not done again.
    before = json.dumps(done)
    search("completion", designs, portraits, portraits, 2.0, stage_1, done, list)
    assert json.dumps(done) == before


@pytest.mark.long
def test_the_program(folder, capsys):
    write_synthetic(folder / "data", 4, 2, size=(64, 64))
    main([
        "--config", str(folder / "designs.yaml"), "--stage", "parsing",
        "--data", str(folder / "data"), "--minutes", "0.03", "--out",
        str(folder / "out"),
    ])  # fmt: skip
    assert "| one_round |" in capsys.readouterr().out
    done = json.loads((folder / "out" / "parsing.json").read_text())
    assert 0 <= done["one_round"]["scores"]["miou_hole"] <= 1
