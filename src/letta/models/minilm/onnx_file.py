"""An ONNX model as bytes: nodes, weights, inputs and outputs, in protocol buffers' wire format. Knows no network.

Written by hand because the `onnx` package is large and needed for nothing else. Field numbers are those of onnx.proto.
"""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FLOAT, _INT64 = 1, 7
_OPSET, _IR = 17, 8
_TYPES = {np.dtype(np.float32): _FLOAT, np.dtype(np.int64): _INT64}


class Graph:
    """A graph under construction. Values are known by their names; `node` and `weight` answer new ones."""

    def __init__(self) -> None:
        self._parts: list[bytes] = [_text(2, "g")]
        self._count = 0

    def weight(self, value: NDArray[Any]) -> str:
        """A constant: float32 or int64."""
        name = self._name()
        dims = b"".join(_number(1, size) for size in value.shape)
        data = np.ascontiguousarray(value)
        tensor = dims + _number(2, _TYPES[value.dtype]) + _text(8, name) + _bytes(9, data.tobytes())
        self._parts.append(_bytes(5, tensor))
        return name

    def node(self, kind: str, *inputs: str, **attributes: int | float | Sequence[int]) -> str:
        """The one result of an operation."""
        name = self._name()
        fields = b"".join(_text(1, given) for given in inputs) + _text(2, name) + _text(4, kind)
        fields += b"".join(_bytes(5, _attribute(key, value)) for key, value in attributes.items())
        self._parts.append(_bytes(1, fields))
        return name

    def input(self, name: str, kind: type[np.generic], shape: Sequence[str]) -> str:
        """A named input; dimensions are names, because they differ from call to call."""
        self._parts.append(_bytes(11, _value(name, _TYPES[np.dtype(kind)], shape)))
        return name

    def output(self, value: str, name: str, shape: Sequence[str]) -> None:
        """Make a float32 value a result of the graph, under a name."""
        self._parts.append(_bytes(1, _text(1, value) + _text(2, name) + _text(4, "Identity")))
        self._parts.append(_bytes(12, _value(name, _FLOAT, shape)))

    def model(self) -> bytes:
        """The whole file."""
        return _number(1, _IR) + _bytes(7, b"".join(self._parts)) + _bytes(8, _text(1, "") + _number(2, _OPSET))

    def _name(self) -> str:
        self._count += 1
        return f"v{self._count}"


def _attribute(name: str, value: int | float | Sequence[int]) -> bytes:
    if isinstance(value, float):
        return _text(1, name) + _varint(2 << 3 | 5) + struct.pack("<f", value) + _number(20, 1)
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, 2)
    return _text(1, name) + b"".join(_number(8, item) for item in value) + _number(20, 7)


def _value(name: str, kind: int, shape: Sequence[str]) -> bytes:
    dims = b"".join(_bytes(1, _text(2, dimension)) for dimension in shape)
    return _text(1, name) + _bytes(2, _bytes(1, _number(1, kind) + _bytes(2, dims)))


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    made = bytearray()
    while value >= 0x80:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())
