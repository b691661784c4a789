"""What an export offers: signatures, their fields, limits. Data alone, no TensorFlow.

The graphs, `signature.json`, the README in a version's folder and the command line all
read it here.
"""

import dataclasses
from collections.abc import Sequence

from portrait_tf.errors import PortraitError
from portrait_tf.labels import LABELS, NUM_JOINTS

MODEL_NAME = "portrait"
"""As requests and `models.config` call the model."""

PRECISIONS = ("float32", "float16")
"""What weights can be stored as."""

BATCH_SIZES = (1, 2, 4, 8)
"""To which a server's batching rounds up; each is warmed up."""

MAX_PIXELS = 2**26
"""Of a photo, or of the canvas that `extrapolate` answers with: 8192x8192."""

MAX_BATCH_PIXELS = 2**28
"""Of all photos of a batch together; a request needs some 40 bytes for each."""

MAX_SIDE = 2**14
"""Of a photo, in pixels."""

IMAGE_FORMATS = ("JPEG", "PNG", "WebP", "BMP")
"""Of encoded photos and masks."""


def max_batch(size: tuple[int, int]) -> int:
    """The largest batch whose features fit in memory.

    Args:
        size: Working height and width of the networks.

    Returns:
        64 up to 181x181, less for larger ones, at least 8.
    """
    return min(64, max(8, 2**21 // (size[0] * size[1])))


@dataclasses.dataclass(frozen=True)
class Field:
    """An input or output of a signature.

    Attributes:
        dtype: `uint8`, `int32`, `float32` or `string`.
        shape: A number, or a letter: equal letters of a signature are equal sizes.
        range: Smallest and largest value; None for strings.
        unit: Of the values.
        meaning: One or two sentences.
    """

    dtype: str
    shape: tuple[int | str, ...]
    range: tuple[float, float] | None
    unit: str
    meaning: str


@dataclasses.dataclass(frozen=True)
class Signature:
    """An entry point of the model."""

    meaning: str
    inputs: dict[str, Field]
    outputs: dict[str, Field]


_PHOTO = ("B", "H", "W", 3)
_MAP = ("B", "H", "W", 1)
_CANVAS = ("B", "H2", "W2")
_GRAYS = (0, 255)
_LABELS = (0, len(LABELS) - 1)


def _file(meaning: str) -> Field:
    return Field("string", ("B",), None, "file content", meaning)


_IMAGE = Field("uint8", _PHOTO, _GRAYS, "gray level", "The photo, RGB.")
_MASK = Field(
    "uint8", _MAP, _GRAYS, "flag",
    "Non-zero = hole. What the photo has there is not read.",
)  # fmt: skip
_COMPLETED = Field(
    "uint8", _PHOTO, _GRAYS, "gray level",
    "The photo with its hole filled, RGB; all other pixels as they were, bit for bit.",
)  # fmt: skip
_JOINTS = Field(
    "float32", ("B", NUM_JOINTS, 3), None, "pixel, pixel, heatmap peak",
    "x, y and how sure the network is, of LIP's joints in LIP's order. The center of "
    "the first pixel is 0, that of the last width - 1 or height - 1; x and y may lie "
    "outside the photo.",
)  # fmt: skip
_PARSING = Field(
    "uint8", _MAP, _LABELS, "LIP label",
    "The complete person's label map, in the hole, too.",
)  # fmt: skip

SIGNATURES = {
    "serving_default": Signature(
        "Completes photos of one size.",
        {"image": _IMAGE, "mask": _MASK},
        {"completed": _COMPLETED, "parsing": _PARSING},
    ),
    "encoded": Signature(
        "Completes photos that come, and go, as files; those of a batch may differ in "
        "size.",
        {
            "image_bytes": _file(
                f"The photo: {', '.join(IMAGE_FORMATS)}. EXIF orientation is not "
                "applied, transparency not read."
            ),
            "mask_bytes": _file(
                "The mask, of the photo's size: any pixel but black = hole, so a "
                "format without loss."
            ),
        },
        {
            "completed_bytes": _file("`completed` as a PNG file, RGB."),
            "parsing_bytes": _file("`parsing` as a PNG file, gray."),
        },
    ),
    "parse": Signature(
        "Stage 1 alone: body structure and pose.",
        {"image": _IMAGE, "mask": _MASK},
        {
            "parsing": _PARSING,
            "joints": dataclasses.replace(
                _JOINTS,
                meaning=f"{_JOINTS.meaning} Not there if stage 1 has no pose branch.",
            ),
        },
    ),
    "complete_with_parsing": Signature(
        "Completes photos by a label map of the user's; stage 1 runs only where that "
        "map leaves something open, or the photo's shape is not the networks'.",
        {
            "image": _IMAGE,
            "mask": _MASK,
            "parsing": Field(
                "uint8", _MAP, _GRAYS, "LIP label",
                "The label map to paint by; any value above "
                f"{_LABELS[1]} = what stage 1 predicts there.",
            ),
        },
        {"completed": _COMPLETED},
    ),
    "complete_with_joints": Signature(
        "Completes photos whose people have joints where the user says. Exported where "
        "stage 1 takes joints as hints.",
        {
            "image": _IMAGE,
            "mask": _MASK,
            "joints": Field(
                "float32", ("B", NUM_JOINTS, 3), None, "pixel, pixel, flag",
                "x, y, and 1 where the joint is given or 0 where stage 1 is to find "
                "it, of LIP's joints in LIP's order; x and y as in the output. Where "
                "the flag is 0, x and y are not read.",
            ),
        },
        {
            "completed": _COMPLETED,
            "parsing": _PARSING,
            "joints": dataclasses.replace(
                _JOINTS,
                meaning=f"{_JOINTS.meaning} Given joints are where stage 1 has drawn "
                "them.",
            ),
        },
    ),
    "extrapolate": Signature(
        "Extends photos of one size past their borders, each by margins of its own.",
        {
            "image": _IMAGE,
            "margins": Field(
                "float32", ("B", 4), (0, 1), "part of height, height, width, width",
                "What to add at the top, bottom, left and right.",
            ),
        },
        {
            "completed": Field(
                "uint8", (*_CANVAS, 3), _GRAYS, "gray level",
                "A canvas as large as the largest result of the batch, each result at "
                "its top left, zeros elsewhere; the photo's own pixels bit for bit.",
            ),
            "parsing": Field(
                "uint8", (*_CANVAS, 1), _LABELS, "LIP label",
                "The label map, on such a canvas.",
            ),
            "size": Field(
                "int32", ("B", 2), (1, MAX_SIDE), "pixel",
                "Height and width of this photo's own result.",
            ),
        },
    ),
}  # fmt: skip
"""Every signature by name, `serving_default` first."""

WITH_JOINTS = "complete_with_joints"
"""The signature that needs a stage 1 with hints."""


def check_names(
    signatures: Sequence[str] | None, takes_joints: bool = True
) -> list[str]:
    """Names of signatures, in their usual order, each once.

    Args:
        signatures: None for all that the networks have.
        takes_joints: Whether stage 1 takes joints as hints.

    Raises:
        PortraitError: There is no such signature, or the networks do not have it.
    """
    offered = [name for name in SIGNATURES if takes_joints or name != WITH_JOINTS]
    for name in signatures or []:
        if name not in SIGNATURES:
            raise PortraitError(
                f"unknown signature {name!r}: expected {', '.join(SIGNATURES)}"
            )
        if name not in offered:
            raise PortraitError(
                f"the signature {name!r} expects a stage 1 that takes joints as hints "
                "(parsing.network.hints), received one without"
            )
    return [name for name in offered if not signatures or name in signatures]
