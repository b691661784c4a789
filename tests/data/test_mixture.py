"""Several data sets in one training stream."""

import collections

import numpy as np
import pytest
from test_dataset import CONFIG, assert_equal, elements, lip_folder, samples

from portrait_tf.data.cache import Budget, CachedReader
from portrait_tf.data.dataset import training_dataset, usable_reader
from portrait_tf.data.lip import LipDataset
from portrait_tf.data.mixture import Mixture, sample_index
from portrait_tf.data.sample import Sample
from portrait_tf.errors import PortraitError


def named(prefix: str, count: int) -> list[Sample]:
    photo = np.zeros((4, 4, 3), np.uint8)
    return [Sample(f"{prefix}{number}", photo) for number in range(count)]


def drawn(reader: Mixture, epochs: int, seed: int = 1) -> list[list[str]]:
    """Names by epoch."""
    length = sum(reader.draws)
    return [
        [
            reader[reader.index_at(epoch * length + place, seed)].name
            for place in range(length)
        ]
        for epoch in range(epochs)
    ]


def test_as_a_sequence_it_is_one_after_the_other():
    reader = Mixture([named("a", 2), named("b", 3)])
    assert [reader[index].name for index in range(len(reader))] == [
        "a0", "a1", "b0", "b1", "b2",
    ]  # fmt: skip
    for index in (-1, 5):
        with pytest.raises(IndexError):
            reader[index]
    assert [reader.source(index) for index in range(5)] == [0, 0, 1, 1, 1]
    assert [reader.part(source) for source in (0, 1)] == [range(2), range(2, 5)]


def test_without_weights_an_epoch_holds_every_sample_once():
    reader = Mixture([named("a", 7), named("b", 3)])
    first, second = drawn(reader, 2)
    assert sorted(first) == sorted(second) == sorted(s.name for s in reader)
    assert first != second


def test_weights_are_the_parts_of_every_epoch():
    reader = Mixture([named("a", 12), named("b", 4)], weights=(1, 3))
    assert reader.draws == (4, 12)
    epochs = drawn(reader, 6)
    for names in epochs:
        assert collections.Counter(name[0] for name in names) == {"a": 4, "b": 12}
    # Three epochs go once through a; a third of one goes once through b.
    of_a = [name for names in epochs for name in names if name[0] == "a"]
    of_b = [name for names in epochs for name in names if name[0] == "b"]
    for of_one, length in ((of_a, 12), (of_b, 4)):
        for first in range(0, len(of_one), length):
            assert len(set(of_one[first : first + length])) == length


def test_a_data_set_that_is_hardly_wanted_still_comes():
    reader = Mixture([named("a", 5), named("b", 5)], weights=(1000, 1))
    assert reader.draws == (10, 1)


def test_what_is_drawn_follows_from_seed_and_position():
    one, two = (Mixture([named("a", 9), named("b", 4)], (2, 1)) for _ in range(2))
    assert drawn(one, 3) == drawn(two, 3)
    assert drawn(one, 3) != drawn(two, 3, seed=2)
    assert one.index_at(31, 1) == two.index_at(31, 1)


def test_one_data_set_is_drawn_as_before():
    for reader in (Mixture([named("a", 6)]), Mixture([named("a", 6)], (3.0,))):
        for position in range(18):
            assert reader.index_at(position, 4) == sample_index(position, 6, 4)


@pytest.mark.parametrize(
    ("lengths", "weights", "message"),
    [
        ((2, 3), (1,), "a weight for each of 2 data sets, received 1"),
        ((2,), (1, 2), "a weight for each of 1 data sets, received 2"),
        ((2, 3), (1, 0), "weights above 0, received 0"),
        ((2, 0), None, r"at least one sample each, received lengths of \[2, 0\]"),
    ],
)
def test_mistakes(lengths, weights, message):
    with pytest.raises(PortraitError, match=message):
        Mixture([named(str(length), length) for length in lengths], weights)


def test_a_resumed_mixture_goes_on_where_it_stopped():
    bare = [Sample("bare", samples(1)[0].photo)]
    reader = Mixture([samples(3), bare], (1, 1))
    full, resumed = (
        elements(training_dataset(reader, CONFIG, 2, first_step=first, last_step=6))
        for first in (0, 2)
    )
    assert_equal(resumed, full[2:])
    unlabelled = [(photo == 255).all() for batch in full for photo in batch["parsing"]]
    assert sum(unlabelled) == 6
    assert all(batch["mask"].any(axis=(1, 2, 3)).all() for batch in full)


def test_broken_samples_of_any_data_set_are_left_out(tmp_path):
    broken = LipDataset(lip_folder(tmp_path), skip_broken=True)
    for reader in (Mixture([samples(2), broken]), Mixture([broken, samples(2)])):
        usable = usable_reader(reader)
        assert len(usable) == 5 and list(usable.broken) == ["2"]
        assert not usable.skip_broken
    assert not Mixture([samples(2), samples(3)]).skip_broken


class Counting:
    """A reader that counts what it is asked."""

    def __init__(self, count: int):
        self.samples, self.asked = samples(count), collections.Counter()

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        self.asked[index] += 1
        return self.samples[index]


def test_a_cache_reads_once_what_it_has_room_for():
    size = 60 * 40 * 4  # Photo and label map.
    source = Counting(3)
    cached = CachedReader(source, Budget(2.5 * size))
    for _ in range(3):
        assert [cached[index].name for index in range(3)] == ["0", "1", "2"]
    assert source.asked == {0: 1, 1: 1, 2: 3}
    assert len(cached) == 3 and cached[1] is source.samples[1]


def test_caches_share_one_budget():
    one, two = Counting(1), Counting(1)
    budget = Budget(60 * 40 * 4)
    for reader in (CachedReader(one, budget), CachedReader(two, budget)):
        reader[0], reader[0]
    assert (one.asked[0], two.asked[0], budget.left) == (1, 2, 0)


def test_a_cached_stream_is_the_same_stream(tmp_path):
    folder = lip_folder(tmp_path)
    plain, cached = (
        wrap(LipDataset(folder, skip_broken=True))
        for wrap in (lambda one: one, lambda one: CachedReader(one, Budget(1e6)))
    )
    streams = [
        elements(training_dataset(reader, CONFIG, 2, last_step=5))
        for reader in (plain, cached, usable_reader(cached))
    ]
    assert_equal(streams[0], streams[1])
    assert_equal(streams[0], streams[2])
    assert list(usable_reader(cached).broken) == ["2"]
