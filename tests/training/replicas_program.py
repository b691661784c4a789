"""One process of a training that tests start: `python replicas_program.py JSON`.

The JSON has `stage`, `run`, `strategy`, `devices` (virtual ones of the CPU), `changes`
of the tiny config, `parsing` (stage 1's run) and `out`: where the process writes what
it logged and all variables as they are at the end. TF_CONFIG is the environment's.
"""

import json
import logging
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
    from portrait_tf.config import parse_config, with_changes
    from portrait_tf.data.synthetic import synthetic_portrait
    from portrait_tf.training import commands

    trained = {}
    train = commands.train

    def watched(trainer, *args, **kwargs):
        trained["trainer"] = trainer
        return train(trainer, *args, **kwargs)

    commands.train = watched
    portraits = [synthetic_portrait(seed, (64, 64)) for seed in range(6)]
    history = commands.train_stage(
        given["stage"],
        with_changes(parse_config(TINY), given["changes"]),
        portraits,
        given["run"],
        # The last batch of three is not whole.
        portraits[:3],
        given.get("parsing"),
        verbose=0,
        strategy=given["strategy"],
    )
    variables = trained["trainer"].everything()
    np.savez(
        given["out"],
        history=np.array(json.dumps(history)),
        **{f"v{i:04d}": np.asarray(one) for i, one in enumerate(variables)},
    )


if __name__ == "__main__":
    main()
