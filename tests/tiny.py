"""The smallest experiment that still has every part."""

import contextlib

import numpy as np
import pytest

TINY = {
    "name": "tiny",
    "seed": 5,
    "size": [32, 32],
    "augmentation": {
        "mirror": 0, "scale": [1, 1], "shift": 0,
        "brightness": 0, "contrast": 0, "saturation": 0,
    },
    "parsing": {
        "network": {"widths": [8, 16, 16, 24], "blocks": [1, 1], "feature_width": 16},
        "training": {
            "steps": 4, "batch_size": 2, "steps_per_epoch": 2, "validation_photos": 2,
            "optimizer": {"learning_rate": 0.003, "warmup_steps": 2},
        },
    },
    "completion": {
        # Without a pre-fill, whose loops take as long to trace as all the rest.
        "network": {"widths": [8, 16, 16], "dilations": [1, 2], "prefill": "none"},
        "discriminator": {"widths": [8, 16], "local_size": [16, 16]},
        "perceptual": {
            "network": "vgg16", "weights": "random", "layers": {"block1_conv2": 1.0},
        },
        "schedule": {"reconstruction_steps": 2, "critic_steps": 1},
        "training": {
            "steps": 5, "batch_size": 2, "steps_per_epoch": 2, "validation_photos": 2,
            "optimizer": {"learning_rate": 0.003, "warmup_steps": 2},
        },
    },
    "face": {
        "network": {"size": [16, 16], "widths": [8, 16, 16], "blocks": 1},
        "discriminator": {"widths": [8, 16]},
        "schedule": {"reconstruction_steps": 2, "critic_steps": 1},
        "training": {
            "steps": 5, "batch_size": 2, "steps_per_epoch": 2, "validation_photos": 2,
            "optimizer": {"learning_rate": 0.003, "warmup_steps": 2},
        },
    },
}  # fmt: skip


@contextlib.contextmanager
def stopped_at(step, trainer):
    """Ctrl-C, as it were, behind a step of the trainer of that class."""
    from portrait_tf.training.callbacks import Checkpoints

    count = Checkpoints.on_train_batch_end

    def stop(self, batch, logs=None):
        count(self, batch, logs)
        if type(self.model).__name__ == trainer and self.model.step == step:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Checkpoints, "on_train_batch_end", stop)
        yield


def random_networks(*stages: str, changes: tuple[str, ...] = ()) -> list:
    """Tiny networks with random weights; stage 1 takes joints."""
    import keras

    from portrait_tf.config import parse_config, with_changes
    from portrait_tf.runs.folder import build_network

    keras.utils.set_random_seed(0)
    config = with_changes(parse_config(TINY), ["parsing.network.hints=true", *changes])
    rng = np.random.default_rng(0)
    return [shaken(build_network(stage, config), seed=rng) for stage in stages]


def shaken(network, noise=0.05, seed=0):
    """The network with noise on its weights, so that each part has an effect.

    Args:
        noise: Standard deviation.
        seed: A number, or a generator.
    """
    rng = np.random.default_rng(seed)
    network.set_weights(
        [w + rng.normal(0, noise, w.shape) for w in network.get_weights()]
    )
    return network


def current_rate(optimizer):
    """The learning rate of an optimizer's next step."""
    from portrait_tf.compat import KERAS_3

    # Keras 2.15's `learning_rate` is that of the last step that was taken.
    rate = optimizer.learning_rate if KERAS_3 else optimizer._learning_rate
    return float(rate(optimizer.iterations) if callable(rate) else rate)


def assert_equal_arrays(ones, others, **tolerance):
    """Compares two lists, or dicts: bit for bit, or within `rtol` and `atol`."""
    if not isinstance(ones, dict):
        ones, others = dict(enumerate(ones)), dict(enumerate(others))
    assert ones.keys() == others.keys()
    for name, one in ones.items():
        if tolerance:
            np.testing.assert_allclose(
                one, others[name], err_msg=str(name), **tolerance
            )
        else:
            np.testing.assert_array_equal(one, others[name], err_msg=str(name))
