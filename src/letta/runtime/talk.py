"""Agents that talk to each other: the tools for it, and what keeps them from waiting for each other for ever."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson

from letta.errors import LettaError, ToolFailed
from letta.runtime.events import Committed
from letta.runtime.runner import Runner
from letta.runtime.running import Running
from letta.schemas.agents import AgentState
from letta.schemas.messages import Message, Role
from letta.schemas.sends import MessageInput, SendRequest
from letta.store import agents
from letta.store.access import Database
from letta.store.agents import AgentFilter
from letta.tools.builtin import BY_NAME
from letta.tools.context import Errand, ToolResult
from letta.tools.toolbox import checked

MAX_DEPTH = 5
MAX_RECIPIENTS = 50
REPLY_TIMEOUT = 300.0


class Talk:
    """Carries messages between agents. `timeout` is in seconds and bounds the wait for one reply."""

    def __init__(self, database: Database, runner: Runner, timeout: float = REPLY_TIMEOUT) -> None:
        self._database = database
        self._runner = runner
        self._timeout = timeout
        # Which agent waits for which: a new edge that closes a circle would be a deadlock.
        self._waits: dict[str, list[str]] = {}

    async def run(self, errand: Errand) -> ToolResult:
        """Carry out a call of one of the multi-agent tools. Raises letta.errors.ToolFailed."""
        arguments = checked(errand.arguments, BY_NAME[str(errand.tool.name)].schema["parameters"])
        if len(errand.asked_by) >= MAX_DEPTH:
            raise ToolFailed(f"agents are asking each other {MAX_DEPTH} levels deep already: answer yourself.")
        match errand.tool.name:
            case "send_message_to_agent_async":
                await self._start(errand, arguments["other_agent_id"], arguments["message"], waiting=False)
                return ToolResult("The message was queued; there will be no reply here.")
            case "send_message_to_agent_and_wait_for_reply":
                return ToolResult(await self.ask(errand, arguments["other_agent_id"], arguments["message"]))
            case "send_message_to_agents_matching_tags":
                return await self._ask_many(errand, arguments)
        raise ToolFailed(f"{errand.tool.name} is not a tool of this server.")

    async def _ask_many(self, errand: Errand, arguments: dict[str, Any]) -> ToolResult:
        others = await self._matching(
            errand.agent.id, arguments.get("match_all") or (), arguments.get("match_some") or ()
        )
        if not others:
            raise ToolFailed("no other agent has these tags.")

        async def one(agent: AgentState) -> dict[str, str]:
            try:
                return {"agent": agent.name, "reply": await self.ask(errand, agent.id, arguments["message"])}
            except LettaError as error:
                return {"agent": agent.name, "error": error.message}

        replies = await asyncio.gather(*(one(agent) for agent in others))
        return ToolResult(orjson.dumps(replies).decode())

    async def _matching(self, asking: str, all_of: Sequence[str], some_of: Sequence[str]) -> list[AgentState]:
        if not all_of and not some_of:
            raise ToolFailed("give tags in match_all or match_some.")
        wanted = AgentFilter(tags=some_of, all_tags=all_of, without_id=asking)
        return await self._database.read(agents.list_page, wanted, (), order="asc", limit=MAX_RECIPIENTS)

    async def ask(
        self,
        errand: Errand,
        other_id: str,
        message: str,
        *,
        group_id: str | None = None,
        started: Callable[[Running], None] | None = None,
    ) -> str:
        """The other agent's reply. `started` is told of its run when there is one; `group_id` marks its messages.

        Raises:
            letta.errors.ToolFailed: the other agent cannot answer, or did not in time.
            letta.errors.LettaError: as `Runner.start`.
        """
        asking = errand.agent.id
        if other_id == asking:
            raise ToolFailed("other_agent_id is your own id.")
        self._waits.setdefault(asking, []).append(other_id)
        try:
            if self._leads_to(other_id, asking):
                raise ToolFailed(f"agent {other_id} is waiting for you already: it cannot answer before you are done.")
            running = await self._start(errand, other_id, message, waiting=True, group_id=group_id)
            if started is not None:
                started(running)
            async with asyncio.timeout(self._timeout):
                finished = await running.events.wait()
        except TimeoutError:
            raise ToolFailed(f"agent {other_id} did not answer within {self._timeout:.0f} seconds.") from None
        finally:
            self._waits[asking].remove(other_id)
            if not self._waits[asking]:
                del self._waits[asking]
        if finished.failure is not None:
            raise ToolFailed(f"agent {other_id} failed: {finished.failure.message}")
        return spoken(running) or f"(agent {other_id} ended its turn without a word: {finished.stop_reason.value})"

    async def _start(
        self, errand: Errand, other_id: str, message: str, *, waiting: bool, group_id: str | None = None
    ) -> Running:
        if other_id in errand.asked_by:
            raise ToolFailed(f"agent {other_id} waits for this very answer: it cannot be asked again.")
        expects = "Your reply goes back to that agent." if waiting else "It does not wait for a reply."
        text = f"[Message from agent {errand.agent.name!r} ({errand.agent.id}). {expects}]\n{message}"
        heard = MessageInput(role="system", content=text, sender_id=errand.agent.id, group_id=group_id)
        request = SendRequest(messages=[heard])
        chain = (*errand.asked_by, errand.agent.id) if waiting else ()
        notes = {"group_id": group_id} if group_id else {}
        return await self._runner.start(
            other_id, other_id, request, background=not waiting, asked_by=chain, notes=notes
        )

    def _leads_to(self, start: str, goal: str) -> bool:
        """Whether `start` waits, directly or through others, for `goal`."""
        seen, open_ids = set[str](), [start]
        while open_ids:
            current = open_ids.pop()
            if current == goal:
                return True
            if current not in seen:
                seen.add(current)
                open_ids.extend(self._waits.get(current, ()))
        return False


def spoken(running: Running) -> str:
    """What an agent said to its caller during a run."""
    committed = [event for event in running.events.events if isinstance(event, Committed)]
    return said_in([message for event in committed for message in event.messages])


def said_in(messages: Iterable[Message]) -> str:
    """What an agent said to its caller, of all that came of a run."""
    said = [(message.data or {}).get("reply") or message.text for message in messages if message.role is Role.ASSISTANT]
    return "\n".join(text for text in said if text)
