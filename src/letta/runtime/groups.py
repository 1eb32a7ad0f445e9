"""Turns of groups: one at a time in each group, started, cancelled, and reached by the tool of a supervising agent.

A turn goes on when the client that asked for it is gone. It lives in this process: after a crash the run of the agent
that spoke is finished, and what it said is told the group; the turn is over then.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

import orjson
from sqlalchemy import Connection

from letta.errors import Busy, Conflict, InvalidValue, LettaError, NotBuilt, StoreUnavailable, ToolFailed
from letta.runtime.creation import Agents
from letta.runtime.events import Finished
from letta.runtime.group_turn import FLOOR, Member, Turn
from letta.runtime.runner import Runner
from letta.runtime.running import Running
from letta.runtime.talk import Talk, said_in
from letta.schemas.groups import Group, ManagerType
from letta.schemas.runs import RunStatus
from letta.schemas.sends import MessageInput, SendRequest
from letta.store import group_talk, groups, messages
from letta.store.access import Database
from letta.store.runs import Work
from letta.tools import builtin
from letta.tools.context import Errand, ToolResult
from letta.tools.toolbox import checked

log = logging.getLogger(__name__)

_MOST = 10_000
_RENEW = 5.0
_RETRY_CLAIM = 0.25


class Groups:
    """Lets groups talk. `talk` carries the other multi-agent tools."""

    def __init__(self, database: Database, runner: Runner, talk: Talk) -> None:
        self._database, self._runner, self._talk = database, runner, talk
        self._turns: dict[str, list[Turn]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, group_id: str, request: SendRequest) -> Turn:
        """Accept messages for a group; they are talked about when its turn comes.

        Raises:
            letta.errors.NotFound: no such group.
            letta.errors.Conflict: nobody is left in the group who could answer.
            letta.errors.InvalidValue: the request answers calls that wait, which is the business of one agent.
            letta.errors.NotBuilt: a kind of group that does not talk yet.
        """
        group = await self._database.read(groups.get, group_id)
        _check(group, request)
        turn = Turn(self._database, self._runner, group, request)
        self._turns.setdefault(group_id, []).append(turn)
        task = asyncio.create_task(self._play(turn), name=f"turn of {group_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return turn

    async def cancel(self, group_id: str) -> dict[str, str]:
        """End the group's turns, those that wait included. Answers `cancelled` or `failed` for each run stopped.

        Raises:
            letta.errors.NotFound: no such group.
            letta.errors.Conflict: the group has no turn.
        """
        group = await self._database.read(groups.get, group_id)
        turns = [turn for turn in self._turns.get(group_id, ()) if turn.log.finished is None]
        for turn in turns:
            turn.cancelled = True
        open_runs = await self._database.read(group_talk.open_runs, group_id, everybody(group))
        if not turns and not open_runs:
            raise Conflict(f"group {group_id} has no turn to cancel")
        return await self._runner.cancel(open_runs) if open_runs else {}

    def leave(self, agent_ids: Iterable[str]) -> None:
        """These agents are about to be deleted: a turn they speak in ends, and says why."""
        for turn in self._running():
            turn.leaving.update(agent_ids)

    async def reset(self, group_id: str, agents: Agents) -> None:
        """Let everybody in the group start with an empty window, and the group's talk begin anew.

        Raises:
            letta.errors.NotFound: no such group.
            letta.errors.Busy: the group has its turn.
        """
        group = await self._database.read(groups.get, group_id)
        taken = await self._database.read(group_talk.is_taken, group_id)
        if taken or group_id in self._turns:
            raise Busy(f"group {group_id} has its turn: wait for its end, or cancel it, before you reset its messages")
        for agent_id in everybody(group):
            await agents.reset(agent_id, opening=False)
        await self._database.write(group_talk.forget, group_id)

    async def run(self, errand: Errand) -> ToolResult:
        """Carry out a call of a multi-agent tool. Raises letta.errors.ToolFailed."""
        if errand.tool.name != builtin.ASK_GROUP:
            return await self._talk.run(errand)
        arguments = checked(errand.arguments, builtin.BY_NAME[builtin.ASK_GROUP].schema["parameters"])
        return await self._ask_all(errand, arguments["message"])

    async def after_run(self, work: Work, finished: Finished) -> None:
        """A run ended. One of a turn that was lost with its process is not waited for: its group is told here."""
        # A turn of this process is there when this is asked: it has to write before it can end.
        floor, group_id = work.request.get(FLOOR), work.request.get("group_id")
        if floor is None or group_id is None or any(work.id in turn.run_ids for turn in self._running()):
            return
        if finished.stop_reason.run_status is not RunStatus.COMPLETED:
            return
        log.info("the turn of group %s was lost; what %s said in it is kept", group_id, work.agent_id)
        await self._database.write(_keep, group_id, work, floor)

    async def close(self) -> None:
        """End what goes on; call it when no run goes on any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- a turn -------------------------------------------------------------------------------------------------------

    async def _play(self, turn: Turn) -> None:
        group_id = turn.group.id
        lock = self._locks.setdefault(group_id, asyncio.Lock())
        renewing: asyncio.Task[None] | None = None
        try:
            async with lock:
                await self._claim(turn)
                renewing = asyncio.create_task(self._renew(turn))
                await turn.play()
        except LettaError as error:
            turn.fail(error)
        except Exception:
            # Nothing may leave a turn without an end: its readers wait for one whatever went wrong.
            log.exception("the turn of group %s failed", group_id)
            turn.fail(LettaError("An unknown error occurred"))
        finally:
            if renewing is not None:
                renewing.cancel()
                await asyncio.gather(renewing, return_exceptions=True)
            try:
                await self._leave(turn)
            finally:
                # Whoever hears of the end may start the next turn at once.
                turn.finish()

    async def _leave(self, turn: Turn) -> None:
        group_id = turn.group.id
        try:
            await self._database.write(group_talk.release, group_id, turn.id)
        except StoreUnavailable:
            log.warning("the turn of group %s could not be given up; it ends by itself", group_id)
        self._turns[group_id].remove(turn)
        if not self._turns[group_id]:
            del self._turns[group_id], self._locks[group_id]

    async def _claim(self, turn: Turn) -> None:
        """Wait until no other process lets the group talk. Raises letta.errors.NotFound when the group is gone."""
        while not turn.cancelled and not await self._take(turn):  # noqa: ASYNC110 - the other process may be gone
            await asyncio.sleep(_RETRY_CLAIM)

    async def _take(self, turn: Turn) -> bool:
        return await self._database.write(group_talk.claim, turn.group.id, turn.id)

    async def _renew(self, turn: Turn) -> None:
        while True:
            await asyncio.sleep(_RENEW)
            try:
                await self._database.write(group_talk.renew, turn.group.id, turn.id)
            except StoreUnavailable:
                log.warning("the database does not answer; the turn of group %s is not renewed", turn.group.id)

    # -- the tool of a supervising agent ------------------------------------------------------------------------------

    async def _ask_all(self, errand: Errand, message: str) -> ToolResult:
        turn = next((turn for turn in self._running() if errand.run_id in turn.run_ids), None)
        led = [turn.group] if turn else await self._supervised(errand.agent.id)
        asked = dict.fromkeys(agent_id for group in led for agent_id in group.agent_ids if agent_id != errand.agent.id)
        names = await self._database.read(groups.names_of, asked)
        if not names:
            raise ToolFailed("there are no agents in a group that you supervise.")
        following: list[tuple[Running, asyncio.Task[Finished]]] = []

        async def one(member: Member) -> dict[str, str]:
            def started(running: Running) -> None:
                if turn is not None:
                    following.append((running, asyncio.create_task(turn.follow(member, running))))

            group_id = turn.group.id if turn else None
            try:
                reply = await self._talk.ask(errand, member.id, message, group_id=group_id, started=started)
            except LettaError as error:
                return {"agent": member.name, "error": error.message}
            return {"agent": member.name, "reply": reply}

        members = [Member(agent_id, names[agent_id]) for agent_id in asked if agent_id in names]
        try:
            replies = await asyncio.gather(*(one(member) for member in members))
        finally:
            for running, task in following:
                # Nobody waits for a run any more that did not answer in time, or whose question was cancelled.
                if running.events.finished is None:
                    task.cancel()
            await asyncio.gather(*(task for _, task in following), return_exceptions=True)
        return ToolResult(orjson.dumps(replies).decode())

    def _running(self) -> Iterable[Turn]:
        return (turn for turns in self._turns.values() for turn in turns)

    async def _supervised(self, agent_id: str) -> list[Group]:
        led = (await self._database.read(groups.led_by, [agent_id])).get(agent_id, [])
        return [group for group in led if group.manager_type == ManagerType.SUPERVISOR]


def _keep(connection: Connection, group_id: str, work: Work, floor: dict[str, Any]) -> None:
    """Note what an agent heard and said in a turn that nobody can finish."""
    if floor["upto"] is not None:
        group_talk.heard(connection, group_id, work.agent_id, floor["upto"], leads=floor["leads"])
    text = said_in(messages.of_run(connection, work.id, -1, _MOST))
    if floor["aloud"] and text:
        said = MessageInput(role="user", content=text, group_id=group_id)
        group_talk.say(connection, group_id, work.agent_id, [said.model_dump(mode="json", exclude_none=True)])


def everybody(group: Group) -> list[str]:
    """The ids of all agents of a group, the leading one first."""
    return list(dict.fromkeys([*([group.manager_agent_id] if group.manager_agent_id else []), *group.agent_ids]))


def _check(group: Group, request: SendRequest) -> None:
    kind = group.manager_type
    if kind in (ManagerType.VOICE_SLEEPTIME, ManagerType.SWARM):
        raise NotBuilt(f"sending messages to a {kind} group is not built yet")
    if not all(isinstance(item, MessageInput) for item in request.inputs()):
        raise InvalidValue(
            "messages: approvals and tool returns belong to one agent: send them to /v1/agents/{agent_id}/messages"
        )
    if kind != ManagerType.ROUND_ROBIN and group.manager_agent_id is None:
        raise Conflict(
            f"the agent that leads group {group.id} was deleted: give the group another one "
            "(manager_config.manager_agent_id)"
        )
    others = [agent_id for agent_id in group.agent_ids if agent_id != group.manager_agent_id]
    if kind in (ManagerType.ROUND_ROBIN, ManagerType.DYNAMIC) and not others:
        raise Conflict(f"group {group.id} has no agents that could answer: add some (agent_ids)")
