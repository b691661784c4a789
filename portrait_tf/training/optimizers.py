"""Optimizers from the config."""

import keras

from portrait_tf.compat import name_slots, ops, replicas
from portrait_tf.compat.addons import AddonsOptimizer, check_addons
from portrait_tf.config import OptimizerConfig


def check_optimizer(config: OptimizerConfig, key: str) -> None:
    """Raises PortraitError: only the other stack has this optimizer.

    Args:
        config: What is asked for.
        key: Of the config, where it is asked for.
    """
    if config.name == "radam":
        check_addons(f"{key}.name radam", "adam or sgd")
    if config.lookahead:
        check_addons(f"{key}.lookahead true", "false")


def build_optimizer(
    config: OptimizerConfig, steps: int, variables: list, name: str
) -> keras.optimizers.Optimizer:
    """An optimizer with warm-up and decay, its slots made at once.

    The slots must exist before a checkpoint is restored and before a train step is
    traced.

    Args:
        config: Rates and moments.
        steps: The decay ends here.
        variables: What it will train.
        name: Of the optimizer.

    Raises:
        PortraitError: It is one of tensorflow-addons', which is not on this stack.
    """
    check_optimizer(config, "optimizer")
    arguments = {"global_clipnorm": config.clip_norm, "name": name}
    rate = _schedule(config, steps)
    if config.name == "radam" or config.lookahead:
        return _addons_optimizer(config, rate, variables, name)
    if config.name == "sgd":
        optimizer = keras.optimizers.SGD(rate, config.momentum, **arguments)
    else:
        optimizer = keras.optimizers.Adam(
            rate, config.beta_1, config.beta_2, **arguments
        )
    optimizer.build(variables)
    replicas.takes_mean_gradients(optimizer)
    name_slots(optimizer)
    return optimizer


def _addons_optimizer(
    config: OptimizerConfig, rate: object, variables: list, name: str
) -> AddonsOptimizer:
    arguments = {"beta_1": config.beta_1, "beta_2": config.beta_2}
    if config.name == "sgd":
        arguments = {"momentum": config.momentum}
    lookahead = config.lookahead_steps if config.lookahead else 0
    optimizer = AddonsOptimizer(
        config.name, rate, arguments, lookahead, config.clip_norm, name
    )
    optimizer.build(variables)
    return optimizer


def _schedule(
    config: OptimizerConfig, steps: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    warmup = min(config.warmup_steps, steps // 2)
    decay_steps = max(steps - warmup, 1)
    if config.schedule == "poly":
        return WarmPolynomialDecay(
            config.learning_rate,
            decay_steps,
            end_learning_rate=config.learning_rate * config.final_fraction,
            power=config.power,
            warmup_steps=warmup,
        )
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else config.learning_rate,
        decay_steps,
        alpha=config.final_fraction,
        warmup_target=config.learning_rate if warmup else None,
        warmup_steps=warmup,
    )


@keras.saving.register_keras_serializable("portrait_tf")
class WarmPolynomialDecay(keras.optimizers.schedules.PolynomialDecay):
    """Keras' polynomial decay after a linear warm-up from 0, as its cosine has one.

    Args:
        warmup_steps: Before the decay begins.
        args, kwargs: Of `PolynomialDecay`.
    """

    def __init__(self, *args: object, warmup_steps: int = 0, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.warmup_steps = warmup_steps

    def __call__(self, step: object) -> object:
        step = ops.cast(step, "float32")
        warm = ops.minimum(step / max(self.warmup_steps, 1), 1.0)
        decayed = super().__call__(ops.maximum(step - self.warmup_steps, 0.0))
        return decayed if not self.warmup_steps else warm * decayed

    def get_config(self) -> dict:
        return {**super().get_config(), "warmup_steps": self.warmup_steps}
