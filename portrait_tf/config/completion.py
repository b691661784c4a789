"""Stage 2: completion, its discriminators and its losses."""

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
    CompletionScheduleConfig,
    OptimizerConfig,
    TrainingConfig,
)


class CompletionNetworkConfig(Section):
    """Stage-2 network (`CompletionNetwork`)."""

    kind: Literal["parsing_guided"] = "parsing_guided"
    widths: tuple[Count, ...] = Field(
        (32, 64, 128),
        min_length=2,
        description="Channels at `stem` and at every doubling of it.",
    )
    stem: Literal[2, 4] = Field(
        2, description="Stride of the first convolution and of the last shuffle."
    )
    blocks: Natural = Field(
        0, description="Residual blocks at every stride but the largest, down and up."
    )
    dilations: tuple[Count, ...] = Field(
        (1, 2, 4, 8, 2, 1), description="One residual block of the middle each."
    )
    prefill: Literal["parsing", "plain", "none"] = Field(
        "parsing",
        description="What the network adds to: label colors, a membrane, nothing.",
    )
    prefill_stride: Literal[4, 8] = Field(
        4, description="At which label colors spread; 8 takes a sixteenth of the work."
    )
    sharpness: float = Field(
        1.0,
        ge=1,
        le=8,
        description="The map's probabilities are raised to this power, person or "
        "background first; 1: as stage 1 gives them.",
    )
    parsing: bool = Field(
        True, description="The network takes the map; false needs another prefill."
    )
    convolution: Literal["plain", "gated", "separable"] = Field(
        "plain",
        description="DeepFill v2's gates take two thirds more arithmetic, depth-wise "
        "separable ones an eighth of it.",
    )
    attention: Literal["none", "any", "same_label"] = Field(
        "none",
        description="From all positions of the middle to the known ones: to any of "
        "them, or to those of the same label.",
    )
    noise: Natural = Field(
        0, description="Channels of noise at the input, only in training."
    )
    upsampling: Literal["shuffle", "smooth_shuffle"] = Field(
        "shuffle",
        description="Decoder: pixel shuffles, or shuffles with filters, which leave "
        "no grid and no checkerboard.",
    )
    texture_noise: bool = Field(
        False, description="A fixed field of noise at every step of the decoder."
    )

    @pydantic.model_validator(mode="after")
    def _map_is_there(self) -> "CompletionNetworkConfig":
        for name, value in (("prefill", "parsing"), ("attention", "same_label")):
            if not self.parsing and getattr(self, name) == value:
                raise ValueError(
                    f"{name} {value} needs the map, so it does not go with parsing "
                    f"false; choose another {name}"
                )
        return self


class PartialConvolutionConfig(Section):
    """A peer: the U-Net of partial convolutions (arXiv 1804.07723)."""

    kind: Literal["partial_convolution"]
    widths: tuple[Count, ...] = Field(
        (64, 128, 256, 512, 512, 512, 512, 512),
        min_length=1,
        description="Channels at strides 2, 4, 8...; as many as the size can be halved "
        "are used.",
    )
    normalization: Literal["batch", "group"] = Field(
        "batch", description="The paper's, or one that does not depend on the batch."
    )


class ContextualAttentionConfig(Section):
    """A peer: two stages of gated convolutions with attention (DeepFill v2)."""

    kind: Literal["contextual_attention"]
    width: int = Field(
        24, ge=2, description="Channels at full size; the paper's 48 before gating."
    )
    scale: Positive = Field(10.0, description="Of the softmax of the attention.")
    fuse: bool = Field(True, description="Attention is propagated to neighbors.")


class GlcConfig(Section):
    """A peer: *Globally and Locally Consistent Image Completion* (2017)."""

    kind: Literal["glc"]
    width_divisor: int = Field(1, ge=1, le=32, description="Of all channels.")
    normalization: Literal["batch", "group"] = Field(
        "batch", description="The paper's, or one that does not depend on the batch."
    )


# By `completion.network.kind`; a file without it means the first.
COMPLETION_NETWORKS = {
    "parsing_guided": CompletionNetworkConfig,
    "partial_convolution": PartialConvolutionConfig,
    "contextual_attention": ContextualAttentionConfig,
    "glc": GlcConfig,
}

AnyCompletionNetworkConfig = Annotated[
    Annotated[CompletionNetworkConfig, pydantic.Tag("parsing_guided")]
    | Annotated[PartialConvolutionConfig, pydantic.Tag("partial_convolution")]
    | Annotated[ContextualAttentionConfig, pydantic.Tag("contextual_attention")]
    | Annotated[GlcConfig, pydantic.Tag("glc")],
    kind_or("parsing_guided"),
]


class FeaturesConfig(Section):
    """A discriminator that is trained whole, or reads a trained network's features."""

    widths: tuple[Count, ...] = Field(
        (32, 64, 96, 128), min_length=1, description="Channels; each halves the size."
    )
    features: Literal["none", "efficientnet_lite0"] = Field(
        "none",
        description="The discriminator (of stage 2: the global one) is small heads on "
        "frozen features of this network; none: it is trained whole.",
    )
    features_weights: str = Field(
        "none",
        min_length=1,
        description="The file of that network's weights, as parsing.backbone_weights.",
    )
    features_width: Count = Field(64, description="Channels of each head.")

    @pydantic.model_validator(mode="after")
    def _features_are_learned(self) -> "FeaturesConfig":
        if self.features != "none" and self.features_weights in ("none", "imagenet"):
            raise ValueError(
                f"features {self.features} need trained weights: expected "
                "features_weights to be the path of their .npz file, received "
                f"{self.features_weights!r}"
            )
        return self


class DiscriminatorConfig(FeaturesConfig):
    """Both discriminators and the adversarial loss."""

    local_features: bool = Field(
        False,
        description="So is the local discriminator; it sees its crops at twice their "
        "size.",
    )
    local_size: tuple[Count, Count] = Field(
        (64, 64), description="Height and width of the local discriminator's crop."
    )
    local_crops: Natural = Field(
        0,
        description="0: one crop around all holes. More: as many crops of `local_size` "
        "pixels, each about a random pixel of the hole.",
    )
    conditioned: bool = Field(
        True, description="The discriminators see the parsing map."
    )
    spectral_normalization: bool = True
    loss: Literal["hinge", "least_squares", "wgan_gp"] = "hinge"
    gradient_penalty: NotNegative = Field(10.0, description="Weight, of wgan_gp.")
    r1: NotNegative = Field(0.0, description="Weight of R1, with any loss.")
    r1_interval: Count = Field(
        16, description="R1 is taken every so many steps, and weighs as many."
    )

    @pydantic.model_validator(mode="after")
    def _local_has_features(self) -> "DiscriminatorConfig":
        if self.local_features and self.features == "none":
            raise ValueError(
                "local_features true needs a network to read features of: expected "
                "features efficientnet_lite0, received none"
            )
        if self.local_features and any(side % 8 for side in self.local_size):
            raise ValueError(
                "local_features true needs crops of whole features: expected "
                f"multiples of 8 in local_size, received {list(self.local_size)}"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _one_bound(self) -> "DiscriminatorConfig":
        if self.loss == "wgan_gp" and self.spectral_normalization:
            raise ValueError(
                "loss wgan_gp bounds discriminators by a gradient penalty: expected "
                "spectral_normalization false, received true"
            )
        return self


class PerceptualConfig(Section):
    """The network whose features the perceptual loss compares."""

    network: Literal["vgg19", "vgg16"] = "vgg19"
    weights: str = Field(
        "imagenet",
        min_length=1,
        description="`imagenet` (downloaded by Keras), `random`, or a file's path.",
    )
    layers: dict[str, Positive] = Field(
        {"block1_conv2": 1.0, "block2_conv2": 1.0, "block3_conv3": 1.0},
        min_length=1,
        description="Weight of each layer's mean absolute difference.",
    )
    scale: Literal[1, 2, 4] = Field(
        1, description="Photos are shrunk by this before they enter the network."
    )
    difference: Literal["relative", "unit"] = Field(
        "relative",
        description="Absolute, as a part of the truth's mean; or squared, between "
        "features of length 1 at every position.",
    )


class CompletionLossConfig(Section):
    """Loss weights of stage 2: the paper's are not known to us, ours are these.

    Terms of weight 0 are not computed. There are no discriminators if both adversarial
    weights are 0.
    """

    hole: NotNegative = Field(6.0, description="L1 inside the hole.")
    known: NotNegative = Field(1.0, description="L1 outside the hole.")
    psnr: NotNegative = Field(
        0.0, description="Logarithm of each photo's squared error in the hole."
    )
    coarse: NotNegative = Field(
        1.0,
        description="Both L1, of the first answer of a network that has two stages.",
    )
    perceptual: NotNegative = 0.1
    style: NotNegative = Field(0.0, description="Gram matrices of the same features.")
    total_variation: NotNegative = Field(0.0, description="Of the hole and its seam.")
    label_color: NotNegative = Field(
        0.0, description="Mean color of a label, hidden against seen."
    )
    adversarial: NotNegative = Field(0.02, description="Global discriminator.")
    adversarial_local: NotNegative = 0.02
    feature_matching: NotNegative = Field(0.0, description="For all discriminators.")

    @pydantic.model_validator(mode="after")
    def _terms_fit(self) -> "CompletionLossConfig":
        if not (self.hole or self.known or self.psnr or self.perceptual or self.style):
            raise ValueError(
                "at least one of hole, known, psnr, perceptual and style needs a "
                "weight above 0"
            )
        if self.feature_matching and not (self.adversarial or self.adversarial_local):
            raise ValueError(
                "feature_matching needs a discriminator: expected adversarial or "
                "adversarial_local above 0"
            )
        return self


class CompletionConfig(Section):
    network: AnyCompletionNetworkConfig = CompletionNetworkConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    perceptual: PerceptualConfig = PerceptualConfig()
    loss: CompletionLossConfig = CompletionLossConfig()
    schedule: CompletionScheduleConfig = CompletionScheduleConfig()
    training: TrainingConfig = TrainingConfig()
    discriminator_optimizer: OptimizerConfig = DISCRIMINATOR_OPTIMIZER
    predicted_parsing: Fraction = Field(
        0.5, description="Part of the samples fed with stage 1's map, not the truth."
    )
    hinted: Fraction = Field(
        0.0,
        description="Part of the samples whose joints stage 1 is told before it draws "
        "the map.",
    )
