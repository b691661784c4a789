"""How the C library keeps memory, for a process that runs for months.

Photos of many sizes leave holes that glibc keeps, in an arena for every few threads:
without this, a server grows for hours though nothing leaks.
"""

import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGE = 4 * 2**20
_KEPT = 256 * 2**20


def map_large_blocks() -> None:
    """Has blocks of 4 MiB and more mapped each by itself, for the whole process.

    They are gone when they are freed. glibc begins so at 128 KiB, but takes what is
    freed for a hint, and goes up to 32 MiB. Smaller blocks stay in the heap, of whose
    end up to 256 MiB are kept from one request to the next, or each would pay for its
    pages anew. Does nothing where there is no glibc, or where the environment sets
    `MALLOC_MMAP_THRESHOLD_`.
    """
    if "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        _call("mallopt", _M_MMAP_THRESHOLD, _LARGE)
        _call("mallopt", _M_TRIM_THRESHOLD, _KEPT)


def give_back_memory() -> None:
    """Frees whole pages that no block uses; does nothing where there is no glibc."""
    _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        # Another C library.
        return
    function(*arguments)
