"""Merging of requests, after TensorFlow Serving's batching session.

Tasks of one signature and one set of outputs share a queue; a batch goes
to a thread when it is full or when its first task has waited long enough. Inputs are
joined along axis 0, outputs are cut along it. What goes wrong with a batch goes wrong
for each task in it, other tasks' mistakes included: TF Serving does so, too.
"""

import collections
import dataclasses
import os
import pathlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np

from portrait_tf.errors import PortraitError
from serving.local_server import text_protos
from serving.local_server.metrics import Metrics
from serving.local_server.options import check_least
from serving.local_server.request_error import (
    RequestError,
    attempt,
    failed_precondition,
    invalid_argument,
)

PARAMETERS_FILE = "batching_params.pbtxt"
"""The name of a version's own parameters, in its folder."""

Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Run:
    """What a Session is asked for, by public names.

    It is abandoned after `timeout` seconds; None: never.
    """

    signature: Any
    inputs: Arrays
    outputs: Sequence[str]
    timeout: float | None = None


Runner = Callable[[Run], dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class BatchingParameters:
    """TensorFlow Serving's, with its defaults; PortraitError for what cannot be."""

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
        check_least(
            self, max_batch_size=1, batch_timeout_micros=0, max_enqueued_batches=1,
            num_batch_threads=1, max_execution_batch_size=0,
        )  # fmt: skip
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
        """Of a text proto; defaults where there is no path; errors as the class."""
        if not path:
            return cls()
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


@dataclasses.dataclass(eq=False)
class _Task:
    """A request, or a part of one, and the result that its caller waits for."""

    inputs: Arrays
    size: int
    deadline: float | None
    begun: float = dataclasses.field(default_factory=time.monotonic)
    result: Future = dataclasses.field(default_factory=Future)


@dataclasses.dataclass(eq=False)
class _Batch:
    """Tasks that go together; while they wait for a thread, more may join."""

    parameters: BatchingParameters
    run: Run
    runner: Runner
    tasks: list[_Task] = dataclasses.field(default_factory=list)
    timer: threading.Timer | None = None
    is_released: bool = False

    @property
    def size(self) -> int:
        return sum(task.size for task in self.tasks)

    def process(self) -> None:
        """Gives each task its rows of the result, or raises."""
        timeout = _time_left(self.tasks)
        allowed = self.parameters.allowed_batch_sizes
        padding = next((one for one in allowed if one >= self.size), self.size)
        padding -= self.size
        pads = self.parameters.pad_variable_length_inputs
        merged = {
            name: _merge(name, [one.inputs[name] for one in self.tasks], padding, pads)
            for name in self.tasks[0].inputs
        }
        whole = dataclasses.replace(self.run, inputs=merged, timeout=timeout)
        results = self.runner(whole)
        for array in results.values():
            if np.ndim(array) == 0:
                raise failed_precondition("Batched output tensor has 0 dimensions")
            if len(array) != self.size + padding:
                raise failed_precondition(
                    "Batched output tensor's 0th dimension does not equal the sum of"
                    " the 0th dimension sizes of the input tensors"
                )
        start = 0
        for task in self.tasks:
            end = start + task.size
            task.result.set_result({key: a[start:end] for key, a in results.items()})
            start = end


class Batching:
    """Merges the requests to all models of a server, on threads that they share."""

    def __init__(self, parameters: BatchingParameters, metrics: Metrics):
        self.parameters = parameters
        self._metrics = metrics
        self._lock = threading.RLock()
        self._queues: dict[tuple, collections.deque[_Batch]] = {}
        self._draining = False
        self._pool = ThreadPoolExecutor(
            parameters.num_batch_threads, parameters.thread_pool_name
        )

    def run(
        self, runner: Runner, parameters: BatchingParameters, run: Run
    ) -> dict[str, np.ndarray]:
        """Runs inputs in a batch with others' for the same runner, and waits for it.

        Raises:
            RequestError: INVALID_ARGUMENT for inputs without one common axis 0 or
                larger than a batch; UNAVAILABLE when the queue is full;
                FAILED_PRECONDITION when photos of a batch differ in size, or outputs
                do not follow axis 0; the Session's status when the run fails.
        """
        size, limit = _batch_size(run.inputs), parameters.largest_run
        if size == 0:
            return runner(run)
        if size > limit and not parameters.enable_large_batch_splitting:
            raise invalid_argument(
                f"Task size {size} is larger than maximum input batch size {limit}"
            )

        def counted(run: Run) -> dict[str, np.ndarray]:
            self._metrics.add("serving:batching_session:wrapped_run_count")
            return runner(run)

        deadline = None if run.timeout is None else time.monotonic() + run.timeout
        key = (runner, run.signature.name, tuple(sorted(run.outputs)))
        tasks = []
        with self._lock:
            for start in range(0, size, limit):
                part = {
                    name: one[start : start + limit] for name, one in run.inputs.items()
                }
                tasks.append(_Task(part, min(limit, size - start), deadline))
                self._enqueue(key, tasks[-1], _Batch(parameters, run, counted))
        results = [task.result.result() for task in tasks]
        if len(results) == 1:
            return results[0]
        return {
            name: np.concatenate([one[name] for one in results]) for name in run.outputs
        }

    def drain(self) -> None:
        """From now on, batches wait for no further requests."""
        with self._lock:
            self._draining = True
            for key, queue in self._queues.items():
                for batch in queue:
                    self._release(key, batch)

    def stop(self) -> None:
        """Ends the threads; what is queued is processed before."""
        self.drain()
        self._pool.shutdown()

    def _enqueue(self, key: tuple, task: _Task, new: _Batch) -> None:
        """Adds a task to the last batch of its queue, or to a new one."""
        queue = self._queues.setdefault(key, collections.deque())
        parameters = new.parameters
        if not queue or queue[-1].size + task.size > parameters.largest_run:
            if len(queue) >= parameters.max_enqueued_batches:
                raise RequestError(
                    grpc.StatusCode.UNAVAILABLE,
                    "The batch scheduling queue to which this task was submitted is"
                    " full",
                )
            if queue:
                self._release(key, queue[-1])
            queue.append(new)
        batch = queue[-1]
        batch.tasks.append(task)
        wait = parameters.batch_timeout_micros / 1e6
        if self._draining or not wait or batch.size >= parameters.largest_run:
            self._release(key, batch)
        elif batch.timer is None:
            batch.timer = threading.Timer(wait, self._release, (key, batch))
            batch.timer.daemon = True
            batch.timer.start()

    def _release(self, key: tuple, batch: _Batch) -> None:
        """Lets a thread take the first batch of a queue, once for each batch in it."""
        with self._lock:
            if batch.is_released:
                return
            batch.is_released = True
            if batch.timer is not None:
                batch.timer.cancel()
            self._pool.submit(self._work, key)

    def _work(self, key: tuple) -> None:
        with self._lock:
            batch = self._queues[key].popleft()
            if not self._queues[key]:
                del self._queues[key]
        name, now = self.parameters.thread_pool_name, time.monotonic()
        for task in batch.tasks:
            waited = (now - task.begun) * 1e6
            queuing = "serving:batching_session:queuing_latency"
            self._metrics.add(queuing, name, value=waited)
        code, answer = attempt(batch.process)
        if code is not grpc.StatusCode.OK:
            for task in batch.tasks:
                # One each: several threads may raise what is the same failure.
                task.result.set_exception(RequestError(code, answer))


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
            raise failed_precondition(
                f"Tensors with name '{name}' from different tasks have different"
                " shapes and padding is turned off. Set pad_variable_length_inputs to"
                " true, or ensure that all tensors with the same name have equal"
                " dimensions starting with the first dim.",
            )
        largest = np.max(list(shapes), axis=0)
        filler = b"" if arrays[0].dtype == object else 0
        arrays = [
            np.pad(
                array,
                [(0, 0), *((0, n) for n in largest - array.shape[1:])],
                constant_values=filler,
            )
            for array in arrays
        ]
    if padding:
        # A row that is known to be valid, as TensorFlow Serving takes one.
        arrays = [*arrays, np.repeat(arrays[-1][:1], padding, axis=0)]
    return np.concatenate(arrays)
