"""The stage-2 trainer: a GAN with two critics."""

import keras
import tensorflow as tf

from portrait_tf.config import Config
from portrait_tf.labels import NUM_LABELS
from portrait_tf.layers import crop_and_resize, hole_boxes
from portrait_tf.losses import (
    PerceptualLoss,
    discriminator_hinge,
    generator_hinge,
    masked_l1,
)
from portrait_tf.models import CompletionNetwork, Discriminator, ParsingNetwork
from portrait_tf.models.parsing import parsing_probabilities
from portrait_tf.training.base import GRADIENTS, Trainer, in_float32
from portrait_tf.training.optimizers import build_optimizer

PHASES = ("reconstruction", "critics", "adversarial")


class CompletionTrainer(Trainer):
    """Trains a `CompletionNetwork` under `model.fit`.

    Batches are those of `ParsingTrainer`; `joints` is not read. The parsing map fed to
    the network is, for each sample at random, the truth or what stage 1 predicts, so
    that it learns on what the chain will give it; unlabelled pixels always take the
    prediction.

    Training goes through GLC's three phases (Iizuka et al. 2017, section 3.4):
    reconstruction losses only; the critics only; both. Each phase is a graph of its
    own, in which the others cost nothing: call `enter_phase` before `fit`.

    Args:
        network: Stage 2.
        parsing_network: Stage 1, frozen.
        config: The experiment.
    """

    monitor = "val_psnr_hole"

    def __init__(
        self,
        network: CompletionNetwork,
        parsing_network: ParsingNetwork,
        config: Config,
    ) -> None:
        super().__init__(name="completion_trainer")
        completion = config.completion
        self.network = network
        self.parsing_network = parsing_network
        self.parsing_network.trainable = False
        self.config = config
        self.phase = PHASES[0]
        critics = {"widths": completion.discriminator.widths}
        self.global_discriminator = Discriminator(
            network.size, name="global_discriminator", **critics
        )
        self.local_discriminator = Discriminator(
            completion.discriminator.local_size, name="local_discriminator", **critics
        )
        self.network_optimizer = build_optimizer(
            completion.training.optimizer,
            completion.training.steps,
            network.trainable_variables,
            "network_optimizer",
        )
        self.critic_optimizer = build_optimizer(
            completion.discriminator_optimizer,
            completion.training.steps,
            self._critic_variables(),
            "critic_optimizer",
        )
        perceptual = completion.perceptual
        self.perceptual = (
            PerceptualLoss(
                perceptual.network,
                perceptual.weights,
                perceptual.layers,
                perceptual.scale,
                config.seed,
            )
            if completion.loss.perceptual
            else None
        )
        names = ["loss", "l1_hole", "l1_known", "perceptual", "adversarial", "critics"]
        self.tracked = {name: keras.metrics.Mean(name) for name in names}
        self.psnr_hole = keras.metrics.Mean("psnr_hole")

    def phase_at(self, step: int) -> str:
        """Which phase a step belongs to."""
        schedule = self.config.completion.schedule
        if step < schedule.reconstruction_steps:
            return PHASES[0]
        if step < schedule.reconstruction_steps + schedule.critic_steps:
            return PHASES[1]
        return PHASES[2]

    def enter_phase(self, step: int) -> None:
        phase = self.phase_at(step)
        if phase != self.phase:
            self.phase = phase
            self.make_train_function(force=True)

    def phase_starts(self) -> list[int]:
        schedule = self.config.completion.schedule
        start = schedule.reconstruction_steps
        return [start, start + schedule.critic_steps]

    def _critic_variables(self) -> list:
        return (
            self.global_discriminator.trainable_variables
            + self.local_discriminator.trainable_variables
        )

    @property
    def networks(self) -> dict[str, keras.Model]:
        return {
            "network": self.network,
            "global_discriminator": self.global_discriminator,
            "local_discriminator": self.local_discriminator,
        }

    def state(self) -> dict[str, list]:
        return {
            **{name: network.weights for name, network in self.networks.items()},
            "network_optimizer": self.network_optimizer.variables,
            "critic_optimizer": self.critic_optimizer.variables,
        }

    @property
    def metrics(self) -> list:
        return [*self.tracked.values(), self.psnr_hole]

    def parsing_for(self, batch: dict, predicted_part: float) -> tf.Tensor:
        """The map that stage 2 is given: `[B, H, W, 20]` probabilities."""
        image, mask = batch["image"], batch["mask"]
        outputs = self.parsing_network(
            {"image": image * (1.0 - mask), "mask": mask}, training=False
        )
        predicted = tf.stop_gradient(parsing_probabilities(outputs, self.network.size))
        if predicted_part == 1.0:
            return predicted
        labels = batch["parsing"]
        # From the step, not from a generator's state: a resumed run draws the same.
        chance = tf.random.stateless_uniform(
            tf.shape(labels)[:1],
            tf.stack([tf.constant(self.config.seed, tf.int64), self.step_variable]),
        )
        use_truth = (chance >= predicted_part)[:, None, None] & (labels < NUM_LABELS)
        return tf.where(use_truth[..., None], tf.one_hot(labels, NUM_LABELS), predicted)

    def call(
        self, batch: dict, parsing: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        if parsing is None:
            parsing = self.parsing_for(batch, 1.0)
        inputs = {
            "image": batch["image"] * (1.0 - batch["mask"]),
            "parsing": parsing,
            "mask": batch["mask"],
        }
        return in_float32(self.network(inputs, training=training)["painted"])

    def _critic_inputs(
        self, image: tf.Tensor, parsing: tf.Tensor, mask: tf.Tensor
    ) -> tuple[dict, dict]:
        """What the global and what the local critic see."""
        size = self.config.completion.discriminator.local_size
        crop = crop_and_resize(
            tf.concat([image, parsing, mask], axis=-1), hole_boxes(mask), size
        )
        local_image, local_parsing, local_mask = tf.split(crop, [3, NUM_LABELS, 1], -1)
        return (
            {"image": image, "parsing": parsing, "mask": mask},
            {"image": local_image, "parsing": local_parsing, "mask": local_mask},
        )

    def _train_critics(
        self, real: tf.Tensor, fake: tf.Tensor, parsing: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        both = self._critic_inputs(
            tf.concat([real, fake], 0),
            tf.concat([parsing] * 2, 0),
            tf.concat([mask] * 2, 0),
        )
        critics = (self.global_discriminator, self.local_discriminator)
        with tf.GradientTape() as tape:
            loss = 0.0
            for critic, inputs in zip(critics, both, strict=True):
                loss += discriminator_hinge(
                    *tf.split(critic(inputs, training=True), 2, axis=0)
                )
        variables = self._critic_variables()
        gradients = tape.gradient(loss, variables)
        self.update_weights(self.critic_optimizer, gradients, variables, GRADIENTS[1])
        return loss

    def _reconstruction(self, batch: dict, painted: tf.Tensor) -> tuple:
        weights = self.config.completion.loss
        image, mask = batch["image"], batch["mask"]
        completed = image * (1.0 - mask) + painted * mask
        terms = {
            "l1_hole": masked_l1(image, painted, mask),
            "l1_known": masked_l1(image, painted, 1.0 - mask),
        }
        total = weights.hole * terms["l1_hole"] + weights.known * terms["l1_known"]
        if self.perceptual:
            terms["perceptual"] = self.perceptual(image, completed)
            total += weights.perceptual * terms["perceptual"]
        return completed, terms, total

    def train_step(self, batch: dict) -> dict:
        weights = self.config.completion.loss
        image, mask = batch["image"], batch["mask"]
        parsing = self.parsing_for(batch, self.config.completion.predicted_parsing)
        terms = {}
        if self.phase == "critics":
            painted = self(batch, parsing, training=False)
            completed = image * (1.0 - mask) + painted * mask
            terms["critics"] = self._train_critics(image, completed, parsing, mask)
        else:
            with tf.GradientTape() as tape:
                painted = self(batch, parsing, training=True)
                completed, terms, total = self._reconstruction(batch, painted)
                if self.phase == "adversarial":
                    with tape.stop_recording():
                        terms["critics"] = self._train_critics(
                            image, completed, parsing, mask
                        )
                    whole, crop = self._critic_inputs(completed, parsing, mask)
                    adversarial = weights.adversarial * generator_hinge(
                        self.global_discriminator(whole, training=False)
                    ) + weights.adversarial_local * generator_hinge(
                        self.local_discriminator(crop, training=False)
                    )
                    terms["adversarial"] = adversarial
                    total += adversarial
            variables = self.network.trainable_variables
            gradients = tape.gradient(total, variables)
            self.update_weights(self.network_optimizer, gradients, variables)
            terms["loss"] = total
        self.record(terms)
        return self._update(batch, completed, terms)

    def test_step(self, batch: dict) -> dict:
        painted = self(batch)
        completed, terms, total = self._reconstruction(batch, painted)
        return self._update(batch, completed, {**terms, "loss": total})

    def _update(self, batch: dict, completed: tf.Tensor, terms: dict) -> dict:
        for name, value in terms.items():
            self.tracked[name].update_state(value)
        self.psnr_hole.update_state(hole_psnr(batch["image"], completed, batch["mask"]))
        return {metric.name: metric.result() for metric in self.metrics}


def hole_psnr(truth: tf.Tensor, completed: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Peak signal-to-noise ratio over the hole alone, in dB: `[B]`.

    Args:
        truth: `[B, H, W, 3]` in [-1, 1].
        completed: The same; clipped here.
        mask: `[B, H, W, 1]`, 1.0 = hole.
    """
    error = mask * (truth - tf.clip_by_value(completed, -1.0, 1.0)) ** 2
    area = tf.maximum(tf.reduce_sum(mask, axis=(1, 2, 3)) * truth.shape[-1], 1.0)
    mean = tf.reduce_sum(error, axis=(1, 2, 3)) / area
    return 10.0 * tf.math.log(4.0 / tf.maximum(mean, 1e-8)) / tf.math.log(10.0)
