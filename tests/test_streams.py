"""stderr of the whole process: only lines of C libraries are kept off it."""

import os
import re
import subprocess
import sys
import threading

import pytest

from portrait_tf.streams import filtered_stderr

NOISE = re.compile(rb"^noise: .*\n", re.MULTILINE)


def test_lines_are_kept_off_and_the_rest_gets_there(capfd):
    with filtered_stderr(NOISE):
        os.write(2, b"bar \x1b[2K 1/2\nnoise: bad\n\x1b[1A bar")
    assert capfd.readouterr().err == "bar \x1b[2K 1/2\n\x1b[1A bar"


def test_all_of_it_gets_there_when_the_block_raises(capfd):
    try:
        with filtered_stderr(NOISE):
            os.write(2, b"noise: why\n")
            raise KeyError
    except KeyError:
        pass
    assert capfd.readouterr().err == "noise: why\n"


def test_threads_and_nested_blocks_leave_stderr_as_it_was(capfd):
    before = os.fstat(2)

    def work():
        for _ in range(20):
            with filtered_stderr(NOISE), filtered_stderr(NOISE):
                os.write(2, b"noise: bad\n")
            os.write(2, b"heard\n")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = os.fstat(2)
    assert (after.st_dev, after.st_ino) == (before.st_dev, before.st_ino)
    assert capfd.readouterr().err == "heard\n" * 80


@pytest.mark.parametrize("closed", ["2>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams_are_not_taken_by_files(closed, tmp_path):
    """Else what C libraries write to stderr would be in the next file."""
    path = tmp_path / "result"
    code = (
        "import os, re, sys\n"
        "from portrait_tf.streams import filtered_stderr, open_streams\n"
        "with filtered_stderr(re.compile(b'x')): os.write(2, b'noise')\n"
        "open_streams()\n"
        "print('heard'), print('heard', file=sys.stderr)\n"
        "file = open(sys.argv[1], 'w')\n"
        "os.write(1, b'noise'), os.write(2, b'noise')\n"
        "file.write('whole')\n"
    )
    command = f'exec "$@" {closed}'
    subprocess.run(
        ["sh", "-c", command, "sh", sys.executable, "-c", code, path], check=True
    )
    assert path.read_text() == "whole"
