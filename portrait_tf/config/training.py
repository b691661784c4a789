"""Optimizers, and what the trainings of all stages have in common."""

from typing import Annotated, Literal

from pydantic import Field

from portrait_tf.config.base import Count, Fraction, Natural, Positive, Section


class OptimizerConfig(Section):
    """Optimizer, with a learning rate that decays along a half cosine or a power."""

    name: Literal["adam", "sgd", "radam"] = Field(
        "adam", description="radam: RAdam, only on the addons stack."
    )
    lookahead: bool = Field(
        False, description="Lookahead around the optimizer, only on the addons stack."
    )
    lookahead_steps: Count = Field(
        6, description="Steps between two synchronizations of Lookahead."
    )
    learning_rate: Positive = 1e-3
    beta_1: float = Field(0.9, ge=0, lt=1, description="For Adam and RAdam.")
    beta_2: float = Field(0.999, ge=0, lt=1, description="For Adam and RAdam.")
    momentum: float = Field(0.9, ge=0, lt=1, description="For SGD.")
    schedule: Literal["cosine", "poly"] = "cosine"
    power: Positive = Field(
        0.9, description="For poly: (1 - step / steps) to this power."
    )
    warmup_steps: Natural = 100
    final_fraction: Fraction = Field(
        0.02, description="Final part of the learning rate."
    )
    clip_norm: float | None = Field(None, gt=0)


DISCRIMINATOR_OPTIMIZER = OptimizerConfig(
    learning_rate=4e-4, beta_1=0.5, warmup_steps=0
)


class TrainingConfig(Section):
    """Settings that the trainings of all stages share."""

    steps: Count = Field(1000, description="Optimizer steps of the whole run.")
    batch_size: Count = 8
    steps_per_epoch: Count = Field(100, description="Validation follows each epoch.")
    validation_photos: Natural = Field(104, description="0: no validation.")
    checkpoint_minutes: Positive = 4
    optimizer: OptimizerConfig = OptimizerConfig()
    start_from: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="Initial weights of a new run: `bundled`, another run's folder, or "
        "a file of weights. null: random weights.",
    )
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Decay of a moving average of the network's weights, such as "
        "0.999; the average is then validated, drawn, evaluated and exported.",
    )
    mixed_precision: bool = Field(
        False,
        description="The trained network computes in bfloat16; weights stay.",
    )
    monitor: str | None = Field(
        None,
        description="Column of `log.csv` that tells the best weights; '' for none, "
        "null for the stage's own: val_miou_hole, val_psnr_hole.",
    )
    tensorboard: bool = Field(True, description="Curves and pictures for TensorBoard.")


class CompletionScheduleConfig(Section):
    """Reconstruction only, then discriminators only, then both (after GLC)."""

    reconstruction_steps: Natural = 700
    critic_steps: Natural = Field(50, description="Then only the discriminators train.")
