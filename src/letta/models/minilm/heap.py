"""Memory that was freed, given back to the system. The C library keeps it for itself as a rule."""

import ctypes
import gc
import sys


def give_back() -> None:
    """Return free memory of this process to the system, where the C library can (glibc)."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
