"""The exceptions for a user's mistakes.

The command line turns them into one sentence and an exit code, the servers into
INVALID_ARGUMENT; any other exception is a bug of ours and keeps its trace.
"""

import pathlib


class PortraitError(ValueError):
    """Something the user gave is wrong; the message says what, and what is expected.

    Args:
        message: The sentence; None makes it of `expected` and `received`.
        path: The file, or what else the user calls it; the message begins with it.
        expected: What fits, for the sentence.
        received: What was given instead, for the sentence.

    Attributes:
        exit_code: Exit code of the command line.
        path: As given, and so are `expected` and `received`.
    """

    exit_code = 2

    def __init__(
        self,
        message: str | None = None,
        *,
        path: str | pathlib.Path | None = None,
        expected: object = None,
        received: object = None,
    ) -> None:
        if message is None:
            message = f"expected {expected}, received {received}"
        if path is not None:
            message = f"{path}: {message}"
        super().__init__(message)
        self.path, self.expected, self.received = path, expected, received


class SizeError(PortraitError):
    """A mask or a label map has not the height and width of its photo."""


class LostWorkerError(PortraitError):
    """Another worker of a training is gone; all are to be started again."""

    exit_code = 75
