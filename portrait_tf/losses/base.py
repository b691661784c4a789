"""What all losses that are classes share."""

from portrait_tf.compat import arguments_of


class ConfigLoss:
    """A loss that keeps each argument of its class as an attribute of that name."""

    def get_config(self) -> dict:
        return arguments_of(self)

    @classmethod
    def from_config(cls, config: dict) -> "ConfigLoss":
        return cls(**config)
