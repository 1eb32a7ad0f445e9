"""What a tool's source needs of a process before it starts. The server's side; nothing is run to find out."""

import ast
from functools import lru_cache

# What is there in every process, and costs nothing more.
_SMALL = frozenset({
    "__future__", "abc", "base64", "bisect", "builtins", "calendar", "collections", "contextlib", "copy", "dataclasses",
    "datetime", "enum", "functools", "heapq", "inspect", "io", "itertools", "json", "math", "numbers", "operator", "os",
    "random", "re", "string", "sys", "textwrap", "time", "traceback", "types", "typing", "unicodedata", "warnings",
})  # fmt: skip


@lru_cache(maxsize=1024)
def is_small(source: str) -> bool:
    """Whether a Python source imports nothing but small modules of the standard library, and awaits nothing."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return True  # it fails in any process
    for node in nodes:
        if isinstance(node, ast.AsyncFunctionDef):
            return False
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        if any(name.partition(".")[0] not in _SMALL for name in names):
            return False
    return True
