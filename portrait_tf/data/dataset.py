"""`tf.data` streams for training and validation.

A reader is anything with `__len__` and `__getitem__` that gives `Sample`s, a plain
list too; a `Mixture` of several says itself how often each comes. An element of a
stream is a dict of

* `image`: `float32` `[B, h, w, 3]` in [-1, 1], the complete photo, without its hole;
* `mask`: `float32` `[B, h, w, 1]`, 1.0 in the hole and 0.0 elsewhere;
* `parsing`: `int32` `[B, h, w]`, LIP's labels, 255 is void;
* `joints`: `float32` `[B, 16, 3]`, x and y in working pixels and a weight of 1 or 0.

Training samples are numbered by their position in one endless stream, and all that is
random about a sample follows from the seed and its position. So a run that is resumed
at some step sees exactly what it would have seen.
"""

import logging
import re
from collections.abc import Callable
from typing import NoReturn

import numpy as np
import tensorflow as tf

from portrait_tf.config import Config
from portrait_tf.data.augment import prepare
from portrait_tf.data.distortion import swing_arms
from portrait_tf.data.masks import EVALUATION_TASKS, evaluation_mask, random_mask
from portrait_tf.data.mixture import SAMPLE, Reader, as_mixture
from portrait_tf.errors import PortraitError
from portrait_tf.labels import NUM_JOINTS

_logger = logging.getLogger(__name__)

_KEYS = ("image", "mask", "parsing", "joints")

_TYPES = (tf.uint8, tf.uint8, tf.uint8, tf.float32)


def training_sample(
    reader: Reader, config: Config, position: int, seed: int
) -> dict[str, np.ndarray]:
    """The sample at a position of the training stream, with a random hole.

    Args:
        reader, seed: As in `training_dataset`.
        config: Uses `size`, `augmentation`, `masks` and `data.backgrounds`.
        position: 0 for the first sample of the run.

    Returns:
        As `portrait_tf.data.augment.prepare`, and `mask`: `uint8` `[h, w]`, 255 in
        the hole.
    """
    rng = np.random.default_rng([seed, SAMPLE, position])
    mixture = as_mixture(reader)
    index = mixture.index_at(position, seed)
    # Of the same data set: drawn people in front of photos would be neither.
    others = mixture.part(mixture.source(index))
    augmentation = config.augmentation
    if config.data.backgrounds is not None:
        elsewhere = mixture.backgrounds(index, config.data.backgrounds)
        if elsewhere != others:
            augmentation = augmentation.model_copy(update={"background": 1.0})
        others = elsewhere
    prepared = prepare(
        reader[index],
        config.size,
        rng,
        augmentation,
        lambda rng: reader[others[int(rng.integers(len(others)))]],
    )
    mask = random_mask(rng, config.size, config.masks, prepared["parsing"])
    if augmentation.swing:
        prepared["parsing"], prepared["joints"] = swing_arms(
            rng, prepared["parsing"], prepared["joints"], mask, augmentation.swing
        )
    return {**prepared, "mask": mask}


def validation_sample(
    reader: Reader,
    config: Config,
    index: int,
    seed: int,
    tasks: tuple[str, ...] = EVALUATION_TASKS,
) -> dict[str, np.ndarray]:
    """A sample as it is, with the hole of an evaluation task.

    Args:
        reader, config, seed, tasks: As in `validation_dataset`.
        index: Of the sample; the tasks take turns.

    Returns:
        As `training_sample`.
    """
    prepared = prepare(reader[index], config.size)
    task = tasks[index % len(tasks)]
    joints, parsing = prepared["joints"], prepared["parsing"]
    mask = evaluation_mask(task, [seed, index], config.size, joints, parsing)
    return {**prepared, "mask": mask}


def usable_reader(reader: Reader) -> Reader:
    """Leaves out broken samples, if the reader is to be read that way.

    A reader says so by an attribute `skip_broken` that is true, and has a method
    `usable` that gives the reader of the rest, with the others' names and messages in
    its `broken`. How many were left out, and why the first, is logged.

    Raises:
        PortraitError: No sample is left, or there was none.
    """
    if getattr(reader, "skip_broken", False):
        reader = reader.usable()
        if reader.broken:
            _logger.warning(
                "broken samples left out: %d; the first: %s",
                len(reader.broken),
                next(iter(reader.broken.values())),
            )
    if not len(reader):
        raise PortraitError("expected a data set with at least one sample, got none")
    return reader


def _stream(
    positions: tf.data.Dataset,
    make: Callable[[int], dict[str, np.ndarray]],
    size: tuple[int, int],
    batch_size: int,
    drop_remainder: bool,
) -> tf.data.Dataset:
    shapes = ([*size, 3], size, size, [NUM_JOINTS, 3])

    def make_arrays(position: np.int64) -> tuple[np.ndarray, ...]:
        element = make(int(position))
        return tuple(element[key] for key in _KEYS)

    def load(position: tf.Tensor) -> dict[str, tf.Tensor]:
        arrays = tf.numpy_function(make_arrays, [position], _TYPES)
        return {
            key: tf.ensure_shape(array, shape)
            for key, array, shape in zip(_KEYS, arrays, shapes, strict=True)
        }

    def convert(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {
            "image": tf.cast(batch["image"], tf.float32) / 127.5 - 1.0,
            "mask": tf.cast(batch["mask"] > 0, tf.float32)[..., tf.newaxis],
            "parsing": tf.cast(batch["parsing"], tf.int32),
            "joints": batch["joints"],
        }

    return (
        positions.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(batch_size, drop_remainder=drop_remainder)
        .map(convert)
        .prefetch(2)
    )


def training_dataset(
    reader: Reader,
    config: Config,
    batch_size: int,
    first_step: int = 0,
    last_step: int | None = None,
    seed: int = 0,
    part: tuple[int, int] = (0, 1),
    replicas: int = 1,
) -> tf.data.Dataset:
    """Batches for the steps `first_step` up to, not including, `last_step`.

    Args:
        reader: The data set.
        config: Uses `size`, `augmentation` and `masks`.
        batch_size: Samples a step.
        first_step: Where to begin; the steps before it are not computed.
        last_step: Where to stop; None never does.
        seed: Of the order, the random changes and the holes.
        part: Which part of every batch, and of how many: those of all workers, one
            after the other, are the batch. The others' photos are not read.
        replicas: Into how many equal batches the part is cut.

    Returns:
        A data set of the dicts that the module describes.

    Raises:
        PortraitError: The data set is empty. While the stream is read, a broken
            sample is an error of TensorFlow: give it to `reraise_data_error`.
    """
    reader = as_mixture(usable_reader(reader))
    index, parts = part
    own = batch_size // parts
    before = first_step * batch_size + index * own
    endless = np.iinfo(np.int64).max
    count = endless if last_step is None else (last_step - first_step) * own
    positions = tf.data.Dataset.range(count)
    positions = positions.map(lambda n: before + n // own * batch_size + n % own)
    return _stream(
        positions,
        lambda position: training_sample(reader, config, position, seed),
        config.size,
        own // replicas,
        drop_remainder=True,
    )


def validation_dataset(
    reader: Reader,
    config: Config,
    batch_size: int,
    count: int,
    seed: int = 0,
    tasks: tuple[str, ...] = EVALUATION_TASKS,
) -> tf.data.Dataset:
    """The first `count` samples, unchanged, with fixed holes; the tasks take turns.

    Args:
        reader: The data set.
        config: Uses `size`.
        batch_size: Samples a batch; the last batch may have fewer.
        count: How many samples; all, if the data set has fewer.
        seed: Of the holes.
        tasks: As `portrait_tf.data.masks.evaluation_mask` knows them.

    Returns:
        A finite data set of the dicts that the module describes.

    Raises:
        PortraitError: As `training_dataset`.
    """
    reader = usable_reader(reader)
    return _stream(
        tf.data.Dataset.range(min(count, len(reader))),
        lambda index: validation_sample(reader, config, index, seed, tasks),
        config.size,
        batch_size,
        drop_remainder=False,
    )


def reraise_data_error(error: BaseException) -> NoReturn:
    """Raises the `PortraitError` inside an error of TensorFlow, or else that error.

    TensorFlow hands an exception of a stream on as text only, wrapped in its own.

    Args:
        error: What reading a stream, or `fit`, has raised.

    Raises:
        PortraitError: The stream met a broken sample; the message is the sample's.
    """
    found = re.search(r"PortraitError: (.*?)\n+Traceback \(most", str(error), re.DOTALL)
    if isinstance(error, tf.errors.OpError) and found:
        raise PortraitError(found.group(1).strip()) from error
    raise error
