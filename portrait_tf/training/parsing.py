"""The stage-1 trainer."""

from collections.abc import Callable

import keras
import numpy as np

from portrait_tf.compat import ops
from portrait_tf.config import Config
from portrait_tf.geometry import joint_parts, joints_of_parts
from portrait_tf.labels import NUM_JOINTS
from portrait_tf.layers import heatmap_peaks, joint_heatmaps, resize_bilinear
from portrait_tf.losses import (
    HingeLoss,
    group_overlap,
    inverse_sqrt_weights,
    parsing_balanced,
    parsing_cross_entropy,
    patch_weights,
    pose_error,
    root_pose_error,
)
from portrait_tf.metrics import ParsingIoU, PCKh
from portrait_tf.models import Discriminator
from portrait_tf.models.network import in_float32
from portrait_tf.models.parsing import (
    HINT_SIGMA,
    find_structure,
    full_size_logits,
    true_parsing,
)
from portrait_tf.training.base import GRADIENTS, Trainer
from portrait_tf.training.optimizers import build_optimizer

# What a step draws: which samples and joints are hinted, and the hints' errors.
_HINTED, _JOINTS, _ERRORS = range(3)
_POSE_ERRORS = {"relative": pose_error, "root": root_pose_error}


class ParsingTrainer(Trainer):
    """Trains a `ParsingNetwork` or a `JPPNet` under `model.fit`.

    Batches are dicts: `image` `[B, H, W, 3]` in [-1, 1] (the whole photo), `mask`
    `[B, H, W, 1]`, `parsing` int32 `[B, H, W]`, `joints` `[B, 16, 3]` in pixels.

    Losses are summed over all rounds (deep supervision, JPPNet), the early ones with
    `deep_supervision`; pixels in the hole weigh `1 + hole`. Where training sees photos
    at several scales, each scale's answers are scored, and their mean too (JPPNet);
    validation sees one scale, as the pipeline does.

    A network with hints is given a random part of the true joints in a part of the
    samples, also of joints inside the hole; validation asks as the pipeline does.

    With `adversarial` above 0 a critic (Luc et al., *Semantic Segmentation using
    Adversarial Networks*, arXiv 1611.08408) sees annotated and predicted maps, which
    differ in the hole alone, beside the photo with its hole.

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
        loss = config.parsing.loss
        self.critic = self.critic_optimizer = None
        if loss.adversarial:
            self.critic = Discriminator(
                tuple(network.output["parsing"].shape[1:3]),
                config.parsing.discriminator_widths,
                name="map_discriminator",
            )
            self.critic_optimizer = build_optimizer(
                config.parsing.discriminator_optimizer,
                config.parsing.training.steps,
                self.critic.trainable_variables,
                "critic_optimizer",
            )
        self.adversarial = HingeLoss()
        names = ["loss", "cross_entropy"]
        names += ["pose_loss"] if network.pose else []
        names += ["balanced"] if loss.balanced != "none" else []
        names += ["group_overlap"] if loss.group_overlap else []
        names += ["adversarial", "critic"] if loss.adversarial else []
        self.tracked = {name: keras.metrics.Mean(name) for name in names}
        self.miou = ParsingIoU(name="miou")
        self.miou_hole = ParsingIoU(name="miou_hole")
        self.pckh = PCKh(name="pckh") if network.pose else None
        self.prepare(config.parsing.training)

    @property
    def networks(self) -> dict[str, keras.Model]:
        critics = {"map_discriminator": self.critic} if self.critic else {}
        return {"network": self.network, **critics}

    def state(self) -> dict[str, list]:
        state = {name: network.weights for name, network in self.networks.items()}
        state["optimizer"] = self.parsing_optimizer.variables
        if self.critic:
            state["critic_optimizer"] = self.critic_optimizer.variables
        return state

    def chance_shapes(self, batch_size: int) -> dict[int, tuple]:
        if not self._takes_hints:
            return {}
        return {
            _HINTED: (batch_size, 2),
            _JOINTS: (batch_size, NUM_JOINTS),
            _ERRORS: (batch_size, NUM_JOINTS, 4),
        }

    @property
    def _takes_hints(self) -> bool:
        return getattr(self.network, "hints", False)

    @property
    def metrics(self) -> list:
        scores = [*self.tracked.values(), self.miou, self.miou_hole]
        return [*scores, self.pckh] if self.pckh else scores

    def call(self, batch: dict, training: bool = False, scale: float = 1.0) -> dict:
        image, mask = batch["image"] * (1.0 - batch["mask"]), batch["mask"]
        if scale != 1.0:
            size = [round(side * scale) for side in self.network.size]
            image, mask = resize_bilinear(image, size), resize_bilinear(mask, size)
        if not training:
            return in_float32(find_structure(self.network, image, mask))
        inputs = {"image": image, "mask": mask}
        if self._takes_hints:
            inputs["hints"] = self._hints(batch)
        return in_float32(self.network(inputs, training=True))

    def _hints(self, batch: dict) -> object:
        """Heat maps of a random part of the true joints, in a part of the samples."""
        parsing, joints = self.config.parsing, batch["joints"]
        count = ops.shape(joints)[0]
        hinted = self.chance((count, 2), _HINTED)
        # How many joints a sample is told of is uniform, from one or two to all.
        wanted = ops.cast(hinted[:, :1] < parsing.hinted, "float32") * hinted[:, 1:]
        told = ops.cast(self.chance((count, NUM_JOINTS), _JOINTS) < wanted, "float32")
        # A sum of uniform numbers is near enough to a Gaussian.
        errors = self.chance((count, NUM_JOINTS, 4), _ERRORS) - 0.5
        errors = (errors[..., :2] + errors[..., 2:]) * np.sqrt(6.0)
        height, width = self.network.size
        places = joints[..., :2] + errors * parsing.hint_error * height
        told = told[..., None] * joints[..., 2:]
        hints = ops.concatenate([places, told], axis=-1)
        hints = joint_parts(hints, self.network.size)
        return joint_heatmaps(hints, (height // 4, width // 4), HINT_SIGMA)

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
        if loss.group_overlap:
            overlap = group_overlap(batch["parsing"], logits, batch["mask"])
            sums["group_overlap"] = overlap
            sums["loss"] += loss.group_overlap * overlap
        return sums, logits

    def _maps(self, batch: dict, logits: object) -> tuple[dict, dict]:
        """What the critic sees: with the annotated map, and with the predicted one.

        Args:
            batch: Of the data set.
            logits: `[B, h, w, 20]`, at the network's own resolution.
        """
        size = self.critic.size
        factor = self.network.size[0] // size[0]
        mask = _at_cells(batch["mask"], size)
        image = ops.average_pool(batch["image"] * (1.0 - batch["mask"]), factor, factor)
        predicted = ops.softmax(logits, axis=-1)
        labels = _at_cells(batch["parsing"], size)
        real = true_parsing(labels, ops.stop_gradient(predicted))
        # No prediction is ever wholly certain; that shall not tell it from the truth.
        real = 0.95 * real + 0.05 * ops.stop_gradient(predicted)
        fake = mask * predicted + (1.0 - mask) * real
        return tuple(
            {"image": image, "parsing": parsing, "mask": mask}
            for parsing in (real, fake)
        )

    def _train_critic(self, real: dict, fake: dict) -> object:
        """One step of the critic; returns its loss."""
        both = {
            name: ops.stop_gradient(ops.concatenate([real[name], fake[name]], 0))
            for name in real
        }
        self.critic.normalise()

        def loss(_: object) -> tuple:
            scores = ops.split(self.critic(both, training=False), 2, axis=0)
            weights = patch_weights(real["mask"], scores[0])
            value = self.adversarial.critic(*scores, weights)
            return value, value

        variables = self.critic.trainable_variables
        gradients, value = self.differentiate(loss, variables)
        self.update_weights(self.critic_optimizer, gradients, variables, GRADIENTS[1])
        return value

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

    def learn(self, batch: dict) -> dict:
        def loss(paused: Callable) -> tuple:
            answers = [
                self(batch, training=True, scale=scale)
                for scale in self.config.parsing.scales
            ]
            if len(answers) > 1:
                answers = [_mean_answer(answers), *answers]
            terms, logits = self._terms(batch, answers)
            if self.critic:
                real, fake = self._maps(batch, answers[0]["parsing"])
                with paused():
                    terms["critic"] = self._train_critic(real, fake)
                scores = self.critic(fake, training=False)
                terms["adversarial"] = self.adversarial.generator(
                    scores, patch_weights(fake["mask"], scores)
                )
                weight = self.config.parsing.loss.adversarial
                terms["loss"] += weight * terms["adversarial"]
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
    """Values `[B, H, W, ...]` at coarse cells' centres, as JPPNet takes labels."""
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
