"""The one exception for a user's mistake.

The command line turns it into one sentence and exit code 2, the servers into
INVALID_ARGUMENT; anything else that is raised is our bug and keeps its trace.
"""


class PortraitError(ValueError):
    """Something the user gave is wrong; the message says what, and what is expected.

    Attributes:
        exit_code: Of the command line.
    """

    exit_code = 2


class LostWorkerError(PortraitError):
    """Another worker of a training is gone; all are to be started again."""

    exit_code = 75
