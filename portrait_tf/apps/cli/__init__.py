"""The command line, `portrait-tf`.

TensorFlow takes seconds to import, so it is imported in the commands that need it,
after their arguments were checked.
"""

import errno
import os
import sys
from typing import Annotated

import typer

import portrait_tf

# Imported for what they register, in the order of --help.
# isort: off
from portrait_tf.apps.cli import photos  # noqa: F401
from portrait_tf.apps.cli import batch  # noqa: F401
from portrait_tf.apps.cli import training  # noqa: F401
from portrait_tf.apps.cli import evaluation  # noqa: F401
from portrait_tf.apps.cli import export  # noqa: F401
from portrait_tf.apps.cli import serving  # noqa: F401
from portrait_tf.apps.cli import data  # noqa: F401

# isort: on
from portrait_tf.apps.cli.shared import app
from portrait_tf.errors import PortraitError
from portrait_tf.streams import open_streams


def _version(value: bool) -> None:
    if value:
        typer.echo(f"portrait-tf {portrait_tf.__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    """Runs a command; a user's mistake is one sentence on stderr and exit code 2."""
    open_streams()
    # As stderr does it: file names can have bytes that are no text.
    if sys.stdout:
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except PortraitError as error:
        typer.echo(f"portrait-tf: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        # Of stdout, Python would try to write the rest at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        typer.echo(f"portrait-tf: cannot write: {error.strerror}", err=True)
        sys.exit(PortraitError.exit_code)
    except ModuleNotFoundError as error:
        if error.name.split(".")[0] in ("portrait_tf", "export", "serving"):
            raise
        typer.echo(
            f"portrait-tf: expected the package {error.name}, which is not installed: "
            "pip install 'portrait-tf[default]'",
            err=True,
        )
        sys.exit(2)
