"""The training step of all trainers."""

from collections.abc import Callable, Iterator

import keras
import tensorflow as tf

from portrait_tf.compat import Tensor, Variable, name_slots, ops, replicas
from portrait_tf.errors import PortraitError
from portrait_tf.models.network import precision
from portrait_tf.training.critics import Critics

PHASES = ("reconstruction", "critics", "adversarial")
"""Phases of Iizuka et al. 2017 (GLC), section 3.4."""


class Trainer(keras.Model):
    """Trains a network, alone or against critics, under `model.fit`.

    A subclass says what a step computes: `prepare`, `answer`, `loss_terms`, `score`,
    and `critic_inputs` if it can have critics. The step itself is here.

    Training starts with the reconstruction phase, in which only the network is trained,
    without critics. In the second phase only the critics are trained, and in the last
    one both are. Each phase is a graph of its own, traced at the phase's first step.

    The step, the moving average and all random draws belong to the trainer: plain
    `fit` needs no callback, and an interrupt leaves all variables before or after a
    step.

    Args:
        network: The network to train.
        term_weights: Weight of each term of the network's loss, by name.
        critics: Discriminators and their losses; None trains without.
        phases: Steps of the first and of the second phase; ignored without critics.
        ema: Decay of a moving average of the weights. None keeps no average.
        seed: Of all random draws.

    Attributes:
        step: Number of training steps done; it can be assigned.
        averaged: A float32 network of the same class that holds the moving average, or
            a copy of the weights if the network computes in mixed precision; None if
            neither is needed. Validation runs it.
        monitor: Name of the default metric that the best weights are chosen by.
        tracked: A `keras.metrics.Mean` of each logged term, by name.
    """

    monitor = ""
    optimizer_group = "network_optimizer"
    """Name of the network's optimizer in checkpoints."""

    def __init__(
        self,
        network: keras.Model,
        term_weights: dict[str, float],
        critics: Critics | None = None,
        phases: tuple[int, int] = (0, 0),
        ema: float | None = None,
        seed: int = 0,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.network = network
        self.critics = critics
        self.phases = tuple(phases)
        self.ema = ema
        self.seed = seed
        self.term_weights = {name: w for name, w in term_weights.items() if w}
        names = ["loss", *self.term_weights, "gradient"]
        if critics is not None:
            self.term_weights |= critics.network_weights
            names = ["loss", *self.term_weights, *critics.weights]
            names += ["gradient", "critics_gradient"]
        self.tracked = {name: keras.metrics.Mean(name) for name in names}
        self.scores = []
        self.step_variable = Variable(0, dtype="int", trainable=False)
        mixed = any(layer.compute_dtype != "float32" for layer in network.layers)
        self.averaged = None
        if mixed or ema is not None:
            config = {k: v for k, v in network.get_config().items() if k != "dtype"}
            with precision("float32"):
                self.averaged = type(network).from_config(config)
            self.averaged.set_weights(network.get_weights())
        # Keras would build an unbuilt trainer on made-up data.
        self.built = True

    # === What a subclass says ===
    def prepare(self, batch: dict, training: bool) -> dict:
        """Inputs of a step that are not differentiated.

        A scalar `sample_weight` among them weights the step in the logged means.
        """
        return batch

    def answer(self, network: keras.Model, inputs: dict, training: bool) -> dict:
        """Outputs of the network, or of `averaged`, for prepared inputs."""
        raise NotImplementedError

    def loss_terms(self, inputs: dict, outputs: dict) -> dict[str, Tensor]:
        """Unweighted terms of the loss that need no critic, by name."""
        raise NotImplementedError

    def critic_inputs(self, inputs: dict, outputs: dict) -> tuple[dict, dict]:
        """What `Critics.see` takes: of the truth, and of the network's answer."""
        raise NotImplementedError

    def score(self, network: keras.Model, inputs: dict, outputs: dict) -> None:
        """Updates `scores`."""

    # === Steps ===
    def call(self, batch: dict, training: bool = False) -> dict:
        inputs = self.prepare(batch, training)
        return self.answer(self.network, inputs, training)

    def train_step(self, batch: dict) -> dict:
        inputs = self.prepare(batch, training=True)
        if self.phase == "critics":
            outputs = self.answer(self.network, inputs, training=False)
            terms = self.train_critics(*self.critic_inputs(inputs, outputs))
        else:
            critic_terms = {}
            with tf.GradientTape() as tape:
                outputs = self.answer(self.network, inputs, training=True)
                terms = self.loss_terms(inputs, outputs)
                if self.phase == "adversarial":
                    real, fake = self.critic_inputs(inputs, outputs)
                    with tape.stop_recording():
                        critic_terms = self.train_critics(real, fake)
                    terms |= self.critics.network_losses(real, fake)
                terms["loss"] = weighted_sum(terms, self.term_weights)
            variables = self.network.trainable_variables
            terms["gradient"] = minimize(tape, terms["loss"], variables, self.optimizer)
            terms |= critic_terms
            self.update_average()
        self.step_variable.assign_add(1)
        return self.log(self.network, inputs, outputs, terms)

    def train_critics(self, real: dict, fake: dict) -> dict[str, Tensor]:
        """Trains the critics for one step; returns their terms."""
        critics, optimizer = self.critics, self.critic_optimizer
        critics.normalize()
        with tf.GradientTape() as tape:
            step = ops.convert_to_tensor(optimizer.iterations)
            terms = critics.losses(real, fake, step, self.uniform)
            loss = weighted_sum(terms, critics.weights)
        variables = critics.trainable_variables
        gradient = minimize(tape, loss, variables, optimizer)
        return {**terms, "critics_gradient": gradient}

    def test_step(self, batch: dict) -> dict:
        network = self.answering_network
        inputs = self.prepare(batch, training=False)
        outputs = self.answer(network, inputs, training=False)
        terms = self.loss_terms(inputs, outputs)
        terms["loss"] = weighted_sum(terms, self.term_weights)
        return self.log(network, inputs, outputs, terms)

    def log(
        self, network: keras.Model, inputs: dict, outputs: dict, terms: dict
    ) -> dict[str, Tensor]:
        """Updates the metrics; returns the results."""
        for name, value in terms.items():
            self.tracked[name].update_state(value, inputs.get("sample_weight"))
        self.score(network, inputs, outputs)
        if replicas.count() == 1:
            return {metric.name: metric.result() for metric in self.metrics}
        # Keras exchanges the logs of all replicas at every step, and takes rows only.
        return {"loss": ops.reshape(self.tracked["loss"].result(), (1,))}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [*self.tracked.values(), *self.scores]

    def uniform(self, shape: tuple, stream: int = 0) -> Tensor:
        """Uniform numbers in [0, 1), drawn from seed, stream and step.

        Args:
            shape: The first axis is this replica's part of the batch; its rows are
                those that one device would draw for the same samples.
            stream: Draws of one step differ by it.
        """
        whole = (shape[0] * replicas.count(), *shape[1:])
        seed = tf.constant(self.seed + stream, tf.int64)
        step = tf.cast(ops.convert_to_tensor(self.step_variable), tf.int64)
        numbers = tf.random.stateless_uniform(whole, tf.stack([seed, step]))
        return replicas.own_rows(numbers)

    # === The moving average ===
    @property
    def answering_network(self) -> keras.Model:
        """The network to validate, draw and keep."""
        return self.network if self.averaged is None else self.averaged

    def update_average(self) -> None:
        """One step of the average; without `ema`, a copy of the weights.

        The decay is at most `(1 + step) / (10 + step)`, as in TensorFlow's
        `ExponentialMovingAverage`, so that the random first weights are soon forgotten.
        Variables that are not trained are copied.
        """
        if self.averaged is None:
            return
        step = ops.cast(ops.convert_to_tensor(self.step_variable), "float32")
        decay = ops.minimum(self.ema or 0.0, (1.0 + step) / (10.0 + step))
        trained = {id(variable) for variable in self.network.trainable_variables}
        pairs = zip(self.network.weights, self.averaged.weights, strict=True)
        for variable, mean in pairs:
            value = ops.convert_to_tensor(variable)
            if id(variable) in trained and self.ema is not None:
                value = value + decay * (ops.convert_to_tensor(mean) - value)
            mean.assign(value)

    # === State ===
    @property
    def step(self) -> int:
        return int(ops.convert_to_numpy(self.step_variable))

    @step.setter
    def step(self, value: int) -> None:
        self.step_variable.assign(value)

    @property
    def networks(self) -> dict[str, keras.Model]:
        """The trained networks, by the name of their group in a checkpoint."""
        critics = {} if self.critics is None else self.critics.networks
        return {"network": self.network, **critics}

    def state(self) -> dict[str, list]:
        """Variables of a checkpoint, by group; the average has a group of its own."""
        state = {name: network.weights for name, network in self.networks.items()}
        # Random generators' states are not among the weights.
        if noise := getattr(self.network, "noise_state", []):
            state["noise"] = noise
        state[self.optimizer_group] = self.optimizer.variables
        if self.critics is not None:
            state["critic_optimizer"] = self.critic_optimizer.variables
        return state

    def everything(self) -> list:
        """All variables that training continues from."""
        variables = [one for group in self.state().values() for one in group]
        if self.averaged is not None:
            variables += self.averaged.weights
        return [*variables, self.step_variable]

    @property
    def sums(self) -> dict[str, list]:
        """Values of the metrics' variables, by the metric's name; JSON can hold them.

        Setting them continues the means that were logged when they were read.
        """
        return {
            metric.name: [
                ops.convert_to_numpy(one).tolist() for one in metric.variables
            ]
            for metric in self.metrics
        }

    @sums.setter
    def sums(self, values: dict[str, list]) -> None:
        for metric in self.metrics:
            # A changed config may log other terms.
            known = values.get(metric.name, [])
            for variable, value in zip(metric.variables, known, strict=False):
                variable.assign(value)

    def phase_starts(self) -> list[int]:
        """Steps at which the second and the last phase begin."""
        first, second = self.phases
        return [] if self.critics is None else [first, first + second]

    def phase_at(self, step: int) -> str:
        """Which of `PHASES` a step belongs to."""
        return PHASES[sum(step >= start for start in self.phase_starts())]

    @property
    def phase(self) -> str:
        """The phase of the next step."""
        with tf.init_scope():
            return self.phase_at(self.step)

    # === Keras ===
    def compile(
        self,
        optimizer: str | keras.optimizers.Optimizer = "adam",
        critic_optimizer: str | keras.optimizers.Optimizer = "adam",
        jit_compile: bool = False,
        **kwargs: object,
    ) -> None:
        """Sets the optimizers of the network and of the critics.

        Under a `tf.distribute` strategy, call it in the strategy's scope.

        Raises:
            PortraitError: `steps_per_execution` is not 1 although there are phases.
        """
        steps = kwargs.get("steps_per_execution") or 1
        if any(self.phase_starts()) and steps != 1:
            raise PortraitError(
                "the phase of training can change between two steps: expected "
                f"steps_per_execution=1, received {steps}"
            )
        # Without slots: Keras knows no optimizer of tensorflow-addons.
        super().compile("sgd", jit_compile=jit_compile, **kwargs)
        self.optimizer = _built(optimizer, self.network.trainable_variables)
        self.critic_optimizer = None
        if self.critics is not None:
            variables = self.critics.trainable_variables
            self.critic_optimizer = _built(critic_optimizer, variables)

    def make_train_function(self, force: bool = False) -> Callable | None:
        if not any(self.phase_starts()):
            return super().make_train_function(force)
        if self.train_function is not None and not force:
            return self.train_function
        traced = phase = None

        def one_step(iterator: Iterator) -> dict:
            nonlocal traced, phase
            if phase != (current := self.phase):
                # The last phase's graph is freed before the next one is traced.
                traced = phase = None
                try:
                    super(Trainer, self).make_train_function(force=True)
                    traced, phase = self.train_function, current
                finally:
                    self.train_function = one_step
            return traced(iterator)

        self.train_function = one_step
        return one_step

    def _get_metrics_result_or_logs(self, logs: dict) -> dict:
        # On several replicas, the logs of a step are not those of all metrics.
        strategy = getattr(self, "distribute_strategy", None)
        if getattr(strategy, "num_replicas_in_sync", 1) == 1:
            return super()._get_metrics_result_or_logs(logs)
        return self.get_metrics_result()

    def _maybe_symbolic_build(self, *args: object, **kwargs: object) -> None:
        """Nothing is left to build."""


def minimize(
    tape: tf.GradientTape,
    loss: Tensor,
    variables: list,
    optimizer: keras.optimizers.Optimizer,
) -> Tensor:
    """Applies the mean gradients of all replicas; returns their norm, unclipped."""
    gradients = replicas.mean(tape.gradient(loss, variables))
    optimizer.apply_gradients(zip(gradients, variables, strict=True))
    squares = [ops.sum(ops.square(one)) for one in gradients if one is not None]
    return ops.sqrt(sum(squares))


def weighted_sum(terms: dict[str, Tensor], weights: dict[str, float]) -> Tensor:
    """The sum of weighted terms; a term without a weight is not counted."""
    return sum(weights[name] * terms[name] for name in terms if name in weights)


def _built(
    optimizer: str | keras.optimizers.Optimizer, variables: list
) -> keras.optimizers.Optimizer:
    """An optimizer with its slots, which must exist before a checkpoint is read."""
    if isinstance(optimizer, str):
        optimizer = keras.optimizers.get(optimizer)
    optimizer.build(variables)
    if isinstance(optimizer, keras.optimizers.Optimizer):
        replicas.takes_mean_gradients(optimizer)
        name_slots(optimizer)
    return optimizer
