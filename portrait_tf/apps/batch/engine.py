"""Where a batch's photos are completed, as Beam's RunInference wants it.

One photo is one example: a large one is several calls of the engine, each about what
the last has painted, so that batches of equal crops do not exist across photos, and a
photo's result does not depend on its neighbors. Beam's own handlers for TensorFlow
stack arrays of one shape, and would not fit.
"""

import concurrent.futures
import dataclasses
import pathlib
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import grpc
from apache_beam.ml.inference.base import ModelHandler

from portrait_tf.apps.batch.files import PassingError, fetch_folder, is_remote
from portrait_tf.apps.batch.manifest import Row
from portrait_tf.errors import PortraitError
from portrait_tf.inference.engines import (
    Engine,
    SavedModelEngine,
    ServerEngine,
    open_engine,
)
from portrait_tf.portrait import Completion, Portrait, Prepared

_TRIES = 3
"""Of a photo, when its server goes away and comes back: it may be the photo's fault."""

_WRONG_FOR_EVER = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE)


class ServerGoneError(PortraitError):
    """A server went away and did not come back: no photo's fault."""


@dataclasses.dataclass(frozen=True)
class EngineSettings:
    """Which engine a worker opens; the bundled weights if neither is given.

    Attributes:
        model: A version's folder, or its URL.
        server: `HOST:PORT`.
        client: More for `serving.client.PortraitClient`: it may hold secrets.
        detail: As of `open_engine`.
    """

    model: str | None = None
    server: str | None = None
    client: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    detail: bool | None = None

    def describe(self) -> dict[str, str]:
        """For the table of results: `engine`, and `model` with its version."""
        if self.server:
            name = self.client.get("model_name", "portrait")
            version = self.client.get("version_label") or self.client.get("version")
            model = f"{self.server}/{name}" + (f":{version}" if version else "")
            return {"engine": "server", "model": model}
        if self.model:
            return {"engine": "saved model", "model": self.model}
        return {"engine": "bundled", "model": "bundled"}


class LazyEngine:
    """An engine that is opened by its first photo.

    Beam sets workers up before it knows whether they get any photo; a run that finds
    all of them done should not load a model.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._engine: Engine | None = None

    def get(self) -> Engine:
        """The engine."""
        with self._lock:
            if self._engine is None:
                try:
                    self._engine = self._open()
                except PortraitError:
                    raise
                except Exception as error:
                    # A model's files may be damaged in many ways.
                    raise PortraitError(
                        f"the model cannot be opened: {type(error).__name__}: "
                        f"{' '.join(str(error).split())}",
                        path=self._settings.describe()["model"],
                    ) from error
                if self._settings.detail is not None:
                    self._engine.detail = self._settings.detail
            return self._engine

    def wait(self) -> None:
        """Until the server, which was away, is back.

        Raises:
            ServerGoneError: It is not, within the time of a call.
        """
        try:
            self.get().wait_until_available(self._timeout)
        except PortraitError as error:
            raise ServerGoneError(str(error)) from None

    @property
    def _timeout(self) -> float:
        return self._settings.client.get("timeout", 60.0)

    def _open(self) -> Engine:
        settings = self._settings
        if settings.server:
            engine = ServerEngine(settings.server, **settings.client)
            engine.wait_until_available(self._timeout)
            return engine
        if settings.model and is_remote(settings.model):
            local = pathlib.Path(tempfile.mkdtemp(prefix="portrait-tf-model-"))
            weakref.finalize(self, shutil.rmtree, local, ignore_errors=True)
            fetch_folder(settings.model, local)
            return SavedModelEngine(local)
        return open_engine(None, settings.model)


@dataclasses.dataclass(frozen=True)
class Ready:
    """A photo that is read and checked, for the engine."""

    row: Row
    prepared: Prepared


@dataclasses.dataclass(frozen=True)
class Finished:
    """A completed photo's file.

    Attributes:
        row: Of the manifest.
        content: The file's bytes.
        size: Height and width of the upright result.
        notes: What the user should know.
    """

    row: Row
    content: bytes
    size: tuple[int, int]
    notes: list[str]


@dataclasses.dataclass(frozen=True)
class Failed:
    """A row that has no result.

    Attributes:
        row: Of the manifest.
        stage: `row`, `read`, `complete` or `write`.
        reason: A sentence.
        lasting: Whether the next run would fail in the same way, as long as neither
            the row nor its files change.
        digest: The row's, or for one of several rows with one name its own.
    """

    row: Row
    stage: str
    reason: str
    lasting: bool
    digest: str


def failure(row: Row, stage: str, error: Exception) -> Failed:
    """What an exception means for a row. Our own bugs do not stop the others."""
    reason, lasting = str(error), False
    if isinstance(error, PortraitError):
        code = getattr(error, "code", None)
        lasting = (
            code in _WRONG_FOR_EVER if code else not isinstance(error, PassingError)
        )
    else:
        reason = f"{type(error).__name__}: {error}"
    if row.source and str(getattr(error, "path", None)) != row.source:
        reason = f"{row.source}: {reason}"
    return Failed(row, stage, " ".join(reason.split()), lasting, row.digest)


class PhotoHandler(ModelHandler[Ready, Finished | Failed, LazyEngine]):
    """Completes photos for `RunInference`; a bad one does not harm its neighbors.

    Args:
        settings: The engine.
        quality: 1 to 100, for formats with loss.
        concurrency: Photos that are completed at the same time in a worker's thread;
            so many are held in memory, decoded.
    """

    def __init__(
        self, settings: EngineSettings, quality: int | None, concurrency: int
    ) -> None:
        super().__init__(min_batch_size=concurrency, max_batch_size=concurrency)
        self._settings = settings
        self._quality = quality

    def load_model(self) -> LazyEngine:
        return LazyEngine(self._settings)

    def run_inference(
        self,
        batch: Sequence[Ready],
        model: LazyEngine,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[Finished | Failed]:
        """One answer for each photo, in order.

        Raises:
            PortraitError: The engine cannot be opened, or its server went away and did
                not come back: for no photo at all, so that this is for the runner to
                try again, or to give up.
        """
        model.get()
        if len(batch) == 1:
            return [self._complete(model, batch[0])]
        with concurrent.futures.ThreadPoolExecutor(len(batch)) as threads:
            return list(threads.map(lambda ready: self._complete(model, ready), batch))

    def _complete(self, model: LazyEngine, ready: Ready) -> Finished | Failed:
        row, prepared = ready.row, ready.prepared
        try:
            completion = self._paint(model, prepared)
            content, notes = completion.encode(row.output, row.format, self._quality)
        except ServerGoneError:
            raise
        except Exception as error:
            return failure(row, "complete", error)
        notes = [*completion.notes, *notes]
        return Finished(row, content, completion.hole.shape, notes)

    def _paint(self, model: LazyEngine, prepared: Prepared) -> Completion:
        for _ in range(_TRIES - 1):
            try:
                return Portrait(model.get()).paint(prepared)
            except PortraitError as error:
                if getattr(error, "code", None) != grpc.StatusCode.UNAVAILABLE:
                    raise
            # The client's own attempts end before a server has started again.
            model.wait()
        return Portrait(model.get()).paint(prepared)

    def get_num_bytes(self, batch: Sequence[Ready]) -> int:
        return sum(ready.prepared.pixels.nbytes for ready in batch)

    def get_metrics_namespace(self) -> str:
        return "portrait_tf.apps.batch.inference"
