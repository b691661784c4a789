"""Stage 1 without its pose branch."""

import numpy as np
import pytest

from portrait_tf.config import with_changes
from portrait_tf.errors import PortraitError
from portrait_tf.evaluation.evaluate import Evaluation
from portrait_tf.evaluation.holes import HoleSet
from portrait_tf.inference.engines import PipelineEngine
from portrait_tf.inference.pipeline import Pipeline
from portrait_tf.runs.folder import build_network, load_run_network
from portrait_tf.training.commands import train_stage


@pytest.mark.long
def test_without_pose_all_of_the_chain_works(tiny_config, portraits, tmp_path):
    config = with_changes(
        tiny_config,
        ["parsing.training.steps=2", "parsing.training.steps_per_epoch=2",
         "parsing.network.pose=false", "parsing.loss.balanced=dice",
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
    engine = PipelineEngine(pipeline)
    parsing = (
        Evaluation(engine, HoleSet(portraits, config.size, count=1)).score().parsing
    )
    assert parsing["pckh"] is None and parsing["miou_hole"] >= 0
