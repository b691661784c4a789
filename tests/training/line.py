"""The smallest trainer that has phases, an average and random draws; it fits a line."""

import keras
import numpy as np
import tensorflow as tf

from portrait_tf.training.base import Trainer
from portrait_tf.training.critics import Critics


class LineTrainer(Trainer):
    """Three steps reconstruct, two are the critics', which train nothing here."""

    def __init__(self) -> None:
        photo = keras.Input((3,))
        answer = keras.layers.Dense(1, kernel_initializer="ones")(photo)
        critics = Critics({})
        critics.weights = {"critic": 1.0}
        super().__init__(
            keras.Model(photo, answer),
            {"square": 1.0},
            critics,
            phases=(3, 2),
            ema=0.9,
            name="line_trainer",
        )
        self.traced = []

    def prepare(self, batch: dict, training: bool) -> dict:
        self.traced.append(self.phase)
        target = self.uniform((batch["image"].shape[0], 1))
        return {**batch, "target": target}

    def answer(self, network: keras.Model, inputs: dict, training: bool) -> dict:
        return {"line": network(inputs["image"])}

    def loss_terms(self, inputs: dict, outputs: dict) -> dict:
        return {"square": tf.reduce_mean((outputs["line"] - inputs["target"]) ** 2)}

    def critic_inputs(self, inputs: dict, outputs: dict) -> tuple[dict, dict]:
        return inputs, outputs

    def train_critics(self, real: dict, fake: dict) -> dict:
        return {"critic": tf.reduce_mean(fake["line"])}


def line_data() -> tf.data.Dataset:
    image = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")
    return tf.data.Dataset.from_tensors({"image": image}).repeat()


def fitted(callbacks: list | None = None) -> dict:
    """What eight steps of plain `fit` come to, in two epochs."""
    trainer = LineTrainer()
    trainer.compile(optimizer=keras.optimizers.Adam(0.01))
    data = line_data()
    history = trainer.fit(
        data, epochs=2, steps_per_epoch=4, verbose=0, shuffle=False, callbacks=callbacks
    ).history
    variables = [*trainer.network.weights, *trainer.averaged.weights]
    return {
        "step": trainer.step,
        "iterations": int(np.array(trainer.optimizer.iterations)),
        "traced": list(trainer.traced),
        "history": history,
        "weights": [np.array(one).ravel().tolist() for one in variables],
    }
