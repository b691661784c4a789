"""Several data sets as one, and the order in which training sees their samples.

What is drawn follows from the seed and the position in the stream alone. Nothing here
needs TensorFlow.
"""

import bisect
import functools
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from portrait_tf.data.sample import Sample
from portrait_tf.errors import PortraitError

# The second entry of a seed: no two uses of randomness share a stream.
ORDER, SAMPLE = 0, 1


class Reader(Protocol):
    """The part of a data set that the streams need."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


@functools.lru_cache(maxsize=16)
def _order(length: int, seed: int, epoch: int, source: int) -> np.ndarray:
    entropy = [seed, ORDER, epoch] + ([source] if source else [])
    return np.random.default_rng(entropy).permutation(length)


def sample_index(position: int, length: int, seed: int, source: int = 0) -> int:
    """Which sample is at a position of an endless stream.

    Every epoch of `length` positions holds each sample once, in an order of its own.

    Args:
        position: 0 for the first sample of the run.
        length: Number of samples in the data set.
        seed: The run's seed.
        source: Streams of other numbers have other orders.
    """
    epoch, place = divmod(position, length)
    return int(_order(length, seed, epoch, source)[place])


def _draws(lengths: Sequence[int], weights: Sequence[float]) -> tuple:
    """Draws of each data set in an epoch: the weights, in whole numbers.

    By largest remainder, at least one each. Weights equal to the lengths give these.
    """
    exact = np.array(weights) / sum(weights) * sum(lengths)
    draws = np.floor(exact + 1e-9).astype(int)
    missing = sum(lengths) - draws.sum()
    draws[np.argsort(draws - exact, kind="stable")[:missing]] += 1
    return tuple(max(1, int(count)) for count in draws)


@functools.lru_cache(maxsize=4)
def _turns(
    draws: tuple[int, ...], seed: int, epoch: int
) -> tuple[np.ndarray, np.ndarray]:
    """For each position of an epoch, its source and its rank within that source."""
    order = _order(sum(draws), seed, epoch, 0)
    sources = np.repeat(np.arange(len(draws)), draws)[order]
    ranks = np.empty_like(sources)
    for source, count in enumerate(draws):
        ranks[sources == source] = np.arange(count)
    return sources, ranks


class Mixture:
    """Several data sets as one.

    As a sequence it is all samples, one data set after the other. As a training stream
    (`index_at`) each data set has its part of every epoch, by its weight, and all of
    its samples come once before one comes again. Without weights, every epoch holds
    every sample once.

    Args:
        readers: The data sets.
        weights: Relative frequency of each; None: by their lengths.

    Attributes:
        draws: How many samples of each an epoch holds.

    Raises:
        PortraitError: There are not as many weights as readers, one is not above 0, or
            a reader is empty.

    Example:

    ```python
    reader = Mixture([labelled, unlabelled], weights=(1, 1))
    sample = reader[reader.index_at(position, seed)]
    ```
    """

    def __init__(
        self, readers: Sequence[Reader], weights: Sequence[float] | None = None
    ) -> None:
        if weights is not None and len(weights) != len(readers):
            raise PortraitError(
                f"data.weights: expected a weight for each of {len(readers)} data "
                f"sets, received {len(weights)}"
            )
        if weights is not None and min(weights) <= 0:
            raise PortraitError(
                f"data.weights: expected weights above 0, received {min(weights)}"
            )
        lengths = [len(reader) for reader in readers]
        if not lengths or not min(lengths):
            raise PortraitError(
                expected="data sets with at least one sample each",
                received=f"lengths of {lengths}",
            )
        self.readers = tuple(readers)
        self.weights = None if weights is None else tuple(weights)
        self.draws = _draws(lengths, weights or lengths)
        self._starts = np.concatenate([[0], np.cumsum(lengths)]).tolist()

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"no sample {index}; there are {len(self)}")
        source = self.source(index)
        return self.readers[source][index - self._starts[source]]

    def index_at(self, position: int, seed: int) -> int:
        """Which sample is at a position of the endless training stream.

        Args:
            position: 0 for the first sample of the run.
            seed: The run's seed.
        """
        epoch, place = divmod(position, sum(self.draws))
        sources, ranks = _turns(self.draws, seed, epoch)
        source = int(sources[place])
        # Draws of this data set since the run began.
        draw = epoch * self.draws[source] + int(ranks[place])
        length = len(self.readers[source])
        stream = source + 1 if len(self.readers) > 1 else 0
        return self._starts[source] + sample_index(draw, length, seed, stream)

    def source(self, index: int) -> int:
        """The position of a sample's data set."""
        return bisect.bisect_right(self._starts, index) - 1

    def part(self, source: int) -> range:
        """The indices of a data set's samples."""
        return range(self._starts[source], self._starts[source + 1])

    def backgrounds(self, index: int, sources: Sequence[int]) -> range:
        """The indices of samples that may lend a sample their background.

        Args:
            index: Of the sample.
            sources: For each data set, the position of the one that lends backgrounds.

        Raises:
            PortraitError: There are more or fewer data sets, or none of a position.
        """
        count = len(self.readers)
        if len(sources) != count or max(sources) >= count:
            raise PortraitError(
                f"data.backgrounds: expected {count} numbers from 0 to {count - 1}, "
                f"one a data set, received {list(sources)}"
            )
        return self.part(sources[self.source(index)])

    @property
    def skip_broken(self) -> bool:
        """Whether one of the readers leaves out its broken samples."""
        return any(getattr(reader, "skip_broken", False) for reader in self.readers)

    @property
    def broken(self) -> dict[str, str]:
        """Names and messages of the samples that the readers have left out."""
        return {
            name: message
            for reader in self.readers
            for name, message in getattr(reader, "broken", {}).items()
        }

    def usable(self) -> "Mixture":
        """The same data sets without their broken samples.

        Raises:
            PortraitError: Nothing is left of one.
        """
        readers = [
            reader.usable() if getattr(reader, "skip_broken", False) else reader
            for reader in self.readers
        ]
        return Mixture(readers, self.weights)


def as_mixture(reader: Reader) -> Mixture:
    """A reader as a mixture of one, unless it is a mixture."""
    return reader if isinstance(reader, Mixture) else Mixture([reader])


def sample_names(reader: Reader) -> list[str] | None:
    """Names of a reader's samples in order; None where they are not known unread."""
    if isinstance(reader, Mixture):
        parts = [sample_names(one) for one in reader.readers]
        known = all(part is not None for part in parts)
        return [name for part in parts for name in part] if known else None
    if isinstance(reader, list | tuple):
        return [sample.name for sample in reader]
    names = getattr(reader, "names", None)
    return None if names is None else list(names)
