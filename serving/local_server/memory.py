"""Memory that the C library keeps is given back to the system."""

import ctypes


def give_back_memory() -> None:
    """Frees whole pages that no allocation uses; does nothing where it cannot.

    Photos of many sizes leave holes that glibc keeps, in an arena for every few
    threads: without this, a server grows for hours though nothing leaks.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        # Another C library than glibc.
        return
    trim(0)
