"""What all layers share."""

import keras

from portrait_tf.compat import arguments_of


class ConfigLayer(keras.layers.Layer):
    """A layer that keeps each argument of its class as an attribute of that name.

    `get_config` holds these. The output has the first input's shape, unless a subclass
    says otherwise.
    """

    def get_config(self) -> dict:
        return {**super().get_config(), **arguments_of(self)}

    def compute_output_shape(self, shape: tuple | list) -> tuple:
        several = isinstance(shape[0], list | tuple) or hasattr(shape[0], "rank")
        return tuple(shape[0] if several else shape)
