"""Portrait completion and extrapolation: networks, data, training, pipeline.

`Portrait` does it all from Python; it is imported when it is asked for, so that
`import portrait_tf` costs nothing.
"""

__version__ = "0.2.0"

_LATE = {
    "Portrait": "portrait_tf.portrait",
    "PortraitError": "portrait_tf.errors",
    "ParsingNetwork": "portrait_tf.models",
    "CompletionNetwork": "portrait_tf.models",
    "FaceNetwork": "portrait_tf.models",
    "ParsingTrainer": "portrait_tf.training.parsing",
    "CompletionTrainer": "portrait_tf.training.completion",
    "FaceTrainer": "portrait_tf.training.face",
}

__all__ = [*_LATE, "__version__"]


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LATE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE})
