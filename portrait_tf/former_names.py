"""Names that configs had in earlier versions, whose files still load."""

# Up to version 0.2.
_NAMES = {
    "label_colour": "label_color",
    "normalisation": "normalization",
    "recolour": "recolor",
    "spectral_normalisation": "spectral_normalization",
}


def with_present_names(value: object) -> object:
    """What a config file holds, its keys named as they are today.

    A former name beside its successor stays, so that the schema refuses it.
    """
    if not isinstance(value, dict):
        return value
    renamed = {}
    for key, one in value.items():
        present = _NAMES.get(key, key)
        renamed[key if present in value else present] = with_present_names(one)
    return renamed
