"""The local embedding model as one object: texts in, unit vectors out, in a thread of its own."""

import asyncio
import importlib
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from letta.models.minilm.reader import Reader

HANDLE = "letta/all-MiniLM-L6-v2"
DIMENSION = 384


class MiniLM:
    """all-MiniLM-L6-v2. Loads its weights on first use; safe for any number of tasks at once."""

    handle = HANDLE
    dimension = DIMENSION
    batch = 64

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loading = threading.Lock()
        self._reader: Reader | None = None
        # Queries have a thread of their own, so that they do not wait for a batch of documents.
        self._documents = ThreadPoolExecutor(1, thread_name_prefix="letta-embed")
        self._queries = ThreadPoolExecutor(1, thread_name_prefix="letta-embed-query")

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> "NDArray[np.float32]":
        """Unit vectors, one row per text.

        Raises:
            letta.errors.ModelServerError: the files are not the published ones.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._queries if query else self._documents, self.compute, texts)

    def compute(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """The same, in the caller's thread."""
        return self._loaded().embed(texts)

    def _loaded(self) -> "Reader":
        with self._loading:
            if self._reader is None:
                self._reader = importlib.import_module("letta.models.minilm.reader").Reader(self._folder)
            return self._reader

    async def aclose(self) -> None:
        """Nothing to close: the model is shared by all servers of the process."""


@lru_cache(maxsize=4)
def load(folder: Path) -> MiniLM:
    """The model of a folder that `weights.find` gave, one per process."""
    return MiniLM(folder)
