"""Counting pixels by true and predicted label, and the scores that follow from it.

The definitions are those of FCN (arXiv 1411.4038, section 5), which LIP scores by; one
matrix over all photos, not a mean over photos.
"""

import numpy as np

from portrait_tf.labels import NUM_LABELS


class Confusion:
    """A confusion matrix of LIP's 20 labels.

    Attributes:
        counts: `int64` `[20, 20]`, pixels by true label (rows) and predicted label
            (columns).
    """

    def __init__(self) -> None:
        self.counts = np.zeros((NUM_LABELS, NUM_LABELS), np.int64)

    def add(
        self, truth: np.ndarray, parsing: np.ndarray, region: np.ndarray | None = None
    ) -> None:
        """Counts the pixels of label maps.

        Args:
            truth: Labels of any shape; 20 and above, void, is left out.
            parsing: Labels 0 to 19, of the same shape.
            region: Of the same shape: counts where it is not 0. None: everywhere.
        """
        counted = truth < NUM_LABELS
        if region is not None:
            counted = counted & (region != 0)
        index = truth[counted].astype(np.int64) * NUM_LABELS + parsing[counted]
        self.counts += np.bincount(index, minlength=NUM_LABELS**2).reshape(
            self.counts.shape
        )

    @property
    def pixels(self) -> int:
        """How many pixels were counted."""
        return int(self.counts.sum())

    def iou(self) -> np.ndarray:
        """Intersection over union of each label, `[20]`.

        NaN where the label occurs neither in the truth nor in the prediction.
        """
        return self.group_iou(np.arange(NUM_LABELS))

    def group_iou(self, group_of_label: np.ndarray) -> np.ndarray:
        """Intersection over union of each group of labels, `[G]`.

        A pixel whose label was mistaken for another of its group counts as found.

        Args:
            group_of_label: Integers `[20]`, 0 to G - 1.

        Returns:
            NaN where the group occurs neither in the truth nor in the prediction.
        """
        member = np.eye(group_of_label.max() + 1, dtype=np.int64)[group_of_label]
        counts = member.T @ self.counts @ member
        both = np.diag(counts)
        union = counts.sum(axis=0) + counts.sum(axis=1) - both
        return np.where(union > 0, both / np.maximum(union, 1), np.nan)

    def mean_iou(self, labels: list[int] | None = None) -> float | None:
        """Mean IoU over the labels that occur in truth or prediction.

        Args:
            labels: Of these alone. None: of all.

        Returns:
            None where none of them occurs.
        """
        iou = self.iou() if labels is None else self.iou()[labels]
        return _mean(iou)

    def mean_accuracy(self) -> float | None:
        """Mean over the true labels of the part of their pixels that was found."""
        seen = self.counts.sum(axis=1)
        found = np.diag(self.counts) / np.maximum(seen, 1)
        return _mean(np.where(seen > 0, found, np.nan))

    def pixel_accuracy(self) -> float | None:
        """Part of the pixels whose label was found; None where none was counted."""
        return float(np.trace(self.counts) / self.pixels) if self.pixels else None


def _mean(values: np.ndarray) -> float | None:
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else None
