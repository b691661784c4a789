"""Which versions of which models are loaded, and when they come and go.

Conventions, after TensorFlow Serving's manager: a version passes through the states
START, LOADING, AVAILABLE, UNLOADING and END, and stays at END with its error when it
did not load. A new version is loaded before an old one goes; an old one goes only when
a wanted one is there, so that a bad version never takes down a good one. A version in
use is closed after its last request. All of that is done by one thread, one step at a
time; requests only look.
"""

import contextlib
import dataclasses
import enum
import logging
import pathlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import grpc
import tensorflow as tf

from portrait_tf.errors import PortraitError
from serving.local_server.model import LoadedModel, find_versions
from serving.local_server.request_error import RequestError, from_tensorflow

_LOGGER = logging.getLogger(__name__)


class State(enum.IntEnum):
    """Numbered as in GetModelStatus."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclasses.dataclass(frozen=True)
class ModelSource:
    """Where the versions of a model lie, and which of them are wanted.

    Attributes:
        base_path: The folder of numbered versions.
        latest: That many of the highest; 0 for all.
        specific: These, in place of `latest`.
    """

    base_path: pathlib.Path
    latest: int = 1
    specific: tuple[int, ...] = ()

    def choose(self) -> dict[int, pathlib.Path]:
        """The wanted versions that are there; errors as `find_versions`."""
        found = find_versions(self.base_path)
        wanted = self.specific or sorted(found, reverse=True)[: self.latest or None]
        return {number: found[number] for number in wanted if number in found}


@dataclasses.dataclass(eq=False)
class _Version:
    title: str
    path: pathlib.Path
    state: State = State.START
    wanted: bool = True
    model: LoadedModel | None = None
    error: RequestError | None = None
    users: int = 0
    attempts: int = 0
    attempt_at: float = 0.0

    def is_pending(self) -> bool:
        return self.state in (State.START, State.LOADING)

    def can_close(self) -> bool:
        return self.state is State.UNLOADING and not self.users


class ModelManager:
    """Loads and unloads versions as the file system and the configuration say.

    Args:
        load: Loads and warms up a version folder; raises PortraitError.
        retries: Attempts at loading a version after the first.
        retry_seconds: The pause between them; none if negative.
        poll_seconds: How often folders are looked at; 0 for once.
    """

    def __init__(
        self,
        load: Callable[[pathlib.Path], LoadedModel],
        *,
        retries: int = 0,
        retry_seconds: float = 0.0,
        poll_seconds: float = 0.0,
    ):
        self._load = load
        self._retries = retries
        self._retry_seconds = max(0.0, retry_seconds)
        self._poll_seconds = poll_seconds or float("inf")
        self._changed = threading.Condition()
        self._sources: dict[str, ModelSource] = {}
        self._versions: dict[str, dict[int, _Version]] = {}
        self._troubles: dict[str, str] = {}
        # The count of `configure`, and the one whose folders were last looked at.
        self._configured = self._polled = 0
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
        wanted = (
            f"Latest({name})" if version is None else f"Specific({name}, {version})"
        )
        with self._changed:
            available = self._available(name)
            if version is None and available:
                version = max(available)
            if version not in available:
                raise RequestError(
                    grpc.StatusCode.NOT_FOUND,
                    f"Servable not found for request: {wanted}",
                )
            entry = available[version]
            entry.users += 1
        try:
            yield entry.model
        finally:
            with self._changed:
                entry.users -= 1
                if entry.can_close():
                    self._changed.notify_all()

    def available(self, name: str) -> list[int]:
        """The versions that answer, lowest first."""
        with self._changed:
            return sorted(self._available(name))

    def names(self) -> list[str]:
        """The configured models."""
        with self._changed:
            return list(self._sources)

    def statuses(self, name: str) -> list[tuple[int, State, RequestError | None]]:
        """All versions that are or were known, highest first."""
        with self._changed:
            versions = sorted(self._versions.get(name, {}).items(), reverse=True)
            return [(number, one.state, one.error) for number, one in versions]

    # === What the server asks ===

    def configure(self, sources: Mapping[str, ModelSource]) -> None:
        """Sets the models; work on the difference begins at once."""
        with self._changed:
            self._sources = dict(sources)
            for name in self._versions.keys() - sources.keys():
                for entry in self._versions[name].values():
                    entry.wanted = False
            self._configured += 1
            self._poll_at = 0.0
            self._changed.notify_all()

    def wait(self, names: Sequence[str]) -> dict[str, str]:
        """Waits until every wanted version of these models was tried once.

        Returns:
            For each model without an available version, which, and why.
        """

        def is_settled() -> bool:
            return self._stopping or (
                self._polled == self._configured
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
                name: self._reason(name) for name in names if not self._available(name)
            }

    def stop(self) -> None:
        """Ends the thread and closes every version, used or not."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()
        for versions in self._versions.values():
            for entry in versions.values():
                if entry.model is not None:
                    entry.model.close()
                    entry.model, entry.state = None, State.END

    # === The thread ===

    def _work(self) -> None:
        while not self._stopping:
            try:
                if self._poll_at <= time.monotonic():
                    self._poll()
                acted = self._step()
            except Exception:
                _LOGGER.exception("the server failed to look after its models")
                acted = False
                time.sleep(1.0)
            with self._changed:
                if acted:
                    self._changed.notify_all()
                elif not self._stopping and (pause := self._pause()) > 0:
                    self._changed.wait(min(pause, threading.TIMEOUT_MAX))

    def _pause(self) -> float:
        """Seconds until there is something to do, as far as one can know."""
        if self._choose_step() is not None:
            return 0.0
        times = [entry.attempt_at for entry in self._entries() if entry.is_pending()]
        return min([self._poll_at, *times]) - time.monotonic()

    def _poll(self) -> None:
        with self._changed:
            sources, configured = dict(self._sources), self._configured
            self._poll_at = time.monotonic() + self._poll_seconds
        # Without the lock: requests do not wait for a slow file system.
        found = {name: self._look(name, source) for name, source in sources.items()}
        with self._changed:
            if configured != self._configured:
                return  # It is outdated; the next look comes at once.
            for name, chosen in found.items():
                if chosen is not None:
                    self._want(name, chosen)
            self._polled = configured
            self._changed.notify_all()

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
                entry.wanted or entry.state is State.AVAILABLE
            )
        for number, path in chosen.items():
            entry = versions.get(number)
            if entry is None or (not entry.wanted and entry.state is State.END):
                # What was given up and comes back begins anew.
                title = f"{{name: {name} version: {number}}}"
                versions[number] = _Version(title, path)
            elif entry.state is not State.AVAILABLE:
                entry.path = path

    def _step(self) -> bool:
        """Does the next thing there is to do; False when there is none."""
        with self._changed:
            chosen = self._choose_step()
            if chosen is None:
                return False
            entry, state = chosen
            entry.state = state
            model = entry.model
        if state is State.LOADING:
            self._attempt(entry)
        elif state is State.UNLOADING:
            _LOGGER.info("Quiescing servable version %s", entry.title)
        elif model is not None:
            model.close()
            entry.model = None
            _LOGGER.info("Done unloading servable version %s", entry.title)
        return True

    def _choose_step(self) -> tuple[_Version, State] | None:
        """A version, and the state it is to enter."""
        entries, now = self._entries(), time.monotonic()
        for entry in entries:
            if entry.can_close() or (not entry.wanted and entry.is_pending()):
                return entry, State.END
        for entry in entries:
            if entry.is_pending() and entry.attempt_at <= now:
                return entry, State.LOADING
        for versions in self._versions.values():
            wanted = [entry for entry in versions.values() if entry.wanted]
            if wanted and all(e.state is not State.AVAILABLE for e in wanted):
                continue
            for _, entry in sorted(versions.items()):
                if entry.state is State.AVAILABLE and not entry.wanted:
                    return entry, State.UNLOADING
        return None

    def _attempt(self, entry: _Version) -> None:
        try:
            model = self._load(entry.path)
        except Exception as error:
            if not isinstance(error, PortraitError):
                _LOGGER.exception("loading failed in the server")
            with self._changed:
                entry.attempts += 1
                entry.error = _status_of(error)
                entry.attempt_at = time.monotonic() + self._retry_seconds
                if entry.attempts > self._retries:
                    entry.state = State.END
            _LOGGER.error(
                "Servable %s cannot be loaded: %s: %s (attempt %d of %d)",
                entry.title,
                entry.error.code.name,
                error,
                entry.attempts,
                self._retries + 1,
            )
            return
        with self._changed:
            entry.model, entry.state, entry.error = model, State.AVAILABLE, None
        _LOGGER.info("Successfully loaded servable version %s", entry.title)

    def _entries(self) -> list[_Version]:
        """All versions; of each model the highest first."""
        return [
            entry
            for versions in self._versions.values()
            for _, entry in sorted(versions.items(), reverse=True)
        ]

    def _available(self, name: str) -> dict[int, _Version]:
        return {
            number: entry
            for number, entry in self._versions.get(name, {}).items()
            if entry.state is State.AVAILABLE
        }

    def _reason(self, name: str) -> str:
        for entry in self._versions.get(name, {}).values():
            if entry.wanted and entry.error:
                error = entry.error
                return f"{entry.title} due to error: {error.code.name}: {error.message}"
        return self._troubles.get(name, f"no version of {name} is wanted")


def _status_of(error: Exception) -> RequestError:
    """The status of a version that did not load."""
    cause = error.__cause__
    code = grpc.StatusCode.UNKNOWN
    if isinstance(cause, tf.errors.OpError):
        code = from_tensorflow(cause).code
    elif isinstance(cause, RequestError):
        code = cause.code
    elif isinstance(cause, OSError):
        code = grpc.StatusCode.NOT_FOUND
    return RequestError(code, str(error))
