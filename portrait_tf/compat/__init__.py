"""What differs between the two supported stacks, in one place.

The default stack is TensorFlow 2.21 with Keras 3.15; the addons stack is TensorFlow
2.15 with Keras 2.15 and tensorflow-addons (`docs/addons.md`). Other code uses names
that both Keras versions have, and these:

* `Tensor`: for type hints;
* `ops`: `keras.ops`, or the same names over TensorFlow;
* `Variable`, `SeedGenerator`, `normal`, `map_structure`, `dtype_policy`,
  `set_dtype_policy`: Keras 3's, or the same over Keras 2;
* `SpectralNormalization` and `normalize_kernel`, its division;
* `variable_path`, `model_variables`, `name_slots`, `build_sublayer`,
  `application_layer_name`: for equal names and order of variables in files;
* `values_in_place`: to compute with other values than a network's own.
"""

import inspect
from typing import Any, TypeAlias

import keras

Tensor: TypeAlias = Any
"""A tensor of Keras' backend, symbolic or not, or what converts to one."""

KERAS_3 = int(keras.__version__.split(".")[0]) >= 3
"""Whether this is the default stack."""

STACK = "default" if KERAS_3 else "addons"
"""The stack's name, as documentation has it."""


def arguments_of(instance: object) -> dict:
    """Attributes of an object that have the names of its class's arguments."""
    names = inspect.signature(type(instance).__init__).parameters
    left_out = ("self", "args", "kwargs")
    return {name: getattr(instance, name) for name in names if name not in left_out}


if KERAS_3:
    from portrait_tf.compat import keras3 as _stack
    from portrait_tf.compat.keras3 import ops
else:
    from portrait_tf.compat import keras2 as _stack
    from portrait_tf.compat import keras2_ops as ops

SeedGenerator = _stack.SeedGenerator
SpectralNormalization = _stack.SpectralNormalization
Variable = _stack.Variable
application_layer_name = _stack.application_layer_name
build_sublayer = _stack.build_sublayer
dtype_policy = _stack.dtype_policy
map_structure = _stack.map_structure
model_variables = _stack.model_variables
name_slots = _stack.name_slots
normal = _stack.normal
normalize_kernel = _stack.normalize_kernel
set_dtype_policy = _stack.set_dtype_policy
values_in_place = _stack.values_in_place
variable_path = _stack.variable_path
