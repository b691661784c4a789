"""One typed schema for `configs/*.yaml`.

Every key has a default, so a file names only what it changes. A key that does not
exist, or a value of the wrong type, is an error that names the key and the nearest
valid one.
"""

import difflib
import pathlib
from collections.abc import Hashable
from typing import Annotated, Literal, TypeVar

import pydantic
import yaml
from pydantic import Field

from portrait_tf.errors import PortraitError
from portrait_tf.files import read_text, write_result

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


def _rising(limits: tuple) -> tuple:
    if limits[0] > limits[1]:
        raise ValueError(f"the smaller of both limits comes first, got {limits}")
    return limits


_Rising = pydantic.AfterValidator(_rising)
Range = Annotated[tuple[Positive, Positive], _Rising]
_Part = Annotated[float, Field(gt=0, le=1)]
PartRange = Annotated[tuple[_Part, _Part], _Rising]
Side = Literal["top", "bottom", "left", "right"]


class Section(pydantic.BaseModel):
    """Base of all sections: strict about names, finite, checked on assignment."""

    model_config = pydantic.ConfigDict(
        extra="forbid", validate_assignment=True, allow_inf_nan=False
    )


AnySection = TypeVar("AnySection", bound=Section)


class DataConfig(Section):
    """What training reads."""

    weights: Annotated[tuple[Positive, ...], Field(min_length=1)] | None = Field(
        None,
        description="How often a sample is of each data set, in the order of `--data`; "
        "null: by their numbers of samples.",
    )
    backgrounds: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        None,
        description="For each data set, in the order of `--data` and counted from 0, "
        "whose backgrounds its people are put before. Before another one's they always "
        "are, before their own as `augmentation.background` says. null: their own.",
    )
    cache_gigabytes: float = Field(
        0.0,
        ge=0,
        description="Decoded photos and label maps are kept in memory up to this, so "
        "that they are decoded once.",
    )


class AugmentationConfig(Section):
    """Random changes of a training sample, the same for photo, labels and joints."""

    mirror: Fraction = Field(0.5, description="Probability of a mirrored sample.")
    scale: Range = Field((0.85, 1.2), description="Zoom about the photo's centre.")
    shift: Fraction = Field(0.06, description="Largest shift, as a part of the size.")
    brightness: Fraction = Field(0.1, description="Largest change, of the full range.")
    contrast: Fraction = Field(0.15, description="Largest relative change.")
    saturation: Fraction = Field(0.2, description="Largest relative change.")
    rotate: float = Field(0.0, ge=0, le=45, description="Largest angle, in degrees.")
    crop: Fraction = Field(
        0.0, description="Probability of a close-up about a random point of the body."
    )
    crop_zoom: Range = Field((1.2, 2.0), description="In place of `scale`.")
    recolour: Fraction = Field(
        0.0, description="Probability of clothes of other colours; needs a label map."
    )
    background: Fraction = Field(
        0.0,
        description="Probability of another sample's background; needs both label "
        "maps.",
    )
    warp: float = Field(
        0.0,
        ge=0,
        le=0.06,
        description="Largest shift by a smooth random warp, as a part of the shorter "
        "side.",
    )
    cutout: Fraction = Field(
        0.0,
        description="Probability of a grey rectangle that no mask tells of; in stage 1 "
        "alone, for the stages that paint would learn to paint it.",
    )
    cutout_size: PartRange = Field((0.1, 0.3), description="Side, of the photo's side.")


class MaskConfig(Section):
    """Holes for training: how often each kind is drawn and how large it is."""

    rectangle: float = Field(1.0, ge=0, description="Weight of rectangles.")
    strokes: float = Field(1.0, ge=0, description="Weight of free-form strokes.")
    body_part: float = Field(1.0, ge=0, description="Weight of dilated label regions.")
    border: float = Field(1.0, ge=0, description="Weight of extrapolation borders.")
    face: float = Field(0.0, ge=0, description="Weight of holes at the face.")
    rectangle_size: PartRange = Field(
        (0.2, 0.6), description="Side, of the photo's side."
    )
    stroke_count: Annotated[tuple[Count, Count], _Rising] = (1, 6)
    stroke_width: Range = Field((0.05, 0.2), description="Of the photo's shorter side.")
    stroke_length: Range = Field((0.2, 0.8), description="Of the photo's longer side.")
    body_part_dilation: Annotated[tuple[NotNegative, NotNegative], _Rising] = Field(
        (0.01, 0.06), description="Of the longer side."
    )
    border_size: PartRange = Field((0.08, 0.4), description="Of the photo's side.")
    border_sides: dict[Side, NotNegative] = Field(
        {"bottom": 3.0, "top": 1.0, "left": 1.0, "right": 1.0},
        description="Weights: which side is cut off first; with none, all are alike.",
    )
    second_border: Fraction = Field(0.2, description="Probability of a second side.")
    face_size: Range = Field((0.5, 2.0), description="Side, of the face's.")

    @pydantic.model_validator(mode="after")
    def _some_kind(self) -> "MaskConfig":
        kinds = (self.rectangle, self.strokes, self.body_part, self.border, self.face)
        if not sum(kinds):
            raise ValueError("at least one kind of hole needs a weight above 0")
        return self


class OptimizerConfig(Section):
    """What trains, the learning rate decayed along a half cosine or a power."""

    name: Literal["adam", "sgd", "radam"] = Field(
        "adam", description="radam: RAdam, on the addons stack alone."
    )
    lookahead: bool = Field(
        False, description="Lookahead around it, on the addons stack alone."
    )
    lookahead_steps: int = Field(
        6, ge=1, description="Between two synchronisations of Lookahead."
    )
    learning_rate: float = Field(1e-3, gt=0)
    beta_1: float = Field(0.9, ge=0, lt=1, description="Of Adam and RAdam.")
    beta_2: float = Field(0.999, ge=0, lt=1, description="Of Adam and RAdam.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Of SGD.")
    schedule: Literal["cosine", "poly"] = "cosine"
    power: float = Field(
        0.9, gt=0, description="Of poly: (1 - step / steps) to this power."
    )
    warmup_steps: int = Field(100, ge=0)
    final_fraction: Fraction = Field(0.02, description="Of the learning rate.")
    clip_norm: float | None = Field(None, gt=0)


class TrainingConfig(Section):
    """What both trainers need."""

    steps: int = Field(1000, ge=1, description="Optimizer steps of the whole run.")
    batch_size: int = Field(8, ge=1)
    steps_per_epoch: int = Field(100, ge=1, description="Validation follows each.")
    validation_photos: int = Field(104, ge=0, description="0: no validation.")
    checkpoint_minutes: float = Field(4, gt=0)
    optimizer: OptimizerConfig = OptimizerConfig()
    start_from: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="What a fresh run's network starts from: `bundled`, another run's "
        "folder, or a file of weights. null: random weights.",
    )
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Decay of a moving average of the network's weights, such as "
        "0.999; then it is what is validated, drawn, evaluated and exported.",
    )
    mixed_precision: bool = Field(
        False, description="The trained network computes in bfloat16, its weights stay."
    )
    monitor: str | None = Field(
        None,
        description="What `best.npz` is best by, a column of `log.csv`; '' for none, "
        "null for the stage's own: val_miou_hole, val_psnr_hole.",
    )
    tensorboard: bool = Field(True, description="Curves and pictures for TensorBoard.")


class ParsingNetworkConfig(Section):
    """Size of the stage-1 network of our own, `ParsingNetwork`."""

    kind: Literal["compact"] = "compact"
    widths: tuple[Count, Count, Count, Count] = Field(
        (24, 48, 96, 160), description="Channels at strides 2, 4, 8 and 16."
    )
    blocks: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] = Field(
        (3, 3), description="Residual blocks at strides 8 and 16."
    )
    feature_width: int = Field(64, ge=2, description="Channels of each task's feature.")
    rounds: int = Field(2, ge=0, description="Refinement rounds.")
    backbone: Literal[
        "small",
        "efficientnet_lite0",
        "mobilenet_v3_small",
        "mobilenet_v3_large",
        "resnet50",
    ] = Field(
        "small", description="The encoder; `widths` and `blocks` size the small one."
    )
    pose: bool = Field(True, description="With the pose branch.")
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
    """The network that ours is made after, as its authors built it."""

    kind: Literal["jppnet"]
    rounds: int = Field(2, ge=0, description="Refinement rounds.")
    backbone: Literal["resnet101", "resnet50"] = "resnet101"
    mask_channel: bool = Field(False, description="The encoder sees the mask.")
    width_divisor: int = Field(
        1, ge=1, le=64, description="Of all channels, for tests."
    )


# What `parsing.network.kind` chooses among; a file without it means the first.
PARSING_NETWORKS = {"compact": ParsingNetworkConfig, "jppnet": JPPNetConfig}


def _kind_or(default: str) -> pydantic.Discriminator:
    """Chooses a network's section by its `kind`."""

    def kind(value: object) -> object:
        if isinstance(value, dict):
            return value.get("kind", default)
        return getattr(value, "kind", None)

    return pydantic.Discriminator(kind)


AnyParsingNetworkConfig = Annotated[
    Annotated[ParsingNetworkConfig, pydantic.Tag("compact")]
    | Annotated[JPPNetConfig, pydantic.Tag("jppnet")],
    _kind_or("compact"),
]


class ParsingLossConfig(Section):
    """Loss weights of stage 1. JPPNet has 1 everywhere; the rest is our choice."""

    parsing: float = Field(1.0, ge=0)
    pose: float = Field(1.0, ge=0)
    full_size: float = Field(
        1.0,
        ge=0,
        description="Weight of the answer enlarged to the photo's size; JPPNet has 0.",
    )
    pose_error: Literal["relative", "root"] = Field(
        "relative",
        description="Squared error as a part of the target's, or JPPNet's root of it.",
    )
    balanced: Literal["none", "dice", "tversky", "focal"] = Field(
        "none", description="A second parsing loss, for labels that are rare."
    )
    balanced_weight: float = Field(1.0, ge=0)
    class_weights: Literal["none", "inverse_sqrt"] = Field(
        "none", description="Of the cross-entropy: 1 / sqrt(label's part of the batch)."
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Of the cross-entropy.")
    hole: float = Field(2.0, ge=0, description="Extra weight of pixels in the hole.")
    group_overlap: float = Field(
        0.0,
        ge=0,
        description="Dice of each photo's label groups (head, torso, arms, legs, "
        "shoes) in the hole: decides where cross-entropy hedges.",
    )
    adversarial: float = Field(
        0.0,
        ge=0,
        description="A critic that tells predicted maps from annotated ones.",
    )
    deep_supervision: float = Field(0.4, ge=0, description="Weight of early rounds.")
    heatmap_sigma: float = Field(
        0.021, gt=0, description="Of the height; JPPNet has 8 px at 384."
    )

    @property
    def has_map_term(self) -> bool:
        """Whether anything is learned of the map."""
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
                "full_size or deep_supervision needs a weight above 0, or nothing of "
                "the map is learned"
            )
        return self


class ParsingConfig(Section):
    network: AnyParsingNetworkConfig = ParsingNetworkConfig()
    backbone_weights: str = Field(
        "none",
        min_length=1,
        description="What a fresh run's backbone starts from: `none`, `imagenet` "
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
        (32, 64, 96), min_length=1, description="Channels of the map's critic."
    )
    discriminator_optimizer: OptimizerConfig = OptimizerConfig(
        learning_rate=4e-4, beta_1=0.5, warmup_steps=0
    )
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


class CompletionNetworkConfig(Section):
    """Size of the stage-2 network of our own, `CompletionNetwork`."""

    kind: Literal["parsing_guided"] = "parsing_guided"
    widths: tuple[Count, ...] = Field(
        (32, 64, 128),
        min_length=2,
        description="Channels at `stem` and at every doubling of it.",
    )
    stem: Literal[2, 4] = Field(
        2, description="Stride of the first convolution and of the last shuffle."
    )
    blocks: int = Field(
        0,
        ge=0,
        description="Residual blocks at every stride but the largest, down and up.",
    )
    dilations: tuple[Count, ...] = Field(
        (1, 2, 4, 8, 2, 1), description="One residual block of the middle each."
    )
    prefill: Literal["parsing", "plain", "none"] = Field(
        "parsing",
        description="What the network adds to: label colours, a membrane, nothing.",
    )
    prefill_stride: Literal[4, 8] = Field(
        4, description="At which label colours spread; 8 takes a sixteenth of the work."
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
    noise: int = Field(
        0, ge=0, description="Channels of noise at the input, in training alone."
    )
    upsampling: Literal["shuffle", "smooth_shuffle"] = Field(
        "shuffle",
        description="Of the decoder: pixel shuffles, or pixel shuffles and a blur, "
        "which leave no grid.",
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
    normalisation: Literal["batch", "group"] = Field(
        "batch", description="The paper's, or one that does not depend on the batch."
    )


class ContextualAttentionConfig(Section):
    """A peer: two stages of gated convolutions with attention (DeepFill v2)."""

    kind: Literal["contextual_attention"]
    width: int = Field(
        24, ge=2, description="Channels at full size; the paper's 48 before gating."
    )
    scale: float = Field(10.0, gt=0, description="Of the softmax of the attention.")
    fuse: bool = Field(True, description="Attention is propagated to neighbours.")


class GlcConfig(Section):
    """A peer: *Globally and Locally Consistent Image Completion* (2017)."""

    kind: Literal["glc"]
    width_divisor: int = Field(1, ge=1, le=32, description="Of all channels.")
    normalisation: Literal["batch", "group"] = Field(
        "batch", description="The paper's, or one that does not depend on the batch."
    )


# What `completion.network.kind` chooses among; a file without it means the first.
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
    _kind_or("parsing_guided"),
]

_NETWORKS = {**PARSING_NETWORKS, **COMPLETION_NETWORKS}


class DiscriminatorConfig(Section):
    """Both critics, and what they and the network play for."""

    widths: tuple[Count, ...] = Field(
        (32, 64, 96, 128), min_length=1, description="Channels; each halves the size."
    )
    features: Literal["none", "efficientnet_lite0"] = Field(
        "none",
        description="The global critic is small heads on the frozen features of this "
        "network; none: it is trained whole, as the local one is.",
    )
    features_weights: str = Field(
        "none",
        min_length=1,
        description="The file of that network's weights, as parsing.backbone_weights.",
    )
    features_width: int = Field(64, ge=1, description="Channels of each head.")
    local_size: tuple[Count, Count] = Field(
        (64, 64), description="Height and width of the local critic's crop."
    )
    local_crops: int = Field(
        0,
        ge=0,
        description="0: one crop around all holes. More: as many crops of `local_size` "
        "pixels, each about a random pixel of the hole.",
    )
    conditioned: bool = Field(True, description="The critics see the parsing map.")
    spectral_normalisation: bool = True
    loss: Literal["hinge", "least_squares", "wgan_gp"] = "hinge"
    gradient_penalty: float = Field(10.0, ge=0, description="Weight, of wgan_gp.")
    r1: float = Field(0.0, ge=0, description="Weight of R1, with any loss.")
    r1_interval: int = Field(
        16, ge=1, description="R1 is taken every so many steps, and weighs as many."
    )

    @pydantic.model_validator(mode="after")
    def _features_are_learned(self) -> "DiscriminatorConfig":
        if self.features != "none" and self.features_weights in ("none", "imagenet"):
            raise ValueError(
                f"features {self.features} need trained weights: expected "
                "features_weights to be the path of their .npz file, received "
                f"{self.features_weights!r}"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _one_bound(self) -> "DiscriminatorConfig":
        if self.loss == "wgan_gp" and self.spectral_normalisation:
            raise ValueError(
                "loss wgan_gp bounds the critics by its gradient penalty: expected "
                "spectral_normalisation false, received true"
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

    What weighs 0 is not computed. With both adversarial weights 0 there are no critics.
    """

    hole: float = Field(6.0, ge=0, description="L1 inside the hole.")
    known: float = Field(1.0, ge=0, description="L1 outside the hole.")
    psnr: float = Field(
        0.0, ge=0, description="Logarithm of each photo's squared error in the hole."
    )
    coarse: float = Field(
        1.0,
        ge=0,
        description="Both L1, of the first answer of a network that has two stages.",
    )
    perceptual: float = Field(0.1, ge=0)
    style: float = Field(0.0, ge=0, description="Gram matrices of the same features.")
    total_variation: float = Field(0.0, ge=0, description="Of the hole and its seam.")
    label_colour: float = Field(
        0.0, ge=0, description="Mean colour of a label, hidden against seen."
    )
    adversarial: float = Field(0.02, ge=0, description="Global critic.")
    adversarial_local: float = Field(0.02, ge=0)
    feature_matching: float = Field(0.0, ge=0, description="Of all critics there are.")

    @pydantic.model_validator(mode="after")
    def _terms_fit(self) -> "CompletionLossConfig":
        if not (self.hole or self.known or self.psnr or self.perceptual or self.style):
            raise ValueError(
                "at least one of hole, known, psnr, perceptual and style needs a "
                "weight above 0"
            )
        if self.feature_matching and not (self.adversarial or self.adversarial_local):
            raise ValueError(
                "feature_matching needs a critic: expected adversarial or "
                "adversarial_local above 0"
            )
        return self


class CompletionScheduleConfig(Section):
    """Reconstruction only, then critics only, then both (after GLC)."""

    reconstruction_steps: int = Field(700, ge=0)
    critic_steps: int = Field(50, ge=0, description="Then the critics alone.")


class CompletionConfig(Section):
    network: AnyCompletionNetworkConfig = CompletionNetworkConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    perceptual: PerceptualConfig = PerceptualConfig()
    loss: CompletionLossConfig = CompletionLossConfig()
    schedule: CompletionScheduleConfig = CompletionScheduleConfig()
    training: TrainingConfig = TrainingConfig()
    discriminator_optimizer: OptimizerConfig = OptimizerConfig(
        learning_rate=4e-4, beta_1=0.5, warmup_steps=0
    )
    predicted_parsing: Fraction = Field(
        0.5, description="Part of the samples fed with stage 1's map, not the truth."
    )


class FaceNetworkConfig(Section):
    """Size of the face network, and the box that it works on."""

    size: tuple[int, int] = Field(
        (64, 64), description="Height and width of the crop; multiples of 8."
    )
    widths: tuple[Count, Count, Count] = Field(
        (32, 64, 96), description="Channels at strides 2, 4 and 8."
    )
    blocks: int = Field(4, ge=0, description="Residual blocks at stride 8.")
    context: float = Field(
        0.3, ge=0, description="Around the face, on each side, as a part of it."
    )
    feather: float = Field(
        0.1, ge=0, le=0.5, description="Soft border of the box, as a part of its side."
    )

    @pydantic.field_validator("size")
    @classmethod
    def _multiples(cls, size: tuple[int, int]) -> tuple[int, int]:
        if any(side < 8 or side % 8 for side in size):
            raise ValueError(f"height and width must be multiples of 8, got {size}")
        return size


class FaceDiscriminatorConfig(Section):
    """The critic of the crop: that of stage 2, of the crop's size."""

    widths: tuple[Count, ...] = Field((32, 64, 96), min_length=1)


class FaceLossConfig(Section):
    """Loss weights of the face network, in the crop; our choice."""

    hole: float = Field(6.0, ge=0, description="L1 inside the hole.")
    perceptual: float = Field(
        0.2, ge=0, description="With network, weights and layers of completion."
    )
    adversarial: float = Field(0.02, ge=0, description="0: no critic.")

    @pydantic.model_validator(mode="after")
    def _some_term(self) -> "FaceLossConfig":
        if not (self.hole or self.perceptual):
            raise ValueError("hole or perceptual needs a weight above 0")
        return self


def _check_strides(key: str, widths: tuple, size: tuple[int, int]) -> None:
    """Raises ValueError: a critic would halve a side more often than it can be."""
    if 2 ** len(widths) > min(size):
        raise ValueError(
            f"{key}: {len(widths)} convolutions that halve the size, but a photo or "
            f"crop of {size[0]}x{size[1]}: expected fewer of them"
        )


class FaceConfig(Section):
    """Face refinement, the third stage; stages 1 and 2 are frozen meanwhile."""

    network: FaceNetworkConfig = FaceNetworkConfig()
    discriminator: FaceDiscriminatorConfig = FaceDiscriminatorConfig()
    loss: FaceLossConfig = FaceLossConfig()
    schedule: CompletionScheduleConfig = CompletionScheduleConfig()
    training: TrainingConfig = TrainingConfig()
    discriminator_optimizer: OptimizerConfig = OptimizerConfig(
        learning_rate=4e-4, beta_1=0.5, warmup_steps=0
    )
    masks: MaskConfig = Field(
        MaskConfig(
            rectangle=0.25, strokes=0.5, body_part=0.25, border=0.5, face=2.5,
            border_sides={"top": 2.0, "left": 1.0, "right": 1.0, "bottom": 1.0},
        ),
        description="In place of `masks`: most of these holes are at the face.",
    )  # fmt: skip
    predicted_parsing: Fraction = Field(
        0.5, description="Part of the samples fed with stage 1's map, not the truth."
    )

    @pydantic.model_validator(mode="after")
    def _critic_fits(self) -> "FaceConfig":
        if self.loss.adversarial:
            _check_strides(
                "discriminator.widths", self.discriminator.widths, self.network.size
            )
        return self


class PipelineConfig(Section):
    """How the stages are run once they are trained; no key here changes a weight."""

    flip: bool = Field(
        False, description="Average stage 1 with its answer to the mirrored photo."
    )
    scales: tuple[Annotated[float, Field(gt=0, le=4)], ...] = Field(
        (1.0,),
        min_length=1,
        description="Average stage 1 over these scales; JPPNet: 1, 0.75 and 1.25.",
    )
    face: bool = Field(True, description="Refine faces, if the run has learned to.")
    detail: bool = Field(
        True,
        description="Give the hole of a photo above the working size the photo's own "
        "texture.",
    )


class Config(Section):
    """One experiment: its stages, their data and their holes."""

    name: str = Field(
        "unnamed", pattern=r"^[^/\\]+$", description="Also of weights files."
    )
    seed: int = Field(0, ge=0, lt=2**32)
    size: tuple[int, int] = Field(
        (192, 128), description="Working height and width; multiples of 16."
    )
    data: DataConfig = DataConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    masks: MaskConfig = MaskConfig()
    parsing: ParsingConfig = ParsingConfig()
    completion: CompletionConfig = CompletionConfig()
    face: FaceConfig = FaceConfig()
    pipeline: PipelineConfig = PipelineConfig()

    @pydantic.field_validator("size")
    @classmethod
    def _multiples(cls, size: tuple[int, int]) -> tuple[int, int]:
        if any(side < 16 or side % 16 for side in size):
            raise ValueError(f"height and width must be multiples of 16, got {size}")
        return size

    @pydantic.model_validator(mode="after")
    def _strides_fit(self) -> "Config":
        completion = self.completion
        network, critic = completion.network, completion.discriminator
        if network.kind == "parsing_guided":
            stride = network.stem * 2 ** (len(network.widths) - 1)
            if any(side % stride for side in self.size):
                raise ValueError(
                    f"completion.network has a stride of {stride} (stem "
                    f"{network.stem}, {len(network.widths)} widths): expected a size "
                    f"of multiples of it, got {self.size}"
                )
        key = "completion.discriminator.widths"
        if completion.loss.adversarial:
            _check_strides(key, critic.widths, self.size)
        if completion.loss.adversarial_local:
            _check_strides(key, critic.widths, critic.local_size)
        if self.parsing.loss.adversarial:
            _check_strides(
                "parsing.discriminator_widths",
                self.parsing.discriminator_widths,
                tuple(side // 2 for side in self.size),
            )
        return self


def _valid_keys(model: type[Section], location: tuple) -> list[str]:
    for part in location[:-1]:
        field = getattr(model, "model_fields", {}).get(part)
        # The kind of a network is a part of the location, though not of the key.
        model = field.annotation if field else _NETWORKS.get(part)
    return list(getattr(model, "model_fields", {}))


def _explain(model: type[Section], error: dict) -> str:
    location = error["loc"]
    key = ".".join(str(part) for part in location if part not in _NETWORKS)
    if error["type"] == "union_tag_invalid":
        kinds = error["ctx"]["expected_tags"].replace("'", "")
        kind = error["input"]["kind"]
        return f"'{key}.kind': expected one of {kinds} (received {kind!r})"
    if error["type"] == "extra_forbidden":
        valid = _valid_keys(model, location)
        near = difflib.get_close_matches(str(location[-1]), valid, n=1, cutoff=0.4)
        hint = (
            f"did you mean '{near[0]}'?"
            if near
            else f"valid here: {', '.join(valid) or 'nothing'}"
        )
        return f"unknown key '{key}'; {hint}"
    message = error["msg"].removeprefix("Value error, ")
    if isinstance(error["input"], dict | pydantic.BaseModel):
        # Several keys do not go together, and the message has them.
        return f"'{key}': {message}" if key else message
    return f"'{key}': {message} (received {error['input']!r})"


def parse_section(model: type[AnySection], values: dict, source: str) -> AnySection:
    """Checks plain values against a schema.

    Args:
        model: The schema.
        values: What a YAML file holds.
        source: Name of the file, for the message.

    Raises:
        PortraitError: A key is unknown or a value is of the wrong type or range.
    """
    if not isinstance(values, dict):
        raise PortraitError(
            f"{source}: expected keys and values, received {type(values).__name__}"
        )
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        raise PortraitError(
            f"{source}: " + "; ".join(_explain(model, one) for one in error.errors())
        ) from None


def parse_config(values: dict, source: str = "config") -> Config:
    """Checks an experiment's plain values, as `parse_section` does."""
    return parse_section(Config, values, source)


def load_section(
    model: type[AnySection], path: str | pathlib.Path, kind: str
) -> AnySection:
    """Reads a YAML file.

    Args:
        model: The schema.
        path: The file.
        kind: What the file is, for the message.

    Raises:
        PortraitError: The file is missing, is no YAML, has a key twice, or does not fit
            the schema.
    """
    values = parse_yaml(read_text(path, kind), str(path))
    return parse_section(model, {} if values is None else values, str(path))


class _RepeatedKeyError(yaml.YAMLError):
    pass


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, of which PyYAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        lines = {}
        for key_node, _ in getattr(node, "value", ()):
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            # What cannot be a key is YAML's to refuse.
            if not isinstance(key, Hashable):
                continue
            line = key_node.start_mark.line + 1
            if key in lines:
                raise _RepeatedKeyError(
                    f"expected each key once, found {key!r} in line {lines[key]} and "
                    f"line {line}"
                )
            lines[key] = line
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, source: str) -> object:
    """The value of a YAML text.

    Args:
        text: Of one document.
        source: What to call it in a message.

    Raises:
        PortraitError: It is no YAML, or has a key twice.
    """
    try:
        return yaml.load(text, _Loader)
    except _RepeatedKeyError as error:
        raise PortraitError(f"{source}: {error}") from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise PortraitError(f"{source}: not YAML: {reason}") from None


def load_config(path: str | pathlib.Path) -> Config:
    """Reads an experiment's YAML file, as `load_section` does."""
    return load_section(Config, path, "config")


def with_changes(config: Config, changes: list[str]) -> Config:
    """A config with some keys changed.

    Args:
        config: Stays as it is.
        changes: `section.key=value`; values are read as YAML. A section's are applied
            before its keys', and a `kind`, which has keys of its own, before those.

    Raises:
        PortraitError: No `=`, or a key or value that does not fit the schema.
    """
    values = changed_values(config, changes)
    return parse_config(values, "--set" if changes else "config")


def _turn(change: str) -> tuple:
    """Sorts changes so that none takes away what another has set."""
    parts = change.partition("=")[0].split(".")
    return len(parts), parts[-1] != "kind"


def changed_values(section: pydantic.BaseModel, changes: list[str]) -> dict:
    """All keys of a config or of a part of one, some of them changed, not yet checked.

    Raises:
        PortraitError: As `with_changes`, but for what the schema says.
    """
    values = section.model_dump(mode="json")
    for change in sorted(changes, key=_turn):
        key, equals, text = change.partition("=")
        if not equals:
            raise PortraitError(f"--set: expected KEY=VALUE, received {change!r}")
        holder = values
        *parts, last = key.split(".")
        for part in parts:
            holder = holder.setdefault(part, {})
            if not isinstance(holder, dict):
                raise PortraitError(f"--set: '{key}': '{part}' holds no keys")
        value = parse_yaml(text, f"--set: {change!r}")
        if last == "kind" and holder.get(last, value) != value:
            # Another kind of network has other keys.
            holder.clear()
        holder[last] = value
    return values


def save_config(config: Config, path: str | pathlib.Path) -> None:
    """Writes every key, defaults too: the exact config of a run."""
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    write_result(path, text.encode())
