"""What all trainers share."""

import contextlib
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from portrait_tf.compat import (
    Variable,
    ops,
    replicas,
)
from portrait_tf.config import TrainingConfig
from portrait_tf.errors import PortraitError

PHASES = ("reconstruction", "critics", "adversarial")
"""GLC's (Iizuka et al. 2017, section 3.4); without critics there is only the first."""

GRADIENTS = ("gradient", "critics_gradient")
"""Norms that are recorded beside the terms of a step, before they are clipped."""


class Trainer(keras.Model):
    """A model that trains networks; it has no weights and no graph of its own.

    A subclass has `network`, which is trained to be used (critics are not), and
    `tracked`, a mean of every term of its loss by the term's name. Its `learn` takes
    gradients with `differentiate`, hands them to `update_weights`, and the terms to
    `record`; what it draws at random is from `chance`. These are TensorFlow's here;
    `portrait_tf.training.jax_trainer` has them for JAX, and the rest is neutral.

    One call of the compiled train step updates weights, optimizers, average and step.
    So an interrupt finds all of them before a step or after it, and plain `fit` needs
    no callback of ours. Where training has phases, each is a graph of its own, traced
    when its first step comes.

    With a moving average of the weights (`training.ema`) or in mixed precision there
    is a second network of the same kind in float32, `averaged`. Every train step
    updates it; validation runs it. So the weights that are trained are never swapped
    for others, as Keras' `SwapEMAWeights` would do, and a stop at any time finds both
    as they are.

    Attributes:
        step: Steps done. It is a variable, which the compiled train step counts up
            and draws random numbers from: a resumed run draws the same ones.
        monitor: What the best weights are best by, unless the config says otherwise.
    """

    monitor = ""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.step_variable = Variable(0, dtype="int", trainable=False)
        self.averaged = None
        self.decay = None
        self.latest = None
        self.stop_wanted = self.stopping = None
        # Keras would build a trainer that it thinks unbuilt with made-up data.
        self.built = True

    @property
    def step(self) -> int:
        return int(ops.convert_to_numpy(self.step_variable))

    @step.setter
    def step(self, value: int) -> None:
        self.step_variable.assign(value)

    @property
    def networks(self) -> dict[str, keras.Model]:
        """The trained networks, by the name of their group in a checkpoint."""
        raise NotImplementedError

    def state(self) -> dict[str, list]:
        """Groups of variables that a checkpoint holds, networks and optimizers."""
        raise NotImplementedError

    def averaged_state(self) -> dict[str, list]:
        """The group of the averaged weights, if the config asks for them."""
        return {} if self.decay is None else {"averaged": self.averaged.weights}

    def everything(self) -> list:
        """All variables that a run goes on with, and the step."""
        variables = [one for group in self.state().values() for one in group]
        if self.averaged is not None:
            variables += self.averaged.weights
        return [*variables, self.step_variable]

    @property
    def optimizers(self) -> dict[str, keras.optimizers.Optimizer]:
        """All of them, by their names; not the one that Keras' `compile` makes."""
        return {
            one.name: one
            for name, one in vars(self).items()
            if name.endswith("_optimizer") and one is not None
        }

    schedule = None
    """A `ScheduleConfig`, of a trainer with critics; `learn` reads `phase`."""

    @property
    def phase(self) -> str:
        """The phase of the next step: that of a graph which is traced now."""
        with tf.init_scope():
            return self.phase_at(self.step)

    def phase_starts(self) -> list[int]:
        """Steps at which the train step changes."""
        if self.schedule is None:
            return []
        start = self.schedule.reconstruction_steps
        return [start, start + self.schedule.critic_steps]

    def phase_at(self, step: int) -> str:
        """Which of `PHASES` a step belongs to."""
        return PHASES[sum(step >= start for start in self.phase_starts())]

    def compile(
        self, optimizer: object = "sgd", jit_compile: bool = False, **kwargs: object
    ) -> None:
        """As Keras has it; the optimizer is one without slots, for no step uses it.

        Raises:
            PortraitError: Several steps an execution, though there are phases.
        """
        steps = kwargs.get("steps_per_execution") or 1
        if self.phase_starts() and steps != 1:
            raise PortraitError(
                "the phases of training change between two executions: expected "
                f"steps_per_execution=1, received {steps}"
            )
        super().compile(optimizer, jit_compile=jit_compile, **kwargs)

    def make_train_function(self, force: bool = False) -> Callable | None:
        """As Keras has it; where there are phases, it runs the graph of the step's."""
        if not self.phase_starts():
            return super().make_train_function(force)
        if self.train_function is not None and not force:
            return self.train_function
        traced = phase = None

        def one_step(iterator: Iterator) -> dict:
            nonlocal traced, phase
            if phase != (current := self.phase):
                # The last phase's graph is let go before the next one is made.
                traced = phase = None
                try:
                    super(Trainer, self).make_train_function(force=True)
                    traced, phase = self.train_function, current
                finally:
                    self.train_function = one_step
            return traced(iterator)

        self.train_function = one_step
        return one_step

    def train_step(self, batch: dict) -> dict:
        """One step of the phase, and all that counts it."""
        self.latest.assign(ops.zeros(self.latest.shape))
        logs = self.learn(batch)
        self.step_variable.assign_add(1)
        return logs

    def learn(self, batch: dict) -> dict:
        """Updates the weights by a batch; returns what `train_step` does."""
        raise NotImplementedError

    def prepare(self, training: TrainingConfig) -> None:
        """Makes what the config asks for: averaged weights; and room for `record`.

        The last thing that a subclass does when it is made.
        """
        self.recorded_names = [*self.tracked, *GRADIENTS]
        self.latest = Variable(
            np.zeros((2, len(self.recorded_names)), np.float32), trainable=False
        )
        self.stop_wanted = Variable(0.0, trainable=False)
        self.stopping = Variable(0.0, trainable=False)
        self.decay = training.ema
        if training.ema is not None or training.mixed_precision:
            self.averaged = type(self.network).from_config(self.network.get_config())
            self.start_average()

    @property
    def answering_network(self) -> keras.Model:
        """The network to validate, draw and keep: the averaged one, if there is one."""
        return self.network if self.averaged is None else self.averaged

    def start_average(self) -> None:
        """Begins the average anew, with the network's weights as they are."""
        if self.averaged is not None:
            self.averaged.set_weights(self.network.get_weights())

    def _average(self) -> None:
        """One step of the average; without a decay it is a copy in float32.

        The decay is at most `(1 + step) / (10 + step)`, as TensorFlow's own moving
        average has it: first weights, which are random, would stay in it for thousands
        of steps. What is not trained (statistics of batch normalisation) is copied.
        """
        step = ops.cast(self.step_variable, "float32")
        keep = ops.minimum(self.decay or 0.0, (1.0 + step) / (10.0 + step))
        trained = {id(variable) for variable in self.network.trainable_variables}
        pairs = zip(self.network.weights, self.averaged.weights, strict=True)
        for variable, mean in pairs:
            value = ops.convert_to_tensor(variable)
            if id(variable) in trained and self.decay is not None:
                value = value + keep * (ops.convert_to_tensor(mean) - value)
            mean.assign(value)

    def chance(self, shape: tuple, stream: int = 0) -> object:
        """Uniform numbers in [0, 1); every `stream` of a step has others.

        From the step, not from a generator's state: a resumed run draws the same, and
        so does a run on another backend.

        Args:
            shape: As `chance_shapes` has it for this stream; of a replica's own part
                of the batch, whose rows of the whole draw it gets.
            stream: Which of a step's draws.
        """
        whole = (shape[0] * replicas.count(), *shape[1:])
        seed = tf.constant(self.config.seed + stream, tf.int64)
        step = tf.cast(ops.convert_to_tensor(self.step_variable), tf.int64)
        numbers = tf.random.stateless_uniform(whole, tf.stack([seed, step]))
        return replicas.own_rows(numbers)

    def chance_shapes(self, batch_size: int) -> dict[int, tuple]:
        """What a train step may ask of `chance`: shapes by stream."""
        return {}

    def differentiate(
        self, loss: Callable[[Callable], tuple], variables: list
    ) -> tuple[list, object]:
        """Gradients of a loss by variables, and what else the loss returns.

        Args:
            loss: Returns a scalar and anything. It is called with a context manager's
                maker: what it does within one is not differentiated.
            variables: What it is differentiated by. The loss must not assign them: on
                TensorFlow a gradient does not flow through an assignment, on JAX it
                does.
        """
        with tf.GradientTape() as tape:
            total, rest = loss(tape.stop_recording)
        return tape.gradient(total, variables), rest

    @staticmethod
    def gradient_by(score: Callable[[object], object], x: object) -> object:
        """The gradient of a scalar by a tensor; it can be differentiated again."""
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = score(x)
        return tape.gradient(total, x)

    def update_weights(
        self,
        optimizer: keras.optimizers.Optimizer,
        gradients: list,
        variables: list,
        name: str = GRADIENTS[0],
    ) -> None:
        """Applies gradients, records their norm, and averages the network's weights.

        They are averaged over the replicas first.

        Args:
            optimizer: Of these variables.
            gradients: One a variable.
            variables: What is trained.
            name: One of `GRADIENTS`; the first is the network's.
        """
        gradients = replicas.mean(gradients)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        squares = [ops.sum(ops.square(one)) for one in gradients if one is not None]
        self._keep({name: ops.sqrt(sum(squares))})
        if self.averaged is not None and name == GRADIENTS[0]:
            self._average()

    def record(self, values: dict[str, object]) -> None:
        """Keeps scalars of this step for `latest_values`; metrics keep only means.

        Of several replicas' scalars the mean is kept, everywhere; and whether one of
        them is to stop is told to all, so that all stop after the same step.
        """
        numbers = [ops.cast(value, "float32") for value in values.values()]
        *numbers, stopping = replicas.mean(
            [*numbers, ops.convert_to_tensor(self.stop_wanted)]
        )
        self.stopping.assign(stopping)
        self._keep(dict(zip(values, numbers, strict=True)))

    def tell_stop(self) -> None:
        """In a test step: as `record` has it, all are told whether one is to stop."""
        (stopping,) = replicas.mean([ops.convert_to_tensor(self.stop_wanted)])
        self.stopping.assign(stopping)

    def _keep(self, values: dict[str, object]) -> None:
        """`record` of scalars that all replicas have alike."""
        row = [
            ops.cast(values.get(name, 0.0), "float32") for name in self.recorded_names
        ]
        given = np.array([name in values for name in self.recorded_names])
        new = ops.stack([ops.stack(row), ops.cast(given, "float32")])
        self.latest.assign(ops.where(given, new, ops.convert_to_tensor(self.latest)))

    def latest_values(self) -> dict[str, float]:
        """The terms and gradients of the last step."""
        values, recorded = ops.convert_to_numpy(self.latest)
        return {
            name: float(value)
            for name, value, known in zip(
                self.recorded_names, values, recorded, strict=True
            )
            if known
        }

    def results(self) -> dict[str, object]:
        """What a step returns.

        Of several replicas only the first metric, for the bar: Keras would exchange
        each in every step. In multi-worker runs it takes nothing but rows.
        """
        if replicas.count() == 1:
            return {metric.name: metric.result() for metric in self.metrics}
        first = self.metrics[0]
        return {first.name: ops.reshape(first.result(), (1,))}

    def _get_metrics_result_or_logs(self, logs: dict) -> dict:
        # Keras takes the last step's logs where they are not those of all metrics.
        strategy = getattr(self, "distribute_strategy", None)
        alone = getattr(strategy, "num_replicas_in_sync", 1) == 1
        if alone:
            return super()._get_metrics_result_or_logs(logs)
        return self.get_metrics_result()

    def _maybe_symbolic_build(self, *args: object, **kwargs: object) -> None:
        """Nothing is left to build; Keras would read a batch to find that out."""

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        trained = self.network
        self.network = self.answering_network
        try:
            yield
        finally:
            self.network = trained

    def evaluate(self, *args: object, **kwargs: object) -> object:
        """As Keras has it, with `answering_network`; `fit` validates through it."""
        # The test step is traced in here once, and keeps to this network.
        with self._answering():
            return super().evaluate(*args, **kwargs)
