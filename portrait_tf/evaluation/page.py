"""Pages with scores and pictures. A page needs no other file and no network."""

import base64
import functools

import cv2
import jinja2
import numpy as np

from portrait_tf.evaluation.tables import TASK_NAMES
from portrait_tf.photos import encode_png


def render(template: str, **values: object) -> str:
    """A page of `templates/`.

    Args:
        template: File name.
        **values: The template's variables. Strings are escaped.
    """
    return _environment().get_template(template).render(**values)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("portrait_tf.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "source": _source,
        "plain": _plain,
        "task": lambda name: TASK_NAMES.get(name, name),
    }
    return environment


def _plain(value: object) -> str:
    """A value of JSON as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _source(picture: np.ndarray, lossless: bool) -> str:
    """An RGB `uint8` picture as a `data:` address, PNG or JPEG."""
    if lossless:
        kind, data = "png", encode_png(picture)
    else:
        quality = [cv2.IMWRITE_JPEG_QUALITY, 90]
        _, encoded = cv2.imencode(".jpg", picture[..., ::-1], quality)
        kind, data = "jpeg", encoded.tobytes()
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
