"""What the calls of a client return."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class CompletionResult:
    """A completed photo, or a batch of them.

    Attributes:
        completed: `uint8` RGB `[H, W, 3]`, or `[B, H, W, 3]` for a batch.
        parsing: `uint8` LIP labels `[H, W, 1]`, or `[B, H, W, 1]`; None where it was
            not asked for.
        joints: `float32` `[16, 3]`, or `[B, 16, 3]`, as of `ParsingResult`, where the
            photo was completed with joints; else None.
    """

    completed: np.ndarray
    parsing: np.ndarray | None = None
    joints: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class ParsingResult:
    """The body structure of a photo, hole included, or of each photo of a batch.

    Attributes:
        parsing: `uint8` LIP labels `[H, W, 1]`, or `[B, H, W, 1]` for a batch.
        joints: `float32` `[16, 3]`, or `[B, 16, 3]`: x and y in pixels of the photo
            (the center of the first is 0), and the heatmap's peak, of LIP's joints;
            None when the model has no pose.
    """

    parsing: np.ndarray
    joints: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """The state of one version of the model.

    Attributes:
        version: Its number.
        state: `START`, `LOADING`, `AVAILABLE`, `UNLOADING`, `END` or `UNKNOWN`; only
            an `AVAILABLE` version answers.
        error: Why it failed to load; empty when it did not.
    """

    version: int
    state: str
    error: str = ""


@dataclasses.dataclass(frozen=True)
class TensorDescription:
    """An input or output: dtype name, and sizes (None: any) or None for any rank."""

    dtype: str
    shape: tuple[int | None, ...] | None


@dataclasses.dataclass(frozen=True)
class SignatureDescription:
    """The inputs and outputs of a signature, by name."""

    inputs: dict[str, TensorDescription]
    outputs: dict[str, TensorDescription]


@dataclasses.dataclass(frozen=True)
class ModelMetadata:
    """What the server says of the model it serves."""

    name: str
    version: int
    signatures: dict[str, SignatureDescription]
