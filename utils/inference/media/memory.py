"""Memory for frames: kept by the process, because pages that are new to it cost more than the work on them."""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8  # glibc's names for what mallopt sets
LARGEST = 2**30  # bytes; every frame is smaller


def keep_freed_memory() -> bool:
    """Let the C library use freed frames again instead of handing them back, where it is glibc; whether it took it.

    A run has several frames alive at once. Of 3840 x 2160 each is 25 MB, and the first touch of so much new memory
    takes about as long as half the decoding of the frame (benchmarks/video.py).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library, where this is no question
        return False
    wanted = ((MMAP_THRESHOLD, LARGEST), (TRIM_THRESHOLD, 2 * LARGEST - 1), (ARENA_MAX, 1))
    return sum(mallopt(what, value) for what, value in wanted) == len(wanted)
