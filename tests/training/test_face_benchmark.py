"""Before and after the face network, measured."""

import json

import keras
import numpy as np
import pytest
from tiny import TINY

from benchmarks.face_refinement import main, measure, summary, table
from portrait_tf.compat import KERAS_3
from portrait_tf.config import parse_config, save_config, with_changes
from portrait_tf.data.synthetic import write_synthetic
from portrait_tf.labels import FACE_LABELS
from portrait_tf.runs.folder import GIVEN_NAME, build_network
from portrait_tf.runs.weights import save_weights


def square(truth, other):
    return float(np.mean((np.asarray(truth) - np.asarray(other)) ** 2))


def test_scores_are_those_of_the_hole_at_the_face(tiny_face_pipeline, portraits):
    faceless = portraits[0]
    parsing = np.where(np.isin(faceless.parsing, FACE_LABELS), 0, faceless.parsing)
    faceless = type(faceless)("nobody", faceless.photo, parsing, faceless.joints)
    scores, rows = measure(tiny_face_pipeline, [faceless, *portraits], square, count=3)
    assert [one["name"] for one in scores] == [one.name for one in portraits[:3]]
    assert len(rows) == 3 and all(len(row) == 4 for row in rows)
    # Stage 1 takes all of it for a face; the random network does change something.
    # (OpenCV 4 draws one of the people so that the hole is too small a part of it.)
    assert sum(one["found"] for one in scores) >= (3 if KERAS_3 else 2)
    assert any(one["before"] != one["after"] for one in scores)
    for row, one in zip(rows, scores, strict=True):
        *_, refined, truth = (picture.astype(int) for picture in row)
        assert (refined != truth).any() and one["after"]["psnr"] > 0
    again, _ = measure(tiny_face_pipeline, [faceless, *portraits], square, count=3)
    assert again == scores


def test_medians_and_a_table():
    def one(before, after):
        return {"found": True, "before": before, "after": after}

    scores = [
        one({"psnr": 10.0, "perceptual": 0.5}, {"psnr": 12.0, "perceptual": 0.4}),
        one({"psnr": 20.0, "perceptual": 0.7}, {"psnr": 19.0, "perceptual": 0.6}),
        one({"psnr": 11.0, "perceptual": 0.6}, {"psnr": 11.5, "perceptual": 0.9}),
    ]
    result = summary(scores)
    assert result["before"] == {"psnr": 11.0, "perceptual": 0.6}
    assert result["after"] == {"psnr": 12.0, "perceptual": 0.6}
    assert result["better"] == {"psnr": 2, "perceptual": 2} and result["found"] == 3
    row = table(result).splitlines()[2].split()
    assert row == ["psnr", "11.0000", "12.0000", "2"]


def test_the_program_writes_a_sheet_and_its_command(tmp_path, capsys):
    config = with_changes(parse_config(TINY), ["completion.network.prefill=none"])
    run, data = tmp_path / "run", tmp_path / "data"
    save_config(config, run / "config.yaml")
    keras.utils.set_random_seed(0)
    stages = ("parsing", "completion", "face")
    for stage in stages[:2]:
        save_weights(build_network(stage, config), run / stage / GIVEN_NAME, {})
    write_synthetic(data, 1, 2, 0, (64, 64))
    arguments = ["--run", run, "--data", data, "--vgg-weights", "random",
                 "--layers", "block1_conv1", "--out", tmp_path / "out"]  # fmt: skip
    arguments = [str(one) for one in arguments]
    with pytest.raises(SystemExit, match="no trained face stage"):
        main(arguments)
    save_weights(build_network("face", config), run / "face" / GIVEN_NAME, {})
    main(arguments)
    printed = capsys.readouterr().out
    assert f"--run {run}" in printed and "2 photos with a hole" in printed
    report = json.loads((tmp_path / "out" / "scores.json").read_text())
    # The network starts as identity.
    assert report["before"] == report["after"] and report["photos"] == 2
    assert (tmp_path / "out" / "sheet.png").is_file()
