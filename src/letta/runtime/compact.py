"""Compaction carried out: choose what goes, have it summarised, and move the conversation's window.

Nothing is lost: what leaves the window stays stored, listed and searchable.
"""

import logging
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection

from letta.errors import Conflict, InvalidRequest, LettaError, ModelError, NotFound
from letta.memory.compaction import (
    DEFAULT_CLIP,
    Cut,
    choose_cut,
    mechanical_summary,
    self_summarize,
    summarize,
)
from letta.memory.tokens import Ledger, estimate
from letta.memory.window import Window
from letta.models.protocol import ModelRequest
from letta.models.provider import Resolved
from letta.models.registry import Registry
from letta.runtime.recording import Record
from letta.schemas.common import new_id
from letta.schemas.compaction import CompactionMode, CompactionSettings
from letta.schemas.messages import Message, Role, TextPart
from letta.store import conversations, messages, runs
from letta.store.access import P, StoreFunction, T
from letta.store.conversations import Thread
from letta.store.query import now
from letta.store.runs import Versions

log = logging.getLogger(__name__)

# A quick model of each provider, for summaries; the agent's own when it is not to be had.
_QUICK = {
    "openai": "gpt-5-mini",
    "anthropic": "claude-haiku-4-5",
    "google_ai": "gemini-2.5-flash",
}
_SELF = (CompactionMode.SELF_COMPACT_ALL, CompactionMode.SELF_COMPACT_SLIDING_WINDOW)


@dataclass(frozen=True, slots=True)
class Occasion:
    """Why and for whom to compact. `limit` and `fixed` (what prompt and tools take) are in tokens.

    `record` is told of the summary, in a run that has one.
    """

    trigger: str
    limit: int
    fixed: int
    resolved: Resolved
    request: ModelRequest
    run_id: str | None = None
    step_id: str | None = None
    record: Record | None = None


class Write(Protocol):
    """`letta.store.access.Database.write`, or something that does the same."""

    async def __call__(self, function: StoreFunction[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...


@dataclass(frozen=True, slots=True)
class Compacted:
    """The summary that was stored, and the versions before and after."""

    message: Message
    versions: Versions
    kept: int


async def compact(
    write: Write,
    registry: Registry,
    ledger: Ledger,
    window: Window,
    settings: CompactionSettings,
    occasion: Occasion,
) -> Compacted | None:
    """Replace the older part of a window by a summary. None when there is nothing that could go.

    Raises:
        letta.errors.Conflict: the conversation was changed meanwhile; nothing was written.
    """
    handle = occasion.resolved.handle
    factor = ledger.factor(handle)
    cut = choose_cut(window.messages, settings, window=occasion.limit, fixed=occasion.fixed, factor=factor)
    if cut is None:
        return None
    text = await _written(registry, occasion, cut, settings)
    summary = _summary(window, cut, text, occasion, factor)
    if occasion.record is None:
        versions = await write(_store, window.thread, cut.position, summary)
    else:
        async with occasion.record.committing():
            versions = await write(_store, window.thread, cut.position, summary, occasion.record)
    log.info("compacted %s messages into a summary (%s)", len(cut.evicted), occasion.trigger)
    return Compacted(summary, versions, len(cut.kept) + 1)


async def _written(registry: Registry, occasion: Occasion, cut: Cut, settings: CompactionSettings) -> str:
    """The summary by the first way that works; the last needs no model."""
    clip = settings.clip_chars or DEFAULT_CLIP
    if settings.mode in _SELF:
        try:
            return await self_summarize(occasion.request, occasion.resolved, settings)
        except ModelError as error:
            log.warning("the agent's model could not summarise its own conversation: %s", error.message)
    for resolved in _summarizers(registry, occasion.resolved, settings):
        try:
            return await summarize(resolved, cut.evicted, settings)
        except ModelError as error:
            log.warning("%s could not summarise: %s", resolved.handle, error.message)
    return mechanical_summary(cut.evicted, clip)


def _summarizers(registry: Registry, own: Resolved, settings: CompactionSettings) -> list[Resolved]:
    """The configured model, or a quick one of the same provider; then the agent's own."""
    quick = _QUICK.get(own.provider)
    wanted = settings.model or (f"{own.provider}/{quick}" if quick else None)
    found = []
    if wanted is not None:
        try:
            found.append(registry.resolve(wanted))
        except LettaError as error:
            log.info("summaries are written by %s: %s", own.handle, error.message)
    return [*found, own]


def _summary(window: Window, cut: Cut, text: str, occasion: Occasion, factor: float) -> Message:
    message = Message(
        id=new_id("message"),
        role=Role.SUMMARY,
        parts=[TextPart(text=text)],
        agent_id=window.agent.id,
        conversation_id=window.thread.id,
        created_at=now(),
        run_id=occasion.run_id,
        step_id=occasion.step_id,
    )
    after = [message, *cut.kept]
    message.data = {
        "stats": {
            "trigger": occasion.trigger,
            "context_tokens_before": occasion.fixed + round(estimate((), window.messages) * factor),
            "context_tokens_after": occasion.fixed + round(estimate((), after) * factor),
            "context_window": occasion.limit,
            "messages_count_before": len(window.messages) + 1,
            "messages_count_after": len(after) + 1,
        }
    }
    return message


def _store(
    connection: Connection, seen: Thread, start: int, summary: Message, record: Record | None = None
) -> Versions:
    thread = conversations.thread(connection, seen.id)
    if thread.window_start != seen.window_start or thread.summary_message_id != seen.summary_message_id:
        raise Conflict(f"conversation {seen.id} was compacted or reset by somebody else at the same time")
    summary.position = conversations.advance(connection, seen.id, 1, summary.created_at) - 1
    # A fork from between this summary and the next one begins its window here, too.
    summary.data = {**(summary.data or {}), "window_start": start}
    messages.add(connection, [summary])
    if record is not None:
        record.write(connection, [summary])
    pending = thread.pending_message_id
    conversations.move_window(connection, seen.id, start, summary.id)
    if pending is not None:
        conversations.set_pending(connection, seen.id, pending)
    return runs.current_versions(connection, thread.agent_id, seen.id)


async def check_writer(registry: Registry, settings: CompactionSettings | None) -> None:
    """See to it that the model settings name can be had, while somebody is there to be told.

    Raises:
        letta.errors.InvalidRequest, letta.errors.NotFound: as `Registry.find`; the message names the field.
    """
    if settings is None or settings.model is None:
        return
    try:
        await registry.find(settings.model)
    except (InvalidRequest, NotFound) as error:
        raise type(error)(f"compaction_settings.model: {error.message}") from error


def settings_of(window: Window, override: CompactionSettings | None = None) -> CompactionSettings:
    """The agent's settings with an override on top."""
    base: dict[str, Any] = {}
    for settings in (window.agent.compaction_settings, override):
        if settings is not None:
            base |= settings.model_dump(exclude_none=True)
    return CompactionSettings.model_validate(base)
