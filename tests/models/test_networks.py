"""What holds for all networks: files, copies, names, sizes, presets."""

import pathlib

import keras
import numpy as np
import pytest
from network_inputs import inputs_for
from tiny import TINY, assert_equal_arrays, shaken

from portrait_tf import models
from portrait_tf.compat import map_structure, variable_path
from portrait_tf.config import load_config, parse_config, save_config
from portrait_tf.errors import PortraitError
from portrait_tf.models.network import precision
from portrait_tf.runs.folder import GIVEN_NAME, build_network
from portrait_tf.runs.weights import load_bundled, load_weights, save_weights

SIZE = (32, 48)
PARSING = {"size": SIZE, "widths": (8, 8, 8, 8), "blocks": (1, 1), "feature_width": 8}
COMPLETION = {"size": SIZE, "widths": (8, 8, 8), "dilations": (1, 2)}
CASES = {
    "parsing": (models.ParsingNetwork, PARSING),
    "hints": (
        models.ParsingNetwork,
        {**PARSING, "hints": True, "decoder_dilations": (1, 2)},
    ),
    "jppnet": (
        models.JPPNet,
        {"size": SIZE, "backbone": "resnet50", "width_divisor": 16, "rounds": 1},
    ),
    "completion": (models.CompletionNetwork, COMPLETION),
    # Without a pre-fill, whose loops take longer to build than all the rest.
    "everything": (
        models.CompletionNetwork,
        {
            **COMPLETION, "prefill": "none", "convolution": "gated",
            "attention": "same_label", "noise": 2, "sharpness": 2.0,
            "upsampling": "smooth_shuffle", "texture_noise": True,
        },
    ),
    "without_map": (
        models.CompletionNetwork,
        {**COMPLETION, "parsing": False, "prefill": "plain", "attention": "any"},
    ),
    "separable": (
        models.CompletionNetwork,
        {
            **COMPLETION, "prefill": "none", "convolution": "separable", "stem": 4,
            "blocks": 1,
        },
    ),
    "face": (
        models.FaceNetwork,
        {
            "size": SIZE, "widths": (8, 8, 8), "blocks": 1,
            "upsampling": "smooth_shuffle",
        },
    ),
    "partial": (models.PartialConvUNet, {"size": SIZE, "widths": (8, 8, 12)}),
    "attention": (
        models.ContextualAttentionNetwork,
        {"size": SIZE, "width": 4, "scale": 5.0},
    ),
    "glc": (models.GlcNetwork, {"size": SIZE, "width_divisor": 16}),
    "partial_group": (
        models.PartialConvUNet,
        {"size": SIZE, "widths": (8, 8), "normalization": "group"},
    ),
    "glc_group": (
        models.GlcNetwork,
        {"size": SIZE, "width_divisor": 16, "normalization": "group"},
    ),
    "discriminator": (models.Discriminator, {"size": SIZE, "widths": (8, 8)}),
    "plain_discriminator": (
        models.Discriminator,
        {
            "size": SIZE, "widths": (8, 8), "conditioned": False,
            "spectral_normalization": False,
        },
    ),
    "feature_discriminator": (models.FeatureDiscriminator, {"size": SIZE, "width": 4}),
}  # fmt: skip
SLOW = ("jppnet", "hints", "without_map", "glc", "glc_group", "plain_discriminator")
every_network = pytest.mark.parametrize(
    ("network", "arguments"),
    [
        pytest.param(*case, id=name, marks=[pytest.mark.long] * (name in SLOW))
        for name, case in CASES.items()
    ],
)


@every_network
def test_files_and_copies_are_the_same_network(network, arguments, tmp_path):
    """A `.keras` file also keeps dtype policy and `trainable`."""
    with precision("mixed_bfloat16"):
        frozen = network(**arguments)
    paths = [variable_path(v) for v in frozen.weights]
    frozen.trainable = False
    frozen.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    assert type(loaded) is network and not loaded.trainable_variables
    assert loaded.get_config() == {**frozen.get_config(), "dtype": "mixed_bfloat16"}
    policies = [[la.dtype_policy.name for la in n.layers] for n in (frozen, loaded)]
    assert policies[0] == policies[1] and "mixed_bfloat16" in policies[0]
    assert_equal_arrays(frozen.get_weights(), loaded.get_weights())

    one = shaken(network(**arguments))
    assert one.get_config().items() >= arguments.items() and one.trainable_variables
    # Names do not depend on what was built before.
    assert paths == [variable_path(v) for v in one.weights]
    assert len(set(paths)) == len(paths)
    x = inputs_for(one)
    expected = one(x, training=False)
    copies = [network.from_config(one.get_config())]
    copies[0].set_weights(one.get_weights())
    if network in models.NETWORKS.values():
        save_weights(one, tmp_path / "network.npz", {}, dtype=None)
        copies.append(load_weights(tmp_path / "network.npz"))
    for copy in copies:
        assert type(copy) is network and copy.get_config() == one.get_config()
        map_structure(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
            expected,
            copy(x, training=False),
        )


@pytest.mark.parametrize(
    "case",
    ["parsing", "hints", "completion", "face", "partial", "partial_group", "attention",
     "glc", "glc_group"],
)  # fmt: skip
def test_a_photo_gives_the_same_alone_and_in_a_batch(case):
    network, arguments = CASES[case]
    one = network(**arguments)
    x = inputs_for(one, batch=3)
    # In training, batch normalization looks at the others: that is the papers'.
    together = one(x, training=case not in ("partial", "glc"))
    alone = one({name: value[1:2] for name, value in x.items()}, training=False)
    map_structure(
        lambda a, b: np.testing.assert_allclose(a[1:2], b, atol=1e-4), together, alone
    )


@pytest.mark.parametrize("case", ["completion", "without_map", "partial"])
def test_what_is_in_the_hole_is_not_seen(case):
    network, arguments = CASES[case]
    one = shaken(network(**arguments), seed=3)
    x = inputs_for(one)
    x["mask"] = (x["mask"] > 0.5).astype(np.float32)
    other = {**x, "image": np.where(x["mask"] > 0, 9, x["image"]).astype(np.float32)}
    np.testing.assert_allclose(
        one(x)["painted"], one(other)["painted"], rtol=1e-3, atol=1e-3
    )


def test_files_of_earlier_versions_load():
    """Version 0.2 wrote these, with names that have changed since."""
    folder = pathlib.Path(__file__).with_name("files_of_0_2")
    config = load_config(folder / "config.yaml")
    assert config.completion.network.normalization == "group"
    assert not config.completion.discriminator.spectral_normalization
    assert config.completion.loss.label_color == 0.5
    assert config.augmentation.recolor == 0.1
    weights = load_weights(folder / "network.npz")
    whole = keras.saving.load_model(folder / "network.keras")
    for network in (weights, whole):
        assert network.normalization == "group"
    for one, other in zip(weights.weights, whole.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


@pytest.mark.parametrize(
    "case", [name for name in CASES if "discriminator" not in name or "feat" in name]
)
def test_a_size_that_does_not_divide_is_refused(case):
    network, arguments = CASES[case]
    with pytest.raises(ValueError, match="must be multiples of .* received \\(30, 45"):
        network(**{**arguments, "size": (30, 45)})


class TestPresets:
    def test_the_packages_own(self):
        assert list(models.ParsingNetwork.presets) == ["demo"]
        assert models.JPPNet.presets == {}
        network = models.CompletionNetwork.from_preset("demo")
        assert_equal_arrays(network.weights, load_bundled("completion").weights)

    def test_of_a_run_and_of_a_file(self, tmp_path):
        config = parse_config(TINY)
        network = build_network("parsing", config)
        path = tmp_path / "parsing" / GIVEN_NAME
        save_weights(network, path, {}, dtype=None)
        save_config(config, tmp_path / "parsing" / "config.yaml")
        for preset in (tmp_path, path):
            loaded = models.ParsingNetwork.from_preset(preset)
            assert loaded.get_config() == network.get_config()
        with pytest.raises(
            PortraitError, match="expected a JPPNet, found ParsingNetwork"
        ):
            models.JPPNet.from_preset(path)

    def test_an_unknown_one_is_named_with_the_known(self):
        with pytest.raises(PortraitError, match=r"of ParsingNetwork \(demo\).*'dem0'"):
            models.ParsingNetwork.from_preset("dem0")
