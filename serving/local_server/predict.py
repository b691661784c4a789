"""A Predict request: checked first, run only then.

Every check that needs no model runs before the Session is called, on the declared
dtype and shape before the content is even decoded, so that a request that cannot
succeed cannot reach an operation that might abort the process.
"""

import grpc
from tensorflow_serving.apis import predict_pb2

from serving.local_server import tensors
from serving.local_server.model import DEFAULT_SIGNATURE, LoadedModel
from serving.local_server.request_error import RequestError


def predict(
    model: LoadedModel,
    request: predict_pb2.PredictRequest,
    *,
    timeout: float | None = None,
    as_content: bool = False,
) -> predict_pb2.PredictResponse:
    """Answers a Predict request with one loaded model.

    Args:
        model: The version that the request means.
        request: As received; its model name and version are not looked at.
        timeout: Seconds left to the caller; None for no limit.
        as_content: How the answer's numbers are written, see `tensors.encode`.

    Raises:
        RequestError: FAILED_PRECONDITION for an unknown signature, INVALID_ARGUMENT
            for inputs that do not fit it, the Session's status when the run fails.
    """
    spec = request.model_spec
    signature = model.signature(spec.signature_name)
    if signature is None:
        raise RequestError(
            grpc.StatusCode.FAILED_PRECONDITION,
            f'Serving signature key "{spec.signature_name or DEFAULT_SIGNATURE}"'
            " not found.",
        )
    signature.check_names(request.inputs)
    outputs = signature.select_outputs(request.output_filter)
    for name, proto in request.inputs.items():
        signature.check_input(
            name, tensors.dtype_of(proto), tensors.shape_of(proto, name)
        )
    inputs = {
        name: tensors.decode(proto, name) for name, proto in request.inputs.items()
    }
    results = model.run(signature, inputs, outputs, timeout)

    response = predict_pb2.PredictResponse()
    response.model_spec.name = spec.name
    response.model_spec.version.value = model.version
    response.model_spec.signature_name = signature.name
    for name, array in results.items():
        tensors.encode(
            array,
            signature.outputs[name].dtype,
            as_content=as_content,
            into=response.outputs[name],
        )
    return response
