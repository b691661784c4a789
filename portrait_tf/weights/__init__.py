"""The small pretrained weights that come in the package; see MODEL_CARD.md."""

import functools
import pathlib

import keras

from portrait_tf.config import PipelineConfig, parse_config
from portrait_tf.errors import PortraitError
from portrait_tf.models import NETWORKS
from portrait_tf.storage import assign_arrays, read_arrays, read_meta, save_arrays

FOLDER = pathlib.Path(__file__).parent
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
    meta = {
        "class": type(network).__name__,
        "config": network.get_config(),
        "recipe": recipe,
    }
    save_arrays(path, {"network": network.weights}, meta, dtype)


def load_weights(path: str | pathlib.Path) -> keras.Model:
    """Builds the network that a file of `save_weights` holds.

    Raises:
        PortraitError: The file is missing, damaged, or fits no network of ours.
    """
    arrays, meta = read_arrays(path)
    if meta.get("class") not in _CLASSES:
        raise PortraitError(
            f"{path} holds {meta.get('class', 'no network')!r}; expected one of "
            + ", ".join(_CLASSES)
        )
    network = _CLASSES[meta["class"]].from_config(meta["config"])
    assign_arrays(network.weights, arrays, "network", path)
    return network


@functools.cache
def load_bundled(stage: str) -> keras.Model:
    """The bundled network of a stage; loaded once, when asked."""
    return load_weights(FOLDER / f"{stage}_demo.npz")


def is_bundled(stage: str) -> bool:
    """Whether the package has a network of a stage."""
    return (FOLDER / f"{stage}_demo.npz").is_file()


def bundled_pipeline_config() -> PipelineConfig:
    """How the bundled networks are run: `pipeline` of the config they came from."""
    path = FOLDER / "parsing_demo.npz"
    # The section alone: the recipe's other keys may be those of an older schema.
    values = read_meta(path)["recipe"].get("pipeline", {})
    return parse_config({"pipeline": values}, str(path)).pipeline


def at_size(network: keras.Model, size: tuple[int, int]) -> keras.Model:
    """A convolutional network built for another working size, with the same weights.

    Nothing is learned anew: people of another size in pixels than those that it was
    trained on are parsed less well.

    Args:
        network: Stage 1 or stage 2.
        size: Height and width; the network itself, if it works at them already.
    """
    if tuple(network.size) == tuple(size):
        return network
    larger = type(network).from_config({**network.get_config(), "size": tuple(size)})
    larger.set_weights(network.get_weights())
    return larger
