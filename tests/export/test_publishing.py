"""Versions, labels and what is left of both by processes that die. No TensorFlow."""

import json
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from command_line import run as run_command
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from export import publishing
from export.publishing import list_versions, new_version, promote, prune, rollback
from portrait_tf.errors import PortraitError

PUBLISHER = pathlib.Path(__file__).with_name("publisher.py")


def write_version(folder, kilobytes=4):
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(bytes(1024 * kilobytes))
    (folder / "variables" / "variables.index").write_bytes(b"index")
    sizes = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file()
    }
    description = {
        "files": sizes,
        "exported": "2026-11-23T12:34:56+00:00",
        "precision": "float16",
        "signatures": {"serving_default": {}, "parse": {}},
    }
    (folder / "signature.json").write_text(json.dumps(description))


def publish(directory, label=None):
    with new_version(directory, label) as version:
        write_version(version.folder)
        return int(version.publish().name)


@pytest.fixture
def models(tmp_path):
    """Versions 1 to 4, without labels."""
    directory = tmp_path / "models"
    assert [publish(directory) for _ in range(4)] == [1, 2, 3, 4]
    return directory


def config(directory):
    text = (directory / "models.config").read_text()
    found = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    return found.model_config_list.config


def labels(directory):
    return {
        label: one.number for one in list_versions(directory) for label in one.labels
    }


def numbers(directory):
    return sorted(int(path.name) for path in directory.iterdir() if path.name.isdigit())


def hidden(directory):
    return [
        path.name
        for path in directory.iterdir()
        if path.name.startswith((".exporting-", ".removing-"))
    ]


def test_a_version_is_there_only_when_it_is_published(tmp_path):
    with pytest.raises(RuntimeError), new_version(tmp_path) as version:
        write_version(version.folder)
        raise RuntimeError
    assert numbers(tmp_path) == [] and hidden(tmp_path) == []
    with new_version(tmp_path) as version:
        write_version(version.folder)
        assert numbers(tmp_path) == []
        assert version.publish() == tmp_path / "1"
        assert numbers(tmp_path) == [1]
    assert numbers(tmp_path) == [1] and hidden(tmp_path) == []


def test_no_version_within_a_version(models):
    with (
        pytest.raises(PortraitError, match="1 is one version of a model; expected the"),
        new_version(models / "1"),
    ):
        pass


def test_numbers_are_never_used_again(models):
    assert prune(models, 1) == [1, 2, 3]
    shutil.rmtree(models / "4")
    assert publish(models) == 5
    (models / "0012").mkdir()
    (models / "notes").mkdir()
    assert publish(models) == 13


def test_labels_are_written_for_the_server(models):
    assert not (models / "models.config").exists()
    promote(models, 2, "stable")
    promote(models, 4, "canary")
    (model,) = config(models)
    assert model.name == "portrait" and model.model_platform == "tensorflow"
    assert model.base_path == str(models.resolve())
    assert dict(model.version_labels) == {"stable": 2, "canary": 4}
    assert list(model.model_version_policy.specific.versions) == [2, 4]
    promote(models, 4, "stable")
    (model,) = config(models)
    assert list(model.model_version_policy.specific.versions) == [4]
    assert publish(models, "canary") == 5
    assert labels(models) == {"stable": 4, "canary": 5}


def test_what_others_wrote_into_the_config_stays(models):
    promote(models, 1, "stable", base_path="/models/portrait")
    path = models / "models.config"
    name = 'name: "portrait"'
    old = 'version_labels { key: "old" value: 1 }'
    other = 'config { name: "other" base_path: "/models/other" }'
    text = path.read_text().replace(name, f"{name} {old}")
    path.write_text(text.replace("config {", f"{other} config {{", 1))
    promote(models, 3, "stable")
    other, ours = config(models)
    assert other.name == "other" and other.base_path == "/models/other"
    assert ours.base_path == "/models/portrait"
    assert dict(ours.version_labels) == {"old": 1, "stable": 3}
    assert list(ours.model_version_policy.specific.versions) == [1, 3]


class TestRollback:
    def test_goes_back_step_by_step(self, models):
        for number in (1, 3, 2):
            promote(models, number, "stable")
        promote(models, 4, "canary")
        assert rollback(models, "stable") == 3
        assert rollback(models, "stable") == 1
        with pytest.raises(PortraitError, match="stands for version 1, and no version"):
            rollback(models, "stable")
        assert labels(models) == {"stable": 1, "canary": 4}
        events = json.loads((models / "models.history.json").read_text())["events"]
        assert [(one["action"], one["version"], one["before"]) for one in events] == [
            ("promote", 1, None), ("promote", 3, 1), ("promote", 2, 3),
            ("promote", 4, None), ("rollback", 3, 2), ("rollback", 1, 3),
        ]  # fmt: skip

    def test_there_and_back_again(self, models):
        for number in (1, 2, 1):
            promote(models, number, "stable")
        assert rollback(models, "stable") == 2
        assert rollback(models, "stable") == 1
        promote(models, 4, "stable")
        assert rollback(models, "stable") == 1

    def test_skips_what_is_gone_or_damaged(self, models):
        for number in (1, 2, 3, 4):
            promote(models, number, "stable")
        (models / "3" / "saved_model.pb").unlink()
        (models / "2" / "saved_model.pb").write_bytes(b"short")
        assert rollback(models, "stable") == 1

    @pytest.mark.parametrize("died", ["promotion", "rollback"])
    def test_what_died_half_way_is_as_if_not_begun(self, models, monkeypatch, died):
        for number in (1, 2, 3):
            promote(models, number, "stable")
        with monkeypatch.context() as patch:
            patch.setattr(publishing._Store, "_write_label", lambda *_: None)
            if died == "promotion":
                promote(models, 4, "stable")
            else:
                rollback(models, "stable")
        assert labels(models) == {"stable": 3}
        assert rollback(models, "stable") == 2


class TestPrune:
    def test_spares_labels_and_what_they_would_go_back_to(self, models):
        for _ in range(3):
            publish(models)
        for number in (1, 2, 3):
            promote(models, number, "stable")
        promote(models, 5, "canary")
        assert prune(models, 1) == [1, 4, 6]
        assert numbers(models) == [2, 3, 5, 7]
        assert rollback(models, "stable") == 2

    def test_a_damaged_version_does_not_count(self, models):
        (models / "4" / "saved_model.pb").unlink()
        assert prune(models, 1) == [1, 2]
        assert numbers(models) == [3, 4] and hidden(models) == []
        assert prune(models, 1) == []

    def test_removes_what_dead_exports_left_but_no_living_one(self, models):
        dead = models / ".exporting-dead"
        write_version(dead)
        write_version(models / ".removing-9-dead")
        with new_version(models) as version:
            assert not dead.exists()
            write_version(version.folder)
            write_version(dead)
            prune(models, 4)
            assert hidden(models) == [version.folder.name]
            version.publish()
        assert numbers(models) == [1, 2, 3, 4, 5]


class TestList:
    def test_says_what_is_there(self, models):
        promote(models, 1, "stable")
        promote(models, 1, "canary")
        (models / "2" / "variables" / "variables.index").unlink()
        (models / "3" / "signature.json").write_text("{")
        first, second, third, fourth = list_versions(models)
        assert (first.number, first.labels) == (1, ["canary", "stable"])
        assert (first.precision, first.problem) == ("float16", "")
        assert first.signatures == ["serving_default", "parse"]
        assert first.exported == "2026-11-23 12:34"
        assert 4096 < first.size < 5000
        assert second.problem == "variables/variables.index is missing"
        assert third.problem == "signature.json cannot be read"
        assert (third.precision, third.signatures) == ("?", ["?"])
        assert fourth.problem == ""

    def test_a_version_of_an_older_program(self, models):
        (models / "1" / "signature.json").unlink()
        assert list_versions(models)[0].problem == ""
        (models / "1" / "saved_model.pb").unlink()
        assert list_versions(models)[0].problem == "saved_model.pb is missing"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["promote", "DIR", "9", "--label", "stable"],
         "there is no version 9; versions: 1, 2, 3, 4"),
        (["promote", "DIR", "2", "--label", "stable"],
         "2: expected a whole version, but saved_model.pb is missing"),
        (["promote", "DIR", "1", "--label", "stable", "--base-path", "models"],
         "base path 'models': TensorFlow Serving expects an absolute one"),
        (["rollback", "DIR", "--label", "stable"], "no version has the label 'stable'"),
        (["list", "DIR/none"], "none: expected a folder of numbered versions"),
        (["prune", "DIR/none", "--keep", "1"], "none: expected a folder of numbered"),
        (["list", "DIR/bad"], "models.config: expected a ModelServerConfig as text"),
        (["promote", "DIR/worse", "1", "--label", "stable"],
         "models.history.json: expected"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(models, arguments, message):
    (models / "2" / "saved_model.pb").unlink()
    for name in ("bad", "worse"):
        (models / name).mkdir()
    (models / "bad" / "models.config").write_text("model_config_list { what: 1 }")
    (models / "worse" / "models.history.json").write_text('{"labels": 3}')
    code, error = run_command(
        "models", *(one.replace("DIR", str(models)) for one in arguments)
    )
    assert code == 2 and message in error and "\n" not in error


def test_the_command_line(models):
    for arguments, said in (
        (["promote", models, 1, "--label", "stable"], "stable: version 1\n"),
        (["promote", models, 3, "--label", "stable"], "stable: version 3\n"),
        (["list", models], "whole"),
        (["rollback", models, "--label", "stable"], "stable: version 1\n"),
        (["prune", models, "--keep", 1], "removed: 2, 3\n"),
    ):
        code, found = run_command("models", *arguments)
        assert code == 0 and said in found
        if arguments[0] == "list":
            rows = [line for line in found.splitlines() if "2026-11-23" in line]
            assert len(rows) == 4 and "stable" in rows[2]
            assert "serving_default" in rows[0] and "float16" in rows[0]
    assert labels(models) == {"stable": 1}


def start(source, directory, *count):
    process = subprocess.Popen(
        [sys.executable, PUBLISHER, source, directory, *map(str, count)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "started\n", process.stderr.read()
    return process


def assert_whole(directory):
    versions = list_versions(directory)
    assert [one.problem for one in versions] == [""] * len(versions)
    there = {one.number for one in versions}
    if (directory / "models.config").exists():
        (model,) = config(directory)
        assert set(model.version_labels.values()) <= there
        assert set(model.model_version_policy.specific.versions) <= there
    return there


def test_kill_9_never_leaves_half_a_version(tmp_path):
    """At moments drawn by chance, in export, publishing, labelling and pruning."""
    source, directory = tmp_path / "source", tmp_path / "models"
    write_version(source, 512)
    for index in range(8):
        (source / "variables" / f"part{index}").write_bytes(bytes(2**16))
    directory.mkdir()
    chance = random.Random(0)
    left = 0
    for _ in range(12):
        process = start(source, directory)
        time.sleep(chance.uniform(0.0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert_whole(directory)
        left += bool(hidden(directory))
    assert left, "no kill has met an export: the test shows nothing"
    newest = publish(directory)
    assert newest in assert_whole(directory)
    assert hidden(directory) == []


def test_processes_at_once_do_not_damage_each_other(tmp_path):
    source, directory = tmp_path / "source", tmp_path / "models"
    write_version(source)
    directory.mkdir()
    processes = [start(source, directory, 8) for _ in range(3)]
    for process in processes:
        _, error = process.communicate()
        assert process.returncode == 0, error
    there = assert_whole(directory)
    # Each has published eight times, and no number was given twice.
    assert max(there) == 24
    events = json.loads((directory / "models.history.json").read_text())["events"]
    exported = [one["version"] for one in events if one["action"] == "export"]
    assert len(exported) == len(set(exported)) == 15
    assert hidden(directory) == []
