"""What the commands share: options, the bar, TensorFlow's start."""

import contextlib
import dataclasses
import functools
import inspect
import logging
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Literal, get_type_hints

import typer
import typer.core

from portrait_tf.errors import PortraitError

if TYPE_CHECKING:
    import keras
    from rich.console import Console

    from portrait_tf.photos import MaskOptions
    from portrait_tf.portrait import Portrait
    from serving.client.connection import Tls


class _Commands(typer.core.TyperGroup):
    """Refuses empty arguments, as paths the current folder, and unusable paths."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:
        before = "portrait-tf"
        # TensorFlow Serving's flags may be empty.
        for argument in args if args[:1] != ["serve"] else ():
            if argument == "--":
                break
            name, equals, value = argument.partition("=")
            if not argument or (equals and not value and name.startswith("--")):
                raise PortraitError(
                    f"expected a value after {name or before}, received an empty one"
                )
            before = argument
        return super().parse_args(ctx, args)

    def invoke(self, ctx: typer.Context) -> object:
        try:
            return super().invoke(ctx)
        except OSError as error:
            # Such as a name that is too long, or a folder that may not be entered.
            if error.filename is None:
                raise
            raise PortraitError(error.strerror, path=error.filename) from None


app = typer.Typer(
    name="portrait-tf",
    cls=_Commands,
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


def grouped(command: Callable) -> Callable:
    """A command that takes dataclasses of options: their fields become its options."""
    hints, groups, parameters = get_type_hints(command, include_extras=True), {}, []
    for name, given in inspect.signature(command).parameters.items():
        kind = hints[name]
        if not dataclasses.is_dataclass(kind):
            parameters.append(given.replace(annotation=kind, kind=given.KEYWORD_ONLY))
            continue
        types = get_type_hints(kind, include_extras=True)
        groups[name] = kind
        parameters += [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=types[field.name],
            )
            for field in dataclasses.fields(kind)
        ]

    @functools.wraps(command)
    def run(**values: object) -> object:
        for name, kind in groups.items():
            names = [field.name for field in dataclasses.fields(kind)]
            values[name] = kind(**{one: values.pop(one) for one in names})
        return command(**values)

    run.__signature__ = inspect.Signature(parameters)
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    del run.__wrapped__
    return run


Checkpoint = Literal["last", "best"]
Split = Literal["train", "val"]
Server = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Complete on a server, over gRPC."),
]
Model = Annotated[
    pathlib.Path | None,
    typer.Option(metavar="DIR", help="Complete with an exported model, in process."),
]
Detail = Annotated[
    bool | None,
    typer.Option(
        "--detail/--no-detail",
        help="Give large holes the photo's own texture, or leave them soft; else as "
        "the model was made.",
    ),
]


@dataclasses.dataclass(frozen=True)
class Secrets:
    """How a server is spoken to in secret."""

    tls: Annotated[bool, typer.Option("--tls", help="Encrypted.")] = False
    root_certificates: Annotated[
        pathlib.Path | None,
        typer.Option(help="PEM of the authorities to trust; implies --tls."),
    ] = None
    client_key: Annotated[
        pathlib.Path | None,
        typer.Option(help="PEM of this client's key; implies --tls."),
    ] = None
    client_certificate: Annotated[
        pathlib.Path | None, typer.Option(help="PEM of its certificate.")
    ] = None
    server_name: Annotated[
        str | None,
        typer.Option(help="The name in the server's certificate; implies --tls."),
    ] = None
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="PORTRAIT_TF_API_KEY", help="Sent as the header x-api-key."
        ),
    ] = None

    def encryption(self) -> "Tls | None":
        """None without any."""
        from serving.client.connection import Tls

        files = self.root_certificates, self.client_key, self.client_certificate
        wanted = self.tls or any(files) or self.server_name
        return Tls(*files, self.server_name) if wanted else None


@dataclasses.dataclass(frozen=True)
class MaskChoice:
    """How masks are read."""

    mask_from_alpha: Annotated[
        bool,
        typer.Option(
            "--mask-from-alpha",
            help="Transparent = hole: in the mask, or without one in the photo.",
        ),
    ] = False
    invert_mask: Annotated[
        bool, typer.Option("--invert-mask", help="Black = hole, or opaque = hole.")
    ] = False
    resize_mask: Annotated[
        bool, typer.Option("--resize-mask", help="Bring a mask to its photo's size.")
    ] = False

    def options(self) -> "MaskOptions":
        from portrait_tf.photos import MaskOptions

        return MaskOptions(self.mask_from_alpha, self.invert_mask, self.resize_mask)


@dataclasses.dataclass(frozen=True)
class EngineChoice:
    """Where photos are completed."""

    server: Server = None
    model: Model = None
    detail: Detail = None

    def open(self) -> "Portrait":
        """The bundled weights, the model or the server."""
        set_up_logging()
        from portrait_tf.portrait import Portrait

        return Portrait.load(self.model, self.server, self.detail)


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
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the config."),
]
JsonOut = Annotated[
    pathlib.Path | None,
    typer.Option("--json", help="Write the numbers to a file, too."),
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


@contextlib.contextmanager
def stoppable(said: str | None = None) -> Iterator[None]:
    """Ctrl-C ends the command with 130, after a sentence on what a next run does."""
    try:
        yield
    except KeyboardInterrupt:
        if said:
            typer.echo(said, err=True)
        raise typer.Exit(130) from None


def start_tensorflow() -> None:
    """Imports Keras and TensorFlow, and keeps their chatter from users."""
    from portrait_tf.startup import load_keras

    load_keras()
    set_up_logging()


def set_up_logging() -> None:
    """Shows messages of ours on stderr, TensorFlow's errors, and none of tifffile."""
    logging.basicConfig(
        level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True
    )
    for name in ("absl", "tensorflow"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)


def open_console() -> "Console":
    """Rich's console on stdout."""
    from rich.console import Console

    # A pipe has no width; a table that is cut there helps nobody.
    return Console() if sys.stdout.isatty() else Console(width=100)


def check_checkpoint(checkpoint: Checkpoint, run: str | pathlib.Path | None) -> None:
    """Raises PortraitError: there is no run that the checkpoint could be of."""
    if checkpoint != "last" and run in (None, "bundled"):
        raise PortraitError(
            f"expected a trained run for --checkpoint {checkpoint}, received none"
        )


def check_run(run: str, checkpoint: Checkpoint) -> None:
    """Raises PortraitError: `run` is no folder and not `bundled`; as the above."""
    if run != "bundled" and not pathlib.Path(run).is_dir():
        raise PortraitError(
            "expected the folder of a trained run, or 'bundled'", path=run
        )
    check_checkpoint(checkpoint, run)


@dataclasses.dataclass(frozen=True)
class Stage1Choice:
    """A stage 1."""

    run: Annotated[
        str, typer.Option("--run", metavar="RUN", help="A trained run, or `bundled`.")
    ] = "bundled"
    checkpoint: Which = "last"

    def check(self) -> None:
        """Raises PortraitError: as `check_run`."""
        check_run(self.run, self.checkpoint)

    def load(self) -> "keras.Model":
        """The network; it imports TensorFlow."""
        from portrait_tf.runs.folder import load_run_network
        from portrait_tf.runs.weights import load_bundled

        if self.run == "bundled":
            return load_bundled("parsing")
        return load_run_network(self.run, "parsing", self.checkpoint)
