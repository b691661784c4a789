"""The lowest versions of setup.py's ranges, as `make test-min` installs them."""

import re
import subprocess
import sys

import pytest

from tools.minimum_versions import ROOT, main, minimums, ranges


def test_the_lower_bound_is_taken():
    assert minimums(["Pillow>=11.2.1,<14", "jax ~= 0.7.2", "keras<4,==3.15.0"]) == [
        "jax==0.7.2",
        "keras==3.15.0",
        "pillow==11.2.1",
    ]


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_ranges_the_narrower_counts(order):
    both = ["scikit-image>=0.24,<1", "scikit_image>=0.25"][::order]
    assert minimums(both) == ["scikit-image==0.25"]


def test_versions_are_compared_as_versions():
    assert minimums(["rich>=9", "rich>=13"]) == ["rich==13"]


def test_an_extra_of_a_package_is_no_part_of_its_constraint():
    assert minimums(["uvicorn[standard]>=0.30"]) == ["uvicorn==0.30"]


def test_what_another_python_needs_is_left_out():
    assert minimums(["numpy>=2; python_version >= '3'", "six>=1; os_name == ''"]) == [
        "numpy==2"
    ]


@pytest.mark.parametrize("text", ["numpy", "numpy<3", "numpy!=2.0"])
def test_a_range_without_a_lower_bound_is_refused(text):
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        minimums([text])


def test_ranges_are_those_that_setup_py_gives(tmp_path):
    setup = tmp_path / "setup.py"
    setup.write_text(
        "from setuptools import setup\n"
        "everywhere = ['numpy>=2']\n"
        "setup(name='x', install_requires=everywhere,\n"
        "      extras_require={'a': ['jax>=0.7'], 'b': ['rich>=13']})\n"
    )
    assert ranges(setup, []) == ["numpy>=2"]
    assert ranges(setup, ["b"]) == ["numpy>=2", "rich>=13"]
    with pytest.raises(ValueError, match="no extra 'c' in .*; it has a, b"):
        ranges(setup, ["c"])


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
