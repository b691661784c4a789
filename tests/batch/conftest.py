"""Without the extra `beam` (`make test-min`) only the manifest is tested."""

import importlib.util

import pytest
from full_model import save_full_model

collect_ignore_glob = (
    [] if importlib.util.find_spec("apache_beam") else ["test_batch.py", "test_many.py"]
)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A stand-in for an export, which loads in no time; not to be changed."""
    return save_full_model(tmp_path_factory.mktemp("models"))
