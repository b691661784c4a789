"""Samples that are kept in memory once they have been read."""

import threading

from portrait_tf.data.mixture import Reader
from portrait_tf.data.sample import Sample


class Budget:
    """Bytes that several caches share; safe from several threads."""

    def __init__(self, size: float) -> None:
        self.left = int(size)
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Whether there is room for as many bytes; then they are taken."""
        with self._lock:
            if size > self.left:
                return False
            self.left -= size
            return True


class CachedReader:
    """A reader whose decoded samples stay in memory, as long as there is room.

    Samples are never evicted: every epoch reads each sample once, so the last one used
    is the last one needed. Samples are shared; do not change their arrays.

    Args:
        reader: Any reader.
        budget: What its samples may take.
    """

    def __init__(self, reader: Reader, budget: Budget) -> None:
        self.reader, self.budget = reader, budget
        self._samples: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> Sample:
        kept = self._samples.get(index)
        if kept is not None:
            return kept
        sample = self.reader[index]
        size = sample.photo.nbytes
        size += 0 if sample.parsing is None else sample.parsing.nbytes
        if self.budget.take(size):
            self._samples[index] = sample
        return sample

    def __getattr__(self, name: str) -> object:
        """The reader's names, and what it says of broken samples."""
        if name == "reader":  # not there yet, in a copy that is being made
            raise AttributeError(name)
        return getattr(self.reader, name)

    def usable(self) -> "CachedReader":
        """The same without broken samples; nothing is kept of it yet."""
        return CachedReader(self.reader.usable(), self.budget)
