"""Loads configs from YAML, changes keys by `--set`, and saves configs."""

import difflib
import pathlib
from collections.abc import Hashable

import pydantic
import yaml

from portrait_tf.config.base import AnySection, Section
from portrait_tf.config.completion import COMPLETION_NETWORKS
from portrait_tf.config.experiment import Config
from portrait_tf.config.parsing import PARSING_NETWORKS
from portrait_tf.errors import PortraitError
from portrait_tf.files import read_text, write_result
from portrait_tf.former_names import with_present_names

_NETWORKS = PARSING_NETWORKS | COMPLETION_NETWORKS


def _valid_keys(model: type[Section], location: tuple) -> list[str]:
    for part in location[:-1]:
        field = getattr(model, "model_fields", {}).get(part)
        # The kind of a network is a part of the location, though not of the key.
        model = field.annotation if field else _NETWORKS.get(part)
    return list(getattr(model, "model_fields", {}))


def _explain(model: type[Section], error: dict) -> tuple[str, str]:
    """What is wrong; and for an unknown key which are valid, if none is like it."""
    location = error["loc"]
    key = ".".join(str(part) for part in location if part not in _NETWORKS)
    if error["type"] == "union_tag_invalid":
        kinds = error["ctx"]["expected_tags"].replace("'", "")
        kind = error["input"]["kind"]
        return f"'{key}.kind': expected one of {kinds} (received {kind!r})", ""
    if error["type"] == "extra_forbidden":
        valid = _valid_keys(model, location)
        if near := difflib.get_close_matches(str(location[-1]), valid, n=1):
            return f"unknown key '{key}'; did you mean '{near[0]}'?", ""
        return f"unknown key '{key}'", f"; valid here: {', '.join(valid) or 'nothing'}"
    message = error["msg"].removeprefix("Value error, ")
    if isinstance(error["input"], dict | pydantic.BaseModel):
        # Several keys do not go together, and the message has them.
        return f"'{key}': {message}" if key else message, ""
    return f"'{key}': {message} (received {error['input']!r})", ""


def parse_section(model: type[AnySection], values: dict, source: str) -> AnySection:
    """Checks plain values against a schema.

    Args:
        model: The schema.
        values: What a YAML file holds.
        source: Name of the file, for the message.

    Raises:
        PortraitError: A key is unknown or a value is of the wrong type or range.
    """
    if not isinstance(values, dict):
        raise PortraitError(
            path=source, expected="keys and values", received=type(values).__name__
        )
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        told: dict[str, list[str]] = {}
        for one in error.errors():
            said, valid = _explain(model, one)
            told.setdefault(valid, []).append(said)
        raise PortraitError(
            f"{source}: "
            + "; ".join("; ".join(said) + valid for valid, said in told.items())
        ) from None


def parse_config(values: dict, source: str = "config") -> Config:
    """Checks an experiment's plain values, as `parse_section` does."""
    return parse_section(Config, values, source)


def load_section(
    model: type[AnySection], path: str | pathlib.Path, kind: str
) -> AnySection:
    """Reads a YAML file, of an earlier version too.

    Args:
        model: The schema.
        path: The file.
        kind: What the file is, for the message.

    Raises:
        PortraitError: The file is missing, is no YAML, has a key twice, or does not fit
            the schema.
    """
    values = with_present_names(parse_yaml(read_text(path, kind), str(path)))
    return parse_section(model, {} if values is None else values, str(path))


class _RepeatedKeyError(yaml.YAMLError):
    pass


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, of which PyYAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        lines = {}
        for key_node, _ in getattr(node, "value", ()):
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            # What cannot be a key is YAML's to refuse.
            if not isinstance(key, Hashable):
                continue
            line = key_node.start_mark.line + 1
            if key in lines:
                raise _RepeatedKeyError(
                    f"expected each key once, found {key!r} in line {lines[key]} and "
                    f"line {line}"
                )
            lines[key] = line
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, source: str) -> object:
    """The value of a YAML text.

    Args:
        text: Of one document.
        source: What to call it in a message.

    Raises:
        PortraitError: It is no YAML, or has a key twice.
    """
    try:
        return yaml.load(text, _Loader)
    except _RepeatedKeyError as error:
        raise PortraitError(f"{source}: {error}") from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise PortraitError(f"{source}: not YAML: {reason}") from None


def load_config(path: str | pathlib.Path) -> Config:
    """Reads an experiment's YAML file, as `load_section` does."""
    return load_section(Config, path, "config")


def with_changes(config: Config, changes: list[str]) -> Config:
    """A config with some keys changed.

    Args:
        config: Stays as it is.
        changes: `section.key=value`; values are read as YAML. A section's are applied
            before its keys', and a `kind`, which has keys of its own, before those.

    Raises:
        PortraitError: No `=`, or a key or value that does not fit the schema.
    """
    values = changed_values(config, changes)
    return parse_config(values, "--set" if changes else "config")


def _turn(change: str) -> tuple:
    """Sorts changes so that none takes away what another has set."""
    parts = change.partition("=")[0].split(".")
    return len(parts), parts[-1] != "kind"


def changed_values(section: pydantic.BaseModel, changes: list[str]) -> dict:
    """All keys of a config or of a part of one, some of them changed, not yet checked.

    Raises:
        PortraitError: As `with_changes`, but for what the schema says.
    """
    values = section.model_dump(mode="json")
    for change in sorted(changes, key=_turn):
        key, equals, text = change.partition("=")
        if not equals:
            raise PortraitError(f"--set: expected KEY=VALUE, received {change!r}")
        holder = values
        *parts, last = key.split(".")
        for part in parts:
            holder = holder.setdefault(part, {})
            if not isinstance(holder, dict):
                raise PortraitError(f"--set: '{key}': '{part}' holds no keys")
        value = parse_yaml(text, f"--set: {change!r}")
        if last == "kind" and holder.get(last, value) != value:
            # Another kind of network has other keys.
            holder.clear()
        holder[last] = value
    return values


def save_config(config: Config, path: str | pathlib.Path) -> None:
    """Writes every key, defaults too: the exact config of a run."""
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    write_result(path, text.encode())
