"""Trainers as a config describes them."""

import keras

from portrait_tf.config import CompletionConfig, Config
from portrait_tf.config.completion import FeaturesConfig
from portrait_tf.losses import PerceptualLoss
from portrait_tf.models import Discriminator, FeatureDiscriminator
from portrait_tf.models.network import precision
from portrait_tf.runs.backbone_weights import load_backbone_weights
from portrait_tf.training.base import Trainer
from portrait_tf.training.completion import CompletionTrainer
from portrait_tf.training.critics import Critics
from portrait_tf.training.face import FaceTrainer
from portrait_tf.training.optimizers import build_optimizer
from portrait_tf.training.parsing import ParsingTrainer


def build_trainer(
    stage: str, network: keras.Model, earlier: list[keras.Model], config: Config
) -> Trainer:
    """The compiled trainer of a stage.

    Args:
        stage: `parsing`, `completion` or `face`.
        network: The network to train.
        earlier: Networks of the stages before it, in order.
        config: The experiment.

    Raises:
        PortraitError: Weights of a VGG or of a discriminator cannot be had; an
            optimizer needs the addons stack.
    """
    section = getattr(config, stage)
    build = {"parsing": _parsing, "completion": _completion, "face": _face}[stage]
    trainer = build(network, earlier, config)
    name = "parsing_optimizer" if stage == "parsing" else "network_optimizer"
    steps = section.training.steps
    trainer.compile(
        optimizer=build_optimizer(section.training.optimizer, steps, name),
        critic_optimizer=build_optimizer(
            section.discriminator_optimizer, steps, "critic_optimizer"
        ),
    )
    return trainer


def _parsing(
    network: keras.Model, earlier: list[keras.Model], config: Config
) -> ParsingTrainer:
    parsing = config.parsing
    critics = None
    if parsing.loss.adversarial:
        size = tuple(network.output["parsing"].shape[1:3])
        name = "map_discriminator"
        critic = Discriminator(size, parsing.discriminator_widths, name=name)
        weights = {"adversarial": parsing.loss.adversarial}
        critics = Critics({name: critic}, network_weights=weights)
    return ParsingTrainer(
        network,
        losses=parsing.loss,
        critics=critics,
        scales=parsing.scales,
        hinted=parsing.hinted,
        hint_error=parsing.hint_error,
        ema=parsing.training.ema,
        seed=config.seed,
    )


def _completion(
    network: keras.Model, earlier: list[keras.Model], config: Config
) -> CompletionTrainer:
    completion = config.completion
    loss = completion.loss
    losses = {
        "l1_hole": loss.hole,
        "l1_known": loss.known,
        "psnr": loss.psnr,
        "coarse": loss.coarse,
        "perceptual": loss.perceptual,
        "style": loss.style,
        "total_variation": loss.total_variation,
        "label_color": loss.label_color,
    }
    # Before the VGG, whose weights would change what is drawn for them.
    critics = _completion_critics(completion, network.size)
    perceptual = None
    if loss.perceptual or loss.style:
        with precision(completion.training.mixed_precision):
            perceptual = PerceptualLoss(
                **completion.perceptual.model_dump(), seed=config.seed
            )
    return CompletionTrainer(
        network,
        earlier[0],
        losses=losses,
        critics=critics,
        perceptual=perceptual,
        predicted_parsing=completion.predicted_parsing,
        hinted=completion.hinted,
        phases=_phases(completion),
        ema=completion.training.ema,
        seed=config.seed,
    )


def _completion_critics(
    completion: CompletionConfig, size: tuple[int, int]
) -> Critics | None:
    """The discriminators whose adversarial loss has a weight."""
    loss, discriminator = completion.loss, completion.discriminator
    sees = {
        "conditioned": discriminator.conditioned,
        "spectral_normalization": discriminator.spectral_normalization,
    }
    networks, crop = {}, discriminator.local_size
    if loss.adversarial:
        name = "global_discriminator"
        networks[name] = _critic(name, size, discriminator, **sees)
    if loss.adversarial_local:
        name = "local_discriminator"
        whole = not discriminator.local_features
        # The first feature has stride 4; enlarged, that is every second pixel.
        seen = crop if whole else tuple(2 * side for side in crop)
        networks[name] = _critic(name, seen, discriminator, whole, **sees)
    if not networks:
        return None
    penalized = discriminator.loss == "wgan_gp"
    return Critics(
        networks,
        discriminator.loss,
        {
            "adversarial": loss.adversarial,
            "adversarial_local": loss.adversarial_local,
            "feature_matching": loss.feature_matching,
        },
        gradient_penalty=discriminator.gradient_penalty if penalized else 0.0,
        r1=discriminator.r1,
        r1_interval=discriminator.r1_interval,
        local_crops=discriminator.local_crops,
        local_size=crop,
    )


def _critic(
    name: str,
    size: tuple[int, int],
    config: FeaturesConfig,
    whole: bool = False,
    **sees: bool,
) -> keras.Model:
    """A discriminator that is trained whole, or on features as its config says."""
    if whole or config.features == "none":
        return Discriminator(size, config.widths, name=name, **sees)
    network = FeatureDiscriminator(
        size, config.features_width, backbone=config.features, name=name, **sees
    )
    load_backbone_weights(network, config.features_weights)
    return network


def _face(
    network: keras.Model, earlier: list[keras.Model], config: Config
) -> FaceTrainer:
    face = config.face
    critics = perceptual = None
    if face.loss.adversarial:
        critic = _critic("face_discriminator", network.size, face.discriminator)
        weights = face.loss.model_dump(include={"adversarial", "feature_matching"})
        critics = Critics({"discriminator": critic}, network_weights=weights)
    if face.loss.perceptual:
        given = config.completion.perceptual
        # A crop is small already: it is not shrunk as whole photos may be.
        perceptual = PerceptualLoss(
            given.network, given.weights, given.layers, seed=config.seed
        )
    return FaceTrainer(
        network,
        *earlier,
        losses={"l1_hole": face.loss.hole, "perceptual": face.loss.perceptual},
        critics=critics,
        perceptual=perceptual,
        predicted_parsing=face.predicted_parsing,
        phases=_phases(face),
        ema=face.training.ema,
        seed=config.seed,
    )


def _phases(section: object) -> tuple[int, int]:
    schedule = section.schedule
    return schedule.reconstruction_steps, schedule.critic_steps
