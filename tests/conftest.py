"""Small things that many tests need; the networks here are tiny."""

import fcntl
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest
from tiny import TINY, random_networks

from portrait_tf.compat import KERAS_3, STACK
from portrait_tf.config import Config, parse_config
from portrait_tf.data.synthetic import synthesize
from portrait_tf.labels import LABELS


def pytest_collection_modifyitems(items: list) -> None:
    """Skips what a stack lacks; docs/addons.md has the list of the addons stack's."""
    marker = "addons_stack" if KERAS_3 else "default_stack"
    for item in items:
        if mark := item.get_closest_marker(marker):
            item.add_marker(pytest.mark.skip(reason=f"{STACK} stack: {mark.args[0]}"))


@pytest.fixture
def tiny_config() -> Config:
    return parse_config(TINY)


@pytest.fixture(scope="session")
def portraits() -> list:
    """Four synthetic people, small."""
    return [synthesize(seed, (64, 64)) for seed in (0, 1, 2, 3)]


@pytest.fixture(scope="session")
def tiny_pipeline():
    """Both networks with random weights, so that every pixel of a hole is painted.

    Without detail, a large graph, which `tests/inference/test_detail.py` tests.
    """
    from portrait_tf.inference.pipeline import Pipeline

    return Pipeline(*random_networks("parsing", "completion"), detail=False)


@pytest.fixture(scope="session")
def tiny_engine(tiny_pipeline):
    """It is traced once for all files of a worker; not to be changed."""
    from portrait_tf.inference.engines import PipelineEngine

    return PipelineEngine(tiny_pipeline)


@pytest.fixture
def engine(tiny_engine):
    return tiny_engine


@pytest.fixture
def tiny_commands(monkeypatch, tiny_engine):
    """The command line with tiny networks in place of the bundled ones."""
    monkeypatch.setattr("portrait_tf.portrait.open_engine", lambda *_: tiny_engine)


@pytest.fixture(scope="session")
def tiny_face_pipeline():
    """With a face network, and a stage 1 that takes everything for a face."""
    from portrait_tf.inference.pipeline import Pipeline

    *networks, face = random_networks("parsing", "completion", "face")
    kernel, bias = networks[0].get_layer("parsing_difference").weights
    bias.assign(bias + 20.0 * (np.arange(bias.shape[0]) % 20 == LABELS.index("Face")))
    return Pipeline(*networks, face_network=face)


@pytest.fixture(scope="session")
def tiny_models(tiny_pipeline, tmp_path_factory):
    """A folder with one version of `tiny_pipeline`, all signatures; not to be changed.

    An export takes half a minute, most of it TensorFlow's: so there is one, for all
    workers of pytest-xdist, whose folders lie side by side.
    """
    from export.saved_model import export_pipeline

    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent
    folder = shared / "tiny_models"
    with open(shared / "tiny_models.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "1").is_dir():
            export_pipeline(tiny_pipeline, folder)
    return folder
