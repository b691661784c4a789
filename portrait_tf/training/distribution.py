"""Training on several GPUs and on several machines, by `tf.distribute`.

Every replica holds all weights and takes an equal part of each batch; `batch_size` of
the config is that of all replicas together. `compat.replicas` has what a step
needs for that; here is what a run needs: the strategy, the data's parts, the same
values everywhere at the start, one worker that writes, and an end when one is lost.
"""

import contextlib
import json
import logging
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

import keras
import numpy as np
import tensorflow as tf

from portrait_tf.compat import KERAS_3
from portrait_tf.config import Config
from portrait_tf.errors import LostWorkerError, PortraitError

logger = logging.getLogger(__name__)

STRATEGIES = ("none", "mirrored", "multiworker")
START_MINUTES = "PORTRAIT_TF_START_MINUTES"
"""Variable of the environment: how long a worker waits for all the others to come."""
STALL_MINUTES = "PORTRAIT_TF_STALL_MINUTES"
"""Variable of the environment: after so long without a step, a worker gives up."""
_DEFAULT_MINUTES = {START_MINUTES: 10.0, STALL_MINUTES: 30.0}

_EXAMPLE = (
    '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


def read_tf_config(text: str | None) -> tuple[dict, str, int]:
    """Checks what `TF_CONFIG` says.

    Args:
        text: Its value; None if it is not set.

    Returns:
        The cluster (addresses by job), and this process' job and index.

    Raises:
        PortraitError: It is missing, no JSON, or says nothing that can be trained by.
    """
    expected = f"expected one like {_EXAMPLE}"
    if not text:
        raise PortraitError(
            "--strategy multiworker: TF_CONFIG is not set in the environment; "
            + expected
        )
    try:
        value = json.loads(text)
    except ValueError as error:
        raise PortraitError(f"TF_CONFIG is no JSON ({error}); {expected}") from None
    cluster = value.get("cluster") if isinstance(value, dict) else None
    task = value.get("task") if isinstance(value, dict) else None
    if not isinstance(cluster, dict) or not isinstance(task, dict):
        raise PortraitError(f"TF_CONFIG needs 'cluster' and 'task'; {expected}")
    if other := sorted(cluster.keys() - {"chief", "worker"}):
        raise PortraitError(
            f"TF_CONFIG: expected the jobs 'worker' and, if need be, 'chief', "
            f"received {other[0]!r}"
        )
    addresses = []
    for job, hosts in cluster.items():
        if not isinstance(hosts, list) or not hosts:
            raise PortraitError(
                f"TF_CONFIG: expected a list of addresses for {job!r}, "
                f"received {hosts!r}"
            )
        addresses += hosts
    for address in addresses:
        name, _, port = str(address).rpartition(":")
        if not name or not port.isdigit() or not 0 < int(port) < 65536:
            raise PortraitError(
                f"TF_CONFIG: expected addresses like host:port, received {address!r}"
            )
    if not addresses:
        raise PortraitError(f"TF_CONFIG names no worker; {expected}")
    if len(set(addresses)) < len(addresses):
        raise PortraitError("TF_CONFIG names an address twice: expected one a worker")
    if len(cluster.get("chief", [])) > 1:
        raise PortraitError("TF_CONFIG: expected one 'chief', received several")
    job, index = task.get("type"), task.get("index")
    if job not in cluster:
        raise PortraitError(
            f"TF_CONFIG: expected task.type to be one of {', '.join(sorted(cluster))}, "
            f"received {job!r}"
        )
    number = len(cluster[job])
    if type(index) is not int or not 0 <= index < number:
        raise PortraitError(
            f"TF_CONFIG: expected task.index between 0 and {number - 1}, as there are "
            f"{number} of {job!r}; received {index!r}"
        )
    return cluster, job, index


def waiting_minutes(name: str, text: str | None) -> float:
    """The value of `START_MINUTES` or `STALL_MINUTES`.

    Args:
        name: Of the variable.
        text: Its value; None or empty: it is not set, and 10 or 30.

    Raises:
        PortraitError: It is no number above 0.
    """
    try:
        minutes = float(text) if text else _DEFAULT_MINUTES[name]
    except ValueError:
        minutes = math.nan
    if not minutes > 0:
        raise PortraitError(
            f"expected a number of minutes above 0 in {name}, received {text!r}"
        )
    return minutes


def check_distribution(strategy: str, stage: str, config: Config) -> None:
    """Raises PortraitError: this cannot be trained by several replicas."""
    if strategy not in STRATEGIES:
        raise PortraitError(
            f"expected a strategy of {', '.join(STRATEGIES)}, received {strategy!r}"
        )
    if strategy == "none":
        return
    if (backend := keras.backend.backend()) != "tensorflow":
        raise PortraitError(
            f"--strategy {strategy} needs Keras' TensorFlow backend, KERAS_BACKEND is "
            f"{backend!r}"
        )
    if not KERAS_3:
        raise PortraitError(
            f"--strategy {strategy} needs Keras 3, received {keras.__version__}: "
            "expected the default stack (docs/addons.md)"
        )
    if stage == "face":
        raise PortraitError(
            f"the stage 'face' trains on one device, received --strategy {strategy}: "
            "the faces of a batch are not shared out evenly"
        )
    network = getattr(config, stage).network
    if getattr(network, "normalisation", None) == "batch":
        raise PortraitError(
            f"{stage}.network.normalisation batch has other statistics on every "
            f"replica: expected group with --strategy {strategy}"
        )


class Distribution:
    """How a run is spread over devices; this one is not spread at all.

    Attributes:
        chief: Whether this process writes the run's files.
        workers: How many processes there are.
        index: Which of them this is.
        replicas: How many replicas there are in all.
    """

    chief = True
    workers = 1
    index = 0
    replicas = 1
    strategy = None

    def scope(self) -> contextlib.AbstractContextManager:
        """Variables of the trainer are made herein."""
        return contextlib.nullcontext()

    def check_batch(self, stage: str, batch_size: int) -> None:
        """Raises PortraitError: a batch cannot be shared out."""
        if batch_size % self.replicas:
            raise PortraitError(
                f"{stage}.training.batch_size is that of all replicas together: "
                f"expected a multiple of their number, {self.replicas}, received "
                f"{batch_size}"
            )

    def training_data(
        self, make: Callable[[tuple[int, int], int], tf.data.Dataset]
    ) -> object:
        """What `fit` takes.

        Args:
            make: Makes the stream of a part of the batches, cut into a batch for each
                of a number of replicas: see `training_dataset`.
        """
        return make((0, 1), 1)

    def validation_data(self, dataset: tf.data.Dataset) -> dict:
        """Arguments of `fit` for validation: every replica sees all of it."""
        return {"validation_data": dataset}

    def on_chief(self, work: Callable[[], object]) -> object:
        """What the chief's `work` returns, or its PortraitError, in every process.

        Args:
            work: Called by the chief alone; returns what JSON can hold. No variable of
                the scope may be made in it.
        """
        return work()

    def agree(self, facts: dict[str, str]) -> None:
        """Raises PortraitError, in every process: one has other facts than the chief.

        Args:
            facts: What must be the same everywhere, by what it is called.
        """

    def broadcast(self, variables: list) -> None:
        """Sets variables to the chief's values in every process."""

    def finish(self) -> None:
        """Waits until all processes are here."""

    @contextlib.contextmanager
    def guarded(self) -> Iterator[list]:
        """Gives callbacks for `fit`, and turns a lost worker into an error."""
        yield []


class Replicated(Distribution):
    """Over the devices of one process, or of several.

    Args:
        strategy: Of TensorFlow.
        workers: How many processes.
        index: Which of them this is; the first is the chief.
    """

    def __init__(
        self, strategy: tf.distribute.Strategy, workers: int = 1, index: int = 0
    ) -> None:
        self.strategy = strategy
        self.workers = workers
        self.index = index
        self.chief = index == 0
        self.replicas = strategy.num_replicas_in_sync
        self.local = self.replicas // workers

    def scope(self) -> contextlib.AbstractContextManager:
        return self.strategy.scope()

    def training_data(
        self, make: Callable[[tuple[int, int], int], tf.data.Dataset]
    ) -> object:
        return self.strategy.distribute_datasets_from_function(
            lambda _: make((self.index, self.workers), self.local)
        )

    def validation_data(self, dataset: tf.data.Dataset) -> dict:
        # Batches of a stream go to a process' replicas in turn. All have the same
        # ones, the last of which may be small: so their means are those of one.
        copies = dataset.flat_map(
            lambda batch: tf.data.Dataset.from_tensors(batch).repeat(self.local)
        )
        # At the end of such a stream TensorFlow runs a step on no data, which counts in
        # a metric's mean. So there is no end, but a number of steps.
        endless = copies.repeat()
        return {
            "validation_data": self.strategy.distribute_datasets_from_function(
                lambda _: endless
            ),
            "validation_steps": int(dataset.cardinality()),
        }

    def _sum(self, array: np.ndarray) -> np.ndarray:
        """The sum of all processes' arrays, of one shape and type, in each of them."""
        given = tf.constant(array)

        @tf.function
        def add() -> object:
            def on_replica() -> tf.Tensor:
                context = tf.distribute.get_replica_context()
                # Of a process' replicas, one speaks for it.
                first = tf.equal(context.replica_id_in_sync_group % self.local, 0)
                return context.all_reduce(
                    "SUM", tf.where(first, given, tf.zeros_like(given))
                )

            return self.strategy.run(on_replica)

        return self.strategy.experimental_local_results(add())[0].numpy()

    def _from_chief(self, array: np.ndarray) -> np.ndarray:
        """The chief's array; the others give any of the same shape and type."""
        # A sum with zeros: exact, and known to every kind of device.
        return self._sum(array if self.chief else np.zeros_like(array))

    def _gather(self, text: str) -> list[str]:
        """Every process' text, in each of them."""
        data = np.frombuffer(text.encode(), np.uint8)
        lengths = np.zeros(self.workers, np.int32)
        lengths[self.index] = len(data)
        lengths = self._sum(lengths)
        if not lengths.any():
            return [""] * self.workers
        rows = np.zeros((self.workers, lengths.max()), np.int32)
        rows[self.index, : len(data)] = data
        rows = self._sum(rows).astype(np.uint8)
        return [
            row[:length].tobytes().decode()
            for row, length in zip(rows, lengths, strict=True)
        ]

    def agree(self, facts: dict[str, str]) -> None:
        if self.workers == 1:
            return
        told = self._gather(differences(facts, self.on_chief(lambda: facts)))
        wrong = [f"worker {i} has {text}" for i, text in enumerate(told, 1) if text]
        if wrong:
            raise PortraitError(
                "expected the same versions, command, config and data for all "
                f"workers: {'; '.join(wrong[:_NAMED])}{_more(wrong)}"
            )

    def on_chief(self, work: Callable[[], object]) -> object:
        if self.workers == 1:
            return work()
        answer = {}
        if self.chief:
            try:
                answer = {"value": work()}
            except PortraitError as error:
                answer = {"error": str(error)}
        text = np.frombuffer(json.dumps(answer).encode(), np.uint8).astype(np.int32)
        length = self._from_chief(np.array([len(text)], np.int32))[0]
        text = self._from_chief(text if self.chief else np.zeros(length, np.int32))
        answer = json.loads(text.astype(np.uint8).tobytes())
        if "error" in answer:
            raise PortraitError(answer["error"])
        return answer["value"]

    def broadcast(self, variables: list) -> None:
        if self.workers == 1:
            return
        # In two pieces, for a network has hundreds of variables; unsigned numbers, the
        # state of a noise generator, cannot be added up.
        for kinds, sent in (("f", np.float32), ("iub", np.int64)):
            chosen, arrays = [], []
            for variable in variables:
                array = keras.ops.convert_to_numpy(variable)
                if array.dtype.kind in kinds:
                    chosen.append(variable)
                    arrays.append(array)
            if not chosen:
                continue
            flat = np.concatenate([one.ravel() for one in arrays]).astype(sent)
            ends = np.cumsum([one.size for one in arrays])
            parts = np.split(self._from_chief(flat), ends[:-1])
            for variable, array, part in zip(chosen, arrays, parts, strict=True):
                variable.assign(part.reshape(array.shape).astype(array.dtype))

    def finish(self) -> None:
        if self.workers > 1:
            self._from_chief(np.zeros(1, np.int32))

    @contextlib.contextmanager
    def guarded(self) -> Iterator[list]:
        watchdog = None
        if self.workers > 1:
            minutes = waiting_minutes(STALL_MINUTES, os.environ.get(STALL_MINUTES))
            watchdog = Watchdog(minutes, f"no step was done for {minutes:g} minutes")
        signals = _Signals()
        with signals.caught(), watchdog or contextlib.nullcontext(), lost_workers(self):
            yield [StopTogether(signals, watchdog)]


_NAMED = 3


def _more(found: list) -> str:
    return f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""


def differences(own: dict[str, str], chiefs: dict[str, str]) -> str:
    """What a worker has otherwise than the chief, in words; empty: nothing.

    Args:
        own: Facts of the worker, by what they are called.
        chiefs: Those of the chief.
    """

    def cut(facts: dict[str, str], key: str) -> str:
        value = facts.get(key, "nothing")
        return value if len(value) <= 60 else f"{value[:57]}..."

    found = [
        f"{key} {cut(own, key)} (the chief: {cut(chiefs, key)})"
        for key in {**chiefs, **own}
        if own.get(key) != chiefs.get(key)
    ]
    return ", ".join(found[:_NAMED]) + _more(found)


@contextlib.contextmanager
def lost_workers(distribution: Distribution) -> Iterator[None]:
    """Turns what TensorFlow says of a worker that is gone into a LostWorkerError."""
    try:
        yield
    except tf.errors.OpError as error:
        if distribution.workers == 1 or not tells_of_another(error, distribution.index):
            raise
        _raise_lost(error)


_ABORTED = "Collective ops is aborted by"


def tells_of_another(error: tf.errors.OpError, place: int) -> bool:
    """Whether an error is what a worker sees of one that is gone, or has failed.

    `InternalError` is that of a collective, and of a GPU that has a fault or no memory
    left: which of them, its message alone says.

    Args:
        error: Of TensorFlow, in a run of several workers.
        place: Of this worker in the cluster.
    """
    # A broken photo, of whichever worker (see `reraise_data_error`): to start again
    # would not mend it.
    if "PortraitError: " in error.message:
        return False
    if _ABORTED in error.message:
        return True
    gone = (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
    )
    if isinstance(error, gone):
        return True
    if not isinstance(error, tf.errors.InternalError):
        return False
    said = _said(error.message)
    # A task's device is a place; a task without one is a worker.
    tasks = re.findall(r"/task:(\d+)(?!\d|/device)", said)
    if any(int(task) != place for task in tasks):
        return True
    return bool(re.search(r"\bNCCL\b|\bcollective|coordination service", said, re.I))


def _said(message: str) -> str:
    """A message of TensorFlow without the lines of Python that led to its node."""
    if _ABORTED in message:
        return message[message.index(_ABORTED) :]
    if not message.startswith("Graph execution error"):
        return message
    return re.split(r'\n *File "[^"\n]*", line \d+, in .*\n', message)[-1]


def _raise_lost(error: tf.errors.OpError) -> NoReturn:
    # The sentence has its beginning only, and nobody prints an error's cause.
    logger.warning("TensorFlow's error, in full: %s", error.message)
    raise LostWorkerError(_lost(_said(error.message))) from error


def _lost(reason: str) -> str:
    reason = " ".join(reason.split())[:200]
    return (
        f"another worker is gone, has failed or does not answer ({reason}): start all "
        "workers again, and training goes on from the last checkpoint"
    )


class Watchdog:
    """Ends a process that waits for others in vain, within a step of TensorFlow.

    Args:
        minutes: Without a `touch`.
        reason: For the sentence.
    """

    def __init__(self, minutes: float, reason: str) -> None:
        self.seconds = 60 * minutes
        self.reason = reason
        self.touched = time.monotonic()
        self.over = threading.Event()

    def touch(self) -> None:
        self.touched = time.monotonic()

    def _watch(self) -> None:
        while not self.over.wait(min(self.seconds / 4, 5.0)):
            if time.monotonic() - self.touched > self.seconds:
                print(f"portrait-tf: {_lost(self.reason)}", file=sys.stderr, flush=True)
                os._exit(LostWorkerError.exit_code)

    def __enter__(self) -> "Watchdog":
        self.touch()
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()


_KILLER = """
import os, select, signal, sys
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
parent, seconds, sentence = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
over, _, _ = select.select([sys.stdin], [], [], seconds)
if not over and os.getppid() == parent:
    print(sentence, file=sys.stderr, flush=True)
    os.kill(parent, signal.SIGKILL)
"""


@contextlib.contextmanager
def killed_after(minutes: float, reason: str) -> Iterator[None]:
    """Within it, this process is killed when the minutes are over.

    By another process: while TensorFlow waits for workers that have not come it holds
    Python's lock, so that no thread of ours runs and no signal is heard. The pipe's end
    tells that process to go, whichever way this one ends.

    Args:
        minutes: From now on.
        reason: For the sentence.
    """
    values = [str(os.getpid()), str(60 * minutes), f"portrait-tf: {_lost(reason)}"]
    process = subprocess.Popen(
        [sys.executable, "-S", "-E", "-c", _KILLER, *values], stdin=subprocess.PIPE
    )
    try:
        yield
    finally:
        process.stdin.close()
        process.wait()


class _Signals:
    """Notes SIGTERM and SIGINT; the second of them has its usual effect."""

    def __init__(self) -> None:
        self.received = None

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        before = {}

        def note(number: int, frame: object) -> None:
            self.received = signal.Signals(number).name
            signal.signal(number, before[number] or signal.SIG_DFL)

        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                before[number] = signal.signal(number, note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler or signal.SIG_DFL)


class StopTogether(keras.callbacks.Callback):
    """Stops all workers after the same step, if one of them got a signal.

    A step of a validation is one, too: it may take longer than a cluster's grace. Its
    epoch then has no row in `log.csv`.
    """

    def __init__(self, signals: _Signals, watchdog: Watchdog | None) -> None:
        super().__init__()
        self.signals = signals
        self.watchdog = watchdog
        self.told = False

    def _touch(self, *args: object, **kwargs: object) -> None:
        if self.watchdog:
            self.watchdog.touch()

    on_epoch_begin = on_epoch_end = _touch

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self._touch()
        if self.signals.received and not self.told:
            self.told = True
            logger.warning("%s: all stop after this step", self.signals.received)
            self.model.stop_wanted.assign(1.0)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if keras.ops.convert_to_numpy(self.model.stopping) > 0:
            if not self.told:
                logger.warning("another worker was told to stop")
            raise KeyboardInterrupt

    on_test_batch_begin, on_test_batch_end = on_train_batch_begin, on_train_batch_end


def make_distribution(strategy: str) -> Distribution:
    """The distribution of a name; every worker waits herein until all have come.

    Args:
        strategy: One of `STRATEGIES`.

    Raises:
        PortraitError: `TF_CONFIG` is missing or wrong, or its port is taken.
        LostWorkerError: Another worker came and went.
    """
    if strategy == "none":
        return Distribution()
    if strategy == "mirrored":
        devices = tf.config.list_logical_devices("GPU")
        devices = devices or tf.config.list_logical_devices("CPU")
        made = Replicated(tf.distribute.MirroredStrategy([one.name for one in devices]))
        logger.info("strategy mirrored: %d replicas", made.replicas)
        return made
    cluster, job, index = read_tf_config(os.environ.get("TF_CONFIG"))
    number = sum(map(len, cluster.values()))
    place = index + (
        len(cluster["chief"]) if job != "chief" and "chief" in cluster else 0
    )
    minutes = waiting_minutes(START_MINUTES, os.environ.get(START_MINUTES))
    # Later it would be a mistake of one after all have come.
    waiting_minutes(STALL_MINUTES, os.environ.get(STALL_MINUTES))
    reason = f"not all of {number} workers came within {minutes:g} minutes"
    with killed_after(minutes, reason):
        try:
            made = _start_workers(number, place)
        except tf.errors.OpError as error:
            if tells_of_another(error, place):
                _raise_lost(error)
            _cannot_start(cluster[job][index], error)
        except RuntimeError as error:
            _cannot_start(cluster[job][index], error)
    logger.info(
        "strategy multiworker: worker %d of %d, %d replicas in all%s",
        place + 1,
        number,
        made.replicas,
        ", the chief" if made.chief else "",
    )
    return made


def _start_workers(number: int, place: int) -> Replicated:
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    made = Replicated(strategy, number, place)
    # TensorFlow takes it for granted that all have as many GPUs.
    made.finish()
    return made


def _cannot_start(address: str, error: Exception) -> NoReturn:
    message = " ".join(str(error).split())[:200]
    raise PortraitError(
        f"this worker cannot take part as {address}, which TF_CONFIG gives it: "
        + message
    ) from error
