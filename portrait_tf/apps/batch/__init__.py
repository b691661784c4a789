"""Millions of photos: a manifest through an engine, on Apache Beam.

`manifest` is what a user writes, `files` is Beam's file systems, `engine` is where the
photos are completed, `pipeline` joins them, `run` starts it and says how it went. Beam
is imported in this package alone, and by no module of it that is needed to say that
the extra is missing. How to use it: `docs/batch.md`.
"""

import contextlib
import importlib.util
import logging
from collections.abc import Iterator

from portrait_tf.errors import PortraitError


def check_beam() -> None:
    """Raises PortraitError: the extra `beam` is not installed."""
    try:
        found = importlib.util.find_spec("apache_beam")
    except ValueError:
        found = None
    if found is None:
        raise PortraitError(
            'to complete photos in batches, install the extra: pip install "'
            'portrait-tf[beam]"'
        )


@contextlib.contextmanager
def quiet_beam() -> Iterator[None]:
    """Hides what Beam logs: packages of Google's that are not there, and the trace of
    what ends a job, which is raised, too."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
