"""Completes millions of photos."""

import dataclasses
from typing import Annotated, Any

import typer

from portrait_tf.apps.cli.photos import OutFormat, Quality
from portrait_tf.apps.cli.shared import (
    Detail,
    MaskChoice,
    Secrets,
    app,
    grouped,
    open_console,
)
from portrait_tf.errors import PortraitError

_SHOWN = 10


@dataclasses.dataclass(frozen=True)
class ClientChoice:
    """How servers are called."""

    model_name: Annotated[
        str | None,
        typer.Option("--model_name", "--model-name", help="As the server knows it."),
    ] = None
    model_version: Annotated[
        int | None, typer.Option(min=1, help="To ask the server for; else the newest.")
    ] = None
    version_label: Annotated[
        str | None, typer.Option(help="In its place, such as stable.")
    ] = None
    timeout: Annotated[
        float | None,
        typer.Option(help="Seconds for a call of the server, retries included; 60."),
    ] = None
    attempts: Annotated[
        int | None,
        typer.Option(
            min=1, max=5, help="Of a call, while the server is busy or away; 5."
        ),
    ] = None
    load_balancing: Annotated[
        str | None,
        typer.Option(help="pick_first, or round_robin over a name's addresses."),
    ] = None

    def options(self) -> dict[str, Any]:
        """Of `serving.client.PortraitClient`; those that are given."""
        from serving.client.connection import (
            RetryPolicy,
            channel_options,
            check_timeout,
        )

        if self.model_version and self.version_label:
            raise PortraitError(
                "expected --model-version or --version-label, received both"
            )
        if self.load_balancing:
            channel_options(None, None, self.load_balancing, RetryPolicy())
        if self.timeout is not None:
            check_timeout(self.timeout)
        options = {
            "model_name": self.model_name,
            "version": self.model_version,
            "version_label": self.version_label,
            "timeout": self.timeout,
            "retry": RetryPolicy(self.attempts) if self.attempts else None,
            "load_balancing": self.load_balancing,
        }
        return {name: value for name, value in options.items() if value is not None}


@dataclasses.dataclass(frozen=True)
class BatchEngine:
    """Where photos are completed, as workers elsewhere know it."""

    model: Annotated[
        str | None, typer.Option(metavar="DIR", help="An exported model, or its URL.")
    ] = None
    server: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Complete on servers, over gRPC."),
    ] = None
    detail: Detail = None
    concurrency: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Photos at a time in a worker's thread; 8 with --server, else 1.",
        ),
    ] = None

    def client(self, client: ClientChoice, secrets: Secrets) -> dict[str, Any]:
        """The options of the client, checked."""
        from serving.client.connection import Tls, check_target

        if self.server and self.model:
            raise PortraitError("expected --server or --model, received both")
        options = client.options()
        if encryption := secrets.encryption():
            # By value: workers do not have these files.
            options["tls"] = Tls(*encryption.read(), secrets.server_name)
        if options and not self.server:
            raise PortraitError("options of the client go with --server, received none")
        if self.server:
            if secrets.api_key:
                options["api_key"] = secrets.api_key
            check_target(self.server)
        return options


@dataclasses.dataclass(frozen=True)
class BatchResults:
    """What is written, and again."""

    format: OutFormat = None
    quality: Quality = None
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also photos that are done.")
    ] = False
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Also dead letters that are unchanged."),
    ] = False


@app.command()
@grouped
def batch(
    manifest: Annotated[
        str,
        typer.Argument(
            help="CSV with a header, or JSON lines; a path, a URL, or a pattern."
        ),
    ],
    beam: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[-- BEAM_OPTIONS]", help="Such as --runner=FlinkRunner."
        ),
    ] = None,
    out: Annotated[str, typer.Option("-o", "--out", help="A folder, or a URL.")] = ...,
    root: Annotated[
        str | None, typer.Option(help="Of relative paths; else the manifest's folder.")
    ] = None,
    engine: BatchEngine = BatchEngine(),
    masks: MaskChoice = MaskChoice(),
    results: BatchResults = BatchResults(),
    client: ClientChoice = ClientChoice(),
    secrets: Secrets = Secrets(),
) -> None:
    """Complete or extend the photos of a manifest on Apache Beam; needs `beam`."""
    from portrait_tf.apps.batch import check_beam, quiet_beam

    check_beam()
    options = engine.client(client, secrets)
    with quiet_beam():
        from portrait_tf.apps.batch.engine import EngineSettings
        from portrait_tf.apps.batch.manifest import RowOptions
        from portrait_tf.apps.batch.run import again, plan, run
    from portrait_tf.photos import format_named

    format = format_named(results.format) if results.format else None
    ready = plan(
        manifest,
        out,
        RowOptions(root, masks.options(), format, results.quality),
        EngineSettings(engine.model, engine.server, options, engine.detail),
        beam or [],
        concurrency=engine.concurrency or (8 if engine.server else 1),
        overwrite=results.overwrite,
        retry_failed=results.retry_failed,
    )
    if ready.unknown_columns:
        names = ", ".join(repr(name) for name in ready.unknown_columns)
        typer.echo(f"{manifest}: columns that mean nothing here: {names}", err=True)
    try:
        summary = run(ready)
    except KeyboardInterrupt as stop:
        typer.echo(str(stop) or f"stopped; {again(ready)}", err=True)
        raise typer.Exit(130) from None
    _show(summary)


def _show(summary: Any) -> None:
    """Counts, and the first dead letters; ends with 1 if there are any."""
    from rich.table import Table

    if not summary.finished:
        typer.echo("the job is submitted; its counters are where it runs")
        return
    table = Table("photos", "", show_header=False)
    table.add_row("completed", f"{summary.completed:,}")
    table.add_row("skipped, as they were done", f"{summary.skipped:,}")
    table.add_row("failed", f"{summary.failed:,}")
    table.add_row("failed before, unchanged", f"{summary.failed_before:,}")
    open_console().print(table)
    if summary.failed:
        from portrait_tf.apps.batch.run import read_dead_letters

        typer.echo(f"dead letters: {summary.dead_letters}-*.jsonl", err=True)
        for reason in read_dead_letters(summary, _SHOWN):
            typer.echo(f"  {reason}", err=True)
        if summary.failed > _SHOWN:
            typer.echo(f"  and {summary.failed - _SHOWN:,} more", err=True)
    if summary.failed_before:
        typer.echo("--retry-failed tries those again that failed before", err=True)
    if summary.failed or summary.failed_before:
        raise typer.Exit(1)
