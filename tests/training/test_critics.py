"""The critics of stage 2 and what their trainer does with them."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import assert_equal_arrays
from trainers import first_batch, floats, trainer_of

from portrait_tf.compat import variable_path
from portrait_tf.config import with_changes
from portrait_tf.errors import PortraitError
from portrait_tf.layers import crop_and_resize
from portrait_tf.losses import gradient_penalty, r1_penalty
from portrait_tf.metrics import hole_psnr
from portrait_tf.models import Discriminator, FeatureDiscriminator
from portrait_tf.runs.checkpoint import restore_checkpoint, save_checkpoint
from portrait_tf.runs.storage import save_arrays
from portrait_tf.training.critics import image_gradients


def completion_trainer(config, *changes, noise=0.0):
    # Without what takes long to trace.
    changes = ("loss.perceptual=0", *changes)
    changes = [f"completion.{change}" for change in changes]
    return trainer_of("completion", config, *changes, noise=noise)


def photo_and_mask(size=(8, 6)):
    rng = np.random.default_rng(0)
    image = rng.uniform(-1, 1, (2, *size, 3)).astype(np.float32)
    mask = np.zeros((2, *size, 1), np.float32)
    mask[:, 2:5, 1:4] = 1
    return tf.constant(image), tf.constant(mask)


class TestPenaltiesOfALinearCritic:
    """One convolution of 3x3 with a mean over its scores: its gradient is known."""

    def critic(self):
        critic = Discriminator((8, 6), (), False, False)
        # Large, so that slopes are not all but 0.
        critic.set_weights([w * 40 for w in critic.get_weights()])
        return critic

    def gradient(self, kernel):
        """Every pixel adds, by each tap, to one score out of 48, if there is one."""
        gradient = np.zeros((8, 6, 3))
        for row, column in np.ndindex(8, 6):
            for down, right in np.ndindex(3, 3):
                at = row - down + 1, column - right + 1
                if 0 <= at[0] < 8 and 0 <= at[1] < 6:
                    gradient[row, column] += kernel[down, right, :3, 0] / 48
        return gradient

    def test_gradient_penalty(self):
        critic = self.critic()
        image, mask = photo_and_mask()
        gradients = image_gradients(critic, {"image": image, "mask": mask})
        expected = self.gradient(critic.get_weights()[0])
        np.testing.assert_allclose(gradients, [expected] * 2, rtol=1e-4, atol=1e-6)
        slope = np.linalg.norm(expected * mask[0])
        assert float(gradient_penalty(gradients, mask)) == pytest.approx(
            (slope - 1) ** 2, rel=1e-4
        )

    def test_r1_and_its_gradient_by_the_weights(self):
        critic = self.critic()
        image, mask = photo_and_mask()

        @tf.function
        def penalty():
            with tf.GradientTape() as tape:
                gradients = image_gradients(critic, {"image": image, "mask": mask})
                loss = r1_penalty(gradients)
            return loss, tape.gradient(loss, critic.trainable_variables[0])

        loss, gradient = penalty()
        kernel = critic.get_weights()[0]
        expected = 0.5 * (self.gradient(kernel) ** 2).sum()
        assert float(loss) == pytest.approx(expected, rel=1e-4)
        # Quadratic in the kernel (Euler): kernel * gradient sums up to twice the loss.
        assert (kernel * gradient).numpy().sum() == pytest.approx(
            2 * expected, rel=1e-4
        )


@pytest.mark.parametrize("normalized", [False, True])
def test_second_order_gradients_through_crop_and_normalization(normalized):
    """As in a train step: scores in training mode, then a penalty, in a graph."""
    keras.utils.set_random_seed(1)
    critic = Discriminator((8, 8), (6,), False, normalized)
    image, mask = photo_and_mask((16, 12))
    boxes = tf.constant([[1.5, 2, 12, 9], [0, 3, 16, 12]])
    kernel = critic.trainable_variables[0]

    def r1():
        with tf.GradientTape() as tape:
            tape.watch(image)
            crop = crop_and_resize(tf.concat([image, mask], -1), boxes, (8, 8))
            inputs = dict(
                zip(("image", "mask"), tf.split(crop, [3, 1], -1), strict=True)
            )
            total = tf.reduce_sum(critic(inputs, training=False))
        return r1_penalty(tape.gradient(total, image))

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            critic({"image": image[:, :8, :8], "mask": mask[:, :8, :8]}, training=True)
            loss = r1()
        return tape.gradient(loss, kernel)

    gradient = step()
    direction = gradient / tf.norm(gradient)
    values = []
    for sign in (1, -1):
        kernel.assign_add(sign * 1e-3 * direction)
        values.append(float(r1()))
        kernel.assign_sub(sign * 1e-3 * direction)
    slope = (values[0] - values[1]) / 2e-3
    assert slope == pytest.approx(float(tf.norm(gradient)), rel=0.02) and slope > 0


class TestWhichCritics:
    def test_without_adversarial_weights_there_are_none(
        self, tiny_config, portraits, tmp_path
    ):
        off = ["loss.adversarial=0", "loss.adversarial_local=0"]
        trainer = completion_trainer(tiny_config, *off, "loss.known=0")
        assert trainer.phase_starts() == [] and trainer.phase_at(10**6) == (
            "reconstruction"
        )
        trainer.step = 4
        logs = trainer.train_step(first_batch(tiny_config, portraits))
        assert set(logs) == {"loss", "l1_hole", "gradient", "psnr_hole"}
        assert float(logs["loss"]) == pytest.approx(6 * float(logs["l1_hole"]))
        assert set(trainer.state()) == {"network", "network_optimizer"}
        path = pathlib.Path(tmp_path) / "checkpoint.npz"
        save_checkpoint(trainer, path)
        assert restore_checkpoint(completion_trainer(tiny_config, *off), path) == 5

    @pytest.mark.parametrize("kept", ["global", "local"])
    def test_one_of_both(self, tiny_config, kept):
        off = {"global": "adversarial_local", "local": "adversarial"}[kept]
        trainer = completion_trainer(tiny_config, f"loss.{off}=0")
        assert list(trainer.critics.networks) == [f"{kept}_discriminator"]
        assert set(trainer.state()) == {
            "network", f"{kept}_discriminator", "network_optimizer", "critic_optimizer",
        }  # fmt: skip
        suffix = "_local" if kept == "local" else ""
        assert set(trainer.tracked) == {
            "loss", "l1_hole", "l1_known", f"adversarial{suffix}", f"critic{suffix}",
            "gradient", "critics_gradient",
        }  # fmt: skip

    def test_what_the_local_critic_sees(self, tiny_config):
        trainer = completion_trainer(
            tiny_config,
            "discriminator.local_crops=3",
            "discriminator.conditioned=false",
        )
        image, mask = photo_and_mask((32, 32))
        mask = tf.ones_like(mask)
        critics = trainer.critics
        boxes = critics.boxes(mask, trainer.uniform)
        assert tuple(boxes.shape) == (2, 3, 4)
        # The same within a step, others in the next one.
        np.testing.assert_array_equal(boxes, critics.boxes(mask, trainer.uniform))
        trainer.step = 1
        assert np.abs(boxes - critics.boxes(mask, trainer.uniform)).max() > 0
        parsing = tf.zeros((2, 32, 32, 20))
        inputs = {"image": image, "parsing": parsing, "mask": mask, "boxes": boxes}
        seen = critics.see(inputs)
        assert set(seen["global_discriminator"]) == {"image", "mask"}
        top, left = (int(edge) for edge in boxes[0, 1, :2])
        np.testing.assert_allclose(
            seen["local_discriminator"]["image"][1],
            image[0, top : top + 16, left : left + 16],
            atol=1e-6,
        )

    def test_r1_is_lazy(self, tiny_config):
        trainer = completion_trainer(
            tiny_config, "discriminator.r1=2", "discriminator.r1_interval=3"
        )
        critics = trainer.critics
        assert critics.weights["r1"] == 2
        critic = critics.networks["local_discriminator"]
        rng = np.random.default_rng(0)
        real = {
            name: tf.constant(rng.uniform(size=(2, *tensor.shape[1:])), tf.float32)
            for name, tensor in critic.input.items()
        }
        value = float(r1_penalty(image_gradients(critic, real)))
        lazy = tf.function(lambda step: critics._lazy_r1(critic, real, step))
        found = [float(lazy(tf.constant(step))) for step in range(4)]
        assert found == pytest.approx([3 * value, 0, 0, 3 * value], rel=1e-5)
        assert value > 0


@pytest.mark.parametrize("crops", [0, 2])
def test_only_patches_of_the_hole_count(crops, tiny_config, portraits):
    """Adversarial terms of a step are means over the hole's patches alone."""
    trainer = adversarial_trainer(
        tiny_config, "hinge", [f"discriminator.local_crops={crops}"]
    )
    batch = first_batch(tiny_config, portraits)
    mask = np.zeros(batch["mask"].shape, np.float32)
    mask[:, :8, :16] = 1
    mask = tf.constant(mask)
    batch = {**batch, "mask": mask}
    real = trainer.prepare(batch, training=True)
    fake = {**real, "image": batch["image"] * (1 - mask)}
    terms = trainer.critics.network_losses(real, fake)
    seen = trainer.critics.see(fake)
    for name, suffix in (("global", ""), ("local", "_local")):
        inputs = seen[f"{name}_discriminator"]
        scores = np.array(trainer.networks[f"{name}_discriminator"](inputs))
        # 4x4 pixels a score.
        shape = (scores.shape[0], scores.shape[1], 4, scores.shape[2], 4)
        share = np.array(inputs["mask"]).reshape(shape).mean((2, 4))
        weights = np.minimum(4 * share, 1)[..., None]
        expected = -(weights * scores).sum() / weights.sum()
        assert float(terms[f"adversarial{suffix}"]) == pytest.approx(expected, rel=1e-4)
        assert 0 < weights.mean() < 1
        assert abs(expected + scores.mean()) > 1e-4


LOSSES = {
    "hinge": ["discriminator.r1=0.1", "discriminator.r1_interval=4",
              "loss.feature_matching=0.1", "loss.total_variation=0.1"],
    "least_squares": ["discriminator.local_crops=2", "discriminator.conditioned=false",
                      "loss.label_color=0.5"],
    "wgan_gp": ["discriminator.spectral_normalization=false"],
}  # fmt: skip


def adversarial_trainer(config, loss, changes, noise=0.0):
    return completion_trainer(
        config,
        f"discriminator.loss={loss}", *changes,
        "schedule.reconstruction_steps=0", "schedule.critic_steps=0",
        "predicted_parsing=0", noise=noise,
    )  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_has_all_terms_and_moves_all_networks(loss, tiny_config, portraits):
    changes = ["loss.perceptual=0.1", "loss.style=1", *LOSSES[loss]]
    changes = [*changes, "training.optimizer.warmup_steps=0"]
    # Noise, for a new network repeats the known pixels without a flaw.
    trainer = adversarial_trainer(tiny_config, loss, changes, noise=0.05)
    networks = {name: one.get_weights() for name, one in trainer.networks.items()}
    logs = trainer.train_step(first_batch(tiny_config, portraits))
    logs = floats(logs)
    changes = changes[:-1]
    expected = {
        "gradient", "critics_gradient",
        "loss", "psnr_hole", "l1_hole", "l1_known", "perceptual", "style",
        "adversarial", "adversarial_local", "critic", "critic_local",
        *(change.split("=")[0].split(".")[1] for change in changes
          if change.startswith("loss.") or change.startswith("discriminator.r1=")),
        *(["gradient_penalty"] if loss == "wgan_gp" else []),
    }  # fmt: skip
    assert logs.keys() == expected
    assert all(np.isfinite(value) and value != 0 for value in logs.values())
    total = sum(weight * logs[name] for name, weight in trainer.term_weights.items())
    assert logs["loss"] == pytest.approx(total, rel=1e-4)
    for name, before in networks.items():
        after = trainer.networks[name].get_weights()
        assert any(
            np.abs(a - b).max() > 0 for a, b in zip(before, after, strict=True)
        ), name


@pytest.fixture(scope="module")
def backbone_file(tmp_path_factory):
    """Weights of the shapes of EfficientNet-Lite0's first five stages."""
    keras.utils.set_random_seed(2)
    backbone = FeatureDiscriminator((32, 32), 4).get_layer("backbone")
    # Larger, or deep features would be all but 0.
    backbone.set_weights([2 * w for w in backbone.get_weights()])
    path = tmp_path_factory.mktemp("backbone") / "lite0.npz"
    save_arrays(path, {"backbone": backbone.weights}, {})
    return path


class TestACriticOnFrozenFeatures:
    def trainer(self, config, path, loss="hinge", *changes):
        return adversarial_trainer(
            config,
            loss,
            ["discriminator.features=efficientnet_lite0",
             f"discriminator.features_weights={path}",
             "discriminator.features_width=8", *changes],
        )  # fmt: skip

    def test_a_step_moves_its_heads_alone(
        self, backbone_file, tiny_config, portraits, tmp_path
    ):
        trainer = self.trainer(
            tiny_config, backbone_file, "hinge", "discriminator.r1=0.1",
            "loss.feature_matching=0.1", "training.optimizer.warmup_steps=0",
        )  # fmt: skip
        critic = trainer.networks["global_discriminator"]
        assert isinstance(trainer.networks["local_discriminator"], Discriminator)
        with np.load(backbone_file) as file:
            for variable in critic.get_layer("backbone").weights:
                name = f"backbone/{variable_path(variable)}"
                np.testing.assert_array_equal(file[name], variable)
        frozen = critic.get_layer("backbone").get_weights()
        trained = [np.array(variable) for variable in critic.trainable_variables]
        network = trainer.network.get_weights()
        logs = trainer.train_step(first_batch(tiny_config, portraits))
        for name in ("critic", "adversarial", "feature_matching", "r1"):
            assert np.isfinite(logs[name]) and logs[name] != 0, name
        assert_equal_arrays(frozen, critic.get_layer("backbone").get_weights())
        for before, after in zip(trained, critic.trainable_variables, strict=True):
            # Real and fake may cancel out in a bias.
            moved = np.abs(before - np.array(after)).max() > 0
            assert moved or variable_path(after).endswith("bias")
        assert any(
            np.abs(a - b).max() > 0
            for a, b in zip(network, trainer.network.get_weights(), strict=True)
        )
        path = pathlib.Path(tmp_path) / "checkpoint.npz"
        save_checkpoint(trainer, path)
        other = self.trainer(tiny_config, backbone_file)
        restore_checkpoint(other, path)
        assert_equal_arrays(
            critic.get_weights(), other.networks["global_discriminator"].get_weights()
        )

    def test_the_face_has_one(self, backbone_file, tiny_config, portraits):
        trainer = trainer_of(
            "face", tiny_config, "face.discriminator.features=efficientnet_lite0",
            f"face.discriminator.features_weights={backbone_file}",
            "face.network.size=[32, 32]", "face.loss.feature_matching=1",
            "face.loss.perceptual=0", "face.schedule.reconstruction_steps=0",
            "face.schedule.critic_steps=0", "face.predicted_parsing=0",
        )  # fmt: skip
        critic = trainer.networks["discriminator"]
        frozen = critic.get_layer("backbone").get_weights()
        batch = first_batch(tiny_config, portraits)
        batch["mask"] = tf.ones_like(batch["mask"])
        logs = trainer.train_step(batch)
        for name in ("critic", "adversarial", "feature_matching"):
            assert np.isfinite(logs[name]) and logs[name] != 0, name
        assert_equal_arrays(frozen, critic.get_layer("backbone").get_weights())

    def test_the_local_one_sees_enlarged_crops(
        self, backbone_file, tiny_config, portraits
    ):
        trainer = self.trainer(
            tiny_config, backbone_file, "hinge", "discriminator.local_features=true",
            "discriminator.local_size=[16,16]", "discriminator.local_crops=2",
        )  # fmt: skip
        critic = trainer.networks["local_discriminator"]
        assert isinstance(critic, FeatureDiscriminator)
        batch = first_batch(tiny_config, portraits)
        inputs = trainer.prepare(batch, training=True)
        seen = trainer.critics.see(inputs)["local_discriminator"]["image"]
        boxes = np.array(inputs["boxes"]).reshape(-1, 4)
        np.testing.assert_allclose(boxes[:, 2:] - boxes[:, :2], 16, atol=1e-4)
        assert seen.shape == (len(boxes), 32, 32, 3)

    def test_every_scale_counts_alike_and_the_hole_alone(
        self, backbone_file, tiny_config, portraits
    ):
        trainer = self.trainer(tiny_config, backbone_file)
        batch = first_batch(tiny_config, portraits)
        mask = np.zeros(batch["mask"].shape, np.float32)
        mask[:, :16] = 1
        mask = tf.constant(mask)
        real = trainer.prepare({**batch, "mask": mask}, training=True)
        fake = {**real, "image": batch["image"] * (1 - mask)}
        terms = trainer.critics.network_losses(real, fake)
        seen = {name: fake[name] for name in ("image", "parsing", "mask")}
        maps = trainer.networks["global_discriminator"](seen)
        # The hole is the upper half of every map.
        halves = [np.array(one)[:, : one.shape[1] // 2].mean() for one in maps]
        assert float(terms["adversarial"]) == pytest.approx(-np.mean(halves), rel=1e-4)

    def test_slopes_of_all_scales(self, backbone_file, tiny_config, portraits):
        trainer = self.trainer(
            tiny_config, backbone_file, "wgan_gp",
            "discriminator.spectral_normalization=false",
        )  # fmt: skip
        batch = first_batch(tiny_config, portraits)
        inputs = trainer.prepare(batch, training=False)
        critic = trainer.networks["global_discriminator"]
        slopes = image_gradients(critic, inputs)
        assert tuple(slopes.shape) == tuple(batch["image"].shape)
        direction = np.array(slopes) / np.linalg.norm(slopes)

        def score(step):
            image = batch["image"] + step * direction
            maps = critic({**inputs, "image": image})
            return np.mean([np.array(one, float).mean((1, 2, 3)).sum() for one in maps])

        found = (score(1e-2) - score(-1e-2)) / 2e-2
        assert found == pytest.approx(np.linalg.norm(slopes), rel=0.02)

    def test_a_missing_file_is_named(self, tiny_config, tmp_path):
        with pytest.raises(PortraitError, match="none.npz"):
            self.trainer(tiny_config, tmp_path / "none.npz")


@pytest.mark.long
@pytest.mark.parametrize("loss", ["hinge", "wgan_gp"])
def test_a_gan_learns_one_batch_by_heart(loss, tiny_config, portraits):
    config = with_changes(
        tiny_config, ["masks.strokes=0", "masks.body_part=0", "masks.border=0"]
    )
    changes = [
        *LOSSES[loss], "network.widths=[16,32,48]", "training.steps=40",
        "training.optimizer.learning_rate=0.003",
    ]  # fmt: skip
    trainer = adversarial_trainer(config, loss, changes)
    batch = first_batch(config, portraits)

    def quality():
        inputs = trainer.prepare(batch, training=True)
        painted = trainer.answer(trainer.network, inputs, training=False)["painted"]
        return float(tf.reduce_mean(hole_psnr(batch["image"], painted, batch["mask"])))

    before = quality()
    data = tf.data.Dataset.from_tensors(batch).repeat()
    history = trainer.fit(
        data, epochs=2, steps_per_epoch=20, verbose=0, shuffle=False
    ).history
    assert all(np.isfinite(values).all() for values in history.values())
    assert quality() > before + 8
