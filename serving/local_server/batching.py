"""Merging of requests, after TensorFlow Serving's batching session.

Conventions: tasks of one signature and one set of outputs share a queue; a batch goes
to a thread when it is full or when its first task has waited long enough. Inputs are
joined along axis 0, outputs are cut along it. What goes wrong with a batch goes wrong
for each task in it, other tasks' mistakes included: TF Serving does so, too.
"""

import collections
import dataclasses
import logging
import os
import pathlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

import grpc
import numpy as np

from portrait_tf.errors import PortraitError
from serving.local_server import text_protos
from serving.local_server.metrics import Metrics
from serving.local_server.request_error import RequestError, invalid_argument

PARAMETERS_FILE = "batching_params.pbtxt"
"""The name of a version's own parameters, in its folder."""

Arrays = Mapping[str, np.ndarray]
Run = Callable[[object, Arrays, Sequence[str], float | None], dict[str, np.ndarray]]
"""Runs (signature, inputs, outputs, timeout), as `LoadedModel.run` does."""

_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class BatchingParameters:
    """TensorFlow Serving's BatchingParameters, with its defaults.

    Raises:
        PortraitError: For values that cannot be.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = os.cpu_count() or 1
    thread_pool_name: str = "model_server_batch_threads"
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int = 0

    def __post_init__(self):
        for name, least in (
            ("max_batch_size", 1),
            ("batch_timeout_micros", 0),
            ("max_enqueued_batches", 1),
            ("num_batch_threads", 1),
            ("max_execution_batch_size", 0),
        ):
            if getattr(self, name) < least:
                raise PortraitError(
                    f"{name} is {getattr(self, name)}; expected at least {least}"
                )
        sizes = self.allowed_batch_sizes
        if list(sizes) != sorted({size for size in sizes if size > 0}):
            raise PortraitError(
                "allowed_batch_sizes entries must be monotonically increasing; received"
                f" {list(sizes)}"
            )
        if sizes and sizes[-1] != self.largest_run:
            splits = self.enable_large_batch_splitting
            limit = "max_execution_batch_size" if splits else "max_batch_size"
            raise PortraitError(
                f"Last entry in allowed_batch_sizes must match {limit}; last entry was"
                f" {sizes[-1]}; expected {self.largest_run}"
            )

    @property
    def largest_run(self) -> int:
        """The most samples that the model gets at once."""
        if self.enable_large_batch_splitting and self.max_execution_batch_size:
            return min(self.max_execution_batch_size, self.max_batch_size)
        return self.max_batch_size

    @classmethod
    def read(cls, path: str | pathlib.Path) -> "BatchingParameters":
        """Reads a text proto.

        Raises:
            PortraitError: When it cannot be read, or says what cannot be.
        """
        message = text_protos.read_text_proto(path, text_protos.BatchingParameters)
        values = {
            field.name: value if field.message_type is None else value.value
            for field, value in message.ListFields()
        }
        values["allowed_batch_sizes"] = tuple(message.allowed_batch_sizes)
        try:
            return cls(**values)
        except PortraitError as error:
            raise PortraitError(f"{path}: {error}") from error


class _Task:
    """A request, or a part of one, and the result that its caller waits for."""

    def __init__(self, inputs: Arrays, size: int, timeout: float | None):
        self.inputs = inputs
        self.size = size
        self.begun = time.monotonic()
        self.deadline = None if timeout is None else self.begun + timeout
        self.result: Future = Future()


class _Queue:
    """The batches of one signature that wait for a thread; the last may still grow."""

    def __init__(
        self, parameters: BatchingParameters, process: Callable[[list[_Task]], None]
    ):
        self.parameters = parameters
        self.process = process
        self.batches: collections.deque[list[_Task]] = collections.deque()

    def add(self, task: _Task) -> None:
        limit = self.parameters.largest_run
        if not self.batches or _size(self.batches[-1]) + task.size > limit:
            if len(self.batches) >= self.parameters.max_enqueued_batches:
                raise RequestError(
                    grpc.StatusCode.UNAVAILABLE,
                    "The batch scheduling queue to which this task was submitted is"
                    " full",
                )
            self.batches.append([])
        self.batches[-1].append(task)

    def ready_at(self) -> float:
        """When the first batch may go."""
        first = self.batches[0]
        if len(self.batches) > 1 or _size(first) >= self.parameters.largest_run:
            return 0.0
        return first[0].begun + self.parameters.batch_timeout_micros / 1e6


class BatchThreads:
    """The threads that process batches, shared by all models of a server.

    Args:
        parameters: The server's; the number of threads and their name.
        metrics: Where time in queues is noted.
    """

    def __init__(self, parameters: BatchingParameters, metrics: Metrics):
        self.parameters = parameters
        self.metrics = metrics
        self._changed = threading.Condition()
        self._queues: dict[tuple, _Queue] = {}
        self._draining = self._stopping = False
        name = parameters.thread_pool_name
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{index}", daemon=True)
            for index in range(parameters.num_batch_threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, key: tuple, queue: _Queue, tasks: Sequence[_Task]) -> None:
        """Puts tasks into the queue of that key; `queue`, if there is none yet."""
        with self._changed:
            queue = self._queues.setdefault(key, queue)
            for task in tasks:
                queue.add(task)
            self._changed.notify_all()

    def forget(self, batcher: "Batcher") -> None:
        with self._changed:
            for key in [key for key in self._queues if key[0] is batcher]:
                del self._queues[key]

    def drain(self) -> None:
        """From now on, batches wait for no further requests."""
        with self._changed:
            self._draining = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Ends the threads; what is queued is processed before."""
        self._stopping = True
        self.drain()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            process, batch = taken
            now = time.monotonic()
            for task in batch:
                self.metrics.observe(
                    ":tensorflow:serving:batching_session:queuing_latency",
                    now - task.begun,
                    self.parameters.thread_pool_name,
                )
            try:
                process(batch)
            except Exception as error:
                if not isinstance(error, RequestError):
                    _LOGGER.exception("a batch failed in the server")
                    message = f"{type(error).__name__} in the server"
                    error = RequestError(grpc.StatusCode.INTERNAL, message)
                for task in batch:
                    # One each: several threads may raise what is the same failure.
                    task.result.set_exception(RequestError(error.code, error.message))

    def _take(self) -> tuple[Callable, list[_Task]] | None:
        with self._changed:
            while True:
                waiting = {key: one for key, one in self._queues.items() if one.batches}
                if not waiting and self._stopping:
                    return None
                pause = None
                if waiting:
                    key = min(waiting, key=lambda key: waiting[key].ready_at())
                    pause = waiting[key].ready_at() - time.monotonic()
                    if pause <= 0 or self._draining:
                        break
                self._changed.wait(pause)
            # To the end of the line, so that no queue starves another.
            queue = self._queues[key] = self._queues.pop(key)
            return queue.process, queue.batches.popleft()


class Batcher:
    """Merges the requests to one version of a model.

    Args:
        run: Runs a merged batch.
        parameters: How to merge.
        threads: The server's threads.
    """

    def __init__(self, run: Run, parameters: BatchingParameters, threads: BatchThreads):
        self._run = run
        self._parameters = parameters
        self._threads = threads

    def run(
        self,
        signature: object,
        inputs: Arrays,
        outputs: Sequence[str],
        timeout: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Runs inputs within a batch, and waits for the result.

        Raises:
            RequestError: INVALID_ARGUMENT for inputs without one common axis 0 or
                larger than a batch; UNAVAILABLE when the queue is full;
                FAILED_PRECONDITION when photos of a batch differ in size, or outputs
                do not follow axis 0; the Session's status when the run fails.
        """
        size = _batch_size(inputs)
        if size == 0:
            return self._run(signature, inputs, outputs, timeout)
        limit = self._parameters.largest_run
        if size > limit and not self._parameters.enable_large_batch_splitting:
            raise invalid_argument(
                f"Task size {size} is larger than maximum input batch size {limit}"
            )
        tasks = [
            _Task(
                {name: array[start : start + limit] for name, array in inputs.items()},
                min(limit, size - start),
                timeout,
            )
            for start in range(0, size, limit)
        ]
        queue = _Queue(
            self._parameters, lambda tasks: self._process(signature, outputs, tasks)
        )
        key = (self, signature.name, tuple(sorted(outputs)))
        self._threads.submit(key, queue, tasks)
        results = [task.result.result() for task in tasks]
        return {
            name: np.concatenate([result[name] for result in results])
            if len(results) > 1
            else results[0][name]
            for name in outputs
        }

    def close(self) -> None:
        self._threads.forget(self)

    def _process(
        self, signature: object, outputs: Sequence[str], tasks: list[_Task]
    ) -> None:
        timeout = _time_left(tasks)
        size = _size(tasks)
        allowed = self._parameters.allowed_batch_sizes
        padding = next((one for one in allowed if one >= size), size) - size
        pads = self._parameters.pad_variable_length_inputs
        merged = {
            name: _merge(name, [task.inputs[name] for task in tasks], padding, pads)
            for name in tasks[0].inputs
        }
        self._threads.metrics.count(
            ":tensorflow:serving:batching_session:wrapped_run_count"
        )
        results = self._run(signature, merged, outputs, timeout)
        for array in results.values():
            problem = None
            if np.ndim(array) == 0:
                problem = "Batched output tensor has 0 dimensions"
            elif len(array) != size + padding:
                problem = (
                    "Batched output tensor's 0th dimension does not equal the sum of"
                    " the 0th dimension sizes of the input tensors"
                )
            if problem:
                raise RequestError(grpc.StatusCode.FAILED_PRECONDITION, problem)
        start = 0
        for task in tasks:
            end = start + task.size
            task.result.set_result({key: a[start:end] for key, a in results.items()})
            start = end


def _size(tasks: Sequence[_Task]) -> int:
    return sum(task.size for task in tasks)


def _batch_size(inputs: Arrays) -> int:
    what = "Batching Run() input tensors must have"
    if any(np.ndim(array) == 0 for array in inputs.values()):
        raise invalid_argument(f"{what} at least one dimension")
    sizes = {len(array) for array in inputs.values()}
    if len(sizes) > 1:
        raise invalid_argument(f"{what} equal 0th-dimension size")
    return sizes.pop()


def _time_left(tasks: Sequence[_Task]) -> float | None:
    """Seconds until the last of the tasks' deadlines; None when one has none."""
    deadlines = [task.deadline for task in tasks]
    if None in deadlines:
        return None
    left = max(deadlines) - time.monotonic()
    if left <= 0:
        raise RequestError(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "Run() timeout exceeded while waiting in batching queue",
        )
    return left


def _merge(name: str, arrays: list[np.ndarray], padding: int, pads: bool) -> np.ndarray:
    shapes = {array.shape[1:] for array in arrays}
    if len(shapes) > 1:
        if not pads or len({len(shape) for shape in shapes}) > 1:
            raise RequestError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"Tensors with name '{name}' from different tasks have different"
                " shapes and padding is turned off. Set pad_variable_length_inputs to"
                " true, or ensure that all tensors with the same name have equal"
                " dimensions starting with the first dim.",
            )
        largest = np.max(list(shapes), axis=0)
        arrays = [_grow(array, largest) for array in arrays]
    if padding:
        # A row that is known to be valid, as TensorFlow Serving takes one.
        arrays = [*arrays, np.repeat(arrays[-1][:1], padding, axis=0)]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _grow(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    missing = [
        (0, int(size) - now) for size, now in zip(shape, array.shape[1:], strict=True)
    ]
    filler = b"" if array.dtype == object else 0
    return np.pad(array, [(0, 0), *missing], constant_values=filler)
