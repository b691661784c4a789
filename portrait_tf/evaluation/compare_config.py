"""The schema of `configs/compare.yaml`; docs/compare.md says how it is used.

Paths are relative to the config's own file.
"""

import pathlib
import re
from typing import Literal

import pydantic
from pydantic import Field

from portrait_tf.config import (
    Config,
    Section,
    changed_values,
    load_config,
    load_section,
    parse_config,
    parse_section,
    parse_yaml,
    with_changes,
)
from portrait_tf.data.masks import EVALUATION_TASKS
from portrait_tf.errors import PortraitError
from portrait_tf.evaluation.classical import CLASSICAL
from portrait_tf.files import read_text

Task = Literal[EVALUATION_TASKS]

_OWN = ("name", "completion")
"""Keys that methods may change; methods share everything else."""


class StageOneConfig(Section):
    """The network that predicts the map of all methods."""

    source: str = Field(
        "bundled",
        description="`bundled` (built for this size, if it is another one), `train`, "
        "or a run's folder.",
    )
    steps: int | None = Field(None, ge=1, description="For `train`; else the base's.")


class FeaturesConfig(Section):
    """The VGG of the perceptual and the Fréchet distance."""

    network: Literal["vgg16", "vgg19"] = "vgg16"
    weights: str | None = Field(
        None,
        description="A file, `imagenet` (downloaded by Keras) or `random`; null leaves "
        "both distances out.",
    )
    name: str | None = Field(None, description="Name of the weights in the report.")
    layers: tuple[str, ...] = Field(
        ("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3"),
        min_length=1,
        description="Layers of the perceptual distance.",
    )
    frechet_layer: str = "block2_conv2"


class MethodConfig(Section):
    """One method: a network that is trained, or finished pictures."""

    config: str | None = Field(None, description="A YAML file of changes to the base.")
    set: tuple[str, ...] = Field((), description="More changes: KEY=VALUE.")
    parsing: Literal["predicted", "truth", "none"] | None = Field(
        None,
        description="The map at evaluation; else `predicted`, or `none` for a network "
        "without a map.",
    )
    pictures: str | None = Field(
        None, description="A folder of finished pictures, TASK/NAME.png."
    )

    @pydantic.model_validator(mode="after")
    def _one_kind(self) -> "MethodConfig":
        if self.pictures and (self.config or self.set or self.parsing):
            raise ValueError("a method of pictures has no other key")
        return self


class CompareConfig(Section):
    """One comparison: one budget, one data set, one set of holes, several methods."""

    base: str | dict = Field({}, description="An experiment: its YAML file, or keys.")
    set: tuple[str, ...] = Field((), description="Changes of the base: KEY=VALUE.")
    size: tuple[int, int] | None = Field(None, description="Else the base's.")
    steps: int = Field(900, ge=1, description="Steps of stage 2, for every method.")
    seeds: tuple[int, ...] = Field((0,), min_length=1, description="A training each.")
    split: Literal["train", "val"] = Field("val", description="The scored split.")
    photos: int | None = Field(None, ge=2, description="The first photos; else all.")
    tasks: tuple[Task, ...] = Field(EVALUATION_TASKS, min_length=1)
    mask_seed: int = Field(0, ge=0)
    timed_photos: int = Field(3, ge=0, description="With each task; 0: no times.")
    stage_1: StageOneConfig = StageOneConfig()
    features: FeaturesConfig = FeaturesConfig()
    methods: dict[str, dict | None] = Field(
        min_length=1, description="`MethodConfig` by name."
    )
    reference: str | None = Field(
        None, description="The method that others are compared with; else the first."
    )
    classical: tuple[Literal[tuple(CLASSICAL)], ...] = ("telea", "navier_stokes")

    @pydantic.field_validator("methods")
    @classmethod
    def _names(cls, methods: dict) -> dict:
        for name in methods:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
                raise ValueError(
                    f"a method's name is a folder's name, too: {name!r} is not made of "
                    "letters, digits, '_', '-' and '.'"
                )
            if name in CLASSICAL:
                raise ValueError(f"{name!r} is the name of a classical method")
        return methods

    @pydantic.model_validator(mode="after")
    def _known_reference(self) -> "CompareConfig":
        names = [*self.methods, *self.classical]
        if self.reference is not None and self.reference not in names:
            raise ValueError(
                f"reference {self.reference!r} is none of {', '.join(names)}"
            )
        return self


class Plan(pydantic.BaseModel):
    """A checked comparison.

    Attributes:
        compare: The file's content, with absolute paths.
        methods: The methods by name, with absolute paths.
        base: The experiment of all methods, at the comparison's size.
        networks: The experiment of every method that is trained.
        pictures: The folder of every other method.
    """

    compare: CompareConfig
    methods: dict[str, MethodConfig]
    base: Config
    networks: dict[str, Config]
    pictures: dict[str, pathlib.Path]

    @property
    def reference(self) -> str:
        return self.compare.reference or next(iter(self.compare.methods))


def load_plan(path: str | pathlib.Path, changes: list[str] | None = None) -> Plan:
    """Reads a comparison's YAML file, and all files that it names.

    Args:
        path: The file.
        changes: `KEY=VALUE`, as `portrait-tf compare --set` has them.

    Raises:
        PortraitError: A file is missing, or does not fit its schema; a method changes
            a key that all methods share.
    """
    path = pathlib.Path(path)
    compare = load_section(CompareConfig, path, "comparison")
    if changes:
        values = changed_values(compare, changes)
        compare = parse_section(CompareConfig, values, "--set")
    folder = path.resolve().parent

    def found(name: str) -> str:
        return str(folder / pathlib.Path(name).expanduser())

    features, stage_1 = compare.features, compare.stage_1
    if features.weights not in (None, "imagenet", "random"):
        features.weights = found(features.weights)
        if not pathlib.Path(features.weights).is_file():
            reason = f"no such file: {features.weights}"
            raise PortraitError(f"{path}: 'features.weights': {reason}")
    if stage_1.source not in ("bundled", "train"):
        stage_1.source = found(stage_1.source)
    if isinstance(compare.base, str):
        base = load_config(found(compare.base))
    else:
        base = parse_config(compare.base, f"{path}: base")
    base = with_changes(base, list(compare.set))
    settings = [f"size={list(compare.size)}"] if compare.size else []
    base = with_changes(base, [*settings, f"seed={compare.seeds[0]}"])
    methods, networks, pictures = {}, {}, {}
    for name, values in compare.methods.items():
        source = f"{path}: methods.{name}"
        method = methods[name] = parse_section(MethodConfig, values or {}, source)
        if method.pictures:
            pictures[name] = pathlib.Path(found(method.pictures))
            continue
        if method.config:
            method.config = found(method.config)
        networks[name] = _network_config(method, base, compare.steps, source)
    return Plan(
        compare=compare, methods=methods, base=base, networks=networks,
        pictures=pictures,
    )  # fmt: skip


def _network_config(
    method: MethodConfig, base: Config, steps: int, source: str
) -> Config:
    config = base
    if path := method.config:
        changes = parse_yaml(read_text(path, "method's config"), path) or {}
        if not isinstance(changes, dict):
            raise PortraitError(
                f"{path}: expected keys and values, received {type(changes).__name__}"
            )
        config = parse_config(_over(base.model_dump(mode="json"), changes), path)
    try:
        config = with_changes(config, list(method.set))
    except PortraitError as error:
        raise PortraitError(f"{source}: {error}") from None
    for key in Config.model_fields:
        if key not in _OWN and getattr(config, key) != getattr(base, key):
            raise PortraitError(
                f"{source}: changes '{key}', which all methods share; expected "
                "changes of 'completion' alone"
            )
    return within_budget(config, steps, base.completion.training.batch_size)


def _over(values: dict, changes: dict) -> dict:
    """The values with changes in place of their own, key by key."""
    if "kind" in changes and changes["kind"] != values.get("kind"):
        # Another kind of network has other keys.
        return changes
    merged = dict(values)
    for key, change in changes.items():
        both = isinstance(change, dict) and isinstance(values.get(key), dict)
        merged[key] = _over(values[key], change) if both else change
    return merged


def within_budget(config: Config, steps: int, batch_size: int) -> Config:
    """The experiment with another budget of stage 2.

    Phases and warm-ups keep their share of the steps, so that a small budget leaves a
    method its adversarial phase.
    """
    completion = config.completion
    factor = steps / completion.training.steps
    warmup, critic = completion.training.optimizer, completion.discriminator_optimizer
    counts = {
        "training.optimizer.warmup_steps": warmup.warmup_steps,
        "discriminator_optimizer.warmup_steps": critic.warmup_steps,
    }
    for key, value in completion.schedule.model_dump().items():
        if key.endswith("_steps"):
            counts[f"schedule.{key}"] = value
    changes = [f"{key}={round(value * factor)}" for key, value in counts.items()]
    changes += [f"training.steps={steps}", f"training.batch_size={batch_size}"]
    return with_changes(config, [f"completion.{change}" for change in changes])
