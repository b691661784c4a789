"""What all networks share: they are built again from the arguments of their class."""

import contextlib
import inspect
from collections.abc import Iterator

import keras

from portrait_tf.compat import dtype_policy, map_structure, ops, set_dtype_policy


class Network(keras.Model):
    """A functional model that keeps each argument of its class as an attribute.

    `get_config` holds just these, by name, and `from_config` gives them to the class:
    so a config stays readable, and does not depend on the layers.
    """

    def get_config(self) -> dict:
        names = inspect.signature(type(self).__init__).parameters
        return {
            name: getattr(self, name)
            for name in (*names, "name")
            if name not in ("self", "kwargs")
        }

    @classmethod
    def from_config(
        cls, config: dict, custom_objects: dict | None = None
    ) -> keras.Model:
        return cls(**config)


@contextlib.contextmanager
def precision(mixed: bool) -> Iterator[None]:
    """Networks that are built herein compute in bfloat16, if `mixed`.

    bfloat16 has the range of float32: no loss has to be scaled, as float16 needs it,
    and a number that is not finite still means trouble. Keras' policy is global, so it
    is put back.
    """
    before = dtype_policy()
    if mixed:
        set_dtype_policy("mixed_bfloat16")
    try:
        yield
    finally:
        set_dtype_policy(before)


def in_float32(outputs: object) -> object:
    """Outputs of a network of any precision, for losses."""
    return map_structure(lambda x: ops.cast(x, "float32"), outputs)
