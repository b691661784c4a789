"""What all networks share: they are built again from the arguments of their class."""

import inspect

import keras


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
