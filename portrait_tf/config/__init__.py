"""One typed schema for `configs/*.yaml`, a file for each section.

Every key has a default, so a file names only what it changes. An unknown key, or a
value of the wrong type, is an error that names the key and the nearest valid one.
"""

from portrait_tf.config.base import Section
from portrait_tf.config.completion import CompletionConfig, DiscriminatorConfig
from portrait_tf.config.data import AugmentationConfig, DataConfig, MaskConfig
from portrait_tf.config.experiment import Config, PipelineConfig
from portrait_tf.config.face import FaceConfig
from portrait_tf.config.loading import (
    changed_values,
    load_config,
    load_section,
    parse_config,
    parse_section,
    parse_yaml,
    save_config,
    with_changes,
)
from portrait_tf.config.parsing import ParsingConfig
from portrait_tf.config.training import (
    CompletionScheduleConfig,
    OptimizerConfig,
    TrainingConfig,
)
