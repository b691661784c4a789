"""The networks as an ONNX graph, which ONNX Runtime runs without TensorFlow."""

import pathlib

import onnx
import tensorflow as tf
import tf2onnx

from portrait_tf import geometry
from portrait_tf.compat import values_in_place
from portrait_tf.inference.onnx_engine import MODEL_FILE
from portrait_tf.inference.pipeline import Pipeline
from portrait_tf.labels import NUM_LABELS
from portrait_tf.runs.storage import by_path

_OPSET = 18
_APART = "weight"
"""Names of inputs that stand for weights, before a number."""


def write_onnx(
    pipeline: Pipeline, folder: str | pathlib.Path, weights: bool = True
) -> None:
    """Writes `portrait.onnx`: all stages at the working size.

    Inputs are `image` `[B, h, w, 3]` in [-1, 1], 0 in the hole; `mask` `[B, h, w, 1]`,
    1.0 = hole; and `parsing` `[B or 1, h or 1, w or 1, 20]`, the user's label map as
    shares of a pixel, by default 0. What is left of 1 is stage 1's. Outputs are
    `completed` `[B, h, w, 3]`, `parsing_map` `[B, h, w, 20]` probabilities, and of a
    network with pose `joints` `[B, 16, 3]` in pixels of the working size.

    Args:
        pipeline: The networks.
        folder: Where to.
        weights: Whether the file holds them. Without, they are named
            `stage/path of the variable`, and whoever opens the file gives them.
    """
    variables = _variables(pipeline) if not weights else {}
    signature = [
        *_inputs(pipeline),
        # Where weights are constants, tf2onnx mixes them; from inputs it keeps away.
        *(
            tf.TensorSpec(one.shape, one.dtype, f"{_APART}{number}")
            for number, one in enumerate(variables.values())
        ),
    ]

    def run(
        image: tf.Tensor, mask: tf.Tensor, parsing: tf.Tensor, *values: tf.Tensor
    ) -> dict:
        pairs = list(zip(variables.values(), values, strict=True))
        with values_in_place(pipeline.keras_models, pairs):
            return _answers(pipeline, image, mask, parsing)

    model, _ = tf2onnx.convert.from_function(
        tf.function(run, input_signature=signature, autograph=False),
        input_signature=signature,
        opset=_OPSET,
        custom_op_handlers={"Bitcast": (_cast, [])},
    )
    _name_weights(model.graph, list(variables))
    _give_default(model.graph)
    _strip(model.graph)
    (pathlib.Path(folder) / MODEL_FILE).write_bytes(
        model.SerializeToString(deterministic=True)
    )


def _inputs(pipeline: Pipeline) -> list[tf.TensorSpec]:
    return [
        tf.TensorSpec([None, *pipeline.size, 3], tf.float32, "image"),
        tf.TensorSpec([None, *pipeline.size, 1], tf.float32, "mask"),
        tf.TensorSpec([None, None, None, NUM_LABELS], tf.float32, "parsing"),
    ]


def _variables(pipeline: Pipeline) -> dict[str, object]:
    """Keras variables by what the graph calls them."""
    stages = {
        "parsing": pipeline.parsing_network,
        "completion": pipeline.completion_network,
        "face": pipeline.face_network,
    }
    return {
        f"{stage}/{path}": variable
        for stage, network in stages.items()
        if network is not None
        for path, variable in by_path(network.weights).items()
    }


def _answers(
    pipeline: Pipeline, image: tf.Tensor, mask: tf.Tensor, parsing: tf.Tensor
) -> dict[str, tf.Tensor]:
    structure = pipeline.structure(image, mask)
    unknown = 1.0 - tf.reduce_sum(parsing, axis=-1, keepdims=True)
    # Rounding errors are no label.
    unknown = tf.where(unknown < 1e-4, 0.0, unknown)
    shares = parsing + unknown * structure["parsing"]
    completed = pipeline.paint(image, mask, shares)["completed"]
    answers = {"completed": completed, "parsing_map": shares}
    if pipeline.parsing_network.pose:
        peaks = pipeline.structure.peaks(structure["pose"])
        answers["joints"] = geometry.joints_of_parts(peaks, pipeline.size)
    return answers


def _cast(context: object, node: object, *_: object) -> None:
    # Keras looks for the sign of -0.0 before `argmax`; ONNX has no such zeros to fear.
    node.type = "Cast"
    node.set_attr("to", onnx.TensorProto.INT32)


def _name_weights(graph: onnx.GraphProto, names: list[str]) -> None:
    """Turns inputs that stand for weights into initializers whose values are apart."""
    names = {f"{_APART}{number}": name for number, name in enumerate(names)}
    for given in [one for one in graph.input if one.name in names]:
        kind = given.type.tensor_type
        weight = onnx.TensorProto(
            name=names[given.name],
            data_type=kind.elem_type,
            dims=[dim.dim_value for dim in kind.shape.dim],
            data_location=onnx.TensorProto.EXTERNAL,
        )
        weight.external_data.add(key="location", value="weights")
        graph.initializer.append(weight)
        graph.input.remove(given)
    for node in graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = names.get(name, name)


def _give_default(graph: onnx.GraphProto) -> None:
    """Without a map of the user's, stage 1 says everything."""
    nothing = onnx.helper.make_tensor(
        "parsing", onnx.TensorProto.FLOAT, (1, 1, 1, NUM_LABELS), [0.0] * NUM_LABELS
    )
    graph.initializer.append(nothing)


def _strip(graph: onnx.GraphProto) -> None:
    """Leaves out what runtimes find out themselves."""
    del graph.value_info[:]
    for node in graph.node:
        node.name = node.doc_string = ""
