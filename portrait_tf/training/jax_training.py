"""`fit` of our trainers under Keras' JAX backend: `KERAS_BACKEND=jax`.

Networks, losses, metrics, optimizers, samples and files are those of the TensorFlow
road; only the step is another. JAX compiles pure functions, so a step takes the values
of all variables and gives them back: Keras' `StatelessScope` lets the trainers' own
methods run on values that are handed in. Samples come from the same `tf.data` stream on
the CPU, random numbers are drawn there as well: both backends see the same.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import keras
import numpy as np

from portrait_tf.compat import ops
from portrait_tf.errors import PortraitError
from portrait_tf.training.base import GRADIENTS, Trainer
from portrait_tf.training.completion import CompletionTrainer, weighted_sum
from portrait_tf.training.parsing import ParsingTrainer

if TYPE_CHECKING:
    from portrait_tf.config import Config

_BATCH = ("image", "mask", "parsing", "joints")


def check_supported(stage: str, config: "Config") -> None:
    """Raises PortraitError: the config asks for what only TensorFlow's step does."""
    section = getattr(config, stage)
    discriminator = config.completion.discriminator
    found = {
        "the face stage": stage == "face",
        f"{stage}.training.mixed_precision": section.training.mixed_precision,
        "parsing.scales beside 1": stage == "parsing" and len(section.scales) > 1,
        "completion.discriminator.loss wgan_gp": stage == "completion"
        and discriminator.loss == "wgan_gp",
        "completion.discriminator.r1": stage == "completion" and discriminator.r1 > 0,
    }
    for name, asked in found.items():
        if asked:
            raise PortraitError(
                f"{name}: expected Keras' TensorFlow backend, received jax; leave out "
                "KERAS_BACKEND"
            )


class _State:
    """Values of variables within a pure function.

    Args:
        variables: All that a step reads or changes.
        values: Theirs, as JAX traces them.
    """

    def __init__(self, variables: list, values: list) -> None:
        self.values = {
            id(one): value for one, value in zip(variables, values, strict=True)
        }
        self.variables = variables

    def with_values(self, variables: list, values: list) -> "_State":
        changed = {id(one): value for one, value in zip(variables, values, strict=True)}
        merged = self.values | changed
        return _State(self.variables, [merged[id(one)] for one in self.variables])

    def of(self, variables: list) -> list:
        return [self.values[id(one)] for one in variables]

    def run(self, function: Callable, *args: object) -> tuple[object, "_State"]:
        """Runs a function that reads and assigns variables; gives the new state."""
        pairs = [(one, self.values[id(one)]) for one in self.variables]
        with keras.StatelessScope(state_mapping=pairs) as scope:
            result = function(*args)
        values = [scope.get_current_value(one) for one in self.variables]
        return result, _State(self.variables, values)


def _optimized(
    state: _State, optimizer: keras.optimizers.Optimizer, gradients: list, trained: list
) -> tuple[_State, object]:
    """The state after an optimizer's step, and the gradients' norm before clipping."""
    norm = ops.sqrt(sum(ops.sum(one**2) for one in gradients))
    new, slots = optimizer.stateless_apply(
        state.of(optimizer.variables), gradients, state.of(trained)
    )
    state = state.with_values(trained, new)
    return state.with_values(optimizer.variables, slots), norm


def _parsing_step(trainer: ParsingTrainer, state: _State, batch: dict) -> tuple:
    trained = trainer.network.trainable_variables

    def loss(values: list) -> tuple:
        def forward() -> tuple:
            outputs = trainer.call(batch, training=True)
            return outputs, *trainer.terms(batch, [outputs])

        found, after = state.with_values(trained, values).run(forward)
        return found[1]["loss"], (found, after.of(state.variables))

    (_, (found, values)), gradients = jax.value_and_grad(loss, has_aux=True)(
        state.of(trained)
    )
    outputs, terms, logits = found
    state = _State(state.variables, values)
    state, norm = _optimized(state, trainer.parsing_optimizer, gradients, trained)
    return state, {**terms, GRADIENTS[0]: norm}, (outputs, terms, logits)


def _critics_step(
    trainer: CompletionTrainer,
    state: _State,
    batch: dict,
    completed: object,
    parsing: object,
    boxes: object,
) -> tuple[_State, dict]:
    trained = trainer.critic_variables()
    completed, parsing = map(ops.stop_gradient, (completed, parsing))

    def loss(values: list) -> tuple:
        terms, after = state.with_values(trained, values).run(
            trainer.critic_terms, batch, completed, parsing, boxes
        )
        total = weighted_sum(terms, trainer.critic_weights)
        return total, (terms, after.of(state.variables))

    (_, (terms, values)), gradients = jax.value_and_grad(loss, has_aux=True)(
        state.of(trained)
    )
    state = _State(state.variables, values)
    state, norm = _optimized(state, trainer.critic_optimizer, gradients, trained)
    return state, {**terms, GRADIENTS[1]: norm}


def _completion_step(
    trainer: CompletionTrainer, state: _State, batch: dict, phase: str
) -> tuple:
    image, mask = batch["image"], batch["mask"]
    part = trainer.config.completion.predicted_parsing
    parsing, state = state.run(trainer.parsing_for, batch, part)
    boxes = None if phase == "reconstruction" else trainer.local_boxes(mask)
    if phase == "critics":

        def paint() -> object:
            return trainer.call(batch, parsing, training=False)["painted"]

        painted, state = state.run(paint)
        completed = image * (1.0 - mask) + painted * mask
        state, terms = _critics_step(trainer, state, batch, completed, parsing, boxes)
        shown = {name: terms[name] for name in terms if name not in GRADIENTS}
        return state, terms, (completed, shown)
    trained = trainer.network.trainable_variables

    def loss(values: list) -> tuple:
        def forward() -> tuple:
            outputs = trainer.call(batch, parsing, training=True)
            return trainer.reconstruction_terms(batch, outputs, parsing)

        (completed, terms), after = state.with_values(trained, values).run(forward)
        critic_terms = {}
        if boxes is not None:
            after, critic_terms = _critics_step(
                trainer, after, batch, completed, parsing, boxes
            )
            found, after = after.run(
                trainer.adversarial_terms, batch, completed, parsing, boxes
            )
            terms = terms | found
        total = weighted_sum(terms, trainer.term_weights)
        terms = {**terms, **critic_terms, "loss": total}
        return total, (completed, terms, after.of(state.variables))

    (_, (completed, terms, values)), gradients = jax.value_and_grad(loss, has_aux=True)(
        state.of(trained)
    )
    state = _State(state.variables, values)
    state, norm = _optimized(state, trainer.network_optimizer, gradients, trained)
    shown = {name: terms[name] for name in terms if name not in GRADIENTS}
    return state, {**terms, GRADIENTS[0]: norm}, (completed, shown)


def _averaged(trainer: Trainer, state: _State, step: object) -> _State:
    """As `Trainer._average` has it."""
    if trainer.averaged is None or trainer.phase == "critics":
        return state
    keep = ops.minimum(trainer.decay, (1.0 + step) / (10.0 + step))
    trained = {id(one) for one in trainer.network.trainable_variables}
    means = []
    for one, mean in zip(
        trainer.network.weights, trainer.averaged.weights, strict=True
    ):
        (value,), (before,) = state.of([one]), state.of([mean])
        moved = value + keep * (before - value) if id(one) in trained else value
        means.append(moved)
    return state.with_values(trainer.averaged.weights, means)


class _Steps:
    """Compiled functions of a trainer, one a phase, and its variables' values."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        models = [*trainer.networks.values()]
        models += [trainer.averaged] if trainer.averaged is not None else []
        models += [getattr(trainer, "parsing_network", trainer.network)]
        if getattr(trainer, "perceptual", None) is not None:
            models.append(trainer.perceptual.features)
        found = [variable for model in models for variable in model.variables]
        for optimizer in trainer.optimizers.values():
            found += optimizer.variables
        for metric in trainer.metrics:
            found += metric.variables
        self.variables = list({id(one): one for one in found}.values())
        self.compiled = {}

    def _compiled(self, name: str, function: Callable) -> Callable:
        if name not in self.compiled:
            self.compiled[name] = jax.jit(function)
        return self.compiled[name]

    def _run(self, function: Callable, *args: object) -> object:
        values, result = function([one.value for one in self.variables], *args)
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)
        return result

    def train(self, batch: dict) -> None:
        """One step; variables and `latest_values` are up to date afterwards."""
        trainer, phase = self.trainer, self.trainer.phase

        def step(values: list, batch: dict, drawn: dict, number: object) -> tuple:
            state = _State(self.variables, values)
            trainer.drawn = drawn
            try:
                if isinstance(trainer, CompletionTrainer):
                    state, terms, shown = _completion_step(trainer, state, batch, phase)
                else:
                    state, terms, shown = _parsing_step(trainer, state, batch)
            finally:
                trainer.drawn = None
            state = _averaged(trainer, state, number)
            _, state = state.run(trainer.update_metrics, batch, *shown)
            return state.of(self.variables), terms

        shapes = trainer.chance_shapes(len(batch["mask"]))
        drawn = {
            stream: np.asarray(trainer.chance(shape, stream))
            for stream, shape in shapes.items()
        }
        function = self._compiled(phase, step)
        terms = self._run(function, batch, drawn, np.float32(trainer.step))
        trainer.record({name: float(value) for name, value in terms.items()})

    def test(self, batch: dict) -> None:
        """Adds a batch of validation to the metrics."""
        trainer = self.trainer

        def step(values: list, batch: dict) -> tuple:
            state = _State(self.variables, values)
            _, state = state.run(trainer.test_step, batch)
            return state.of(self.variables), None

        with trainer.answering():
            self._run(self._compiled("test", step), batch)


def _arrays(batch: dict) -> dict:
    return {name: batch[name] for name in _BATCH if name in batch}


def _logs(trainer: Trainer, prefix: str = "") -> dict[str, float]:
    return {prefix + metric.name: float(metric.result()) for metric in trainer.metrics}


def _reset(trainer: Trainer) -> None:
    for metric in trainer.metrics:
        metric.reset_state()


def fit(
    trainer: Trainer,
    data: object,
    initial_epoch: int = 0,
    epochs: int = 1,
    steps_per_epoch: int | None = None,
    validation_data: object | None = None,
    callbacks: list | None = None,
    shuffle: bool = False,
    verbose: int | str = "auto",
) -> keras.callbacks.History:
    """What `Model.fit` does, of the arguments that `training.run.train` gives.

    Args:
        trainer: Of stage 1 or stage 2, in the phase of the first step.
        data: A `tf.data.Dataset` of all steps.
        initial_epoch: Number of the first epoch.
        epochs: One past the last.
        steps_per_epoch: Steps of each.
        validation_data: Another, read to its end after each epoch.
        callbacks: Keras callbacks.
        shuffle: Not read; the samples have an order.
        verbose: As `Model.fit` has it.
    """
    stage = "completion" if isinstance(trainer, CompletionTrainer) else "parsing"
    check_supported(stage, trainer.config)
    verbose = 1 if verbose == "auto" else verbose
    watching = keras.callbacks.CallbackList(
        callbacks,
        add_history=True,
        add_progbar=verbose != 0,
        verbose=verbose,
        epochs=epochs,
        steps=steps_per_epoch,
        model=trainer,
    )
    steps = trainer.__dict__.setdefault("_jax_steps", None) or _Steps(trainer)
    trainer.__dict__["_jax_steps"] = steps
    trainer.stop_training = False
    batches = data.as_numpy_iterator()
    watching.on_train_begin()
    for epoch in range(initial_epoch, epochs):
        _reset(trainer)
        watching.on_epoch_begin(epoch)
        for number in range(steps_per_epoch):
            watching.on_train_batch_begin(number)
            steps.train(_arrays(next(batches)))
            watching.on_train_batch_end(number, _logs(trainer) if verbose else {})
        logs = _logs(trainer)
        if validation_data is not None:
            _reset(trainer)
            for batch in validation_data.as_numpy_iterator():
                steps.test(_arrays(batch))
            logs |= _logs(trainer, "val_")
        watching.on_epoch_end(epoch, logs)
    watching.on_train_end()
    return trainer.history
