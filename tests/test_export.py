"""Export, then a fresh process that serves it, then gRPC."""

import json
import os
import pathlib
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from export_photos import decode, photo_and_mask
from tiny import random_networks

from export import saved_model
from export.contract import SIGNATURES
from export.publishing import list_versions, prune
from export.saved_model import export_pipeline, open_session
from portrait_tf.errors import PortraitError
from portrait_tf.inference.engines import SavedModelEngine
from portrait_tf.inference.pipeline import Pipeline
from portrait_tf.photos import encode_png
from serving.client import PortraitClient


@pytest.fixture(scope="module")
def client(tiny_models):
    """A client of `portrait-tf serve` in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "portrait_tf", "serve", str(tiny_models),
         "--port", "0", "--rest_api_port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    line = process.stdout.readline()
    assert "gRPC 127.0.0.1:" in line, process.stderr.read()
    with PortraitClient(line.split("gRPC ")[1].split(",")[0]) as client:
        yield client
    process.terminate()
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said


@pytest.mark.parametrize("size", [(32, 32), (61, 47), (150, 200)])
def test_grpc_answers_as_keras_does(tiny_pipeline, client, size):
    photo, mask = photo_and_mask(size)
    expected = tiny_pipeline(photo[None], mask[None, ..., None])
    plain = client.complete(photo, mask)
    completed, parsing = client.complete_encoded(encode_png(photo), encode_png(mask))
    wanted = expected["completed"].numpy()[0]
    labels = expected["parsing"].numpy()[0, ..., 0]
    for found, found_labels in (
        (plain.completed, np.squeeze(plain.parsing)),
        (decode(completed), decode(parsing)[..., 0]),
    ):
        assert np.abs(found.astype(int) - wanted).max() <= 1
        assert np.mean(found_labels != labels) < 0.01
        np.testing.assert_array_equal(found[mask == 0], photo[mask == 0])


@pytest.mark.default_stack("the code in the documentation is for Keras 3")
def test_the_code_in_the_documentation_runs(tiny_models, tmp_path, monkeypatch):
    """A Keras layer around a signature: docs/serving.md."""
    page = pathlib.Path(__file__).parent.parent / "docs" / "serving.md"
    section = page.read_text().split("## Without a server")[1]
    (block,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (tmp_path / "models").symlink_to(tiny_models)
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(block, found)
    photos, answer = found["photos"], found["answer"]
    with open_session(tiny_models / "1") as run:
        expected = run("serving_default", photos)
    for name, value in expected.items():
        np.testing.assert_array_equal(answer[name], value)


def test_in_process_engine_takes_the_highest_version(tiny_models, tmp_path):
    # A digit that is no number.
    (tmp_path / "\u00b2").mkdir()
    (tmp_path / "\u00b2" / "saved_model.pb").touch()
    photo, mask = photo_and_mask((30, 20))
    completed, parsing = SavedModelEngine(tiny_models).complete(photo, mask)
    assert completed.shape == photo.shape and parsing.shape == mask.shape
    with pytest.raises(PortraitError, match="holds no exported model"):
        SavedModelEngine(tmp_path)


def test_a_wrong_export_is_not_published(tiny_pipeline, tmp_path, monkeypatch):
    """Written with other weights than it is compared with, it must be found out."""
    write = saved_model._write

    def write_wrong(pipeline, *arguments):
        network = pipeline.completion_network
        weights = network.get_weights()
        network.set_weights([w * 1.5 for w in weights])
        try:
            write(pipeline, *arguments)
        finally:
            network.set_weights(weights)

    monkeypatch.setattr(saved_model, "_write", write_wrong)
    with pytest.raises(RuntimeError, match="it was not published"):
        export_pipeline(
            tiny_pipeline, tmp_path / "models", signatures=["serving_default"]
        )
    assert [path.name for path in (tmp_path / "models").iterdir()] == [".models.lock"]


@pytest.mark.long
def test_float16_another_size_scales_and_few_signatures(tmp_path):
    """`export_pipeline` compares it with networks that have rounded weights.

    Stage 2 has a pre-fill, as the bundled one does; other tests' have none, since a
    graph that holds one takes four times as long to write.
    """
    prefill = ("completion.network.prefill=parsing",)
    networks = random_networks("parsing", "completion", changes=prefill)
    averaged = Pipeline(*networks, flip=True, scales=(1.0, 0.5), detail=False)
    larger = averaged.at_size((48, 32))
    assert len(larger.keras_models) == 3
    folder = export_pipeline(
        larger,
        tmp_path / "models",
        precision="float16",
        signatures=["parse", "serving_default"],
        batch_sizes=[1, 3],
        label="canary",
    )
    (version,) = list_versions(tmp_path / "models")
    assert version.labels == ["canary"] and version.problem == ""
    assert version.precision == "float16"
    assert version.signatures == ["serving_default", "parse"]
    assert version.description["working_size"] == [48, 32]
    assert version.description["batch_sizes"] == [1, 3]
    # A network's copies at other scales share its weights.
    weights = sum(network.count_params() for network in networks)
    data = folder / "variables" / "variables.data-00000-of-00001"
    assert 2 * weights <= data.stat().st_size < 2.1 * weights
    photo, mask = photo_and_mask((61, 47))
    inputs = {"image": photo[None], "mask": mask[None, ..., None]}
    with open_session(folder) as run:
        found = run("serving_default", inputs)
    wanted = larger(**inputs)["completed"].numpy()
    # Half precision: near, not equal.
    difference = np.abs(found["completed"].astype(int) - wanted)
    assert difference.max() > 0 and difference.mean() < 2
    smaller = Pipeline(*networks, detail=False)(**inputs)["completed"].numpy()
    assert np.abs(smaller.astype(int) - wanted).mean() > difference.mean()


@pytest.mark.long
def test_the_bundled_models_size_is_that_of_its_weights(tmp_path):
    """And the graphs', which take 4.2 MB whatever the precision is."""
    options = "float16", list(SIGNATURES), [1, 2, 4, 8]
    saved_model._write(Pipeline.bundled(), tmp_path, *options)
    weights = json.loads((tmp_path / "signature.json").read_text())["weights"]
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert weights["bytes"] < size < 1.4 * weights["bytes"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float8"}, "unknown precision 'float8': expected float32 or"),
        ({"signatures": ["paint"]}, "unknown signature 'paint': expected serving_def"),
        ({"batch_sizes": []}, "rising numbers from 1 to 64, received \\[\\]"),
        ({"batch_sizes": [2, 1]}, "rising numbers from 1 to 64"),
        ({"batch_sizes": [0, 1]}, "rising numbers from 1 to 64"),
        ({"batch_sizes": [1, 65]}, "rising numbers from 1 to 64"),
        ({"label": "best"}, "unknown label 'best': expected canary or stable"),
    ],
)
def test_options_that_cannot_be(tiny_pipeline, tmp_path, options, message):
    with pytest.raises(PortraitError, match=message):
        export_pipeline(tiny_pipeline, tmp_path / "models", **options)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("size", [(40, 32), (8, 8), (0, 16)])
def test_working_sizes_that_cannot_be(tiny_pipeline, size):
    with pytest.raises(PortraitError, match="multiples of 16|at least 16x16"):
        tiny_pipeline.at_size(size)


def test_the_next_number_is_taken_and_others_stay(tiny_pipeline, tmp_path, monkeypatch):
    monkeypatch.setattr(
        saved_model, "_write", lambda _, folder, *rest: (folder / "x").touch()
    )
    monkeypatch.setattr(saved_model, "check_export", lambda *_: None)
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "file").touch()
    (tmp_path / "notes").mkdir()
    assert export_pipeline(tiny_pipeline, tmp_path).name == "8"
    assert (tmp_path / "7" / "file").exists()


def test_an_unwritable_folder_is_named(tiny_pipeline, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PortraitError, match="file: cannot write the export there"):
        export_pipeline(tiny_pipeline, tmp_path / "file")


_EXPORTER = """
import sys
from tiny import random_networks
from export.saved_model import export_pipeline
from portrait_tf.inference.pipeline import Pipeline

pipeline = Pipeline(*random_networks("parsing", "completion"), detail=False)
print("ready", flush=True)
export_pipeline(pipeline, sys.argv[1], signatures=["serving_default"], label="stable")
"""


@pytest.mark.long
def test_kill_9_at_any_stage_of_an_export(tmp_path):
    """As soon as each of these is there; what is numbered then is whole."""
    directory = tmp_path / "models"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(pathlib.Path(__file__).parent), *sys.path]),
    }
    for pattern in (".exporting-*/saved_model.pb", "1", "models.config"):
        process = subprocess.Popen(
            [sys.executable, "-c", _EXPORTER, directory],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        while process.poll() is None and not list(directory.glob(pattern)):
            time.sleep(0.001)
        process.kill()
        process.communicate()
        versions = list_versions(directory)
        assert [one.problem for one in versions] == [""] * len(versions)
        if pattern == "models.config":
            assert versions[-1].labels == ["stable"]
        elif pattern != "1":
            assert versions == []
            assert list(directory.glob(".exporting-*")), pattern
        for one in versions:
            assert saved_model.load_problem(one.folder) == ""
    # Each export has removed what the one before has left, and so does this.
    assert len(list(directory.glob(".exporting-*"))) <= 1
    prune(directory, 9)
    assert not list(directory.glob(".exporting-*"))
