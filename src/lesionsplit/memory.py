"""Memory that is freed and wanted again a moment later should not go back to the system in between."""

from __future__ import annotations

import ctypes
import sys

# From glibc's malloc.h
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> None:
    """Have glibc keep freed memory for the process; does nothing elsewhere.

    Each forward pass on the CPU frees its activations. By default they go back to the system and are
    faulted in again page by page in the next pass, which takes as long as the arithmetic does. The
    price is that memory once used stays with the process until it ends, or until `give_back_memory`.
    """
    if (libc := _glibc()) is None:
        return
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    libc.mallopt(M_TOP_PAD, 256 << 20)


def give_back_memory() -> None:
    """Have glibc give what is free back to the system, between stages that need much at different times."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        return ctypes.CDLL("libc.so.6")
    except OSError:  # another C library, musl for one, has no such settings
        return None
