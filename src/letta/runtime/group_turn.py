"""One turn of a group: who speaks when, who hears what, and why it ends.

Every agent speaks in its own thread, in runs of its own; what they say is gathered in one log. How turns queue is not
known here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import orjson

from letta.errors import Conflict, InvalidRequest, LettaError, NotFound
from letta.runtime.events import Committed, Delta, Failure, Finished, Log, RunUsage, added, failure_of
from letta.runtime.runner import Runner
from letta.runtime.running import Running
from letta.runtime.talk import spoken
from letta.schemas.groups import Group, ManagerType
from letta.schemas.runs import RunStatus, StopReason
from letta.schemas.sends import MessageInput, SendRequest
from letta.store import group_talk, groups
from letta.store.access import Database
from letta.store.group_talk import Line

DONE = "DONE!"
"""What the leading agent of a dynamic group answers to end the turn, unless the group has its own word."""

FLOOR = "floor"
"""Under which a run keeps what follows from it for its group."""

_CHOICES = 2
# Fields of the caller's request that speak about its own answer, or about its messages.
_NOT_PASSED_ON = {"messages", "input", "streaming", "include_pings", "background", "agent_id"}
_NO_NOTES = MappingProxyType[str, Any]({})


@dataclass(frozen=True, slots=True)
class Member:
    """An agent of the group."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Said:
    """Something that happened in the run of a member."""

    member: Member
    run_id: str
    event: Delta | Committed


class TurnLog(Log[Said]):
    """Everything that happens in a turn; the last item is `Finished`, with the usage of all runs."""


class TurnOver(Exception):
    """The turn ends here."""

    def __init__(self, stop: StopReason, failure: Failure | None = None) -> None:
        super().__init__(stop)
        self.stop, self.failure = stop, failure


class Turn:
    """A turn of a group. `members` can speak, `leader` leads them; those `leaving` are about to be deleted."""

    def __init__(self, database: Database, runner: Runner, group: Group, request: SendRequest) -> None:
        self._database, self._runner = database, runner
        self.group, self.request = group, request
        self.id = str(uuid4())
        self.log = TurnLog()
        self.run_ids: list[str] = []
        self.members: tuple[Member, ...] = ()
        self.leader: Member | None = None
        self.cancelled = False
        self.leaving: set[str] = set()
        self._usage = RunUsage()
        self._end: tuple[StopReason, Failure | None] = (
            StopReason.ERROR,
            Failure("stream_incomplete", "The turn of the group was interrupted", 503),
        )

    async def play(self) -> None:
        """Let the group talk until the turn ends. Readers hear of the end when `finish` is called."""
        stop: StopReason = StopReason.END_TURN
        failure: Failure | None = None
        try:
            await self._gather_members()
            await _WAYS[ManagerType(self.group.manager_type)](self)
        except TurnOver as over:
            stop, failure = over.stop, over.failure
        except LettaError as error:
            stop, failure = StopReason.ERROR, failure_of(error)
        except asyncio.CancelledError:
            stop = StopReason.ERROR
            failure = Failure("stream_incomplete", "The server stopped in the middle of the group's turn", 503)
            raise
        finally:
            self._end = stop, failure

    def fail(self, error: LettaError) -> None:
        """A turn could not begin, or went wrong in a way nobody thought of."""
        self._end = StopReason.ERROR, failure_of(error)

    def finish(self) -> None:
        """Tell the readers that the turn is over, and how it ended."""
        stop, failure = self._end
        self.log.publish(Finished(stop, self._usage, failure))

    async def _gather_members(self) -> None:
        leader_id, member_ids = self.group.manager_agent_id, self.group.agent_ids
        known = await self._database.read(groups.names_of, [*member_ids, *([leader_id] if leader_id else [])])
        self.members = tuple(
            Member(agent_id, known[agent_id]) for agent_id in member_ids if agent_id in known and agent_id != leader_id
        )
        self.leader = Member(leader_id, known[leader_id]) if leader_id in known else None
        if self.cancelled:
            raise TurnOver(StopReason.CANCELLED)

    # -- speaking -----------------------------------------------------------------------------------------------------

    async def speak(
        self,
        member: Member,
        inputs: Sequence[MessageInput],
        notes: Mapping[str, Any] = _NO_NOTES,
        taken_in: Callable[[], Awaitable[None]] | None = None,
    ) -> str:
        """What the member says to the messages. `taken_in` is called when they are in its thread, whatever follows.

        Raises:
            TurnOver: the run was cancelled, failed, or waits for a person.
            letta.errors.LettaError: as `Runner.start`.
        """
        if self.cancelled:
            raise TurnOver(StopReason.CANCELLED)
        fields = self.request.model_dump(exclude_unset=True, exclude=_NOT_PASSED_ON)
        request = SendRequest(messages=list(inputs), **fields)
        try:
            kept = {"group_id": self.group.id, **notes}
            running = await self._runner.start(member.id, member.id, request, notes=kept)
        except NotFound:
            raise self._gone(member) from None
        finished = await self.follow(member, running)
        if taken_in is not None and any(isinstance(event, Committed) for event in running.events.events):
            await taken_in()
        if finished.failure is not None:
            raise TurnOver(finished.stop_reason, finished.failure)
        stop = finished.stop_reason
        if stop is StopReason.CANCELLED and member.id in self.leaving:
            raise self._gone(member)
        if stop is StopReason.REQUIRES_APPROVAL or stop.run_status is not RunStatus.COMPLETED:
            raise TurnOver(stop)
        return spoken(running)

    async def follow(self, member: Member, running: Running) -> Finished:
        """Bring everything that happens in a member's run into the log. Answers how it ended."""
        self.run_ids.append(running.work.id)
        async for batch in running.events.batches():
            for event in batch:
                if isinstance(event, Finished):
                    self._count(event.usage)
                else:
                    self.log.publish(Said(member, running.work.id, event))
        assert running.events.finished is not None, "the batches of a run end with its end"
        return running.events.finished

    def _count(self, usage: RunUsage) -> None:
        steps = self._usage.step_count + usage.step_count
        self._usage = RunUsage(steps, added(self._usage.tokens, usage.tokens), usage.context_tokens)

    def _gone(self, member: Member) -> TurnOver:
        text = f"agent {member.name!r} ({member.id}) was deleted while group {self.group.id} had its turn"
        return TurnOver(StopReason.ERROR, failure_of(Conflict(text)))

    # -- hearing ------------------------------------------------------------------------------------------------------

    def asked(self) -> list[MessageInput]:
        """The caller's messages, marked as the group's. Each has an id that its copies share."""
        return [
            item.model_copy(update={"group_id": self.group.id, "otid": item.otid or str(uuid4())})
            for item in self.request.inputs()
            if isinstance(item, MessageInput)
        ]

    async def say(self, speaker: Member | None, said: Sequence[MessageInput]) -> None:
        """Let everybody hear something when they speak next."""
        lines = [item.model_dump(mode="json", exclude_none=True) for item in said]
        await self._database.write(group_talk.say, self.group.id, speaker.id if speaker else None, lines)

    async def floor(
        self,
        member: Member,
        question: Sequence[MessageInput] = (),
        notes: Mapping[str, Any] = _NO_NOTES,
        *,
        leads: bool = False,
        aloud: bool = False,
    ) -> str | None:
        """Let a member hear what it has not heard, and then the question, and say something, to everybody if `aloud`.

        Returns None when there is nothing for it to answer.
        """
        lines = await self._database.read(group_talk.unheard, self.group.id, member.id, leads=leads)
        inputs = [*(self._heard(line) for line in lines), *question]
        if not inputs:
            return None

        async def note() -> None:
            if lines:
                upto = lines[-1].position
                await self._database.write(group_talk.heard, self.group.id, member.id, upto, leads=leads)

        upto = lines[-1].position if lines else None
        # For whoever finishes the run should this process not.
        kept = {FLOOR: {"upto": upto, "leads": leads, "aloud": aloud}}
        return await self.speak(member, inputs, {**notes, **kept}, note)

    def _heard(self, line: Line) -> MessageInput:
        """A line as it is told to those who did not say it."""
        message = MessageInput.model_validate(line.message)
        if line.speaker is None:
            return message
        name = next((member.name for member in self.members if member.id == line.speaker), None)
        who = f"{name!r} ({line.speaker})" if name else line.speaker
        text = f"[Message from agent {who} to the group.]\n{message.content}"
        return message.model_copy(update={"role": "system", "content": text, "sender_id": line.speaker})

    async def take_floor(self, member: Member, question: Sequence[MessageInput] = ()) -> str | None:
        """Let a member speak to the group. None when nothing was said that it could answer."""
        text = await self.floor(member, question, aloud=True)
        if text:
            await self.say(member, [MessageInput(role="user", content=text, group_id=self.group.id)])
        return text

    @property
    def led_by(self) -> Member:
        """The leading agent. Raises letta.errors.Conflict when it was deleted."""
        if self.leader is None:
            raise Conflict(
                f"the agent that leads group {self.group.id} was deleted: give the group another one "
                "(manager_config.manager_agent_id)"
            )
        return self.leader

    @property
    def rounds(self) -> int:
        """How many times somebody speaks in a turn: as many as there are members, unless the group says otherwise."""
        return self.group.max_turns or len(self.members)


# -- the kinds of groups -----------------------------------------------------------------------------------------------


async def _round_robin(turn: Turn) -> None:
    """One after another, in the order of the group, until all had the floor or one says the last word."""
    await turn.say(None, turn.asked())
    for number in range(turn.rounds):
        text = await turn.take_floor(turn.members[number % len(turn.members)])
        token = turn.group.termination_token
        if text is None or (token and token in text):
            return


async def _dynamic(turn: Turn) -> None:
    """The leading agent names who speaks next, until it says that it is done."""
    await turn.say(None, turn.asked())
    token = turn.group.termination_token or DONE
    for _ in range(turn.rounds):
        member = await _next_speaker(turn, token)
        if member is None:
            return
        text = await turn.take_floor(member)
        if text is None:
            # Named again before anybody else spoke.
            again = "[You have the floor again. Nobody else has spoken since.]"
            notice = MessageInput(role="system", content=again, sender_id=turn.group.id, group_id=turn.group.id)
            text = await turn.take_floor(member, [notice])
        if text is not None and turn.group.termination_token and token in text:
            return


async def _next_speaker(turn: Turn, token: str) -> Member | None:
    """The member the leading agent names; None when it ends the turn. It may correct itself once.

    Raises:
        TurnOver: it named nobody.
    """
    choices = choices_of(turn.members)
    agents = "\n".join(f"- {label}" for label in choices)
    question = (
        f"[Group {turn.group.description!r} ({turn.group.id}): you decide who speaks next.]\nThe agents:\n{agents}\n"
        f'Answer with {{"next_speaker": "<one of them>"}}, or with {{"next_speaker": {orjson.dumps(token).decode()}}} '
        "when everything has been said."
    )
    schema = {
        "type": "object",
        "properties": {"next_speaker": {"type": "string", "enum": [*choices, token]}},
        "required": ["next_speaker"],
        "additionalProperties": False,
    }
    shape = {"type": "json_schema", "json_schema": {"name": "next_speaker", "schema": schema, "strict": True}}
    answer: str | None = None
    for _ in range(_CHOICES):
        asked = MessageInput(role="system", content=question, sender_id=turn.group.id, group_id=turn.group.id)
        answer = await turn.floor(turn.led_by, [asked], {"answer_format": shape}, leads=True)
        named = named_in(answer or "", choices, token)
        if named is not None:
            return choices.get(named)
        question = f"That names none of the agents. Answer with one of: {', '.join([*choices, token])}"
    text = f"agent {turn.led_by.name!r} named no agent of group {turn.group.id} as the next speaker: {answer!r}"
    raise TurnOver(StopReason.INVALID_LLM_RESPONSE, Failure("invalid_next_speaker", text, 502))


def choices_of(members: Sequence[Member]) -> dict[str, Member]:
    """What members are called where one is chosen: by name, or by id where names are not unique."""
    names = [member.name for member in members]
    return {member.name if names.count(member.name) == 1 else member.id: member for member in members}


def named_in(answer: str, choices: Mapping[str, Member], token: str) -> str | None:
    """The choice, or the token, that an answer names: as JSON, alone, or as the only one in a sentence."""
    try:
        read = orjson.loads(answer)
    except orjson.JSONDecodeError:
        read = None
    said = str(read.get("next_speaker", "")) if isinstance(read, dict) else answer
    said = said.strip().strip("\"'")
    known = {label.casefold(): label for label in [*choices, token]}
    known |= {member.id: label for label, member in choices.items()}
    if said.casefold() in known:
        return known[said.casefold()]
    within = {label for spelled, label in known.items() if spelled in said.casefold()}
    return within.pop() if len(within) == 1 else None


async def _supervisor(turn: Turn) -> None:
    """The leading agent answers, and asks the others with its tool as it likes."""
    await turn.speak(turn.led_by, turn.asked())


async def _refuse(turn: Turn) -> None:
    raise InvalidRequest(f"a {turn.group.manager_type} group takes no messages")


_WAYS: dict[ManagerType, Callable[[Turn], Awaitable[None]]] = {
    ManagerType.ROUND_ROBIN: _round_robin,
    ManagerType.SUPERVISOR: _supervisor,
    ManagerType.DYNAMIC: _dynamic,
    # The leading agent answers; what it heard and said reaches the others after its run (`letta.runtime.sleeptime`).
    ManagerType.SLEEPTIME: _supervisor,
    ManagerType.VOICE_SLEEPTIME: _refuse,
    ManagerType.SWARM: _refuse,
}
