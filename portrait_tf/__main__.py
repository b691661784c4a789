"""The command line, `portrait-tf`, where all that it needs is installed."""

import sys


def main() -> None:
    """Runs a command; one sentence where only the client's packages are installed."""
    try:
        import typer  # noqa: F401
    except ModuleNotFoundError:
        sys.exit(
            "portrait-tf: only the client is installed (serving.client); the command"
            " line needs pip install 'portrait-tf[default]'"
        )
    from portrait_tf.apps.cli import main

    main()


if __name__ == "__main__":
    main()
