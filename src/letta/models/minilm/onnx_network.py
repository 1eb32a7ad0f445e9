"""The forward pass of MiniLM-L6 on onnxruntime, which is faster than numpy. Same weights, same vectors.

The graph is made from the published weights when it is loaded. Needs the extra `onnx`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from letta.models.minilm.network import HEADS, LAYERS, WIDTH
from letta.models.minilm.onnx_file import Graph

Array = NDArray[np.float32]
_HEAD = WIDTH // HEADS
_NOTHING = np.float32(-1e9)


class OnnxNetwork:
    """As `letta.models.minilm.network.Network`. `runtime` is the onnxruntime module."""

    def __init__(self, tensors: dict[str, Array], runtime: Any) -> None:
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = runtime.InferenceSession(_graph(tensors), options, providers=["CPUExecutionProvider"])

    def embed(self, texts: Sequence[Sequence[int]]) -> Array:
        """One unit vector (384 numbers) per text; a text is a list of at most 512 numbers of word pieces."""
        lengths = np.array([len(text) for text in texts])
        tokens = np.zeros((len(texts), lengths.max()), np.int64)
        for row, text in zip(tokens, texts, strict=True):
            row[: len(text)] = text
        held = np.arange(tokens.shape[1]) < lengths[:, None]
        bias = np.where(held, np.float32(0), _NOTHING)[:, None, None, :]
        places = np.arange(tokens.shape[1])
        [state] = self._session.run(["state"], {"tokens": tokens, "places": places, "bias": bias})
        means: Array = np.einsum("btd,bt->bd", state, held.astype(np.float32))
        means /= lengths[:, None]
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        return means


def _graph(tensors: dict[str, Array]) -> bytes:
    graph = Graph()
    tokens = graph.input("tokens", np.int64, ("batch", "length"))
    places = graph.input("places", np.int64, ("length",))
    bias = graph.input("bias", np.float32, ("batch", "one", "one2", "length"))
    words = graph.node("Gather", graph.weight(tensors["embeddings.word_embeddings.weight"]), tokens)
    positions = tensors["embeddings.position_embeddings.weight"] + tensors["embeddings.token_type_embeddings.weight"][0]
    state = graph.node("Add", words, graph.node("Gather", graph.weight(positions), places))
    state = _norm(graph, tensors, "embeddings.LayerNorm", state)
    for number in range(LAYERS):
        state = _layer(graph, tensors, f"encoder.layer.{number}.", state, bias)
    graph.output(state, "state", ("batch", "length", "width"))
    return graph.model()


def _layer(graph: Graph, tensors: dict[str, Array], prefix: str, state: str, bias: str) -> str:
    attention = f"{prefix}attention."
    query, key, value = (
        _heads(graph, _linear(graph, tensors, f"{attention}self.{name}", state)) for name in ("query", "key", "value")
    )
    scores = graph.node("MatMul", query, graph.node("Transpose", key, perm=(0, 1, 3, 2)))
    scores = graph.node("Mul", scores, graph.weight(np.array(_HEAD**-0.5, np.float32)))
    weights = graph.node("Softmax", graph.node("Add", scores, bias), axis=-1)
    joined = graph.node("Transpose", graph.node("MatMul", weights, value), perm=(0, 2, 1, 3))
    joined = graph.node("Reshape", joined, graph.weight(np.array([0, 0, WIDTH], np.int64)))
    attended = graph.node("Add", _linear(graph, tensors, f"{attention}output.dense", joined), state)
    attended = _norm(graph, tensors, f"{attention}output.LayerNorm", attended)
    wide = _gelu(graph, _linear(graph, tensors, f"{prefix}intermediate.dense", attended))
    made = graph.node("Add", _linear(graph, tensors, f"{prefix}output.dense", wide), attended)
    return _norm(graph, tensors, f"{prefix}output.LayerNorm", made)


def _heads(graph: Graph, value: str) -> str:
    split = graph.node("Reshape", value, graph.weight(np.array([0, 0, HEADS, _HEAD], np.int64)))
    return graph.node("Transpose", split, perm=(0, 2, 1, 3))


def _linear(graph: Graph, tensors: dict[str, Array], name: str, value: str) -> str:
    product = graph.node("MatMul", value, graph.weight(tensors[f"{name}.weight"].T))
    return graph.node("Add", product, graph.weight(tensors[f"{name}.bias"]))


def _norm(graph: Graph, tensors: dict[str, Array], name: str, value: str) -> str:
    scale, shift = (graph.weight(tensors[f"{name}.{part}"]) for part in ("weight", "bias"))
    return graph.node("LayerNormalization", value, scale, shift, axis=-1, epsilon=1e-12)


def _gelu(graph: Graph, value: str) -> str:
    scaled = graph.node("Mul", value, graph.weight(np.array(0.5**0.5, np.float32)))
    grown = graph.node("Add", graph.node("Erf", scaled), graph.weight(np.array(1, np.float32)))
    return graph.node("Mul", graph.node("Mul", value, grown), graph.weight(np.array(0.5, np.float32)))
