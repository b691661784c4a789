"""The stage-1 trainer."""

import keras
import numpy as np

from portrait_tf.compat import ops
from portrait_tf.config import Config
from portrait_tf.geometry import joint_parts, joints_of_parts
from portrait_tf.layers import resize_bilinear
from portrait_tf.losses import (
    inverse_sqrt_weights,
    joint_heatmaps,
    parsing_balanced,
    parsing_cross_entropy,
    pose_error,
    root_pose_error,
)
from portrait_tf.metrics import ParsingIoU, PCKh, heatmap_peaks
from portrait_tf.models.parsing import full_size_logits
from portrait_tf.training.base import Trainer, in_float32
from portrait_tf.training.optimizers import build_optimizer

_POSE_ERRORS = {"relative": pose_error, "root": root_pose_error}


class ParsingTrainer(Trainer):
    """Trains a `ParsingNetwork` or a `JPPNet` under `model.fit`.

    Batches are dicts: `image` `[B, H, W, 3]` in [-1, 1] (the whole photo), `mask`
    `[B, H, W, 1]`, `parsing` int32 `[B, H, W]`, `joints` `[B, 16, 3]` in pixels.

    Losses are summed over all rounds (deep supervision, JPPNet), the early ones with
    `deep_supervision`; pixels in the hole weigh `1 + hole`. Where training sees photos
    at several scales, each scale's answers are scored, and their mean too (JPPNet);
    validation sees one scale, as the pipeline does.

    Args:
        network: Stage 1; without a pose branch, joints are not read.
        config: The experiment.
    """

    monitor = "val_miou_hole"

    def __init__(self, network: keras.Model, config: Config) -> None:
        super().__init__(name="parsing_trainer")
        self.network = network
        self.config = config
        self.parsing_optimizer = build_optimizer(
            config.parsing.training.optimizer,
            config.parsing.training.steps,
            network.trainable_variables,
            "parsing_optimizer",
        )
        names = ["loss", "cross_entropy"]
        names += ["pose_loss"] if network.pose else []
        names += ["balanced"] if config.parsing.loss.balanced != "none" else []
        self.tracked = {name: keras.metrics.Mean(name) for name in names}
        self.miou = ParsingIoU(name="miou")
        self.miou_hole = ParsingIoU(name="miou_hole")
        self.pckh = PCKh(name="pckh") if network.pose else None

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
        scores = [*self.tracked.values(), self.miou, self.miou_hole]
        return [*scores, self.pckh] if self.pckh else scores

    def call(self, batch: dict, training: bool = False, scale: float = 1.0) -> dict:
        image, mask = batch["image"] * (1.0 - batch["mask"]), batch["mask"]
        if scale != 1.0:
            size = [round(side * scale) for side in self.network.size]
            image, mask = resize_bilinear(image, size), resize_bilinear(mask, size)
        outputs = self.network({"image": image, "mask": mask}, training=training)
        return in_float32(outputs)

    def _parsing_terms(
        self, labels: object, logits: object, weights: object
    ) -> dict[str, object]:
        loss = self.config.parsing.loss
        terms = {}
        if loss.balanced != "none":
            terms["balanced"] = parsing_balanced(loss.balanced, labels, logits, weights)
        if loss.class_weights == "inverse_sqrt":
            weights = weights * inverse_sqrt_weights(labels)
        terms["cross_entropy"] = parsing_cross_entropy(
            labels, logits, weights, loss.label_smoothing
        )
        return terms

    def _answer_terms(self, batch: dict, outputs: dict) -> list[tuple]:
        """Weight, name and value of every term of every round of one answer."""
        loss = self.config.parsing.loss
        size = outputs["parsing_0"].shape[1:3]
        labels = _at_cells(batch["parsing"], size)
        weights = _at_cells(1.0 + loss.hole * batch["mask"][..., 0], size)
        joints = joint_parts(batch["joints"], self.network.size)
        target = joint_heatmaps(joints, size, loss.heatmap_sigma)
        # A photo without any joint has no pose annotated: it says nothing of its pose.
        posed = ops.max(batch["joints"][..., 2], axis=1)[:, None, None, None]
        terms = []
        for step in range(self.network.rounds + 1):
            parsing = self._parsing_terms(labels, outputs[f"parsing_{step}"], weights)
            terms += [(loss.deep_supervision, *term) for term in parsing.items()]
            if self.network.pose:
                last = step == self.network.rounds
                heatmaps = posed * outputs[f"pose_{step}"]
                error = _POSE_ERRORS[loss.pose_error](target, heatmaps)
                weight = 1.0 if last else loss.deep_supervision
                terms.append((weight, "pose_loss", error))
        return terms

    def _terms(self, batch: dict, answers: list[dict]) -> tuple[dict, object]:
        """Terms by name, `loss` with all of it, and the answer at the photo's size.

        Args:
            batch: Of the data set.
            answers: Outputs of the network; the first are at its own size.
        """
        loss = self.config.parsing.loss
        logits = full_size_logits(answers[0], self.network.size)
        weighted = []
        if loss.full_size:
            weights = 1.0 + loss.hole * batch["mask"][..., 0]
            terms = self._parsing_terms(batch["parsing"], logits, weights)
            weighted += [(loss.full_size, *term) for term in terms.items()]
        for outputs in answers:
            weighted += self._answer_terms(batch, outputs)
        sums = dict.fromkeys(self.tracked, 0.0)
        for weight, name, value in weighted:
            sums[name] += weight * value
        sums["loss"] = loss.parsing * sums["cross_entropy"]
        sums["loss"] += loss.pose * sums.get("pose_loss", 0.0)
        sums["loss"] += loss.balanced_weight * sums.get("balanced", 0.0)
        return sums, logits

    def _update(self, batch: dict, outputs: dict, terms: dict, logits: object) -> dict:
        for name, value in terms.items():
            self.tracked[name].update_state(value)
        self.miou.update_state(batch["parsing"], logits)
        self.miou_hole.update_state(
            batch["parsing"], logits, sample_weight=batch["mask"][..., 0]
        )
        if self.pckh:
            peaks = heatmap_peaks(outputs[f"pose_{self.network.rounds}"])
            self.pckh.update_state(
                batch["joints"], joints_of_parts(peaks, self.network.size)
            )
        return self.results()

    def train_step(self, batch: dict) -> dict:
        def loss(_: object) -> tuple:
            answers = [
                self(batch, training=True, scale=scale)
                for scale in self.config.parsing.scales
            ]
            if len(answers) > 1:
                answers = [_mean_answer(answers), *answers]
            terms, logits = self._terms(batch, answers)
            return terms["loss"], (answers[0], terms, logits)

        variables = self.network.trainable_variables
        gradients, (outputs, terms, logits) = self.differentiate(loss, variables)
        self.update_weights(self.parsing_optimizer, gradients, variables)
        self.record(terms)
        return self._update(batch, outputs, terms, logits)

    def test_step(self, batch: dict) -> dict:
        self.tell_stop()
        outputs = self(batch, training=False)
        return self._update(batch, outputs, *self._terms(batch, [outputs]))


def _at_cells(values: object, size: tuple[int, int]) -> object:
    """Values `[B, H, W]` at the centres of coarse cells, as JPPNet takes labels."""
    for axis, cells in enumerate(size, 1):
        side = values.shape[axis]
        centres = ((np.arange(cells) + 0.5) * side / cells).astype(np.int32)
        values = ops.take(values, centres, axis=axis)
    return values


def _mean_answer(answers: list[dict]) -> dict:
    """The mean of answers at several scales, at the first one's size."""
    return {
        name: sum(resize_bilinear(one[name], first.shape[1:3]) for one in answers)
        / len(answers)
        for name, first in answers[0].items()
    }
