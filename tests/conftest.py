"""Small things that many tests need; the networks here are tiny."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pytest
from tiny import TINY

from portrait_tf.config import Config, parse_config
from portrait_tf.data.synthetic import synthetic_portrait


@pytest.fixture
def tiny_config() -> Config:
    return parse_config(TINY)


@pytest.fixture(scope="session")
def portraits() -> list:
    """Four synthetic people, small."""
    return [synthetic_portrait(seed, (64, 64)) for seed in (0, 1, 2, 3)]


@pytest.fixture(scope="session")
def tiny_pipeline():
    """Both networks with random weights, so that every pixel of a hole is painted."""
    from portrait_tf.pipeline import Pipeline
    from portrait_tf.training.run import build_network

    keras.utils.set_random_seed(0)
    config = parse_config(TINY)
    networks = [build_network(stage, config) for stage in ("parsing", "completion")]
    rng = np.random.default_rng(0)
    for network in networks:
        network.set_weights(
            [w + rng.normal(0, 0.05, w.shape) for w in network.get_weights()]
        )
    return Pipeline(*networks)
