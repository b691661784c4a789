"""Optimizers from the config."""

import keras

from portrait_tf.config import OptimizerConfig


def build_optimizer(
    config: OptimizerConfig, steps: int, variables: list, name: str
) -> keras.optimizers.Optimizer:
    """Adam with warm-up and cosine decay, its slots made at once.

    The slots must exist before a checkpoint is restored and before a train step is
    traced.

    Args:
        config: Rates and moments.
        steps: The decay ends here.
        variables: What it will train.
        name: Of the optimizer.
    """
    warmup = min(config.warmup_steps, steps // 2)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else config.learning_rate,
        max(steps - warmup, 1),
        alpha=config.final_fraction,
        warmup_target=config.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.Adam(
        rate,
        beta_1=config.beta_1,
        beta_2=config.beta_2,
        global_clipnorm=config.clip_norm,
        name=name,
    )
    optimizer.build(variables)
    return optimizer
