"""Writes a version folder: whole, checked in a Session, then published by a rename."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from export.contract import (
    BATCH_SIZES,
    MODEL_NAME,
    PRECISIONS,
    check_names,
    max_batch,
)
from export.description import describe, write_description
from export.publishing import new_version
from export.signatures import build_signatures
from export.stored import StoredNetworks
from export.warmup import MAX_RECORDS, warmup_inputs, write_warmup
from portrait_tf.data.masks import border_mask
from portrait_tf.data.synthetic import synthesize
from portrait_tf.errors import PortraitError
from portrait_tf.inference.engines import PipelineEngine
from portrait_tf.inference.extrapolation import Margins, extend_photo
from portrait_tf.inference.onnx_engine import OnnxEngine
from portrait_tf.inference.pipeline import Pipeline
from portrait_tf.photos import encode_png
from portrait_tf.photos.joints import joints_by_name
from portrait_tf.startup import hidden_notices

__all__ = ["MODEL_NAME", "check_export", "export_pipeline", "open_session"]

_ODD_SIZE = (163, 97)
_ANKLES = {"R_Ankle": (0.3, 0.95), "L_Ankle": (0.8, 0.9)}
"""As parts of width and height: a body that stands where no other would."""
_MARGINS = {"top": 0.0, "bottom": 0.3, "left": 0.0, "right": 0.12}


def export_pipeline(
    pipeline: Pipeline,
    directory: str | pathlib.Path,
    precision: str = "float32",
    signatures: Sequence[str] | None = None,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    label: str | None = None,
    onnx: bool = False,
) -> pathlib.Path:
    """Exports all networks as the next version under a folder.

    The version is written under a name that no server looks at, loaded again in a
    `tf.compat.v1.Session` as TensorFlow Serving does, run on every signature and
    compared with the Keras networks; only then it gets its number.

    Args:
        pipeline: The networks to export.
        directory: The folder of the versions; made if it is not there.
        precision: The dtype of the stored weights, `float32` or `float16`. Both compute
            in float32.
        signatures: Names of `export.contract.SIGNATURES`; by default all that the
            networks have.
        batch_sizes: The batches that a server's batching makes; they are warmed up.
        label: The version's label, such as `canary`.
        onnx: Whether the folder also gets the graphs of `export.onnx_model`, for
            `portrait_tf.inference.onnx_engine.OnnxEngine`; its weights are float32.

    Returns:
        The version's folder, `directory/N`.

    Raises:
        PortraitError: The folder cannot be written to; no such signature or precision;
            batch sizes that are not increasing, or too large; a weight is not finite.
        RuntimeError: The written model does not answer as the networks do.
    """
    if precision not in PRECISIONS:
        raise PortraitError(
            f"unknown precision {precision!r}: expected {' or '.join(PRECISIONS)}"
        )
    names = check_names(signatures, pipeline.takes_joints)
    check_batch_sizes(batch_sizes, pipeline.size, len(names))
    with new_version(directory, label) as version:
        if onnx:
            from export.onnx_model import write_onnx

            write_onnx(pipeline, version.folder)
        _write(pipeline, version.folder, precision, names, list(batch_sizes))
        check_export(pipeline, version.folder, precision, names)
        if onnx:
            check_onnx(pipeline, version.folder)
        return version.publish()


def check_batch_sizes(
    sizes: Sequence[int], working_size: tuple[int, int], signatures: int
) -> None:
    """Raises PortraitError: batch sizes that no server could use."""
    most = max_batch(working_size)
    rising = all(low < high for low, high in zip(sizes, sizes[1:], strict=False))
    if not sizes or not rising or sizes[0] < 1 or sizes[-1] > most:
        raise PortraitError(
            f"batch sizes: expected rising numbers from 1 to {most}, received "
            f"{list(sizes)}"
        )
    if len(sizes) * signatures > MAX_RECORDS:
        raise PortraitError(
            f"batch sizes: a version has at most {MAX_RECORDS} requests to warm up "
            f"with, received {len(sizes)} sizes for {signatures} signatures"
        )


def _write(
    pipeline: Pipeline,
    folder: pathlib.Path,
    precision: str,
    names: list[str],
    batch_sizes: list[int],
) -> None:
    networks = StoredNetworks(pipeline, precision)
    with hidden_notices():
        tf.saved_model.save(
            networks.module,
            str(folder),
            signatures={
                name: function.get_concrete_function()
                for name, function in build_signatures(networks, names).items()
            },
            # Nobody trains on: no gradients in the file.
            options=tf.saved_model.SaveOptions(experimental_custom_gradients=False),
        )
    _strip(folder / "saved_model.pb")
    write_warmup(folder, pipeline.size, batch_sizes, names)
    write_description(folder, describe(networks, names, batch_sizes))


def _strip(path: pathlib.Path) -> None:
    """Leaves out notes that TensorFlow writes to every node and runs without."""
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for graph in model.meta_graphs:
        for function in graph.graph_def.library.function:
            for attributes in function.arg_attr.values():
                for name in ("_user_specified_name", "_output_shapes"):
                    attributes.attr.pop(name, None)
            for node in function.node_def:
                node.attr.pop("_output_shapes", None)
                node.ClearField("experimental_debug_info")
    path.write_bytes(model.SerializeToString(deterministic=True))


def example_inputs(size: tuple[int, int]) -> dict[str, dict[str, np.ndarray]]:
    """A synthetic portrait of a size without its lower third, for each signature.

    For `extrapolate` it is whole, and to be extended at the bottom and the right.
    """
    photo = synthesize(0, size).photo
    mask = border_mask(size, bottom=1 / 3)
    plain = {"image": photo[None], "mask": mask[None, ..., None]}
    return {
        "serving_default": plain,
        "encoded": {
            "image_bytes": np.array([encode_png(photo)], object),
            "mask_bytes": np.array([encode_png(mask)], object),
        },
        "parse": plain,
        # Nothing of the map is known: stage 1 does it all.
        "complete_with_parsing": plain | {"parsing": np.full_like(plain["mask"], 255)},
        "complete_with_joints": plain | {"joints": example_joints(size)[None]},
        "extrapolate": {
            "image": photo[None],
            "margins": np.array([list(_MARGINS.values())], np.float32),
        },
    }


def example_joints(size: tuple[int, int]) -> np.ndarray:
    """Both ankles of a photo of a size: `[16, 3]`."""
    return joints_by_name(
        {name: (x * size[1], y * size[0]) for name, (x, y) in _ANKLES.items()}
    )


@contextlib.contextmanager
def open_session(folder: str | pathlib.Path) -> Iterator[Callable]:
    """A version's SavedModel in a Session, as TensorFlow Serving has it.

    Returns:
        A function of a signature's name and its inputs by name, which gives its
        outputs by name.
    """
    graph = tf.Graph()
    # Not `with session`: what the caller computes is not to land in this graph.
    with contextlib.closing(tf.compat.v1.Session(graph=graph)) as session:
        with graph.as_default(), hidden_notices():
            meta = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))

        def run(signature: str, inputs: dict[str, object]) -> dict[str, np.ndarray]:
            definition = meta.signature_def[signature]
            return session.run(
                {name: info.name for name, info in definition.outputs.items()},
                {definition.inputs[name].name: v for name, v in inputs.items()},
            )

        yield run


def load_problem(folder: str | pathlib.Path) -> str:
    """Why a SavedModel does not load in a Session; empty if it does."""
    try:
        with open_session(folder):
            return ""
    except (tf.errors.OpError, OSError, RuntimeError, ValueError, KeyError) as error:
        return (str(error).strip() or type(error).__name__).splitlines()[0]


def expected_answers(
    pipeline: Pipeline, size: tuple[int, int]
) -> dict[str, dict[str, np.ndarray]]:
    """What the networks themselves answer to `example_inputs`, by signature."""
    plain = example_inputs(size)["serving_default"]
    photo = plain["image"][0]
    answer, parse = (
        function(tf.constant(plain["image"]), tf.constant(plain["mask"]))
        for function in (pipeline, pipeline.parse)
    )
    canvas, hole = extend_photo(
        photo, Margins.from_fractions(photo.shape[:2], **_MARGINS)
    )
    answers = {
        "serving_default": answer,
        "encoded": {f"{name}_bytes": value for name, value in answer.items()},
        "parse": parse,
        "complete_with_parsing": {"completed": answer["completed"]},
        "complete_with_joints": pipeline.complete_with_joints(
            plain["image"], plain["mask"], example_joints(size)[None]
        )
        if pipeline.takes_joints
        else {},
        "extrapolate": {
            **pipeline(tf.constant(canvas[None]), tf.constant(hole[None, ..., None])),
            "size": tf.constant([canvas.shape[:2]]),
        },
    }
    return {
        signature: {name: value.numpy() for name, value in values.items()}
        for signature, values in answers.items()
    }


def check_export(
    pipeline: Pipeline,
    folder: str | pathlib.Path,
    precision: str = "float32",
    names: Sequence[str] | None = None,
) -> None:
    """Compares a version with the networks that it was made of.

    Args:
        pipeline: The networks.
        folder: The version's folder.
        precision: The dtype of its weights; the networks' are rounded to it.
        names: Its signatures; by default all that the networks have.

    Raises:
        RuntimeError: An answer differs by more than one gray level (with detail, one
            pixel in twenty may: a level decides between patches), label maps by more
            than one pixel in a hundred, joints by more than a pixel; or a warm-up
            request fails.
    """
    rounded = contextlib.nullcontext()
    if precision != "float32":
        rounded = StoredNetworks(pipeline, precision).in_place_of_keras()
    with rounded:
        answers = expected_answers(pipeline, _ODD_SIZE)
    requests = example_inputs(_ODD_SIZE)
    with open_session(folder) as run:
        for signature in names or check_names(None, pipeline.takes_joints):
            found = run(signature, requests[signature])
            for name, wanted in answers[signature].items():
                if _differs(name, found[name], wanted, pipeline.detail):
                    raise RuntimeError(
                        f"the exported model answers otherwise than the networks: "
                        f"{signature}, {name}, {_ODD_SIZE}; it was not published"
                    )
            warm = warmup_inputs(signature, 1, pipeline.size)
            try:
                run(signature, {n: tf.make_ndarray(p) for n, p in warm.items()})
            except tf.errors.OpError as error:
                raise RuntimeError(
                    f"{signature} fails on what a server would warm up with: "
                    f"{error.message}; it was not published"
                ) from error


def check_onnx(pipeline: Pipeline, folder: str | pathlib.Path) -> None:
    """Compares a version's ONNX graphs with the networks that it was made of.

    Raises:
        RuntimeError: As `check_export`.
    """
    # Larger photos get detail, which lies outside these graphs.
    plain = example_inputs(pipeline.size)["serving_default"]
    photo, mask = plain["image"][0], plain["mask"][0, ..., 0]
    answers = (
        engine.complete(photo, mask)
        for engine in (OnnxEngine(folder), PipelineEngine(pipeline))
    )
    for name, found, wanted in zip(("completed", "parsing"), *answers, strict=True):
        if _differs(name, found, wanted, detail=False):
            raise RuntimeError(
                f"painting.onnx answers otherwise than the networks: {name}; it was "
                "not published"
            )


def _differs(name: str, found: np.ndarray, wanted: np.ndarray, detail: bool) -> bool:
    if name.endswith("_bytes"):
        found = np.stack([tf.io.decode_png(one).numpy() for one in found])
    if found.shape != wanted.shape:
        return True
    difference = np.abs(found.astype(float) - wanted.astype(float))
    if name.startswith("parsing"):
        return np.mean(difference > 0) > 0.01
    if name == "joints":
        # The highest of two cells that are nearly alike may be either.
        return np.mean(difference.max(-1) > 1) > 0.1
    if name.startswith("completed") and detail:
        return np.mean(difference.max(-1) > 1) > 0.05
    return difference.max() > 1
