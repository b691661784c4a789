"""A Predict request on one loaded model, after TensorFlow Serving's `RunPredict`.

Names are compared with the signature; dtypes and shapes are left to the graph.
"""

from tensorflow_serving.apis import predict_pb2

from serving.local_server import tensors
from serving.local_server.model import DEFAULT_SIGNATURE, LoadedModel
from serving.local_server.request_error import failed_precondition


def predict(
    model: LoadedModel,
    request: predict_pb2.PredictRequest,
    timeout: float | None = None,
    *,
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
        raise failed_precondition(
            f'Serving signature key "{spec.signature_name or DEFAULT_SIGNATURE}"'
            " not found."
        )
    signature.check_inputs(request.inputs)
    inputs = {
        name: tensors.decode(proto, name) for name, proto in request.inputs.items()
    }
    outputs = signature.select_outputs(request.output_filter)
    response = predict_pb2.PredictResponse()
    response.model_spec.name = spec.name
    response.model_spec.version.value = model.version
    response.model_spec.signature_name = signature.name
    for name, array in model.run(signature, inputs, outputs, timeout).items():
        dtype = signature.outputs[name]
        proto = tensors.encode(array, dtype, as_content=as_content)
        response.outputs[name].CopyFrom(proto)
    return response
