"""The smallest trainer that has phases, an average and random draws; it fits a line.

`python line.py` trains it by plain `fit`, without a callback, and prints as JSON what
came of it.
"""

import json

import keras
import numpy as np
import tensorflow as tf

from portrait_tf.compat import ops
from portrait_tf.config import (
    CompletionScheduleConfig,
    Config,
    OptimizerConfig,
    TrainingConfig,
)
from portrait_tf.training.backends import for_backend
from portrait_tf.training.base import Trainer
from portrait_tf.training.optimizers import build_optimizer


class LineTrainer(Trainer):
    """Three steps reconstruct, two are the critics', which train nothing here."""

    schedule = CompletionScheduleConfig(reconstruction_steps=3, critic_steps=2)

    def __init__(self) -> None:
        super().__init__(name="line_trainer")
        photo = keras.Input((3,))
        answer = keras.layers.Dense(1, kernel_initializer="ones")(photo)
        self.network = keras.Model(photo, answer)
        self.config = Config()
        self.network_optimizer = build_optimizer(
            OptimizerConfig(warmup_steps=0, learning_rate=0.01),
            100,
            self.network.trainable_variables,
            "network_optimizer",
        )
        self.tracked = {name: keras.metrics.Mean(name) for name in ("loss", "critic")}
        self.traced = []
        self.prepare(TrainingConfig(ema=0.9))

    @property
    def networks(self) -> dict[str, keras.Model]:
        return {"network": self.network}

    def state(self) -> dict[str, list]:
        variables = self.network_optimizer.variables
        return {"network": self.network.weights, "network_optimizer": variables}

    @property
    def metrics(self) -> list:
        return list(self.tracked.values())

    def chance_shapes(self, batch_size: int) -> dict[int, tuple]:
        return {0: (batch_size,)}

    def learn(self, batch: dict) -> dict:
        self.traced.append(self.phase)
        target = ops.reshape(self.chance((batch["image"].shape[0],)), (-1, 1))

        def loss(_: object) -> tuple:
            total = ops.mean((self.network(batch["image"]) - target) ** 2)
            return total, total

        variables = self.network.trainable_variables
        gradients, total = self.differentiate(loss, variables)
        terms = {"critic": total}
        if self.phase != "critics":
            terms = {"loss": total}
            self.update_weights(self.network_optimizer, gradients, variables)
        self.record(terms)
        for name, value in terms.items():
            self.tracked[name].update_state(value)
        return self.results()


def line_data() -> tf.data.Dataset:
    image = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")
    return tf.data.Dataset.from_tensors({"image": image}).repeat()


def fitted(callbacks: list | None = None) -> dict:
    """What eight steps of plain `fit` come to, in two epochs."""
    trainer = for_backend(LineTrainer)()
    trainer.compile()
    data = line_data()
    history = trainer.fit(
        data, epochs=2, steps_per_epoch=4, verbose=0, shuffle=False, callbacks=callbacks
    ).history
    variables = [*trainer.network.weights, *trainer.averaged.weights]
    return {
        "step": trainer.step,
        "iterations": int(ops.convert_to_numpy(trainer.network_optimizer.iterations)),
        "traced": list(trainer.traced),
        "history": history,
        "weights": [ops.convert_to_numpy(one).ravel().tolist() for one in variables],
    }


if __name__ == "__main__":
    print(json.dumps(fitted()))
