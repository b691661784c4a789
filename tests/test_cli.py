"""The command line: what people type, what they get, and what mistakes get."""

import json
import os
import shutil
import socket
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tifffile
from command_line import run
from processes import python
from tiny import TINY

from portrait_tf.config import parse_config, save_config
from portrait_tf.photos import read_photo, write_png
from portrait_tf.runs.folder import build_network
from portrait_tf.runs.weights import save_weights


@pytest.fixture
def photo(tmp_path, portraits):
    path = tmp_path / "photo.png"
    write_png(path, portraits[0].photo)
    return path


@pytest.fixture
def mask(tmp_path):
    path = tmp_path / "mask.png"
    hole = np.zeros((64, 64), np.uint8)
    hole[20:50, 20:40] = 255
    write_png(path, hole)
    return path


def without_stderr(*arguments):
    """A command with file descriptor 2 closed, as by a shell's `2>&-`."""
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-m"]
    return subprocess.run(
        [*command, "portrait_tf", *map(str, arguments)],
        stdout=subprocess.PIPE,
        timeout=300,
    )


def test_mistakes_without_stderr_have_their_exit_code(tmp_path):
    done = without_stderr("complete", "no.png", "--mask", "m.png", "-o", "o.png")
    assert (done.returncode, done.stdout) == (2, b"")


@pytest.mark.long
def test_a_photo_is_completed_without_stderr(photo, mask, tmp_path):
    out = tmp_path / "out.png"
    done = without_stderr("complete", photo, "--mask", mask, "-o", out)
    assert done.returncode == 0
    assert read_photo(out).shape == read_photo(photo).shape


def test_names_that_are_no_text_are_printed(tmp_path):
    """A strict stdout, as most locales have it, would end with a traceback."""
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    command = ["-m", "portrait_tf", "complete", path, "--mask", path]
    done = python(*command, "-o", tmp_path / "o.png")
    assert done.returncode == 2
    assert "caf\\udce9.png: cannot read the mask" in done.stderr
    assert done.stderr.count("\n") == 1
    code = (
        "from portrait_tf.apps import cli\n"
        "try: cli.main()\n"
        "finally: print('caf\\udce9.png')"
    )
    strict = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    done = python("-c", code, "--version", env=strict)
    assert done.stdout.endswith("caf\\udce9.png\n"), done.stderr


def test_devices_are_no_output(photo, mask):
    code, message = run("complete", photo, "--mask", mask, "-o", "/dev/null")
    assert code == 2 and "/dev/null: expected a file or a pipe" in message


def test_help_and_mistakes_do_not_load_tensorflow():
    code = (
        "import json, sys; from portrait_tf.apps import cli\n"
        "for *arguments, expected in json.loads(sys.argv[1]):\n"
        "    sys.argv[1:] = arguments\n"
        "    try: cli.main()\n"
        "    except SystemExit as end: assert end.code == expected, (arguments, end)\n"
        "    slow = {'tensorflow', 'keras', 'apache_beam'} & set(sys.modules)\n"
        "    assert not slow, (arguments, slow)\n"
    )
    commands = (
        *(("--help", 0), ("--version", 0), ("no-such-command", 2), ("evaluate", 2)),
        *((name, "--help", 0) for name in ("complete", "extrapolate", "batch")),
        *((name, "--help", 0) for name in ("evaluate", "compare", "web", "serve")),
        ("evaluate", "parsing", "--help", 0),
        ("extrapolate", "none.png", "--whole-body", "-o", "out.png", 2),
        ("complete", "none.png", "--mask", "m.png", "-o", "out.png", 2),
        ("parse", "none.png", 2),
        ("evaluate", "--seed", "1", "parsing", "--data", "none", 2),
        ("evaluate", "parsing", "--data", "none", 2),
        ("evaluate", "parsing", "--data", "none", "--scales", "1", "9", 2),
        ("compare", "--config", "none.yaml", "--data", "d", "--out", "o", 2),
        ("train", "stage3", "--config", "c", "--data", "d", "--run", "r", 2),
    )
    done = python("-c", code, json.dumps(commands))
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr


def test_complete_with_the_bundled_weights(photo, mask, tmp_path):
    out, parsing_out = tmp_path / "out.png", tmp_path / "map.png"
    done = python(
        *("-m", "portrait_tf", "complete", photo, "--mask", mask),
        *("-o", out, "--parsing-out", parsing_out),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    before, after = read_photo(photo), read_photo(out)
    hole = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE) > 0
    np.testing.assert_array_equal(before[~hole], after[~hole])
    assert read_photo(parsing_out).shape == before.shape


class TestFolders:
    @pytest.fixture
    def folders(self, tmp_path, portraits):
        for index, sample in enumerate(portraits[:3]):
            write_png(tmp_path / "photos" / f"p{index}.png", sample.photo)
            hole = np.zeros((64, 64), np.uint8)
            hole[:20] = 255
            write_png(tmp_path / "masks" / f"p{index}.png", hole)
        return tmp_path / "photos", tmp_path / "masks", tmp_path / "out"

    def test_goes_on_past_bad_files(self, folders, portraits):
        photos, masks, out = folders
        good = (photos / "p0.png").read_bytes()
        (photos / "p0.png").write_bytes(good[:300])
        (masks / "p1.png").unlink()
        cv2.imwrite(str(photos / "p3.jpg"), portraits[3].photo[..., ::-1])
        write_png(masks / "p3.png", np.full((9, 9), 255, np.uint8))
        code, output = run("complete", photos, "--mask", masks, "-o", out)
        assert code == 1
        assert "1 photos completed, 0 skipped as they were done, 3 failed" in output
        for part in ("p0.png: expected a whole photo", "p1.png: no mask of this name",
                     "p3.png: expected the photo's size"):  # fmt: skip
            assert part in output
        assert [path.name for path in out.iterdir()] == ["p2.png"]

    def test_what_tifffile_says_stays_off_the_terminal(self, folders, portraits):
        photos, masks, out = folders
        orientation = [(274, 3, 1, 9, True)]
        tifffile.imwrite(
            photos / "a.tif",
            portraits[0].photo,
            photometric="rgb",
            extratags=orientation,
        )
        command = ["complete", photos, "--mask", masks / "p0.png", "-o", out]
        code, output = run(*command)
        assert code == 0 and "4 photos completed" in output
        assert "TiffTag" not in output


@pytest.fixture
def lip(tmp_path):
    code, output = run(
        "data", "synth", tmp_path / "lip", "--train", 3, "--val", 2,
        "--height", 64, "--width", 64,
    )  # fmt: skip
    assert code == 0, output
    return tmp_path / "lip"


def test_data_synth_and_check(lip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, output = run("data", "check", lip, "--json", "found.json")
    assert code == 0
    assert "train: 3 photos" in output and "val: 2 photos" in output
    assert str(tmp_path / "lip-check.png") in output
    assert read_photo(tmp_path / "lip-check.png").shape[1] > 64
    assert json.loads((tmp_path / "found.json").read_text())["val"]["photos"] == 2
    assert "RightShoe" in output
    photo = next((lip / "TrainVal_images" / "val_images").iterdir())
    photo.write_bytes(photo.read_bytes()[:200])
    code, output = run("data", "check", lip)
    assert code == 1
    assert "1 broken" in output and photo.name in output


def test_evaluate_writes_a_table_and_json(lip, tmp_path):
    code, output = run(
        "evaluate", "--data", lip, "--json", tmp_path / "scores.json", "--count", 1
    )
    assert code == 0, output
    for word in ("Lower third", "Telea", "hole PSNR", "PCKh", "photos at 192x128"):
        assert word in output
    # Wider than what rich takes for the width of a pipe.
    assert "silhouette ┃" in output
    scores = json.loads((tmp_path / "scores.json").read_text())
    parts = {"size", "completion", "parsing", "peers"}
    assert set(scores) == {*parts, "kernel_distances", "label_groups"}


def test_evaluate_scores_a_run_at_its_own_size(lip, tmp_path):
    config = parse_config(TINY)
    for stage in ("parsing", "completion"):
        path = tmp_path / "run" / stage / "network.npz"
        save_weights(build_network(stage, config), path, {})
    save_config(config, tmp_path / "run" / "completion" / "config.yaml")
    arguments = ["evaluate", "--data", lip, "--run", tmp_path / "run", "--count", 1]
    arguments += ["--json", tmp_path / "scores.json", "--height", 48]
    code, output = run(*arguments)
    assert code == 0, output
    # The width is the networks' own.
    assert "photos at 48x32: 1" in output
    assert json.loads((tmp_path / "scores.json").read_text())["size"] == [48, 32]


class TestMistakes:
    """One sentence that names the file and what was expected, and exit code 2."""

    def check(self, arguments, *parts):
        code, output = run(*arguments)
        assert code == 2, output
        for part in parts:
            assert part in output, output

    def complete(self, photo, mask, tmp_path, *parts):
        out = tmp_path / "out.png"
        self.check(["complete", photo, "--mask", mask, "-o", out], *parts)
        assert not out.exists()

    def test_files(self, photo, mask, tmp_path):
        text, cut, narrow = (tmp_path / name for name in ("t.png", "c.png", "n.png"))
        text.write_text("hello")
        cut.write_bytes(photo.read_bytes()[:500])
        write_png(narrow, np.full((64, 63), 255, np.uint8))
        for files, words in (
            ((text, mask), "t.png: expected a photo (JPEG, PNG"),
            ((cut, mask), "c.png: expected a whole photo"),
            ((tmp_path / "a.png", mask), "a.png: cannot read the photo"),
            ((photo, tmp_path / "b.png"), "b.png: cannot read the mask"),
            ((photo, narrow), "n.png: expected the photo's size"),
            ((photo, tmp_path / ("b" * 300)), "bbb: File name too long"),
        ):
            self.complete(*files, tmp_path, words)

    @pytest.mark.parametrize(
        ("more", "words"),
        [
            (["--parsing-out", "photo.png"], "would replace the photo"),
            (["--log", "photo.png"], "--log photo.png would replace the photo"),
            (["--log", "mask.png"], "would replace the mask"),
            (["--parsing-out", "out.png"], "would replace the file of --out"),
            (["-o", "mask.png"], "--out mask.png would replace the mask"),
            (["--parsing-out", "map.jpg"], "the extension .png of a parsing map"),
            (
                ["-o", "m.png", "--candidates", 2, "--log", "m-2.png"],
                "--log m-2.png would replace the file of --out",
            ),
        ],
    )
    def test_a_file_that_is_read_is_not_written(
        self, photo, mask, more, words, tmp_path, monkeypatch
    ):
        monkeypatch.chdir(tmp_path)
        before = photo.read_bytes(), mask.read_bytes()
        given = ["complete", "photo.png", "--mask", "mask.png", "-o", "out.png"]
        self.check([*given, *more], words)
        assert (photo.read_bytes(), mask.read_bytes()) == before

    @pytest.mark.parametrize(
        ("photos", "more", "words"),
        [
            ("photo.png", ["--log", "photo.png"], "photo.png would replace the photo"),
            ("photo.png", ["--mask", "photo-map.png"], "would replace the mask"),
            ("photo.png", ["--log", "photo-map.png"], "the file of --out"),
            ("photos", ["--log", "photos/a.png"], "a.png would replace a photo"),
            ("photos", ["--log", "maps/a.png"], "would replace the file of --log"),
        ],
    )
    def test_of_parse_neither(self, photo, photos, more, words, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "photos").mkdir()
        for name in ("photos/a.png", "photo-map.png"):
            shutil.copy(photo, tmp_path / name)
        before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
        self.check(["parse", photos, *more], words)
        assert {path: path.read_bytes() for path in tmp_path.rglob("*.png")} == before

    def test_empty_arguments(self, photo, mask, tmp_path):
        command = ["complete", photo, "-o", tmp_path / "o.png"]
        for more, named in (
            (["--mask", ""], "--mask"),
            (["--mask", mask, "--server="], "--server"),
        ):
            words = f"expected a value after {named}, received an empty one"
            self.check([*command, *more], words)

    def test_several_files_for_one_stream(self, photo, mask, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        os.mkfifo("pipe")
        for out in ("-", "/dev/stdout", "pipe"):
            command = ["complete", photo, "--mask", mask, "-o", out]
            self.check([*command, "--candidates", 2], f"for --out, received {out}")
            self.check(["parse", tmp_path, "-o", out], f"{out} is a stream; a folder")
        assert not list(tmp_path.glob("-*"))

    def test_neither_a_mask_nor_alpha(self, photo, tmp_path):
        out = ["-o", tmp_path / "o.png"]
        self.check(["complete", photo, *out], "expected --mask, or --mask-from-alpha")
        self.check(
            ["complete", photo, "--mask-from-alpha", *out],
            "photo.png: expected an alpha channel",
        )

    @pytest.mark.parametrize("option", ["--invert-mask", "--resize-mask"])
    def test_options_of_a_mask_that_is_not_given(self, photo, tmp_path, option):
        words = f"expected --mask with {option}, received none"
        self.check(["parse", photo, "-o", tmp_path, option], words)

    def test_margins(self, photo, tmp_path):
        out = ["-o", tmp_path / "o.png"]
        command = ["extrapolate", photo, *out]
        self.check(command, "expected --top, --bottom", "received none of them")
        self.check([*command, "--top", 5], "'top'", "received '5'")
        self.check(
            [*command, "--top", 0.1, "--bottom", "9px", "--to-aspect", "2:3"],
            "--top and --bottom and --to-aspect contradict each other",
        )

    def test_an_unreachable_server(self, photo, mask, tmp_path, monkeypatch):
        monkeypatch.setattr("portrait_tf.inference.engines._SERVER_SECONDS", 0.5)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
            self.check(
                ["complete", photo, "--mask", mask, "-o", tmp_path / "o.png",
                 "--server", address],
                address,
            )  # fmt: skip

    def test_a_folder_without_a_model(self, photo, mask, tmp_path):
        self.check(
            ["complete", photo, "--mask", mask, "-o", tmp_path / "o.png", "--model",
             tmp_path],
            f"{tmp_path} holds no exported model",
        )  # fmt: skip
        (tmp_path / "1").mkdir()
        (tmp_path / "1" / "saved_model.pb").write_bytes(b"\x12\x01")
        self.check(
            ["complete", photo, "--mask", mask, "-o", tmp_path / "o.png", "--model",
             tmp_path],
            "1: expected a SavedModel, cannot load it",
        )  # fmt: skip
        self.check(["export", tmp_path / "run", tmp_path], "run: expected the folder")
        self.check(["export", tmp_path, tmp_path / "out"], "no trained parsing stage")

    def test_configs(self, lip, tmp_path):
        arguments = ["train", "parsing", "--data", lip, "--run", tmp_path / "run"]
        config = tmp_path / "c.yaml"
        config.write_text("parsing: {trainin: {}}")
        self.check(
            [*arguments, "--config", config],
            "c.yaml: unknown key 'parsing.trainin'; did you mean 'training'?",
        )
        config.write_text("seed: soon")
        self.check([*arguments, "--config", config], "'seed'", "received 'soon'")
        self.check([*arguments, "--config", tmp_path / "none.yaml"], "none.yaml")
        assert not (tmp_path / "run").exists()

    def test_a_data_folder_without_the_expected_files(self, tmp_path):
        self.check(["data", "check", tmp_path], str(tmp_path), "TrainVal_images/")
        self.check(["evaluate", "--data", tmp_path], str(tmp_path), "val_images")
        self.check(["evaluate"], "expected --data, the folder of a data set")

    def test_a_folder_that_is_taken(self, lip):
        self.check(["data", "synth", lip], str(lip))

    def test_no_portraits(self, tmp_path):
        command = ["data", "synth", tmp_path / "none", "--train", 0, "--val", 0]
        self.check(command, "expected a portrait or more, of train and val")
        assert not (tmp_path / "none").exists()

    def test_a_port_in_use(self, tmp_path):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            self.check(
                ["serve", make_model(tmp_path / "models"), "--port", port,
                 "--rest_api_port", 0],
                str(port),
            )  # fmt: skip

    def test_serving_an_empty_folder(self, tmp_path):
        self.check(["serve", tmp_path, "--port", 0], str(tmp_path))
        self.check(
            ["serve", tmp_path, "--model_config_file=", "--port", 0], str(tmp_path)
        )


def make_model(folder):
    """The smallest SavedModel that a server loads."""
    import tensorflow as tf

    module = tf.Module()
    module.call = tf.function(
        lambda x: {"y": x}, input_signature=[tf.TensorSpec([None], tf.float32, "x")]
    )
    tf.saved_model.save(
        module, str(folder / "1"), signatures={"serving_default": module.call}
    )
    return folder


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_a_full_stdout_is_one_sentence(arguments):
    with open("/dev/full", "w") as full:
        done = python(
            "-m", "portrait_tf", *arguments,
            capture_output=False, stdout=full, stderr=subprocess.PIPE,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == ("portrait-tf: cannot write: No space left on device\n")
