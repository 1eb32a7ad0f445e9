"""Sleep-time memory: after every few turns of an agent, others think about what was said, in the background.

Whoever leads a sleep-time group never waits for this and never sees it fail. What was handed over and could not be
worked on is handed over again. How an agent gets its sleep-time agent is told in `letta.runtime.grouping`.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from zoneinfo import ZoneInfo

from letta.errors import LettaError
from letta.runtime.events import Finished
from letta.runtime.runner import Runner
from letta.schemas.agents import AgentState
from letta.schemas.groups import Group
from letta.schemas.messages import ImagePart, Message, Role
from letta.schemas.runs import RunStatus
from letta.schemas.sends import MessageInput, SendRequest
from letta.store import agents, sleeptime
from letta.store.access import Database
from letta.store.runs import Work

log = logging.getLogger(__name__)

MOST_MESSAGES = 500
MOST_CHARACTERS = 60_000
LONGEST_MESSAGE = 8_000
"""What one hand-over carries at most; the rest follows when it was worked on."""

_NOTE = "sleeptime"
_ASLEEP = frozenset({Role.TOOL, Role.SUMMARY, Role.APPROVAL})


class Sleeptime:
    """Hands what was said to those who think about it. `after_run` is called for every run that ended."""

    def __init__(self, database: Database, runner: Runner) -> None:
        self._database, self._runner = database, runner
        # Groups with something left to hand over when those who are to think about it are done.
        self._left: set[str] = set()
        self._locks: dict[str, asyncio.Lock] = {}

    async def after_run(self, work: Work, finished: Finished) -> None:
        """Count a turn, and hand over what is due; or look what came of a hand-over."""
        completed = finished.stop_reason.run_status is RunStatus.COMPLETED
        handed = work.request.get(_NOTE)
        if handed is not None:
            await self._worked_on(work, handed, completed=completed)
            return
        led = await self._database.read(sleeptime.led_by, work.agent_id) if work.leads_sleeptime else []
        if not led:
            return
        due = await self._database.write(sleeptime.count_turn, work.agent_id) if completed else []
        for group_id in led:
            if group_id in due or group_id in self._left:
                await self._hand_over(group_id)

    async def _worked_on(self, work: Work, handed: dict[str, str | None], *, completed: bool) -> None:
        group_id = str(handed["group_id"])
        if not completed:
            log.warning("the sleep-time run %s of agent %s failed; it is repeated later", work.id, work.agent_id)
            back, mark = handed["since"], handed["upto"]
            await self._database.write(sleeptime.mark_processed, group_id, back, instead_of=mark)
        elif group_id in self._left:
            await self._hand_over(group_id)

    async def _hand_over(self, group_id: str) -> None:
        """Start the background runs, unless the last ones still go on: then what was said waits for their end."""
        lock = self._locks.setdefault(group_id, asyncio.Lock())
        async with lock:
            group, said, waiting = await self._database.read(sleeptime.unprocessed, group_id, MOST_MESSAGES)
            if await self._database.read(sleeptime.any_busy, group.agent_ids):
                self._left.add(group_id)
                return
            self._left.discard(group_id)
            if waiting:
                self._left.add(group_id)
            if group.manager_agent_id is None or not said:
                return
            main = await self._database.read(agents.get, group.manager_agent_id, ())
            text, upto = transcript(main, said)
            if upto != said[-1].id or len(said) == MOST_MESSAGES:
                self._left.add(group_id)
            await self._database.write(
                sleeptime.mark_processed, group_id, upto, instead_of=group.last_processed_message_id
            )
            if text is not None and not await self._start(group, text, upto):
                await self._database.write(
                    sleeptime.mark_processed, group_id, group.last_processed_message_id, instead_of=upto
                )
                self._left.add(group_id)

    async def _start(self, group: Group, text: str, upto: str) -> bool:
        """Whether anybody was handed what was said."""
        is_handed = False
        note = {_NOTE: {"group_id": group.id, "since": group.last_processed_message_id, "upto": upto}}
        message = MessageInput(role="user", content=text, sender_id=group.manager_agent_id)
        for agent_id in group.agent_ids:
            try:
                running = await self._runner.start(
                    agent_id, agent_id, SendRequest(messages=[message]), background=True, notes=note
                )
            except LettaError as error:
                # One that cannot think now does not keep the others from it.
                log.warning("agent %s could not be handed what was said: %s", agent_id, error.message)
            else:
                is_handed = True
                log.info("agent %s thinks about what was said, in run %s", agent_id, running.work.id)
        return is_handed


def transcript(main: AgentState, said: Sequence[Message]) -> tuple[str | None, str]:
    """What was said as one readable text, without tools; and the id of the last message it goes up to.

    The text is None when nobody said anything.
    """
    zone = ZoneInfo(main.timezone or "UTC")
    lines: list[str] = []
    size, upto, threads = 0, said[-1].id, list(dict.fromkeys(message.conversation_id for message in said))
    for message in said:
        line = _line(message, zone)
        if line is not None and size + len(line) > MOST_CHARACTERS and lines:
            break
        upto = message.id
        if line is not None:
            size += len(line)
            lines.append(f"[{message.conversation_id}]\n{line}" if len(threads) > 1 else line)
    if not lines:
        return None, upto
    head = (
        f"This was said in the conversations of agent {main.name!r} since last time. Bring the memory blocks you share "
        "with that agent up to date, then call memory_finish_edits."
    )
    return "\n\n".join([head, *lines]), upto


def _line(message: Message, zone: ZoneInfo) -> str | None:
    data = message.data or {}
    if message.role in _ASLEEP or data.get("compiled") or data.get("nudge"):
        return None
    text = data.get("reply") or ("" if data.get("style") == "heartbeat" else message.text)
    pictures = sum(isinstance(part, ImagePart) for part in message.parts)
    text = " ".join(_present([text, f"[{pictures} image{'s' if pictures > 1 else ''}]" if pictures else ""]))
    if not text:
        return None
    if len(text) > LONGEST_MESSAGE:
        text = f"{text[:LONGEST_MESSAGE]}... [cut: {len(text)} characters]"
    return f"[{message.created_at.astimezone(zone):%Y-%m-%d %H:%M}] {message.role.value}:\n{text}"


def _present(texts: Iterable[str]) -> list[str]:
    return [text for text in texts if text]
