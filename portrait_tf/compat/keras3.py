"""The default stack: Keras 3's own names."""

import contextlib
from collections.abc import Iterator

import keras
from keras import Variable, ops
from keras.config import dtype_policy, set_dtype_policy
from keras.layers import SpectralNormalization
from keras.random import SeedGenerator, normal
from keras.tree import map_structure


def normalize_kernel(layer: SpectralNormalization) -> None:
    """Divides a layer's kernel by its spectral norm; zeros stay zeros."""
    kernel, vector_u = layer.kernel, layer.vector_u
    new_vector_u, new_kernel = ops.cond(
        # Its norm cannot be divided by.
        ops.all(ops.equal(kernel.value, 0)),
        lambda: (vector_u.value, kernel.value),
        layer.normalized_weights,
    )
    vector_u.assign(new_vector_u)
    kernel.assign(new_kernel)


def variable_path(variable: object) -> str:
    """What a variable is called in files."""
    return getattr(variable, "path", variable.name)


def model_variables(model: keras.Model) -> list:
    """All variables of a model, seeds' too, layer by layer."""
    return model.variables


def name_slots(optimizer: keras.optimizers.Optimizer) -> None:
    """Gives an optimizer's variables the paths that Keras 3 gives them: nothing."""


def build_sublayer(layer: keras.layers.Layer, shape: tuple) -> None:
    """Builds a layer within another one's `build`; its name is in its paths."""
    layer.build(shape)


def application_layer_name(layer: keras.layers.Layer) -> str:
    """What Keras 3 calls a layer of a network of `keras.applications`."""
    return layer.name


@contextlib.contextmanager
def values_in_place(
    models: list[keras.Model], pairs: list[tuple[object, object]]
) -> Iterator[None]:
    """Within it, models compute with other values than their variables'.

    Args:
        models: Whose variables they are.
        pairs: Variable and value.
    """
    with keras.StatelessScope(state_mapping=pairs):
        yield
