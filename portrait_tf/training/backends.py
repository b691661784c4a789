"""Which backend of Keras training runs on, and what it can do there.

TensorFlow's train steps are the main road. Stages 1 and 2 also train on JAX, with the
same networks, losses, config and checkpoints.
"""

import keras

from portrait_tf.config import Config
from portrait_tf.errors import PortraitError
from portrait_tf.training.base import Trainer
from portrait_tf.training.optimizers import check_optimizer

TRAINING_BACKENDS = ("tensorflow", "jax")
_STAGES_ON_JAX = ("parsing", "completion")


def check_backend(stage: str, config: Config) -> None:
    """Raises PortraitError: this stack, or Keras' backend, does not train this.

    Args:
        stage: `parsing`, `completion` or `face`.
        config: The experiment.
    """
    of_stage = getattr(config, stage)
    check_optimizer(of_stage.training.optimizer, f"{stage}.training.optimizer")
    if stage != "parsing":
        key = f"{stage}.discriminator_optimizer"
        check_optimizer(of_stage.discriminator_optimizer, key)
    backend = keras.backend.backend()
    if backend not in TRAINING_BACKENDS:
        raise PortraitError(
            f"training runs on Keras' backends {' and '.join(TRAINING_BACKENDS)}, "
            f"KERAS_BACKEND is {backend!r}"
        )
    if backend == "tensorflow":
        return
    if stage not in _STAGES_ON_JAX:
        raise PortraitError(
            f"the stage {stage!r} trains on Keras' TensorFlow backend alone, "
            f"KERAS_BACKEND is {backend!r}"
        )
    if getattr(config, stage).training.mixed_precision:
        raise PortraitError(
            f"{stage}.training.mixed_precision needs Keras' TensorFlow backend, "
            f"KERAS_BACKEND is {backend!r}: expected false"
        )


def for_backend(trainer: type[Trainer]) -> type[Trainer]:
    """A trainer's class for Keras' backend, under the same name."""
    if keras.backend.backend() == "tensorflow":
        return trainer
    from portrait_tf.training.jax_trainer import on_jax

    return on_jax(trainer)
