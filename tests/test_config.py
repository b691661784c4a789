import itertools
import pathlib

import pytest

from portrait_tf.config import (
    Config,
    load_config,
    parse_config,
    parse_yaml,
    save_config,
    with_changes,
)
from portrait_tf.errors import PortraitError

# Comparisons have a schema of their own, and their test with that.
CONFIGS = sorted(
    path
    for path in pathlib.Path(__file__).parent.parent.glob("configs/**/*.yaml")
    if path.stem not in ("compare", "parsing_value")
)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_file_in_configs_fits_the_schema(path):
    assert load_config(path).name == path.stem


def test_there_are_configs():
    assert CONFIGS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("parsng: {}", "unknown key 'parsng'; did you mean 'parsing'?"),
        (
            "{methods: {}, base: a}",
            "unknown key 'methods'; unknown key 'base'; valid here: name, seed, ",
        ),
        (
            "parsing: {training: {step: 3}}",
            "unknown key 'parsing.training.step'; did you mean 'steps'?",
        ),
        (
            "parsing: {network: {widhts: [1, 2, 3, 4]}}",
            "unknown key 'parsing.network.widhts'; did you mean 'widths'?",
        ),
        (
            "parsing: {network: {kind: jppnet, widths: [1, 2, 3, 4]}}",
            "unknown key 'parsing.network.widths'; did you mean 'width_divisor'?",
        ),
        (
            "parsing: {network: {kind: jpp}}",
            "'parsing.network.kind': expected one of compact, jppnet (received 'jpp')",
        ),
        (
            "completion: {network: {widhts: [1, 2, 3]}}",
            "unknown key 'completion.network.widhts'; did you mean 'widths'?",
        ),
        (
            "completion: {network: {kind: glc, widths: [1, 2, 3]}}",
            "unknown key 'completion.network.widths'; did you mean 'width_divisor'?",
        ),
        (
            "completion: {network: {kind: jppnet}}",
            "'completion.network.kind': expected one of parsing_guided, "
            "partial_convolution, contextual_attention, glc (received 'jppnet')",
        ),
        (
            "completion: {network: {kind: partial_convolution, widths: []}}",
            "'completion.network.widths': ",
        ),
        (
            "parsing: {scales: [1.0, 0.5]}",
            "need network.kind jppnet; compact works at one size",
        ),
        ("parsing: {scales: [0.5]}", "scales begin with 1, got (0.5,)"),
        ("seed: x", "'seed': Input should be a valid integer"),
        ("size: [100, 128]", "must be multiples of 16, got (100, 128)"),
        (
            "masks: {rectangle: 0, strokes: 0, body_part: 0, border: 0}",
            "at least one kind of hole needs a weight above 0",
        ),
        (
            "completion: {discriminator: {loss: wgan_gp}}",
            "expected spectral_normalization false, received true",
        ),
        (
            "completion: {discriminator: {features: efficientnet_lite0}}",
            "expected features_weights to be the path of their .npz file, received "
            "'none'",
        ),
        (
            "completion: {discriminator: {local_features: true}}",
            "expected features efficientnet_lite0, received none",
        ),
        (
            "completion: {discriminator: {features: efficientnet_lite0, "
            "features_weights: F, local_features: true, local_size: [64, 60]}}",
            "expected multiples of 8 in local_size, received [64, 60]",
        ),
        (
            "completion: {loss: {adversarial: 0, adversarial_local: 0, "
            "feature_matching: 1}}",
            "feature_matching needs a discriminator",
        ),
        (
            "completion: {loss: {hole: 0, known: 0, perceptual: 0}}",
            "at least one of hole, known, psnr, perceptual and style",
        ),
        ("[size]", "expected keys and values, received list"),
        # Keys that do not go together.
        (
            "{size: [96, 96], completion: {network: {stem: 4, "
            "widths: [8, 8, 8, 8, 8]}}}",
            "completion.network has a stride of 64 (stem 4, 5 widths): expected a size",
        ),
        (
            "completion: {discriminator: {widths: [8, 8, 8, 8, 8, 8, 8]}}",
            "discriminator.widths: 7 convolutions that halve the size, but a photo or "
            "crop of 64x64",
        ),
        (
            "{size: [16, 16], completion: {discriminator: {widths: [8, 8, 8, 8, 8]}}}",
            "crop of 16x16",
        ),
        (
            "face: {network: {size: [24, 24]}, discriminator: {features: "
            "efficientnet_lite0, features_weights: F}}",
            "expected multiples of 16 in network.size, received [24, 24]",
        ),
        (
            "face: {loss: {adversarial: 0, feature_matching: 1}}",
            "feature_matching needs a discriminator",
        ),
        (
            "face: {network: {size: [8, 8]}, discriminator: {widths: [8, 8, 8, 8]}}",
            "crop of 8x8",
        ),
        (
            "parsing: {loss: {parsing: 0, pose: 0}}",
            "at least one of parsing, pose, and balanced_weight",
        ),
        (
            "parsing: {loss: {full_size: 0, deep_supervision: 0}}",
            "full_size or deep_supervision needs a weight",
        ),
        (
            "parsing: {loss: {parsing: 0}, network: {pose: false}}",
            "where network.pose is false",
        ),
        ("face: {loss: {hole: 0, perceptual: 0}}", "hole or perceptual needs"),
    ],
)
def test_wrong_keys_and_values_are_named(text, message):
    with pytest.raises(PortraitError) as caught:
        parse_config(parse_yaml(text, "mine.yaml"), "mine.yaml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("mine.yaml: ")


@pytest.mark.parametrize(
    "change",
    [
        # Limits the wrong way round.
        "augmentation.scale=[1.2, 0.8]",
        "augmentation.crop_zoom=[2, 1]",
        "augmentation.cutout_size=[0.3, 0.1]",
        "masks.rectangle_size=[0.6, 0.2]",
        "masks.stroke_count=[6, 1]",
        "masks.stroke_width=[0.2, 0.1]",
        "masks.stroke_length=[0.8, 0.2]",
        "masks.body_part_dilation=[0.06, 0.01]",
        "face.masks.border_size=[0.4, 0.1]",
        "face.masks.face_size=[2, 1]",
        # Nothing, less than nothing, more than all.
        "data.weights=[]",
        "data.weights=[0]",
        "augmentation.scale=[0, 1]",
        "masks.rectangle_size=[0.5, 1.5]",
        "masks.stroke_count=[0, 0]",
        "masks.border_sides.top=-1",
        "seed=4294967296",
        "name=a/b",
        "parsing.training.start_from=''",
        "parsing.network.widths=[8, 0, 8, 8]",
        "parsing.network.blocks=[1, -1]",
        "parsing.network.feature_width=1",
        "parsing.network={kind: jppnet, width_divisor: 65}",
        "parsing.scales=[]",
        "parsing.loss.parsing=-1",
        "parsing.loss.pose=-1",
        "completion.network.widths=[8, 0]",
        "completion.network.dilations=[1, 0]",
        "completion.discriminator.widths=[]",
        "completion.discriminator.widths=[8, -8]",
        "completion.discriminator.local_size=[0, 64]",
        "completion.perceptual.layers={}",
        "completion.perceptual.layers.block1_conv2=-1",
        "face.network.widths=[8, 8, 0]",
        "face.discriminator.widths=[]",
        # No numbers.
        "augmentation.scale=[1, .inf]",
        "masks.border=.nan",
        "parsing.training.optimizer.learning_rate=.inf",
        "parsing.training.checkpoint_minutes=.inf",
        "completion.loss.hole=.nan",
        "completion.perceptual.layers.block1_conv2=.nan",
        "pipeline.scales=[.nan]",
    ],
)
def test_values_out_of_range_are_named(change):
    with pytest.raises(PortraitError) as caught:
        with_changes(Config(), [change])
    assert "'" + change.partition("=")[0] in str(caught.value)


def test_a_missing_file_and_a_file_that_is_no_yaml_are_named(tmp_path):
    with pytest.raises(PortraitError, match="none.yaml: cannot read the config"):
        load_config(tmp_path / "none.yaml")
    path = tmp_path / "broken.yaml"
    path.write_text("size: [1,")
    with pytest.raises(PortraitError, match="broken.yaml: not YAML"):
        load_config(path)
    path.write_text("name: café", encoding="cp1252")
    with pytest.raises(PortraitError, match="broken.yaml: .* UTF-8, .* cp1252: 'é'"):
        load_config(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed: 1\nname: a\nseed: 2", "'seed' in line 1 and line 3"),
        ("parsing:\n  training:\n    {steps: 1, steps: 2}", "'steps' in line 3 and"),
    ],
)
def test_a_key_that_is_there_twice_is_named(tmp_path, text, words):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(PortraitError, match=f"a.yaml: expected each key once.*{words}"):
        load_config(tmp_path / "a.yaml")


def test_keys_of_an_anchor_may_be_set_again():
    merged = "{a: &base {x: 1, y: 2}, b: {<<: *base, x: 3}}"
    assert parse_yaml(merged, "text")["b"] == {"x": 3, "y": 2}


def test_a_saved_config_reads_back_equal(tmp_path):
    config = parse_config({"seed": 9, "completion": {"loss": {"hole": 3.5}}})
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config


def test_changes_by_key():
    config = with_changes(
        Config(), ["seed=4", "parsing.training.optimizer.learning_rate=0.5"]
    )
    assert (config.seed, config.parsing.training.optimizer.learning_rate) == (4, 0.5)
    for change, message in (
        ("seed", "expected KEY=VALUE"),
        ("sed=1", "did you mean 'seed'"),
        ("seed.x=1", "holds no keys"),
        ("seed=[", "not YAML"),
        ("size={a: 1, a: 2}", "expected each key once, found 'a'"),
    ):
        with pytest.raises(PortraitError, match=message.replace("?", r"\?")):
            with_changes(Config(), [change])


def test_a_change_of_kind_leaves_the_other_kind_behind(tmp_path):
    """Also of a run's config, which has every key."""
    path = tmp_path / "config.yaml"
    save_config(Config(), path)
    other = with_changes(
        load_config(path), ["parsing.network.kind=jppnet", "parsing.network.rounds=1"]
    )
    assert other.parsing.network.model_dump() == {
        "kind": "jppnet",
        "rounds": 1,
        "backbone": "resnet101",
        "mask_channel": False,
        "width_divisor": 1,
    }
    save_config(other, path)
    assert load_config(path) == other
    same = with_changes(Config(), ["parsing.network.rounds=1"])
    assert with_changes(same, ["parsing.network.kind=compact"]) == same


def test_a_former_name_is_for_files_alone(tmp_path):
    with pytest.raises(PortraitError, match="recolour'; did you mean 'recolor'"):
        with_changes(Config(), ["augmentation.recolour=0.5"])
    path = tmp_path / "both.yaml"
    path.write_text("augmentation: {recolor: 0.1, recolour: 0.2}")
    with pytest.raises(PortraitError, match="unknown key 'augmentation.recolour'"):
        load_config(path)


def test_no_change_takes_away_another():
    changes = [
        "completion.network.width_divisor=4",
        "completion.network.normalization=group",
        "completion.network.kind=glc",
    ]
    for given in itertools.permutations(changes):
        network = with_changes(Config(), given).completion.network
        assert (network.width_divisor, network.normalization) == (4, "group")
    sections = ["parsing.loss.hole=5", "parsing.loss={pose: 3}", "parsing.loss.hole=6"]
    loss = with_changes(Config(), sections).parsing.loss
    assert (loss.hole, loss.pose) == (6, 3)
    with pytest.raises(PortraitError, match="unknown key 'completion.network.widths'"):
        with_changes(Config(), ["completion.network.widths=[8,8]", changes[2]])


def test_a_completion_network_without_kind_is_ours(tmp_path):
    """As in the configs of runs that are older than the kinds."""
    values = Config().model_dump(mode="json")
    assert values["completion"]["network"].pop("kind") == "parsing_guided"
    assert parse_config(values) == Config()
    other = with_changes(parse_config(values), ["completion.network.kind=glc"])
    assert other.completion.network.model_dump() == {
        "kind": "glc",
        "width_divisor": 1,
        "normalization": "batch",
    }
    save_config(other, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == other
