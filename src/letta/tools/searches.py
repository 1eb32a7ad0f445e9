"""The tools that search memory: conversations and archives. They run between transactions: meaning takes a model.

Knows how results are shown to a model; finding them is `letta.memory.recall`'s.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from letta.errors import ToolFailed
from letta.memory import archival
from letta.memory.archival import Question
from letta.memory.recall import Recall, moment
from letta.schemas.messages import Message
from letta.store import messages, search
from letta.store.access import Database
from letta.store.pieces import MESSAGE
from letta.store.query import now
from letta.store.search import Wanted
from letta.tools import builtin
from letta.tools.archival import RESULTS
from letta.tools.context import Errand, ErrandRunner, ToolResult
from letta.tools.recall import DEFAULT_RESULTS
from letta.tools.toolbox import checked

CONVERSATION, ARCHIVAL = "conversation_search", "archival_memory_search"
_MOST_RESULTS = 100
# What the agent asked in its searches says what was looked for, not what was said.
_SEARCHES = frozenset({CONVERSATION, ARCHIVAL})


class Searches:
    """The search tools of a server."""

    def __init__(self, database: Database, recall: Recall) -> None:
        self._database = database
        self._recall = recall

    def runners(self) -> Mapping[str, ErrandRunner]:
        """Who carries out which tool, by its name."""
        return {CONVERSATION: self.conversation, ARCHIVAL: self.archival}

    async def conversation(self, errand: Errand) -> ToolResult:
        """Search everything said in the agent's conversations, but not in the turn under way.

        Raises:
            letta.errors.LettaError: arguments that do not fit; the message is for the model.
        """
        given = checked(errand.arguments, builtin.BY_NAME[CONVERSATION].accepted)
        zone = ZoneInfo(errand.agent.timezone or "UTC")
        limit = _limit("limit", given, DEFAULT_RESULTS)
        roles = tuple(role for role in given.get("roles") or () if role != "tool")
        if given.get("roles") and not roles:
            return ToolResult("No messages found: results of tools are not searched.")
        wanted = Wanted(
            MESSAGE,
            given.get("query") or "",
            (errand.agent.id,),
            roles=roles or ("user", "assistant"),
            after=moment(given.get("start_date"), zone, "start_date", end_of_day=False),
            before=moment(given.get("end_date"), zone, "end_date", end_of_day=True),
            # More than asked for, because some of what is found is not shown.
            limit=limit * 2 + 10,
        )
        found, known = await self._recall.find(wanted, messages.named)
        shown = [
            (known[hit.item_id], hit)
            for hit in found.hits
            if hit.item_id in known and _is_worth_showing(known[hit.item_id], errand.run_id)
        ][:limit]
        if not shown:
            return ToolResult("No messages found.")
        present = now()
        results = [_message(message, hit, zone, present) for message, hit in shown]
        return _answer({"count": len(results), "results": results, "search": found.mode})

    async def archival(self, errand: Errand) -> ToolResult:
        """Search what the agent keeps in its archives.

        Raises:
            letta.errors.LettaError: arguments that do not fit; the message is for the model.
        """
        given = checked(errand.arguments, builtin.BY_NAME[ARCHIVAL].accepted)
        zone = ZoneInfo(errand.agent.timezone or "UTC")
        if not given["query"].strip():
            return ToolResult("No passages found: the query is empty.")
        question = Question(
            given["query"],
            tuple(given.get("tags") or ()),
            given.get("tag_match_mode") or "any",
            moment(given.get("start_datetime"), zone, "start_datetime", end_of_day=False),
            moment(given.get("end_datetime"), zone, "end_datetime", end_of_day=True),
            _limit("top_k", given, RESULTS),
        )
        answer = await archival.find_for_agent(self._database, self._recall, errand.agent.id, question)
        if not answer.found:
            return ToolResult("No passages found.")
        results = [
            {
                "id": one.passage.id,
                "timestamp": _local(one.passage.created_at or now(), zone),
                "content": one.shown,
                "tags": one.passage.tags or [],
                "relevance": _relevance(one.hit),
            }
            for one in answer.found
        ]
        return _answer({"count": len(results), "results": results, "search": answer.mode})


def _limit(name: str, given: Mapping[str, Any], default: int) -> int:
    asked = int(given.get(name, default))
    if asked < 1:
        raise ToolFailed(f"{name} must be at least 1, not {asked}.")
    return min(asked, _MOST_RESULTS)


def _is_worth_showing(message: Message, run_id: str) -> bool:
    searches = any(call.name in _SEARCHES for call in message.tool_calls)
    return message.run_id != run_id and not searches


def _message(message: Message, hit: search.Hit, zone: ZoneInfo, present: datetime) -> dict[str, Any]:
    return {
        "timestamp": _local(message.created_at, zone),
        "time_ago": age(message.created_at, present),
        "role": message.role.value,
        "content": search.searchable_text(message),
        **({"relevance": _relevance(hit)} if hit.score else {}),
    }


def _relevance(hit: search.Hit) -> dict[str, Any]:
    ranks = {"vector_rank": hit.vector_rank, "fts_rank": hit.word_rank}
    return {"score": round(hit.score, 3), **{name: place for name, place in ranks.items() if place is not None}}


def _local(moment: datetime, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).isoformat(timespec="seconds")


def _answer(value: dict[str, Any]) -> ToolResult:
    return ToolResult(orjson.dumps(value).decode())


def age(then: datetime, present: datetime) -> str:
    """How long ago something was, in the largest whole unit."""
    seconds = max(0, int((present - then).total_seconds()))
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}{'s' if seconds // length > 1 else ''} ago"
    return "just now"
