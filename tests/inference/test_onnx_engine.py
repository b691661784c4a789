"""ONNX Runtime answers as Keras does, to a gray level, and without TensorFlow."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from portrait_tf.data.synthetic import synthesize
from portrait_tf.errors import PortraitError
from portrait_tf.inference import onnx_engine
from portrait_tf.inference.engines import PipelineEngine, open_engine
from portrait_tf.inference.onnx_engine import OnnxEngine
from portrait_tf.inference.pipeline import Pipeline
from portrait_tf.photos import read_photo, write_png

SIZES = [(192, 128), (150, 128), (60, 90), (333, 201), (400, 90)]


@pytest.fixture(scope="module")
def both():
    """The bundled networks in ONNX Runtime and in Keras, without detail."""
    engine = open_engine(None, None, detail=False)
    assert isinstance(engine, OnnxEngine)
    return engine, PipelineEngine(Pipeline.bundled(detail=False))


def holes(size):
    masks = np.zeros((2, *size), np.uint8)
    masks[0, size[0] // 3 : size[0] // 2, size[1] // 3 : size[1] // 2] = 255
    masks[1, size[0] * 2 // 3 :] = 1
    return masks


@pytest.mark.parametrize("size", SIZES)
def test_it_answers_as_keras_does(both, size):
    person, masks = synthesize(3, size), holes(size)
    own = np.where(person.parsing == 0, np.uint8(255), person.parsing)
    hints = np.zeros((16, 3), np.float32)
    hints[:2] = (size[1] / 3, size[0], 1), (size[1] / 2, size[0] / 2, 1)
    for given in ((None, hints), (), (own,)):
        found, wanted = (
            one.complete_masks(person.photo, masks, *given) for one in both
        )
        assert np.abs(found[0].astype(int) - wanted[0]).max() <= 1
        assert np.mean(found[1] != wanted[1]) < 1e-3
    one = both[0].complete(person.photo, masks[1], own)
    assert np.abs(one[0].astype(int) - found[0][1]).max() <= 1
    for given in ((None, hints), ()):
        found, wanted = (one.parse(person.photo, *given) for one in both)
        assert np.mean(found[0] != wanted[0]) < 1e-3
        np.testing.assert_allclose(found[1], wanted[1], atol=0.05)


def test_it_says_what_it_takes(both):
    found, wanted = both
    assert found.working_size == wanted.working_size
    assert found.has_pose == wanted.has_pose
    assert found.takes_parsing == wanted.takes_parsing
    assert OnnxEngine.bundled().detail == Pipeline.bundled().detail


def test_the_graph_of_another_network_is_refused(tmp_path, monkeypatch):
    description = json.loads(
        (onnx_engine.FOLDER / onnx_engine.DESCRIPTION_FILE).read_text()
    )
    description["networks"]["completion"]["config"]["sharpness"] = 2.0
    (tmp_path / onnx_engine.DESCRIPTION_FILE).write_text(json.dumps(description))
    monkeypatch.setattr(onnx_engine, "FOLDER", tmp_path)
    with pytest.raises(PortraitError, match="another completion network.*bundled_gr"):
        OnnxEngine.bundled()


def test_a_damaged_file_is_named(tmp_path):
    shutil.copy(onnx_engine.FOLDER / onnx_engine.DESCRIPTION_FILE, tmp_path)
    (tmp_path / onnx_engine.STRUCTURE_FILE).write_bytes(b"no graph")
    with pytest.raises(
        PortraitError, match="structure.onnx: ONNX Runtime cannot run it"
    ):
        OnnxEngine(tmp_path)


@pytest.mark.parametrize(
    ("size", "times", "without"),
    [
        ((96, 64), 1, "loaded"),
        ((192, 128), 1, "installed"),
        ((192, 128), 2, "installed"),
    ],
)
def test_photos_need_no_tensorflow(tmp_path, size, times, without):
    """Larger ones are completed without detail, and a note says so."""
    photo = synthesize(5, size).photo.repeat(times, 0).repeat(times, 1)
    mask = 255 * holes(photo.shape[:2])[1]
    write_png(tmp_path / "photo.png", photo)
    write_png(tmp_path / "mask.png", mask)
    code = (
        "import sys; from portrait_tf.apps import cli\n"
        "gone = dict.fromkeys(['tensorflow', 'keras'])\n"
        f"if {without == 'installed'}: sys.modules.update(gone)\n"
        "try: cli.main()\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not any(map(sys.modules.get, gone))\n"
    )
    arguments = ["complete", "photo.png", "--mask", "mask.png", "-o", "out.png"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert ("pip install 'portrait-tf[default]'" in done.stderr) == (times > 1)
    whole = read_photo(tmp_path / "out.png")
    np.testing.assert_array_equal(whole[mask == 0], photo[mask == 0])
    assert (whole != photo)[mask != 0].any()
