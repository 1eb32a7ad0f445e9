"""Secrets taken out of what a tool said, before anybody stores or sees it."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

_SHORTEST = 4
"""Shorter values occur by chance: taking them out would only garble."""

T = TypeVar("T")


def redacted(value: T, secrets: Mapping[str, str]) -> T:
    """The same JSON with each value of a secret replaced by `[secret NAME]`, in keys and texts at any depth.

    Values of fewer than four characters stay. A value that was changed by the tool (reversed, encoded) is not found.
    """
    found: dict[str, str] = {}
    for name, secret in secrets.items():
        if len(secret) >= _SHORTEST:
            # Also as it looks inside of JSON text.
            for form in (secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
                found[form] = f"[secret {name}]"
    # The longest first: one secret may be a part of another.
    ordered = sorted(found.items(), key=lambda pair: -len(pair[0]))
    made: T = _cleaned(value, ordered) if ordered else value
    return made


def _cleaned(value: Any, secrets: list[tuple[str, str]]) -> Any:
    if isinstance(value, str):
        for secret, name in secrets:
            value = value.replace(secret, name)
        return value
    if isinstance(value, list):
        return [_cleaned(item, secrets) for item in value]
    if isinstance(value, dict):
        return {_cleaned(key, secrets): _cleaned(item, secrets) for key, item in value.items()}
    return value
