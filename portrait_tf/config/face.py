"""Stage 3: face refinement."""

from typing import Literal

import pydantic
from pydantic import Field

from portrait_tf.config.base import (
    Count,
    Fraction,
    Natural,
    NotNegative,
    Section,
    check_strides,
)
from portrait_tf.config.completion import FeaturesConfig
from portrait_tf.config.data import MaskConfig
from portrait_tf.config.training import (
    DISCRIMINATOR_OPTIMIZER,
    CompletionScheduleConfig,
    OptimizerConfig,
    TrainingConfig,
)


class FaceNetworkConfig(Section):
    """Face network, and the box that it works on."""

    size: tuple[int, int] = Field(
        (64, 64), description="Height and width of the crop; multiples of 8."
    )
    widths: tuple[Count, Count, Count] = Field(
        (32, 64, 96), description="Channels at strides 2, 4 and 8."
    )
    blocks: Natural = Field(4, description="Residual blocks at stride 8.")
    context: NotNegative = Field(
        0.3, description="Around the face, on each side, as a part of it."
    )
    feather: float = Field(
        0.1, ge=0, le=0.5, description="Soft border of the box, as a part of its side."
    )
    upsampling: Literal["shuffle", "smooth_shuffle"] = Field(
        "shuffle", description="As of completion.network."
    )

    @pydantic.field_validator("size")
    @classmethod
    def _multiples(cls, size: tuple[int, int]) -> tuple[int, int]:
        if any(side < 8 or side % 8 for side in size):
            raise ValueError(f"height and width must be multiples of 8, got {size}")
        return size


class FaceDiscriminatorConfig(FeaturesConfig):
    """Discriminator of the crop: one of stage 2's kinds, of the crop's size."""

    widths: tuple[Count, ...] = Field((32, 64, 96), min_length=1)


class FaceLossConfig(Section):
    """Loss weights of the face network, in the crop; our choice."""

    hole: NotNegative = Field(6.0, description="L1 inside the hole.")
    perceptual: NotNegative = Field(
        0.2, description="With network, weights and layers of completion."
    )
    adversarial: NotNegative = Field(0.02, description="0: no discriminator.")
    feature_matching: NotNegative = Field(0.0, description="Of its features.")

    @pydantic.model_validator(mode="after")
    def _some_term(self) -> "FaceLossConfig":
        if not (self.hole or self.perceptual):
            raise ValueError("hole or perceptual needs a weight above 0")
        if self.feature_matching and not self.adversarial:
            raise ValueError(
                "feature_matching needs a discriminator: expected adversarial above 0"
            )
        return self


class FaceConfig(Section):
    """Face refinement, the third stage; stages 1 and 2 are frozen meanwhile."""

    network: FaceNetworkConfig = FaceNetworkConfig()
    discriminator: FaceDiscriminatorConfig = FaceDiscriminatorConfig()
    loss: FaceLossConfig = FaceLossConfig()
    schedule: CompletionScheduleConfig = CompletionScheduleConfig()
    training: TrainingConfig = TrainingConfig()
    discriminator_optimizer: OptimizerConfig = DISCRIMINATOR_OPTIMIZER
    masks: MaskConfig = Field(
        MaskConfig(
            rectangle=0.25, strokes=0.5, body_part=0.25, border=0.5, face=2.5,
            border_sides={"top": 2.0, "left": 1.0, "right": 1.0, "bottom": 1.0},
        ),
        description="In place of `masks`: most of these holes are at the face."
    )  # fmt: skip
    predicted_parsing: Fraction = Field(
        0.5, description="Part of the samples fed with stage 1's map, not the truth."
    )

    @pydantic.model_validator(mode="after")
    def _critic_fits(self) -> "FaceConfig":
        if not self.loss.adversarial:
            return self
        size = self.network.size
        if self.discriminator.features == "none":
            check_strides("discriminator.widths", self.discriminator.widths, size)
        elif any(side % 16 for side in size):
            raise ValueError(
                "discriminator.features needs crops of whole features: expected "
                f"multiples of 16 in network.size, received {list(size)}"
            )
        return self
