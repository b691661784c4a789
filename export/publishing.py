"""Versions in a folder: made whole, numbered, labelled, rolled back and removed.

Conventions (TensorFlow Serving's): `DIR/N/` is version N, other names are ignored.
`DIR/models.config`, a `ModelServerConfig` as text, says which versions are served and
what they are called: what a server reads with `--model_config_file`. As long as nothing
has a label it serves the newest; then those with a label, all of them at once.

* A version is written as `.exporting-*` and renamed when it is whole; it is renamed to
  `.removing-*` before it is removed. So a number is always a whole version, whenever a
  process dies.
* Writers lock `.models.lock`; exporters lock their unfinished folder. The system gives
  locks back when a process dies; the next export or prune removes folders without one.
* `models.history.json` keeps what each label stood for, and numbers that were in use.

No TensorFlow is imported here.
"""

import contextlib
import dataclasses
import datetime
import fcntl
import json
import os
import pathlib
import re
import secrets
import shutil
from collections.abc import Iterator

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from export.contract import MODEL_NAME
from export.description import DESCRIPTION_FILE
from portrait_tf.errors import PortraitError
from portrait_tf.files import write_result

CONFIG_FILE = "models.config"
HISTORY_FILE = "models.history.json"
LOCK_FILE = ".models.lock"
LABELS = ("canary", "stable")

_EXPORTING, _REMOVING = ".exporting-", ".removing-"
_HEADER = """\
# Written by `portrait-tf export --label` and `portrait-tf models`, which keep all of it
# but comments. For `tensorflow_model_server --model_config_file=...`, together with
# --model_config_file_poll_wait_seconds and, as labels may come before their versions
# are loaded, --allow_version_labels_for_unavailable_models.
"""
# Without the description that lists them.
_LEAST_FILES = ("saved_model.pb", "variables/variables.index")


class Version:
    """A numbered folder.

    Attributes:
        number: The version.
        folder: Its path.
        size: Bytes of all its files.
        problem: Why it is not whole; empty if it is.
        labels: The labels that stand for it.
        description: The content of `signature.json`; empty without that file.
    """

    def __init__(self, number: int, folder: pathlib.Path, labels: dict[str, int]):
        self.number = number
        self.folder = folder
        self.size = sum(
            path.stat().st_size for path in folder.rglob("*") if path.is_file()
        )
        self.problem = _problem(folder)
        self.labels = sorted(label for label, one in labels.items() if one == number)
        self.description: dict = {}
        with contextlib.suppress(OSError, ValueError):
            found = json.loads((folder / DESCRIPTION_FILE).read_text())
            self.description = found if isinstance(found, dict) else {}

    @property
    def exported(self) -> str:
        """When, `YYYY-MM-DD HH:MM` UTC; without a description, its folder's date."""
        stamp = str(self.description.get("exported", ""))
        if not stamp:
            seconds = self.folder.stat().st_mtime
            stamp = datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()
        return stamp[:16].replace("T", " ")

    @property
    def precision(self) -> str:
        """Of the weights; `?` without a description."""
        return str(self.description.get("precision", "?"))

    @property
    def signatures(self) -> list[str]:
        """Their names; `?` without a description."""
        return list(self.description.get("signatures", "?"))


@dataclasses.dataclass
class NewVersion:
    """A version that is being made; it is written to `folder`."""

    folder: pathlib.Path
    _directory: pathlib.Path
    _label: str | None

    def publish(self) -> pathlib.Path:
        """Gives the folder the next free number, and its label.

        Returns:
            `directory/N`.

        Raises:
            PortraitError: The folder cannot be written to.
        """
        directory = self._directory
        with _says(directory, "cannot publish the export there"):
            for path in [*self.folder.rglob("*"), self.folder]:
                _flush(path)
            with _locked(directory):
                store = _Store(directory)
                number = store.next_number()
                version = self.folder.rename(directory / str(number))
                _flush(directory)
                store.used(number)
                if self._label:
                    store.label(self._label, number, "export")
        return version


@contextlib.contextmanager
def new_version(
    directory: str | pathlib.Path, label: str | None = None
) -> Iterator[NewVersion]:
    """A folder to write a version to; it vanishes unless it is published.

    Args:
        directory: The folder of the versions; made if it is not there.
        label: The version's label after it is published.

    Raises:
        PortraitError: The folder cannot be written to; what is there cannot be read.
    """
    directory = pathlib.Path(directory)
    if label is not None:
        _check_label(label)
    if (directory / "saved_model.pb").exists():
        raise PortraitError(
            f"{directory} is one version of a model; expected the folder above it"
        )
    with _says(directory, "cannot write the export there"):
        directory.mkdir(parents=True, exist_ok=True)
        with _locked(directory):
            # What would fail when it is published fails before minutes of work.
            _Store(directory)
            _remove_leftovers(directory)
            folder = directory / f"{_EXPORTING}{secrets.token_hex(4)}"
            folder.mkdir()
            held = _lock(folder, wait=False)
    try:
        yield NewVersion(folder, directory, label)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def list_versions(directory: str | pathlib.Path) -> list[Version]:
    """All numbered folders, lowest first.

    Raises:
        PortraitError: There is no such folder; `models.config` cannot be read.
    """
    directory = _existing(directory)
    labels = _Store(directory).labels
    versions = []
    for number, folder in sorted(_numbered(directory).items()):
        try:
            versions.append(Version(number, folder, labels))
        except FileNotFoundError:
            # Removed meanwhile, or changed by hand.
            if folder.exists():
                raise
    return versions


def promote(
    directory: str | pathlib.Path,
    version: int,
    label: str,
    base_path: str | None = None,
) -> None:
    """Lets a label stand for a version.

    Args:
        directory: The folder of the versions.
        version: The version's number.
        label: `canary` or `stable`.
        base_path: Where a server finds the folder, if that is another path than here.

    Raises:
        PortraitError: There is no such version, or it is not whole.
    """
    directory = _existing(directory)
    _check_label(label)
    if base_path is not None and not base_path.startswith("/"):
        raise PortraitError(
            f"base path {base_path!r}: TensorFlow Serving expects an absolute one"
        )
    with _locked(directory):
        store, numbered = _Store(directory), _numbered(directory)
        if version not in numbered:
            there = ", ".join(map(str, sorted(numbered))) or "none"
            raise PortraitError(
                f"{directory}: there is no version {version}; versions: {there}"
            )
        if problem := _problem(folder := numbered[version]):
            raise PortraitError(f"{folder}: expected a whole version, but {problem}")
        store.label(label, version, "promote", base_path)


def rollback(directory: str | pathlib.Path, label: str) -> int:
    """Lets a label stand again for the version that it stood for before.

    Returns:
        That version.

    Raises:
        PortraitError: The label stands for nothing, or nothing that it stood for
            before is still there.
    """
    directory = _existing(directory)
    _check_label(label)
    with _locked(directory):
        store = _Store(directory)
        if label not in store.labels:
            raise PortraitError(f"{directory}: no version has the label {label!r}")
        previous = store.previous(label)
        if previous is None:
            raise PortraitError(
                f"{directory}: {label!r} stands for version {store.labels[label]}, and "
                "no version that it stood for before is there"
            )
        store.label(label, previous, "rollback")
        return previous


def prune(directory: str | pathlib.Path, keep: int) -> list[int]:
    """Removes old versions, and what dead exports have left.

    Never removed are the newest version, those with a label, and those that a label
    would be rolled back to.

    Args:
        directory: The folder of the versions.
        keep: How many of the newest stay.

    Returns:
        What was removed, lowest first.

    Raises:
        PortraitError: A folder cannot be removed.
    """
    directory = _existing(directory)
    if keep < 1:
        raise PortraitError(f"expected to keep at least 1 version, received {keep}")
    with _says(directory, "cannot remove it"), _locked(directory):
        store = _Store(directory)
        numbered = _numbered(directory)
        # A folder that is not whole does not count: it could not be served.
        whole = sorted(n for n, path in numbered.items() if not _problem(path))
        kept = {max(numbered, default=0), *whole[-keep:], *store.labels.values()}
        kept |= {store.previous(label) for label in store.labels}
        removed = sorted(set(numbered) - kept)
        store.used(max(numbered, default=0))
        for number in removed:
            hidden = f"{_REMOVING}{number}-{secrets.token_hex(4)}"
            numbered[number].rename(directory / hidden)
        _flush(directory)
        _remove_leftovers(directory)
    return removed


class _Store:
    """`models.config` and `models.history.json`; for who holds the lock, or reads."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory
        self._config = _read_config(directory / CONFIG_FILE)
        self._history = _read_history(directory / HISTORY_FILE)

    @property
    def labels(self) -> dict[str, int]:
        model = self._model()
        return dict(model.version_labels) if model else {}

    def _model(self) -> model_server_config_pb2.ModelConfig | None:
        for model in self._config.model_config_list.config:
            if model.name == MODEL_NAME:
                return model
        return None

    def next_number(self) -> int:
        """Above all that are there, or ever were: a server may still know them."""
        taken = _numbered(self._directory)
        return max([0, self._history["last_version"], *taken]) + 1

    def used(self, number: int) -> None:
        """Writes down that a number is not to be used again."""
        if number > self._history["last_version"]:
            self._history["last_version"] = number
            self._write_history()

    def previous(self, label: str) -> int | None:
        """What a label stood for before, as far as it is still there and whole."""
        current = self.labels[label]
        before = self._history["labels"].get(label, [])
        # A process that died may have written more than came true.
        if current in before:
            before = before[: len(before) - before[::-1].index(current) - 1]
        for number in reversed(before):
            folder = self._directory / str(number)
            if number != current and not _problem(folder):
                return number
        return None

    def label(
        self, label: str, number: int, action: str, base_path: str | None = None
    ) -> None:
        """Lets a label stand for a version, in the history first."""
        current = self.labels.get(label)
        before = self._history["labels"].setdefault(label, [])
        if action == "rollback":
            del before[len(before) - before[::-1].index(number) :]
        else:
            if current is not None and before[-1:] != [current]:
                before.append(current)
            if before[-1:] != [number]:
                before.append(number)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        event = {"time": now, "action": action, "label": label, "version": number}
        self._history["events"].append({**event, "before": current})
        self._write_history()
        self._write_label(label, number, base_path)

    def _write_label(self, label: str, number: int, base_path: str | None) -> None:
        model = self._model()
        if model is None:
            model = self._config.model_config_list.config.add(
                name=MODEL_NAME,
                base_path=str(self._directory.resolve()),
                model_platform="tensorflow",
            )
        if base_path is not None:
            model.base_path = base_path
        model.version_labels[label] = number
        # TensorFlow Serving loads a version for its number alone, not for its label.
        served = sorted(set(model.version_labels.values()))
        model.model_version_policy.specific.versions[:] = served
        text = _HEADER + text_format.MessageToString(self._config)
        write_result(self._directory / CONFIG_FILE, text)

    def _write_history(self) -> None:
        text = json.dumps(self._history, indent=2) + "\n"
        write_result(self._directory / HISTORY_FILE, text)


def _read_config(path: pathlib.Path) -> model_server_config_pb2.ModelServerConfig:
    config = model_server_config_pb2.ModelServerConfig()
    try:
        return text_format.Parse(path.read_text(), config)
    except FileNotFoundError:
        return config
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise PortraitError(
            f"{path}: expected a ModelServerConfig as text: {reason}"
        ) from None


def _read_history(path: pathlib.Path) -> dict:
    history = {"last_version": 0, "labels": {}, "events": []}
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return history
    except (OSError, ValueError) as error:
        raise PortraitError(f"{path}: expected JSON: {error}") from None
    if not isinstance(found, dict) or any(
        type(found.get(key, value)) is not type(value) for key, value in history.items()
    ):
        raise PortraitError(
            f"{path}: expected an object with {', '.join(history)}, as this program "
            "writes it"
        )
    return history | found


def _problem(folder: pathlib.Path) -> str:
    """Why a version's folder is not whole; empty if it is."""
    try:
        listed = json.loads((folder / DESCRIPTION_FILE).read_text())["files"]
        sizes = {str(name): int(size) for name, size in listed.items()}
    except FileNotFoundError:
        # Made by an older portrait-tf, or by something else.
        sizes = dict.fromkeys(_LEAST_FILES)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{DESCRIPTION_FILE} cannot be read"
    for name, size in sizes.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if size is not None and path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes, not {size}"
    return ""


def _check_label(label: str) -> None:
    if label not in LABELS:
        raise PortraitError(f"unknown label {label!r}: expected {' or '.join(LABELS)}")


def _existing(directory: str | pathlib.Path) -> pathlib.Path:
    directory = pathlib.Path(directory)
    if not directory.is_dir():
        raise PortraitError(f"{directory}: expected a folder of numbered versions")
    return directory


def _numbered(directory: pathlib.Path) -> dict[int, pathlib.Path]:
    return {
        int(path.name): path
        for path in directory.iterdir()
        if re.fullmatch("[0-9]+", path.name) and path.is_dir()
    }


def _remove_leftovers(directory: pathlib.Path) -> None:
    """Removes unfinished folders whose process is dead; the lock must be held."""
    for path in directory.iterdir():
        if path.name.startswith(_EXPORTING):
            held = _lock(path, wait=False)
            if held is None:
                continue
            shutil.rmtree(path, ignore_errors=True)
            os.close(held)
        elif path.name.startswith(_REMOVING):
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _locked(directory: pathlib.Path) -> Iterator[None]:
    """Waits until no other process changes the folder."""
    path = directory / LOCK_FILE
    with _says(directory, "cannot write there"):
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o666))
        held = _lock(path)
    try:
        yield
    finally:
        os.close(held)


def _lock(path: pathlib.Path, wait: bool = True) -> int | None:
    """Locks a file or folder until the descriptor is closed; None if it is taken."""
    held = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BaseException as error:
        os.close(held)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return held


def _flush(path: pathlib.Path) -> None:
    """Onto the disk, so that a power cut leaves no numbered folder of empty files."""
    held = os.open(path, os.O_RDONLY)
    try:
        os.fsync(held)
    finally:
        os.close(held)


@contextlib.contextmanager
def _says(directory: pathlib.Path, what: str) -> Iterator[None]:
    """Makes a PortraitError of an OSError, with the path and what went wrong."""
    try:
        yield
    except OSError as error:
        path = error.filename if "remove" in what else None
        raise PortraitError(f"{path or directory}: {what}: {error.strerror}") from None
