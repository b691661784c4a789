"""What is so on the addons stack alone."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.addons_stack("it runs on other backends")


def test_another_backend_is_one_sentence():
    code = "from portrait_tf.startup import load_keras; load_keras()"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode
    assert ended.stderr.splitlines()[-1].endswith(
        "runs on TensorFlow alone, KERAS_BACKEND is 'jax': expected the default stack "
        "(docs/addons.md)"
    )
