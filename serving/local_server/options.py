"""The settings of the server, and `tensorflow_model_server`'s flags for them.

A flag has the name of its field, with underscores or dashes; it is written
`--flag=value` or `--flag value`, a switch also bare. Names, meanings and defaults are
TensorFlow Serving's, but for addresses and the model's name, which suit a developer's
machine; `host` and `rest_api_max_body_bytes` are ours. TensorFlow is not imported here,
so that a mistyped flag is found at once.
"""

import dataclasses
import difflib
import os
import re
from collections.abc import Iterator, Sequence

from portrait_tf.errors import PortraitError

_WORKERS = 4 * (os.cpu_count() or 1)

_WITHOUT_EFFECT = [
    "enable_profiler", "enable_signature_method_name_check", "flush_filesystem_caches",
    "num_load_threads", "num_tflite_interpreters_per_pool", "num_tflite_pools",
    "num_unload_threads", "remove_unused_fields_from_bundle_metagraph",
    "rest_api_num_threads", "skip_initialize_tpu",
]  # fmt: skip
"""Flags of TensorFlow Serving that change nothing which a client could see."""


def _flag(default: object, help: str) -> object:
    return dataclasses.field(default=default, metadata={"help": help})


@dataclasses.dataclass(frozen=True)
class ServerOptions:
    """All settings; each has its meaning in its field's help text.

    Raises:
        PortraitError: For values or combinations that cannot be.
    """

    port: int = _flag(8500, "The gRPC port; 0 takes a free one.")
    grpc_socket_path: str = _flag("", "Also answer gRPC on this Unix socket.")
    rest_api_port: int = _flag(8501, "The REST port; 0 takes a free one.")
    host: str = _flag("127.0.0.1", "Address to listen on; 0.0.0.0 for all.")
    rest_api_timeout_in_ms: int = _flag(30_000, "Time for one REST request.")
    rest_api_max_body_bytes: int = _flag(1 << 30, "Largest body, unpacked too.")
    rest_api_enable_cors_support: bool = _flag(False, "Let web pages call REST.")
    model_name: str = _flag("portrait", "The name that requests give.")
    model_base_path: str = _flag("", "A folder of numbered versions.")
    model_config_file: str = _flag("", "A ModelServerConfig: several models.")
    model_config_file_poll_wait_seconds: int = _flag(0, "Read it so often; 0: once.")
    file_system_poll_wait_seconds: int = _flag(
        1, "Look for versions so often; 0: once."
    )
    max_num_load_retries: int = _flag(5, "Attempts at loading after the first.")
    load_retry_interval_micros: int = _flag(60_000_000, "Pause between attempts.")
    allow_version_labels_for_unavailable_models: bool = _flag(
        False, "Let a new label name a version that is not loaded yet."
    )
    enable_batching: bool = _flag(False, "Merge requests.")
    batching_parameters_file: str = _flag("", "BatchingParameters, for all models.")
    enable_per_model_batching_parameters: bool = _flag(
        False, "Take a version's batching_params.pbtxt."
    )
    enable_model_warmup: bool = _flag(True, "Replay the warm-up requests.")
    num_request_iterations_for_warmup: int = _flag(0, "Replay each so often.")
    saved_model_tags: str = _flag("serve", "Tags of the graph, comma-separated.")
    enable_serialization_as_tensor_content: bool = _flag(
        False, "Answer raw bytes, not typed fields; REST then fails."
    )
    enable_grpc_healthcheck_service: bool = _flag(False, "grpc.health.v1.Health.")
    grpc_max_threads: int = _flag(_WORKERS, "gRPC requests at the same time.")
    grpc_channel_arguments: str = _flag("", "KEY=VALUE,... of gRPC.")
    ssl_config_file: str = _flag("", "SSLConfig: TLS for gRPC.")
    monitoring_config_file: str = _flag("", "MonitoringConfig: Prometheus, on REST.")
    tensorflow_session_config_file: str = _flag("", "ConfigProto of a Session.")

    def __post_init__(self):
        check_least(
            self, "--", rest_api_timeout_in_ms=1, rest_api_max_body_bytes=1,
            grpc_max_threads=1, max_num_load_retries=0, load_retry_interval_micros=0,
            file_system_poll_wait_seconds=0,
            model_config_file_poll_wait_seconds=0, num_request_iterations_for_warmup=0,
        )  # fmt: skip
        for name in ("port", "rest_api_port"):
            if not 0 <= (port := getattr(self, name)) <= 65535:
                raise PortraitError(f"--{name} is {port}; expected 0 (any) to 65535")
        if self.port == self.rest_api_port != 0:
            raise PortraitError(
                f"--port and --rest_api_port are both {self.port}; expected two ports"
            )
        if not self.model_name:
            raise PortraitError("--model_name is empty; expected a name")
        if self.batching_parameters_file and not self.enable_batching:
            raise PortraitError(
                "--batching_parameters_file is given without --enable_batching"
            )
        if not (self.model_base_path or self.model_config_file):
            raise PortraitError(
                "nothing to serve; expected MODELS_DIR, --model_base_path or"
                " --model_config_file"
            )
        # A mistake in them is found before minutes of loading.
        _ = self.channel_arguments

    @property
    def channel_arguments(self) -> list[tuple[str, int | str]]:
        """`grpc_channel_arguments`, read; numbers are numbers.

        Raises:
            PortraitError: When a part is not `KEY=VALUE`.
        """
        arguments = []
        for part in filter(None, self.grpc_channel_arguments.split(",")):
            key, equals, text = part.partition("=")
            if not (key and equals):
                raise PortraitError(
                    f"--grpc_channel_arguments has {part!r}; expected KEY=VALUE"
                )
            is_number = re.fullmatch(r"-?\d+", text)
            arguments.append((key, int(text) if is_number else text))
        return arguments


def check_least(settings: object, prefix: str = "", **least: int) -> None:
    """Raises PortraitError where an attribute is below its least value."""
    for name, lowest in least.items():
        value = getattr(settings, name)
        if value < lowest:
            raise PortraitError(
                f"{prefix}{name} is {value}; expected at least {lowest}"
            )


_FIELDS = {field.name: field for field in dataclasses.fields(ServerOptions)}


def parse_flags(arguments: Sequence[str]) -> tuple[ServerOptions, list[str]]:
    """Reads flags, and at most one folder of versions, in any order.

    Returns the settings, and the flags that were given but have no effect here.

    Raises:
        PortraitError: For an unknown flag, or one that does not exist here, for a value
            of another type, for two folders.
    """
    values: dict[str, object] = {}
    ignored, folders = [], []
    for name, value in _split(arguments):
        if name is None:
            folders.append(value)
        elif name in _WITHOUT_EFFECT:
            ignored.append(name)
        else:
            values[name] = value
    names = ("model_base_path", "model_config_file")
    sources = folders + [values[name] for name in names if values.get(name)]
    if len(sources) > 1:
        raise PortraitError(f"expected one thing to serve, received {sources}")
    if folders:
        values["model_base_path"] = folders[0]
    return ServerOptions(**values), ignored


def usage() -> str:
    """The help text of all flags."""
    lines = []
    for name, field in _FIELDS.items():
        default = "" if field.default == "" else f" [{field.default}]"
        lines.append(f"  --{name:<44}{field.metadata['help']}{default}")
    return "\n".join(lines)


def _split(arguments: Sequence[str]) -> Iterator[tuple[str | None, object]]:
    """Flags by name, with their values; the rest under None."""
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("-") or argument == "-":
            yield None, argument
            continue
        written, equals, text = argument.partition("=")
        name = written.lstrip("-").replace("-", "_")
        kind = _kind(name, written)
        if not equals:
            if kind is bool and rest[:1] not in (["true"], ["false"]):
                text = "true"
            elif not rest:
                raise PortraitError(f"--{name} has no value; expected --{name}=VALUE")
            else:
                text = rest.pop(0)
        yield name, _convert(name, kind, text)


def _kind(name: str, written: str) -> type:
    """The type of a flag; PortraitError for one that does not exist here."""
    if name in _FIELDS:
        return _FIELDS[name].type
    if name in _WITHOUT_EFFECT:
        return bool if name.startswith(("enable", "flush", "remove", "skip")) else str
    close = difflib.get_close_matches(name, _FIELDS, 1)
    hint = f"; did you mean --{close[0]}?" if close else ""
    raise PortraitError(f"unknown flag {written}{hint}")


def _convert(name: str, kind: type, text: str) -> object:
    switch = {"true": True, "1": True, "false": False, "0": False}
    try:
        return switch[text] if kind is bool else kind(text)
    except (KeyError, ValueError) as error:
        expected = {bool: "true or false", int: "a whole number"}.get(kind, "a number")
        raise PortraitError(f"--{name} is {text!r}; expected {expected}") from error
