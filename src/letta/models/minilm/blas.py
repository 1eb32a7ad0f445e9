"""One thread for numpy's matrix products. Knows OpenBLAS, which numpy's wheels carry, by the names of its functions.

By default it starts a thread per core that waits actively: on a busy machine, or in a container with a share of a
core, a product then takes ten times as long, and the event loop waits with it.
"""

import ctypes
from importlib.util import find_spec

_NAMES = (
    "scipy_openblas_set_num_threads64_",
    "scipy_openblas_set_num_threads",
    "openblas_set_num_threads64_",
    "openblas_set_num_threads",
)


def use_one_thread() -> bool:
    """Limit matrix products of this process to one thread. False where numpy uses another library."""
    spec = find_spec("numpy._core._multiarray_umath")
    if spec is None or spec.origin is None:
        return False
    library = ctypes.CDLL(spec.origin)
    for name in _NAMES:
        function = getattr(library, name, None)
        if function is not None:
            function(1)
            return True
    return False
