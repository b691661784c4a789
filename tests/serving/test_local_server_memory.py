"""Memory that is free, but between what is not, goes back to the system."""

import ctypes
import os

import pytest

from benchmarks.server_process import resident_bytes
from serving.local_server.memory import give_back_memory

CHUNK, COUNT = 64 * 2**10, 2000
library = ctypes.CDLL(None)


@pytest.mark.skipif(not hasattr(library, "malloc_trim"), reason="not glibc")
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
