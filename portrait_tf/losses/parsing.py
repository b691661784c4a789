"""Losses of stage 1."""

import keras

from portrait_tf.compat import Tensor, ops, replicas
from portrait_tf.labels import NUM_LABELS
from portrait_tf.layers import grouped

# Focal loss: how much less a pixel counts that is right already (arXiv 1708.02002).
_FOCAL_GAMMA = 2.0
# Weights of pixels wrongly given a label, and wrongly denied it. Dice has the same for
# both; Tversky (arXiv 1706.05721) would rather find too much of a rare label.
_OVERLAP_WEIGHTS = {"dice": (0.5, 0.5), "tversky": (0.3, 0.7)}


def _known(labels: Tensor) -> tuple:
    """Labels that can be counted with, and 1.0 where they are no void."""
    known = labels < NUM_LABELS
    return ops.where(known, labels, 0), ops.cast(known, "float32")


def _weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    return replicas.ratio(ops.sum(values * weights), ops.sum(weights), 1e-6)


@keras.saving.register_keras_serializable("portrait_tf")
def parsing_cross_entropy(
    labels: Tensor, logits: Tensor, weights: Tensor, label_smoothing: float = 0.0
) -> Tensor:
    """Weighted mean of the softmax cross-entropy; void pixels do not count.

    `sum(w * -log p[label]) / sum(w)` over pixels whose label is below 20, as JPPNet
    ignores labels from 20 up.

    Args:
        labels: Integers `[B, H, W]`; 20 and above is void.
        logits: `[B, H, W, 20]`.
        weights: `[B, H, W]`, at least 0.
        label_smoothing: What the target gives away to all labels alike.
    """
    safe, known = _known(labels)
    if label_smoothing:
        loss = keras.losses.categorical_crossentropy(
            ops.one_hot(safe, NUM_LABELS),
            logits,
            from_logits=True,
            label_smoothing=label_smoothing,
        )
    else:
        loss = keras.losses.sparse_categorical_crossentropy(
            safe, logits, from_logits=True
        )
    return _weighted_mean(loss, weights * known)


@keras.saving.register_keras_serializable("portrait_tf")
def parsing_balanced(
    kind: str, labels: Tensor, logits: Tensor, weights: Tensor
) -> Tensor:
    """A loss to which a label with few pixels is worth as much as any, or nearly.

    `dice` and `tversky`: `1 - tp / (tp + a * fp + b * fn)` for each label, a mean over
    the labels that occur in the batch; `tp`, `fp` and `fn` are weighted sums of
    probabilities over the batch. With weights of 1 and all labels present they are
    `keras.losses.Dice` and `Tversky(alpha=b, beta=a)` with `axis=(0, 1, 2)`; those
    cannot weigh pixels.
    `focal`: the weighted mean of Keras' categorical focal cross-entropy.

    Args:
        kind: `dice`, `tversky` or `focal`.
        labels: Integers `[B, H, W]`; 20 and above is void, and does not count.
        logits: `[B, H, W, 20]`.
        weights: `[B, H, W]`, at least 0.
    """
    safe, known = _known(labels)
    truth = ops.one_hot(safe, NUM_LABELS)
    weights = weights * known
    if kind == "focal":
        loss = keras.losses.categorical_focal_crossentropy(
            truth, logits, alpha=1.0, gamma=_FOCAL_GAMMA, from_logits=True
        )
        return _weighted_mean(loss, weights)
    false_weight, missed_weight = _OVERLAP_WEIGHTS[kind]
    weighted = ops.softmax(logits, axis=-1) * weights[..., None]
    pixels = (0, 1, 2)
    found = ops.sum(truth * weighted, axis=pixels)
    present = ops.sum(truth * weights[..., None], axis=pixels)
    predicted = ops.sum(weighted, axis=pixels)
    sums = replicas.total(ops.stack([found, present, predicted]))
    found, present, predicted = (sums[index] for index in range(3))
    whole = (
        found + false_weight * (predicted - found) + missed_weight * (present - found)
    )
    occurs = ops.cast(present > 0, "float32")
    missed = ops.sum(occurs * (1.0 - found / ops.maximum(whole, 1e-6)))
    return missed / ops.maximum(ops.sum(occurs), 1e-6)


@keras.saving.register_keras_serializable("portrait_tf")
def group_overlap(labels: Tensor, logits: Tensor, mask: Tensor) -> Tensor:
    """1 - Dice of each photo's label groups inside the hole.

    Dice of a single photo (Milletari et al., arXiv 1606.04797) asks for a decision:
    where a shoe could be at two places, half a shoe at both overlaps less than a whole
    one at either. Groups that do not occur in a photo's hole are left out.

    Args:
        labels: Integers `[B, H, W]`; 20 and above is void, and does not count.
        logits: `[B, H, W, 20]`.
        mask: `[B, H, W, 1]`, 1.0 = hole.
    """
    safe, known = _known(labels)
    weights = mask * known[..., None]
    truth = weights * grouped(ops.one_hot(safe, NUM_LABELS))
    found = weights * grouped(ops.softmax(logits, axis=-1))
    both = ops.sum(truth * found, axis=(1, 2))
    present = ops.sum(truth, axis=(1, 2))
    sums = present + ops.sum(found, axis=(1, 2))
    occurs = ops.cast(present > 0, "float32")
    missed = occurs * (1.0 - 2.0 * both / ops.maximum(sums, 1e-6))
    return replicas.ratio(ops.sum(missed), ops.sum(occurs), 1e-6)


@keras.saving.register_keras_serializable("portrait_tf")
def inverse_sqrt_weights(labels: Tensor) -> Tensor:
    """Weights `[B, H, W]` of pixels: 1 / sqrt(their label's part of the batch).

    So a label's share in the loss grows with the root of its area. Counted in the
    batch, for a data set's counts would have to be measured first; our choice.

    Args:
        labels: Integers `[B, H, W]`; void pixels weigh 0.
    """
    safe, known = _known(labels)
    counts = ops.sum(ops.one_hot(safe, NUM_LABELS) * known[..., None], axis=(0, 1, 2))
    counts = replicas.total(counts)
    parts = counts / ops.maximum(ops.sum(counts), 1.0)
    return known * ops.take(1.0 / ops.sqrt(ops.maximum(parts, 1e-6)), safe)


@keras.saving.register_keras_serializable("portrait_tf")
def pose_error(target: Tensor, heatmaps: Tensor) -> Tensor:
    """Squared error over all maps, in units of one joint's own squared sum.

    1.0 means as wrong as an empty answer; JPPNet's root of the same sum
    (`root_pose_error`) has another unit at every size, and its gradient does not
    shrink as the answer gets better. Our choice.

    Args:
        target: `[B, H, W, 16]`.
        heatmaps: `[B, H, W, 16]`.
    """
    squared = ops.sum((target - heatmaps) ** 2)
    return replicas.ratio(squared, ops.sum(target**2), 1.0)


@keras.saving.register_keras_serializable("portrait_tf")
def root_pose_error(target: Tensor, heatmaps: Tensor) -> Tensor:
    """JPPNet's: the root of the summed squared error, a mean over the batch.

    Args:
        target: `[B, H, W, 16]`.
        heatmaps: `[B, H, W, 16]`.
    """
    squared = ops.sum((target - heatmaps) ** 2, axis=(1, 2, 3))
    # The root has no gradient at 0.
    return ops.mean(ops.sqrt(ops.maximum(squared, 1e-12)))
