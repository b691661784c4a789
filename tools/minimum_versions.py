"""Prints the lowest version that every range of setup.py allows, as pip's constraints.

    python tools/minimum_versions.py demo,dev > minimums.txt
    pip install --constraint minimums.txt --editable '.[demo,dev]'

The versions are written with `==`: where two of them cannot be had together, pip fails
and does not take a higher one in silence. `make test-min` runs the tests on them.
"""

import argparse
import os
import pathlib
import sys
from collections.abc import Iterable

import setuptools  # noqa: F401 - since Python 3.12 `distutils` is setuptools' own
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = pathlib.Path(__file__).parent.parent


def ranges(setup_file: pathlib.Path, extras: Iterable[str]) -> list[str]:
    """The requirements of the package and of these extras, as setup.py writes them.

    Raises `ValueError` for an extra that setup.py does not have.
    """
    from distutils.core import run_setup

    before = pathlib.Path.cwd()
    os.chdir(setup_file.parent)
    try:
        package = run_setup(setup_file.name, stop_after="init")
    finally:
        os.chdir(before)
    found = list(package.install_requires)
    for extra in extras:
        if extra not in package.extras_require:
            known = ", ".join(package.extras_require)
            raise ValueError(f"no extra {extra!r} in {setup_file}; it has {known}")
        found += package.extras_require[extra]
    return found


def minimums(requirements: Iterable[str]) -> list[str]:
    """`name==version` of every requirement's lower bound, sorted by name.

    Several ranges of one package hold together, so the highest lower bound counts.
    Requirements whose marker does not hold for this interpreter are left out. Raises
    `ValueError` for a range without a lower bound.
    """
    lowest: dict[str, Version] = {}
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate():
            continue
        bounds = [
            Version(bound.version)
            for bound in requirement.specifier
            if bound.operator in (">=", "==", "~=")
        ]
        if not bounds:
            raise ValueError(f"{text!r} has no lower bound (>=, == or ~=)")
        name = canonicalize_name(requirement.name)
        lowest[name] = max([*bounds, lowest.get(name, bounds[0])])
    return [f"{name}=={version}" for name, version in sorted(lowest.items())]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "extras",
        nargs="?",
        default="",
        metavar="EXTRA,EXTRA",
        help="extras whose ranges count too",
    )
    extras = [name for name in parser.parse_args(arguments).extras.split(",") if name]
    try:
        print(*minimums(ranges(ROOT / "setup.py", extras)), sep="\n")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
