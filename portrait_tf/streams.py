"""The process's standard streams: never closed, and filtered in one place.

TensorFlow's C++ parts have no switch for some of what they write to stderr. File
descriptor 2 belongs to the whole process, so only this module redirects it, under one
lock.
"""

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator

_lock = threading.RLock()


def open_streams() -> None:
    """Gives a process without standard streams ones that discard what is written.

    A shell's `2>&-` closes file descriptor 2, and the next file that is opened, such as
    a result, would get its number and everything that C libraries write there. Python
    then has None for `sys.stderr`, as in a program without a console.
    """
    _open_descriptors()
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            discarded = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
            setattr(sys, name, discarded)


def _open_descriptors() -> None:
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)


def _flush() -> None:
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stderr.flush()


@contextlib.contextmanager
def filtered_stderr(lines: re.Pattern[bytes]) -> Iterator[None]:
    """Drops lines that C libraries write to the process's stderr.

    All other output of the process reaches stderr after the block. If the block raises,
    nothing is dropped.

    Args:
        lines: Matches each line to drop, with its newline.
    """
    with _lock, contextlib.ExitStack() as stack:
        _open_descriptors()
        try:
            file = stack.enter_context(tempfile.TemporaryFile())
        except OSError:  # Such as a container without a folder to write to.
            yield
            return
        _flush()
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        pattern = None
        try:
            yield
            pattern = lines
        finally:
            _flush()
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            content = file.read()
            _write(content if pattern is None else pattern.sub(b"", content))


def _write(content: bytes) -> None:
    with contextlib.suppress(OSError):
        while content:
            content = content[os.write(2, content) :]
