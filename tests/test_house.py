"""Which room may import which: the contracts in `pyproject.toml`."""

import pathlib
import subprocess
import sysconfig

ROOT = pathlib.Path(__file__).parents[1]


def test_arrows_between_rooms_point_down():
    command = pathlib.Path(sysconfig.get_path("scripts")) / "lint-imports"
    result = subprocess.run(
        [command, "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout
