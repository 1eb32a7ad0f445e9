"""Tool names and call ids in a form a provider accepts, always the same for the same input.

Knows nothing about messages. A name or id that is acceptable as it is stays as it is.
"""

import re
from collections.abc import Iterable
from hashlib import sha256
from uuid import uuid4

_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def new_call_id() -> str:
    """An id for a call whose server gave none."""
    return f"call_{uuid4().hex[:24]}"


def tool_name(name: str) -> str:
    """`name` in letters, digits, `_` and `-`, at most 64 of them. A changed name ends in a mark of the original one."""
    if _TOOL_NAME.fullmatch(name):
        return name
    mark = sha256(name.encode()).hexdigest()[:6]
    return f"{re.sub(r'[^a-zA-Z0-9_-]', '_', name)[:57]}_{mark}"


def originals(names: Iterable[str]) -> dict[str, str]:
    """The names that had to be changed: changed name to original."""
    return {tool_name(name): name for name in names if not _TOOL_NAME.fullmatch(name)}


def call_id(id_: str, pattern: re.Pattern[str]) -> str:
    """`id_` if it matches `pattern` as a whole, else nine or more letters and digits made from it.

    Nine are what the strictest provider (Mistral) takes; others get `call_` and 24.
    """
    if pattern.fullmatch(id_):
        return id_
    digest = sha256(id_.encode("utf-8", "replace"))
    longer = f"call_{digest.hexdigest()[:24]}"
    if pattern.fullmatch(longer):
        return longer
    number, letters = int.from_bytes(digest.digest()), ""
    for _ in range(9):
        number, digit = divmod(number, 62)
        letters += _BASE62[digit]
    return letters


def provider_of(handle: str | None) -> str:
    """The provider part of a handle (`openai` of `openai/gpt-5`), or an empty string."""
    provider = (handle or "").partition("/")[0]
    return "openai" if provider == "openai-proxy" else provider
