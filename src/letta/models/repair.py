"""Turns the arguments a model wrote for a tool call into the JSON text of an object, or says exactly why not.

Models write trailing commas, single quotes, Python literals, code fences, and forget brackets at the end. What can be
read in one way only is read; nothing is guessed and nothing is dropped: two objects in one call are an error, not the
first of them, and so is a text that ends inside a name or a string. Knows nothing about tools or providers.
"""

import json
import math
import re
from dataclasses import dataclass
from typing import Any

import orjson

_FENCE = re.compile(r"\A```[a-zA-Z]*\s*(.*?)\s*(```)?\s*\Z", re.DOTALL)
_TAIL = re.compile(r"\A\s*(```|</?[a-zA-Z_|]+>|<\|[^|]*\|>|;)?\s*\Z")
_NAME = re.compile(r"[A-Za-z_$][\w$-]*")
_NUMBER = re.compile(r"[+-]?(\d[\d_]*\.?\d*|\.\d+)([eE][+-]?\d+)?")
_LITERALS: dict[str, Any] = {
    "true": True,
    "false": False,
    "null": None,
    "True": True,
    "False": False,
    "None": None,
    "undefined": None,
}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "/": "/", "\\": "\\", '"': '"', "'": "'"}
_KINDS = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
_DEEPEST = 100
_MOST_OBJECTS = 8


@dataclass(frozen=True, slots=True)
class Arguments:
    """`text` is the JSON text of an object when `error` is None, and what the model wrote otherwise."""

    text: str
    error: str | None = None


class _BrokenError(Exception):
    """The text cannot be read; the message says where and why."""


def arguments(text: str, *, cut_off: bool = False) -> Arguments:
    """Read the arguments of one call.

    Args:
        text: what the model wrote. Nothing at all means a call without arguments.
        cut_off: the answer ended at its output limit. Missing brackets are then an error rather than added: what else
            is missing could be anything.
    """
    stripped = text.strip()
    if not stripped:
        return Arguments("{}")
    try:
        value = orjson.loads(stripped)
    except orjson.JSONDecodeError:
        return _repaired(text, stripped, cut_off)
    if isinstance(value, dict):
        return Arguments(stripped)
    if isinstance(value, str) and value.lstrip().startswith("{"):  # JSON inside a JSON string
        return arguments(value, cut_off=cut_off)
    return Arguments("{}") if value is None else Arguments(text, _not_an_object(value))


def _repaired(text: str, stripped: str, cut_off: bool) -> Arguments:
    fenced = _FENCE.match(stripped)
    reader = _Reader(fenced[1] if fenced else stripped)
    value, broken = None, None
    try:
        value = reader.whole()
    except _BrokenError as error:
        broken = f"The arguments are not valid JSON: {error}. Send one JSON object."
    if reader.unfinished and cut_off:
        broken = "The answer reached its output limit inside the arguments: send the call again, shorter."
    if broken is not None:
        return Arguments(text, broken)
    if not isinstance(value, dict):
        return Arguments(text, _not_an_object(value))
    return Arguments(json.dumps(value, ensure_ascii=False))


def _not_an_object(value: Any) -> str:
    return f"The arguments must be one JSON object, not {_KINDS.get(type(value), 'null')}."


class _Reader:
    """A forgiving recursive reader over one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.unfinished = False
        self.objects = 1

    def whole(self) -> Any:
        value = self.value(0)
        rest = self.text[self.at :]
        if _TAIL.match(rest):
            return value
        if rest.lstrip(" \t\r\n,;").startswith("{"):
            return self._second(value)
        raise _BrokenError(f"unexpected text after the object {self._here()}")

    def _second(self, first: Any) -> Any:
        """A second object: the same again, or the real one after an empty one, is fine; two different are not."""
        self.objects += 1
        if self.objects > _MOST_OBJECTS:
            raise _BrokenError("there are many objects, one after the other; make one call for each")
        self._skip(",;")
        second = self.whole()
        if first in ({}, second):
            return second
        raise _BrokenError("there are two objects, one after the other; make one call for each")

    def value(self, depth: int) -> Any:
        if depth > _DEEPEST:
            raise _BrokenError(f"nested deeper than {_DEEPEST} levels")
        self._skip()
        if self.at >= len(self.text):
            self.unfinished = True
            return None
        first = self.text[self.at]
        if first == "{":
            return self._object(depth)
        if first == "[":
            return self._array(depth)
        if first in "\"'":
            return self._string()
        return self._plain()

    def _object(self, depth: int) -> dict[str, Any]:
        self.at += 1
        found: dict[str, Any] = {}
        while not self._closes("}"):
            key = self._key()
            self._skip()
            if self.at >= len(self.text):
                raise self._cut(f"after the name {key!r}")
            if self.text[self.at] != ":":
                raise _BrokenError(f"expected ':' after the name {key!r} {self._here()}")
            self.at += 1
            self._skip()
            if self.at >= len(self.text):
                raise self._cut(f"before the value of {key!r}")
            found[key] = self.value(depth + 1)
            self._comma("}")
        return found

    def _array(self, depth: int) -> list[Any]:
        self.at += 1
        found: list[Any] = []
        while not self._closes("]"):
            found.append(self.value(depth + 1))
            self._comma("]")
        return found

    def _closes(self, bracket: str) -> bool:
        self._skip()
        if self.at >= len(self.text):
            self.unfinished = True
            return True
        if self.text[self.at] == bracket:
            self.at += 1
            return True
        return False

    def _comma(self, bracket: str) -> None:
        self._skip()
        if self.at >= len(self.text) or self.text[self.at] == bracket:
            return
        if self.text[self.at] != ",":
            raise _BrokenError(f"expected ',' or '{bracket}' {self._here()}")
        self.at += 1
        self._skip()
        if self.at >= len(self.text):
            raise self._cut("after a comma")

    def _key(self) -> str:
        if self.text[self.at] in "\"'":
            return self._string()
        name = _NAME.match(self.text, self.at)
        if not name:
            raise _BrokenError(f"expected a name in quotes {self._here()}")
        self.at = name.end()
        return name[0]

    def _string(self) -> str:
        quote = self.text[self.at]
        self.at += 1
        found: list[str] = []
        while self.at < len(self.text):
            char = self.text[self.at]
            self.at += 1
            if char == quote:
                return _whole_characters("".join(found))
            found.append(self._escape() if char == "\\" else char)
        raise self._cut("inside a string")

    def _escape(self) -> str:
        char = self.text[self.at : self.at + 1]
        self.at += 1
        if char == "u":
            digits = self.text[self.at : self.at + 4]
            if re.fullmatch(r"[0-9a-fA-F]{4}", digits):
                self.at += 4
                return chr(int(digits, 16))
        if char == "\n":
            return ""
        # An escape JSON does not have (a path, a pattern) stands for its two characters.
        return _ESCAPES.get(char, "\\" + char)

    def _plain(self) -> Any:
        name = _NAME.match(self.text, self.at)
        if name and name[0] in _LITERALS:
            self.at = name.end()
            return _LITERALS[name[0]]
        if name and name.end() == len(self.text) and any(word.startswith(name[0]) for word in _LITERALS):
            raise self._cut(f"inside the value {name[0]!r}")
        number = _NUMBER.match(self.text, self.at)
        if not number:
            raise _BrokenError(f"expected a value {self._here()}")
        self.at = number.end()
        if self.at == len(self.text):
            self.unfinished = True
        digits = number[0].replace("_", "")
        if not math.isfinite(float(digits)):
            raise _BrokenError(f"the number {number[0][:20]} is too large")
        return int(digits) if digits.lstrip("+-").isdigit() else float(digits)

    def _skip(self, more: str = "") -> None:
        while self.at < len(self.text) and self.text[self.at] in " \t\r\n\ufeff" + more:
            self.at += 1

    def _cut(self, where: str) -> _BrokenError:
        """The text ends where more than a bracket is missing."""
        self.unfinished = True
        return _BrokenError(f"the text ends {where}")

    def _here(self) -> str:
        return f"at character {self.at + 1}, before {self.text[self.at : self.at + 20]!r}"


def _whole_characters(text: str) -> str:
    """Join escaped surrogate pairs into characters; a lone half becomes U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
