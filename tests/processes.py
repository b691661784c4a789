"""Python in a process of its own, and waiting for what others do."""

import subprocess
import sys
import time


def python(*arguments, **options):
    """How it ended, and what it said, as text."""
    options = {"capture_output": True, "text": True, "timeout": 1200} | options
    return subprocess.run([sys.executable, *map(str, arguments)], **options)


def python_output(*arguments, **options):
    """What is on its stdout; it must have succeeded."""
    done = python(*arguments, **options)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


def wait_until(condition, seconds=60):
    """Waits for what other threads or processes do; gives what the condition gave."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"waited for {seconds} s"
        time.sleep(0.01)
    return found
