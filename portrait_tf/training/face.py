"""The trainer of face refinement: a GAN on crops of what stages 1 and 2 make."""

import keras
import tensorflow as tf

from portrait_tf.config import Config
from portrait_tf.inference.pipeline import Pipeline
from portrait_tf.layers import box_window, crop_and_resize
from portrait_tf.losses import HingeLoss, PerceptualLoss, masked_l1, patch_weights
from portrait_tf.models import CompletionNetwork, Discriminator, FaceNetwork
from portrait_tf.models.face import face_inputs, find_faces, paste_correction
from portrait_tf.models.network import in_float32
from portrait_tf.training.base import GRADIENTS, Trainer
from portrait_tf.training.completion import hole_psnr, mixed_parsing
from portrait_tf.training.optimizers import build_optimizer


class FaceTrainer(Trainer):
    """Trains a `FaceNetwork` under `model.fit`.

    Batches are those of `CompletionTrainer`; stages 1 and 2 complete them first, and
    are not trained. What is learned from are crops around the faces that a hole
    touches. Samples without one count nothing: in the batch of crops others stand in
    for them, so that it keeps its shape and every loss can take a plain mean; a batch
    without any face changes nothing but the optimizers' moments.

    The phases are those of `CompletionTrainer`; without an adversarial loss there are
    no critic and no phases.

    Args:
        network: Stage 3.
        parsing_network: Stage 1, frozen.
        completion_network: Stage 2, frozen.
        config: The experiment.
    """

    monitor = "val_psnr_face"

    def __init__(
        self,
        network: FaceNetwork,
        parsing_network: keras.Model,
        completion_network: CompletionNetwork,
        config: Config,
    ) -> None:
        super().__init__(name="face_trainer")
        face = config.face
        self.network = network
        self.pipeline = Pipeline(parsing_network, completion_network)
        self.config = config
        self.network_optimizer = build_optimizer(
            face.training.optimizer,
            face.training.steps,
            network.trainable_variables,
            "network_optimizer",
        )
        self.discriminator = self.critic_optimizer = None
        if face.loss.adversarial:
            self.schedule = face.schedule
            self.discriminator = Discriminator(
                network.size,
                name="face_discriminator",
                **face.discriminator.model_dump(),
            )
            self.critic_optimizer = build_optimizer(
                face.discriminator_optimizer,
                face.training.steps,
                self.discriminator.trainable_variables,
                "critic_optimizer",
            )
        perceptual = config.completion.perceptual
        self.perceptual = (
            # A crop is small already: it is not shrunk as whole photos may be.
            PerceptualLoss(
                perceptual.network,
                perceptual.weights,
                perceptual.layers,
                seed=config.seed,
            )
            if face.loss.perceptual
            else None
        )
        self.adversarial = HingeLoss()
        names = ["loss", "l1_hole"]
        names += ["perceptual"] if self.perceptual else []
        names += ["adversarial", "critic"] if self.discriminator else []
        self.tracked = {name: keras.metrics.Mean(name) for name in names}
        names = ["faces", "psnr_face_before", "psnr_face"]
        self.scores = {name: keras.metrics.Mean(name) for name in names}
        self.prepare(face.training)

    @property
    def networks(self) -> dict[str, keras.Model]:
        networks = {"network": self.network}
        if self.discriminator is not None:
            networks["discriminator"] = self.discriminator
        return networks

    def state(self) -> dict[str, list]:
        state = {name: network.weights for name, network in self.networks.items()}
        state["network_optimizer"] = self.network_optimizer.variables
        if self.discriminator is not None:
            state["critic_optimizer"] = self.critic_optimizer.variables
        return state

    @property
    def metrics(self) -> list:
        return [*self.tracked.values(), *self.scores.values()]

    def completed_for(self, batch: dict, predicted_part: float) -> dict:
        """What stages 1 and 2 make of a batch, and where the faces are.

        Args:
            batch: Of the data set.
            predicted_part: Of the samples, whose map is stage 1's and not the truth.

        Returns:
            `completed` `[B, H, W, 3]`, `parsing` `[B, H, W, 20]`, `boxes` `[B, 4]` and
            `found` `[B]`.
        """
        image, mask = batch["image"], batch["mask"]
        parsing = self.pipeline.structure(image * (1.0 - mask), mask)["parsing"]
        if predicted_part < 1.0:
            chance = self.chance((tf.shape(mask)[0],))
            parsing = mixed_parsing(batch["parsing"], parsing, predicted_part, chance)
        completed = self.pipeline.networks(image, mask, parsing)["completed"]
        boxes, found = find_faces(self.network, parsing, mask)
        return {
            "completed": completed,
            "parsing": parsing,
            "boxes": boxes,
            "found": found,
        }

    def _crops(self, batch: dict, before: dict) -> dict[str, tf.Tensor]:
        """A batch of crops with a face each: the network's inputs, and `truth`."""
        boxes = before["boxes"]
        crops = face_inputs(
            self.network, before["completed"], before["parsing"], batch["mask"], boxes
        )
        crops["truth"] = crop_and_resize(batch["image"], boxes, self.network.size)
        found = tf.cast(before["found"], tf.int32)
        first = tf.argsort(found, direction="DESCENDING", stable=True)
        count = tf.maximum(tf.reduce_sum(found), 1)
        chosen = tf.gather(first, tf.range(tf.size(first)) % count)
        return {name: tf.gather(crop, chosen) for name, crop in crops.items()}

    def call(self, crops: dict, training: bool = False) -> tf.Tensor:
        """The correction `[B, h, w, 3]` of crops."""
        inputs = {name: crops[name] for name in ("image", "parsing", "mask")}
        return in_float32(self.network(inputs, training=training)["correction"])

    def _reconstruction(self, crops: dict, correction: tf.Tensor) -> tuple:
        weights = self.config.face.loss
        refined = crops["image"] + crops["mask"] * correction
        terms = {"l1_hole": masked_l1(crops["truth"], refined, crops["mask"])}
        total = weights.hole * terms["l1_hole"]
        if self.perceptual:
            terms["perceptual"] = self.perceptual(crops["truth"], refined)
            total += weights.perceptual * terms["perceptual"]
        return refined, terms, total

    def _critic_inputs(self, crops: dict, image: tf.Tensor) -> dict:
        return {"image": image, "parsing": crops["parsing"], "mask": crops["mask"]}

    def _train_critic(
        self, crops: dict, refined: tf.Tensor, any_face: tf.Tensor
    ) -> tf.Tensor:
        inputs = [self._critic_inputs(crops, x) for x in (crops["truth"], refined)]
        both = {name: tf.concat([one[name] for one in inputs], 0) for name in inputs[0]}
        with tf.GradientTape() as tape:
            scores = self.discriminator(both, training=True)
            real, fake = tf.split(scores, 2, axis=0)
            weights = patch_weights(crops["mask"], real)
            loss = any_face * self.adversarial.critic(real, fake, weights)
        variables = self.discriminator.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.update_weights(self.critic_optimizer, gradients, variables, GRADIENTS[1])
        return loss

    def learn(self, batch: dict) -> dict:
        before = self.completed_for(batch, self.config.face.predicted_parsing)
        crops = self._crops(batch, before)
        any_face = tf.cast(tf.reduce_any(before["found"]), tf.float32)
        terms = {}
        if self.phase == "critics":
            refined, _, _ = self._reconstruction(crops, self(crops))
            terms["critic"] = self._train_critic(crops, refined, any_face)
        else:
            with tf.GradientTape() as tape:
                correction = self(crops, training=True)
                refined, terms, total = self._reconstruction(crops, correction)
                if self.phase == "adversarial":
                    with tape.stop_recording():
                        terms["critic"] = self._train_critic(crops, refined, any_face)
                    scores = self.discriminator(
                        self._critic_inputs(crops, refined), training=False
                    )
                    terms["adversarial"] = self.adversarial.generator(
                        scores, patch_weights(crops["mask"], scores)
                    )
                    weight = self.config.face.loss.adversarial
                    total += weight * terms["adversarial"]
                total *= any_face
            variables = self.network.trainable_variables
            gradients = tape.gradient(total, variables)
            self.update_weights(self.network_optimizer, gradients, variables)
            terms["loss"] = total
        self.record(terms)
        return self._update(batch, before, terms)

    def test_step(self, batch: dict) -> dict:
        before = self.completed_for(batch, 1.0)
        crops = self._crops(batch, before)
        _, terms, total = self._reconstruction(crops, self(crops))
        return self._update(batch, before, {**terms, "loss": total})

    def _update(self, batch: dict, before: dict, terms: dict) -> dict:
        found = tf.cast(before["found"], tf.float32)
        for name, value in terms.items():
            # A batch without a face has nothing to say about them.
            self.tracked[name].update_state(value, sample_weight=tf.reduce_max(found))
        refined = self.refine(batch, before)
        size = tuple(batch["image"].shape[1:3])
        region = batch["mask"] * box_window(before["boxes"], size, feather=0.0)
        for name, photo in (
            ("psnr_face_before", before["completed"]),
            ("psnr_face", refined),
        ):
            score = hole_psnr(batch["image"], photo, region)
            self.scores[name].update_state(score, sample_weight=found)
        self.scores["faces"].update_state(found)
        return {metric.name: metric.result() for metric in self.metrics}

    def refine(self, batch: dict, before: dict) -> tf.Tensor:
        """The photos with their faces refined: `[B, H, W, 3]`, as the pipeline has it.

        Args:
            batch: Of the data set.
            before: Of `completed_for`.
        """
        completed, mask, boxes = before["completed"], batch["mask"], before["boxes"]
        inputs = face_inputs(self.network, completed, before["parsing"], mask, boxes)
        return paste_correction(
            self.network, completed, mask, self(inputs), boxes, before["found"]
        )
