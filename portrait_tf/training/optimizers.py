"""Optimizers from the config."""

import keras

from portrait_tf.compat import Tensor, ops
from portrait_tf.compat.addons import AddonsOptimizer, check_addons
from portrait_tf.config import OptimizerConfig


def check_optimizer(config: OptimizerConfig, key: str) -> None:
    """Raises PortraitError: this optimizer needs the addons stack.

    Args:
        config: The optimizer's section.
        key: The section's key in the config, for the message.
    """
    if config.name == "radam":
        check_addons(f"{key}.name radam", "adam or sgd")
    if config.lookahead:
        check_addons(f"{key}.lookahead true", "false")


def build_optimizer(
    config: OptimizerConfig, steps: int, name: str
) -> keras.optimizers.Optimizer:
    """An optimizer with warm-up and decay.

    Args:
        config: Rates and moments.
        steps: The step at which the decay ends.
        name: The optimizer's name, which is part of its variables' names in files.

    Raises:
        PortraitError: The optimizer needs the addons stack.
    """
    check_optimizer(config, "optimizer")
    rate = _schedule(config, steps)
    if config.name == "sgd":
        arguments = {"momentum": config.momentum}
    else:
        arguments = {"beta_1": config.beta_1, "beta_2": config.beta_2}
    if config.name == "radam" or config.lookahead:
        lookahead = config.lookahead_steps if config.lookahead else 0
        return AddonsOptimizer(
            config.name, rate, arguments, lookahead, config.clip_norm, name
        )
    kind = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}[config.name]
    return kind(rate, global_clipnorm=config.clip_norm, name=name, **arguments)


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
    """Polynomial decay after a linear warm-up from 0.

    Args:
        warmup_steps: Steps before the decay begins.
        args, kwargs: Of `PolynomialDecay`.
    """

    def __init__(self, *args: object, warmup_steps: int = 0, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.warmup_steps = warmup_steps

    def __call__(self, step: Tensor) -> Tensor:
        step = ops.cast(step, "float32")
        warm = ops.minimum(step / max(self.warmup_steps, 1), 1.0)
        decayed = super().__call__(ops.maximum(step - self.warmup_steps, 0.0))
        return decayed if not self.warmup_steps else warm * decayed

    def get_config(self) -> dict:
        return {**super().get_config(), "warmup_steps": self.warmup_steps}
