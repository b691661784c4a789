"""Folders of photos; an inpainting of OpenCV's stands where the networks go."""

import concurrent.futures
import json
import multiprocessing
import os
import pathlib
import resource

import cv2
import numpy as np
import pytest
from PIL import Image

from portrait_tf.apps import folders
from portrait_tf.apps.folders import Job, plan_folder, run_folder, write_completion
from portrait_tf.errors import PortraitError
from portrait_tf.photos import open_photo
from portrait_tf.portrait import MaskOptions, Portrait, prepare_completion

SIZE = (24, 20)
STATM = pathlib.Path("/proc/self/statm")


class TeleaEngine:
    """A real completion, without TensorFlow; counts what it is asked."""

    def __init__(self):
        self.asked = 0

    def complete(self, photo, mask):
        self.asked += 1
        return cv2.inpaint(photo, mask, 2, cv2.INPAINT_TELEA), np.zeros_like(mask)


class ParsingEngine:
    """Stage 1 that sees nobody."""

    size = (64, 64)

    def parse(self, photo, mask):
        return np.zeros(photo.shape[:2], np.uint8), None


@pytest.fixture
def engine():
    return TeleaEngine()


def save(path, value=0, size=SIZE, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[: size[0], : size[1]]
    pixels = np.stack([rows * 5 + value, columns * 5, rows + columns], -1)
    Image.fromarray(pixels.astype(np.uint8)).save(path, **options)
    return path


def save_mask(path, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    hole = np.zeros(size, np.uint8)
    hole[5:12, 4:9] = 255
    Image.fromarray(hole).save(path)
    return path


@pytest.fixture
def tree(tmp_path):
    """Photos of three formats in three folders, and a mask of another format each."""
    for name in ("a.jpg", "sub/b.png", "sub/deep.er/c.d.tif"):
        save(tmp_path / "photos" / name)
        save_mask((tmp_path / "masks" / name).with_suffix(".bmp"))
    (tmp_path / "photos" / "notes.txt").write_text("no photo")
    (tmp_path / "photos" / ".hidden.png").write_bytes(b"")
    return tmp_path


def prepare(job, options=None):
    return prepare_completion(
        job.photo, job.mask, job.parsing_in, options or MaskOptions()
    )


def run(jobs, engine, options=None, **more):
    def complete(job):
        prepared = prepare(job, options)
        return write_completion(Portrait(engine).paint(prepared), job)

    return run_folder(jobs, complete, **more)


def written(folder):
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    )


def test_sub_folders_are_mirrored_and_paired(tree, engine):
    jobs = plan_folder(tree / "photos", tree / "out", tree / "masks", tree / "maps")
    summary = run(jobs, engine)
    assert (summary.completed, summary.skipped, summary.failed) == (3, 0, 0)
    assert written(tree / "out") == ["a.jpg", "sub/b.png", "sub/deep.er/c.d.tif"]
    assert written(tree / "maps") == ["a.png", "sub/b.png", "sub/deep.er/c.d.png"]
    before, after = (
        np.asarray(Image.open(tree / folder / "sub/b.png").copy())
        for folder in ("photos", "out")
    )
    assert (before != after).any()
    mask = np.asarray(Image.open(tree / "masks" / "sub/b.bmp").copy())
    np.testing.assert_array_equal(before[mask == 0], after[mask == 0])


def test_one_mask_for_all_and_another_format(tree, engine):
    """And folders of results and masks inside the folder of photos are no photos."""
    mask = save_mask(tree / "photos" / "mask.png")
    out = tree / "photos" / "done"
    jobs = plan_folder(tree / "photos", out, mask, format="WEBP")
    assert run(jobs, engine).completed == 3
    assert written(out) == ["a.webp", "sub/b.webp", "sub/deep.er/c.d.webp"]
    assert open_photo(out / "a.webp").format == "WEBP"
    again = plan_folder(tree / "photos", out, mask, format="WEBP")
    assert again == jobs


def test_a_second_run_does_what_is_missing(tree, engine):
    jobs = plan_folder(tree / "photos", tree / "out", tree / "masks")
    run(jobs, engine)
    (tree / "out" / "a.jpg").unlink()
    broken = tree / "out" / "sub" / "b.png"
    broken.write_bytes(broken.read_bytes()[:-40])
    engine.asked = 0
    summary = run(jobs, engine)
    assert (summary.completed, summary.skipped, engine.asked) == (2, 1, 2)
    kept = tree / "out" / "sub" / "deep.er" / "c.d.tif"
    time = kept.stat().st_mtime_ns
    assert run(jobs, engine).skipped == 3 and kept.stat().st_mtime_ns == time
    assert run(jobs, engine, overwrite=True).completed == 3
    assert kept.stat().st_mtime_ns > time
    with_maps = plan_folder(
        tree / "photos", tree / "out", tree / "masks", tree / "maps"
    )
    assert run(with_maps, engine).completed == 3


def test_bad_photos_do_not_stop_the_others(tree, engine):
    (tree / "photos" / "0.png").write_bytes(b"no picture")
    save(tree / "photos" / "1.png")
    save(tree / "photos" / "2.png", size=(9, 9))
    save_mask(tree / "masks" / "2.png")
    save_mask(tree / "masks" / "0.png")
    save_mask(tree / "masks" / "a.png")
    log = tree / "logs" / "log.jsonl"
    seen = []
    jobs = plan_folder(tree / "photos", tree / "out", tree / "masks")
    summary = run(
        jobs, engine, log=log, progress=lambda done, total: seen.append((done, total))
    )
    assert (summary.completed, summary.failed) == (2, 4)
    for message, words in zip(
        summary.errors,
        ("0.png: expected a photo", "1.png: no mask of this name", "2.png: expected "
         "the photo's size of 9x9", "a.jpg: expected one mask of this name, found"),
        strict=True,
    ):  # fmt: skip
        assert words in message and "\n" not in message
    assert seen == [(index + 1, 6) for index in range(6)]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["status"] for line in lines] == ["failed"] * 4 + ["completed"] * 2
    assert [line["error"] for line in lines[:4]] == summary.errors
    assert set(lines[0]) == {
        "input", "output", "seconds", "status", "error", "notes",
    }  # fmt: skip
    assert lines[4]["input"].endswith("b.png") and lines[4]["error"] is None
    # A killed run leaves half a line; what comes after is whole.
    with open(log, "a") as file:
        file.write('{"input": "half')
    run(jobs, engine, log=log)
    lines = log.read_text().splitlines()
    assert len(lines) == 13
    assert json.loads(lines[-1])["status"] == "skipped"


def test_names_that_are_not_utf8(tmp_path, engine):
    """In the log and in a parsing's JSON `os.fsencode` gives them back."""
    name = os.fsdecode(b"caf\xe9.png")
    save(tmp_path / "photos" / name)
    save(tmp_path / "photos" / "z.png")
    mask = save_mask(tmp_path / "mask.png")
    jobs = plan_folder(tmp_path / "photos", tmp_path / "out", mask)
    log = tmp_path / "log.jsonl"
    summary = run(jobs, engine, log=log)
    assert (summary.completed, summary.failed) == (2, 0)
    lines = [json.loads(line) for line in log.read_bytes().splitlines()]
    assert os.fsencode(lines[0]["input"]) == os.fsencode(jobs[0].photo)
    assert (tmp_path / "out" / name).is_file()
    (parse, _) = folders.plan_parsing(tmp_path / "photos", tmp_path / "parsed")
    folders.parse_file(Portrait(ParsingEngine()), parse)
    found = json.loads(parse.joints_out.read_bytes())
    assert os.fsencode(found["photo"]) == os.fsencode(parse.photo)


def test_names_as_long_as_they_may_be(tmp_path, engine):
    for length in (242, 254, 255):
        save(tmp_path / "photos" / ("n" * (length - 4) + ".bmp"))
    mask = save_mask(tmp_path / "mask.png")
    jobs = plan_folder(tmp_path / "photos", tmp_path / "out", mask)
    assert run(jobs, engine).completed == 3
    assert run(jobs, engine).skipped == 3
    # One does not fit with a longer extension.
    longer = plan_folder(tmp_path / "photos", tmp_path / "webp", mask, format="WEBP")
    for counts in ((2, 0, 1), (0, 2, 1)):
        summary = run(longer, engine)
        assert (summary.completed, summary.skipped, summary.failed) == counts
        assert "cannot write: File name too long" in summary.errors[0]


class TestFullDisk:
    @pytest.fixture
    def log(self, tmp_path):
        """A log that has room for some bytes more, by the limit of a file's size."""
        path = tmp_path / "log.jsonl"
        path.write_bytes(b" " * 65_535 + b"\n")
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (65_536 + 100, before[1]))
        yield path
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    def test_photos_go_on_without_the_log(self, tree, engine, log):
        jobs = plan_folder(tree / "photos", tree / "out", tree / "masks")
        summary = run(jobs, engine, log=log)
        assert (summary.completed, summary.failed) == (3, 0)
        (message,) = summary.errors
        assert message.startswith(f"{log}: cannot write: File too large")
        assert message.endswith("the log ends before " + str(jobs[0].photo))

    def test_a_single_photo_is_written(self, tree, log):
        job = Job(tree / "photos" / "a.jpg", tree / "o.jpg")
        with pytest.raises(
            PortraitError, match="log.jsonl: cannot write: .*is written"
        ):
            folders.run_one(job, lambda job: [], log)


def test_an_error_of_ours_is_told_and_the_others_go_on(tree):
    def complete(job):
        if job.photo.name == "a.jpg":
            raise ZeroDivisionError("ours")
        return ["a note"]

    jobs = plan_folder(tree / "photos", tree / "out", tree / "masks")
    summary = run_folder(jobs, complete)
    assert summary.completed == summary.with_notes == 2
    assert summary.errors == [f"{tree / 'photos' / 'a.jpg'}: ZeroDivisionError: ours"]


class TestMasks:
    def test_of_alpha_inverted_and_resized(self, tmp_path, engine):
        photo = save(tmp_path / "a.png")
        mask = save_mask(tmp_path / "m.png", (12, 10))
        job = Job(photo, tmp_path / "out.png", mask)
        with pytest.raises(PortraitError, match="m.png: expected the photo's size"):
            prepare(job)
        ready = prepare(job, MaskOptions(resize=True, invert=True))
        assert "brought from 12x10" in ready.notes[0]
        assert ready.hole[0, 0] == 255 and ready.hole[16, 12] == 0
        with pytest.raises(PortraitError, match="a.png: expected an alpha channel"):
            prepare(Job(photo, tmp_path / "out.png"))

    def test_a_mask_of_the_stored_photo_gets_a_hint(self, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6
        photo = save(tmp_path / "a.jpg", exif=exif)
        job = Job(photo, tmp_path / "out.jpg", save_mask(tmp_path / "m.png"))
        with pytest.raises(PortraitError, match="20x24 .* after its EXIF orientation"):
            prepare(job)


class TestLeftOut:
    def test_other_formats_and_linked_folders_are_counted(self, tree):
        for name in ("1.PSD", "2.psd", "sub/3.cr2", ".4.psd"):
            (tree / "photos" / name).write_bytes(b"")
        (tree / "elsewhere").mkdir()
        save(tree / "elsewhere" / "b.png")
        (tree / "photos" / "sub" / "link").symlink_to(tree / "elsewhere")
        (tree / "masks" / "a.tga").write_bytes(b"")
        told = []
        jobs = plan_folder(
            tree / "photos", tree / "out", tree / "masks", tell=told.append
        )
        assert len(jobs) == 3
        assert sorted(told) == [
            f"{tree / 'masks'}: left out: pictures of formats that are not read "
            "(1 .tga)",
            f"{tree / 'photos'}: left out: pictures of formats that are not read "
            "(1 .cr2, 2 .psd); links to folders, which are not followed (sub/link)",
        ]
        told.clear()
        (tree / "photos" / "sub" / "link").unlink()
        folders.plan_parsing(tree / "photos", tree / "out", tell=told.append)
        assert len(told) == 1 and "not followed" not in told[0]

    def test_pipes_and_devices(self, tree):
        os.mkfifo(tree / "photos" / "pipe.png")
        (tree / "photos" / "zero.png").symlink_to("/dev/zero")
        (tree / "joints").mkdir()
        os.mkfifo(tree / "joints" / "a.json")
        told = []
        jobs = plan_folder(
            tree / "photos",
            tree / "out",
            joints_in=tree / "joints",
            tell=told.append,
        )
        assert told == [
            f"{tree / 'photos'}: left out: pipes and devices (pipe.png, zero.png)"
        ]
        assert len(jobs) == 3 and jobs[0].joints_in is None

    def test_nothing_is_said_of_nothing(self, tree):
        told = []
        plan_folder(tree / "photos", tree / "out", tell=told.append)
        assert not told

    def test_nothing_but_what_is_left_out(self, tmp_path):
        (tmp_path / "a.cr2").write_bytes(b"")
        with pytest.raises(PortraitError, match=r"found none; left out: .*\(1 \.cr2\)"):
            plan_folder(tmp_path, tmp_path / "out")


def test_spellings_of_one_name_are_paired(tmp_path, engine):
    """Composed as most write it, decomposed as macOS does."""
    save(tmp_path / "photos" / "caf\u00e9.png")
    save(tmp_path / "photos" / "u\u0308.png")
    save_mask(tmp_path / "masks" / "cafe\u0301.png")
    save_mask(tmp_path / "masks" / "\u00fc.bmp")
    jobs = plan_folder(tmp_path / "photos", tmp_path / "out", tmp_path / "masks")
    assert run(jobs, engine).completed == 2


def test_links_to_photos_are_not_written_through(tree, engine):
    """A folder of links as the output would replace the photos."""
    photo = tree / "photos" / "a.jpg"
    before = photo.read_bytes()
    (tree / "out").mkdir()
    (tree / "out" / "a.jpg").symlink_to(photo)
    jobs = plan_folder(tree / "photos", tree / "out", tree / "masks")
    summary = run(jobs, engine, overwrite=True)
    assert (summary.completed, summary.failed) == (2, 1)
    assert f"a.jpg is a link to the photo {photo}" in summary.errors[0]
    assert photo.read_bytes() == before


def test_results_never_replace_what_is_given(tree):
    photos, masks = tree / "photos", tree / "masks"
    for targets, words in (
        ((masks, masks), "is the folder of the masks"),
        ((tree / "out", masks, masks), "is the folder of the masks"),
    ):
        with pytest.raises(PortraitError, match=words):
            plan_folder(photos, *targets)
    one = save_mask(tree / "out" / "a.jpg")
    with pytest.raises(PortraitError, match="would replace the mask .*a.jpg"):
        plan_folder(photos, tree / "out", one)
    with pytest.raises(PortraitError, match="--log .*a.bmp would replace the mask"):
        plan_folder(photos, tree / "results", masks, log=masks / "a.bmp")


def test_results_in_a_parent_folder_never_replace_photos(tmp_path):
    for name in ("x.png", "sub/x.png"):
        save(tmp_path / "sub" / name)
    with pytest.raises(PortraitError, match="x.png would replace a photo"):
        plan_folder(tmp_path / "sub", tmp_path)


class TestWrongUse:
    def check(self, words, *arguments, **more):
        with pytest.raises(PortraitError, match=words):
            plan_folder(*arguments, **more)

    def test_folders(self, tree):
        photos, out = tree / "photos", tree / "out"
        (tree / "empty").mkdir()
        self.check("empty: expected photos", tree / "empty", out)
        self.check("empty: expected photos", photos, out, tree / "empty")
        self.check("is the folder of the photos", photos, photos, tree / "masks")
        self.check("is the folder of the photos", photos, out, photos)
        self.check("a folder is expected", photos, photos / "a.jpg", tree / "masks")
        self.check("one folder for photos and another", photos, out, None, out)

    def test_results_that_would_replace_one_another(self, tree):
        photos, out = tree / "photos", tree / "out"
        save(photos / "a.png")
        assert len(plan_folder(photos, out)) == 4
        self.check("two photos are called 'a'", photos, out, format="PNG")
        self.check("two photos are called 'a'", photos, out, None, tree / "maps")

    def test_two_photos_that_a_mask_or_a_map_would_be_for(self, tree):
        photos, out = tree / "photos", tree / "out"
        save(photos / "a.png")
        save_mask(tree / "masks" / "a.png")
        words = "two photos are called 'a', a.jpg and a.png, and a {} is found by"
        self.check(words.format("mask"), photos, out, tree / "masks")
        self.check(words.format("label map"), photos, out, parsing_in=tree / "masks")

    def test_a_log_that_cannot_be_written(self, tree, engine):
        jobs = plan_folder(tree / "photos", tree / "out", tree / "masks")
        with pytest.raises(PortraitError, match="photos is a folder; a file"):
            run(jobs, engine, log=tree / "photos")
        assert engine.asked == 0


@pytest.mark.long
@pytest.mark.skipif(not STATM.exists(), reason="resident memory is read from Linux")
def test_many_photos_take_no_more_memory_than_a_hundred(tmp_path):
    rng = np.random.default_rng(0)
    for index in range(400):
        height, width = rng.integers(48, 160, 2)
        photo = rng.integers(0, 256, (height // 8, width // 8, 3), np.uint8)
        mask = np.zeros((height, width), np.uint8)
        mask[height // 3 : height // 2, width // 4 : width // 2] = 255
        suffix = (".jpg", ".png", ".webp", ".tif")[index % 4]
        for kind, pixels, name in (("photos", photo, suffix), ("masks", mask, ".png")):
            path = tmp_path / kind / f"{index:04}{name}"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels).resize((width, height)).save(path)
    # In this process threads of other tests' models are alive.
    spawned = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, spawned) as process:
        completed, memory = process.submit(complete_folder, tmp_path).result()
    assert completed == 400
    assert memory[-1] - memory[100] < 4


def resident_mib():
    return int(STATM.read_text().split()[1]) * 4096 / 2**20


def complete_folder(folder):
    """How many photos were completed, and the memory after each."""
    jobs = plan_folder(folder / "photos", folder / "out", folder / "masks")
    memory = []
    summary = run(
        jobs, TeleaEngine(), progress=lambda *_: memory.append(resident_mib())
    )
    return summary.completed, memory
