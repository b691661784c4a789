"""One experiment: all sections."""

from typing import Annotated

import pydantic
from pydantic import Field

from portrait_tf.config.base import Section, check_strides
from portrait_tf.config.completion import CompletionConfig
from portrait_tf.config.data import AugmentationConfig, DataConfig, MaskConfig
from portrait_tf.config.face import FaceConfig
from portrait_tf.config.parsing import ParsingConfig


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
            check_strides(key, critic.widths, self.size)
        if completion.loss.adversarial_local:
            check_strides(key, critic.widths, critic.local_size)
        if self.parsing.loss.adversarial:
            check_strides(
                "parsing.discriminator_widths",
                self.parsing.discriminator_widths,
                tuple(side // 2 for side in self.size),
            )
        return self
