"""Writes a version folder: whole, checked in a Session, then published by a rename."""

import pathlib
import secrets
import shutil

import keras
import numpy as np
import tensorflow as tf

from export.signatures import build_signatures
from portrait_tf.data.synthetic import synthetic_portrait
from portrait_tf.errors import PortraitError
from portrait_tf.masks import border_mask
from portrait_tf.photos import encode_png
from portrait_tf.pipeline import Pipeline

MODEL_NAME = "portrait"
_ODD_SIZE = (163, 97)


def export_pipeline(pipeline: Pipeline, directory: str | pathlib.Path) -> pathlib.Path:
    """Exports all networks as the next version under a folder.

    The version is written under a name that no server looks at, loaded again in a
    `tf.compat.v1.Session` as TensorFlow Serving does, run on every signature and
    compared with the Keras networks; only then it gets its number.

    Args:
        pipeline: What is exported.
        directory: The folder of the versions; made if it is not there.

    Returns:
        The version's folder, `directory/N`.

    Raises:
        PortraitError: The folder cannot be written to.
        RuntimeError: What was written does not do what the networks do.
    """
    directory = pathlib.Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        temporary = directory / f".exporting-{secrets.token_hex(4)}"
        temporary.mkdir()
    except OSError as error:
        raise PortraitError(
            f"{directory}: cannot write the export there: {error.strerror}"
        ) from None
    try:
        _write(pipeline, temporary)
        check_export(pipeline, temporary)
        return _publish(temporary, directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(pipeline: Pipeline, folder: pathlib.Path) -> None:
    archive = keras.export.ExportArchive()
    for network in pipeline.keras_models:
        archive.track(network)
    for name, (function, specs) in build_signatures(pipeline).items():
        archive.add_endpoint(name, function, input_signature=specs)
    archive.write_out(str(folder), verbose=False)
    _write_warmup(folder, pipeline.size)


def _publish(temporary: pathlib.Path, directory: pathlib.Path) -> pathlib.Path:
    while True:
        taken = [int(path.name) for path in directory.iterdir() if path.name.isdigit()]
        version = directory / str(max(taken, default=0) + 1)
        try:
            return temporary.rename(version)
        except OSError:
            # Another export took the number meanwhile: a folder that is not empty.
            if not version.exists():
                raise


def example_inputs(size: tuple[int, int]) -> dict[str, dict[str, np.ndarray]]:
    """A synthetic portrait without its lower third, for each signature.

    Args:
        size: Height and width of the photo.
    """
    photo = synthetic_portrait(0, size).photo
    mask = border_mask(size, bottom=1 / 3)
    return {
        "serving_default": {"image": photo[None], "mask": mask[None, ..., None]},
        "encoded": {
            "image_bytes": np.array([encode_png(photo)], object),
            "mask_bytes": np.array([encode_png(mask)], object),
        },
    }


def _write_warmup(folder: pathlib.Path, size: tuple[int, int]) -> None:
    """Requests that a server replays before it calls the version available."""
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in example_inputs(size).items():
            request = predict_pb2.PredictRequest()
            request.model_spec.name = MODEL_NAME
            request.model_spec.signature_name = signature
            for name, value in inputs.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictLog(request=request)
            writer.write(
                prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString()
            )


def run_signature(
    folder: str | pathlib.Path, requests: dict[str, dict[str, np.ndarray]]
) -> dict[str, dict[str, np.ndarray]]:
    """Runs signatures of a SavedModel in a Session, as TensorFlow Serving does.

    Args:
        folder: Of one version.
        requests: Inputs by name, by signature.

    Returns:
        Outputs by name, by signature.
    """
    results = {}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        for signature, inputs in requests.items():
            definition = meta.signature_def[signature]
            results[signature] = session.run(
                {name: info.name for name, info in definition.outputs.items()},
                {definition.inputs[name].name: v for name, v in inputs.items()},
            )
    return results


def check_export(pipeline: Pipeline, folder: str | pathlib.Path) -> None:
    """Compares what is in a folder with the networks that it was made of.

    Raises:
        RuntimeError: An answer differs by more than one grey level, or label maps by
            more than one pixel in a hundred.
    """
    for size in (pipeline.size, _ODD_SIZE):
        requests = example_inputs(size)
        plain = requests["serving_default"]
        expected = {
            name: value.numpy()
            for name, value in pipeline(
                tf.constant(plain["image"]), tf.constant(plain["mask"])
            ).items()
        }
        for signature, outputs in run_signature(folder, requests).items():
            for name, value in outputs.items():
                if name.endswith("_bytes"):
                    value = np.stack([tf.io.decode_png(one).numpy() for one in value])
                wanted = expected[name.removesuffix("_bytes")]
                difference = np.abs(value.astype(int) - wanted.astype(int))
                wrong = (
                    np.mean(difference > 0) > 0.01
                    if name.startswith("parsing")
                    else difference.max() > 1
                )
                if wrong:
                    raise RuntimeError(
                        f"the exported model answers otherwise than the networks: "
                        f"{signature}, {name}, {size}; it was not published"
                    )
