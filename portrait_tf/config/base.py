"""Types and checks that the sections of the schema share."""

from typing import Annotated, Literal, TypeVar

import pydantic
from pydantic import Field

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Natural = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


def _rising(limits: tuple) -> tuple:
    if limits[0] > limits[1]:
        raise ValueError(f"the smaller of both limits comes first, got {limits}")
    return limits


Rising = pydantic.AfterValidator(_rising)
Range = Annotated[tuple[Positive, Positive], Rising]
_Part = Annotated[float, Field(gt=0, le=1)]
PartRange = Annotated[tuple[_Part, _Part], Rising]
Side = Literal["top", "bottom", "left", "right"]


class Section(pydantic.BaseModel):
    """Base of all sections: strict about names, finite, checked on assignment."""

    model_config = pydantic.ConfigDict(
        extra="forbid", validate_assignment=True, allow_inf_nan=False
    )


AnySection = TypeVar("AnySection", bound=Section)


def kind_or(default: str) -> pydantic.Discriminator:
    """Chooses a network's section by its `kind`."""

    def kind(value: object) -> object:
        if isinstance(value, dict):
            return value.get("kind", default)
        return getattr(value, "kind", None)

    return pydantic.Discriminator(kind)


def check_strides(key: str, widths: tuple, size: tuple[int, int]) -> None:
    """Raises ValueError: a discriminator would halve a side too often."""
    if 2 ** len(widths) > min(size):
        raise ValueError(
            f"{key}: {len(widths)} convolutions that halve the size, but a photo or "
            f"crop of {size[0]}x{size[1]}: expected fewer of them"
        )
