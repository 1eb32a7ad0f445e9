"""Provider state inside our parts: what pydantic-ai keeps beside a part's content, as one opaque text.

The text lives in the `signature` of a part. It is only ever read here, and only sent back to where it came from.
"""

from typing import Any, TypedDict

import orjson

from letta.models import encoding

_MARK = '{"pydantic_ai":'


class State(TypedDict, total=False):
    """The fields beside the content: the provider's id of the part, its signature, and its details."""

    id: str
    signature: str
    provider_details: dict[str, Any]


def packed(part: Any, *, with_id: bool = False) -> str | None:
    """The state of a pydantic-ai part; None when there is none, a bare signature as it is.

    Ids are kept for reasoning only. They point to what the provider stored, and nothing is stored there: texts and
    calls are sent back whole, as OpenAI's own stateless client does it.
    """
    fields = State.__optional_keys__ if with_id else State.__optional_keys__ - {"id"}
    found = {name: value for name in sorted(fields) if (value := getattr(part, name, None))}
    if not found:
        return None
    if found.keys() == {"signature"}:
        return str(found["signature"])
    return encoding.dumps({"pydantic_ai": orjson.Fragment(orjson.dumps(found, default=str))}).decode()


def unpacked(signature: str | None) -> State:
    """What `packed` made of a part; empty for None."""
    if not signature:
        return State()
    if not signature.startswith(_MARK):
        return State(signature=signature)
    found: State = encoding.loads(signature.encode())["pydantic_ai"]
    return found
