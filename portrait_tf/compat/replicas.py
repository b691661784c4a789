"""Sums and means over the replicas that share a batch.

A replica is a device that has a copy of all weights and a part of the batch. Within
TensorFlow's `strategy.run` these functions reach the other replicas; elsewhere, and on
other backends, there is one replica and they change nothing.

A step's loss is the mean of the replicas' losses. A mean over photos needs no exchange,
since all replicas have equally many. A ratio of sums over the batch does: use `ratio`
or `total`.
"""

import keras

from portrait_tf.compat import Tensor, ops


def _context() -> object | None:
    """TensorFlow's replica context, where there is more than one replica."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    alone = context is None or context.num_replicas_in_sync == 1
    return None if alone else context


def _placed(context: object, x: Tensor) -> Tensor:
    """The tensor on its replica's device; a constant is on none, and not exchanged."""
    import tensorflow as tf

    devices = context.strategy.extended.worker_devices
    index = int(tf.get_static_value(context.replica_id_in_sync_group))
    with tf.device(devices[index % len(devices)]):
        return tf.identity(x)


def count() -> int:
    """How many replicas share the batch."""
    context = _context()
    return 1 if context is None else context.num_replicas_in_sync


def total(x: Tensor) -> Tensor:
    """The sum of a tensor over the replicas; gradients flow to all of them."""
    context = _context()
    return x if context is None else context.all_reduce("SUM", _placed(context, x))


def mean(tensors: list) -> list:
    """Means of tensors over the replicas, all in one exchange; None stays None."""
    context = _context()
    if context is None:
        return list(tensors)
    given = [_placed(context, one) for one in tensors if one is not None]
    means = iter(context.all_reduce("MEAN", given) if given else [])
    return [None if one is None else next(means) for one in tensors]


def ratio(numerator: Tensor, denominator: Tensor, smallest: float) -> Tensor:
    """A replica's part of a ratio of sums over the whole batch.

    The mean of the parts over the replicas is `sum(numerator) / max(sum(denominator),
    smallest)`, which is what one replica with the whole batch has.

    Args:
        numerator: Scalar, of this replica's photos.
        denominator: Scalar, of this replica's photos; it is not differentiated.
        smallest: Of the denominator.
    """
    return count() * numerator / ops.maximum(total(denominator), smallest)


def own_rows(x: Tensor) -> Tensor:
    """This replica's rows of a tensor that has those of the whole batch."""
    context = _context()
    if context is None:
        return x
    rows = ops.shape(x)[0] // context.num_replicas_in_sync
    first = context.replica_id_in_sync_group * rows
    return x[first : first + rows]


def takes_mean_gradients(optimizer: keras.optimizers.Optimizer) -> None:
    """Keeps an optimizer from adding up gradients that are means over the replicas.

    Keras clips a replica's own gradients, then sums them up. A trainer takes the mean
    first, so that the gradient of the whole batch is clipped.
    """
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    if tf.distribute.has_strategy():
        if not hasattr(optimizer, "_all_reduce_sum_gradients"):
            raise NotImplementedError("this Keras' optimizers add gradients elsewhere")
        optimizer._all_reduce_sum_gradients = list
