"""Discriminators under training: what they see, their losses, and the network's."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from portrait_tf.compat import Tensor, map_structure, ops
from portrait_tf.layers import crop_and_resize, hole_boxes, random_hole_boxes
from portrait_tf.losses import (
    AdversarialLoss,
    feature_matching,
    gradient_penalty,
    r1_penalty,
)

# Streams of a step's random draws; 0 is the trainers' own.
_CROPS, _BETWEEN = 1, 2


class Critics:
    """Discriminators that are trained together, and what they add to the losses.

    Args:
        networks: Discriminators by name. One whose name begins with `local` sees crops
            of its size around the holes, the others see whole photos.
        loss: `hinge`, `least_squares` or `wgan_gp`.
        network_weights: Weights of the network's terms: `adversarial` (of the one that
            sees whole photos), `adversarial_local`, `feature_matching`.
        gradient_penalty: Weight of WGAN-GP's penalty.
        r1: Weight of the R1 penalty, with any loss.
        r1_interval: R1 is computed every so many steps, and weighs as many times more
            (StyleGAN2, arXiv 1912.04958, section 3.1).
        local_crops: Crops a photo, each around a random pixel of the hole; 0 for one
            crop around all holes.
        local_size: Height and width in pixels of the photo of such a crop; by default
            what the local discriminator takes. Crops are resized to that.

    Attributes:
        weights: Weights of the critics' own terms.
    """

    def __init__(
        self,
        networks: dict[str, keras.Model],
        loss: str = "hinge",
        network_weights: dict[str, float] | None = None,
        gradient_penalty: float = 0.0,
        r1: float = 0.0,
        r1_interval: int = 16,
        local_crops: int = 0,
        local_size: tuple[int, int] | None = None,
    ) -> None:
        self.networks = networks
        self.loss = AdversarialLoss(loss)
        self.r1_interval = r1_interval
        self.local_crops = local_crops
        self.local_size = local_size
        self.suffixes = {
            name: "_local" if name.startswith("local") else "" for name in networks
        }
        given = network_weights or {}
        names = [f"adversarial{suffix}" for suffix in self.suffixes.values()]
        weights = {name: given.get(name, 0.02) for name in names}
        weights["feature_matching"] = given.get("feature_matching", 0.0)
        self.network_weights = {name: w for name, w in weights.items() if w}
        weights = {f"critic{suffix}": 1.0 for suffix in self.suffixes.values()}
        weights |= {"gradient_penalty": gradient_penalty, "r1": r1}
        self.weights = {name: weight for name, weight in weights.items() if weight}

    @property
    def trainable_variables(self) -> list:
        return [v for one in self.networks.values() for v in one.trainable_variables]

    def normalize(self) -> None:
        """Divides all kernels that have it by their spectral norm."""
        for critic in self.networks.values():
            critic.normalize()

    def boxes(self, mask: Tensor, uniform: Callable) -> Tensor | None:
        """Boxes that the local discriminator sees: `[B, 4]` or `[B, N, 4]`.

        Args:
            mask: `[B, H, W, 1]`, 1.0 = hole.
            uniform: `Trainer.uniform`.
        """
        local = [one for name, one in self.networks.items() if self.suffixes[name]]
        if not local:
            return None
        if not self.local_crops:
            return hole_boxes(mask)
        chance = uniform((ops.shape(mask)[0], self.local_crops), _CROPS)
        return random_hole_boxes(mask, chance, self.local_size or local[0].size)

    def see(self, inputs: dict) -> dict[str, dict]:
        """Inputs of each discriminator, by its name.

        Args:
            inputs: `image`, `parsing`, `mask`, and `boxes` for a local discriminator.
        """
        seen = {}
        for name, critic in self.networks.items():
            parts = {part: inputs[part] for part in critic.input}
            if self.suffixes[name]:
                joined = ops.concatenate(list(parts.values()), -1)
                crops = crop_and_resize(joined, inputs["boxes"], critic.size)
                ends = np.cumsum([part.shape[-1] for part in parts.values()])
                crops = ops.split(crops, ends[:-1].tolist(), -1)
                parts = dict(zip(parts, crops, strict=True))
            seen[name] = parts
        return seen

    def losses(
        self, real: dict, fake: dict, step: Tensor, uniform: Callable
    ) -> dict[str, Tensor]:
        """Unweighted terms of the critics' loss.

        Args:
            real: Inputs of `see` with the true photo or map.
            fake: Inputs of `see` with the network's.
            step: Number of steps done by the critics' optimizer.
            uniform: `Trainer.uniform`.
        """
        both = {
            name: ops.concatenate([real[name], fake[name]], 0)
            for name in real
            if real[name] is not None
        }
        terms = dict.fromkeys(self.weights, 0.0)
        for name, seen in self.see(both).items():
            critic = self.networks[name]
            scores = critic(seen, training=False)
            first, second = _half(scores, 0), _half(scores, 1)
            mask = _half(seen["mask"], 0)
            term = self.loss.critic(first, second, mask)
            terms[f"critic{self.suffixes[name]}"] = term
            if "gradient_penalty" in terms:
                terms["gradient_penalty"] += self._slopes(critic, seen, uniform)
            if "r1" in terms:
                terms["r1"] += self._lazy_r1(critic, _half(seen, 0), step)
        return terms

    def _slopes(self, critic: keras.Model, both: dict, uniform: Callable) -> Tensor:
        """The gradient penalty between the real and the fake half of a batch."""
        real, fake = ops.split(both["image"], 2, axis=0)
        inputs = _half(both, 0)
        part = uniform((ops.shape(real)[0], 1, 1, 1), _BETWEEN)
        between = {**inputs, "image": real + part * (fake - real)}
        return gradient_penalty(image_gradients(critic, between), inputs["mask"])

    def _lazy_r1(self, critic: keras.Model, real: dict, step: Tensor) -> Tensor:
        def due() -> Tensor:
            return self.r1_interval * r1_penalty(image_gradients(critic, real))

        return ops.cond(step % self.r1_interval == 0, due, lambda: ops.zeros(()))

    def network_losses(self, real: dict, fake: dict) -> dict[str, Tensor]:
        """Unweighted terms of the network's loss; arguments as in `losses`."""
        matching = "feature_matching" in self.network_weights
        terms = {"feature_matching": 0.0} if matching else {}
        seen = self.see(fake)
        truth = self.see(real) if matching else {}
        for name, critic in self.networks.items():
            *features, scores = critic.features(seen[name])
            term = self.loss.generator(scores, seen[name]["mask"])
            terms[f"adversarial{self.suffixes[name]}"] = term
            if matching:
                *targets, _ = critic.features(truth[name])
                terms["feature_matching"] += feature_matching(targets, features)
        return terms


def image_gradients(critic: keras.Model, inputs: dict) -> Tensor:
    """Gradient of each sample's score by its photo: `[B, H, W, 3]`.

    A sample's score is the mean over its patches; of several scales, their mean.
    """
    image = inputs["image"]
    with tf.GradientTape() as tape:
        tape.watch(image)
        scores = critic({**inputs, "image": image}, training=False)
        scales = scores if isinstance(scores, list) else [scores]
        # Samples are independent: the sum's gradient is that of each of them.
        means = [ops.sum(ops.mean(one, axis=(1, 2, 3))) for one in scales]
        total = sum(means) / len(scales)
    return tape.gradient(total, image)


def _half(both: object, part: int) -> object:
    """The first or the second half of the batch, of every tensor of a structure."""
    return map_structure(lambda value: ops.split(value, 2, axis=0)[part], both)
