"""Random inputs of networks."""

import numpy as np


def inputs_for(network, batch=2, size=(32, 48)):
    """All inputs of a network; those that may have any size have this one."""
    rng, found = np.random.default_rng(0), {}
    for name, x in network.input.items():
        shape = [s or n for s, n in zip(x.shape[1:], (*size, 1), strict=True)]
        found[name] = rng.uniform(0, 1, (batch, *shape)).astype(np.float32)
    return found


def photos_and_masks(size=(32, 48)):
    """Two photos with a hole here and there, as stage 1 takes them."""
    rng = np.random.default_rng(0)
    return {
        "image": rng.uniform(-1, 1, (2, *size, 3)).astype(np.float32),
        "mask": (rng.uniform(size=(2, *size, 1)) > 0.7).astype(np.float32),
    }
