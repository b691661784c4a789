"""Requests that a server replays before it calls a version available.

TensorFlow Serving reads `assets.extra/tf_serving_warmup_requests`, a TFRecord of
`PredictionLog`, at most 1000 of them; one that fails makes the version fail to load.
"""

import pathlib
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from export.contract import MODEL_NAME, SIGNATURES
from portrait_tf.photos import encode_png

MAX_RECORDS = 1000
WARMUP_FILE = pathlib.Path("assets.extra") / "tf_serving_warmup_requests"

# A photo of one gray, all of it but its first pixel hole; a map that says nothing, so
# that stage 1 runs as well; no joint.
_VALUES = {
    "image": [128],
    "mask": [0, 255],
    "parsing": [255],
    "margins": [0.25],
    "joints": [0.0],
}


def warmup_inputs(signature: str, batch: int, size: tuple[int, int]) -> dict:
    """Inputs of one request for `batch` photos of a size, as `TensorProto`s.

    A proto that has fewer values than its shape repeats the last: some bytes instead
    of a photo.
    """
    from tensorflow.core.framework import tensor_pb2

    inputs = {}
    for name, field in SIGNATURES[signature].inputs.items():
        proto = tensor_pb2.TensorProto(dtype=tf.as_dtype(field.dtype).as_datatype_enum)
        named = {"B": batch, "H": size[0], "W": size[1]}
        for length in field.shape:
            proto.tensor_shape.dim.add(size=named.get(length, length))
        if field.dtype == "string":
            kind = name.removesuffix("_bytes")
            picture = np.full((*size, 3) if kind == "image" else size, 128, np.uint8)
            proto.string_val.extend([encode_png(picture)] * batch)
        elif field.dtype == "float32":
            proto.float_val.extend(_VALUES[name])
        else:
            proto.int_val.extend(_VALUES[name])
        inputs[name] = proto
    return inputs


def write_warmup(
    folder: pathlib.Path,
    size: tuple[int, int],
    batch_sizes: Iterable[int],
    signatures: Iterable[str],
) -> None:
    """Writes a request of the working size for every signature and batch size."""
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    path = folder / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature in signatures:
            for batch in batch_sizes:
                request = predict_pb2.PredictRequest()
                request.model_spec.name = MODEL_NAME
                request.model_spec.signature_name = signature
                inputs = warmup_inputs(signature, batch, size)
                for name, proto in inputs.items():
                    request.inputs[name].CopyFrom(proto)
                log = prediction_log_pb2.PredictionLog(
                    predict_log=prediction_log_pb2.PredictLog(request=request)
                )
                writer.write(log.SerializeToString())
