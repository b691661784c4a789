"""The stage-2 trainer."""

import keras

from portrait_tf.compat import Tensor, ops
from portrait_tf.geometry import joint_parts
from portrait_tf.losses import (
    PerceptualLoss,
    StyleLoss,
    label_color,
    masked_l1,
    psnr_loss,
    total_variation,
)
from portrait_tf.metrics import HolePSNR
from portrait_tf.models.completion import completion_inputs
from portrait_tf.models.network import in_float32
from portrait_tf.models.parsing import (
    find_structure,
    parsing_probabilities,
    true_parsing,
)
from portrait_tf.training.base import Trainer
from portrait_tf.training.critics import Critics

LOSSES = {
    "l1_hole": masked_l1,
    "l1_known": lambda truth, painted, mask: masked_l1(truth, painted, 1.0 - mask),
    "psnr": psnr_loss,
    "total_variation": total_variation,
}
"""Losses `(y_true, y_pred, mask)` of the painted photo, by the names of their terms."""

# Stream of a step's random draws; 0 to 2 are other.
_HINTED = 3

_OTHER_TERMS = ("label_color", "perceptual", "style", "coarse")


class CompletionTrainer(Trainer):
    """Trains a stage-2 network under `model.fit`.

    Batches are dicts: `image` `[B, H, W, 3]` in [-1, 1] (the whole photo), `mask`
    `[B, H, W, 1]` (1.0 = hole), `parsing` int32 `[B, H, W]`. The map that the network
    is given is, for each sample at random, the annotated one or stage 1's prediction,
    so that the network trains on what it will be given. Pixels without a label always
    take the prediction. Validation uses the prediction alone.

    Args:
        network: Stage 2.
        parsing_network: Stage 1, frozen.
        losses: Weight of each term: the names of `LOSSES`, and `label_color`,
            `perceptual`, `style`, `coarse` (both L1 terms of a first stage's answer).
            A pair of weight and function `(y_true, y_pred, mask)` adds another term.
        critics: Global and local discriminators; None trains without.
        perceptual: VGG features for the terms `perceptual` and `style`; None makes
            `PerceptualLoss()` where a term needs them.
        predicted_parsing: Fraction of the samples that are given stage 1's map.
        hinted: Fraction of the samples whose annotated joints (`joints` of the batch,
            `[B, 16, 3]`) stage 1 is told. A network that is only given what stage 1
            guesses paints its arms and feet faintly; maps around true joints are as
            soft, and right more often.
        kwargs: `phases`, `ema`, `seed`: see `Trainer`.

    Example:

    ```python
    trainer = CompletionTrainer(
        CompletionNetwork(size=(192, 128)),
        ParsingNetwork.from_preset("demo"),
        losses={"l1_hole": 6.0, "l1_known": 1.0},
        critics=Critics({"global_discriminator": Discriminator((192, 128))}),
        phases=(700, 50),
    )
    trainer.compile(optimizer="adam", critic_optimizer=keras.optimizers.Adam(4e-4))
    trainer.fit(dataset, epochs=10)
    ```
    """

    monitor = "val_psnr_hole"

    def __init__(
        self,
        network: keras.Model,
        parsing_network: keras.Model,
        losses: dict[str, float | tuple] | None = None,
        critics: Critics | None = None,
        perceptual: PerceptualLoss | None = None,
        predicted_parsing: float = 0.5,
        hinted: float = 0.0,
        **kwargs: object,
    ) -> None:
        losses = losses or {"l1_hole": 6.0, "l1_known": 1.0}
        functions, weights = dict(LOSSES), {}
        for name, given in losses.items():
            if isinstance(given, tuple):
                weights[name], functions[name] = given
            elif name in LOSSES or name in _OTHER_TERMS:
                weights[name] = given
            else:
                raise ValueError(
                    f"losses: expected a pair of weight and function for {name!r}, "
                    f"or one of {', '.join((*LOSSES, *_OTHER_TERMS))}"
                )
        if "coarse" not in network.output:
            weights.pop("coarse", None)
        super().__init__(network, weights, critics, name="completion_trainer", **kwargs)
        self.functions = {
            name: functions[name] for name in self.term_weights if name in functions
        }
        self.parsing_network = parsing_network
        self.parsing_network.trainable = False
        self.predicted_parsing = predicted_parsing
        self.hinted = hinted
        if not {"perceptual", "style"} & self.term_weights.keys():
            perceptual = None
        elif perceptual is None:
            perceptual = PerceptualLoss()
        self.perceptual = perceptual
        self.style = StyleLoss(perceptual.layers) if perceptual else None
        self.psnr_hole = HolePSNR("psnr_hole")
        self.scores = [self.psnr_hole]

    def prepare(self, batch: dict, training: bool) -> dict:
        image, mask = batch["image"], batch["mask"]
        hints = None
        if training and self.hinted:
            chance = self.uniform((ops.shape(mask)[0], 1, 1), _HINTED)
            told = ops.cast(chance < self.hinted, "float32")
            hints = joint_parts(batch["joints"], self.network.size) * told
        outputs = find_structure(
            self.parsing_network, image * (1.0 - mask), mask, hints
        )
        parsing = ops.stop_gradient(parsing_probabilities(outputs, self.network.size))
        if training and self.predicted_parsing < 1.0:
            parsing = mixed_parsing(
                batch["parsing"],
                parsing,
                self.predicted_parsing,
                self.uniform((ops.shape(mask)[0],)),
            )
        inputs = {"image": image, "parsing": parsing, "mask": mask}
        if training and self.critics is not None:
            inputs["boxes"] = self.critics.boxes(mask, self.uniform)
        return inputs

    def answer(self, network: keras.Model, inputs: dict, training: bool) -> dict:
        image, mask = inputs["image"], inputs["mask"]
        given = completion_inputs(
            network, image * (1.0 - mask), inputs["parsing"], mask
        )
        outputs = in_float32(network(given, training=training))
        completed = image * (1.0 - mask) + outputs["painted"] * mask
        return {**outputs, "completed": completed}

    def loss_terms(self, inputs: dict, outputs: dict) -> dict[str, Tensor]:
        image, mask, painted = inputs["image"], inputs["mask"], outputs["painted"]
        terms = {
            name: loss(image, painted, mask) for name, loss in self.functions.items()
        }
        if "label_color" in self.term_weights:
            terms["label_color"] = label_color(image, painted, mask, inputs["parsing"])
        if "coarse" in self.term_weights:
            terms["coarse"] = sum(
                self.term_weights.get(name, 0.0)
                * LOSSES[name](image, outputs["coarse"], mask)
                for name in ("l1_hole", "l1_known")
            )
        if self.perceptual is not None:
            # Both terms compare the same features, which take most of a step's time.
            photos = (image, outputs["completed"])
            features = [self.perceptual.extract(photo) for photo in photos]
            for name, loss in (
                ("perceptual", self.perceptual.compare),
                ("style", self.style),
            ):
                if name in self.term_weights:
                    terms[name] = loss(*features)
        return terms

    def critic_inputs(self, inputs: dict, outputs: dict) -> tuple[dict, dict]:
        return inputs, {**inputs, "image": outputs["completed"]}

    def score(self, network: keras.Model, inputs: dict, outputs: dict) -> None:
        self.psnr_hole.update_state(
            inputs["image"], outputs["completed"], inputs["mask"]
        )


def mixed_parsing(
    labels: Tensor, predicted: Tensor, predicted_part: float, chance: Tensor
) -> Tensor:
    """For each sample the true map or the predicted one; void pixels are predicted.

    Args:
        labels: int32 `[B, H, W]`; 20 and above is void.
        predicted: `[B, H, W, 20]` probabilities.
        predicted_part: Fraction of the samples.
        chance: `[B]`, uniform in [0, 1).
    """
    use_truth = (chance >= predicted_part)[:, None, None, None]
    return ops.where(use_truth, true_parsing(labels, predicted), predicted)
