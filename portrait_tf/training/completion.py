"""The stage-2 trainer: a GAN with two critics, one, or none."""

from collections.abc import Callable

import keras
import numpy as np

from portrait_tf.compat import map_structure, ops
from portrait_tf.config import Config
from portrait_tf.layers import crop_and_resize, hole_boxes, random_hole_boxes
from portrait_tf.losses import (
    ADVERSARIAL_LOSSES,
    FeatureMatchingLoss,
    GradientPenalty,
    LabelColourLoss,
    PerceptualLoss,
    R1Penalty,
    StyleLoss,
    TotalVariationLoss,
    masked_l1,
    patch_weights,
    psnr_loss,
)
from portrait_tf.models import Discriminator, FeatureDiscriminator, ParsingNetwork
from portrait_tf.models.completion import completion_inputs
from portrait_tf.models.network import in_float32, precision
from portrait_tf.models.parsing import (
    find_structure,
    parsing_probabilities,
    true_parsing,
)
from portrait_tf.runs.backbone_weights import load_backbone_weights
from portrait_tf.training.base import GRADIENTS, Trainer
from portrait_tf.training.optimizers import build_optimizer

# What the names of a critic's terms end in.
_CRITICS = {"global_discriminator": "", "local_discriminator": "_local"}
# What a step draws: whose map is the truth, local crops, and points between photos.
_TRUTH, _CROPS, _BETWEEN = range(3)

Critic = Discriminator | FeatureDiscriminator


class CompletionTrainer(Trainer):
    """Trains a network of stage 2, ours or a peer's, under `model.fit`.

    Batches are those of `ParsingTrainer`; `joints` is not read. The parsing map fed to
    the network is, for each sample at random, the truth or what stage 1 predicts, so
    that it learns on what the chain will give it; unlabelled pixels always take the
    prediction.

    Training goes through GLC's three phases (Iizuka et al. 2017, section 3.4):
    reconstruction losses only; the critics only; both. A critic whose adversarial loss
    weighs 0 is not built; without any, all of training is reconstruction.

    Terms of the losses are logged by name, unweighted; `loss` is the network's weighted
    sum. `gradient_penalty`, `r1` and `feature_matching` are sums over the critics. In
    the adversarial terms of both sides, patches count by their `patch_weights`.

    Args:
        network: Stage 2.
        parsing_network: Stage 1, frozen.
        config: The experiment.
    """

    monitor = "val_psnr_hole"

    def __init__(
        self,
        network: keras.Model,
        parsing_network: ParsingNetwork,
        config: Config,
    ) -> None:
        super().__init__(name="completion_trainer")
        completion = config.completion
        self.network = network
        self.parsing_network = parsing_network
        self.parsing_network.trainable = False
        self.config = config
        self.critics = _build_critics(config, network.size)
        self.schedule = completion.schedule if self.critics else None
        self.network_optimizer = build_optimizer(
            completion.training.optimizer,
            completion.training.steps,
            network.trainable_variables,
            "network_optimizer",
        )
        self.critic_optimizer = (
            build_optimizer(
                completion.discriminator_optimizer,
                completion.training.steps,
                self._critic_variables(),
                "critic_optimizer",
            )
            if self.critics
            else None
        )
        self.term_weights, self.critic_weights = _weights(config, network, self.critics)
        self._build_losses()
        names = ["loss", *self.term_weights, *self.critic_weights]
        self.tracked = {name: keras.metrics.Mean(name) for name in names}
        self.psnr_hole = keras.metrics.Mean("psnr_hole")
        self.prepare(completion.training)

    def _build_losses(self) -> None:
        completion = self.config.completion
        perceptual = completion.perceptual
        self.perceptual = None
        if {"perceptual", "style"} & self.term_weights.keys():
            with precision(completion.training.mixed_precision):
                self.perceptual = PerceptualLoss(
                    perceptual.network,
                    perceptual.weights,
                    perceptual.layers,
                    perceptual.scale,
                    self.config.seed,
                    perceptual.difference,
                )
        self.style = StyleLoss(perceptual.layers)
        self.total_variation = TotalVariationLoss()
        self.label_colour = LabelColourLoss()
        self.adversarial = ADVERSARIAL_LOSSES[completion.discriminator.loss]()
        self.feature_matching = FeatureMatchingLoss()
        self.gradient_penalty = GradientPenalty()
        self.r1 = R1Penalty()

    def _critic_variables(self) -> list:
        return [
            variable
            for critic in self.critics.values()
            for variable in critic.trainable_variables
        ]

    @property
    def networks(self) -> dict[str, keras.Model]:
        return {"network": self.network, **self.critics}

    def state(self) -> dict[str, list]:
        state = {name: network.weights for name, network in self.networks.items()}
        # Not among the weights; most networks have none.
        if noise := getattr(self.network, "noise_state", []):
            state["noise"] = noise
        state["network_optimizer"] = self.network_optimizer.variables
        if self.critics:
            state["critic_optimizer"] = self.critic_optimizer.variables
        return state

    @property
    def metrics(self) -> list:
        return [*self.tracked.values(), self.psnr_hole]

    def chance_shapes(self, batch_size: int) -> dict[int, tuple]:
        crops = self.config.completion.discriminator.local_crops
        return {
            _TRUTH: (batch_size,),
            _CROPS: (batch_size, crops),
            _BETWEEN: (batch_size, 1, 1, 1),
        }

    def parsing_for(self, batch: dict, predicted_part: float) -> object:
        """The map that stage 2 is given: `[B, H, W, 20]` probabilities."""
        image, mask = batch["image"], batch["mask"]
        outputs = find_structure(self.parsing_network, image * (1.0 - mask), mask)
        predicted = ops.stop_gradient(parsing_probabilities(outputs, self.network.size))
        if predicted_part == 1.0:
            return predicted
        chance = self.chance((ops.shape(mask)[0],), _TRUTH)
        return mixed_parsing(batch["parsing"], predicted, predicted_part, chance)

    def call(
        self, batch: dict, parsing: object | None = None, training: bool = False
    ) -> dict[str, object]:
        if parsing is None:
            parsing = self.parsing_for(batch, 1.0)
        image, mask = batch["image"], batch["mask"]
        inputs = completion_inputs(self.network, image * (1.0 - mask), parsing, mask)
        return in_float32(self.network(inputs, training=training))

    def _local_boxes(self, mask: object) -> object:
        """Where the local critic looks in this step: `[B, 4]` or `[B, N, 4]`."""
        discriminator = self.config.completion.discriminator
        if not discriminator.local_crops:
            return hole_boxes(mask)
        shape = (ops.shape(mask)[0], discriminator.local_crops)
        chance = self.chance(shape, _CROPS)
        return random_hole_boxes(mask, chance, discriminator.local_size)

    def _critic_inputs(
        self, image: object, parsing: object, mask: object, boxes: object
    ) -> dict[str, dict]:
        """What each critic sees."""
        discriminator = self.config.completion.discriminator
        inputs = {"image": image, "parsing": parsing, "mask": mask}
        if not discriminator.conditioned:
            del inputs["parsing"]
        seen = {}
        if "global_discriminator" in self.critics:
            seen["global_discriminator"] = inputs
        if "local_discriminator" in self.critics:
            channels = [value.shape[-1] for value in inputs.values()]
            together = ops.concatenate(list(inputs.values()), -1)
            crop = crop_and_resize(together, boxes, discriminator.local_size)
            parts = ops.split(crop, np.cumsum(channels)[:-1].tolist(), -1)
            seen["local_discriminator"] = dict(zip(inputs, parts, strict=True))
        return seen

    def _train_critics(
        self, batch: dict, completed: object, parsing: object, boxes: object
    ) -> dict:
        """One step of the critics; returns their terms."""
        seen = self._critic_inputs(
            ops.concatenate([batch["image"], completed], 0),
            *(
                ops.concatenate([value] * 2, 0)
                for value in (parsing, batch["mask"], boxes)
            ),
        )
        for critic in self.critics.values():
            critic.normalise()

        def loss(_: object) -> tuple:
            terms = dict.fromkeys(self.critic_weights, 0.0)
            for name, critic in self.critics.items():
                scores = critic(seen[name], training=False)
                real, fake = (_half(scores, part) for part in (0, 1))
                weights = patch_weights(_half(seen[name]["mask"], 0), real)
                terms[f"critic{_CRITICS[name]}"] = self.adversarial.critic(
                    real, fake, weights
                )
                if "gradient_penalty" in terms:
                    terms["gradient_penalty"] += self._slopes(critic, seen[name])
                if "r1" in terms:
                    terms["r1"] += self._r1_when_due(critic, seen[name])
            return weighted_sum(terms, self.critic_weights), terms

        variables = self._critic_variables()
        gradients, terms = self.differentiate(loss, variables)
        self.update_weights(self.critic_optimizer, gradients, variables, GRADIENTS[1])
        return terms

    def _slopes(self, critic: Critic, both: dict) -> object:
        """The gradient penalty between the real half of a batch and the fake one."""
        real, fake = ops.split(both["image"], 2, axis=0)
        inputs = _half(both, 0)
        part = self.chance((ops.shape(real)[0], 1, 1, 1), _BETWEEN)
        between = {**inputs, "image": real + part * (fake - real)}
        slopes = image_gradients(critic, between, self.gradient_by)
        return self.gradient_penalty(slopes, inputs["mask"])

    def _r1_when_due(self, critic: Critic, both: dict) -> object:
        """R1 of a batch's real half, in its every n-th step n-fold, else 0.

        Lazy regularisation, from StyleGAN2 (arXiv 1912.04958, section 3.1).
        """
        interval = self.config.completion.discriminator.r1_interval

        def due() -> object:
            slopes = image_gradients(critic, _half(both, 0), self.gradient_by)
            return interval * self.r1(slopes)

        step = ops.convert_to_tensor(self.critic_optimizer.iterations)
        return ops.cond(step % interval == 0, due, lambda: ops.zeros(()))

    def _adversarial(
        self, batch: dict, completed: object, parsing: object, boxes: object
    ) -> dict:
        """The network's terms that come from the critics."""
        mask = batch["mask"]
        fakes = self._critic_inputs(completed, parsing, mask, boxes)
        matching = "feature_matching" in self.term_weights
        if matching:
            reals = self._critic_inputs(batch["image"], parsing, mask, boxes)
        terms = {"feature_matching": 0.0} if matching else {}
        for name, critic in self.critics.items():
            *fake, scores = critic.features(fakes[name])
            terms[f"adversarial{_CRITICS[name]}"] = self.adversarial.generator(
                scores, patch_weights(fakes[name]["mask"], scores)
            )
            if matching:
                *real, _ = critic.features(reals[name])
                terms["feature_matching"] += self.feature_matching(real, fake)
        return terms

    def _reconstruction(
        self, batch: dict, outputs: dict, parsing: object
    ) -> tuple[object, dict]:
        """The completed photo, and the terms that need no critic."""
        image, mask, painted = batch["image"], batch["mask"], outputs["painted"]
        completed = image * (1.0 - mask) + painted * mask
        losses = {
            "l1_hole": lambda: masked_l1(image, painted, mask),
            "l1_known": lambda: masked_l1(image, painted, 1.0 - mask),
            "psnr": lambda: psnr_loss(image, painted, mask),
            "total_variation": lambda: self.total_variation(completed, mask),
            "label_colour": lambda: self.label_colour(image, painted, mask, parsing),
            "coarse": lambda: self._coarse(image, outputs["coarse"], mask),
        }
        if self.perceptual:
            features = [self.perceptual.extract(x) for x in (image, completed)]
            losses["perceptual"] = lambda: self.perceptual.compare(*features)
            losses["style"] = lambda: self.style(*features)
        terms = {
            name: loss() for name, loss in losses.items() if name in self.term_weights
        }
        return completed, terms

    def _coarse(self, image: object, coarse: object, mask: object) -> object:
        """Both L1 of a first stage's answer, weighted as those of the last."""
        loss = self.config.completion.loss
        inside = masked_l1(image, coarse, mask)
        return loss.hole * inside + loss.known * masked_l1(image, coarse, 1.0 - mask)

    def _train_network(
        self, batch: dict, parsing: object, boxes: object | None
    ) -> tuple[object, dict]:
        """One step of the network; of the critics too, where boxes say where to look.

        Returns:
            The completed photo, and all terms.
        """

        def loss(paused: Callable) -> tuple:
            critic_terms = {}
            outputs = self(batch, parsing, training=True)
            completed, terms = self._reconstruction(batch, outputs, parsing)
            if boxes is not None:
                with paused():
                    painted = ops.stop_gradient(completed)
                    critic_terms = self._train_critics(batch, painted, parsing, boxes)
                terms |= self._adversarial(batch, completed, parsing, boxes)
            total = weighted_sum(terms, self.term_weights)
            return total, (completed, {**terms, **critic_terms, "loss": total})

        variables = self.network.trainable_variables
        gradients, answer = self.differentiate(loss, variables)
        self.update_weights(self.network_optimizer, gradients, variables)
        return answer

    def learn(self, batch: dict) -> dict:
        mask = batch["mask"]
        parsing = self.parsing_for(batch, self.config.completion.predicted_parsing)
        boxes = None if self.phase == "reconstruction" else self._local_boxes(mask)
        if self.phase == "critics":
            painted = self(batch, parsing, training=False)["painted"]
            completed = batch["image"] * (1.0 - mask) + painted * mask
            terms = self._train_critics(batch, completed, parsing, boxes)
        else:
            completed, terms = self._train_network(batch, parsing, boxes)
        self.record(terms)
        return self._update(batch, completed, terms)

    def test_step(self, batch: dict) -> dict:
        self.tell_stop()
        parsing = self.parsing_for(batch, 1.0)
        outputs = self(batch, parsing)
        completed, terms = self._reconstruction(batch, outputs, parsing)
        terms["loss"] = weighted_sum(terms, self.term_weights)
        return self._update(batch, completed, terms)

    def _update(self, batch: dict, completed: object, terms: dict) -> dict:
        for name, value in terms.items():
            self.tracked[name].update_state(value)
        self.psnr_hole.update_state(hole_psnr(batch["image"], completed, batch["mask"]))
        return self.results()


def _build_critics(config: Config, size: tuple[int, int]) -> dict[str, Critic]:
    """The critics whose adversarial loss weighs more than 0, by name."""
    weights = config.completion.loss
    discriminator = config.completion.discriminator
    sees = {
        "conditioned": discriminator.conditioned,
        "spectral_normalisation": discriminator.spectral_normalisation,
    }
    critics = {}
    name = "global_discriminator"
    if weights.adversarial and discriminator.features == "none":
        critics[name] = Discriminator(size, discriminator.widths, name=name, **sees)
    elif weights.adversarial:
        critics[name] = FeatureDiscriminator(
            size,
            discriminator.features_width,
            backbone=discriminator.features,
            name=name,
            **sees,
        )
        load_backbone_weights(critics[name], discriminator.features_weights)
    name = "local_discriminator"
    if weights.adversarial_local:
        size = discriminator.local_size
        critics[name] = Discriminator(size, discriminator.widths, name=name, **sees)
    return critics


def _weights(config: Config, network: keras.Model, critics: dict) -> tuple[dict, dict]:
    """Weights above 0 of the terms of the network, and of the critics."""
    loss = config.completion.loss
    discriminator = config.completion.discriminator
    of_network = {
        "l1_hole": loss.hole,
        "l1_known": loss.known,
        "psnr": loss.psnr,
        "coarse": loss.coarse if "coarse" in network.output else 0.0,
        "perceptual": loss.perceptual,
        "style": loss.style,
        "total_variation": loss.total_variation,
        "label_colour": loss.label_colour,
        "adversarial": loss.adversarial,
        "adversarial_local": loss.adversarial_local,
        "feature_matching": loss.feature_matching,
    }
    of_critics = {f"critic{_CRITICS[name]}": 1.0 for name in critics}
    if critics:
        penalised = discriminator.loss == "wgan_gp"
        of_critics["gradient_penalty"] = penalised * discriminator.gradient_penalty
        of_critics["r1"] = discriminator.r1
    return tuple(
        {name: weight for name, weight in weights.items() if weight}
        for weights in (of_network, of_critics)
    )


def weighted_sum(terms: dict, weights: dict[str, float]) -> object:
    return sum(weights[name] * value for name, value in terms.items())


def image_gradients(critic: Critic, inputs: dict, gradient_by: Callable) -> object:
    """Gradient of each sample's score by its photo: `[B, H, W, 3]`.

    A sample's score is the mean over its patches; of several scales, their mean.

    Args:
        critic: Its weights are as they are to be.
        inputs: Of the critic.
        gradient_by: As `Trainer.gradient_by`.
    """

    def score(image: object) -> object:
        scores = critic({**inputs, "image": image}, training=False)
        scales = scores if isinstance(scores, list) else [scores]
        # Samples do not see each other: the sum's gradient is each one's own.
        means = [ops.sum(ops.mean(one, axis=(1, 2, 3))) for one in scales]
        return sum(means) / len(scales)

    return gradient_by(score, inputs["image"])


def _half(both: object, part: int) -> object:
    """The real half (0) or the fake one (1) of all tensors of a structure."""
    return map_structure(lambda value: ops.split(value, 2, axis=0)[part], both)


def mixed_parsing(
    labels: object, predicted: object, predicted_part: float, chance: object
) -> object:
    """For each sample the true map or the predicted one; void pixels are predicted.

    Args:
        labels: int32 `[B, H, W]`; 20 and above is void.
        predicted: `[B, H, W, 20]` probabilities.
        predicted_part: Of the samples.
        chance: `[B]`, uniform in [0, 1).
    """
    use_truth = (chance >= predicted_part)[:, None, None, None]
    return ops.where(use_truth, true_parsing(labels, predicted), predicted)


def hole_psnr(truth: object, completed: object, mask: object) -> object:
    """Peak signal-to-noise ratio over the hole alone, in dB: `[B]`.

    Args:
        truth: `[B, H, W, 3]` in [-1, 1].
        completed: The same; clipped here.
        mask: `[B, H, W, 1]`, 1.0 = hole.
    """
    error = mask * (truth - ops.clip(completed, -1.0, 1.0)) ** 2
    area = ops.maximum(ops.sum(mask, axis=(1, 2, 3)) * truth.shape[-1], 1.0)
    mean = ops.sum(error, axis=(1, 2, 3)) / area
    return 10.0 * ops.log10(4.0 / ops.maximum(mean, 1e-8))
