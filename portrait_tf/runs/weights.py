"""Weights files: the package's own (MODEL_CARD.md) and others."""

import copy
import pathlib

import keras

from portrait_tf.config import PipelineConfig, parse_config
from portrait_tf.errors import PortraitError
from portrait_tf.models import NETWORKS
from portrait_tf.runs.bundled import FOLDER, bundled_arrays
from portrait_tf.runs.storage import assign_arrays, read_arrays, read_meta, save_arrays

_CLASSES = {network.__name__: network for network in NETWORKS.values()}


def save_weights(
    network: keras.Model,
    path: str | pathlib.Path,
    recipe: dict,
    dtype: str | None = "float16",
) -> None:
    """Writes a network in compact form: no optimizer, no code.

    Args:
        network: Of any stage.
        path: The `.npz` file.
        recipe: How it was made (config, steps, data), kept in the file.
        dtype: Of the weights in the file; None keeps theirs.
    """
    meta = {**network_meta(network), "recipe": recipe}
    save_arrays(path, {"network": network.weights}, meta, dtype)


def network_meta(network: keras.Model) -> dict:
    """Class and config of a network, as JSON can hold them."""
    return {"class": type(network).__name__, "config": network.get_config()}


def network_from_meta(meta: dict, source: object) -> keras.Model:
    """Builds a network with initial weights from `network_meta`.

    Raises:
        PortraitError: The class is unknown; `source` is named.
    """
    if meta.get("class") not in _CLASSES:
        raise PortraitError(
            f"{source} holds {meta.get('class', 'no network')!r}; expected one of "
            + ", ".join(_CLASSES)
        )
    return _CLASSES[meta["class"]].from_config(meta["config"])


def load_weights(path: str | pathlib.Path) -> keras.Model:
    """Builds the network that a file of `save_weights` holds.

    Raises:
        PortraitError: The file is missing, damaged, or of an unknown network.
    """
    return _network_of(*read_arrays(path), path)


def _network_of(arrays: dict, meta: dict, source: pathlib.Path) -> keras.Model:
    network = network_from_meta(meta, source)
    assign_arrays(network.weights, arrays, "network", source)
    return network


def load_bundled(stage: str) -> keras.Model:
    """A new network with the bundled weights of a stage; the file is read once.

    Raises:
        PortraitError: There is no such file, or it is not the published one.
    """
    arrays, meta = bundled_arrays(stage)
    path = FOLDER / f"{stage}_demo.npz"
    # A network keeps a reference to the lists of its config.
    return _network_of(arrays, copy.deepcopy(meta), path)


def bundled_pipeline_config() -> PipelineConfig:
    """The section `pipeline` of the config of the bundled networks."""
    path = FOLDER / "parsing_demo.npz"
    # Only this section: other keys of the recipe may be of an older schema.
    values = read_meta(path)["recipe"].get("pipeline", {})
    return parse_config({"pipeline": values}, str(path)).pipeline


def at_size(
    network: keras.Model, size: tuple[int, int], name: str | None = None
) -> keras.Model:
    """A convolutional network built for another working size, with the same weights.

    People of other sizes in pixels than in training are parsed less well.

    Args:
        network: Stage 1 or stage 2.
        size: Height and width; the network itself, if it works at them already.
        name: Of the new network; None for the same.
    """
    if tuple(network.size) == tuple(size):
        return network
    config = {**network.get_config(), "size": tuple(size)}
    other = type(network).from_config(config | ({"name": name} if name else {}))
    other.set_weights(network.get_weights())
    return other
