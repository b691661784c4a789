import logging

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf

from portrait_tf.config import Config
from portrait_tf.data.augment import prepare
from portrait_tf.data.dataset import (
    reraise_data_error,
    training_dataset,
    training_sample,
    validation_dataset,
)
from portrait_tf.data.lip import LipDataset
from portrait_tf.data.masks import EVALUATION_TASKS, evaluation_mask
from portrait_tf.data.mixture import sample_index
from portrait_tf.data.sample import Sample
from portrait_tf.errors import PortraitError

CONFIG = Config(size=(48, 32))
KEYS = {"image", "mask", "parsing", "joints"}


def samples(count: int = 5) -> list[Sample]:
    made = []
    for index in range(count):
        rng = np.random.default_rng(index)
        parsing = np.zeros((60, 40), np.uint8)
        parsing[10:50, 12:28] = 5 + index
        joints = np.full((16, 3), np.nan, np.float32)
        joints[8] = 20, 12, 0
        photo = rng.integers(0, 256, (60, 40, 3), np.uint8)
        made.append(Sample(str(index), photo, parsing, joints))
    return made


def elements(dataset) -> list[dict[str, np.ndarray]]:
    return list(dataset.as_numpy_iterator())


def assert_equal(first: list, second: list) -> None:
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert set(one) == set(other) == KEYS
        for key in KEYS:
            np.testing.assert_array_equal(one[key], other[key])


def test_shapes_types_and_ranges():
    dataset = training_dataset(samples(), CONFIG, 3, last_step=2)
    assert dataset.element_spec == {
        "image": tf.TensorSpec((3, 48, 32, 3), tf.float32),
        "mask": tf.TensorSpec((3, 48, 32, 1), tf.float32),
        "parsing": tf.TensorSpec((3, 48, 32), tf.int32),
        "joints": tf.TensorSpec((3, 16, 3), tf.float32),
    }
    batches = elements(dataset)
    assert len(batches) == 2
    for batch in batches:
        assert -1 <= batch["image"].min() < -0.5
        assert 0.5 < batch["image"].max() <= 1
        assert set(np.unique(batch["mask"])) == {0, 1}
        assert set(np.unique(batch["joints"][..., 2])) == {0, 1}
        assert set(np.unique(batch["parsing"])) <= {0, 5, 6, 7, 8, 9, 255}


def test_every_epoch_has_each_sample_once_in_its_own_order():
    order = [sample_index(position, 10, seed=4) for position in range(30)]
    epochs = [order[start : start + 10] for start in (0, 10, 20)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert order != [sample_index(position, 10, seed=5) for position in range(30)]


def test_a_stream_follows_from_its_seed_and_step():
    full, again, resumed, other = (
        elements(training_dataset(samples(), CONFIG, 3, first, 7, seed))
        for first, seed in ((0, 1), (0, 1), (3, 1), (0, 2))
    )
    assert len(full) == 7
    assert_equal(again, full)
    assert_equal(resumed, full[3:])
    assert (full[0]["image"] != other[0]["image"]).any()
    assert len(list(training_dataset(samples(2), CONFIG, 4).take(6))) == 6


def test_a_sample_changes_from_epoch_to_epoch():
    one = samples(1)
    first, second = (training_sample(one, CONFIG, position, 0) for position in (0, 1))
    assert (first["image"] != second["image"]).any()
    assert (first["mask"] != second["mask"]).any()


def test_validation_takes_the_tasks_in_turn():
    batches = elements(validation_dataset(samples(), CONFIG, 2, 5, seed=9))
    assert [len(batch["image"]) for batch in batches] == [2, 2, 1]
    images, masks = (
        np.concatenate([batch[key] for batch in batches]) for key in ("image", "mask")
    )
    for index, task in enumerate([*EVALUATION_TASKS, EVALUATION_TASKS[0]]):
        prepared = prepare(samples()[index], CONFIG.size)
        # The images are complete.
        expected = prepared["image"] / 127.5 - 1
        np.testing.assert_allclose(images[index], expected, atol=1e-6)
        seed, parsing = [9, index], prepared["parsing"]
        expected = evaluation_mask(task, seed, CONFIG.size, parsing=parsing)
        np.testing.assert_array_equal(masks[index, ..., 0], expected > 0)
    assert_equal(batches, elements(validation_dataset(samples(), CONFIG, 2, 5, seed=9)))
    assert len(elements(validation_dataset(samples(), CONFIG, 2, 100))) == 3
    assert elements(validation_dataset(samples(), CONFIG, 2, 0)) == []


def test_samples_without_annotation():
    reader = [Sample("one", samples(1)[0].photo)]
    batch = elements(training_dataset(reader, CONFIG, 2, last_step=1))[0]
    assert (batch["parsing"] == 255).all()
    assert not batch["joints"].any()
    assert batch["mask"].any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("make", [training_dataset, validation_dataset])
def test_an_empty_data_set(make):
    with pytest.raises(PortraitError, match="at least one sample"):
        make([], CONFIG, 2, 2)


def lip_folder(root):
    images = root / "TrainVal_images" / "train_images"
    images.mkdir(parents=True)
    for sample in samples(4):
        cv2.imwrite(str(images / f"{sample.name}.png"), sample.photo)
    (images / "2.png").write_bytes(b"no photo")
    return root


def fit(dataset):
    model = keras.Sequential([keras.layers.Conv2D(3, 1)])
    model.compile(loss="mse")
    pairs = dataset.map(lambda batch: (batch["image"], batch["image"]))
    model.fit(pairs, shuffle=False, verbose=0)


@pytest.mark.parametrize("read", [elements, fit])
def test_a_broken_sample_is_reported_by_its_file(tmp_path, read):
    dataset = training_dataset(LipDataset(lip_folder(tmp_path)), CONFIG, 4, last_step=1)
    with pytest.raises(tf.errors.OpError) as raised:
        read(dataset)
    with pytest.raises(PortraitError) as error:
        reraise_data_error(raised.value)
    images = tmp_path / "TrainVal_images" / "train_images"
    assert str(error.value) == (
        f"{images / '2.png'}: expected a photo (JPEG, PNG, WebP, TIFF, BMP, AVIF, "
        "HEIC, GIF or JPEG 2000), cannot decode it"
    )
    assert error.value.__cause__ is raised.value


def test_other_errors_stay_what_they_are():
    def broken(value):
        raise KeyError("elsewhere")

    dataset = tf.data.Dataset.range(1).map(
        lambda value: tf.numpy_function(broken, [value], tf.float32)
    )
    with pytest.raises(tf.errors.OpError) as raised:
        list(dataset)
    for error in (raised.value, RuntimeError("PortraitError: x\nTraceback (most")):
        with pytest.raises(type(error)) as again:
            reraise_data_error(error)
        assert again.value is error


def test_broken_samples_are_left_out_and_counted(tmp_path, caplog):
    reader = LipDataset(lip_folder(tmp_path), skip_broken=True)
    with caplog.at_level(logging.WARNING, "portrait_tf"):
        batches = elements(validation_dataset(reader, CONFIG, 4, 4))
    assert len(batches[0]["image"]) == 3
    assert "broken samples left out: 1;" in caplog.text
    assert "2.png" in caplog.text
    reader = LipDataset(tmp_path, skip_broken=True)
    for name in "013":
        path = tmp_path / "TrainVal_images" / "train_images" / f"{name}.png"
        path.write_bytes(b"")
    with pytest.raises(PortraitError, match="at least one sample"):
        training_dataset(reader, CONFIG, 2)
