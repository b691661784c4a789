"""What all networks share: config, presets, precision."""

import contextlib
import pathlib
from collections.abc import Iterator

import keras

from portrait_tf.compat import (
    Tensor,
    arguments_of,
    dtype_policy,
    map_structure,
    ops,
    set_dtype_policy,
)
from portrait_tf.former_names import with_present_names


class _Presets:
    """A class attribute that lists presets, looked up when it is asked for."""

    def __get__(self, network: object, owner: type) -> dict[str, str]:
        from portrait_tf.runs.presets import presets_of

        return presets_of(owner)


class Network(keras.Model):
    """A functional model that keeps each argument of its class as an attribute.

    `get_config` holds these, and dtype policy and `trainable` where they are not the
    defaults; it does not depend on the layers, and so stays readable.

    Attributes:
        presets: Descriptions of the presets of a class, by name.
    """

    presets = _Presets()

    @classmethod
    def from_preset(cls, preset: str | pathlib.Path) -> "Network":
        """A trained network of this class.

        Args:
            preset: A name of `presets`, a run's folder, or a weights file (`.npz`).

        Raises:
            PortraitError: There is none, or it is of another class.

        Example:

        ```python
        network = ParsingNetwork.from_preset("demo")
        ```
        """
        from portrait_tf.runs.presets import load_preset

        return load_preset(cls, preset)

    def get_config(self) -> dict:
        config = {**arguments_of(self), "name": self.name}
        policies = {layer.dtype_policy.name for layer in self.layers} - {"float32"}
        if policies:
            config["dtype"] = min(policies)
        if not self.trainable:
            config["trainable"] = False
        return config

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "Network":
        config = with_present_names(config)
        dtype, trainable = config.pop("dtype", None), config.pop("trainable", True)
        with precision(dtype or dtype_policy()):
            network = cls(**config)
        if not trainable:
            network.trainable = False
        return network


@contextlib.contextmanager
def precision(policy: object) -> Iterator[None]:
    """Networks that are built here compute by a dtype policy.

    bfloat16 has the range of float32: unlike float16, it needs no loss scaling. Keras'
    policy is global, so it is set back.

    Args:
        policy: A policy or its name; True is `mixed_bfloat16`, False changes nothing.
    """
    before = dtype_policy()
    if policy:
        set_dtype_policy("mixed_bfloat16" if policy is True else policy)
    try:
        yield
    finally:
        set_dtype_policy(before)


def in_float32(outputs: Tensor) -> Tensor:
    """Outputs of a network of any precision, for losses."""
    return map_structure(lambda x: ops.cast(x, "float32"), outputs)
