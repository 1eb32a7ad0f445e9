"""The forward pass of MiniLM-L6 (a BERT of 6 layers, 12 heads, 384 wide) in numpy, exact to about 1e-6.

Texts of different lengths go through together without padding: everything but attention works on one long list of
tokens, and attention takes the texts of one length at a time. Knows nothing of words.

Weights are kept in tiles of a few columns. OpenBLAS multiplies small matrices without rearranging them first, which for
the dozen tokens of a query is most of the work; the tiles keep products that small, and cost long texts nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Bounds = list[tuple[int, int, int]]

LAYERS, HEADS, WIDTH = 6, 12, 384
_HEAD = WIDTH // HEADS
_EPSILON = np.float32(1e-12)
# Columns of a tile: rows x columns x depth of a product must stay below a million.
_TILE, _DEEP_TILE = 64, 32
# Rows of the widest intermediate result worked on at a time: what fits into a core's cache.
_ROWS = 128

# The Gaussian error function as tanh(x * (a + b*x^2 + c*x^4)): the curve of GELU to 3e-5, at a third of its price.
_A, _B, _C = np.float32(0.797507881), np.float32(0.0370056490), np.float32(-0.000351517233)
_FLAT = np.float32(36.0)


class _Layer(NamedTuple):
    qkv: Array
    qkv_bias: Array
    out: Array
    out_bias: Array
    norm1: tuple[Array, Array]
    up: Array
    up_bias: Array
    down: Array
    down_bias: Array
    norm2: tuple[Array, Array]


class Network:
    """The weights, laid out for use. `tensors` are named as in the published file."""

    def __init__(self, tensors: dict[str, Array]) -> None:
        self._words = tensors["embeddings.word_embeddings.weight"]
        positions = tensors["embeddings.position_embeddings.weight"]
        self._positions = positions + tensors["embeddings.token_type_embeddings.weight"][0]
        self._norm = _pair(tensors, "embeddings.LayerNorm")
        self._layers = [_layer(tensors, f"encoder.layer.{number}.") for number in range(LAYERS)]

    def embed(self, texts: Sequence[Sequence[int]]) -> Array:
        """One unit vector (384 numbers) per text; a text is a list of at most 512 numbers of word pieces."""
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        lengths = np.array([len(texts[index]) for index in order])
        tokens = np.concatenate([np.asarray(texts[index]) for index in order])
        places = np.concatenate([np.arange(length) for length in lengths])
        state = self._words[tokens] + self._positions[places]
        _normalise(state, self._norm)
        bounds = _bounds(lengths)
        for layer in self._layers:
            state = _step(state, layer, bounds)
        starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
        means: Array = np.add.reduceat(state, starts, axis=0)
        means /= lengths[:, None]
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        result: Array = np.empty_like(means)
        result[order] = means
        return result


def _pair(tensors: dict[str, Array], name: str) -> tuple[Array, Array]:
    return np.array(tensors[f"{name}.weight"]), np.array(tensors[f"{name}.bias"])


def _layer(tensors: dict[str, Array], prefix: str) -> _Layer:
    attention, dense = prefix + "attention.", "output.dense"
    parts = [f"{attention}self.{name}" for name in ("query", "key", "value")]
    scale = np.float32(_HEAD**-0.5)
    qkv = np.concatenate([tensors[f"{part}.weight"] for part in parts]).T.copy()
    bias = np.concatenate([tensors[f"{part}.bias"] for part in parts])
    # The scale of the attention scores, and the half of GELU, are multiplied into the weights once.
    qkv[:, :WIDTH] *= scale
    bias[:WIDTH] *= scale
    return _Layer(
        _tiles(qkv, _TILE),
        bias,
        _tiles(tensors[f"{attention}{dense}.weight"].T, _TILE),
        np.array(tensors[f"{attention}{dense}.bias"]),
        _pair(tensors, f"{attention}output.LayerNorm"),
        _tiles(tensors[f"{prefix}intermediate.dense.weight"].T, _TILE),
        np.array(tensors[f"{prefix}intermediate.dense.bias"]),
        _tiles(tensors[f"{prefix}{dense}.weight"].T * np.float32(0.5), _DEEP_TILE),
        np.array(tensors[f"{prefix}{dense}.bias"]),
        _pair(tensors, f"{prefix}output.LayerNorm"),
    )


def _tiles(weights: Array, columns: int) -> Array:
    """A matrix (depth, width) as (width / columns, depth, columns), each tile in one piece of memory."""
    depth, width = weights.shape
    return np.ascontiguousarray(weights.reshape(depth, width // columns, columns).transpose(1, 0, 2))


def _product(state: Array, tiles: Array) -> Array:
    """`state` times the matrix of these tiles."""
    return (state @ tiles).transpose(1, 0, 2).reshape(len(state), -1)


def _bounds(lengths: NDArray[np.int64]) -> Bounds:
    """Runs of texts of one length: (first token, number of texts, length)."""
    found: Bounds = []
    token = 0
    for length, count in zip(*np.unique(lengths, return_counts=True), strict=True):
        found.append((token, int(count), int(length)))
        token += int(count) * int(length)
    return found


def _step(state: Array, layer: _Layer, bounds: Bounds) -> Array:
    qkv = _product(state, layer.qkv)
    qkv += layer.qkv_bias
    attended = _product(_attention(qkv, bounds), layer.out)
    attended += layer.out_bias
    attended += state
    _normalise(attended, layer.norm1)
    for start in range(0, len(attended), _ROWS):
        rows = attended[start : start + _ROWS]
        wide = _product(rows, layer.up)
        wide += layer.up_bias
        narrow = _product(_gelu_doubled(wide), layer.down)
        narrow += layer.down_bias
        rows += narrow
        _normalise(rows, layer.norm2)
    return attended


def _attention(qkv: Array, bounds: Bounds) -> Array:
    result = np.empty((len(qkv), WIDTH), np.float32)
    for start, count, length in bounds:
        end = start + count * length
        mine = qkv[start:end].reshape(count, length, 3, HEADS, _HEAD).transpose(2, 0, 3, 1, 4)
        scores = mine[0] @ mine[1].swapaxes(-1, -2)
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        result[start:end] = (scores @ mine[2]).transpose(0, 2, 1, 3).reshape(end - start, WIDTH)
    return result


def _normalise(state: Array, norm: tuple[Array, Array]) -> None:
    """Layer norm, in place."""
    state -= state.mean(axis=1, keepdims=True)
    variance = np.einsum("ij,ij->i", state, state)[:, None] / np.float32(WIDTH)
    state /= np.sqrt(variance + _EPSILON)
    state *= norm[0]
    state += norm[1]


def _gelu_doubled(x: Array) -> Array:
    """Twice GELU: x * (1 + erf(x / sqrt 2)); the next weights are halved."""
    square = x * x
    np.minimum(square, _FLAT, out=square)
    curve = square * _C
    curve += _B
    curve *= square
    curve += _A
    curve *= x
    np.tanh(curve, out=curve)
    curve += 1.0
    curve *= x
    return curve
