"""Which model and which version a request means; the front ends ask only this.

Conventions: a model has one or more loaded versions; a request without a version
means the highest. Unknown names and versions are NOT_FOUND, in TensorFlow Serving's
words.
"""

from collections.abc import Mapping

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
)

from serving.local_server.model import LoadedModel
from serving.local_server.predict import predict
from serving.local_server.request_error import RequestError, invalid_argument

_AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE


class ServerCore:
    """The loaded models by name and version.

    Args:
        models: For each model name, its loaded versions by number.
        response_tensors_as_content: Whether numbers are answered as raw bytes or in
            typed fields, see `tensors.encode`.
    """

    def __init__(
        self,
        models: Mapping[str, Mapping[int, LoadedModel]],
        response_tensors_as_content: bool = True,
    ):
        self._models = models
        self._as_content = response_tensors_as_content

    def find(self, spec: model_pb2.ModelSpec) -> LoadedModel:
        """The version that a request means.

        Raises:
            RequestError: INVALID_ARGUMENT without a name or with an unknown label,
                NOT_FOUND when that model or version is not served.
        """
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        if spec.version_label:
            raise invalid_argument(
                f"Unrecognized servable version label: {spec.version_label}"
            )
        versions = self._models.get(spec.name, {})
        if spec.HasField("version"):
            wanted = f"Specific({spec.name}, {spec.version.value})"
            model = versions.get(spec.version.value)
        else:
            wanted = f"Latest({spec.name})"
            model = versions[max(versions)] if versions else None
        if model is None:
            raise RequestError(
                grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {wanted}"
            )
        return model

    def predict(
        self, request: predict_pb2.PredictRequest, timeout: float | None = None
    ) -> predict_pb2.PredictResponse:
        """Answers Predict; errors as `find` and `predict.predict`."""
        if not request.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        return predict(
            self.find(request.model_spec),
            request,
            timeout=timeout,
            as_content=self._as_content,
        )

    def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Answers GetModelMetadata, whose one field is `signature_def`.

        Raises:
            RequestError: As `find`; INVALID_ARGUMENT for another field, or none.
        """
        if not request.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        if not request.metadata_field:
            raise invalid_argument(
                "GetModelMetadataRequest must specify at least one metadata_field"
            )
        for field in request.metadata_field:
            if field != "signature_def":
                raise invalid_argument(f"Metadata field {field} is not supported")
        model = self.find(request.model_spec)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in model.signature_defs.items():
            signatures.signature_def[name].CopyFrom(definition)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = model.version
        response.metadata["signature_def"].Pack(signatures)
        return response

    def status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Answers GetModelStatus for one version, or for all of a model.

        Raises:
            RequestError: NOT_FOUND when there is none, INVALID_ARGUMENT without a
                model.
        """
        if not request.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        spec = request.model_spec
        if spec.version_label:
            raise invalid_argument(
                f"Unrecognized servable version label: {spec.version_label}"
            )
        versions = self._models.get(spec.name, {})
        if spec.HasField("version"):
            if spec.version.value not in versions:
                raise RequestError(
                    grpc.StatusCode.NOT_FOUND,
                    f"Could not find version {spec.version.value} of model {spec.name}",
                )
            numbers = [spec.version.value]
        elif versions:
            numbers = sorted(versions, reverse=True)
        else:
            raise RequestError(
                grpc.StatusCode.NOT_FOUND,
                f"Could not find any versions of model {spec.name}",
            )
        response = get_model_status_pb2.GetModelStatusResponse()
        for number in numbers:
            entry = response.model_version_status.add(version=number, state=_AVAILABLE)
            entry.status.SetInParent()
        return response
