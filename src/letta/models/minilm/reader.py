"""The local model at work: words, weights and network together. Loaded when the first text is embedded."""

import importlib
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from letta.models.minilm import blas, weights
from letta.models.minilm.network import WIDTH, Network
from letta.models.minilm.onnx_network import OnnxNetwork
from letta.models.minilm.wordpiece import WordPiece

LONGEST = 256
"""Word pieces of a text the model looks at; what follows is left off."""
_TOKENS = 1024
"""Word pieces worked on at once: bounds memory, and how long a query waits behind a batch."""


class Reader:
    """The model of a folder that `weights.find` gave.

    Raises:
        letta.errors.ModelServerError: the files are not the published ones.
    """

    def __init__(self, folder: Path) -> None:
        weights.verify(folder)
        blas.use_one_thread()
        self._words = WordPiece(weights.vocabulary(folder))
        self._network = _network(tensors(folder))

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, one row per text."""
        encoded = [self._words.encode(text, LONGEST) for text in texts]
        order = sorted(range(len(encoded)), key=lambda index: len(encoded[index]))
        result = np.empty((len(encoded), WIDTH), np.float32)
        start = 0
        while start < len(order):
            end, tokens = start, 0
            while end < len(order) and (tokens == 0 or tokens + len(encoded[order[end]]) <= _TOKENS):
                tokens += len(encoded[order[end]])
                end += 1
            chosen = order[start:end]
            result[chosen] = self._network.embed([encoded[index] for index in chosen])
            start = end
        return result


def _network(found: dict[str, NDArray[np.float32]]) -> Network | OnnxNetwork:
    """The forward pass: on onnxruntime where that is installed, else on numpy."""
    if importlib.util.find_spec("onnxruntime") is None:
        return Network(found)
    return OnnxNetwork(found, importlib.import_module("onnxruntime"))


def tensors(folder: Path) -> dict[str, NDArray[np.float32]]:
    """Every float32 tensor of the file, by name, mapped from disk: read when it is used.

    The format is 8 bytes of header length (little endian), a JSON header, then the data.
    """
    file = folder / weights.WEIGHTS
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        header = json.loads(opened.read(length))
    data = np.memmap(file, dtype=np.uint8, mode="r", offset=8 + length)
    found: dict[str, NDArray[np.float32]] = {}
    for name, entry in header.items():
        if entry.get("dtype") == "F32":
            start, end = entry["data_offsets"]
            found[name] = data[start:end].view(np.float32).reshape(entry["shape"])
    return found
