"""Which versions of which models are loaded, and when they come and go.

After TensorFlow Serving's manager: a version passes through the states START, LOADING,
AVAILABLE, UNLOADING and END, and stays at END with its error when it did not load. A
new version is loaded before an old one goes; an old one goes only when a wanted one is
there, so that a bad version never takes down a good one. A version in use is closed
after its last request. All of that is done by one thread, one step at a time; requests
only look.
"""

import contextlib
import dataclasses
import functools
import logging
import pathlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus

from portrait_tf.errors import PortraitError
from serving.local_server.model import LoadedModel
from serving.local_server.model_config import ModelSource
from serving.local_server.options import ServerOptions
from serving.local_server.request_error import RequestError, not_found, status_of

_LOGGER = logging.getLogger(__name__)
_START, _LOADING, _AVAILABLE, _UNLOADING, _END = (
    ModelVersionStatus.State.Value(name)
    for name in ("START", "LOADING", "AVAILABLE", "UNLOADING", "END")
)


@dataclasses.dataclass(eq=False)
class _Version:
    name: str
    number: int
    path: pathlib.Path
    state: int = _START
    wanted: bool = True
    model: LoadedModel | None = None
    error: RequestError | None = None
    users: int = 0
    attempts: int = 0
    attempt_at: float = 0.0

    def __str__(self) -> str:
        return f"{{name: {self.name} version: {self.number}}}"

    def is_pending(self) -> bool:
        return self.state in (_START, _LOADING)

    def is_over(self) -> bool:
        if self.state == _UNLOADING:
            return not self.users
        return self.is_pending() and not self.wanted


class ModelManager:
    """Loads and unloads versions as the file system and the configuration say.

    `load` loads and warms up the version folder of a model, or raises RequestError or
    PortraitError. `sources` are the configured models.
    """

    def __init__(
        self, load: Callable[[str, pathlib.Path], LoadedModel], options: ServerOptions
    ):
        self._load = load
        self._retries = options.max_num_load_retries
        self._retry_seconds = options.load_retry_interval_micros / 1e6
        self._poll_seconds = options.file_system_poll_wait_seconds or float("inf")
        self._changed = threading.Condition()
        self.sources: Mapping[str, ModelSource] = {}
        self._versions: dict[str, dict[int, _Version]] = {}
        self._troubles: dict[str, str] = {}
        # The sources whose folders were last looked at.
        self._polled: object = None
        self._poll_at = 0.0
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="models", daemon=True)
        self._thread.start()

    # === What requests ask ===

    @contextlib.contextmanager
    def use(self, name: str, version: int | None = None) -> Iterator[LoadedModel]:
        """Holds an available version, the highest by default, while it is used.

        Raises:
            RequestError: NOT_FOUND when there is none.
        """
        with self._changed:
            available = self.available(name)
            if version is None and available:
                version = max(available)
            if version not in available:
                which = f"Specific({name}, {version})"
                which = f"Latest({name})" if version is None else which
                raise not_found(f"Servable not found for request: {which}")
            entry = self._versions[name][version]
            entry.users += 1
        try:
            yield entry.model
        finally:
            with self._changed:
                entry.users -= 1
                if entry.is_over():
                    self._changed.notify_all()

    def available(self, name: str) -> dict[int, LoadedModel]:
        """The versions that answer, by number."""
        with self._changed:
            versions = self._versions.get(name, {}).items()
            return {n: one.model for n, one in versions if one.state == _AVAILABLE}

    def statuses(self, name: str) -> list[tuple[int, int, RequestError | None]]:
        """All versions that are or were known, and their states, highest first."""
        with self._changed:
            versions = [one for one in self._entries() if one.name == name]
            return [(one.number, one.state, one.error) for one in versions]

    # === What the server asks ===

    def configure(self, sources: Mapping[str, ModelSource]) -> None:
        """Sets the models; work on the difference begins at once."""
        with self._changed:
            self.sources = dict(sources)
            for name in self._versions.keys() - sources.keys():
                for entry in self._versions[name].values():
                    entry.wanted = False
            self._poll_at = 0.0
            self._changed.notify_all()

    def wait(self, names: Sequence[str]) -> dict[str, str]:
        """Waits until every wanted version was tried once: why a model has none."""

        def is_settled() -> bool:
            return self._stopping or (
                self._polled is self.sources
                and all(
                    entry.attempts or not entry.is_pending()
                    for name in names
                    for entry in self._versions.get(name, {}).values()
                    if entry.wanted
                )
            )

        with self._changed:
            self._changed.wait_for(is_settled)
            return {
                name: self._reason(name) for name in names if not self.available(name)
            }

    def stop(self) -> None:
        """Ends the thread and closes every version, used or not."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()
        for entry in self._entries():
            if entry.model is not None:
                self._close(entry)

    # === The thread ===

    def _work(self) -> None:
        while True:
            with self._changed:
                if self._stopping:
                    return
                step = self._choose_step()
                if step is None:
                    pending = [one for one in self._entries() if one.is_pending()]
                    times = [self._poll_at, *(one.attempt_at for one in pending)]
                    pause = max(min(times) - time.monotonic(), 0.0)
                    self._changed.wait(min(pause, threading.TIMEOUT_MAX))
                    continue
            # Without the lock: requests do not wait for a file system, or a load.
            step()
            with self._changed:
                self._changed.notify_all()

    def _choose_step(self) -> Callable[[], None] | None:
        """The next thing to do, with the state that begins with it."""
        entries, now = self._entries(), time.monotonic()
        if self._poll_at <= now:
            self._poll_at = now + self._poll_seconds
            return functools.partial(self._poll, self.sources)
        for entry in entries:
            if entry.is_over():
                return functools.partial(self._close, entry)
        for entry in entries:
            if entry.is_pending() and entry.attempt_at <= now:
                entry.state = _LOADING
                return functools.partial(self._attempt, entry)
        for versions in self._versions.values():
            wanted = [entry for entry in versions.values() if entry.wanted]
            if wanted and all(entry.state != _AVAILABLE for entry in wanted):
                continue
            for _, entry in sorted(versions.items()):
                if entry.state == _AVAILABLE and not entry.wanted:
                    entry.state = _UNLOADING
                    _LOGGER.info("Quiescing servable version %s", entry)
                    return lambda: None
        return None

    def _poll(self, sources: Mapping[str, ModelSource]) -> None:
        found = {name: self._look(name, source) for name, source in sources.items()}
        with self._changed:
            if sources is not self.sources:
                return  # It is outdated; the next look comes at once.
            for name, chosen in found.items():
                if chosen is not None:
                    self._want(name, chosen)
            self._polled = sources

    def _look(self, name: str, source: ModelSource) -> dict[int, pathlib.Path] | None:
        """The wanted versions that are there; None when that cannot be known."""
        try:
            chosen = source.choose()
        except (PortraitError, OSError) as error:
            if self._troubles.get(name) != str(error):
                _LOGGER.error("%s", error)
            self._troubles[name] = str(error)
            # A folder that is not there is perhaps a file system that is away.
            is_empty = isinstance(error, PortraitError) and source.base_path.is_dir()
            return {} if is_empty else None
        self._troubles.pop(name, None)
        return chosen

    def _want(self, name: str, chosen: Mapping[int, pathlib.Path]) -> None:
        versions = self._versions.setdefault(name, {})
        for number, entry in versions.items():
            entry.wanted = number in chosen and (
                entry.wanted or entry.state == _AVAILABLE
            )
        for number, path in chosen.items():
            entry = versions.get(number)
            if entry is None or (not entry.wanted and entry.state == _END):
                # What was given up and comes back begins anew.
                versions[number] = _Version(name, number, path)
            elif entry.state != _AVAILABLE:
                entry.path = path

    def _close(self, entry: _Version) -> None:
        model, entry.model = entry.model, None
        if model is not None:
            model.close()
            _LOGGER.info("Done unloading servable version %s", entry)
        entry.state = _END

    def _attempt(self, entry: _Version) -> None:
        try:
            model = self._load(entry.name, entry.path)
        except Exception as error:
            if not isinstance(error, PortraitError | RequestError):
                _LOGGER.exception("loading failed in the server")
            with self._changed:
                entry.attempts += 1
                entry.error = status_of(error)
                entry.attempt_at = time.monotonic() + self._retry_seconds
                if entry.attempts > self._retries:
                    entry.state = _END
            tried = f"attempt {entry.attempts} of {self._retries + 1}"
            _LOGGER.error("Servable %s cannot be loaded: %s (%s)", entry, error, tried)
            return
        with self._changed:
            entry.model, entry.state, entry.error = model, _AVAILABLE, None
        _LOGGER.info("Successfully loaded servable version %s", entry)

    def _entries(self) -> list[_Version]:
        """All versions; of each model the highest first."""
        return [
            entry
            for versions in self._versions.values()
            for _, entry in sorted(versions.items(), reverse=True)
        ]

    def _reason(self, name: str) -> str:
        for entry in self._versions.get(name, {}).values():
            if entry.wanted and entry.error:
                return f"{entry} due to error: {entry.error}"
        return self._troubles.get(name, f"no version of {name} is wanted")
