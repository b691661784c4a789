"""The stage-1 trainer."""

import keras
import tensorflow as tf

from portrait_tf.config import Config
from portrait_tf.losses import joint_heatmaps, parsing_cross_entropy, pose_error
from portrait_tf.metrics import ParsingIoU, PCKh, heatmap_peaks
from portrait_tf.models import ParsingNetwork
from portrait_tf.models.parsing import full_size_logits
from portrait_tf.training.base import Trainer
from portrait_tf.training.optimizers import build_optimizer


class ParsingTrainer(Trainer):
    """Trains a `ParsingNetwork` under `model.fit`.

    Batches are dicts: `image` `[B, H, W, 3]` in [-1, 1] (the whole photo), `mask`
    `[B, H, W, 1]`, `parsing` int32 `[B, H, W]`, `joints` `[B, 16, 3]` in pixels.

    Losses are summed over all rounds (deep supervision, JPPNet), the early ones with
    `deep_supervision`; pixels in the hole weigh `1 + hole`.

    Args:
        network: Stage 1.
        config: The experiment.
    """

    def __init__(self, network: ParsingNetwork, config: Config) -> None:
        super().__init__(name="parsing_trainer")
        self.network = network
        self.config = config
        self.parsing_optimizer = build_optimizer(
            config.parsing.training.optimizer,
            config.parsing.training.steps,
            network.trainable_variables,
            "parsing_optimizer",
        )
        self.tracked = {
            name: keras.metrics.Mean(name)
            for name in ("loss", "cross_entropy", "pose_loss")
        }
        self.miou = ParsingIoU(name="miou")
        self.miou_hole = ParsingIoU(name="miou_hole")
        self.pckh = PCKh(name="pckh")

    @property
    def networks(self) -> dict[str, keras.Model]:
        return {"network": self.network}

    def state(self) -> dict[str, list]:
        return {
            "network": self.network.weights,
            "optimizer": self.parsing_optimizer.variables,
        }

    @property
    def metrics(self) -> list:
        return [*self.tracked.values(), self.miou, self.miou_hole, self.pckh]

    def call(self, batch: dict, training: bool = False) -> dict:
        return self.network(
            {"image": batch["image"] * (1.0 - batch["mask"]), "mask": batch["mask"]},
            training=training,
        )

    def _terms(self, batch: dict, outputs: dict) -> tuple:
        loss = self.config.parsing.loss
        size = self.network.size
        labels, weights = batch["parsing"], 1.0 + loss.hole * batch["mask"][..., 0]
        scale = tf.constant([1 / size[1], 1 / size[0], 1.0])
        height, width = outputs["pose_0"].shape[1:3]
        target = joint_heatmaps(
            batch["joints"] * scale, (height, width), loss.heatmap_sigma
        )
        # The label of a coarse cell is the one at its centre, as JPPNet takes it.
        stride = size[0] // height
        coarse = (
            labels[:, stride // 2 :: stride, stride // 2 :: stride],
            weights[:, stride // 2 :: stride, stride // 2 :: stride],
        )
        logits = full_size_logits(outputs, size)
        cross_entropy = parsing_cross_entropy(labels, logits, weights)
        pose = 0.0
        for step in range(self.network.rounds + 1):
            last = step == self.network.rounds
            weight = 1.0 if last else loss.deep_supervision
            cross_entropy += loss.deep_supervision * parsing_cross_entropy(
                coarse[0], outputs[f"parsing_{step}"], coarse[1]
            )
            pose += weight * pose_error(target, outputs[f"pose_{step}"])
        return cross_entropy, pose, logits

    def _update(self, batch: dict, outputs: dict, cross_entropy, pose, logits) -> dict:  # noqa: ANN001
        loss = self.config.parsing.loss
        total = loss.parsing * cross_entropy + loss.pose * pose
        self.tracked["loss"].update_state(total)
        self.tracked["cross_entropy"].update_state(cross_entropy)
        self.tracked["pose_loss"].update_state(pose)
        self.miou.update_state(batch["parsing"], logits)
        self.miou_hole.update_state(
            batch["parsing"], logits, sample_weight=batch["mask"][..., 0]
        )
        height, width = self.network.size
        peaks = heatmap_peaks(outputs[f"pose_{self.network.rounds}"])
        self.pckh.update_state(
            batch["joints"], peaks * tf.constant([width, height, 1.0])
        )
        return {metric.name: metric.result() for metric in self.metrics}

    def train_step(self, batch: dict) -> dict:
        loss = self.config.parsing.loss
        with tf.GradientTape() as tape:
            outputs = self(batch, training=True)
            cross_entropy, pose, logits = self._terms(batch, outputs)
            total = loss.parsing * cross_entropy + loss.pose * pose
        variables = self.network.trainable_variables
        gradients = tape.gradient(total, variables)
        self.parsing_optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return self._update(batch, outputs, cross_entropy, pose, logits)

    def test_step(self, batch: dict) -> dict:
        outputs = self(batch, training=False)
        return self._update(batch, outputs, *self._terms(batch, outputs))
