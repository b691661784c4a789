"""Confusion matrices of label maps, and their scores.

The definitions are those of FCN (arXiv 1411.4038, section 5), which LIP uses: one
matrix over all photos, not a mean over photos.
"""

import numpy as np

from portrait_tf.data.masks import EVALUATION_TASKS
from portrait_tf.labels import GROUP_OF_LABEL, LABEL_GROUPS, NUM_LABELS

GROUP_PHOTOS = 10
"""Label groups in the holes of fewer photos are left out of the mean over groups."""


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
        """The number of pixels counted."""
        return int(self.counts.sum())

    def iou(self) -> np.ndarray:
        """Intersection over union of each label, `[20]`.

        NaN where the label occurs neither in the truth nor in the prediction.
        """
        return self.group_iou(np.arange(NUM_LABELS))

    def group_iou(self, group_of_label: np.ndarray) -> np.ndarray:
        """Intersection over union of each group of labels, `[G]`.

        A pixel counts as found if its predicted label is in the group of the true one.

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
            labels: The labels; None: all.

        Returns:
            None where no label occurs.
        """
        return _mean(self.iou() if labels is None else self.iou()[labels])

    def mean_accuracy(self) -> float | None:
        """Mean over the true labels of the part of their pixels that is found."""
        seen = self.counts.sum(axis=1)
        found = np.diag(self.counts) / np.maximum(seen, 1)
        return _mean(np.where(seen > 0, found, np.nan))

    def pixel_accuracy(self) -> float | None:
        """Part of the pixels whose label is found; None without a pixel."""
        return float(np.trace(self.counts) / self.pixels) if self.pixels else None


def _mean(values: np.ndarray) -> float | None:
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else None


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def silhouette_iou(counted: Confusion) -> float | None:
    """IoU of all labels but the background, 0; None where there is no person."""
    return _or_none(counted.group_iou(np.minimum(np.arange(NUM_LABELS), 1))[1])


class GroupScores:
    """IoU of `LABEL_GROUPS` and of the person's silhouette, inside holes, by task."""

    def __init__(self) -> None:
        self._holes = {task: Confusion() for task in EVALUATION_TASKS}
        self._photos = {
            task: np.zeros(len(LABEL_GROUPS), int) for task in EVALUATION_TASKS
        }

    def add(self, task: str, hole: Confusion) -> None:
        """Adds one photo, given the confusion matrix of its hole."""
        self._holes[task].counts += hole.counts
        found = GROUP_OF_LABEL[hole.counts.any(axis=1)]
        self._photos[task][np.unique(found)] += 1

    def result(self) -> dict[str, dict]:
        """Scores by task as plain values for JSON; one matrix over all photos.

        Returns:
            `groups`: the IoU of each of `LABEL_GROUPS`; `photos`: the number of photos
            with the group in the hole; `mean`: over the groups that at least
            `GROUP_PHOTOS` photos have; `silhouette`: the IoU of all labels but the
            background. None where there is nothing to score.
        """
        scores = {}
        for task, hole in self._holes.items():
            iou, photos = hole.group_iou(GROUP_OF_LABEL), self._photos[task]
            scores[task] = {
                "groups": dict(zip(LABEL_GROUPS, map(_or_none, iou), strict=True)),
                "photos": dict(zip(LABEL_GROUPS, photos.tolist(), strict=True)),
                "mean": _mean(iou[photos >= GROUP_PHOTOS]),
                "silhouette": silhouette_iou(hole),
            }
        return scores
