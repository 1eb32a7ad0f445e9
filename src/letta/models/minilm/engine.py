"""The local embedding model as one object: texts in, unit vectors out, in a thread of its own."""

import asyncio
import importlib
import importlib.util
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from letta.models.minilm import blas, weights
from letta.models.minilm.network import WIDTH, Network
from letta.models.minilm.onnx_network import OnnxNetwork
from letta.models.minilm.wordpiece import WordPiece

HANDLE = "letta/all-MiniLM-L6-v2"
DIMENSION = WIDTH
LONGEST = 256
"""Word pieces of a text the model looks at; what follows is left off."""
_TOKENS = 1024
"""Word pieces worked on at once: bounds memory, and how long a query waits behind a batch."""


class MiniLM:
    """all-MiniLM-L6-v2. Loads its weights on first use; safe for any number of tasks at once."""

    handle = HANDLE
    dimension = DIMENSION
    batch = 64

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loading = threading.Lock()
        self._model: tuple[WordPiece, Network | OnnxNetwork] | None = None
        # Queries have a thread of their own, so that they do not wait for a batch of documents.
        self._documents = ThreadPoolExecutor(1, thread_name_prefix="letta-embed")
        self._queries = ThreadPoolExecutor(1, thread_name_prefix="letta-embed-query")

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        """Unit vectors, one row per text."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._queries if query else self._documents, self.compute, texts)

    def compute(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The same, in the caller's thread."""
        words, network = self._loaded()
        encoded = [words.encode(text, LONGEST) for text in texts]
        order = sorted(range(len(encoded)), key=lambda index: len(encoded[index]))
        result = np.empty((len(encoded), DIMENSION), np.float32)
        start = 0
        while start < len(order):
            end, tokens = start, 0
            while end < len(order) and (tokens == 0 or tokens + len(encoded[order[end]]) <= _TOKENS):
                tokens += len(encoded[order[end]])
                end += 1
            chosen = order[start:end]
            result[chosen] = network.embed([encoded[index] for index in chosen])
            start = end
        return result

    def _loaded(self) -> tuple[WordPiece, Network | OnnxNetwork]:
        with self._loading:
            if self._model is None:
                blas.use_one_thread()
                self._model = WordPiece(weights.vocabulary(self._folder)), _network(weights.tensors(self._folder))
            return self._model

    async def aclose(self) -> None:
        """Nothing to close: the model is shared by all servers of the process."""


def _network(tensors: dict[str, NDArray[np.float32]]) -> Network | OnnxNetwork:
    """The forward pass: on onnxruntime where that is installed, else on numpy."""
    if importlib.util.find_spec("onnxruntime") is None:
        return Network(tensors)
    return OnnxNetwork(tensors, importlib.import_module("onnxruntime"))


@lru_cache(maxsize=4)
def load(folder: Path) -> MiniLM:
    """The model of a folder that `weights.find` gave, one per process."""
    return MiniLM(folder)
