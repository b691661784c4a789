"""Portrait completion and extrapolation: networks, data, training, pipeline."""

__version__ = "0.1.0"
