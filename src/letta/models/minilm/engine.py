"""The local embedding model as one object: texts in, unit vectors out, in a thread of its own."""

import asyncio
import importlib
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from letta.models.minilm import heap

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from letta.models.minilm.reader import Reader

HANDLE = "letta/all-MiniLM-L6-v2"
DIMENSION = 384
IDLE_SECONDS = 300.0
"""How long weights stay in memory that nobody uses: they take about 200 MB, and a second at most to load again."""


class MiniLM:
    """all-MiniLM-L6-v2. Loads its weights when they are used, and lets go of them after `idle` seconds without use.

    Safe for any number of tasks at once.
    """

    handle = HANDLE
    dimension = DIMENSION
    batch = 64

    def __init__(self, folder: Path, idle: float = IDLE_SECONDS) -> None:
        self._folder = folder
        self._idle = idle
        self._used = 0.0
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

    @property
    def is_loaded(self) -> bool:
        """Whether the weights are in memory."""
        return self._reader is not None

    def _loaded(self) -> "Reader":
        with self._loading:
            if self._reader is None:
                self._reader = importlib.import_module("letta.models.minilm.reader").Reader(self._folder)
                heap.give_back()
                self._look_again(self._idle)
            self._used = monotonic()
            return self._reader

    def _look_again(self, seconds: float) -> None:
        timer = threading.Timer(seconds, self._let_go)
        timer.daemon = True
        timer.start()

    def _let_go(self) -> None:
        """Drop the weights unless they were used lately; whoever is using them keeps them until it is done."""
        with self._loading:
            left = self._used + self._idle - monotonic()
            if left > 0:
                self._look_again(left)
                return
            self._reader = None
            heap.give_back()

    async def aclose(self) -> None:
        """Nothing to close: the model is shared by all servers of the process."""


@lru_cache(maxsize=4)
def load(folder: Path) -> MiniLM:
    """The model of a folder that `weights.find` gave, one per process."""
    return MiniLM(folder)
