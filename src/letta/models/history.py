"""Repairs a conversation so that any provider accepts it: every call answered once, right after it, and nothing else.

Conversations arrive with interrupted runs, imports, compaction cuts and other providers' habits. This file is pure
and knows no provider; what is healthy passes through as the same objects, so that encodings kept on them stay valid.
"""

from collections.abc import Iterable, Sequence

from letta.schemas.messages import ApprovalPart, ImagePart, Message, Part, Role, TextPart, ToolCallPart, ToolReturnPart

NO_RESULT = "[no result: interrupted]"
DENIED = "[denied]"
# Looking a member up in its enumeration costs more than the rest of a step over a healthy message.
_USER, _SUMMARY, _SYSTEM, _TOOL = Role.USER, Role.SUMMARY, Role.SYSTEM, Role.TOOL
_USER_SIDE = (_USER, _SUMMARY, _SYSTEM)


def repaired(messages: Sequence[Message]) -> list[Message]:
    """The messages a provider may see, in order.

    - A call without a result gets one: its own if it stands further down, the denial if a person denied it, else
      `NO_RESULT`. Results stand directly after the message with the calls.
    - Results without a call, and second results, are dropped. A call id used again gets a new one, with its result.
    - Approvals disappear: the results say what came of them. Messages left empty disappear.
    """
    walk = _Walk(messages)
    for position, message in enumerate(messages):
        walk.take(position, message)
    walk.close(len(messages))
    return walk.out


class _Walk:
    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self.out: list[Message] = []
        self.open: dict[str, ToolCallPart] = {}  # by the id as stored, of the last message with calls
        self.caller: Message | None = None
        self.seen: dict[str, int] = {}
        self.new_ids: dict[str, str] = {}
        self.denials: dict[str, str] = {}

    def take(self, position: int, message: Message) -> None:
        parts, role = message.parts, message.role
        if role is _USER or role is _SUMMARY or role is _SYSTEM:
            if self.open:
                self.close(position)
            if parts:
                self.out.append(message)
            return
        kinds = {type(part) for part in parts}
        if ToolReturnPart in kinds:
            self._results(message)
        elif ApprovalPart in kinds:
            self._approvals(parts)
        elif kinds and role is not _TOOL:
            if self.open:
                self.close(position)
            if ToolCallPart in kinds:
                self._called(message)
            else:
                self.out.append(message)

    def close(self, position: int) -> None:
        """Answer what is still open before the message at `position` is shown."""
        if not self.open or self.caller is None:
            return
        found = [self._result_of(call, position) for call in self.open.values()]
        self.out.append(
            Message(
                id=f"{self.caller.id}-results",
                role=Role.TOOL,
                parts=list(found),
                agent_id=self.caller.agent_id,
                conversation_id=self.caller.conversation_id,
                created_at=self.caller.created_at,
            )
        )
        self.open = {}

    def _called(self, message: Message) -> None:
        calls = [part for part in message.parts if isinstance(part, ToolCallPart)]
        self.caller, self.new_ids, self.denials = message, {}, {}
        for call in calls:
            times = self.seen[call.id] = self.seen.get(call.id, 0) + 1
            if times > 1:
                self.new_ids[call.id] = f"{call.id}_{times}"
        self.open = {call.id: call for call in calls}
        self.out.append(self._renamed(message, message.parts) if self.new_ids else message)

    def _results(self, message: Message) -> None:
        kept: list[Part] = [
            part
            for part in message.parts
            if isinstance(part, ToolReturnPart) and self.open.pop(part.tool_call_id, None) is not None
        ]
        if len(kept) == len(message.parts) and not self.new_ids and message.role is Role.TOOL:
            self.out.append(message)
        elif kept:
            self.out.append(self._renamed(message, kept))
        for part in message.parts:
            if isinstance(part, ApprovalPart):
                self._approvals([part])

    def _approvals(self, parts: Iterable[Part]) -> None:
        for part in parts:
            if isinstance(part, ApprovalPart) and not part.approve:
                self.denials[part.tool_call_id] = f"{DENIED} {part.reason}" if part.reason else DENIED

    def _renamed(self, message: Message, parts: Iterable[Part]) -> Message:
        """A copy without kept encodings, its call ids replaced where they were used before."""
        fresh: list[Part] = []
        for part in parts:
            if isinstance(part, ToolCallPart) and part.id in self.new_ids:
                fresh.append(part.model_copy(update={"id": self.new_ids[part.id]}))
            elif isinstance(part, ToolReturnPart) and part.tool_call_id in self.new_ids:
                fresh.append(part.model_copy(update={"tool_call_id": self.new_ids[part.tool_call_id]}))
            else:
                fresh.append(part)
        role = Role.TOOL if any(isinstance(part, ToolReturnPart) for part in fresh) else message.role
        return with_parts(message, fresh, role)

    def _result_of(self, call: ToolCallPart, position: int) -> ToolReturnPart:
        id_ = self.new_ids.get(call.id, call.id)
        for later in self.messages[position:]:
            if any(part.id == call.id for part in later.tool_calls):
                break  # the id was used again: what follows belongs to that call
            for part in later.tool_returns:
                if part.tool_call_id == call.id:
                    return part.model_copy(update={"tool_call_id": id_})
        denial = self.denials.get(call.id)
        return ToolReturnPart(tool_call_id=id_, name=call.name, status="error", content=denial or NO_RESULT)


def with_parts(message: Message, parts: Iterable[Part], role: Role | None = None) -> Message:
    """A copy of `message` with other parts and no kept encodings."""
    fields = {name: getattr(message, name) for name in type(message).model_fields}
    return Message.model_construct(**{**fields, "parts": list(parts), "role": role or message.role})


def users_merged(messages: Iterable[Message]) -> list[Message]:
    """Neighbouring messages of the user's side joined, for servers whose templates insist on taking turns."""
    out: list[Message] = []
    for message in messages:
        if out and message.role in _USER_SIDE and out[-1].role in _USER_SIDE:
            out[-1] = with_parts(out[-1], [*as_user_parts(out[-1]), *as_user_parts(message)], Role.USER)
        else:
            out.append(message)
    return out


def as_user_parts(message: Message) -> list[Part]:
    """The parts as a user may say them: what the system said in between is marked as such."""
    if message.role is not Role.SYSTEM:
        return message.parts
    return [
        TextPart(text=f"<system>\n{part.text}\n</system>") if isinstance(part, TextPart) else part
        for part in message.parts
    ]


def images_of(message: Message) -> list[ImagePart]:
    """The images inside the tool results of a message."""
    return [
        part
        for result in message.tool_returns
        if not isinstance(result.content, str)
        for part in result.content
        if isinstance(part, ImagePart)
    ]
