"""TensorFlow Serving's ModelServerConfig: which models, which versions, which labels.

Refusals have TensorFlow Serving's codes and key phrases, since
HandleReloadConfigRequest answers with them.
"""

import dataclasses
import pathlib
from collections.abc import Mapping

from tensorflow_serving.config import model_server_config_pb2

from serving.local_server.model import find_versions
from serving.local_server.request_error import invalid_argument


@dataclasses.dataclass(frozen=True)
class ModelSource:
    """Where a model's versions lie, and which are wanted.

    The `latest` highest, 0 for all, or the `specific` ones; `labels` name versions.
    """

    base_path: pathlib.Path
    latest: int = 1
    specific: tuple[int, ...] = ()
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def choose(self) -> dict[int, pathlib.Path]:
        """The wanted versions that are there; errors as `find_versions`."""
        found = find_versions(self.base_path)
        wanted = self.specific or sorted(found, reverse=True)[: self.latest or None]
        return {number: found[number] for number in wanted if number in found}


def read_config(
    config: model_server_config_pb2.ModelServerConfig,
) -> dict[str, ModelSource]:
    """The models of a configuration; INVALID_ARGUMENT for what cannot be served."""
    if config.WhichOneof("config") != "model_config_list":
        raise invalid_argument(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. Only"
            " ModelConfigList is currently supported"
        )
    sources: dict[str, ModelSource] = {}
    for model in config.model_config_list.config:
        if not model.name:
            raise invalid_argument("a model of the config list has no name")
        if model.name in sources:
            raise invalid_argument(
                f"Illegal to list model {model.name} multiple times in config list"
            )
        sources[model.name] = _read_source(model)
    return sources


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
    policy, labels = model.model_version_policy, dict(model.version_labels)
    kind = policy.WhichOneof("policy_choice")
    if kind != "specific":
        latest = 0 if kind == "all" else policy.latest.num_versions or 1
        return ModelSource(path, latest=latest, labels=labels)
    if not policy.specific.versions:
        raise invalid_argument(
            f"model {model.name}: the specific version policy names no version"
        )
    numbers = tuple(sorted(set(policy.specific.versions)))
    return ModelSource(path, specific=numbers, labels=labels)
