"""Batches on Beam's runner for this machine, held to the command line's results."""

import bz2
import concurrent.futures
import dataclasses
import gzip
import json
import lzma
import os
import shutil
import sys
import time

import grpc
import numpy as np
import pytest
from apache_beam.io.filesystems import FileSystems
from apache_beam.runners.runner import PipelineResult
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
from command_line import run
from PIL import Image
from shelf import SCHEME

from benchmarks.common import free_ports
from portrait_tf.apps.batch import files
from portrait_tf.apps.batch import run as runs
from portrait_tf.apps.batch.engine import (
    EngineSettings,
    Finished,
    PhotoHandler,
    Ready,
    ServerGoneError,
    failure,
)
from portrait_tf.apps.batch.manifest import Row, RowOptions
from portrait_tf.apps.batch.pipeline import BatchOptions, _Read
from portrait_tf.photos import open_photo
from portrait_tf.portrait import prepare_completion
from serving.client import RetryPolicy
from serving.client.errors import server_error
from serving.local_server import LocalServer

MANIFEST = "manifest.csv"


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Photos, masks and a manifest; not to be changed."""
    folder = tmp_path_factory.mktemp("batch")
    write_csv(folder / MANIFEST, write_photos(folder))
    return folder


@pytest.fixture(scope="session")
def completed(photos, models, tmp_path_factory):
    """What `portrait-tf complete` writes of them: a folder."""
    out = tmp_path_factory.mktemp("command_line")
    assert complete_folder(photos, out, "--model", models)[0] == 0
    return out


@pytest.fixture
def own_photos(photos, tmp_path):
    """A copy, to be changed."""
    return shutil.copytree(photos, tmp_path / "own")


def test_results_are_the_command_lines(photos, tiny_models, tmp_path):
    """Of a real export; all other tests have a stand-in's."""
    out, alone = tmp_path / "out", tmp_path / "alone"
    engine = ("--model", tiny_models, "--detail")
    code, output = batch(photos, out, *engine)
    assert code == 0 and counts(output) == (6, 0, 0, 0)
    assert complete_folder(photos, alone, *engine)[0] == 0
    assert pictures(out) == pictures(alone) and len(pictures(out)) == 6
    lines = {line["output"]: line for line in table(out, "results")}
    assert set(lines) == set(pictures(out))
    for name, line in lines.items():
        size = (line["height"], line["width"])
        assert size == open_photo(out / name).size
        assert line["photo"] == str(photos / "photos" / name)
        assert line["status"] == "completed" and line["engine"] == "saved model"
        assert line["model"] == str(tiny_models / "1")
    # The photo that is larger than the networks was given detail: nothing is soft.
    assert lines["sub/001.png"]["notes"] == []
    assert not (out / "_batch" / "temporary").exists()


def test_joints_of_the_manifest_are_the_command_lines(own_photos, models, tmp_path):
    (own_photos / "joints").mkdir()
    path = own_photos / "joints" / "a.json"
    path.write_text('{"joints": {"L_Ankle": {"x": 9, "y": 26}}}')
    row = {"photo": "000.jpg", "mask": "../masks/000.bmp", "joints": "../joints/a.json"}
    wrong = {"photo": "002.tif", "mask": "../masks/002.bmp", "joints": "../a.json"}
    write_csv(own_photos / MANIFEST, [row, wrong])
    out, model = tmp_path / "out", ["--model", models]
    code, output = batch(own_photos, out, *model)
    assert code == 1 and counts(output) == (1, 0, 1, 0)
    (letter,) = table(out, "dead-letters")
    assert "a.json: cannot read the joints file" in letter["reason"]
    photo = ["complete", own_photos / "photos" / "000.jpg", *model]
    photo += ["--mask", own_photos / "masks" / "000.bmp", "-o", tmp_path / "000.jpg"]
    assert run(*photo, "--joints-in", path)[0] == 0
    assert (out / "000.jpg").read_bytes() == (tmp_path / "000.jpg").read_bytes()
    assert run(*photo)[0] == 0
    assert (out / "000.jpg").read_bytes() != (tmp_path / "000.jpg").read_bytes()
    # What was wrong is tried again when the file is there.
    shutil.copy(path, own_photos / "a.json")
    code, output = batch(own_photos, out, *model)
    assert code == 0 and counts(output) == (1, 1, 0, 0)


def test_a_second_run_does_nothing(photos, completed, models, tmp_path):
    own = shutil.copytree(models, tmp_path / "models")
    out = tmp_path / "out"
    arguments = (photos, out, "--model", own)
    assert batch(*arguments)[0] == 0
    # Whoever loads that, fails.
    (own / "1" / "saved_model.pb").write_bytes(b"no graph")
    before = everything(out)
    code, output = batch(*arguments)
    assert code == 0 and counts(output) == (0, 6, 0, 0)
    assert everything(out) == before
    (out / "002.tif").unlink()
    code, message = batch(*arguments)
    assert code == 2 and f"{own}/1: expected a SavedModel, cannot load" in message
    assert "saved_model.pb" in message and "\n" not in message
    shutil.copy(models / "1" / "saved_model.pb", own / "1")
    assert counts(batch(*arguments)[1]) == (1, 5, 0, 0)
    assert pictures(out) == pictures(completed)
    assert [line["output"] for line in table(out, "results", 2)] == ["002.tif"]


def test_what_a_killed_run_has_written_counts(photos, completed, models, tmp_path):
    """Pictures without a table, one of them half; and one under its temporary name."""
    out = shutil.copytree(completed, tmp_path / "out")
    half = out / "sub" / "001.png"
    half.write_bytes(half.read_bytes()[:-30])
    temporary = out / "_batch" / "temporary" / "0123"
    temporary.parent.mkdir(parents=True)
    temporary.write_bytes(b"half")
    code, output = batch(photos, out, "--model", models)
    assert code == 0 and counts(output) == (1, 5, 0, 0)
    assert pictures(out) == pictures(completed) and not temporary.exists()
    found = {line["output"]: line for line in table(out, "results")}
    assert len(found) == 6 and found.pop("sub/001.png")["status"] == "completed"
    assert {line["status"] for line in found.values()} == {"found"}
    assert (found["000.jpg"]["height"], found["000.jpg"]["width"]) == (40, 30)
    before = everything(out)
    assert counts(batch(photos, out, "--model", models)[1]) == (0, 6, 0, 0)
    assert everything(out) == before


def test_bundles_that_are_repeated_change_nothing(photos, completed, models, tmp_path):
    code, output = batch(
        *(photos, tmp_path, "--model", models),
        *("--", "--direct_runner_bundle_repeat=1"),
    )
    assert code == 0 and counts(output) == (6, 0, 0, 0)
    assert pictures(tmp_path) == pictures(completed)
    lines = table(tmp_path, "results")
    assert len(lines) == 6 and {line["status"] for line in lines} == {"completed"}


def test_a_row_that_changed_is_done_again(own_photos, models, tmp_path):
    out = tmp_path / "out"
    arguments = (own_photos, out, "--model", models)
    rows = [{"photo": "002.tif", "mask": "../masks/002.bmp"}]
    write_csv(own_photos / MANIFEST, rows)
    batch(*arguments)
    first = pictures(out)
    mask = np.asarray(Image.open(own_photos / "masks" / "002.bmp").copy())
    Image.fromarray(255 - mask).save(own_photos / "masks" / "other.png")
    write_csv(
        own_photos / MANIFEST, [{"photo": "002.tif", "mask": "../masks/other.png"}]
    )
    assert counts(batch(*arguments)[1]) == (1, 0, 0, 0)
    inverted = pictures(out)
    assert inverted != first
    # The same hole, by another way.
    write_csv(own_photos / MANIFEST, rows)
    assert counts(batch(*arguments, "--invert-mask")[1]) == (1, 0, 0, 0)
    assert pictures(out) == inverted
    assert counts(batch(*arguments, "--invert-mask")[1]) == (0, 1, 0, 0)
    assert counts(batch(*arguments, "--overwrite")[1]) == (1, 0, 0, 0)
    assert pictures(out) == first


def test_bad_rows_are_dead_letters(own_photos, completed, models, tmp_path):
    folder, out = own_photos / "photos", tmp_path / "out"
    whole = (folder / "004.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("no picture")
    mask = "../masks/002.bmp"
    rows = [
        {"photo": "002.tif", "mask": mask},
        {"photo": "none.jpg", "mask": mask},
        {"photo": "cut.png", "mask": mask},
        {"photo": "text.jpg", "mask": mask},
        {"photo": "000.jpg", "mask": mask},
        {"photo": "sub/001.png", "mask": "../masks/none.png"},
        {"photo": "004.png", "bottom": "a lot"},
        {"photo": "sub/005.png", "bottom": "1000px"},
        {"photo": "", "mask": mask},
        {"photo": "sub/003.webp"},
        {"photo": "sub/003.webp", "mask": mask, "output": "002.tif"},
    ]
    write_csv(own_photos / MANIFEST, rows)
    arguments = (own_photos, out, "--model", models)
    code, output = batch(*arguments)
    assert code == 1 and counts(output) == (1, 0, 10, 0)
    assert pictures(out) == {"002.tif": pictures(completed)["002.tif"]}
    letters = {line["line"]: line for line in table(out, "dead-letters")}
    for line, stage, words in (
        (3, "read", f"{folder}/none.jpg: cannot read the photo: No such file"),
        (4, "read", f"{folder}/cut.png: expected a whole photo, received a file that"),
        (5, "read", f"{folder}/text.jpg: expected a photo (JPEG, PNG"),
        (6, "read", "masks/002.bmp: expected the photo's size of 40x30"),
        (7, "read", "masks/none.png: cannot read the mask: No such file"),
        (8, "row", "line 8: the margin 'bottom': expected a part of the photo"),
        (9, "read", "005.png: the margin 'bottom' is 25 times the photo's side"),
        (10, "row", "line 10: the column 'photo' is empty"),
        (11, "row", "line 11: expected a mask or margins, or --mask-from-alpha"),
        (12, "row", "003.webp would be written as '002.tif', as "),
    ):  # fmt: skip
        letter = letters.pop(line)
        assert words in letter["reason"] and letter["stage"] == stage, letter
        assert letter["reason"].count("\n") == 0 and letter["reason"] in output
    assert not letters
    self_same = everything(out)
    code, output = batch(*arguments)
    assert code == 1 and counts(output) == (0, 1, 0, 10)
    assert everything(out) == self_same

    # A file that is mended is tried again, and a row that is.
    shutil.copy(folder / "002.tif", folder / "none.jpg")
    rows[6] = {"photo": "004.png", "bottom": "30%"}
    write_csv(own_photos / MANIFEST, rows)
    code, output = batch(*arguments)
    assert code == 1 and counts(output) == (2, 1, 0, 8)
    assert set(pictures(out)) == {"002.tif", "none.jpg", "004.png"}
    code, output = batch(*arguments, "--retry-failed")
    assert code == 1 and counts(output) == (0, 3, 8, 0)
    assert len(table(out, "dead-letters", 3)) == 8


def test_the_unread_end_of_a_manifest_is_never_passed_over(photos, completed, tmp_path):
    """Nobody knows whether it has changed, or how many rows it holds."""
    path = tmp_path / "manifest.csv"
    path.write_text((photos / MANIFEST).read_text() + 'b.jpg,"m.png\nc.jpg,m.png\n')
    out = shutil.copytree(completed, tmp_path / "out")
    for _ in range(2):
        code, output = batch(photos, out, manifest=path)
        assert code == 1 and counts(output) == (0, 6, 1, 0)
        assert "line 9: no CSV from here to the file's end" in output


def test_rows_that_python_refuses_are_dead_letters(photos, completed, tmp_path):
    path = tmp_path / "manifest.jsonl"
    rows = [
        {"photo": "002.tif", "mask": "../masks/002.bmp"},
        {"photo": "\udce9.jpg", "mask": "m.png"},
        {"photo": "a.jpg", "mask": "m.png", "output": "\udce9.jpg"},
        {"photo": "a.jpg", "mask": "m.png", "output": "\0.jpg"},
        {"photo": "a.jpg", "to_size": f"{'9' * 5000}x5"},
    ]
    lines = [*map(json.dumps, rows), '{"photo": ' + "[" * 100_000]
    path.write_text("\n".join(lines))
    out = shutil.copytree(completed, tmp_path / "out")
    code, output = batch(photos, out, manifest=path)
    assert code == 1 and counts(output) == (0, 1, 5, 0)
    assert counts(batch(photos, out, manifest=path)[1]) == (0, 1, 0, 5)


def test_rows_that_say_the_same_are_one(own_photos, models, tmp_path):
    mask = "../masks/002.bmp"
    row = {"photo": "002.tif", "mask": mask, "bottom": "", "id": 7}
    other = {"photo": "004.png", "mask": mask, "output": "002.tif"}
    path = own_photos / MANIFEST
    write_csv(path, [row, row, {**row, "photo": f"{own_photos}/photos/002.tif"}])
    arguments = (own_photos, tmp_path / "out", "--model", models)
    code, output = batch(*arguments)
    assert code == 0 and counts(output) == (1, 0, 0, 0)
    assert len(table(tmp_path / "out", "*")) == 1
    write_csv(path, [row, other, row, other])
    code, output = batch(*arguments)
    assert code == 1 and counts(output) == (0, 1, 1, 0)
    assert "line 3: " in output and "004.png would be written as '002.tif'" in output
    # A dead letter stays the same one where it is in another line.
    write_csv(path, [row, row, row, other])
    assert counts(batch(*arguments)[1]) == (0, 1, 0, 1)


def test_another_photos_result_is_not_replaced(own_photos, models, tmp_path):
    """Two manifests with one output folder."""
    out = tmp_path / "out"
    one, other = own_photos / "photos" / "002.tif", own_photos / "photos" / "sub" / "o"
    other.mkdir()
    shutil.copy(one, other / "002.tif")
    write_csv(tmp_path / "m.csv", [{"photo": "002.tif", "bottom": "5px"}])

    def run_on(folder, *options):
        return run(
            *("batch", tmp_path / "m.csv", "-o", out, "--root", folder),
            *("--model", models, *options),
        )

    assert counts(run_on(one.parent)[1]) == (1, 0, 0, 0)
    before = pictures(out)
    code, output = run_on(other)
    assert code == 1 and counts(output) == (0, 0, 1, 0) and pictures(out) == before
    assert f"{out}/002.tif is the result of {one}, and would be that of {other}" in (
        " ".join(output.split())
    )
    assert counts(run_on(other)[1]) == (0, 0, 0, 1)
    assert counts(run_on(one.parent)[1]) == (0, 1, 0, 0)
    # It may be; or the old one is gone.
    assert counts(run_on(other, "--overwrite")[1]) == (1, 0, 0, 0)
    assert counts(run_on(one.parent)[1]) == (0, 0, 1, 0)
    (out / "002.tif").unlink()
    assert counts(run_on(one.parent)[1]) == (1, 0, 0, 0)


def test_results_do_not_replace_the_rows_own_files(own_photos, models, tmp_path):
    rows = [
        {"photo": "002.tif", "mask": "../masks/002.bmp", "output": "photos/002.tif"},
        {"photo": "004.png", "mask": "../masks/000.bmp", "output": "masks/000.bmp"},
        # Under one name, and the name is the second's photo.
        {"photo": "000.jpg", "mask": "../masks/000.bmp", "output": "photos/004.png"},
        {"photo": "004.png", "mask": "../masks/004.bmp", "output": "photos/004.png"},
    ]
    write_csv(own_photos / MANIFEST, rows)
    before = everything(own_photos)
    (tmp_path / "link").symlink_to(own_photos)
    for out in (own_photos, tmp_path / "link"):
        arguments = (own_photos, out, "--model", models, "--overwrite")
        code, output = batch(*arguments)
        assert code == 1 and counts(output) == (0, 0, 4, 0)
        assert "line 2: the result would replace" in output
        after = everything(own_photos)
        assert {path: after[path] for path in before} == before
    assert counts(batch(*arguments[:-1])[1]) == (0, 0, 0, 4)


def test_margins_are_the_command_lines(photos, models, tmp_path):
    rows = [
        {"photo": "000.jpg", "bottom": 0.3, "left": "5px", "output": "whole.png"},
        {"photo": "sub/005.png", "to_aspect": "1:1", "anchor": "top"},
    ]
    wishes = (
        ("--bottom", "0.3", "--left", "5px"),
        ("--to-aspect", "1:1", "--anchor", "top"),
    )
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("\n".join(json.dumps(row) for row in rows))
    code, output = batch(
        *(photos, tmp_path / "out", "--model", models), manifest=manifest
    )
    assert code == 0, output
    for row, wish in zip(rows, wishes, strict=True):
        alone = tmp_path / "alone" / row.get("output", row["photo"])
        photo = photos / "photos" / row["photo"]
        code, output = run(
            *("extrapolate", photo, "-o", alone, *wish, "--model", models)
        )
        assert code == 0, output
    assert pictures(tmp_path / "out") == pictures(tmp_path / "alone")


def test_alpha_another_format_and_quality(photos, models, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(2):
        pixels = np.full((40, 30, 4), 90 * index, np.uint8)
        pixels[..., 3] = 255
        pixels[10:20, 8:20] = 0
        Image.fromarray(pixels).save(folder / f"{index}.png")
    write_csv(tmp_path / MANIFEST, [{"photo": "0.png"}, {"photo": "1.png"}])
    options = ("--mask-from-alpha", "--format", "jpeg", "--quality", "70")
    options = (*options, "--model", models)
    code, output = batch(tmp_path, tmp_path / "out", *options)
    assert code == 0, output
    code, output = run("complete", folder, "-o", tmp_path / "alone", *options)
    assert code == 0, output
    assert pictures(tmp_path / "out") == pictures(tmp_path / "alone")
    assert set(pictures(tmp_path / "out")) == {"0.jpg", "1.jpg"}


@pytest.mark.long
def test_on_a_server(photos, completed, models, tmp_path):
    out = tmp_path / "out"
    with LocalServer(models, "portrait", grpc_port=0, rest_port=0) as server:
        target = f"localhost:{server.grpc_port}"
        arguments = (photos, out, "--server", target, "--concurrency", "3")
        code, output = batch(*arguments, "--timeout", "60", "--model-version", "1")
        assert code == 0 and counts(output) == (6, 0, 0, 0)
        alone = tmp_path / "alone"
        assert complete_folder(photos, alone, "--server", target)[0] == 0
    assert pictures(out) == pictures(alone)
    lines = table(out, "results")
    assert {line["engine"] for line in lines} == {"server"}
    assert {line["model"] for line in lines} == {f"{target}/portrait:1"}
    # Nobody is asked when nothing is left to do.
    assert counts(batch(*arguments)[1]) == (0, 6, 0, 0)


def test_a_server_that_is_not_there(photos, tmp_path, caplog):
    """Is no fault of the photos: the run ends, without dead letters."""
    code, message = batch(
        *(photos, tmp_path / "out", "--server", "localhost:1"),
        *("--timeout", "1", "--attempts", "1"),
    )
    assert code == 2 and "localhost:1 was not available within 1 s" in message
    assert "while running" not in message and "\n" not in message
    assert not pictures(tmp_path / "out") and not table(tmp_path / "out", "*")
    assert not caplog.records


def test_an_output_folder_that_cannot_be_written(photos, tmp_path):
    """Is said before anything is painted, and is no fault of the photos."""
    (tmp_path / "_batch").write_text("in the way")
    code, message = batch(
        *(photos, tmp_path, "--server", "localhost:1", "--timeout", "1")
    )
    assert code == 2 and message.startswith(f"{tmp_path}: cannot write results: ")
    assert "\n" not in message and not list(tmp_path.glob("*.*"))
    # A worker elsewhere, which may have other rights, tries it before its first photo.
    row = Row("m.csv", 2, "a.tif", "digest", None, "/a.tif", output="a.tif")
    options = BatchOptions(str(tmp_path), 1, "0", RowOptions(), EngineSettings())
    with pytest.raises(files.PassingError, match="cannot write results"):
        list(_Read(options).process(row))


@pytest.mark.long
def test_a_server_that_is_away_for_a_while(photos, models, tmp_path):
    """For longer than the client's attempts; and one that does not come back."""
    photo = open_photo(photos / "photos" / "002.tif")
    mask = open_photo(photos / "masks" / "002.bmp", "mask")
    row = Row("m.csv", 2, "a.tif", "digest", None, "/a.tif", output="a.tif")
    ready = Ready(row, prepare_completion(photo, mask))
    (port,) = free_ports(1)

    def start():
        return LocalServer(models, "portrait", grpc_port=port, rest_port=0)

    # Without attempts of its own, the client says at once that nobody is there.
    client = {"timeout": 60.0, "retry": RetryPolicy(attempts=1)}
    settings = EngineSettings(None, f"localhost:{port}", client)
    handler = PhotoHandler(settings, None, 1)
    with start():
        model = handler.load_model()
        (answer,) = handler.run_inference([ready], model)
        assert isinstance(answer, Finished)
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        later = threads.submit(handler.run_inference, [ready, ready], model)
        time.sleep(3)
        assert not later.done()
        with start():
            assert [one.content for one in later.result()] == [answer.content] * 2
    handler = PhotoHandler(
        dataclasses.replace(settings, client={"timeout": 1.0}), None, 1
    )
    model._settings = handler._settings
    with pytest.raises(ServerGoneError, match="was not available within 1 s"):
        handler.run_inference([ready, ready], model)


def test_what_a_servers_status_means_for_the_next_run():
    row = Row("m.csv", 2, "a.jpg", "digest", None, "/a.jpg")
    for code, lasting in (
        (grpc.StatusCode.INVALID_ARGUMENT, True),
        (grpc.StatusCode.UNAVAILABLE, False),
        (grpc.StatusCode.DEADLINE_EXCEEDED, False),
        (grpc.StatusCode.UNAUTHENTICATED, False),
    ):
        failed = failure(row, "complete", server_error(code, "why\nso"))
        assert failed.lasting == lasting and failed.reason == "/a.jpg: why so"
    assert not failure(row, "complete", MemoryError("ours")).lasting


def test_a_job_that_cannot_be_cancelled(photos, tmp_path):
    """What is said of it, and that two runs at once do not share their tables."""

    def plan(**more):
        settings = (RowOptions(str(tmp_path)), EngineSettings(), [])
        return runs.plan(str(photos / MANIFEST), str(tmp_path / "o"), *settings, **more)

    class Unreachable(PipelineResult):
        def cancel(self):
            raise OSError("the network is gone")

    said = runs._stop(Unreachable(None), plan())
    assert "(the network is gone) and may still run" in said
    assert said.endswith("the same command goes on from here")
    # As a runner's that does not know how.
    said = runs._stop(PipelineResult(None), plan(overwrite=True))
    assert "may still run" in said and said.endswith("begins anew, because of "
                                                     "--overwrite")  # fmt: skip
    one, other = plan().options, plan().options
    assert one.run == other.run == 1
    assert one.table("results") != other.table("results")


def test_everything_elsewhere(photos, completed, models, tmp_path):
    """Manifests, photos, masks, model and results in an object store."""
    rows = [line.split(",") for line in (photos / MANIFEST).read_text().split()[1:]]
    halves = (rows[:3], rows[3:])
    for index, half in enumerate(halves):
        write_csv(
            tmp_path / f"part-{index}.csv",
            [{"photo": photo, "mask": mask} for photo, mask in half],
        )
    out = tmp_path / "out"
    arguments = (
        *("batch", f"{SCHEME}://{tmp_path}/part-*.csv", "-o", f"{SCHEME}://{out}"),
        *("--root", f"{SCHEME}://{photos}/photos"),
        *("--model", f"{SCHEME}://{models}"),
    )
    code, output = run(*arguments)
    assert code == 0 and counts(output) == (6, 0, 0, 0)
    assert pictures(out) == pictures(completed)
    lines = table(out, "results")
    assert {line["model"] for line in lines} == {f"{SCHEME}://{models}/1"}
    before = everything(out)
    assert not [path for path in before if "temporary" in path.parts]
    code, output = run(*arguments)
    assert code == 0 and counts(output) == (0, 6, 0, 0)
    assert everything(out) == before


class TestWriting:
    def test_again_and_where_that_cannot_be(self, tmp_path):
        out = str(tmp_path)
        files.write(out, "a/b.png", b"old")
        files.write(out, "a/b.png", b"new")
        assert (tmp_path / "a" / "b.png").read_bytes() == b"new"
        (tmp_path / "c.png").mkdir()
        for name in ("c.png", "a/b.png/d.png", "x" * 300):
            with pytest.raises(files.PassingError, match="cannot write: "):
                files.write(out, name, b"new")
        assert not list((tmp_path / "_batch" / "temporary").iterdir())

    @pytest.mark.parametrize("name", ["/a.png", "../a.png", "b/../../a.png", "b//a"])
    def test_never_outside_the_folder(self, name, tmp_path):
        out = tmp_path / "x" / "out"
        with pytest.raises(files.PortraitError, match="expected a name in"):
            files.write(str(out), name, b"new")
        assert not list(tmp_path.rglob("*"))

    def test_a_missing_object_and_a_store_that_fails(self, tmp_path):
        missing = f"{SCHEME}://{tmp_path}/none.jpg"
        with pytest.raises(files.PortraitError, match="No such file") as caught:
            files.read_bytes(missing, "photo")
        assert not isinstance(caught.value, files.PassingError)
        assert files.state_of(missing) == "absent"
        with pytest.raises(files.PassingError, match="nowhere://a.jpg: cannot read"):
            files.read_bytes("nowhere://a.jpg", "photo")

    def test_pipes_and_devices(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        for path in (str(tmp_path / "pipe"), "/dev/zero"):
            with pytest.raises(files.PortraitError, match="a pipe or a device"):
                files.read_bytes(path, "photo")

    def test_names_that_look_like_patterns(self, tmp_path):
        for name in ("a[1].png", "a1.png", "b*.png"):
            files.write(str(tmp_path), name, name.encode())
        path = str(tmp_path / "a[1].png")
        assert files.read_bytes(path, "photo") == b"a[1].png"
        assert files.state_of(path).startswith("8@") and files.exists(path)
        assert FileSystems.exists(str(tmp_path / "a1.png"))


ROWS = "photo,mask\n" + "a.jpg,m.png\n" * 20_000


class TestCompressedManifests:
    """Beam's own reader takes a file that is cut off for one that has ended."""

    @pytest.mark.parametrize("module", [gzip, bz2, lzma])
    def test_whole_and_cut(self, module, tmp_path):
        suffix = {gzip: ".gz", bz2: ".bz2", lzma: ".xz"}[module]
        path = tmp_path / f"m.csv{suffix}"
        data = module.compress(ROWS.encode())
        for url in (str(path), f"{SCHEME}://{path}"):
            path.write_bytes(data)
            with files.open_text(url, "manifest") as stream:
                assert stream.read() == ROWS
            for left in (data[:-1], data[: len(data) // 2], b"photo,mask\n"):
                path.write_bytes(left)
                with (
                    pytest.raises(files.PortraitError) as caught,
                    files.open_text(url, "manifest") as stream,
                ):
                    stream.read()
                assert str(caught.value).startswith(f"{url}: cannot read the manifest")

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
    def test_another_encoding(self, encoding, tmp_path):
        for path, compress in (
            (tmp_path / "m.csv", bytes),
            (tmp_path / "m.csv.gz", gzip.compress),
        ):
            path.write_bytes(compress(ROWS.encode(encoding)))
            with (
                pytest.raises(files.PortraitError) as caught,
                files.open_text(str(path), "manifest"),
            ):
                pass
            name = encoding.upper()[:6]
            assert str(caught.value) == (
                f"{path}: cannot read the manifest: expected UTF-8, received {name}"
            )

    @pytest.mark.parametrize("suffix", [".zst", ".deflate"])
    def test_another_kind(self, suffix, tmp_path):
        path = tmp_path / f"m.csv{suffix}"
        path.write_bytes(b"?")
        with (
            pytest.raises(files.PortraitError, match="as it is, or in .gz, .bz2, .xz"),
            files.open_text(str(path), "manifest"),
        ):
            pass

    def test_a_run(self, photos, completed, tmp_path):
        """The end is missing, which only the workers come to see."""
        rows = (photos / MANIFEST).read_bytes() + ROWS.partition("\n")[2].encode()
        data = gzip.compress(rows)
        path = tmp_path / "m.csv.gz"
        path.write_bytes(data[:-9])
        out = shutil.copytree(completed, tmp_path / "out")
        code, message = batch(photos, out, manifest=path)
        assert code == 2 and f"{path}: cannot read the manifest: " in message
        assert "\n" not in message and not table(out, "*")


class TestWrongUse:
    def check(self, words, *arguments):
        code, message = run("batch", *arguments)
        assert code == 2 and words in message and "\n" not in message.strip()

    def test_manifests(self, photos, tmp_path):
        out = ("-o", tmp_path / "out")
        self.check("none.csv: expected a manifest", tmp_path / "none.csv", *out)
        self.check("*.csv: expected a manifest", f"{tmp_path}/*.csv", *out)
        wrong = tmp_path / "wrong.csv"
        wrong.write_text("path,mask\na.jpg,b.png\n")
        self.check("column 'photo', received 'path', 'mask'", wrong, *out)
        assert not (tmp_path / "out").exists()

    def test_the_photos_folder_for_the_results(self, own_photos, tmp_path):
        manifest, folder = own_photos / MANIFEST, own_photos / "photos"
        before = everything(own_photos)
        words = "is the folder that the photos' paths are relative to"
        self.check(words, manifest, "-o", own_photos)
        self.check(words, manifest, "-o", folder, "--root", folder, "--overwrite")
        (tmp_path / "link").symlink_to(folder)
        self.check(words, manifest, "-o", tmp_path / "link", "--root", f"{folder}/")
        url = f"{SCHEME}://{folder}"
        self.check(words, manifest, "-o", f"{url}/", "--root", url)
        assert everything(own_photos) == before

    def test_engines(self, photos, tmp_path):
        manifest = (photos / MANIFEST, "-o", tmp_path / "out")
        server = ("--server", "localhost:1")
        # A digit that is no number.
        (tmp_path / "\u00b2").mkdir()
        (tmp_path / "\u00b2" / "saved_model.pb").touch()
        self.check("received both", *manifest, *server, "--model", tmp_path)
        self.check("holds no exported model", *manifest, "--model", tmp_path)
        self.check("holds no", *manifest, "--model", f"{SCHEME}://{tmp_path}")
        self.check("is no address", *manifest, "--server", "localhost")
        self.check("go with --server", *manifest, "--timeout", "3")
        self.check("received both", *manifest, *server, "--model-version", "2",
                   "--version-label", "stable")  # fmt: skip
        self.check("'random'", *manifest, *server, "--load-balancing", "random")
        self.check("none.pem", *manifest, *server, "--root-certificates", "none.pem")
        self.check("client key and no client certificate", *manifest, *server,
                   "--client-key", "key.pem")  # fmt: skip

    def test_beams_options_and_the_output(self, photos, tmp_path):
        manifest = (photos / MANIFEST, "-o", tmp_path / "out")
        self.check("unknown --runer", *manifest, "--", "--runer=FlinkRunner")
        self.check("expected Beam's options after --", *manifest, "FlinkRunner")
        self.check("Beam does not understand", *manifest, "--",
                   "--direct_num_workers=many")  # fmt: skip
        self.check("without *, ? and [", photos / MANIFEST, "-o", tmp_path / "a[1]")

    def test_runners_that_cannot_start(self, photos, tmp_path, monkeypatch):
        manifest = (photos / MANIFEST, "-o", tmp_path / "out", "--root", tmp_path)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("JAVA_HOME", raising=False)
        jar = tmp_path / "job-server.jar"
        jar.write_bytes(b"")
        for runner, more, words in (
            ("NoRunner", (), "Unexpected pipeline runner"),
            ("DataflowRunner", (), "Missing required option: project"),
            ("PortableRunner", (), "specify a --job_endpoint"),
            ("FlinkRunner", (f"--flink_job_server_jar={jar}",), "java"),
        ):
            runner_option = f"--runner={runner}"
            code, message = run("batch", *manifest, "--", runner_option, *more)
            assert code == 2 and "\n" not in message
            assert message.startswith(f"{runner} cannot start the job: ")
            assert words in message

    def test_without_the_extra(self, photos, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "apache_beam", None)
        self.check('pip install "portrait-tf[beam]"', photos / MANIFEST, "-o", tmp_path)


def test_columns_without_a_meaning_are_named(own_photos, completed, tmp_path):
    rows = [{"photo": "002.tif", "mask": "../masks/002.bmp", "botom": "0.3"}]
    write_csv(own_photos / MANIFEST, rows)
    out = shutil.copytree(completed, tmp_path / "out")
    code, output = batch(own_photos, out)
    assert code == 0 and "columns that mean nothing here: 'botom'" in output
