"""No request ends the process, and none makes it allocate without bound."""

import json
import pathlib

import pytest
from processes import python_output

SCRIPT = pathlib.Path(__file__).with_name("hostile.py")


@pytest.fixture(scope="module")
def report(tiny_models):
    return json.loads(python_output(SCRIPT, tiny_models / "1").splitlines()[-1])


def test_every_bad_request_is_an_invalid_argument(report):
    assert len(report["answers"]) > 120
    wrong = [one for one in report["answers"] if one[2] != "InvalidArgumentError"]
    assert wrong == []


def test_memory_is_bounded(report):
    """A single 30000x30000 photo would be 2.5 GiB, before anything is done to it."""
    assert report["peak_mib"] < 3000


@pytest.mark.parametrize(
    ("signature", "name", "message"),
    [
        ("serving_default", "empty batch", "a batch has 1 to 64 photos"),
        ("serving_default", "no rows", "height and width of a photo must be 1 to"),
        ("parse", "mask of another size", "image and mask must have one batch, height"),
        ("serving_default", "8193x8193", "a photo has at most 67108864 pixels"),
        ("complete_with_parsing", "map of another size", "image and parsing must have"),
        ("complete_with_joints", "a joint that is nowhere", "joint that is given are"),
        ("complete_with_joints", "a joint that is half given", "third number of a"),
        ("complete_with_joints", "flags that are NaN", "1 where it is given, else 0"),
        ("complete_with_joints", "joints of another batch", "must have one batch"),
        ("extrapolate", "margin nan", "margins are parts of the photo, 0 to 1"),
        ("extrapolate", "no margins", "image and margins must have one batch"),
        ("extrapolate", "a huge canvas", "a canvas has at most 67108864 pixels"),
        ("encoded", "text", "image_bytes must be JPEG, PNG, WebP or BMP files"),
        ("encoded", "GIF, as mask", "mask_bytes must be JPEG, PNG, WebP or BMP files"),
        ("encoded", "PNG 16000x16000", "a photo has at most 67108864 pixels"),
        ("encoded", "PNG 2^32-1", "height and width of a photo must be 1 to 16384"),
        ("encoded", "JPEG 60000x60000", "height and width of a photo must be 1 to"),
        ("encoded", "WebP 16000x16000", "a photo has at most 67108864 pixels"),
        ("encoded", "BMP -30000", "height and width of a photo must be 1 to 16384"),
        ("encoded", "another size", "image and mask must have one height and width"),
        ("encoded", "more photos than masks", "must have one length"),
        ("encoded", "five of 8000x8000", "all photos of a batch have at most"),
    ],
)
def test_it_is_told_why(report, signature, name, message):
    found = [one[3] for one in report["answers"] if one[:2] == [signature, name]]
    assert found and all(message in one for one in found), found
