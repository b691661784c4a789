import keras
import numpy as np
import pytest
from network_inputs import photos_and_masks
from tiny import assert_equal_arrays

from portrait_tf.compat import application_layer_name
from portrait_tf.compat import variable_path as path_of
from portrait_tf.errors import PortraitError
from portrait_tf.models import ParsingNetwork
from portrait_tf.models.backbones import BACKBONES
from portrait_tf.runs.backbone_weights import load_backbone_weights
from portrait_tf.runs.storage import save_arrays

TINY = {"size": (64, 32), "widths": (8, 8, 8, 8), "blocks": (1, 1), "feature_width": 8}


def backbone_of(network):
    return network.get_layer("backbone")


@pytest.mark.parametrize("backbone", BACKBONES)
def test_features_at_their_strides(backbone):
    x = keras.Input((64, 32, 4))
    features = BACKBONES[backbone](x)
    sizes = {name: tuple(feature.shape[1:3]) for name, feature in features.items()}
    assert sizes == {"stride4": (16, 8), "stride8": (8, 4), "stride16": (4, 2)}


@pytest.mark.parametrize("backbone", sorted(set(BACKBONES) - {"small", "resnet50"}))
def test_a_frozen_backbone_in_the_network(backbone):
    network = ParsingNetwork(**TINY, backbone=backbone)
    outputs = network(photos_and_masks(TINY["size"]), training=True)
    assert tuple(outputs["parsing"].shape) == (2, 32, 16, 20)
    alone = {name: value[1:] for name, value in photos_and_masks(TINY["size"]).items()}
    np.testing.assert_allclose(
        outputs["pose_2"][1:], network(alone)["pose_2"], atol=1e-4
    )
    found = [path_of(v) for v in network.weights if path_of(v).startswith("backbone_")]
    assert found and len(set(found)) == len(found)
    trained = {path_of(v) for v in network.trainable_weights}
    norms = [path for path in found if path.endswith(("gamma", "moving_mean"))]
    assert norms and not trained & set(norms)


@pytest.mark.long
def test_a_file_of_keras_gives_what_keras_gives(tmp_path):
    """MobileNetV3 up to where the backbone is dilated: the same features."""
    keras.utils.set_random_seed(0)
    whole = keras.applications.MobileNetV3Small(
        include_top=False, weights=None, input_shape=(None, None, 3)
    )
    rng = np.random.default_rng(0)
    whole.set_weights(
        [np.abs(w + rng.normal(0, 0.1, w.shape)) for w in whole.get_weights()]
    )
    path = str(tmp_path / "mobilenet.weights.h5")
    whole.save_weights(path)
    network = ParsingNetwork(**TINY, backbone="mobilenet_v3_small")
    load_backbone_weights(network, path)
    x = photos_and_masks(TINY["size"])
    layer = "expanded_conv_7_add"
    outputs = {application_layer_name(one): one.output for one in whole.layers}
    # Keras' own preprocessing takes 0..255; the mask has no say at first.
    expected = keras.Model(whole.input, outputs[layer])((x["image"] + 1) * 127.5)
    backbone = backbone_of(network)
    features = keras.Model(
        backbone.input, backbone.get_layer(f"backbone_{layer}").output
    )
    found = np.array(features(np.concatenate([x["image"], x["mask"]], -1)))
    np.testing.assert_allclose(
        found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max()
    )


@pytest.mark.long
def test_resnet_is_given_photos_as_keras_preprocesses_them():
    keras.utils.set_random_seed(0)
    network = ParsingNetwork(**TINY, backbone="resnet50", mask_channel=False)
    whole = keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=(None, None, 3)
    )
    backbone = backbone_of(network)
    arrays = {}
    for layer in whole.layers:
        if layer.weights and "conv5" not in layer.name:
            copy = backbone.get_layer(f"backbone_{layer.name}")
            layer.set_weights(copy.get_weights())
            arrays[layer.name] = copy
    assert len(arrays) > 80
    x = photos_and_masks(TINY["size"])
    photo = keras.applications.resnet.preprocess_input((x["image"] + 1) * 127.5)
    expected = np.array(
        keras.Model(whole.input, whole.get_layer("conv4_block6_out").output)(photo)
    )
    conv1 = keras.Model(network.input, network.get_layer("backbone_range").output)
    features = keras.Model(
        backbone.input, backbone.get_layer("backbone_conv4_block6_out").output
    )
    np.testing.assert_allclose(
        features(conv1(x)), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max()
    )


def test_our_own_file_goes_round(tmp_path):
    keras.utils.set_random_seed(0)
    one, two = (
        ParsingNetwork(**TINY, backbone="efficientnet_lite0", mask_channel=mask)
        for mask in (False, True)
    )
    variables = [v for v in one.weights if path_of(v).startswith("backbone_")]
    save_arrays(tmp_path / "lite0.npz", {"backbone": variables}, {})
    load_backbone_weights(two, tmp_path / "lite0.npz")
    for variable in variables:
        other = np.array(
            next(v for v in two.weights if path_of(v) == path_of(variable))
        )
        if path_of(variable) == "backbone_stem_conv/kernel":
            assert not other[:, :, 3].any()
            other = other[:, :, :3]
        np.testing.assert_array_equal(variable, other)


def test_wrong_files_are_named(tmp_path):
    network = ParsingNetwork(**TINY, backbone="mobilenet_v3_small")
    small = ParsingNetwork(**TINY)
    save_arrays(tmp_path / "small.npz", {"backbone": small.weights}, {})
    broken = tmp_path / "broken.weights.h5"
    broken.write_bytes(b"no HDF5")
    other = tmp_path / "other.weights.h5"
    backbone_of(network).save_weights(other)
    lite0 = ParsingNetwork(**TINY, backbone="efficientnet_lite0")
    cases = [
        (network, tmp_path / "none.npz", "no such weights file: .*none.npz"),
        (network, tmp_path / "none.h5", "no such weights file: .*none.h5"),
        (network, tmp_path / "small.npz", "small.npz fits another backbone: it has no"),
        (network, broken, "broken.weights.h5: expected weights of .*MobileNetV3Small"),
        (network, other, "other.weights.h5: expected weights of .*MobileNetV3Small"),
        (small, tmp_path / "small.npz", "this network has no backbone"),
        (lite0, "imagenet", "imagenet: backbone 'efficientnet_lite0' is none of keras"),
    ]
    before = network.get_weights()
    for target, path, message in cases:
        with pytest.raises(PortraitError, match=message):
            load_backbone_weights(target, path)
    assert_equal_arrays(before, network.get_weights())


def test_without_pose_and_without_the_mask():
    network = ParsingNetwork(**TINY, pose=False)
    outputs = network(photos_and_masks(TINY["size"]))
    assert set(outputs) == {"parsing", "parsing_0", "parsing_1", "parsing_2"}
    assert not [path_of(v) for v in network.weights if "pose" in path_of(v)]
    blind = ParsingNetwork(**TINY, mask_channel=False)
    x = photos_and_masks(TINY["size"])
    np.testing.assert_array_equal(
        blind(x)["parsing"], blind({**x, "mask": 1 - x["mask"]})["parsing"]
    )
    for built in (network, blind):
        again = ParsingNetwork.from_config(built.get_config())
        assert [path_of(v) for v in again.weights] == [
            path_of(v) for v in built.weights
        ]
