"""Training on several GPUs and on several machines, by `tf.distribute`.

Every replica holds all weights and takes an equal part of each batch; `batch_size` of
the config is that of all replicas together. `compat.replicas` is what a training step
needs; this module is what a run needs: the strategy, each worker's part of the data,
the chief's values everywhere at the start, and one worker that writes.
"""

import contextlib
import json
import logging
import os
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from portrait_tf.compat import KERAS_3
from portrait_tf.config import Config
from portrait_tf.errors import LostWorkerError, PortraitError

logger = logging.getLogger(__name__)

STRATEGIES = ("none", "mirrored", "multiworker")

_EXAMPLE = (
    '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


def check_distribution(strategy: str, stage: str, config: Config) -> None:
    """Raises PortraitError: several replicas cannot train this."""
    if strategy not in STRATEGIES:
        raise PortraitError(
            f"expected a strategy of {', '.join(STRATEGIES)}, received {strategy!r}"
        )
    if strategy == "none":
        return
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
    if getattr(network, "normalization", None) == "batch":
        raise PortraitError(
            f"{stage}.network.normalization batch has other statistics on every "
            f"replica: expected group with --strategy {strategy}"
        )


class Distribution:
    """How a run is spread over devices.

    Args:
        strategy: Of TensorFlow; None for one device.
        workers: Number of processes.
        index: Number of this process; process 0 is the chief.

    Attributes:
        chief: Whether this process writes the run's files.
        replicas: Number of replicas of all processes.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy | None = None,
        workers: int = 1,
        index: int = 0,
    ) -> None:
        self.strategy = strategy
        self.workers = workers
        self.index = index
        self.chief = index == 0
        self.replicas = strategy.num_replicas_in_sync if strategy else 1

    def scope(self) -> contextlib.AbstractContextManager:
        """The scope in which the trainer is built and compiled."""
        return self.strategy.scope() if self.strategy else contextlib.nullcontext()

    def check_batch(self, stage: str, batch_size: int) -> None:
        """Raises PortraitError: a batch cannot be shared out evenly."""
        if batch_size % self.replicas:
            raise PortraitError(
                f"{stage}.training.batch_size is that of all replicas together: "
                f"expected a multiple of their number, {self.replicas}, received "
                f"{batch_size}"
            )

    def training_data(
        self, make: Callable[[tuple[int, int], int], tf.data.Dataset]
    ) -> object:
        """The data set for `fit`.

        Args:
            make: Makes the stream of a worker's part of the batches, given its index
                and the number of workers, cut into a batch for each of a number of
                replicas: see `training_dataset`.
        """
        if self.strategy is None:
            return make((0, 1), 1)
        local = self.replicas // self.workers
        return self.strategy.distribute_datasets_from_function(
            lambda _: make((self.index, self.workers), local)
        )

    def validation_data(self, dataset: tf.data.Dataset) -> dict:
        """Validation arguments of `fit`: every replica sees the whole data set."""
        if self.strategy is None:
            return {"validation_data": dataset}
        # A stream's batches go to a worker's replicas in turn: each gets a copy.
        local = self.replicas // self.workers
        copies = dataset.flat_map(
            lambda batch: tf.data.Dataset.from_tensors(batch).repeat(local)
        )
        # At the end of such a stream TensorFlow runs a step on no data, which counts in
        # a metric's mean: so the stream is endless, and the number of steps is given.
        endless = copies.repeat()
        return {
            "validation_data": self.strategy.distribute_datasets_from_function(
                lambda _: endless
            ),
            "validation_steps": int(dataset.cardinality()),
        }

    def from_chief(self, array: np.ndarray) -> np.ndarray:
        """The chief's array, in every process; the others give one of its shape."""
        # A sum with zeros: exact, and supported on every kind of device.
        given = tf.constant(array if self.chief else np.zeros_like(array))

        @tf.function
        def add() -> object:
            def on_replica() -> tf.Tensor:
                context = tf.distribute.get_replica_context()
                first = tf.equal(context.replica_id_in_sync_group, 0)
                own = tf.where(first, given, tf.zeros_like(given))
                return context.all_reduce("SUM", own)

            return self.strategy.run(on_replica)

        return self.strategy.experimental_local_results(add())[0].numpy()

    def on_chief(self, work: Callable[[], object]) -> object:
        """The result of the chief's `work`, or its PortraitError, in every process.

        Args:
            work: Called by the chief alone; returns what JSON can hold. It must not
                create variables of the scope.
        """
        if self.workers == 1:
            return work()
        answer = {}
        if self.chief:
            try:
                answer = {"value": work()}
            except PortraitError as error:
                answer = {"error": str(error)}
        text = np.frombuffer(json.dumps(answer).encode(), np.uint8).astype(np.int32)
        length = self.from_chief(np.array([len(text)], np.int32))[0]
        text = self.from_chief(text if self.chief else np.zeros(length, np.int32))
        answer = json.loads(text.astype(np.uint8).tobytes())
        if "error" in answer:
            raise PortraitError(answer["error"])
        return answer["value"]

    def agree(self, facts: dict[str, str]) -> None:
        """Raises PortraitError: this process has other facts than the chief."""
        chiefs = self.on_chief(lambda: facts)
        wrong = [
            f"{key} {facts.get(key)} (the chief: {chiefs.get(key)})"
            for key in {**chiefs, **facts}
            if facts.get(key) != chiefs.get(key)
        ]
        if wrong:
            raise PortraitError(
                "expected the same versions, command, config and data for all "
                f"workers: worker {self.index + 1} has {', '.join(wrong[:3])}"
                + (", ..." if len(wrong) > 3 else "")
            )

    def broadcast(self, variables: list) -> None:
        """Sets variables to the chief's values in every process."""
        if self.workers == 1:
            return
        # In two pieces, for a network has hundreds of variables; unsigned numbers, the
        # state of a noise generator, cannot be summed.
        for kinds, sent in (("f", np.float32), ("iub", np.int64)):
            arrays = [(one, keras.ops.convert_to_numpy(one)) for one in variables]
            chosen = [pair for pair in arrays if pair[1].dtype.kind in kinds]
            if not chosen:
                continue
            flat = np.concatenate([array.ravel() for _, array in chosen]).astype(sent)
            ends = np.cumsum([array.size for _, array in chosen])
            parts = np.split(self.from_chief(flat), ends[:-1])
            for (variable, array), part in zip(chosen, parts, strict=True):
                variable.assign(part.reshape(array.shape).astype(array.dtype))

    def finish(self) -> None:
        """Waits until all processes are here."""
        if self.workers > 1:
            self.from_chief(np.zeros(1, np.int32))


def is_lost(error: Exception) -> bool:
    """Whether TensorFlow says with an error that another worker is gone."""
    gone = (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
    )
    message = str(error)
    # A broken photo, of any worker, stays broken.
    if "PortraitError: " in message:
        return False
    return isinstance(error, gone) or "Collective ops is aborted by" in message


@contextlib.contextmanager
def lost_workers(distribution: Distribution) -> Iterator[None]:
    """Raises LostWorkerError where another worker is gone."""
    try:
        yield
    except tf.errors.OpError as error:
        if distribution.workers == 1 or not is_lost(error):
            raise
        raise _lost(error) from error


def _lost(error: Exception) -> LostWorkerError:
    logger.warning("TensorFlow's error: %s", error)
    return LostWorkerError(
        "another worker is gone or has failed: start all workers again, and training "
        "continues from the last checkpoint"
    )


def make_distribution(strategy: str) -> Distribution:
    """The distribution of a name; every worker waits here until all have come.

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
        made = Distribution(tf.distribute.MirroredStrategy([d.name for d in devices]))
        logger.info("strategy mirrored: %d replicas", made.replicas)
        return made
    cluster, job, index = read_tf_config(os.environ.get("TF_CONFIG"))
    workers, index = sum(map(len, cluster.values())), _place(cluster, job, index)
    try:
        multiworker = tf.distribute.MultiWorkerMirroredStrategy()
    except (RuntimeError, tf.errors.OpError) as error:
        if is_lost(error):
            raise _lost(error) from error
        message = " ".join(str(error).split())[:200]
        raise PortraitError(
            f"worker {index + 1} of {workers} in TF_CONFIG cannot start: {message}"
        ) from error
    made = Distribution(multiworker, workers, index)
    logger.info(
        "strategy multiworker: worker %d of %d, %d replicas in all",
        index + 1,
        workers,
        made.replicas,
    )
    return made


def read_tf_config(text: str | None) -> tuple[dict, str, int]:
    """Reads `TF_CONFIG`.

    Args:
        text: Its value; None if it is not set.

    Returns:
        The cluster (addresses by job), and this process's job and index.

    Raises:
        PortraitError: It is missing, is no JSON, or does not name this process.
    """
    try:
        value = json.loads(text or "")
        cluster, task = value["cluster"], value["task"]
        job, index = task["type"], int(task["index"])
        lists = all(isinstance(hosts, list) for hosts in cluster.values())
        names = all(isinstance(one, str) for hosts in cluster.values() for one in hosts)
        if not (lists and names and 0 <= index < len(cluster[job])):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise PortraitError(
            "--strategy multiworker needs TF_CONFIG in the environment: expected "
            f"{_EXAMPLE}, received {text or 'nothing'}"
        ) from None
    return cluster, job, index


def _place(cluster: dict, job: str, index: int) -> int:
    """A process's number among all; 0 is the chief."""
    return index if job == "chief" else index + len(cluster.get("chief", []))
