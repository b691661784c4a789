"""The networks as an export holds them: plain variables, and a graph for each stage.

A Keras model that is tracked, as `keras.export.ExportArchive` does it, is written as
the archive's variables and as the model's: twice. Here Keras gives the graphs alone.
Its variables are replaced, while a graph is traced, by TensorFlow's own, which need not
have the precision that is computed in. A network's vectors (biases, and whatever
normalizes) are parts of one variable: there are hundreds, and each variable is a node
at every level of a graph that a server optimizes before it answers.
"""

import contextlib
import hashlib
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from portrait_tf.compat import model_variables, ops, values_in_place, variable_path
from portrait_tf.errors import PortraitError
from portrait_tf.inference.pipeline import Pipeline
from portrait_tf.labels import NUM_JOINTS


def stored_values(network: keras.Model, precision: str) -> list[np.ndarray]:
    """A network's variables, fractions in `precision`; PortraitError if not finite."""
    values = []
    for variable in model_variables(network):
        value = ops.convert_to_numpy(variable)
        if value.dtype.kind == "f":
            with np.errstate(over="ignore"):
                value = value.astype(precision)
            if not np.isfinite(value).all():
                path = variable_path(variable)
                raise PortraitError(
                    f"{network.name}: the weights {path!r} are not finite in "
                    f"{precision}; expected finite numbers"
                )
        values.append(value)
    return values


class StoredNetworks(Pipeline):
    """A pipeline whose networks compute, in the graph, on variables of their own.

    Both stages are traced once, however many signatures call them.

    Args:
        pipeline: What is stored; a copy of stage 1 at another scale shares its weights.
        precision: What weights are stored as, `float32` or `float16`; what is computed
            is `float32`.

    Attributes:
        module: Holds the variables; what `tf.saved_model.save` takes.

    Raises:
        PortraitError: A weight is not finite in this precision.
    """

    def __init__(self, pipeline: Pipeline, precision: str = "float32") -> None:
        # Its networks are shared: to build them again would take seconds.
        vars(self).update(vars(pipeline))
        self.precision = precision
        self.module = tf.Module()
        self._variables = {}
        stored = []
        for network in self.keras_models:
            values = stored_values(network, precision)
            shared = [one for others, one in stored if _equal(values, others)]
            variables = shared[0] if shared else _Variables(network, values)
            if not shared:
                stored.append((values, variables))
            self._variables[network] = variables
        self.values = [value for values, _ in stored for value in values]
        self.module.weights = [variables.all for _, variables in stored]
        height, width = pipeline.size
        image, mask, labels = (
            tf.TensorSpec([None, height, width, channels], tf.float32)
            for channels in (3, 1, 20)
        )
        hints = tf.TensorSpec([None, NUM_JOINTS, 3], tf.float32)
        # Without AutoGraph: no Python here asks what a tensor holds.
        plain = {"autograph": False}
        stage_1 = [image, mask, hints] if pipeline.takes_joints else [image, mask]
        self._traced_find = tf.function(self._find, stage_1, **plain)
        self._traced_paint = tf.function(self._paint, [image, mask, labels], **plain)

    @property
    def sha256(self) -> str:
        """Of all weights, in order; equal weights have equal ones."""
        digest = hashlib.sha256()
        for value in self.values:
            digest.update(f"{value.dtype.str}{value.shape}".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
        return digest.hexdigest()

    @property
    def bytes(self) -> int:
        """Of all weights."""
        return sum(value.nbytes for value in self.values)

    @contextlib.contextmanager
    def in_place_of_keras(
        self, networks: list[keras.Model] | None = None
    ) -> Iterator[None]:
        """Within it, the pipeline's networks compute with the stored weights."""
        chosen = networks or self.keras_models
        mapping = [
            (variable, tf.cast(stored, variable.dtype))
            for network in chosen
            for variable, stored in zip(
                model_variables(network), self._variables[network].read(), strict=True
            )
        ]
        with values_in_place(chosen, mapping):
            yield

    def find(
        self, image: tf.Tensor, mask: tf.Tensor, hints: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """Stage 1: `parsing`, and `pose` if it has that branch."""
        if not self.takes_joints:
            return self._traced_find(image, mask)
        if hints is None:
            # Hints of nothing are none: one graph of stage 1 is enough.
            hints = tf.zeros([tf.shape(mask)[0], NUM_JOINTS, 3])
        return self._traced_find(image, mask, hints)

    def _find(
        self, image: tf.Tensor, mask: tf.Tensor, hints: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        with self.in_place_of_keras(list(dict.fromkeys(self.structure.networks))):
            found = super().find(image, mask, hints)
        return {name: found[name] for name in ("parsing", "pose") if name in found}

    def paint(
        self, image: tf.Tensor, mask: tf.Tensor, parsing: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Stages 2 and 3: `completed`."""
        return {"completed": self._traced_paint(image, mask, parsing)}

    def _paint(
        self, image: tf.Tensor, mask: tf.Tensor, parsing: tf.Tensor
    ) -> tf.Tensor:
        networks = [self.completion_network, self.face_network]
        with self.in_place_of_keras([one for one in networks if one is not None]):
            return super().paint(image, mask, parsing)["completed"]


class _Variables:
    """A network's weights: a variable each, but one for all vectors; `all` of them."""

    def __init__(self, network: keras.Model, values: list[np.ndarray]) -> None:
        self._places = [
            index
            for index, value in enumerate(values)
            if value.ndim == 1 and value.dtype.kind == "f"
        ]
        self._sizes = [values[index].size for index in self._places]
        vectors = [values[index] for index in self._places]
        paths = [variable_path(variable) for variable in model_variables(network)]
        self._single = {
            index: tf.Variable(value, trainable=False, name=paths[index])
            for index, value in enumerate(values)
            if index not in self._places
        }
        self.all = list(self._single.values())
        if vectors:
            self._vectors = tf.Variable(
                np.concatenate(vectors), trainable=False, name=f"{network.name}/vectors"
            )
            self.all.append(self._vectors)

    def read(self) -> list[tf.Tensor]:
        """All weights, in the order of the network's variables."""
        found = dict(self._single)
        if self._places:
            parts = tf.split(self._vectors, self._sizes)
            found.update(zip(self._places, parts, strict=True))
        return [found[index] for index in sorted(found)]


def _equal(values: list[np.ndarray], others: list[np.ndarray]) -> bool:
    return len(values) == len(others) and all(
        np.array_equal(one, other) for one, other in zip(values, others, strict=True)
    )
