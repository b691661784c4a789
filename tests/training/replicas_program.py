"""One process of a training that tests start: `python replicas_program.py JSON`.

The JSON has `stage`, `run`, `strategy`, `devices` (virtual ones of the CPU), `changes`
of the tiny config, `parsing` (stage 1's run) and `out`: where the process writes what
it logged and all variables as they are at the end. TF_CONFIG is the environment's.
There may be `data` (a data set's folder) and `kill_at`: the process kills itself after
that step of the run.
"""

import json
import logging
import os
import signal
import sys

import numpy as np
import tensorflow as tf
from tiny import TINY


def main() -> None:
    given = json.loads(sys.argv[1])
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    if given["devices"] > 1:
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * given["devices"]
        )
    import keras

    from portrait_tf.config import parse_config, with_changes
    from portrait_tf.data.open import open_dataset
    from portrait_tf.data.synthetic import synthesize
    from portrait_tf.errors import PortraitError
    from portrait_tf.training import commands
    from portrait_tf.training import fit as fit_module

    trained = {}
    fit, callbacks = commands.fit, fit_module.Job.callbacks

    class Kill(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
            if self.model.step == given["kill_at"]:
                os.kill(os.getpid(), signal.SIGKILL)

    def watched(trainer, *rest):
        trained["trainer"] = trainer
        return fit(trainer, *rest)

    def with_kill(job, *rest):
        return [*callbacks(job, *rest), *([Kill()] if "kill_at" in given else [])]

    fit_module.Job.callbacks = with_kill
    commands.fit = watched
    reader = [synthesize(seed, (64, 64)) for seed in range(6)]
    # The last batch of three is not whole.
    validation = reader[:3]
    if "data" in given:
        reader = open_dataset(given["data"], "train")
        validation = open_dataset(given["data"], "val")
    try:
        history = commands.train_stage(
            given["stage"],
            with_changes(parse_config(TINY), given["changes"]),
            reader,
            given["run"],
            validation,
            {"parsing": given.get("parsing")},
            verbose=0,
            strategy=given["strategy"],
        )
    except PortraitError as error:
        print(error)
        sys.exit(error.exit_code)
    variables = trained["trainer"].everything()
    np.savez(
        given["out"],
        history=np.array(json.dumps(history)),
        **{f"v{i:04d}": np.asarray(one) for i, one in enumerate(variables)},
    )


if __name__ == "__main__":
    main()
