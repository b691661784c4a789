"""The stage-1 trainer."""

import keras
import numpy as np

from portrait_tf.compat import Tensor, ops
from portrait_tf.config.parsing import ParsingLossConfig
from portrait_tf.geometry import joint_parts, joints_of_parts
from portrait_tf.labels import NUM_JOINTS
from portrait_tf.layers import heatmap_peaks, joint_heatmaps, resize_bilinear
from portrait_tf.losses import (
    group_overlap,
    inverse_sqrt_weights,
    parsing_balanced,
    parsing_cross_entropy,
    pose_error,
    root_pose_error,
)
from portrait_tf.metrics import ParsingIoU, PCKh
from portrait_tf.models.network import in_float32
from portrait_tf.models.parsing import (
    HINT_SIGMA,
    find_structure,
    full_size_logits,
    true_parsing,
)
from portrait_tf.training.base import Trainer
from portrait_tf.training.critics import Critics

# Streams of a step's random draws: samples and joints with hints, and their errors.
_HINTED, _JOINTS, _ERRORS = range(3)
_POSE_ERRORS = {"relative": pose_error, "root": root_pose_error}


class ParsingTrainer(Trainer):
    """Trains a `ParsingNetwork` or a `JPPNet` under `model.fit`.

    Batches are dicts: `image` `[B, H, W, 3]` in [-1, 1] (the whole photo), `mask`
    `[B, H, W, 1]` (1.0 = hole), `parsing` int32 `[B, H, W]`, `joints` `[B, 16, 3]` in
    pixels, which a network without a pose branch does not need.

    The losses of all refinement rounds are added up (deep supervision, JPPNet). If
    training sees photos at several scales, the answer of each scale and their mean have
    losses (JPPNet); validation sees one scale. A network with hints is given a random
    part of the true joints in a part of the samples, joints in the hole too.

    A discriminator (Luc et al., *Semantic Segmentation using Adversarial Networks*,
    arXiv 1611.08408) sees annotated and predicted maps, which differ in the hole only,
    beside the photo with its hole. It is trained from the first step.

    Args:
        network: Stage 1.
        losses: Weights and options of the losses; None for the defaults.
        critics: One discriminator of the size of the network's `parsing`; None trains
            without.
        scales: Training sees photos at these, relative to the network's size; the
            first is 1.
        hinted: Fraction of the samples that are given hints.
        hint_error: Standard deviation of the hints' positions, relative to the height.
        kwargs: `ema`, `seed`: see `Trainer`.

    Example:

    ```python
    trainer = ParsingTrainer(ParsingNetwork(size=(192, 128)))
    trainer.compile(optimizer=keras.optimizers.Adam(1e-3))
    trainer.fit(dataset, epochs=10)
    ```
    """

    monitor = "val_miou_hole"
    optimizer_group = "optimizer"

    def __init__(
        self,
        network: keras.Model,
        losses: ParsingLossConfig | None = None,
        critics: Critics | None = None,
        scales: tuple[float, ...] = (1.0,),
        hinted: float = 0.5,
        hint_error: float = 0.01,
        **kwargs: object,
    ) -> None:
        losses = losses or ParsingLossConfig()
        weights = {"cross_entropy": losses.parsing}
        if network.pose:
            weights["pose_loss"] = losses.pose
        if losses.balanced != "none":
            weights["balanced"] = losses.balanced_weight
        weights["group_overlap"] = losses.group_overlap
        super().__init__(network, weights, critics, name="parsing_trainer", **kwargs)
        self.losses_config = losses
        self.scales = tuple(scales)
        self.hinted = hinted
        self.hint_error = hint_error
        self.miou = ParsingIoU(name="miou")
        self.miou_hole = ParsingIoU(name="miou_hole")
        self.pckh = PCKh(name="pckh") if network.pose else None
        self.scores = [self.miou, self.miou_hole]
        self.scores += [self.pckh] if network.pose else []

    def prepare(self, batch: dict, training: bool) -> dict:
        inputs = {**batch, "known": batch["image"] * (1.0 - batch["mask"])}
        if training and getattr(self.network, "hints", False):
            inputs["hints"] = self._hints(batch["joints"])
        return inputs

    def _hints(self, joints: Tensor) -> Tensor:
        """Heat maps of a random part of the true joints, in a part of the samples."""
        count = ops.shape(joints)[0]
        hinted = self.uniform((count, 2), _HINTED)
        # The number of a sample's hints is uniform, from one or two to all.
        wanted = ops.cast(hinted[:, :1] < self.hinted, "float32") * hinted[:, 1:]
        told = ops.cast(self.uniform((count, NUM_JOINTS), _JOINTS) < wanted, "float32")
        # A sum of uniform numbers is close enough to a Gaussian.
        errors = self.uniform((count, NUM_JOINTS, 4), _ERRORS) - 0.5
        errors = (errors[..., :2] + errors[..., 2:]) * np.sqrt(6.0)
        height, width = self.network.size
        places = joints[..., :2] + errors * self.hint_error * height
        told = told[..., None] * joints[..., 2:]
        hints = ops.concatenate([places, told], axis=-1)
        hints = joint_parts(hints, self.network.size)
        return joint_heatmaps(hints, (height // 4, width // 4), HINT_SIGMA)

    def answer(self, network: keras.Model, inputs: dict, training: bool) -> dict:
        """The answers at all `scales`; if there are several, after their mean."""
        known, mask = inputs["known"], inputs["mask"]
        if not training:
            return {"answers": [in_float32(find_structure(network, known, mask))]}
        hints = {"hints": inputs["hints"]} if "hints" in inputs else {}
        answers = []
        for scale in self.scales:
            given = {"image": known, "mask": mask}
            if scale != 1.0:
                size = [round(side * scale) for side in network.size]
                given = {name: resize_bilinear(x, size) for name, x in given.items()}
            answers.append(in_float32(network({**given, **hints}, training=True)))
        if len(answers) > 1:
            answers = [_mean_answer(answers), *answers]
        return {"answers": answers}

    def loss_terms(self, inputs: dict, outputs: dict) -> dict[str, Tensor]:
        losses = self.losses_config
        logits = full_size_logits(outputs["answers"][0], self.network.size)
        weighted = []
        if losses.full_size:
            weights = 1.0 + losses.hole * inputs["mask"][..., 0]
            terms = self._parsing_terms(inputs["parsing"], logits, weights)
            weighted += [(losses.full_size, *term) for term in terms.items()]
        for answer in outputs["answers"]:
            weighted += self._answer_terms(inputs, answer)
        terms = {}
        for weight, name, value in weighted:
            if name in self.term_weights:
                terms[name] = terms.get(name, 0.0) + weight * value
        if losses.group_overlap:
            terms["group_overlap"] = group_overlap(
                inputs["parsing"], logits, inputs["mask"]
            )
        return terms

    def _parsing_terms(
        self, labels: Tensor, logits: Tensor, weights: Tensor
    ) -> dict[str, Tensor]:
        losses = self.losses_config
        terms = {}
        if losses.balanced != "none":
            terms["balanced"] = parsing_balanced(
                losses.balanced, labels, logits, weights
            )
        if losses.class_weights == "inverse_sqrt":
            weights = weights * inverse_sqrt_weights(labels)
        terms["cross_entropy"] = parsing_cross_entropy(
            labels, logits, weights, losses.label_smoothing
        )
        return terms

    def _answer_terms(self, inputs: dict, outputs: dict) -> list[tuple]:
        """Weight, name and value of every term of every round of one answer."""
        losses = self.losses_config
        size = outputs["parsing_0"].shape[1:3]
        labels = _at_cells(inputs["parsing"], size)
        weights = _at_cells(1.0 + losses.hole * inputs["mask"][..., 0], size)
        if self.network.pose:
            joints = joint_parts(inputs["joints"], self.network.size)
            target = joint_heatmaps(joints, size, losses.heatmap_sigma)
            # A photo without any annotated joint says nothing about its pose.
            posed = ops.max(joints[..., 2], axis=1)[:, None, None, None]
        terms = []
        for step in range(self.network.rounds + 1):
            parsing = self._parsing_terms(labels, outputs[f"parsing_{step}"], weights)
            terms += [(losses.deep_supervision, *term) for term in parsing.items()]
            if self.network.pose:
                last = step == self.network.rounds
                heatmaps = posed * outputs[f"pose_{step}"]
                error = _POSE_ERRORS[losses.pose_error](target, heatmaps)
                weight = 1.0 if last else losses.deep_supervision
                terms.append((weight, "pose_loss", error))
        return terms

    def critic_inputs(self, inputs: dict, outputs: dict) -> tuple[dict, dict]:
        """The annotated and the predicted map, at the resolution of the answer."""
        logits = outputs["answers"][0]["parsing"]
        size = tuple(logits.shape[1:3])
        factor = self.network.size[0] // size[0]
        mask = _at_cells(inputs["mask"], size)
        image = ops.average_pool(inputs["known"], factor, factor)
        predicted = ops.softmax(logits, axis=-1)
        labels = _at_cells(inputs["parsing"], size)
        real = true_parsing(labels, ops.stop_gradient(predicted))
        # No prediction is ever certain; that must not tell it from the truth.
        real = 0.95 * real + 0.05 * ops.stop_gradient(predicted)
        fake = mask * predicted + (1.0 - mask) * real
        real, fake = (
            {"image": image, "parsing": parsing, "mask": mask}
            for parsing in (real, fake)
        )
        return real, fake

    def score(self, network: keras.Model, inputs: dict, outputs: dict) -> None:
        answer = outputs["answers"][0]
        logits = full_size_logits(answer, self.network.size)
        labels = inputs["parsing"]
        self.miou.update_state(labels, logits)
        self.miou_hole.update_state(labels, logits, inputs["mask"][..., 0])
        if self.pckh is not None:
            peaks = heatmap_peaks(answer[f"pose_{self.network.rounds}"])
            found = joints_of_parts(peaks, self.network.size)
            self.pckh.update_state(inputs["joints"], found)


def _at_cells(values: object, size: tuple[int, int]) -> object:
    """Values `[B, H, W, ...]` at coarse cells' centers, as JPPNet takes labels."""
    for axis, cells in enumerate(size, 1):
        side = values.shape[axis]
        centers = ((np.arange(cells) + 0.5) * side / cells).astype(np.int32)
        values = ops.take(values, centers, axis=axis)
    return values


def _mean_answer(answers: list[dict]) -> dict:
    """The mean of answers at several scales, at the first one's size."""
    return {
        name: sum(resize_bilinear(one[name], first.shape[1:3]) for one in answers)
        / len(answers)
        for name, first in answers[0].items()
    }
