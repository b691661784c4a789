"""Memory that is freed goes back to the system."""

import ctypes
import os
import subprocess
import sys

import pytest

from benchmarks.server_process import resident_bytes
from serving.local_server.memory import give_back_memory

CHUNK, COUNT = 64 * 2**10, 2000
library = ctypes.CDLL(None)


glibc = pytest.mark.skipif(not hasattr(library, "malloc_trim"), reason="not glibc")


@glibc
def test_holes_between_used_memory_are_given_back():
    library.malloc.restype = ctypes.c_void_p
    chunks = [ctypes.c_void_p(library.malloc(CHUNK)) for _ in range(COUNT)]
    for chunk in chunks:
        ctypes.memset(chunk, 1, CHUNK)
    kept = chunks[::50]
    for index, chunk in enumerate(chunks):
        if index % 50:
            library.free(chunk)
    before = resident_bytes(os.getpid())
    give_back_memory()
    after = resident_bytes(os.getpid())
    for chunk in kept:
        assert ctypes.string_at(chunk, CHUNK) == b"\1" * CHUNK
        library.free(chunk)
    assert before - after > 0.8 * CHUNK * COUNT


# In the heap the large block, freed, would stay under those that are still used.
LARGE = """
import ctypes, os
from serving.local_server.memory import map_large_blocks
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def block(size):
    made = ctypes.c_void_p(library.malloc(size))
    ctypes.memset(made, 1, size)
    return made

map_large_blocks()
# What makes glibc put blocks of such a size into its heap from then on.
library.free(block(30 * 2**20))
large = block(30 * 2**20)
# More than the heap has holes for.
above = [block(2**20) for _ in range(20)]
before = resident()
library.free(large)
print(before - resident())
"""


@glibc
@pytest.mark.parametrize("threshold", [None, str(31 * 2**20)])
def test_large_blocks_are_gone_when_they_are_freed(threshold):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("MALLOC_MMAP_THRESHOLD_", None)
    if threshold:
        environment["MALLOC_MMAP_THRESHOLD_"] = threshold
    done = subprocess.run(
        [sys.executable, "-c", LARGE],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    given_back = int(done.stdout)
    assert given_back < 2**20 if threshold else given_back > 29 * 2**20
