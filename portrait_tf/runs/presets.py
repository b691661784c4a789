"""Networks by the name of a preset, from a run's folder, or from a weights file."""

import pathlib

import keras

from portrait_tf.errors import PortraitError
from portrait_tf.runs.bundled import FOLDER
from portrait_tf.runs.folder import STAGES, load_run_network, trained_stages
from portrait_tf.runs.storage import read_meta
from portrait_tf.runs.weights import load_bundled, load_weights

DEMO = "demo"
"""The weights in the package, described in MODEL_CARD.md."""


def presets_of(network: type[keras.Model]) -> dict[str, str]:
    """Descriptions of a class's presets, by name."""
    stages = " and ".join(_bundled_stages(network))
    return {DEMO: f"{stages} network of the package (MODEL_CARD.md)"} if stages else {}


def _bundled_stages(network: type[keras.Model]) -> list[str]:
    """Stages whose bundled network is of a class; no network is built."""
    return [
        stage
        for stage in STAGES
        if read_meta(FOLDER / f"{stage}_{DEMO}.npz")["class"] == network.__name__
    ]


def load_network(source: str | pathlib.Path, stage: str) -> keras.Model:
    """The network of a stage.

    Args:
        source: `bundled` or `demo`, a run's folder, or a weights file.
        stage: `parsing`, `completion` or `face`.

    Raises:
        PortraitError: There is no such network.
    """
    if str(source) in ("bundled", DEMO):
        return load_bundled(stage)
    path = pathlib.Path(source)
    if path.is_file() or path.suffix == ".npz":
        return load_weights(path)
    return load_run_network(source, stage)


def load_preset(network: type[keras.Model], preset: str | pathlib.Path) -> keras.Model:
    """A network of a class; see `Network.from_preset`."""
    if preset in presets_of(network):
        found = map(load_bundled, _bundled_stages(network))
    elif pathlib.Path(preset).is_dir():
        found = (load_run_network(preset, stage) for stage in trained_stages(preset))
    elif pathlib.Path(preset).is_file():
        found = [load_weights(preset)]
    else:
        names = ", ".join(presets_of(network)) or "none"
        raise PortraitError(
            f"expected a preset of {network.__name__} ({names}), a run's folder or a "
            f"weights file, received {str(preset)!r}"
        )
    kinds = []
    for one in found:
        if type(one) is network:
            return one
        kinds.append(type(one).__name__)
    others = ", ".join(kinds) or "no network"
    raise PortraitError(f"{preset}: expected a {network.__name__}, found {others}")
