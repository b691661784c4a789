import numpy as np
import pytest
import tensorflow as tf

from portrait_tf.errors import PortraitError
from portrait_tf.inference.engines import PipelineEngine
from portrait_tf.inference.pipeline import Pipeline
from portrait_tf.labels import LABELS
from portrait_tf.models import CompletionNetwork
from portrait_tf.models.parsing import find_structure


def photo_and_mask(size, seed=0, batch=1):
    rng = np.random.default_rng(seed)
    photo = rng.integers(0, 256, (batch, *size, 3)).astype(np.uint8)
    mask = np.zeros((batch, *size, 1), np.uint8)
    mask[:, size[0] // 3 : size[0] // 3 * 2 + 1, size[1] // 4 :] = 1
    return photo, mask


@pytest.mark.parametrize("size", [(32, 32), (64, 40), (33, 97), (200, 300), (5, 3)])
@pytest.mark.parametrize("batch", [1, 3])
def test_any_size_keeps_known_pixels_bit_for_bit(tiny_pipeline, size, batch):
    photo, mask = photo_and_mask(size, batch=batch)
    result = tiny_pipeline(photo, mask)
    completed, parsing = (result[name].numpy() for name in ("completed", "parsing"))
    assert completed.shape == photo.shape and completed.dtype == np.uint8
    assert parsing.shape == mask.shape and parsing.dtype == np.uint8
    assert parsing.max() < 20
    known = mask[..., 0] == 0
    np.testing.assert_array_equal(completed[known], photo[known])
    assert (completed[~known] != photo[~known]).any()


def test_what_is_under_the_mask_does_not_matter(tiny_pipeline):
    photo, mask = photo_and_mask((75, 50))
    other = np.where(mask > 0, 255 - photo, photo)
    one, two = (tiny_pipeline(x, mask)["completed"].numpy() for x in (photo, other))
    np.testing.assert_array_equal(one, two)


def test_each_photo_of_a_batch_has_its_own_mask(tiny_pipeline):
    photo, _ = photo_and_mask((40, 30), batch=2)
    mask = np.zeros((2, 40, 30, 1), np.uint8)
    mask[0, :10], mask[1, 20:] = 255, 255
    together = tiny_pipeline(photo, mask)["completed"].numpy()
    for index in range(2):
        alone = tiny_pipeline(photo[index][None], mask[index][None])["completed"]
        difference = np.abs(together[index].astype(int) - alone.numpy()[0])
        assert difference.max() <= 1


def test_the_frame_below_and_beside_the_photo_is_hole(tiny_pipeline):
    photo, mask = photo_and_mask((20, 40))
    mask[:] = 0
    small, small_mask, place = tiny_pipeline.shrink(photo, mask)
    assert [int(edge) for edge in place] == [0, 0, 16, 32]
    assert (
        small_mask.numpy()[0, :16].max() == 0 and small_mask.numpy()[0, 16:].min() == 1
    )
    small, small_mask, place = tiny_pipeline.shrink(
        photo.transpose(0, 2, 1, 3), mask.transpose(0, 2, 1, 3)
    )
    assert [int(edge) for edge in place] == [0, 8, 32, 16]


def test_shrinking_lets_nothing_of_the_hole_leak(tiny_pipeline):
    photo = np.full((1, 96, 96, 3), 200, np.uint8)
    mask = np.zeros((1, 96, 96, 1), np.uint8)
    mask[:, 31:64, 31:64] = 1
    photo[:, 31:64, 31:64] = 0
    small, small_mask, _ = tiny_pipeline.shrink(photo, mask)
    known = small_mask.numpy()[..., 0] == 0
    np.testing.assert_allclose(small.numpy()[known], 200 / 127.5 - 1, atol=1e-5)


def test_joints_are_in_pixels_of_the_photo(tiny_pipeline, tiny_engine):
    photo, mask = photo_and_mask((200, 100))
    joints = tiny_engine.joints(photo[0], mask[0, ..., 0])
    assert joints.shape == (16, 3)
    structure = find_structure(
        tiny_pipeline.parsing_network, *tiny_pipeline.shrink(photo, mask)[:2]
    )
    heatmap = structure["pose_2"].numpy()[0, ..., 4]
    row, column = np.unravel_index(heatmap.argmax(), heatmap.shape)
    # 32x32 holds the photo in 16 columns, from column 8 on; a cell is 4 pixels, and the
    # joint is at most half a cell from the highest one.
    x, y = (column + 0.5) * 4 - 8, (row + 0.5) * 4
    assert abs(joints[4, 0] - ((x + 0.5) * 100 / 16 - 0.5)) <= 12.5 + 1e-3
    assert abs(joints[4, 1] - ((y + 0.5) * 200 / 32 - 0.5)) <= 12.5 + 1e-3


def test_another_rank_is_an_error_and_no_crash(tiny_pipeline):
    call = tf.function(tiny_pipeline.__call__, autograph=False)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        call(tf.zeros([8, 8, 3], tf.uint8), tf.zeros([1, 8, 8, 1], tf.uint8))


def test_networks_of_two_sizes_are_refused(tiny_pipeline):
    other = CompletionNetwork(size=(48, 32), widths=(8, 8, 8), dilations=(1,))
    with pytest.raises(PortraitError, match="expected one size"):
        Pipeline(tiny_pipeline.parsing_network, other)


class TestFace:
    """The third network: in the hole of a face alone, or nowhere."""

    def without(self, pipeline):
        return Pipeline(pipeline.parsing_network, pipeline.completion_network)

    @pytest.mark.parametrize("size", [(32, 32), (33, 97)])
    def test_it_changes_the_hole_alone(self, tiny_face_pipeline, size):
        photo, mask = photo_and_mask(size, batch=2)
        before, after = (
            pipeline(photo, mask)["completed"].numpy()
            for pipeline in (self.without(tiny_face_pipeline), tiny_face_pipeline)
        )
        known = mask[..., 0] == 0
        np.testing.assert_array_equal(after[known], photo[known])
        assert (after[~known] != before[~known]).any()

    def test_photos_without_a_face_are_bit_for_bit_what_stage_2_gave(
        self, tiny_face_pipeline
    ):
        rng = np.random.default_rng(0)
        image = rng.uniform(-1, 1, (3, 32, 32, 3)).astype(np.float32)
        mask = np.zeros((3, 32, 32, 1), np.float32)
        mask[:, 8:16, 4:28] = 1
        labels = np.zeros((3, 32, 32), int)
        # A face in the hole, none, and one far from the hole.
        labels[0, 10:18, 8:18] = labels[2, 24:32, 0:8] = LABELS.index("Face")
        parsing = tf.one_hot(labels, 20)
        result = tiny_face_pipeline.networks(image, mask, parsing)
        assert result["face_found"].numpy().tolist() == [True, False, False]
        before, after = (result[k].numpy() for k in ("unrefined", "completed"))
        assert (before[0] != after[0]).any()
        np.testing.assert_array_equal(before[1:], after[1:])
        plain = self.without(tiny_face_pipeline).networks(image, mask, parsing)
        np.testing.assert_array_equal(plain["completed"].numpy(), before)

    def test_a_graph_answers_as_eager_code_does(self, tiny_face_pipeline):
        photo, mask = photo_and_mask((75, 50), batch=2)
        eager = tiny_face_pipeline(photo, mask)["completed"].numpy()
        engine = PipelineEngine(tiny_face_pipeline)
        for index in range(2):
            completed, _ = engine.complete(photo[index], mask[index, ..., 0])
            assert np.abs(completed.astype(int) - eager[index]).max() <= 1

    def test_the_export_tracks_it(self, tiny_face_pipeline):
        networks = tiny_face_pipeline.keras_models
        assert [network.name for network in networks] == [
            "parsing_network", "completion_network", "face_network",
        ]  # fmt: skip

    def test_the_bundled_one_may_be_left_out(self):
        assert Pipeline.bundled().face_network.size == (64, 64)
        assert Pipeline.bundled(face=False).face_network is None
