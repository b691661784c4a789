"""What training reads: data sets, random changes and holes."""

from typing import Annotated

import pydantic
from pydantic import Field

from portrait_tf.config.base import (
    Count,
    Fraction,
    Natural,
    NotNegative,
    PartRange,
    Positive,
    Range,
    Rising,
    Section,
    Side,
)


class DataConfig(Section):
    """Data sets of a training."""

    weights: Annotated[tuple[Positive, ...], Field(min_length=1)] | None = Field(
        None,
        description="Relative frequency of each data set, in the order of `--data`; "
        "null: by their numbers of samples.",
    )
    backgrounds: tuple[Natural, ...] | None = Field(
        None,
        description="For each data set, in the order of `--data` and counted from 0, "
        "whose backgrounds its people are put before. Before another one's they always "
        "are, before their own as `augmentation.background` says. null: their own.",
    )
    cache_gigabytes: NotNegative = Field(
        0.0,
        description="Decoded photos and label maps are kept in memory up to this, so "
        "that they are decoded once.",
    )


class AugmentationConfig(Section):
    """Random changes of a training sample, the same for photo, labels and joints."""

    mirror: Fraction = Field(0.5, description="Probability of a mirrored sample.")
    scale: Range = Field((0.85, 1.2), description="Zoom about the photo's center.")
    shift: Fraction = Field(0.06, description="Largest shift, as a part of the size.")
    cover: bool = Field(
        True,
        description="Whether the photo fills the frame, whatever `scale` and `shift` "
        "say; without, its reflection does, and a network learns to paint that.",
    )
    brightness: Fraction = Field(0.1, description="Largest change, of the full range.")
    contrast: Fraction = Field(0.15, description="Largest relative change.")
    saturation: Fraction = Field(0.2, description="Largest relative change.")
    rotate: float = Field(0.0, ge=0, le=45, description="Largest angle, in degrees.")
    crop: Fraction = Field(
        0.0, description="Probability of a close-up about a random point of the body."
    )
    crop_zoom: Range = Field((1.2, 2.0), description="In place of `scale`.")
    recolor: Fraction = Field(
        0.0, description="Probability of clothes of other colors; needs a label map."
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
    swing: Fraction = Field(
        0.0,
        description="Probability, for each arm in the hole, of another pose of it in "
        "map and joints, so that hints are followed; stage 1 only.",
    )
    cutout: Fraction = Field(
        0.0,
        description="Probability of a gray rectangle outside the mask; stage 1 only, "
        "since the stages that paint would learn to paint it.",
    )
    cutout_size: PartRange = Field((0.1, 0.3), description="Side, of the photo's side.")


class MaskConfig(Section):
    """Holes for training: how often each kind is drawn and how large it is."""

    rectangle: NotNegative = Field(1.0, description="Weight of rectangles.")
    strokes: NotNegative = Field(1.0, description="Weight of free-form strokes.")
    body_part: NotNegative = Field(1.0, description="Weight of dilated label regions.")
    border: NotNegative = Field(1.0, description="Weight of extrapolation borders.")
    face: NotNegative = Field(0.0, description="Weight of holes at the face.")
    rectangle_size: PartRange = Field(
        (0.2, 0.6), description="Side, of the photo's side."
    )
    stroke_count: Annotated[tuple[Count, Count], Rising] = (1, 6)
    stroke_width: Range = Field((0.05, 0.2), description="Of the photo's shorter side.")
    stroke_length: Range = Field((0.2, 0.8), description="Of the photo's longer side.")
    body_part_dilation: Annotated[tuple[NotNegative, NotNegative], Rising] = Field(
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
