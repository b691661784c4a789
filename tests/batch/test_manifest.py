"""What a manifest may say, and what is said of one that is wrong. No Beam."""

import io
import json
import pathlib

import pytest

from portrait_tf.apps.batch.manifest import (
    RowOptions,
    is_json,
    key_of,
    read_columns,
    read_rows,
    resolve,
)
from portrait_tf.errors import PortraitError
from portrait_tf.inference.extrapolation import Length
from portrait_tf.portrait import MaskOptions

ROOT = "/data/photos"


def rows_of(text, name="m.csv", options=None, root=ROOT):
    stream = io.StringIO(text, newline="")
    return list(read_rows(stream, name, options or RowOptions(), root))


def row_of(text, name="m.csv", options=None, root=ROOT):
    (row,) = rows_of(text, name, options, root)
    return row


def test_csv_rows_with_masks_and_margins():
    first, second, third = rows_of(
        "id, photo,mask,bottom,left,output\r\n"
        '7,a.jpg,"masks/a, b.png",,,\r\n'
        "\r\n"
        "8,sub/b.JPG,,30%,,\r\n"
        "9,/other/c.tif,,0.5,20px,new/c.png\r\n"
    )
    assert (first.source, first.mask) == (f"{ROOT}/a.jpg", f"{ROOT}/masks/a, b.png")
    assert (first.wish, first.output, first.format) == (None, "a.jpg", None)
    assert second.output == "sub/b.JPG" and second.mask is None
    assert dict(second.wish.lengths) == {"bottom": Length(0.3, "part")}
    assert third.source == "/other/c.tif"
    assert dict(third.wish.lengths)["left"] == Length(20.0, "pixels")
    assert (third.output, third.format) == ("new/c.png", "PNG")
    assert [row.line for row in (first, second, third)] == [2, 4, 5]
    assert not any(row.error for row in (first, second, third))


def test_json_rows():
    text = "\n".join(
        json.dumps(row)
        for row in (
            {"photo": "a.jpg", "bottom": 0.25, "top": None, "tags": ["x"]},
            {"photo": "b.jpg", "to_aspect": "2:3", "anchor": "top"},
            {"photo": "c.jpg", "whole_body": True},
            {"photo": "d.jpg", "mask": ["m.png"]},
            ["e.jpg"],
        )
    )
    margins, aspect, body, listed, array = rows_of(text, "m.jsonl")
    assert dict(margins.wish.lengths) == {"bottom": Length(0.25, "part")}
    assert aspect.wish.anchor == "top" and body.wish.whole_body
    assert listed.error == "m.jsonl, line 4: 'mask': expected a text or a number"
    assert array.error == "m.jsonl, line 5: expected a JSON object in each line"
    assert is_json("gs://b/m.JSONL.gz") and not is_json("m.csv.gz")


@pytest.mark.parametrize(
    "fields, words",
    [
        ("photo,mask\n,m.png", "line 2: the column 'photo' is empty"),
        ("photo,mask\na.jpg,", "mask or margins, or --mask-from-alpha, .* neither"),
        ("photo,mask,top\na.jpg,m.png,0.2", "a mask or margins, received both"),
        ("photo,top\na.jpg,seven", "margin 'top': expected .* received 'seven'"),
        ("photo,top\na.jpg,-0.2", "margin 'top'"),
        ("photo,top\na.jpg,0", "at least one margin .* above 0"),
        ("photo,to_size\na.jpg,12", "expected a size in pixels"),
        ("photo,whole_body\na.jpg,maybe", "'whole_body': expected true or false"),
        ("photo,mask,output\na.jpg,m.png,../b.jpg", "'output': expected a name in"),
        ("photo,mask,output\na.jpg,m.png,/b.jpg", "'output': expected a name in"),
        ("photo,mask,output\na.jpg,m.png,b.gif", "expected an extension of"),
        ("photo,mask,output\na.jpg,m.png,_batch/b.jpg", "another folder than '_batch'"),
        ("photo,mask\na.jpg", "expected 2 fields, received 1"),
        ("photo,mask\na.jpg,m.png,more", "expected 2 fields, received 3"),
        ('photo,mask\na.jpg,"m.png', "no CSV from here to the file's end"),
    ],
)
def test_bad_rows_are_rows_too(fields, words):
    row = row_of(fields)
    with pytest.raises(PortraitError, match=words):
        raise PortraitError(row.error)
    assert "\n" not in row.error and row.error.startswith("m.csv, line 2: ")
    assert row.output is None and row.key == key_of(None, row.digest)


def test_rows_that_python_itself_refuses():
    """Each would have stopped the whole job."""
    for row, words in (
        ({"photo": "\udce9.jpg", "mask": "m.png"}, r"'photo': .* character '\\udce9'"),
        ({"photo": "a.jpg", "mask": "\udce9"}, "'mask': expected text"),
        ({"photo": "a.jpg", "mask": "m", "output": "a\0.jpg"}, "'output': expected t"),
        ({"photo": "a.jpg", "to_size": f"{'9' * 5000}x5"}, "ValueError: Exceeds the"),
    ):
        read = row_of(json.dumps(row), "m.jsonl")
        with pytest.raises(PortraitError, match=words):
            raise PortraitError(read.error)
        read.error.encode()
        (read.key + read.photo).encode()
    deep = row_of('{"photo": ' + "[" * 100_000, "m.jsonl")
    assert deep.error == "m.jsonl, line 1: expected a JSON object in each line"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.csv", "photo,mask,more\ncafé.jpg,m.png,\nb.jpg,m.png,é\n"),
        ("m.jsonl", '{"photo": "café.jpg", "mask": "m"}\n{"photo": "b", "mask": "m"}'),
    ],
)
def test_rows_in_another_encoding(name, text):
    """What a column that means nothing says does not matter."""
    data = text.encode("cp1252").decode("utf-8", "surrogateescape")
    bad, good = rows_of(data, name)
    assert bad.error.endswith("expected UTF-8, received the byte 0xe9 (in cp1252: 'é')")
    assert good.error is None


@pytest.mark.parametrize("kind", ["column", "key"])
def test_a_column_that_is_there_twice(kind):
    if kind == "column":
        with pytest.raises(PortraitError, match="m.csv: .* once, received 'mask' tw"):
            read_columns(io.StringIO("photo,mask,mask\n"), "m.csv")
        return
    row = row_of('{"photo": "a", "mask": "m", "photo": "b"}', "m.jsonl")
    assert "expected each column once, received 'photo' twice" in row.error


def test_rows_that_nobody_has_read():
    one, other = 'photo,mask\na.jpg,"m.png\n', 'photo,mask\n\na.jpg,"m.png\n'
    unread = [row_of(one), row_of(other), row_of(one, "n.csv")]
    assert all(row.is_unread for row in unread)
    assert len({row.digest for row in unread}) == 3
    assert not row_of("photo,mask\na.jpg").is_unread


def test_names_of_results():
    def name(photo, options=None, root=ROOT):
        return row_of(f"photo,mask\n{photo},m.png", options=options, root=root).output

    assert name("a/b.c.jpg") == "a/b.c.jpg"
    assert name(f"{ROOT}/a/b.jpg") == "a/b.jpg"
    assert name("a/b.c.jpg", RowOptions(format="WEBP")) == "a/b.c.webp"
    # From elsewhere: the name, and which one of that name.
    elsewhere = [name("../x/a.jpg"), name("/y/a.jpg"), name("gs://b/a.jpg")]
    assert len(set(elsewhere)) == 3
    for one in elsewhere:
        assert pathlib.PurePath(one).match("a-????????.jpg")
    assert name("/y/a.jpg") == elsewhere[1]
    assert name("sub/a.jpg", root="gs://b/in") == "sub/a.jpg"


@pytest.mark.parametrize(
    "photo, root, source",
    [
        (f"{ROOT}//a.jpg", ROOT, f"{ROOT}/a.jpg"),
        (f"//{ROOT}/./x/../a.jpg", ROOT, f"{ROOT}/a.jpg"),
        (f"{ROOT}/../a.jpg", ROOT, "/data/a.jpg"),
        ("/a.jpg", "/", "/a.jpg"),
        # To an object store that is another object than one with a single slash.
        ("gs://b/in//x/a.jpg", "gs://b/in", "gs://b/in//x/a.jpg"),
        ("gs://b/in/x//a.jpg", "gs://b/in", "gs://b/in/x//a.jpg"),
        ("gs://b/in/../a.jpg", "gs://b/in", "gs://b/in/../a.jpg"),
        ("gs://b/in/./a.jpg", "gs://b/in", "gs://b/in/./a.jpg"),
        ("gs://b/in/", "gs://b/in", "gs://b/in/"),
        ("gs://b/in/gs://c/a.jpg", "gs://b/in", "gs://b/in/gs://c/a.jpg"),
    ],
)
def test_names_stay_in_the_output_folder(photo, root, source):
    row = row_of(f"photo,mask\n{photo},m.png", root=root)
    assert row.source == source and row.error is None
    assert not {"", ".", ".."} & set(row.output.split("/")), row.output
    assert "://" not in row.output


def test_paths():
    assert resolve("../m/a.png", "gs://bucket/in") == "gs://bucket/m/a.png"
    assert resolve("s3://b/a.png", ROOT) == "s3://b/a.png"
    assert resolve("a/../b.png", ROOT) == f"{ROOT}/b.png"
    assert resolve("/data//m/./b.png", ROOT) == "/data/m/b.png"


def test_a_digest_is_of_all_that_the_result_depends_on():
    def digest(fields, options=None, **more):
        return row_of(fields, options=options, **more).digest

    plain = digest("photo,mask\na.jpg,m.png")
    assert plain == digest("id,photo,mask\n7,a.jpg,m.png")
    assert plain == digest(f"photo,mask\n{ROOT}/a.jpg,m.png", root=ROOT)
    others = [
        digest("photo,mask\nb.jpg,m.png"),
        digest("photo,mask\na.jpg,n.png"),
        digest("photo,mask\na.jpg,m.png", root="/elsewhere"),
        digest("photo,top\na.jpg,0.2"),
        digest("photo,top\na.jpg,0.3"),
        digest("photo,mask\na.jpg,m.png", RowOptions(masks=MaskOptions(invert=True))),
        digest("photo,mask\na.jpg,m.png", RowOptions(quality=80)),
        digest("photo,mask\na.jpg,m.png", RowOptions(format="PNG")),
    ]
    assert len({plain, *others}) == len(others) + 1


def test_the_columns():
    def columns(text, name="m.csv", **more):
        return read_columns(io.StringIO(text), name, **more)

    assert columns("photo, mask,id\n") == ["photo", "mask", "id"]
    assert columns("photo\n", from_alpha=True) == ["photo"]
    assert columns('\n{"photo": "a", "top": 0.1}\n', "m.jsonl") == ["photo", "top"]
    for text, name, words in (
        ("image;mask\n", "m.csv", "m.csv: expected a manifest with the column 'photo', "
         "received 'image;mask'"),
        ("photo,id\n", "m.csv", "expected a column 'mask', or columns for margins"),
        ("", "m.csv", "received an empty file"),
        ('{"image": "a"}', "m.jsonl", "column 'photo', received 'image'"),
        ("photo,mask\n", "m.jsonl", "expected a JSON object in each line"),
    ):  # fmt: skip
        with pytest.raises(PortraitError, match=words):
            columns(text, name)
