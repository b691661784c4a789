"""The addons stack: Keras 2.15 and tensorflow-addons under Keras 3's names."""

import contextlib
import warnings
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from portrait_tf.errors import PortraitError

with warnings.catch_warnings():
    # It says at every import that its end of life is near; docs/addons.md does, too.
    warnings.simplefilter("ignore")
    try:
        from tensorflow_addons.layers import (
            SpectralNormalization as _AddonsNormalization,
        )
    except ModuleNotFoundError as error:
        if error.name != "tensorflow_addons":
            raise
        raise PortraitError(
            f"TensorFlow {tf.__version__} is here without tensorflow-addons: expected "
            "pip install 'portrait-tf[addons]', or 'portrait-tf[default]' for newer "
            "ones of both"
        ) from None

map_structure = tf.nest.map_structure


def Variable(
    value: object, dtype: object = None, trainable: bool = True, name: str | None = None
) -> tf.Variable:
    """`keras.Variable`: of float32, unless it is told otherwise."""
    if dtype == "int":
        dtype = "int32"
    if dtype is None:
        dtype = getattr(value, "dtype", "float32")
    return tf.Variable(value, dtype=dtype, trainable=trainable, name=name)


def dtype_policy() -> keras.mixed_precision.Policy:
    """The precision of layers that are built from now on."""
    return keras.mixed_precision.global_policy()


def set_dtype_policy(policy: str | keras.mixed_precision.Policy) -> None:
    """Sets what `dtype_policy` returns."""
    keras.mixed_precision.set_global_policy(policy)


class SeedGenerator:
    """Seeds of stateless random numbers: the same as Keras 3's, one after the other.

    No layer tracks it: its state is among `model_variables`, but in no weights file.

    Args:
        seed: The first half of every seed; None draws one.
        name: Of the generator.

    Attributes:
        state: The next seed.
    """

    def __init__(self, seed: int | None = None, name: str | None = None) -> None:
        self.name = name or "seed_generator"
        if seed is None:
            seed = int(np.random.randint(1, 10**9))
        self.state = tf.Variable(
            np.array([seed, 0]),
            dtype=tf.int64,
            trainable=False,
            name=f"{self.name}/seed_generator_state",
        )

    def next(self) -> tf.Tensor:
        """A seed; the next one is another."""
        seed = tf.identity(self.state)
        self.state.assign_add([0, 1])
        return seed


def normal(shape: tuple, dtype: str, seed: SeedGenerator) -> tf.Tensor:
    """Standard normal numbers: those that Keras 3 draws from the same seed."""
    seed = tf.cast(seed.next(), tf.int32)
    return tf.random.stateless_normal(shape, seed, dtype=dtype)


@keras.saving.register_keras_serializable("portrait_tf")
class SpectralNormalization(_AddonsNormalization):
    """tensorflow-addons' spectral normalization, under the names of Keras 3's.

    Keras 2.15's own fails inside a `tf.function` with `training=True`.
    """

    def build(self, shape: tuple) -> None:
        if not self.layer.built:
            build_sublayer(self.layer, shape)
            self.layer.built = True
        super().build(shape)

    @property
    def kernel(self) -> tf.Variable:
        return self.w

    @property
    def vector_u(self) -> tf.Variable:
        return self.u


def normalize_kernel(layer: SpectralNormalization) -> None:
    """Divides a layer's kernel by its spectral norm; zeros stay zeros."""
    tf.cond(
        tf.reduce_all(tf.equal(layer.kernel, 0)),
        lambda: None,
        layer.normalize_weights,
    )


_RENAMED = {"depthwise_kernel": "kernel", "sn_u": "vector_u"}


def variable_path(variable: tf.Variable) -> str:
    """What Keras 3 calls a variable, and so its name in files."""
    if hasattr(variable, "path"):
        return variable.path
    *layers, name = variable.name.removesuffix(":0").split("/")
    return "/".join([*layers, _RENAMED.get(name, name)])


_SLOTS = {"m": "momentum", "v": "velocity"}


def name_slots(optimizer: keras.optimizers.Optimizer) -> None:
    """Gives an optimizer's variables the paths that Keras 3 gives them."""
    for variable in optimizer.variables:
        slot, *owner = variable_path(variable).split("/")
        name = slot
        if owner:
            name = "_".join([*owner, _SLOTS.get(slot, slot)])
        variable.path = f"{optimizer.name}/{name}"


def build_sublayer(layer: keras.layers.Layer, shape: tuple) -> None:
    """Builds a layer within another one's `build`; its name is in its paths."""
    with tf.name_scope(layer.name):
        layer.build(shape)


def application_layer_name(layer: keras.layers.Layer) -> str:
    """What Keras 3 calls a layer of a network of `keras.applications`."""
    name = layer.name
    # Of MobileNetV3 alone: "expanded_conv_1/depthwise/BatchNorm", "Conv_1".
    if "/" in name or name.startswith("Conv"):
        name = name.replace("/BatchNorm", "_bn").replace("AvgPool", "avg_pool")
        name = name.replace("/", "_").lower()
    return name


def model_variables(model: keras.Model) -> list[tf.Variable]:
    """All variables of a model in Keras 3's order: layer by layer, seeds' too."""
    variables = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            variables += model_variables(layer)
            continue
        variables += layer.weights
        variables += [
            one.state for one in vars(layer).values() if isinstance(one, SeedGenerator)
        ]
    return variables


@contextlib.contextmanager
def values_in_place(
    models: list[keras.Model], pairs: list[tuple[tf.Variable, tf.Tensor]]
) -> Iterator[None]:
    """Within it, models compute with other values than their variables'.

    Args:
        models: Whose variables they are.
        pairs: Variable and value.
    """
    values = {id(variable): value for variable, value in pairs}
    replaced, seeds = [], set()
    for layer in {
        id(one): one for model in models for one in model.submodules
    }.values():
        for name, attribute in vars(layer).items():
            if id(attribute) in values:
                replaced.append((layer, name, attribute))
            elif isinstance(attribute, SeedGenerator):
                # Of training alone.
                seeds.add(id(attribute.state))
    if lost := values.keys() - seeds - {id(variable) for *_, variable in replaced}:
        raise ValueError(f"{len(lost)} variables are no attributes of a layer")
    try:
        # Past the layers' own `__setattr__`, which would track the values as weights.
        for layer, name, variable in replaced:
            vars(layer)[name] = values[id(variable)]
        yield
    finally:
        for layer, name, variable in replaced:
            vars(layer)[name] = variable
