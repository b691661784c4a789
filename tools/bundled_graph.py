"""Writes the graph of the bundled networks, for ONNX Runtime.

It holds no weights: those are read from the package's `.npz` files. It is to be written
again when a network's layers or config change, not when it is trained on:

    python -m tools.bundled_graph
"""

import json


def main() -> None:
    from portrait_tf.startup import load_keras

    load_keras()
    from export.onnx_model import write_onnx
    from portrait_tf.inference.onnx_engine import DESCRIPTION_FILE
    from portrait_tf.inference.pipeline import Pipeline
    from portrait_tf.runs.bundled import FOLDER
    from portrait_tf.runs.weights import network_meta

    pipeline = Pipeline.bundled()
    write_onnx(pipeline, FOLDER, weights=False)
    networks = {
        "parsing": pipeline.parsing_network,
        "completion": pipeline.completion_network,
        "face": pipeline.face_network,
    }
    description = {
        "working_size": pipeline.size,
        "detail": pipeline.detail,
        "networks": {
            stage: network_meta(network)
            for stage, network in networks.items()
            if network is not None
        },
    }
    text = json.dumps(description, indent=2)
    (FOLDER / DESCRIPTION_FILE).write_text(text + "\n")


if __name__ == "__main__":
    main()
