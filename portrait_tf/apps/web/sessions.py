"""What is kept of a visitor: one photo in memory, the last result in a folder."""

import contextlib
import dataclasses
import pathlib
import secrets
import shutil
import threading
import time

from portrait_tf.apps.web.pictures import preview_size
from portrait_tf.errors import PortraitError
from portrait_tf.photos import PhotoFile

MOST_SESSIONS = 8
"""More photos at a time would fill the memory; the longest idle one goes first."""

IDLE_SECONDS = 3600
SWEEP_SECONDS = 60

STRAY_SECONDS = 600
"""Uploads take less; what is older and nobody's was broken off."""


@dataclasses.dataclass
class Session:
    """A visitor's photo.

    Attributes:
        photo: As it was read.
        folder: For what is to be downloaded.
        scene: A name that no other photo has.
        turn: Counts results, so that each has its own name.
        used: When it was asked for last.
        message: What the page says of the last result.
        results: The last answers, to choose from.
    """

    photo: PhotoFile
    folder: pathlib.Path
    scene: str = dataclasses.field(default_factory=lambda: secrets.token_hex(8))
    turn: int = 0
    used: float = 0.0
    message: str = ""
    results: list = dataclasses.field(default_factory=list)

    @property
    def preview(self) -> tuple[int, int]:
        """Height and width of what the browser shows."""
        return preview_size(self.photo.size)

    def next_folder(self) -> pathlib.Path:
        """An empty folder for a result; the one before it is removed."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.turn += 1
        # Links to results can be guessed by nobody.
        folder = self.folder / secrets.token_hex(16)
        folder.mkdir(parents=True)
        return folder


class Sessions:
    """All visitors. Safe to use from several threads.

    Args:
        root: A folder of our own; each visitor gets one in it.
    """

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()

    def open(self, key: str, photo: PhotoFile) -> Session:
        """Puts a visitor's photo in place of the one before."""
        self.close(key)
        session = Session(photo, self.root / f"session-{secrets.token_hex(16)}")
        session.used = time.monotonic()
        with self._lock:
            self._sessions[key] = session
            by_use = sorted(self._sessions, key=lambda one: self._sessions[one].used)
        for one in by_use[: max(0, len(by_use) - MOST_SESSIONS)]:
            self.close(one)
        return session

    def get(self, key: str) -> Session:
        """A visitor's photo; PortraitError where there is none, or none any more."""
        with self._lock:
            session = self._sessions.get(key)
            if session is None:
                raise PortraitError(
                    "expected a photo to work on, found none; please open one"
                )
            session.used = time.monotonic()
        return session

    def close(self, key: str) -> None:
        """Forgets a visitor, and removes all files."""
        with self._lock:
            session = self._sessions.pop(key, None)
        if session:
            shutil.rmtree(session.folder, ignore_errors=True)

    def sweep(self) -> None:
        """Closes idle sessions, and removes what broken uploads have left."""
        with self._lock:
            limit = time.monotonic() - IDLE_SECONDS
            late = [key for key, one in self._sessions.items() if one.used < limit]
            kept = {one.folder for one in self._sessions.values()}
        for key in late:
            self.close(key)
        for path in self.root.iterdir():
            with contextlib.suppress(OSError):
                if path in kept or time.time() - path.stat().st_mtime < STRAY_SECONDS:
                    continue
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
