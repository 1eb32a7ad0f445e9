"""Modules made of text that is in no file, with tracebacks that show its lines all the same. Runs inside a sandbox."""

import importlib.abc
import importlib.machinery
import importlib.util
import linecache
import sys
import types
from typing import Any


class TextLoader(importlib.abc.InspectLoader):
    """Loads a module from its text."""

    def __init__(self, path: str, text: str) -> None:
        self._path, self._text = path, text

    def get_source(self, fullname: str) -> str:
        return self._text

    def get_code(self, fullname: str) -> types.CodeType:
        return self.source_to_code(self._text, self._path)


def load(name: str, path: str, text: str, **given: Any) -> types.ModuleType:
    """A module of this text, in which the names given are known from the start. Raises what its code raises."""
    # The lines are put where tracebacks look for them: there is no file.
    linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)
    loader = TextLoader(path, text)
    module = importlib.util.module_from_spec(importlib.machinery.ModuleSpec(name, loader, origin=path))
    module.__dict__.update(given)
    sys.modules[name] = module
    loader.exec_module(module)
    return module
