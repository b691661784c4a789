"""Portrait completion and extrapolation: networks, data, training, pipeline.

`Portrait` does it all from Python; it is imported when it is asked for, so that
`import portrait_tf` costs nothing.
"""

__version__ = "0.1.0"

_LATE = {
    "Portrait": "portrait_tf.portrait",
    "PortraitError": "portrait_tf.errors",
}

__all__ = ["Portrait", "PortraitError", "__version__"]


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LATE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE})
