"""Pages with scores and pictures. A page needs no other file and no network."""

import functools

import jinja2

from portrait_tf.evaluation.tables import TASK_NAMES
from portrait_tf.photos.drawing import data_url


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
        "source": data_url,
        "plain": _plain,
        "task": lambda name: TASK_NAMES.get(name, name),
    }
    return environment


def _plain(value: object) -> str:
    """A value of JSON as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
