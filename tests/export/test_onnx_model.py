"""`painting.onnx` of a version answers as the version's SavedModel."""

import numpy as np
import pytest

pytest.importorskip("tf2onnx")

from export.publishing import list_versions
from export.saved_model import export_pipeline
from portrait_tf.data.synthetic import synthesize
from portrait_tf.errors import PortraitError
from portrait_tf.inference.engines import PipelineEngine, SavedModelEngine, open_engine
from portrait_tf.inference.onnx_engine import PAINTING_FILE, OnnxEngine
from portrait_tf.inference.pipeline import Pipeline


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "kind",
    [
        "plain",
        pytest.param("mirrored_with_face", marks=pytest.mark.long),
    ],
)
def test_a_version_with_onnx(tiny_pipeline, tiny_face_pipeline, tmp_path, kind):
    pipeline = tiny_pipeline if kind == "plain" else tiny_face_pipeline
    networks = pipeline.parsing_network, pipeline.completion_network
    face, flip = pipeline.face_network, kind != "plain"
    pipeline = Pipeline(*networks, flip=flip, face_network=face, detail=False)
    names = ["serving_default", "complete_with_parsing", "parse"]
    version = export_pipeline(pipeline, tmp_path, signatures=names, onnx=True)
    (listed,) = list_versions(tmp_path)
    assert not listed.problem and (version / PAINTING_FILE).stat().st_size > 1e4
    engine = open_engine(None, tmp_path)
    assert isinstance(engine, OnnxEngine)
    photo = synthesize(1, (45, 30)).photo
    mask = np.zeros((45, 30), np.uint8)
    mask[20:40, 10:25] = 255
    own = np.full((45, 30), 5, np.uint8)
    others = SavedModelEngine(version), PipelineEngine(pipeline)
    if face:
        faceless = Pipeline(*networks, flip=flip, detail=False)
        with_face, without = (
            one.complete(photo, mask)[0].astype(int)
            for one in (others[1], PipelineEngine(faceless))
        )
        assert np.abs(with_face - without).max() > 10
    for given in ((), (own,)):
        found = engine.complete(photo, mask, *given)
        for other in others:
            wanted = other.complete(photo, mask, *given)
            assert np.abs(found[0].astype(int) - wanted[0]).max() <= 1
            assert np.mean(found[1] != wanted[1]) < 0.01
    hints = np.zeros((16, 3), np.float32)
    hints[3] = 10, 40, 1
    found, wanted = (one.parse(photo, mask, hints)[0] for one in (engine, others[1]))
    assert np.mean(found != wanted) < 0.01
    for other in others:
        labels, joints = other.parse(photo)
        assert np.mean(engine.parse(photo)[0] != labels) < 0.01
        np.testing.assert_allclose(engine.parse(photo)[1], joints, atol=0.1)


def test_several_scales_are_refused(tiny_pipeline, tmp_path):
    networks = tiny_pipeline.parsing_network, tiny_pipeline.completion_network
    pipeline = Pipeline(*networks, scales=(1.0, 0.5))
    with pytest.raises(PortraitError, match="received scales \\(1.0, 0.5\\)"):
        export_pipeline(pipeline, tmp_path, onnx=True)
    assert not list(tmp_path.glob("[0-9]*"))
