"""Without the extra `beam` (`make test-min`) only the manifest is tested."""

import importlib.util

collect_ignore_glob = (
    [] if importlib.util.find_spec("apache_beam") else ["test_batch.py", "test_many.py"]
)
