"""The command line, in the process of the tests."""

from typer.testing import CliRunner

from portrait_tf.apps import cli
from portrait_tf.errors import PortraitError


def run(*arguments):
    """Runs a command; gives its exit code, and its output or its one sentence."""
    result = CliRunner().invoke(cli.app, [str(one) for one in arguments])
    if isinstance(result.exception, PortraitError):
        return 2, str(result.exception)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output
