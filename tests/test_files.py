"""Where files are written: through links and pipes, onto nothing else."""

import os
import stat
import subprocess
import sys
import threading

import pytest

from portrait_tf import files
from portrait_tf.errors import PortraitError
from portrait_tf.files import (
    one_spelling,
    open_lines,
    read_file,
    read_text,
    write_result,
)


def leftovers(folder):
    return [entry.name for entry in folder.iterdir() if entry.name.endswith(".tmp")]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a" / "file"
    write_result(path, b"old")

    def fail(*_):
        raise OSError(28, "disk full")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(PortraitError, match="file: cannot write: disk full"):
        write_result(path, b"new")
    assert path.read_bytes() == b"old"
    assert [found.name for found in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("length", [241, 242, 255])
def test_names_as_long_as_the_file_system_allows(tmp_path, length):
    for name in ("n" * length, "é" * (length // 2) + "n" * (length % 2)):
        write_result(tmp_path / name, b"1")
        write_result(tmp_path / name, b"2")
        assert (tmp_path / name).read_bytes() == b"2"
    assert not leftovers(tmp_path)


def test_a_path_that_cannot_be_is_one_sentence(tmp_path):
    with pytest.raises(PortraitError, match="nn: cannot write: File name too long"):
        write_result(tmp_path / ("n" * 256), b"1")
    write_result(tmp_path / "file", b"1")
    with pytest.raises(PortraitError, match="file/x: cannot write: Not a directory"):
        write_result(tmp_path / "file" / "x", b"1")


def test_a_name_that_is_not_utf8(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.json")
    write_result(path, f"{path.name} é")
    assert path.read_bytes() == rb"caf\udce9.json " + "é".encode()


class TestLinks:
    def test_the_link_stays_and_its_file_is_replaced(self, tmp_path):
        target = tmp_path / "sub" / "target"
        target.parent.mkdir()
        target.write_bytes(b"old")
        other = tmp_path / "sub" / "hard link"
        other.hardlink_to(target)
        link = tmp_path / "link"
        link.symlink_to("sub/target")
        write_result(link, b"new")
        assert link.is_symlink() and target.read_bytes() == b"new"
        # Replaced, not written into: a reader of the old content keeps it.
        assert other.read_bytes() == b"old"

    def test_where_nothing_is_yet(self, tmp_path):
        (tmp_path / "link").symlink_to("later/target")
        write_result(tmp_path / "link", b"new")
        assert (tmp_path / "later" / "target").read_bytes() == b"new"

    def test_a_loop_is_one_sentence(self, tmp_path):
        (tmp_path / "a").symlink_to("b")
        (tmp_path / "b").symlink_to("a")
        with pytest.raises(PortraitError, match="a: cannot write: Too many levels"):
            write_result(tmp_path / "a", b"new")


def test_permissions_stay(tmp_path):
    path = tmp_path / "private"
    path.write_bytes(b"old")
    path.chmod(0o600)
    write_result(path, b"new")
    assert path.read_bytes() == b"new" and path.stat().st_mode & 0o777 == 0o600


class TestPipes:
    def test_a_named_pipe_is_written_to(self, tmp_path):
        path, read = tmp_path / "pipe", []
        os.mkfifo(path)
        reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
        reader.start()
        content = bytes(range(256)) * 4096
        write_result(path, content)
        reader.join(30)
        assert read == [content] and path.is_fifo()

    def test_are_read(self):
        """As of `<(command)`."""
        reader, writer = os.pipe()
        with open(writer, "wb") as file:
            file.write(b"a photo")
        with open(reader, "rb"):
            assert read_file(f"/dev/fd/{reader}", "photo") == b"a photo"

    def test_a_log_in_a_named_pipe(self, tmp_path):
        path, read = tmp_path / "pipe", []
        os.mkfifo(path)
        reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
        reader.start()
        with open_lines(path) as file:
            file.write(b"a line\n")
        reader.join(30)
        assert read == [b"a line\n"]

    @pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1"])
    def test_standard_output_into_a_pipe_or_a_file(self, tmp_path, name):
        code = (
            "import sys; from portrait_tf.files import write_result\n"
            "write_result(sys.argv[1], 'two ')\n"
            "print('three')"
        )
        command = [sys.executable, "-c", code, name]
        for one in (name, "-"):
            command[-1] = one
            piped = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            assert piped.stdout == b"two three\n"
        link = tmp_path / "link"
        link.symlink_to(name)
        with open(tmp_path / "out", "wb") as out:
            out.write(b"one ")
            out.flush()
            subprocess.run([*command[:-1], str(link)], stdout=out, check=True)
        assert (tmp_path / "out").read_bytes() == b"one two three\n"


class TestDevices:
    @pytest.mark.parametrize("linked", [False, True])
    def test_are_refused_and_stay(self, tmp_path, linked):
        path = tmp_path / "link" if linked else "/dev/null"
        if linked:
            path.symlink_to("/dev/null")
        with pytest.raises(PortraitError, match="a file or a pipe, received a device"):
            write_result(path, b"1")
        with pytest.raises(PortraitError, match="received a device"), open_lines(path):
            pass
        assert stat.S_ISCHR(os.stat("/dev/null").st_mode)

    @pytest.mark.parametrize("path", ["/dev/zero", "/dev/full"])
    def test_are_not_read(self, path):
        with pytest.raises(PortraitError, match="a file or a pipe, received a device"):
            read_file(path, "photo")

    def test_a_folder(self, tmp_path):
        with pytest.raises(PortraitError, match="is a folder; a file is expected"):
            write_result(tmp_path, b"1")

    def test_a_terminal(self):
        leader, terminal = os.openpty()
        try:
            with pytest.raises(PortraitError, match="received a device"):
                write_result(os.ttyname(terminal), b"1")
        finally:
            os.close(leader)
            os.close(terminal)


class TestText:
    def test_byte_order_marks(self, tmp_path):
        (tmp_path / "a").write_text("é", encoding="utf-8-sig")
        assert read_text(tmp_path / "a") == "é"

    @pytest.mark.parametrize(
        ("encoding", "words"),
        [
            ("utf-16", "UTF-16"),
            ("utf-16-le", "UTF-16"),
            ("utf-16-be", "UTF-16"),
            ("utf-32", "UTF-32"),
            ("cp1252", r"the byte 0xe9 \(in cp1252: 'é'\)"),
        ],
    )
    def test_other_encodings_are_named(self, tmp_path, encoding, words):
        (tmp_path / "a").write_text("café", encoding=encoding)
        message = f"a: cannot read the list: expected UTF-8, received {words}"
        with pytest.raises(PortraitError, match=message):
            read_text(tmp_path / "a", "list")

    def test_spellings_of_one_name(self):
        assert one_spelling("e\u0301") == one_spelling("\u00e9")
        assert one_spelling("\udce9") == "\udce9"
