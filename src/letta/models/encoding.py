"""JSON as bytes for the model wire: fast, and forgiving where models and servers are careless.

Knows nothing about providers.
"""

import json
from typing import Any

import orjson


def dumps(value: Any) -> bytes:
    """JSON bytes of `value`. Half surrogates, which no UTF-8 can hold, become `?`; integers may have any size."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain).encode("utf-8", "replace")


def _plain(value: Any) -> Any:
    if isinstance(value, orjson.Fragment):
        return orjson.loads(orjson.dumps(value))
    raise TypeError(f"{type(value).__name__} is not JSON")


def loads(data: bytes) -> Any:
    """The value of JSON bytes. Half surrogates in escapes become U+FFFD. Raises ValueError when it is not JSON."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        # The standard library reads half surrogates; strict readers downstream must not meet them.
        text = data.decode("utf-8", "replace")
        whole = json.dumps(json.loads(text), ensure_ascii=False)
        return json.loads(whole.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
