"""The trainer of face refinement."""

import keras
import tensorflow as tf

from portrait_tf.inference.pipeline import Pipeline
from portrait_tf.layers import box_window, crop_and_resize
from portrait_tf.losses import PerceptualLoss, masked_l1
from portrait_tf.metrics import HolePSNR
from portrait_tf.models import FaceNetwork
from portrait_tf.models.face import face_inputs, find_faces, paste_correction
from portrait_tf.models.network import in_float32
from portrait_tf.training.base import Trainer
from portrait_tf.training.completion import mixed_parsing
from portrait_tf.training.critics import Critics

_CROP_PARTS = ("image", "parsing", "mask")


class FaceTrainer(Trainer):
    """Trains a `FaceNetwork` under `model.fit`.

    Batches are those of `CompletionTrainer`. Stages 1 and 2, which are not trained,
    complete them first; the network learns from crops around the faces that a hole
    touches. Samples without such a face are replaced by others in the batch of crops. A
    batch without any face has no hole in its crops, and so no gradient.

    Args:
        network: Stage 3.
        parsing_network: Stage 1, frozen.
        completion_network: Stage 2, frozen.
        losses: Weights of `l1_hole` and `perceptual`.
        critics: One discriminator of the network's size; None trains without.
        perceptual: VGG features for the term `perceptual`; None makes
            `PerceptualLoss()` if the term has a weight.
        predicted_parsing: Fraction of the samples that are given stage 1's map.
        kwargs: `phases`, `ema`, `seed`: see `Trainer`.
    """

    monitor = "val_psnr_face"

    def __init__(
        self,
        network: FaceNetwork,
        parsing_network: keras.Model,
        completion_network: keras.Model,
        losses: dict[str, float] | None = None,
        critics: Critics | None = None,
        perceptual: PerceptualLoss | None = None,
        predicted_parsing: float = 0.5,
        **kwargs: object,
    ) -> None:
        losses = losses or {"l1_hole": 6.0}
        super().__init__(network, losses, critics, name="face_trainer", **kwargs)
        self.pipeline = Pipeline(parsing_network, completion_network)
        self.predicted_parsing = predicted_parsing
        if perceptual is None and losses.get("perceptual"):
            perceptual = PerceptualLoss()
        self.perceptual = perceptual
        self.faces = keras.metrics.Mean("faces")
        self.psnr_face_before = HolePSNR("psnr_face_before")
        self.psnr_face = HolePSNR("psnr_face")
        self.scores = [self.faces, self.psnr_face_before, self.psnr_face]

    def prepare(self, batch: dict, training: bool) -> dict:
        image, mask = batch["image"], batch["mask"]
        parsing = self.pipeline.structure(image * (1.0 - mask), mask)["parsing"]
        if training and self.predicted_parsing < 1.0:
            chance = self.uniform((tf.shape(mask)[0],))
            parsing = mixed_parsing(
                batch["parsing"], parsing, self.predicted_parsing, chance
            )
        completed = self.pipeline.networks(image, mask, parsing)["completed"]
        boxes, found = find_faces(self.network, parsing, mask)
        crops = face_inputs(self.network, completed, parsing, mask, boxes)
        crops["truth"] = crop_and_resize(image, boxes, self.network.size)
        # Samples with a face come first, and are repeated in place of the others.
        order = tf.argsort(
            tf.cast(found, tf.int32), direction="DESCENDING", stable=True
        )
        count = tf.maximum(tf.reduce_sum(tf.cast(found, tf.int32)), 1)
        chosen = tf.gather(order, tf.range(tf.size(order)) % count)
        crops = {name: tf.gather(crop, chosen) for name, crop in crops.items()}
        any_face = tf.cast(tf.reduce_any(found), tf.float32)
        crops["mask"] *= any_face
        return {
            "batch": batch,
            "crops": crops,
            "parsing": parsing,
            "completed": completed,
            "boxes": boxes,
            "found": found,
            "sample_weight": any_face,
        }

    def answer(self, network: keras.Model, inputs: dict, training: bool) -> dict:
        crops = inputs["crops"]
        given = {name: crops[name] for name in _CROP_PARTS}
        correction = in_float32(network(given, training=training)["correction"])
        return {"refined": crops["image"] + crops["mask"] * correction}

    def loss_terms(self, inputs: dict, outputs: dict) -> dict[str, tf.Tensor]:
        crops, refined = inputs["crops"], outputs["refined"]
        terms = {"l1_hole": masked_l1(crops["truth"], refined, crops["mask"])}
        if self.perceptual is not None:
            terms["perceptual"] = self.perceptual(crops["truth"], refined)
        return terms

    def critic_inputs(self, inputs: dict, outputs: dict) -> tuple[dict, dict]:
        seen = {name: inputs["crops"][name] for name in _CROP_PARTS}
        real = {**seen, "image": inputs["crops"]["truth"]}
        return real, {**seen, "image": outputs["refined"]}

    def score(self, network: keras.Model, inputs: dict, outputs: dict) -> None:
        batch, boxes = inputs["batch"], inputs["boxes"]
        found = tf.cast(inputs["found"], tf.float32)
        size = tuple(batch["image"].shape[1:3])
        region = batch["mask"] * box_window(boxes, size, feather=0.0)
        refined = self.refine(network, inputs)
        for metric, photo in (
            (self.psnr_face_before, inputs["completed"]),
            (self.psnr_face, refined),
        ):
            metric.update_state(batch["image"], photo, region, found)
        self.faces.update_state(found)

    def refine(self, network: keras.Model, inputs: dict) -> tf.Tensor:
        """The photos with their faces refined: `[B, H, W, 3]`.

        Args:
            network: `network` or `averaged`.
            inputs: Of `prepare`.
        """
        completed, mask = inputs["completed"], inputs["batch"]["mask"]
        boxes, found = inputs["boxes"], inputs["found"]
        given = face_inputs(network, completed, inputs["parsing"], mask, boxes)
        correction = in_float32(network(given, training=False)["correction"])
        return paste_correction(network, completed, mask, correction, boxes, found)
