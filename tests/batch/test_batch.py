"""Batches on Beam's runner for this machine, held to the command line's results."""

import shutil

import pytest
from batches import (
    batch,
    complete_folder,
    counts,
    everything,
    pictures,
    table,
    write_csv,
    write_photos,
)


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Photos, masks and a manifest; not to be changed."""
    folder = tmp_path_factory.mktemp("batch")
    rows = write_photos(folder)
    write_csv(folder / "manifest.csv", rows)
    return folder, rows


@pytest.fixture(scope="session")
def completed(photos, tiny_models, tmp_path_factory):
    """What `portrait-tf complete` writes of them."""
    folder, _ = photos
    out = tmp_path_factory.mktemp("command_line")
    complete_folder(folder, out, "--model", tiny_models)
    return pictures(out)


def test_results_are_the_command_lines(photos, completed, tiny_models, tmp_path):
    folder, rows = photos
    code, output = batch(folder, tmp_path, "--model", tiny_models)
    print(output)
    assert code == 0 and counts(output) == (6, 0, 0, 0)
    assert pictures(tmp_path) == completed and len(completed) == 6
