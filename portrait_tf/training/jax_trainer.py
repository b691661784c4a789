"""Trainers on Keras' JAX backend: the same steps, without state.

A train step of `portrait_tf.training` reads and assigns Keras variables. Here it runs
in a `keras.StatelessScope`, which gives it values of all variables and takes what it
assigns; so it is a function of arrays, which JAX differentiates and compiles. Data come
from `tf.data` as everywhere; what a step draws at random is drawn by TensorFlow before
it, for JAX would draw other numbers from the same seed.
"""

import contextlib
import warnings
from collections.abc import Callable, Iterator

import jax
import keras
import numpy as np
import tensorflow as tf

from portrait_tf.training.base import Trainer


def on_jax(trainer: type[Trainer]) -> type[Trainer]:
    """The class of a trainer whose steps are JAX's, under the same name."""
    return type(trainer.__name__, (_JaxSteps, trainer), {})


class _JaxSteps:
    """What of a `Trainer` is not the same on JAX; it comes before the trainer's class.

    Nothing is donated to a compiled step, and no variable loses its value while one
    runs: whatever interrupts it, a checkpoint can be written. This takes memory for
    weights and slots once more.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.scope = None
        self.drawn = None
        self.jitted = jax.jit(self._stateless, static_argnames=("kind", "phase"))

    @property
    def non_trainable_variables(self) -> list:
        """With optimizers and the VGG: all that a step reads, and is not in a graph."""
        variables = list(super().non_trainable_variables)
        # Keras asks for them before a subclass has made its own.
        for optimizer in self.optimizers.values():
            variables += optimizer.variables
        if getattr(self, "perceptual", None) is not None:
            variables += self.perceptual.features.variables
        return variables

    def _variables(self) -> list:
        return [
            *self.trainable_variables,
            *self.non_trainable_variables,
            *self.metrics_variables,
        ]

    phase = None
    """Of the step that is being compiled."""

    def make_train_function(self, force: bool = False) -> None:
        """As Keras has it: `train_step` itself chooses the phase."""
        super(Trainer, self).make_train_function(force)

    def _purge_model_variables(self, **kinds: bool) -> None:
        """Keras takes values out of variables here, for they would be donated."""

    # === One step ===
    def train_step(self, state: tuple, batch: dict) -> tuple[dict, tuple]:
        """As Keras has it on JAX."""
        trainable, non_trainable, optimizer, metrics = state
        # The variable has an older value, until a callback or an epoch's end asks.
        mine = [one is self.step_variable for one in self.non_trainable_variables]
        step = non_trainable[mine.index(True)]
        logs, values = self.jitted(
            [*trainable, *non_trainable, *metrics],
            batch,
            self._draw(step, len(batch["image"])),
            kind="train",
            phase=self.phase_at(int(step)),
        )
        ends = np.cumsum([len(trainable), len(non_trainable)])
        trainable, non_trainable = values[: ends[0]], values[ends[0] : ends[1]]
        return logs, (trainable, non_trainable, optimizer, values[ends[1] :])

    def test_step(self, state: tuple, batch: dict) -> tuple[dict, tuple]:
        """As Keras has it on JAX."""
        trainable, non_trainable, metrics = state
        logs, values = self.jitted(
            [*trainable, *non_trainable, *metrics], batch, {}, kind="test", phase=""
        )
        ends = np.cumsum([len(trainable), len(non_trainable)])
        trainable, non_trainable = values[: ends[0]], values[ends[0] : ends[1]]
        return logs, (trainable, non_trainable, values[ends[1] :])

    def _stateless(
        self, values: list, batch: dict, drawn: dict, kind: str, phase: str
    ) -> tuple[dict, list]:
        """A step as a function of arrays: its logs, and the new values.

        Args:
            values: Of `_variables`.
            batch: Of the data set.
            drawn: What `chance` gives.
            kind: `train` or `test`.
            phase: Of the step, in `train`.
        """
        self.phase = phase
        variables = self._variables()
        step = {"train": super().train_step, "test": super().test_step}[kind]
        self.drawn = drawn
        given = dict(zip(map(id, variables), values, strict=True))
        with warnings.catch_warnings(), self._scope(given) as scope:
            # Keras' confusion matrix asks for int64, and is content without.
            warnings.filterwarnings("ignore", "Explicitly requested dtype int64")
            logs = step(batch)
        self.drawn = None
        return logs, [scope.state_mapping[id(variable)] for variable in variables]

    @contextlib.contextmanager
    def _scope(self, values: dict) -> Iterator[keras.StatelessScope]:
        """Within it, variables have these values, by their `id`."""
        outer, self.scope = self.scope, keras.StatelessScope()
        self.scope.state_mapping.update(values)
        try:
            with self.scope as scope:
                yield scope
        finally:
            self.scope = outer

    # === What the step asks for ===
    def _draw(self, step: object, batch_size: int) -> dict[int, np.ndarray]:
        """Numbers of a step for `chance`: those that TensorFlow's step draws."""
        with tf.device("CPU"), self._scope({id(self.step_variable): step}):
            return {
                stream: super(_JaxSteps, self).chance(shape, stream).numpy()
                for stream, shape in self.chance_shapes(batch_size).items()
            }

    def chance(self, shape: tuple, stream: int = 0) -> object:
        numbers = self.drawn[stream]
        if numbers.shape != tuple(shape):
            raise ValueError(f"drawn {numbers.shape}, asked for {tuple(shape)}")
        return numbers

    def differentiate(
        self, loss: Callable[[Callable], tuple], variables: list
    ) -> tuple[list, object]:
        before = dict(self.scope.state_mapping)
        keys = [id(variable) for variable in variables]

        def stateless(values: list) -> tuple:
            given = before | dict(zip(keys, values, strict=True))
            with self._scope(given) as scope:
                total, rest = loss(contextlib.nullcontext)
            assigned = {
                key: value
                for key, value in scope.state_mapping.items()
                if value is not given.get(key)
            }
            return total, (rest, assigned)

        gradients, (rest, assigned) = jax.grad(stateless, has_aux=True)(
            [before[key] for key in keys]
        )
        self.scope.state_mapping.update(assigned)
        return gradients, rest

    @staticmethod
    def gradient_by(score: Callable[[object], object], x: object) -> object:
        return jax.grad(score)(x)
