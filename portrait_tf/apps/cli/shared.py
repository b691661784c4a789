"""What the commands share: options, the bar, TensorFlow's start."""

import contextlib
import enum
import logging
import pathlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from portrait_tf.errors import PortraitError

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    name="portrait-tf",
    help="Completes photos of people: fills holes, extends past the border.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(no_args_is_help=True, help="Make and check data sets.")
evaluate_app = typer.Typer()
models_app = typer.Typer(
    no_args_is_help=True, help="Label and remove what is exported."
)
app.add_typer(data_app, name="data")
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(models_app, name="models")


class Stage(enum.StrEnum):
    parsing = "parsing"
    completion = "completion"
    face = "face"


class Strategy(enum.StrEnum):
    none = "none"
    mirrored = "mirrored"
    multiworker = "multiworker"


class Split(enum.StrEnum):
    train = "train"
    val = "val"


class Checkpoint(enum.StrEnum):
    last = "last"
    best = "best"


Encrypted = Annotated[bool, typer.Option("--tls", help="Encrypted.")]
RootCertificates = Annotated[
    Optional[pathlib.Path],  # noqa: UP045
    typer.Option(help="PEM of the authorities to trust; implies --tls."),
]
ClientKey = Annotated[
    Optional[pathlib.Path],  # noqa: UP045
    typer.Option(help="PEM of this client's key; implies --tls."),
]
ClientCertificate = Annotated[
    Optional[pathlib.Path],  # noqa: UP045
    typer.Option(help="PEM of its certificate."),
]
ServerName = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="The name in the server's certificate; implies --tls."),
]
ApiKey = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(envvar="PORTRAIT_TF_API_KEY", help="Sent as the header x-api-key."),
]
Server = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="HOST:PORT", help="Complete on a server, over gRPC."),
]
Model = Annotated[
    Optional[pathlib.Path],  # noqa: UP045
    typer.Option(metavar="DIR", help="Complete with an exported model, in process."),
]
Detail = Annotated[
    Optional[bool],  # noqa: UP045
    typer.Option(
        "--detail/--no-detail",
        help="Give large holes the photo's own texture, or leave them soft; else as "
        "the model was made.",
    ),
]
Data = Annotated[
    pathlib.Path, typer.Option("--data", help="A data set; docs/data.md says which.")
]
Seed = Annotated[int, typer.Option(min=0, help="Everything random follows from it.")]
Which = Annotated[
    Checkpoint,
    typer.Option(
        "--checkpoint", help="Of a run: its last, or the epoch validated best."
    ),
]
SkipBroken = Annotated[
    bool, typer.Option("--skip-broken", help="Leave out broken files, and count them.")
]


@contextlib.contextmanager
def progress(label: str) -> Iterator:
    """A bar on stderr; gives a function of (done, total)."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )

    class RateColumn(ProgressColumn):
        def render(self, task: Task) -> str:
            return f"{task.speed:.2f}/s" if task.speed else ""

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def start_tensorflow() -> None:
    """Imports Keras and TensorFlow, and keeps their chatter from users.

    Raises:
        PortraitError: Another backend is chosen.
    """
    from portrait_tf.startup import load_keras

    load_keras()
    logging.basicConfig(
        level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True
    )
    for name in ("absl", "tensorflow"):
        logging.getLogger(name).setLevel(logging.ERROR)


def open_console() -> "Console":
    """Rich's console on stdout."""
    from rich.console import Console

    # A pipe has no width; a table that is cut there helps nobody.
    return Console() if sys.stdout.isatty() else Console(width=100)


def check_checkpoint(checkpoint: Checkpoint, run: str | pathlib.Path | None) -> None:
    """Raises PortraitError: there is no run that the checkpoint could be of."""
    if checkpoint != Checkpoint.last and run in (None, "bundled"):
        raise PortraitError(
            f"expected a trained run for --checkpoint {checkpoint}, received none"
        )
