"""TensorFlow Serving's ModelServerConfig: which models, which versions, which labels.

Refusals have TensorFlow Serving's codes and key phrases, since
HandleReloadConfigRequest answers with them.
"""

import dataclasses
import pathlib
from collections.abc import Mapping

from tensorflow_serving.config import model_server_config_pb2

from serving.local_server.manager import ModelSource
from serving.local_server.request_error import failed_precondition, invalid_argument

Labels = dict[str, dict[str, int]]
"""For each model, its labels and the version each names."""


@dataclasses.dataclass(frozen=True)
class ModelSet:
    """What a ModelServerConfig says.

    Attributes:
        sources: For each model, where its versions are.
        labels: For each model that has some, its labels.
    """

    sources: Mapping[str, ModelSource]
    labels: Labels


def single_model(name: str, base_path: str) -> ModelSet:
    """One model, of which the highest version is wanted."""
    return ModelSet({name: ModelSource(pathlib.Path(base_path).absolute())}, {})


def read_config(config: model_server_config_pb2.ModelServerConfig) -> ModelSet:
    """Checks a configuration.

    Raises:
        RequestError: INVALID_ARGUMENT, for what cannot be served.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise invalid_argument(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. Only"
            " ModelConfigList is currently supported"
        )
    sources: dict[str, ModelSource] = {}
    labels: Labels = {}
    for model in config.model_config_list.config:
        if not model.name:
            raise invalid_argument("a model of the config list has no name")
        if model.name in sources:
            raise invalid_argument(
                f"Illegal to list model {model.name} multiple times in config list"
            )
        sources[model.name] = _read_source(model)
        if model.version_labels:
            labels[model.name] = dict(model.version_labels)
    return ModelSet(sources, labels)


def _read_source(model: model_server_config_pb2.ModelConfig) -> ModelSource:
    platform = model.model_platform
    if bool(model.model_type) == bool(platform):
        both, nor = ("both", "and") if platform else ("neither", "nor")
        raise invalid_argument(
            f"Illegal setting {both} ModelServerConfig::model_type (deprecated) {nor}"
            " ModelServerConfig::model_platform."
        )
    if platform not in ("", "tensorflow"):
        raise invalid_argument(
            f"Model {model.name} requests unsupported platform {platform}"
        )
    path = pathlib.Path(model.base_path)
    if not path.is_absolute():
        raise invalid_argument(
            f"Expected model {model.name} to have an absolute path or URI; got"
            f" base_path()={model.base_path}"
        )
    policy = model.model_version_policy
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return ModelSource(path, latest=0)
    if kind == "specific":
        numbers = tuple(sorted(set(policy.specific.versions)))
        if not numbers:
            raise invalid_argument(
                f"model {model.name}: the specific version policy names no version"
            )
        return ModelSource(path, specific=numbers)
    return ModelSource(path, latest=policy.latest.num_versions or 1)


def check_labels(
    labels: Labels,
    current: Labels,
    available: Mapping[str, list[int]],
    allow_unavailable: bool,
) -> None:
    """Checks that labels name versions that answer.

    `available` are those, by model. A label that is new may name another version too,
    if that is allowed; one that moves may not: requests to it would fail.

    Raises:
        RequestError: FAILED_PRECONDITION otherwise.
    """
    for name, versions in labels.items():
        for label, version in versions.items():
            moves = current.get(name, {}).get(label, version) != version
            if allow_unavailable and not moves:
                continue
            if version not in available.get(name, []):
                raise failed_precondition(
                    f"Request to assign label to version {version} of model {name},"
                    " which is not currently available for inference"
                )
