"""A Predict request on one loaded model, after TensorFlow Serving's `RunPredict`.

Names are compared with the signature; dtypes and shapes are left to the graph.
"""

import time
from collections.abc import Mapping, Sequence

import grpc
import numpy as np
from tensorflow_serving.apis import predict_pb2

from serving.local_server import tensors
from serving.local_server.metrics import Metrics
from serving.local_server.model import DEFAULT_SIGNATURE, LoadedModel, Signature
from serving.local_server.request_error import RequestError


def predict(
    model: LoadedModel,
    request: predict_pb2.PredictRequest,
    *,
    metrics: Metrics,
    timeout: float | None = None,
    as_content: bool = False,
) -> predict_pb2.PredictResponse:
    """Answers a Predict request with the version that it means.

    Within `timeout` seconds, None for no limit; `as_content` as in `tensors.encode`.

    Raises:
        RequestError: FAILED_PRECONDITION for an unknown signature, INVALID_ARGUMENT
            for names that do not fit it, the Session's status when the run fails.
    """
    spec = request.model_spec
    signature = model.signature(spec.signature_name)
    if signature is None:
        raise RequestError(
            grpc.StatusCode.FAILED_PRECONDITION,
            f'Serving signature key "{spec.signature_name or DEFAULT_SIGNATURE}"'
            " not found.",
        )
    signature.check_inputs(request.inputs)
    inputs = {
        name: tensors.decode(proto, name) for name, proto in request.inputs.items()
    }
    outputs = signature.select_outputs(request.output_filter)
    results = run(model, spec.name, signature, inputs, outputs, metrics, timeout)
    response = predict_pb2.PredictResponse()
    response.model_spec.name = spec.name
    response.model_spec.version.value = model.version
    response.model_spec.signature_name = signature.name
    for name, array in results.items():
        tensors.encode(
            array,
            signature.outputs[name],
            as_content=as_content,
            into=response.outputs[name],
        )
    return response


def run(
    model: LoadedModel,
    name: str,
    signature: Signature,
    inputs: Mapping[str, np.ndarray],
    outputs: Sequence[str],
    metrics: Metrics,
    timeout: float | None,
) -> dict[str, np.ndarray]:
    """Runs a model and notes the time; errors as `LoadedModel.run`."""
    begun = time.monotonic()
    results = model.run(signature, inputs, outputs, timeout)
    took = time.monotonic() - begun
    latency = ":tensorflow:serving:runtime_latency"
    metrics.observe(latency, took, name, "Predict", "TF1")
    return results
