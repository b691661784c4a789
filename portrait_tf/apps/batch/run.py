"""A run of the pipeline: checked before it starts, and summed up at its end."""

import contextlib
import dataclasses
import json
import logging
import posixpath
import re
import secrets
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner.fn_runner import (
    ExtendedProvisionInfo,
    FnApiRunner,
)
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.runners.runner import PipelineResult, PipelineState

from portrait_tf.apps.batch import files, quiet_beam
from portrait_tf.apps.batch.engine import EngineSettings
from portrait_tf.apps.batch.manifest import (
    COLUMNS,
    OWN_FOLDER,
    RowOptions,
    read_columns,
)
from portrait_tf.apps.batch.pipeline import (
    COUNTERS,
    NAMESPACE,
    BatchOptions,
    build,
    run_of,
)
from portrait_tf.errors import PortraitError

_HERE = ("directrunner", "direct", "switchingdirectrunner", "fnapirunner")
_OURS = re.compile(
    r"^(?:portrait_tf|serving)\.[\w.]+Error: (.+?)(?: \[while running .*)?$", re.M
)


class StoppedJob(KeyboardInterrupt):
    """Ctrl-C, while a job was running elsewhere; says what that means for it."""


@dataclasses.dataclass(frozen=True)
class Summary:
    """How a run went.

    Attributes:
        completed: Photos that were completed and written.
        skipped: Photos whose results were there.
        failed: New dead letters.
        failed_before: Dead letters of earlier runs, which were not tried again.
        results: Beginning of the names of this run's table of results.
        dead_letters: Likewise.
        finished: Whether the job was waited for; without that, all counts are 0.
    """

    completed: int
    skipped: int
    failed: int
    failed_before: int
    results: str
    dead_letters: str
    finished: bool = True


@dataclasses.dataclass(frozen=True)
class Plan:
    """A run that can start.

    Attributes:
        manifests: Their files.
        tables: Of earlier runs.
        options: What is to be done.
        beam: Beam's own options.
        unknown_columns: Of the manifests, which mean nothing here.
    """

    manifests: list[str]
    tables: list[str]
    options: BatchOptions
    beam: PipelineOptions
    unknown_columns: list[str]


def plan(
    manifest: str,
    out: str,
    rows: RowOptions,
    engine: EngineSettings,
    beam_arguments: list[str],
    **more: Any,
) -> Plan:
    """Looks at the manifest, the output folder and the model.

    Args:
        manifest: A file, or a pattern of Beam's for several.
        out: The output folder.
        rows: How the manifest is read.
        engine: Where photos are completed; of a folder of versions, the highest is
            taken, once and for all workers.
        beam_arguments: Beam's, such as `--runner=FlinkRunner`.
        more: Of `BatchOptions`.

    Raises:
        PortraitError: One of them cannot be used.
    """
    options = _beam_options(beam_arguments)
    FileSystems.set_options(options)
    if re.search(r"[*?\[]", out):
        raise PortraitError(
            "expected an output folder without *, ? and [, which Beam takes "
            "for patterns",
            path=out,
        )
    out, manifest = files.absolute(out), files.absolute(manifest)
    if rows.root:
        rows = dataclasses.replace(rows, root=files.absolute(rows.root))
    manifests = [manifest] if files.exists(manifest) else files.find(manifest)
    if not manifests:
        raise PortraitError("expected a manifest, found no such file", path=manifest)
    for root in [rows.root] if rows.root else map(files.folder_of, manifests):
        if files.is_same(out, root):
            raise PortraitError(
                f"{out} is the folder that the photos' paths are relative to; another "
                "one is expected for the results"
            )
    unknown: dict[str, None] = {}
    for path in manifests:
        with files.open_text(path, "manifest") as stream:
            columns = read_columns(stream, path, rows.masks.from_alpha)
        unknown.update(dict.fromkeys(columns))
    if engine.model:
        engine = dataclasses.replace(engine, model=files.find_model(engine.model))
    tables = [
        path
        for path in files.find(posixpath.join(out, OWN_FOLDER, "run-*"))
        if run_of(path)
    ]
    run = 1 + max((run_of(path) for path in tables), default=0)
    batch = BatchOptions(out, run, secrets.token_hex(4), rows, engine, **more)
    unknown_columns = [name for name in unknown if name not in COLUMNS]
    return Plan(manifests, tables, batch, options, unknown_columns)


def _beam_options(arguments: list[str]) -> PipelineOptions:
    if stray := [one for one in arguments[:1] if not one.startswith("--")]:
        raise PortraitError(
            f"expected Beam's options after --, such as --runner=FlinkRunner, received "
            f"{stray[0]!r}"
        )
    try:
        options = PipelineOptions(arguments)
        # Which is when Beam reads them.
        known = options.get_all_options()
        given = options.get_all_options(drop_default=True, retain_unknown_options=True)
    except SystemExit:
        raise PortraitError(
            f"Beam does not understand its options: {' '.join(arguments)}"
        ) from None
    # Elsewhere the runner may know more than Beam here.
    if _is_here(options) and (unknown := [name for name in given if name not in known]):
        raise PortraitError(
            f"expected options of Beam's, received the unknown --{unknown[0]}"
        )
    return options


def _is_here(options: PipelineOptions) -> bool:
    """Whether the pipeline runs in this process, or in others that it starts."""
    return (options.view_as(StandardOptions).runner or _HERE[0]).lower() in _HERE


def run(plan: Plan) -> Summary:
    """Runs the pipeline, and waits for its end.

    Raises:
        PortraitError: The job cannot be started, or a worker cannot open the engine,
            or results cannot be written.
        StoppedJob: Ctrl-C, while the job was running elsewhere.
        RuntimeError: What else stops a job: the runner's own words.
    """
    here = _is_here(plan.beam)
    if here:
        # Elsewhere only the workers may have the right to.
        files.check_writable(plan.options.out)
    else:
        # Where the job is, and how far.
        logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    try:
        with quiet_beam() if here else contextlib.nullcontext():
            result = _start(plan, here)
            if plan.beam.view_as(StandardOptions).no_wait_until_finish:
                return _summary(plan, {}, finished=False)
            try:
                state = result.wait_until_finish()
            except KeyboardInterrupt:
                raise StoppedJob(_stop(result, plan)) from None
    except Exception as error:
        # From this process the exception itself, from others their trace as text.
        text = str(error)
        if isinstance(error, PortraitError):
            text = f"portrait_tf.errors.PortraitError: {text}"
        if not (found := _OURS.findall(text)):
            raise
        raise PortraitError(found[-1]) from None
    if PipelineState.is_terminal(state) and state != PipelineState.DONE:
        raise PortraitError(f"the job ended as {state}; {again(plan)}")
    counts = {}
    metrics = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))
    for counter in metrics["counters"]:
        name = counter.key.metric.name
        counts[name] = counts.get(name, 0) + (counter.result or 0)
    files.remove_temporary(plan.options.out)
    return _summary(plan, counts)


def _start(plan: Plan, here: bool) -> PipelineResult:
    """Gives the job to its runner; one on this machine has ended then."""
    if here:
        pipeline = beam.Pipeline(runner=_runner(plan.beam), options=plan.beam)
        build(pipeline, plan.manifests, plan.tables, plan.options)
        return pipeline.run()
    name = plan.beam.view_as(StandardOptions).runner
    with _starting(name):
        pipeline = beam.Pipeline(options=plan.beam)
    build(pipeline, plan.manifests, plan.tables, plan.options)
    with _starting(name):
        return pipeline.run()


@contextlib.contextmanager
def _starting(runner: str) -> Iterator[None]:
    """An unknown runner, no Java, no project: what a runner's start says, as one."""
    try:
        yield
    except Exception as error:
        if _OURS.search(str(error)):
            raise
        raise PortraitError(
            f"{runner} cannot start the job: {type(error).__name__}: "
            f"{' '.join(str(error).split())}"
        ) from error


def _stop(result: PipelineResult, plan: Plan) -> str:
    """Cancels a job that runs elsewhere; says how that went."""
    try:
        result.cancel()
    except Exception as error:
        return (
            f"the job could not be cancelled ({files.reason_of(error)}) and may still "
            f"run: stop it where it does; then {again(plan)}"
        )
    return (
        "the job is asked to stop, which may take a while where it runs; then "
        f"{again(plan)}"
    )


def again(plan: Plan) -> str:
    """What the same command does after a run that did not come to its end."""
    if plan.options.overwrite:
        return "the same command begins anew, because of --overwrite"
    return "the same command goes on from here"


def _summary(plan: Plan, counts: dict[str, int], finished: bool = True) -> Summary:
    tables = (plan.options.table(kind) for kind in ("results", "dead-letters"))
    return Summary(*(counts.get(name, 0) for name in COUNTERS), *tables, finished)


def _runner(options: PipelineOptions) -> FnApiRunner:
    """Beam's runner for this machine.

    By its name, DirectRunner, Beam 2.77 would first look for another one, Prism, and
    download it.
    """
    # So that workers in other processes know the options of the file systems.
    encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    provision = beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
    return FnApiRunner(provision_info=ExtendedProvisionInfo(provision))


def read_dead_letters(summary: Summary, most: int) -> Iterator[str]:
    """The first reasons of a run's dead letters."""
    for path in files.find(f"{summary.dead_letters}-*"):
        with files.open_text(path, "table") as stream:
            for text in stream:
                if most == 0:
                    return
                most -= 1
                yield json.loads(text)["reason"]
