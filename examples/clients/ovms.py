"""Completes a photo with `ovmsclient`, which needs no TensorFlow.

    python -m venv .venv-ovms && .venv-ovms/bin/pip install ovmsclient pillow
    .venv-ovms/bin/python examples/clients/ovms.py localhost:8500 1 a.jpg m.png o.png

It has its own copies of TensorFlow Serving's protos, which cannot be loaded beside
TensorFlow's: hence an environment of its own. It knows no signature but the default,
receives no more than gRPC's 4 MB, and must be told the version: without one it asks for
version 0, which means the newest to OpenVINO's server and is NOT_FOUND in TensorFlow
Serving.
"""

import sys

import numpy as np
import ovmsclient
from PIL import Image


def main(address: str, version: str, photo: str, mask: str, out: str) -> None:
    """Sends uint8 tensors `[1, H, W, 3]` and `[1, H, W, 1]` to `serving_default`."""
    client = ovmsclient.make_grpc_client(address)
    model = {"model_name": "portrait", "model_version": int(version)}
    print(client.get_model_status(**model))
    metadata = client.get_model_metadata(**model)
    print("inputs", sorted(metadata["inputs"]), "outputs", sorted(metadata["outputs"]))
    outputs = client.predict(
        inputs={
            "image": np.asarray(Image.open(photo).convert("RGB"))[None],
            "mask": np.asarray(Image.open(mask).convert("L"))[None, ..., None],
        },
        timeout=60,
        **model,
    )
    Image.fromarray(outputs["completed"][0]).save(out)


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit("usage: ovms.py HOST:PORT VERSION PHOTO MASK OUT")
    main(*sys.argv[1:])
