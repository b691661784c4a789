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
        """The wanted versions that are there.

        Raises:
            PortraitError: When the folder is missing, or holds no version.
        """
        found = find_versions(self.base_path)
        if self.specific:
            return {
                number: found[number] for number in self.specific if number in found
            }
        wanted = sorted(found, reverse=True)[: self.latest or None]
        return {number: found[number] for number in wanted}


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """A version's state, for GetModelStatus."""

    version: int
    state: State
    error: RequestError | None


@dataclasses.dataclass(eq=False)
class _Version:
    path: pathlib.Path
    state: State = State.START
    wanted: bool = True
    model: LoadedModel | None = None
    error: RequestError | None = None
    users: int = 0
    attempts: int = 0
    attempt_at: float = 0.0


class ModelManager:
    """Loads and unloads versions as the file system and the configuration say.

    Args:
        load: Loads and warms up a version folder; raises PortraitError.
        retries: Attempts at loading a version after the first.
        retry_seconds: The pause between them; none if negative.
        poll_seconds: How often folders are looked at; 0 for once.
        on_change: Called, from the manager's thread, when versions come or go.
    """

    def __init__(
        self,
        load: Callable[[pathlib.Path], LoadedModel],
        *,
        retries: int = 0,
        retry_seconds: float = 0.0,
        poll_seconds: float = 0.0,
        on_change: Callable[[], None] = lambda: None,
    ):
        self._load = load
        self._retries = retries
        self._retry_seconds = max(0.0, retry_seconds)
        self._poll_seconds = poll_seconds
        self._on_change = on_change
        self._changed = threading.Condition()
        self._sources: dict[str, ModelSource] = {}
        self._versions: dict[str, dict[int, _Version]] = {}
        self._troubles: dict[str, str] = {}
        # The count of `configure`, and the one whose folders were last looked at.
        self._configured = self._polled = 0
        self._poll_at = 0.0
        self._stopping = False
        self._thread: threading.Thread | None = None

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
                if entry.state is State.UNLOADING and not entry.users:
                    self._changed.notify_all()

    def available(self, name: str) -> list[int]:
        """The versions that answer, lowest first."""
        with self._changed:
            return sorted(self._available(name))

    def names(self) -> list[str]:
        """The configured models."""
        with self._changed:
            return list(self._sources)

    def statuses(self, name: str) -> list[VersionStatus]:
        """All versions that are or were known, highest first."""
        with self._changed:
            return [
                VersionStatus(number, entry.state, entry.error)
                for number, entry in sorted(
                    self._versions.get(name, {}).items(), reverse=True
                )
            ]

    # === What the server asks ===

    def start(self) -> None:
        """Begins to work in a thread of its own."""
        self._thread = threading.Thread(target=self._work, name="models", daemon=True)
        self._thread.start()

    def configure(self, sources: Mapping[str, ModelSource]) -> None:
        """Sets the models; work on the difference begins at once."""
        with self._changed:
            self._sources = dict(sources)
            for name, versions in self._versions.items():
                if name not in sources:
                    for entry in versions.values():
                        entry.wanted = False
            self._configured += 1
            self._poll_at = 0.0
            self._changed.notify_all()

    def wait(self, names: Sequence[str]) -> dict[str, str]:
        """Waits until every wanted version of these models was tried once.

        Returns:
            For each model without an available version, why.
        """

        def is_settled(name: str) -> bool:
            wanted = [e for e in self._versions.get(name, {}).values() if e.wanted]
            return name not in self._sources or all(
                entry.attempts or entry.state in (State.AVAILABLE, State.END)
                for entry in wanted
            )

        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._stopping
                    or (
                        self._polled == self._configured and all(map(is_settled, names))
                    )
                )
            )
            return {
                name: self._reason(name) for name in names if not self._available(name)
            }

    def stop(self) -> None:
        """Ends the thread and closes every version, used or not."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
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
            if acted:
                self._on_change()
            with self._changed:
                if acted:
                    self._changed.notify_all()
                elif not self._stopping:
                    pause = self._next_at() - time.monotonic()
                    if pause > 0:
                        self._changed.wait(min(pause, threading.TIMEOUT_MAX))

    def _next_at(self) -> float:
        """When there is something to do next, as far as one can know."""
        times = [self._poll_at]
        for versions in self._versions.values():
            for entry in versions.values():
                if _can_load(entry):
                    times.append(entry.attempt_at)
                if _can_close(entry) or self._can_leave(versions, entry):
                    return 0.0
        return min(times)

    def _poll(self) -> None:
        with self._changed:
            sources, configured = dict(self._sources), self._configured
            pause = self._poll_seconds or float("inf")
            self._poll_at = time.monotonic() + pause
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
                versions[number] = _Version(path)
            elif entry.path != path and entry.state is not State.AVAILABLE:
                entry.path = path

    def _step(self) -> bool:
        """Does the next thing there is to do; False when there is none."""
        with self._changed:
            action, entry, title = self._choose_action()
        if action is None:
            return False
        action(entry, title)
        return True

    def _choose_action(self) -> tuple[Callable | None, _Version | None, str]:
        now = time.monotonic()
        entries = [
            (versions, number, entry, f"{name} version {number}")
            for name, versions in self._versions.items()
            for number, entry in sorted(versions.items(), reverse=True)
        ]
        for _, _, entry, title in entries:
            if _can_close(entry):
                return self._close, entry, title
            if not entry.wanted and entry.state in (State.START, State.LOADING):
                return self._give_up, entry, title
        for _, _, entry, title in entries:
            if _can_load(entry) and entry.attempt_at <= now:
                entry.state = State.LOADING
                return self._attempt, entry, title
        for versions, _, entry, title in reversed(entries):
            if self._can_leave(versions, entry):
                entry.state = State.UNLOADING
                return self._leave, entry, title
        return None, None, ""

    def _can_leave(self, versions: Mapping[int, _Version], entry: _Version) -> bool:
        wanted = [other for other in versions.values() if other.wanted]
        return (
            entry.state is State.AVAILABLE
            and not entry.wanted
            and (not wanted or any(other.state is State.AVAILABLE for other in wanted))
        )

    def _attempt(self, entry: _Version, title: str) -> None:
        try:
            model = self._load(entry.path)
        except Exception as error:
            if not isinstance(error, PortraitError):
                _LOGGER.exception("loading failed in the server")
            self._note_failure(entry, title, error)
            return
        with self._changed:
            entry.model, entry.state, entry.error = model, State.AVAILABLE, None

    def _note_failure(self, entry: _Version, title: str, error: Exception) -> None:
        with self._changed:
            entry.attempts += 1
            final = entry.attempts > self._retries
            _LOGGER.error(
                "%s, attempt %d of %d: %s",
                title,
                entry.attempts,
                self._retries + 1,
                error,
            )
            entry.error = _status_of(error)
            entry.attempt_at = time.monotonic() + self._retry_seconds
            if final:
                entry.state = State.END

    def _give_up(self, entry: _Version, title: str) -> None:
        with self._changed:
            entry.state = State.END
        _LOGGER.info("%s is not wanted any more", title)

    def _leave(self, entry: _Version, title: str) -> None:
        _LOGGER.info("%s is unloaded after its last request", title)

    def _close(self, entry: _Version, title: str) -> None:
        with self._changed:
            model, entry.model = entry.model, None
        model.close()
        with self._changed:
            entry.state = State.END
        _LOGGER.info("%s is unloaded", title)

    def _available(self, name: str) -> dict[int, _Version]:
        return {
            number: entry
            for number, entry in self._versions.get(name, {}).items()
            if entry.state is State.AVAILABLE
        }

    def _reason(self, name: str) -> str:
        errors = [
            entry.error.message
            for entry in self._versions.get(name, {}).values()
            if entry.wanted and entry.error
        ]
        return (errors or [self._troubles.get(name, "no version is wanted")])[0]


def _can_load(entry: _Version) -> bool:
    return entry.wanted and (
        entry.state is State.START
        or (entry.state is State.LOADING and entry.model is None)
    )


def _can_close(entry: _Version) -> bool:
    return entry.state is State.UNLOADING and not entry.users and bool(entry.model)


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
