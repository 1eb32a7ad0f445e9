"""What a request that sends messages, now or later, says about itself: is it new, or was it sent before?

Three things tell: the header `Idempotency-Key`, the `otid`s of the messages, and the number with which the official
SDKs count their own retries. Knows nothing of what is done about it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import blake2b
from typing import Annotated

import orjson
from fastapi import Depends, Header, Request

from letta.api.context import Server
from letta.errors import InvalidValue
from letta.schemas.batches import CreateBatch
from letta.schemas.common import Body
from letta.schemas.schedules import CreateSchedule
from letta.schemas.sends import ApprovalInput, BusyPolicy, MessageInput, SendRequest, ToolReturnMessageInput
from letta.store.query import now
from letta.store.repeats import KEY_HEADER, Arrival

Said = MessageInput | ApprovalInput | ToolReturnMessageInput

_LONGEST_KEY = 255
_PATIENCE = 60.0
"""Seconds an SDK waits for an answer when it does not say how long."""
_PAUSE = 10.0
"""Seconds between two tries of an SDK, at most."""
# What says how the answer is wanted. It may differ when the same is sent again.
_SHOWN = {
    "streaming", "stream_tokens", "include_pings", "background", "include_return_message_types", "callback_url",
    "include_compaction_messages", "use_assistant_message", "assistant_message_tool_name",
    "assistant_message_tool_kwarg", "busy_policy", "agent_id",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Marks:
    """What the headers of a request say: its key, how often it was tried before, and for how long each time.

    Without `counted` nobody counts. `request` is the request itself.
    """

    key: str | None = None
    counted: bool = False
    retries: int = 0
    patience: float = _PATIENCE
    request: Request | None = None


async def _marks(
    request: Request,
    key: Annotated[
        str | None,
        Header(alias=KEY_HEADER, description="The same key and body again: what is there already is the answer"),
    ] = None,
) -> Marks:
    if key is not None and not 1 <= len(key.strip()) <= _LONGEST_KEY:
        raise InvalidValue(f"{KEY_HEADER}: between 1 and {_LONGEST_KEY} characters")
    count = _number(request.headers, "x-stainless-retry-count")
    patience = _number(request.headers, "x-stainless-read-timeout") or _number(request.headers, "x-stainless-timeout")
    return Marks(key.strip() if key else None, count is not None, int(count or 0), patience or _PATIENCE, request)


Marked = Annotated[Marks, Depends(_marks)]


def _number(headers: Mapping[str, str], name: str) -> float | None:
    try:
        value = float(headers.get(name, ""))
    except ValueError:
        return None
    return value if 0 <= value < 1e6 else None


def arrival_of(body: SendRequest, marks: Marks, default: BusyPolicy, lifetime: timedelta) -> Arrival:
    """How a request arrived. `default` is what its route does while the conversation is busy."""
    return replace(_arrival(body, _SHOWN, body.inputs(), marks, lifetime), default=default)


def arrival_of_batch(parts: Server, body: CreateBatch, marks: Marks) -> Arrival:
    """How a batch arrived."""
    items = [item for request in body.requests for item in request.inputs()]
    return _arrival_of_whole(parts, body, items, marks)


def arrival_of_schedule(parts: Server, body: CreateSchedule, marks: Marks) -> Arrival:
    """How a schedule arrived. Its `otid`s say nothing of it: one message may be said by many schedules."""
    return _arrival_of_whole(parts, body, (), marks)


def _arrival_of_whole(parts: Server, body: Body, items: Sequence[Said], marks: Marks) -> Arrival:
    """Nothing in the body is left out of account: all of it is stored, and the answer has one form."""
    lifetime = timedelta(hours=parts.settings.request_key_hours)
    return replace(_arrival(body, set(), items, marks, lifetime), answered=parts.runner.answered)


def _arrival(body: Body, shown: set[str], items: Sequence[Said], marks: Marks, lifetime: timedelta) -> Arrival:
    otids = [item.otid for item in items]
    named = bool(otids) and all(otids)
    if marks.key is None and not named and not marks.counted:
        return Arrival()
    moment = now()
    digest = _digest(body, shown)
    if marks.key is not None:
        return Arrival(key=f"key:{marks.key}", digest=digest, known_since=moment - lifetime)
    if named:
        # Another text under the same otids is another message.
        key = f"otids:{_hash(orjson.dumps(otids))}:{digest}"
        return Arrival(key=key, digest=digest, known_since=moment - lifetime)
    tried = timedelta(seconds=marks.retries * (marks.patience + _PAUSE))
    again_since = moment - min(tried, lifetime) if marks.retries else None
    return Arrival(digest=digest, again_since=again_since)


async def note_answered(parts: Server, marks: Marks, made_id: str) -> None:
    """Remember whose caller was there to take the answer: an SDK tries again only without one."""
    if marks.request is None or not marks.counted or marks.key is not None:
        return
    if not await marks.request.is_disconnected():
        parts.runner.note_answered(made_id)


def _digest(body: Body, shown: set[str]) -> str:
    """The same for requests that ask for the same, however they want it `shown`."""
    asked = body.model_dump(mode="json", exclude_unset=True, exclude=shown)
    return _hash(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS))


def _hash(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()
