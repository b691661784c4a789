"""Pretrained weights of encoders: ImageNet's, by Keras or from files."""

import pathlib

import keras
import numpy as np

from portrait_tf.compat import application_layer_name, variable_path
from portrait_tf.errors import PortraitError
from portrait_tf.models.backbones import APPLICATIONS, application, backbone_layers
from portrait_tf.runs.storage import read_arrays


def _name(variable: object) -> str:
    """Of a layer's own variable: `kernel`."""
    return variable_path(variable).split("/")[-1]


def _application_arrays(name: str, weights: str) -> dict[str, np.ndarray]:
    """Arrays of ImageNet weights or of an HDF5 file, named as in our own files."""
    if name not in APPLICATIONS:
        raise PortraitError(
            f"{weights}: backbone {name!r} is none of keras.applications: expected the "
            "path of a .npz file of its weights"
        )
    if weights != "imagenet" and not pathlib.Path(weights).is_file():
        raise PortraitError(f"no such weights file: {weights}")
    try:
        if weights == "imagenet":
            model = application(name, weights="imagenet")
        else:
            model = application(name, weights=None)
            model.load_weights(weights)
    except Exception as error:
        # Keras wraps every download error in a bare Exception; a file that does not
        # fit raises whatever the first difference happens to break.
        reason = " ".join(str(error).split())[:300]
        raise PortraitError(
            f"{weights}: expected weights of keras.applications."
            f"{APPLICATIONS[name]} without its top, but they could not be had: {reason}"
        ) from None
    return {
        (
            f"backbone/backbone_{application_layer_name(layer)}/{_name(variable)}"
        ): np.array(variable)
        for layer in model.layers
        for variable in layer.weights
    }


def load_backbone_weights(network: keras.Model, weights: str | pathlib.Path) -> None:
    """Sets the layers named `backbone_*` from pretrained weights.

    A first convolution that also sees the mask keeps zeros for it: at first the network
    does as it would without.

    Args:
        network: With a backbone that was built here.
        weights: `imagenet`, which Keras downloads; the path of an HDF5 file (`.h5`,
            `.weights.h5`) of the same network of `keras.applications` without its
            top; or of a `.npz` of `save_arrays`, group `backbone`, arrays by layer and
            variable (`backbone_stem_conv/kernel`).

    Raises:
        PortraitError: The weights cannot be had, are damaged, or of another backbone.
    """
    weights = str(weights)
    if not any(backbone_layers(network)):
        raise PortraitError(f"{weights}: this network has no backbone to load it into")
    if weights == "imagenet" or weights.endswith(".h5"):
        arrays = _application_arrays(network.backbone, weights)
    else:
        arrays, _ = read_arrays(weights)
    new = []
    for layer in backbone_layers(network):
        for variable in layer.weights:
            key = f"backbone/{layer.name}/{_name(variable)}"
            if key not in arrays:
                raise PortraitError(
                    f"{weights} fits another backbone: it has no {key!r}"
                )
            array = arrays[key].astype(np.float32)
            shape = tuple(variable.shape)
            if len(shape) == 4 and shape[2] == array.shape[2] + 1 == 4:
                array = np.concatenate([array, np.zeros_like(array[:, :, :1])], 2)
            if array.shape != shape:
                raise PortraitError(
                    f"{weights} fits another backbone: {key!r} is {array.shape} in the "
                    f"file and {shape} in this network"
                )
            new.append((variable, array))
    for variable, array in new:
        variable.assign(array)
