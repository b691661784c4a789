"""The networks as ONNX graphs, which ONNX Runtime runs without TensorFlow."""

import pathlib
from collections.abc import Callable

import numpy as np
import onnx
import tensorflow as tf
import tf2onnx

from portrait_tf import geometry
from portrait_tf.compat import values_in_place
from portrait_tf.errors import PortraitError
from portrait_tf.inference.onnx_engine import PAINTING_FILE, STRUCTURE_FILE
from portrait_tf.inference.pipeline import Pipeline
from portrait_tf.labels import NUM_JOINTS, NUM_LABELS
from portrait_tf.runs.storage import by_path

_OPSET = 18
_APART = "weight"
"""Names of inputs that stand for weights, before a number."""


def write_onnx(
    pipeline: Pipeline, folder: str | pathlib.Path, weights: bool = True
) -> None:
    """Writes the stages at the working size: `structure.onnx` and `painting.onnx`.

    Both take `image` `[B, h, w, 3]` in [-1, 1], 0 in the hole, and `mask`
    `[B, h, w, 1]`, 1.0 = hole. `structure.onnx` is stage 1: it gives `parsing`
    `[B, h, w, 20]` probabilities, and of a network with pose `joints` `[B, 16, 3]`, x
    and y in pixels of the working size and the peak. A network with hints also takes
    `given_joints` `[B, 16, 3]`, the third number 1.0 where the user gives the joint; by
    default none is. `painting.onnx` is stage 2, and the face network if there is one:
    it also takes `parsing`, and gives `completed` `[B, h, w, 3]`.

    Args:
        pipeline: The networks.
        folder: Where to.
        weights: Whether the files hold them. Without, they are named
            `stage/path of the variable`, and whoever opens the files gives them.

    Raises:
        PortraitError: Stage 1 is asked at several scales.
    """
    if pipeline.structure.sizes != [pipeline.size]:
        # ONNX has no `tf.raw_ops.ScaleAndTranslate`, which shrinks photos in the graph.
        raise PortraitError(
            "expected stage 1 at the working size for ONNX (pipeline.scales: [1.0]), "
            f"received scales {pipeline.structure.scales}"
        )
    folder = pathlib.Path(folder)
    image = {"image": [None, *pipeline.size, 3], "mask": [None, *pipeline.size, 1]}
    structure, painting = dict(image), dict(image)
    if getattr(pipeline.parsing_network, "hints", False):
        structure["given_joints"] = [None, NUM_JOINTS, 3]
    if pipeline.completion_network.takes_parsing:
        painting["parsing"] = [None, *pipeline.size, NUM_LABELS]
    stages = {
        "completion": pipeline.completion_network,
        "face": pipeline.face_network,
    }
    apart = ({}, {})
    if not weights:
        apart = _variables({"parsing": pipeline.parsing_network}), _variables(stages)

    def find(image: tf.Tensor, mask: tf.Tensor, *given: tf.Tensor) -> dict:
        return _find(pipeline, image, mask, *given)

    def paint(image: tf.Tensor, mask: tf.Tensor, *given: tf.Tensor) -> dict:
        parsing = given[0] if given else None
        return {"completed": pipeline.paint(image, mask, parsing)["completed"]}

    models = pipeline.keras_models
    _write(folder / STRUCTURE_FILE, find, structure, apart[0], models)
    _write(folder / PAINTING_FILE, paint, painting, apart[1], models)


def _variables(stages: dict[str, object]) -> dict[str, object]:
    """Keras variables by what the graphs call them."""
    return {
        f"{stage}/{path}": variable
        for stage, network in stages.items()
        if network is not None
        for path, variable in by_path(network.weights).items()
    }


def _find(
    pipeline: Pipeline,
    image: tf.Tensor,
    mask: tf.Tensor,
    joints: tf.Tensor | None = None,
) -> dict[str, tf.Tensor]:
    hints = None
    if joints is not None:
        hints = geometry.joint_parts(joints, pipeline.size)
        hints = tf.where(joints[..., 2:] > 0, hints, 0.0)
    structure = pipeline.structure(image, mask, hints)
    answers = {"parsing": structure["parsing"]}
    if pipeline.parsing_network.pose:
        peaks = pipeline.structure.peaks(structure["pose"])
        answers["joints"] = geometry.joints_of_parts(peaks, pipeline.size)
    return answers


def _write(
    path: pathlib.Path,
    function: Callable,
    inputs: dict[str, list],
    apart: dict[str, object],
    models: list,
) -> None:
    """Writes a function of tensors, without the values of the variables `apart`."""
    signature = [
        tf.TensorSpec(shape, tf.float32, name) for name, shape in inputs.items()
    ]
    # Where weights are constants, tf2onnx mixes them; from inputs it keeps away.
    signature += [
        tf.TensorSpec(one.shape, one.dtype, f"{_APART}{number}")
        for number, one in enumerate(apart.values())
    ]

    def run(*tensors: tf.Tensor) -> dict:
        given, values = tensors[: len(inputs)], tensors[len(inputs) :]
        pairs = list(zip(apart.values(), values, strict=True))
        with values_in_place(models, pairs):
            return function(*given)

    model, _ = tf2onnx.convert.from_function(
        tf.function(run, input_signature=signature, autograph=False),
        input_signature=signature,
        opset=_OPSET,
        custom_op_handlers={"Bitcast": (_cast, [])},
    )
    _name_weights(model.graph, list(apart))
    if "given_joints" in inputs:
        nothing = np.zeros((1, NUM_JOINTS, 3), np.float32)
        default = onnx.numpy_helper.from_array(nothing, "given_joints")
        model.graph.initializer.append(default)
    _strip(model.graph)
    path.write_bytes(model.SerializeToString(deterministic=True))


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


def _strip(graph: onnx.GraphProto) -> None:
    """Leaves out what runtimes find out themselves."""
    del graph.value_info[:]
    for number, node in enumerate(graph.node):
        node.doc_string = ""
        # ONNX Runtime 1.20 fuses nodes only if they have names.
        node.name = str(number)
