"""The lowest versions of setup.py's ranges, as `make test-min` installs them."""

import re
import subprocess
import sys

import pytest

from tools.minimum_versions import ROOT, main, minimums, ranges


@pytest.mark.parametrize(
    ("given", "lowest"),
    [
        (["Pillow>=11.2.1,<14", "jax ~= 0.7.2"], ["jax==0.7.2", "pillow==11.2.1"]),
        (["scikit-image>=0.24,<1", "scikit_image>=0.25"], ["scikit-image==0.25"]),
        (["rich>=13", "rich>=9"], ["rich==13"]),
        (["uvicorn[standard]>=0.30"], ["uvicorn==0.30"]),
        (["numpy>=2; python_version >= '3'", "six>=1; os_name == ''"], ["numpy==2"]),
    ],
)
def test_the_lower_bound_is_taken(given, lowest):
    assert minimums(given) == lowest


@pytest.mark.parametrize("text", ["numpy", "numpy<3", "numpy!=2.0"])
def test_a_range_without_a_lower_bound_is_refused(text):
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        minimums([text])


def test_every_range_of_the_package_has_a_minimum(capsys):
    extras = "default,demo,heic,web,tensorboard,dev"
    assert main([extras]) == 0
    printed = capsys.readouterr().out.splitlines()
    names = {
        re.match(r"[\w-]+", text)[0]
        for text in ranges(ROOT / "setup.py", extras.split(","))
    }
    assert {line.split("==")[0] for line in printed} == names
    assert all(re.fullmatch(r"[a-z0-9-]+==[\d.]+", line) for line in printed)


def test_an_unknown_extra_ends_with_one_line():
    ended = subprocess.run(
        [sys.executable, "tools/minimum_versions.py", "nothing"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert re.fullmatch(r"no extra 'nothing' in .*setup\.py; it has .*\n", ended.stderr)
