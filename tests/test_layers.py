import keras
import numpy as np
import pytest
import tensorflow as tf

from portrait_tf import layers, losses, metrics
from portrait_tf.compat import ops
from portrait_tf.data.synthetic import synthesize
from portrait_tf.layers import (
    ParsingGuidedFill,
    PixelShuffle,
    PushPull,
    Upsample,
    crop_and_resize,
    hole_boxes,
    prefill,
    random_hole_boxes,
)
from portrait_tf.layers.prefill import diffuse


def test_pixel_shuffle_moves_channels_into_space():
    x = np.arange(8, dtype=np.float32).reshape(1, 1, 1, 8)
    out = np.array(PixelShuffle(2)(x))
    # Channel (row * 2 + column) * 2 + c goes to (row, column, c).
    np.testing.assert_array_equal(out, [[[[0, 1], [2, 3]], [[4, 5], [6, 7]]]])


def test_upsample_is_bilinear_between_pixel_centers():
    x = np.array([0.0, 4.0], np.float32).reshape(1, 1, 2, 1)
    np.testing.assert_allclose(
        np.array(Upsample(2)(x))[0, 0, :, 0], [0, 1, 3, 4], atol=1e-6
    )


@pytest.mark.parametrize(
    ("smooth", "kept"), [("none", 1), ("blur", 1 / 2), ("notch", 7 / 8)]
)
def test_a_shuffle_without_its_checkerboard(smooth, kept):
    shuffle = layers.PixelShuffle(2, smooth)
    checkerboard = np.tile(np.float32([1, -1, -1, 1]), (1, 6, 6, 1))
    left = 1.0 if smooth == "none" else 0.0
    found = np.array(shuffle(checkerboard))[0, 4:-4, 4:-4, 0]
    np.testing.assert_allclose(np.abs(found), left, atol=1e-6)
    # Columns of 1, 1, -1, -1, ...: a pattern of four pixels.
    waves = np.tile(np.float32([[1, 1, 1, 1], [-1, -1, -1, -1]]), (1, 6, 3, 1))
    found = np.array(shuffle(waves))[0, 4:-4, 4:-4, 0]
    np.testing.assert_allclose(np.abs(found), kept, atol=1e-6)


def test_a_dilated_convolution_answers_as_keras_own():
    x = np.random.default_rng(0).normal(size=(2, 11, 8, 3)).astype(np.float32)
    given = {"dilation_rate": 4, "padding": "same", "bias_initializer": "ones"}
    ours, theirs = (
        layers.DilatedConv2D(5, 3, **given),
        keras.layers.Conv2D(5, 3, **given),
    )
    ours.build(x.shape)
    theirs.build(x.shape)
    theirs.set_weights(ours.get_weights())
    wanted = np.array(theirs(x))
    for training in (False, True):
        found = np.array(ours(x, training=training))
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(ours(x, training=True) ** 2)
    assert all(np.any(one) for one in tape.gradient(loss, ours.trainable_variables))


@pytest.mark.parametrize(
    "one",
    [
        layers.ContextualAttention(5.0, False, 3, dtype="mixed_float16", name="some"),
        layers.DilatedConv2D(4, 3, dilation_rate=2, padding="same"),
        layers.LabelAttention(5, False, 4),
        layers.NoiseChannels(3, 7),
        layers.ParsingGuidedFill(3, label_relaxations=7, label_stride=8),
        layers.PartialConv2D(4, 5, 2, use_bias=False),
        layers.PixelShuffle(2, smooth="notch"),
        layers.PushPull(3),
        layers.SharpenParsing(3.0),
        layers.TextureNoise(9, trainable=False),
        layers.Upsample(3, "nearest"),
        losses.AdversarialLoss("wgan_gp"),
        losses.PerceptualLoss("vgg16", "random", {"block1_conv1": 2.0}, 2, 5, "unit"),
        losses.StyleLoss({"block1_conv1": 2.0}),
        metrics.HolePSNR("psnr"),
        metrics.PCKh(),
        metrics.ParsingIoU("iou"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_layers_losses_and_metrics_are_serializable(one):
    config = keras.saving.serialize_keras_object(one)
    copy = keras.saving.deserialize_keras_object(config)
    assert type(copy) is type(one) and copy.get_config() == one.get_config()


@pytest.mark.parametrize("name", losses.__all__)
def test_functions_of_losses_are_serializable(name):
    loss = getattr(losses, name)
    if not isinstance(loss, type):
        config = keras.saving.serialize_keras_object(loss)
        assert keras.saving.deserialize_keras_object(config) is loss


@pytest.mark.parametrize(
    "layer", [PixelShuffle(2), Upsample(2), layers.NoiseChannels(3, 7)]
)
def test_symbolic_and_real_shapes_agree(layer):
    inputs = keras.Input((None, None, 8))
    assert layer(inputs).shape[1:3] == (None, None)
    x = np.zeros((2, 3, 5, 8), np.float32)
    assert tuple(layer(x).shape) == layer.compute_output_shape((2, 3, 5, 8))


class TestPushPull:
    def fill(self, image, mask, levels=6):
        image = np.asarray(image, np.float32)
        return np.array(PushPull(levels)([image, np.asarray(mask, np.float32)]))

    def test_known_pixels_are_unchanged(self):
        rng = np.random.default_rng(0)
        image = rng.uniform(-1, 1, (2, 24, 16, 3))
        mask = (rng.uniform(size=(2, 24, 16, 1)) < 0.5).astype(float)
        filled = self.fill(image, mask)
        known = np.repeat(mask == 0, 3, axis=-1)
        np.testing.assert_allclose(filled[known], image[known], atol=1e-6)

    def test_a_relaxation_is_a_mean_over_the_pixels_there_are(self):
        rng = np.random.default_rng(1)
        x = rng.uniform(-1, 1, (1, 3, 4, 2)).astype(np.float32)
        known = np.zeros((1, 3, 4, 1), np.float32)
        known[0, 1, 1] = 1
        one, two = (np.array(diffuse(x, known, 1, steps)) for steps in (0, 1))
        mean = np.array(ops.average_pool(one, 3, 1, padding="same"))
        np.testing.assert_allclose(two, np.where(known, x, mean), atol=1e-6)

    def test_no_known_pixel_gives_zero(self):
        assert not self.fill(np.ones((1, 8, 8, 3)), np.ones((1, 8, 8, 1))).any()

    def test_few_long_steps_do_what_many_short_ones_do(self, monkeypatch):
        rng = np.random.default_rng(2)
        image = ops.average_pool(rng.uniform(-1, 1, (1, 96, 64, 3)), 3, 1, "same")
        mask = np.zeros((1, 96, 64, 1), np.float32)
        mask[:, 20:70, 10:50] = 1
        few = PushPull(relaxations=20)([image, mask])
        assert len(prefill._steps(20)) == 8 and np.isclose(sum(prefill._steps(20)), 20)
        monkeypatch.setattr(prefill, "_steps", lambda count: [1.0] * count)
        many = PushPull(relaxations=20)([image, mask])
        np.testing.assert_allclose(few, many, atol=0.02)

    def test_relaxed_it_solves_laplace(self):
        """Between two walls of fixed color a membrane is a straight line."""
        image = np.zeros((1, 16, 16, 1))
        image[:, :, 15] = 1
        mask = np.ones((1, 16, 16, 1))
        mask[:, :, [0, 15]] = 0
        filled = np.array(
            PushPull(4, relaxations=200)(
                [image.astype(np.float32), mask.astype(np.float32)]
            )
        )
        np.testing.assert_allclose(filled[0, 8, :, 0], np.linspace(0, 1, 16), atol=0.01)


class TestParsingGuidedFill:
    """A red person on a blue ground, the middle hidden, the parsing map known."""

    def scene(self):
        label = np.zeros((32, 32), int)
        label[:, 12:20] = 5
        image = np.where(label[..., None] == 5, [1.0, -1, -1], [-1.0, -1, 1])
        mask = np.zeros((1, 32, 32, 1), np.float32)
        mask[:, 8:24] = 1
        parsing = np.eye(20, dtype=np.float32)[label][None]
        return image[None].astype(np.float32), mask, parsing

    def test_a_coarser_grid_gives_nearly_the_same(self):
        """On a synthetic person, where colors are not flat."""
        portrait = synthesize(0, (192, 128))
        image = (portrait.photo[None] / 127.5 - 1).astype(np.float32)
        mask = np.zeros((1, 192, 128, 1), np.float32)
        mask[:, 100:, 30:90] = 1
        parsing = np.eye(20, dtype=np.float32)[np.minimum(portrait.parsing, 19)][None]
        fine, coarse, plain = (
            np.array(layer([image, mask, parsing][:count]))
            for layer, count in (
                (ParsingGuidedFill(), 3),
                (ParsingGuidedFill(label_relaxations=20, label_stride=8), 3),
                (PushPull(), 2),
            )
        )
        hole = mask[..., 0] > 0
        apart = np.abs(fine - coarse)[hole].mean()
        assert 0 < apart < 0.3 * np.abs(fine - plain)[hole].mean()

    def test_colors_go_on_by_label(self):
        image, mask, parsing = self.scene()
        filled = np.array(ParsingGuidedFill()([image * (1 - mask), mask, parsing]))
        # Away from the label's border, which is soft at half resolution.
        np.testing.assert_allclose(filled[0, 16, 14:18], image[0, 16, 14:18], atol=0.1)
        np.testing.assert_allclose(filled[0, 16, :9], image[0, 16, :9], atol=0.1)
        plain = np.array(PushPull()([image * (1 - mask), mask]))
        wrong = [np.abs(x - image)[mask[..., 0] > 0].mean() for x in (filled, plain)]
        assert wrong[0] < 0.5 * wrong[1]

    def test_known_pixels_are_unchanged_and_the_hole_is_not_read(self):
        image, mask, parsing = self.scene()
        one = np.array(ParsingGuidedFill()([image, mask, parsing]))
        two = np.array(ParsingGuidedFill()([image * (1 - mask), mask, parsing]))
        np.testing.assert_allclose(one, two, atol=1e-5)
        known = np.repeat(mask == 0, 3, axis=-1)
        np.testing.assert_array_equal(one[known], image[known])

    def test_a_label_that_is_not_seen_takes_what_is_near(self):
        image, mask, parsing = self.scene()
        parsing = parsing.copy()
        parsing[0, 8:24, 12:20] = np.eye(20)[18]
        filled = np.array(ParsingGuidedFill()([image * (1 - mask), mask, parsing]))
        assert np.isfinite(filled).all() and np.abs(filled).max() < 1.5

    def test_no_known_pixel_gives_zero(self):
        image, mask, parsing = self.scene()
        filled = ParsingGuidedFill()([image, np.ones_like(mask), parsing])
        assert not np.array(filled).any()


class TestHoleBoxes:
    def box(self, rows, columns, **arguments):
        mask = np.zeros((1, 40, 20, 1), np.float32)
        mask[:, slice(*rows), slice(*columns)] = 1
        return np.array(hole_boxes(mask, **arguments))[0].tolist()

    def test_hand_computed(self):
        # Rows 10 to 30 and 10 % of 20 on each side; columns at least half of 20.
        box = self.box((10, 30), (4, 8), context=0.1, smallest=0.5)
        assert box == pytest.approx([8, 1, 32, 11])

    def test_it_stays_in_the_photo(self):
        assert self.box((0, 4), (18, 20), context=0, smallest=0.5) == [0, 10, 20, 20]
        assert self.box((0, 40), (0, 20)) == [0, 0, 40, 20]

    def test_no_hole_gives_the_whole_photo(self):
        assert self.box((0, 0), (0, 0)) == [0, 0, 40, 20]


class TestRandomHoleBoxes:
    def test_each_is_about_the_pixel_of_the_hole_that_was_drawn(self):
        mask = np.zeros((1, 40, 20, 1), np.float32)
        mask[0, 10, 5:7] = mask[0, 30, 12:14] = 1
        chance = np.array([[0, 0.24, 0.25, 0.5, 0.99]], np.float32)
        boxes = np.array(random_hole_boxes(mask, chance, (8, 6)))[0]
        # Quarters of the chance for (10, 5), (10, 6), (30, 12), (30, 13).
        centers = np.array([(10, 5), (10, 5), (10, 6), (30, 12), (30, 13)])
        np.testing.assert_array_equal(boxes[:, :2], centers - (4, 3))
        np.testing.assert_array_equal(boxes[:, 2:], centers + (4, 3))

    def test_holes_far_apart_are_both_seen_as_often_as_they_are_large(self):
        mask = np.zeros((1, 64, 64, 1), np.float32)
        mask[0, :4, :4] = mask[0, 56:64, 56:60] = 1
        chance = np.random.default_rng(0).uniform(size=(1, 600)).astype(np.float32)
        boxes = random_hole_boxes(mask, chance, (16, 16))
        crops = np.array(crop_and_resize(mask, boxes, (16, 16)))
        assert crops.max((1, 2, 3)).min() == 1
        first = np.array(boxes)[0, :, 0] < 32
        assert first.mean() == pytest.approx(16 / 48, abs=0.06)

    def test_boxes_stay_in_the_photo_at_its_borders(self):
        mask = np.zeros((2, 10, 12, 1), np.float32)
        mask[0, 0, 11] = mask[1, 9, 0] = 1
        chance = np.full((2, 1), 0.5, np.float32)
        boxes = np.array(random_hole_boxes(mask, chance, (4, 6)))[:, 0]
        np.testing.assert_array_equal(boxes, [(0, 6, 4, 12), (6, 0, 10, 6)])
        # Larger than the photo: the photo.
        boxes = np.array(random_hole_boxes(mask, chance, (64, 8)))[:, 0]
        np.testing.assert_array_equal(boxes, [(0, 4, 10, 12), (0, 0, 10, 8)])

    def test_without_a_hole_it_may_be_anywhere(self):
        mask = np.zeros((1, 10, 12, 1), np.float32)
        chance = np.array([[0, 0.5, 0.999]], np.float32)
        boxes = np.array(random_hole_boxes(mask, chance, (2, 2)))[0]
        assert boxes[:, 0].tolist() == [0, 4, 8]


class TestCropAndResize:
    def test_a_box_at_its_own_size_is_a_slice(self):
        rng = np.random.default_rng(1)
        images = rng.uniform(size=(2, 12, 10, 3)).astype(np.float32)
        boxes = np.array([[2, 3, 8, 7], [0, 0, 6, 4]], np.float32)
        crops = np.array(crop_and_resize(images, boxes, (6, 4)))
        np.testing.assert_allclose(crops[0], images[0, 2:8, 3:7], atol=1e-6)
        np.testing.assert_allclose(crops[1], images[1, :6, :4], atol=1e-6)

    def test_constant_stays_constant_when_enlarged_and_shrunk(self):
        images = np.full((1, 12, 10, 1), 0.7, np.float32)
        boxes = np.array([[1, 1, 11, 9]], np.float32)
        for size in ((3, 3), (40, 30)):
            np.testing.assert_allclose(
                np.array(crop_and_resize(images, boxes, size)), 0.7, atol=1e-6
            )

    def test_shrinking_sees_every_pixel(self):
        images = np.zeros((1, 16, 16, 1), np.float32)
        images[:, 5, 9] = 1
        boxes = np.array([[0, 0, 16, 16]], np.float32)
        assert float(ops.sum(crop_and_resize(images, boxes, (4, 4)))) > 0.01

    def test_several_boxes_a_sample(self):
        images = np.random.default_rng(2).uniform(size=(2, 12, 10, 3)).astype("f")
        boxes = np.array(
            [[[0, 0, 6, 4], [2, 3, 8, 7]], [[6, 6, 12, 10], [1, 0, 7, 4]]], np.float32
        )
        crops = np.array(crop_and_resize(images, boxes, (6, 4)))
        np.testing.assert_allclose(crops[0], images[0, :6, :4], atol=1e-6)
        np.testing.assert_allclose(crops[1], images[0, 2:8, 3:7], atol=1e-6)
        np.testing.assert_allclose(crops[2], images[1, 6:, 6:], atol=1e-6)
        for index in (0, 1):
            one = crop_and_resize(images, boxes[:, index], (6, 4))
            np.testing.assert_allclose(crops[index::2], np.array(one), atol=1e-6)

    @pytest.mark.parametrize("several", [False, True])
    def test_gradients_reach_the_pixels_in_the_boxes_alone(self, several):
        mask = np.zeros((1, 32, 32, 1), np.float32)
        mask[0, 0:3, 0:3] = mask[0, 26:29, 14:17] = 1
        if several:
            chance = tf.constant([[0.1, 0.9]])
            boxes = random_hole_boxes(tf.constant(mask), chance, (8, 8))
        else:
            boxes = hole_boxes(tf.constant(mask))

        @tf.function
        def gradient(images):
            with tf.GradientTape() as tape:
                tape.watch(images)
                total = tf.reduce_sum(crop_and_resize(images, boxes, (8, 8)))
            return tape.gradient(total, images)

        found = np.array(gradient(tf.random.stateless_normal((1, 32, 32, 1), (0, 1))))
        assert (found[mask > 0] > 0).all()
        between = found[0, 12:20, :, 0]
        assert not between.any() if several else between.any()
