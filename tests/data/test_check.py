"""`data check` and `data shards` on the command line, for every layout."""

import json

import pytest
from command_line import run
from layouts import MAKERS, first_files, make_cihp, make_lip

from portrait_tf.data.check import sample_sheet
from portrait_tf.data.open import open_splits
from portrait_tf.labels import LABELS
from portrait_tf.photos import read_photo


@pytest.mark.parametrize("layout", [*MAKERS, "shards"])
def test_check(layout, tmp_path):
    source, made = tmp_path / "data", "lip" if layout == "shards" else layout
    MAKERS[made](source)
    if layout == "shards":
        code, output = run("data", "shards", source, tmp_path / "packed")
        assert code == 0 and "train: 5 samples in 1 shards; 0 broken" in output
        source = tmp_path / "packed"
    before = sorted(source.rglob("*"))
    picture, numbers = tmp_path / "sheet.png", tmp_path / "numbers.json"
    code, output = run("data", "check", source, "-o", picture, "--json", numbers)
    assert code == 0, output
    assert f"layout: {layout}" in output and str(picture) in output
    assert sorted(source.rglob("*")) == before
    description = json.loads(numbers.read_text())
    assert set(description) == {"train", "val"}
    for split, found in description.items():
        assert f"{split}: {found['photos']} photos" in output
        assert found["layout"] == layout and found["broken"] == {}
        assert set(found["labels"]) == set(LABELS)
        assert found["labels"]["Hair"]["photos"] > 0
        missing = found["photos"] if layout in ("atr", "cihp") else 0
        assert found["missing_poses"] == missing
        assert found["left_out"] == (1 if layout == "cihp" else 0)
    assert ", left out 1" in output or layout != "cihp"
    assert len(set(map(tuple, read_photo(picture).reshape(-1, 3)))) > 1000


@pytest.mark.parametrize("layout", MAKERS)
def test_check_goes_on_past_broken_files(layout, tmp_path):
    MAKERS[layout](tmp_path / "data")
    photo, _ = first_files(layout, tmp_path / "data")
    photo.write_bytes(b"")
    picture = tmp_path / "sheet.png"
    code, output = run("data", "check", tmp_path / "data", "-o", picture)
    assert code == 1
    assert f"{photo.name}: expected a photo (JPEG, PNG" in output
    assert picture.exists()


def test_check_where_nothing_can_be_read(tmp_path):
    make_lip(tmp_path / "lip", 2, 0)
    for photo in (tmp_path / "lip").rglob("*.jpg"):
        photo.write_bytes(b"")
    picture = tmp_path / "sheet.png"
    code, output = run("data", "check", tmp_path / "lip", "-o", picture)
    assert code == 1 and "2 broken" in output and "val: none" in output
    assert not picture.exists()


def test_the_picture_is_not_written_into_the_data(tmp_path, monkeypatch):
    make_lip(tmp_path / "some-lip", 1, 0)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.chdir(tmp_path / "some-lip")
    code, output = run("data", "check", ".")
    assert code == 0
    assert str(temporary / "some-lip-check.png") in output
    assert [path.name for path in temporary.iterdir()] == ["some-lip-check.png"]


def test_the_picture_shows_both_splits_evenly(tmp_path):
    readers = open_splits(make_lip(tmp_path / "lip", 5, 2)).values()
    wide, narrow = sample_sheet(readers, 12), sample_sheet(readers, 2)
    assert wide.shape[0] > 2 * narrow.shape[0]
    assert sample_sheet(open_splits(make_cihp(tmp_path / "cihp")).values()).any()


def test_shards_on_the_command_line(tmp_path):
    source, out = make_lip(tmp_path / "lip"), tmp_path / "out"
    photo, _ = first_files("lip", source)
    photo.write_bytes(photo.read_bytes()[:99])
    arguments = ["data", "shards", source, out, "--photos-per-shard", 2]
    arguments += ["--size", 48, 48]
    code, output = run(*arguments)
    assert code == 2 and f"{photo.name}: expected a whole photo" in output
    code, output = run(*arguments, "--skip-broken")
    assert code == 0
    assert "train: 4 samples in 3 shards; 1 broken left out" in output
    assert photo.name in output
    code, output = run(*arguments, "--skip-broken")
    assert code == 0 and "4 shards were there already" in output
    code, output = run("data", "shards", source, out, "--size", 0, 48)
    assert code == 2 and "--size" in output
