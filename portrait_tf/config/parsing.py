"""Stage 1: parsing and pose."""

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from portrait_tf.config.base import (
    Count,
    Fraction,
    Natural,
    NotNegative,
    Positive,
    Section,
    kind_or,
)
from portrait_tf.config.training import (
    DISCRIMINATOR_OPTIMIZER,
    OptimizerConfig,
    TrainingConfig,
)


class ParsingNetworkConfig(Section):
    """Stage-1 network (`ParsingNetwork`)."""

    kind: Literal["compact"] = "compact"
    widths: tuple[Count, Count, Count, Count] = Field(
        (24, 48, 96, 160), description="Channels at strides 2, 4, 8 and 16."
    )
    blocks: tuple[Natural, Natural] = Field(
        (3, 3), description="Residual blocks at strides 8 and 16."
    )
    feature_width: int = Field(64, ge=2, description="Channels of each task's feature.")
    rounds: Natural = Field(2, description="Refinement rounds.")
    backbone: Literal[
        "small",
        "efficientnet_lite0",
        "mobilenet_v3_small",
        "mobilenet_v3_large",
        "resnet50",
    ] = Field(
        "small", description="The encoder; `widths` and `blocks` size the small one."
    )
    pose: bool = Field(True, description="Whether there is a pose branch.")
    mask_channel: bool = Field(True, description="The encoder sees the mask.")
    hints: bool = Field(
        False,
        description="With an input for known joints. Such a network is asked twice, "
        "the second time with its own joints.",
    )
    decoder_dilations: tuple[Count, ...] = Field(
        (), description="Residual blocks at stride 8 behind the hints, one each."
    )


class JPPNetConfig(Section):
    """JPPNet, as its authors built it."""

    kind: Literal["jppnet"]
    rounds: Natural = Field(2, description="Refinement rounds.")
    backbone: Literal["resnet101", "resnet50"] = "resnet101"
    mask_channel: bool = Field(False, description="The encoder sees the mask.")
    width_divisor: int = Field(
        1, ge=1, le=64, description="Of all channels, for tests."
    )


# By `parsing.network.kind`; a file without it means the first.
PARSING_NETWORKS = {"compact": ParsingNetworkConfig, "jppnet": JPPNetConfig}

AnyParsingNetworkConfig = Annotated[
    Annotated[ParsingNetworkConfig, pydantic.Tag("compact")]
    | Annotated[JPPNetConfig, pydantic.Tag("jppnet")],
    kind_or("compact"),
]


class ParsingLossConfig(Section):
    """Loss weights of stage 1. JPPNet has 1 everywhere; the rest is our choice."""

    parsing: NotNegative = 1.0
    pose: NotNegative = 1.0
    full_size: NotNegative = Field(
        1.0,
        description="Weight of the answer enlarged to the photo's size; JPPNet has 0.",
    )
    pose_error: Literal["relative", "root"] = Field(
        "relative",
        description="Squared error as a part of the target's, or JPPNet's root of it.",
    )
    balanced: Literal["none", "dice", "tversky", "focal"] = Field(
        "none", description="A second parsing loss, for labels that are rare."
    )
    balanced_weight: NotNegative = 1.0
    class_weights: Literal["none", "inverse_sqrt"] = Field(
        "none", description="Of the cross-entropy: 1 / sqrt(label's part of the batch)."
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Of the cross-entropy.")
    hole: NotNegative = Field(2.0, description="Extra weight of pixels in the hole.")
    group_overlap: NotNegative = Field(
        0.0,
        description="Dice of each photo's label groups (head, torso, arms, legs, "
        "shoes) in the hole: decides where cross-entropy hedges.",
    )
    adversarial: NotNegative = Field(
        0.0, description="A discriminator of predicted and annotated maps."
    )
    deep_supervision: NotNegative = Field(0.4, description="Weight of early rounds.")
    heatmap_sigma: Positive = Field(
        0.021, description="Of the height; JPPNet has 8 px at 384."
    )

    @property
    def has_map_term(self) -> bool:
        """Whether any term trains the map."""
        return bool(self.parsing or (self.balanced != "none" and self.balanced_weight))

    @pydantic.model_validator(mode="after")
    def _some_term(self) -> "ParsingLossConfig":
        if not (self.has_map_term or self.pose):
            raise ValueError(
                "at least one of parsing, pose, and balanced_weight with a balanced "
                "loss needs a weight above 0"
            )
        if self.has_map_term and not (self.full_size or self.deep_supervision):
            raise ValueError(
                "full_size or deep_supervision needs a weight above 0, or nothing "
                "trains the map"
            )
        return self


class ParsingConfig(Section):
    network: AnyParsingNetworkConfig = ParsingNetworkConfig()
    backbone_weights: str = Field(
        "none",
        min_length=1,
        description="Initial weights of a new run's backbone: `none`, `imagenet` "
        "(downloaded by Keras), or a file.",
    )
    scales: tuple[Annotated[float, Field(ge=0.1, le=4)], ...] = Field(
        (1.0,),
        min_length=1,
        description="Training sees each photo at these; only jppnet takes others "
        "than 1.",
    )
    loss: ParsingLossConfig = ParsingLossConfig()
    hinted: Fraction = Field(
        0.5,
        description="Part of the training samples that are given a random part of the "
        "true joints as hints; for networks with hints.",
    )
    hint_error: float = Field(
        0.01,
        ge=0,
        le=0.1,
        description="Standard deviation of those hints' places, as a part of the "
        "height: the joints that the network finds itself are not exact, either.",
    )
    discriminator_widths: tuple[Count, ...] = Field(
        (32, 64, 96), min_length=1, description="Channels of the map's discriminator."
    )
    discriminator_optimizer: OptimizerConfig = DISCRIMINATOR_OPTIMIZER
    training: TrainingConfig = TrainingConfig()

    @pydantic.model_validator(mode="after")
    def _network_fits(self) -> "ParsingConfig":
        if self.scales[0] != 1.0:
            raise ValueError(f"scales begin with 1, got {self.scales}")
        if not (self.loss.has_map_term or getattr(self.network, "pose", True)):
            raise ValueError(
                "loss.parsing, or loss.balanced_weight with a balanced loss, needs a "
                "weight above 0 where network.pose is false"
            )
        if len(self.scales) > 1 and self.network.kind != "jppnet":
            raise ValueError(
                f"scales {self.scales} need network.kind jppnet; "
                f"{self.network.kind} works at one size"
            )
        return self
