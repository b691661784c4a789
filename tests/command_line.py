"""The command line, in the process of the tests."""

import logging

from typer.testing import CliRunner

from portrait_tf.apps import cli
from portrait_tf.errors import PortraitError


def run(*arguments):
    """Runs a command; gives its exit code, and its output or its one sentence."""
    # A command logs to the stderr that it finds, which ends with it.
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        result = CliRunner().invoke(cli.app, [str(one) for one in arguments])
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
    if isinstance(result.exception, PortraitError):
        return 2, str(result.exception)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output
