"""Which model and which version a request means; the front ends ask only this.

A model has one or more loaded versions; a request without a version means the highest,
one with a label the version that the label names. Unknown names and versions are
NOT_FOUND, in TensorFlow Serving's words.
"""

import contextlib
import threading
from collections.abc import Iterator, Mapping

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
)

from serving.local_server.manager import ModelManager
from serving.local_server.metrics import Metrics
from serving.local_server.model import LoadedModel
from serving.local_server.model_config import ModelSource, read_config
from serving.local_server.options import ServerOptions
from serving.local_server.request_error import (
    RequestError,
    failed_precondition,
    invalid_argument,
    not_found,
)


class ServerCore:
    """The models, their labels, and what is asked of them."""

    def __init__(self, manager: ModelManager, metrics: Metrics, options: ServerOptions):
        self.metrics = metrics
        self.options = options
        self._manager = manager
        self._configuring = threading.Lock()

    # === Models ===

    def apply(self, models: Mapping[str, ModelSource], kind: str = "model(s)") -> None:
        """Serves these models from now on, and waits for those that are new.

        `kind` is what TensorFlow Serving calls those that fail: models, at a reload.

        Raises:
            RequestError: FAILED_PRECONDITION for labels of versions that are not
                available, and nothing is changed; UNKNOWN when a new model has no
                version that loads.
        """
        with self._configuring:
            known = self._manager.sources
            for name, source in models.items():
                self._check_labels(name, source)
            self._manager.configure(models)
            failed = self._manager.wait([name for name in models if name not in known])
        if failed:
            reasons = "".join(f"{{{why}}}, " for why in failed.values())
            raise RequestError(
                grpc.StatusCode.UNKNOWN,
                f"{len(failed)} {kind} did not become available: {{{reasons}}}",
            )

    # === Requests ===

    @contextlib.contextmanager
    def use(self, spec: model_pb2.ModelSpec) -> Iterator[LoadedModel]:
        """Holds the version that a request means, while it is used.

        Raises:
            RequestError: INVALID_ARGUMENT without a name or with an unknown label,
                NOT_FOUND when that model or version is not served.
        """
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        with self._manager.use(spec.name, self._version_of(spec)) as model:
            yield model

    def predict(
        self, request: predict_pb2.PredictRequest, timeout: float | None = None
    ) -> predict_pb2.PredictResponse:
        """Answers Predict; errors as `use` and `LoadedModel.predict`."""
        _check_spec(request)
        with self.use(request.model_spec) as model:
            return model.predict(request, timeout)

    def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Answers GetModelMetadata, whose one field is `signature_def`."""
        _check_spec(request)
        if not request.metadata_field:
            raise invalid_argument(
                "GetModelMetadataRequest must specify at least one metadata_field"
            )
        for field in set(request.metadata_field) - {"signature_def"}:
            raise invalid_argument(f"Metadata field {field} is not supported")
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with self.use(request.model_spec) as model:
            for name, definition in model.signature_defs.items():
                signatures.signature_def[name].CopyFrom(definition)
            response.model_spec.version.value = model.version
        response.model_spec.name = request.model_spec.name
        response.metadata["signature_def"].Pack(signatures)
        return response

    def status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Answers GetModelStatus for one version, or for all of a model."""
        _check_spec(request)
        name, wanted = request.model_spec.name, self._version_of(request.model_spec)
        response = get_model_status_pb2.GetModelStatusResponse()
        for version, state, error in self._manager.statuses(name):
            if wanted not in (None, version):
                continue
            entry = response.model_version_status.add(version=version, state=state)
            entry.status.SetInParent()
            if error is not None and state == entry.END:
                entry.status.error_code = error.code.value[0]
                entry.status.error_message = error.message
        if not response.model_version_status:
            which = "any versions" if wanted is None else f"version {wanted}"
            raise not_found(f"Could not find {which} of model {name}")
        return response

    def reload(
        self, request: model_management_pb2.ReloadConfigRequest
    ) -> model_management_pb2.ReloadConfigResponse:
        """Answers HandleReloadConfigRequest; errors as `read_config` and `apply`."""
        self.apply(read_config(request.config))
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()
        return response

    def _version_of(self, spec: model_pb2.ModelSpec) -> int | None:
        if spec.HasField("version"):
            return spec.version.value
        label = spec.version_label
        version = self._labels(spec.name).get(label)
        if label and version is None:
            raise invalid_argument(f"Unrecognized servable version label: {label}")
        return version

    def _labels(self, name: str) -> Mapping[str, int]:
        source = self._manager.sources.get(name)
        return source.labels if source else {}

    def _check_labels(self, name: str, source: ModelSource) -> None:
        """Raises FAILED_PRECONDITION: a label names a version that does not answer.

        One that is new may, if that is allowed; one that moves may not: requests to it
        would fail.
        """
        allowed = self.options.allow_version_labels_for_unavailable_models
        available = self._manager.available(name)
        for label, version in source.labels.items():
            moves = self._labels(name).get(label, version) != version
            if version not in available and (moves or not allowed):
                raise failed_precondition(
                    f"Request to assign label to version {version} of model {name},"
                    " which is not currently available for inference"
                )


def _check_spec(request) -> None:  # noqa: ANN001
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
