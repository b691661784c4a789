"""Serves, and looks at servers."""

import logging
import signal
import threading
from typing import Annotated

import typer
from typer.core import TyperCommand

from portrait_tf.apps.cli.shared import (
    EngineChoice,
    Model,
    Secrets,
    Server,
    app,
    grouped,
    open_console,
    start_tensorflow,
)
from portrait_tf.errors import PortraitError


class _ServeCommand(TyperCommand):
    """Leaves all flags to `serving.local_server.options`, which shows them, too."""

    def format_help(self, ctx, formatter) -> None:  # noqa: ANN001
        from serving.local_server.options import usage

        super().format_help(ctx, formatter)
        formatter.write(f"\nFlags, as --flag=VALUE or --flag VALUE:\n\n{usage()}\n")


@app.command(
    cls=_ServeCommand,
    context_settings={"ignore_unknown_options": True},
    options_metavar="[FLAGS]",
)
def serve(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODELS_DIR]", help="What `export` wrote."),
    ] = None,
) -> None:
    """Serve exports over TensorFlow Serving's protocol, for development."""
    from serving.local_server.options import parse_flags

    options, ignored = parse_flags(arguments or [])
    for name in ignored:
        typer.echo(f"--{name} has no effect on the embedded server", err=True)
    start_tensorflow()
    from serving.local_server.server import LocalServer

    server = LocalServer(options=options)
    try:
        server.start()
    except PortraitError as error:
        raise PortraitError(f"Failed to start server. Error: {error}") from error
    name, source = options.model_name, options.model_base_path
    if options.model_config_file:
        name, source = "models", options.model_config_file
    path = "" if options.model_config_file else f"/{name}"
    typer.echo(
        f"serving {name} from {source}: gRPC {options.host}:{server.grpc_port}, "
        f"REST http://{options.host}:{server.rest_port}/v1/models{path}"
    )
    server.wait()


@app.command()
def web(
    host: Annotated[
        str, typer.Option(help="To listen on; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 7860,
    server: Server = None,
    model: Model = None,
    max_megabytes: Annotated[
        int, typer.Option(min=1, help="Of a file that is opened.")
    ] = 64,
    max_megapixels: Annotated[
        float, typer.Option(min=0.01, help="Of a photo, and of what it grows to.")
    ] = 50.0,
) -> None:
    """Serve a page to complete photos by hand; needs the extra `web`."""
    from portrait_tf.apps.web.actions import Limits
    from portrait_tf.apps.web.page import check_gradio, running_page, warm_up

    if server and model:
        raise PortraitError("expected --server or --model, received both")
    check_gradio()
    portrait = EngineChoice(server, model).open()
    if not server:
        warm_up(portrait)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    limits = Limits(max_megabytes, max_megapixels)
    stopped = threading.Event()
    # However it is ended, visitors' files go.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with running_page(portrait, host, port, limits) as address:
        typer.echo(f"the page is at {address} (Ctrl+C stops it)")
        stopped.wait()


@app.command()
@grouped
def doctor(
    server: Annotated[
        str,
        typer.Option(metavar="HOST:PORT", help="The server's gRPC port, or unix:PATH."),
    ],
    model_name: Annotated[
        str, typer.Option("--model_name", "--model-name", help="In requests.")
    ] = "portrait",
    rest: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The REST API; else one port above."),
    ] = None,
    secrets: Secrets = Secrets(),
    timeout: Annotated[float, typer.Option(help="Seconds for each call.")] = 60.0,
) -> None:
    """Say what is wrong between here and a server, step by step; 1 if anything is."""
    from serving.client import doctor as steps
    from serving.client.connection import check_timeout

    check_timeout(timeout)
    if rest and not rest.startswith(("http://", "https://")):
        raise PortraitError(f"--rest is {rest!r}; expected http://HOST:PORT")
    console = open_console()
    failures = 0

    def show(finding: steps.Finding) -> None:
        nonlocal failures
        failures += finding.state == steps.FAILURE
        mark = {
            steps.OK: "[green]✔[/]",
            steps.WARNING: "[yellow]![/]",
            steps.FAILURE: "[red]✘[/]",
            steps.SKIPPED: "[dim]-[/]",
        }[finding.state]
        console.print(f"{mark} [bold]{finding.step}[/]", end=": ")
        console.print(finding.detail, markup=False, highlight=False, soft_wrap=True)
        if finding.advice:
            console.print("   →", finding.advice, markup=False, soft_wrap=True)

    for finding in steps.examine(
        server,
        model_name,
        rest=rest,
        tls=secrets.encryption(),
        timeout=timeout,
        api_key=secrets.api_key,
    ):
        show(finding)
    if failures:
        raise typer.Exit(1)
