"""Stage 1 without some of its parts, and the benchmark that compares them."""

import json

import numpy as np
import pytest

from benchmarks.parsing_ablation import VARIANTS, run_ablation, summary
from portrait_tf.config import with_changes
from portrait_tf.errors import PortraitError
from portrait_tf.evaluation.evaluate import evaluate
from portrait_tf.inference.engines import PipelineEngine
from portrait_tf.inference.pipeline import Pipeline
from portrait_tf.runs.folder import build_network, load_run_network
from portrait_tf.training.commands import train_stage

SHORT = ["parsing.training.steps=2", "parsing.training.steps_per_epoch=2"]


@pytest.mark.long
def test_without_pose_all_of_the_chain_works(tiny_config, portraits, tmp_path):
    config = with_changes(
        tiny_config,
        [*SHORT, "parsing.network.pose=false", "parsing.loss.balanced=dice",
         "parsing.loss.class_weights=inverse_sqrt",
         "parsing.loss.label_smoothing=0.1"],
    )  # fmt: skip
    history = train_stage("parsing", config, portraits, tmp_path, portraits, verbose=0)
    logged = set(history[-1])
    assert {"loss", "cross_entropy", "balanced", "val_miou_hole"} <= logged
    assert not {"pose_loss", "pckh"} & logged
    assert (tmp_path / "parsing" / "preview.png").is_file()
    pipeline = Pipeline(
        load_run_network(tmp_path, "parsing"), build_network("completion", config)
    )
    mask = np.zeros((1, 64, 64, 1), np.uint8)
    with pytest.raises(PortraitError, match="no joints: .* without its pose branch"):
        pipeline.joints(portraits[0].photo[None], mask)
    report = evaluate(PipelineEngine(pipeline), portraits, config.size, count=1)
    assert report["parsing"]["pckh"] is None and report["parsing"]["miou_hole"] >= 0


@pytest.mark.long
def test_an_ablation_goes_on_where_it_was_stopped(tiny_config, portraits, tmp_path):
    base = with_changes(tiny_config, SHORT)
    whole = run_ablation(base, portraits, portraits[:2], 1, tmp_path / "whole")
    assert set(whole) == set(VARIANTS)
    for seeds in whole.values():
        assert set(seeds) == {"0"}
        assert all(0 <= one["miou_hole"] <= 1 for one in seeds.values())

    path = tmp_path / "whole" / "scores.json"
    kept = json.loads(path.read_text())
    # As a kill would leave it: one pair is trained, but its score was not written.
    del kept["scores"]["no_pose"]["0"]
    kept["scores"]["full"]["0"] = {"miou_hole": 0.5, "miou": 0.25}
    path.write_text(json.dumps(kept))
    again = run_ablation(base, portraits, portraits[:2], 1, tmp_path / "whole")
    assert again["no_pose"]["0"] == pytest.approx(whole["no_pose"]["0"])
    assert again["full"]["0"] == {"miou_hole": 0.5, "miou": 0.25}
    assert json.loads(path.read_text())["scores"] == again

    other = with_changes(base, ["parsing.training.steps=3"])
    with pytest.raises(PortraitError, match="holds scores of another config"):
        run_ablation(other, portraits, portraits, 1, tmp_path / "whole")


def test_the_table_has_mean_and_spread():
    scores = {"full": {"0": {"miou_hole": 0.1, "miou": 0.2},
                       "1": {"miou_hole": 0.3, "miou": 0.2}}}  # fmt: skip
    row = summary(scores).splitlines()[1].split()
    assert row == ["full", "2", "0.2000", "+-", "0.1414", "0.2000", "+-", "0.0000"]
