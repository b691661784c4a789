"""Completes millions of photos."""

import pathlib
from typing import Annotated, Any, Optional

import typer

from portrait_tf.apps.cli.photos import (
    _PILLOW_NAMES,
    InvertMask,
    MaskFromAlpha,
    OutFormat,
    Quality,
    ResizeMask,
)
from portrait_tf.apps.cli.shared import (
    ApiKey,
    ClientCertificate,
    ClientKey,
    Encrypted,
    RootCertificates,
    ServerName,
    app,
    open_console,
)
from portrait_tf.errors import PortraitError

_SHOWN = 10


@app.command()
def batch(
    manifest: Annotated[
        str,
        typer.Argument(
            help="CSV with a header, or JSON lines; a path, a URL, or a pattern."
        ),
    ],
    beam: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(
            metavar="[-- BEAM_OPTIONS]", help="Such as --runner=FlinkRunner."
        ),
    ] = None,
    out: Annotated[str, typer.Option("-o", "--out", help="A folder, or a URL.")] = ...,
    root: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Of relative paths; else the manifest's folder."),
    ] = None,
    model: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="DIR", help="An exported model, or its URL."),
    ] = None,
    server: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="HOST:PORT", help="Complete on servers, over gRPC."),
    ] = None,
    concurrency: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=1,
            help="Photos at a time in a worker's thread; 8 with --server, else 1.",
        ),
    ] = None,
    mask_from_alpha: MaskFromAlpha = False,
    invert_mask: InvertMask = False,
    resize_mask: ResizeMask = False,
    format: OutFormat = None,
    quality: Quality = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also photos that are done.")
    ] = False,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Also dead letters that are unchanged."),
    ] = False,
    model_name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--model_name", "--model-name", help="As the server knows it."),
    ] = None,
    model_version: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="To ask the server for; else the newest."),
    ] = None,
    version_label: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="In its place, such as stable."),
    ] = None,
    timeout: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Seconds for a call of the server, retries included; 60."),
    ] = None,
    attempts: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=1, max=5, help="Of a call, while the server is busy or away; 5."
        ),
    ] = None,
    load_balancing: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="pick_first, or round_robin over a name's addresses."),
    ] = None,
    tls: Encrypted = False,
    root_certificates: RootCertificates = None,
    client_key: ClientKey = None,
    client_certificate: ClientCertificate = None,
    server_name: ServerName = None,
    api_key: ApiKey = None,
) -> None:
    """Complete or extend the photos of a manifest on Apache Beam; needs `beam`."""
    from portrait_tf.apps.batch import check_beam, quiet_beam

    check_beam()
    if server and model:
        raise PortraitError("expected --server or --model, received both")
    client = _client_options(
        model_name, model_version, version_label, timeout, attempts, load_balancing
    )
    certificates = (root_certificates, client_key, client_certificate, server_name)
    if tls or any(certificates):
        client["tls"] = _tls(*certificates)
    if client and not server:
        raise PortraitError("options of the client go with --server, received none")
    if api_key and server:
        client["api_key"] = api_key
    if server:
        from serving.client.connection import check_target

        check_target(server)
    with quiet_beam():
        from portrait_tf.apps.batch.engine import EngineSettings
        from portrait_tf.apps.batch.manifest import RowOptions
        from portrait_tf.apps.batch.run import again, plan, run
    from portrait_tf.photos import check_format
    from portrait_tf.portrait import MaskOptions

    written = _PILLOW_NAMES[format] if format else None
    if written:
        check_format(written)
    masks = MaskOptions(mask_from_alpha, invert_mask, resize_mask)
    ready = plan(
        manifest,
        out,
        RowOptions(root, masks, written, quality),
        EngineSettings(model, server, client),
        beam or [],
        concurrency=concurrency or (8 if server else 1),
        overwrite=overwrite,
        retry_failed=retry_failed,
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


def _client_options(
    model_name: str | None,
    version: int | None,
    version_label: str | None,
    timeout: float | None,
    attempts: int | None,
    load_balancing: str | None,
) -> dict[str, Any]:
    from serving.client.connection import RetryPolicy, channel_options, check_timeout

    if version and version_label:
        raise PortraitError(
            "expected --model-version or --version-label, received both"
        )
    if load_balancing:
        channel_options(None, None, load_balancing, RetryPolicy())
    if timeout is not None:
        check_timeout(timeout)
    options = {
        "model_name": model_name,
        "version": version,
        "version_label": version_label,
        "timeout": timeout,
        "retry": RetryPolicy(attempts) if attempts else None,
        "load_balancing": load_balancing,
    }
    return {name: value for name, value in options.items() if value is not None}


def _tls(
    root_certificates: pathlib.Path | None,
    client_key: pathlib.Path | None,
    client_certificate: pathlib.Path | None,
    server_name: str | None,
) -> Any:
    """Certificates and key by value: workers do not have these files."""
    from serving.client.connection import Tls

    read = Tls(root_certificates, client_key, client_certificate, server_name).read()
    return Tls(*read, server_name)


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
