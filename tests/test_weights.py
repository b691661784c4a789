"""The bundled weights: the published files, with the published scores."""

import json
import pathlib
import shutil

import pytest
from processes import python_output
from tiny import assert_equal_arrays

from portrait_tf.errors import PortraitError
from portrait_tf.runs.bundled import FOLDER, HASHES, check_hash
from portrait_tf.runs.weights import load_bundled
from tools import publish_scores

CCP = pathlib.Path(__file__).parents[2] / "shared" / "data" / "ccp-lip"


def test_every_bundled_file_is_the_published_one():
    files = sorted(FOLDER.glob("*.npz"))
    assert {"parsing_demo.npz", "completion_demo.npz"} <= {path.name for path in files}
    for path in files:
        check_hash(path)
        assert path.stat().st_size < 15e6
    assert set(json.loads(HASHES.read_text())) == {path.name for path in files}


def test_another_file_is_refused(tmp_path):
    shutil.copy(HASHES, tmp_path)
    content = (FOLDER / "completion_demo.npz").read_bytes()
    path = tmp_path / "completion_demo.npz"
    path.write_bytes(content[:-1])
    with pytest.raises(PortraitError, match="expected the SHA-256 .*, received "):
        check_hash(path)
    path.unlink()
    with pytest.raises(PortraitError, match="no such weights file"):
        check_hash(path)


def test_nothing_is_read_before_it_is_asked_for():
    program = (
        "import sys; sys.addaudithook(lambda event, found: event == 'open' and "
        "str(found[0]).endswith('.npz') and sys.exit('opened ' + str(found[0]))); "
        "import portrait_tf.runs.weights, portrait_tf.inference.pipeline"
    )
    python_output("-c", program)


def test_each_bundled_network_is_its_askers_own():
    """Who trains one, or freezes it, changes it for nobody else."""
    first = load_bundled("parsing")
    weights = first.get_weights()
    first.trainable = False
    for variable in first.weights:
        variable.assign(variable * 0)
    second = load_bundled("parsing")
    assert second.trainable and second.trainable_variables
    assert_equal_arrays(weights, second.get_weights())


def test_published_tables_are_of_the_published_scores():
    for path, text in publish_scores.expected_files().items():
        assert path.read_text() == text, f"python -m tools.publish_scores: {path}"
    scores = json.loads(publish_scores.SCORES.read_text())
    psnr = f"{scores['completion']['square']['psnr_hole']:.2f}"
    for page in publish_scores.PAGES:
        assert f"on the person | {psnr} / " in page.read_text()


@pytest.mark.long
@pytest.mark.skipif(not CCP.is_dir(), reason="no CCP in LIP's layout")
def test_published_scores_can_be_had_again():
    from portrait_tf.data.open import open_dataset
    from portrait_tf.evaluation.evaluate import Evaluation, mean_scores
    from portrait_tf.evaluation.holes import HoleSet
    from portrait_tf.inference.engines import PipelineEngine
    from portrait_tf.inference.pipeline import Pipeline

    published = json.loads(publish_scores.SCORES.read_text())
    pipeline = Pipeline.bundled()
    engine, reader = PipelineEngine(pipeline), open_dataset(CCP, "val")
    holes = HoleSet(reader, pipeline.size)
    found = mean_scores(Evaluation(engine, holes, methods={}).score())
    for task, row in published["completion"].items():
        psnr = found["completion"][task]["psnr_hole"]
        assert psnr == pytest.approx(row["psnr_hole"], abs=0.1)
    for key in ("miou", "miou_hole", "pixel_accuracy", "pckh"):
        assert found["parsing"][key] == pytest.approx(
            published["parsing"][key], abs=0.005
        )
