"""From requests to messages, and the invariants of a transcript: every call is answered once, right after it."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import orjson

from letta.errors import InvalidRequest, LettaError
from letta.schemas.common import new_id
from letta.schemas.messages import (
    ApprovalPart,
    ImagePart,
    Message,
    OmittedReasoningPart,
    Part,
    ReasoningPart,
    RedactedReasoningPart,
    Role,
    SummarizedReasoningPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from letta.schemas.sends import (
    InputPart,
    MessageInput,
    SendRequest,
    SummarizedReasoningInput,
    ToolCallInput,
    ToolReturnInput,
)
from letta.store.runs import Work

INTERRUPTED = (
    "Error: the server was interrupted while this tool ran. Its outcome is unknown: check before you repeat it."
)


class BrokenTranscript(LettaError):
    """The messages of a step do not fit together."""


def new_messages(request: SendRequest, work: Work, moment: datetime) -> tuple[Message, ...]:
    """The plain messages a caller sends, not stored yet."""
    plain = [item for item in request.inputs() if isinstance(item, MessageInput)]
    return tuple(
        Message(
            id=new_id("message"),
            role=Role(item.role),
            parts=parts_of(item.content),
            agent_id=work.agent_id,
            conversation_id=work.conversation_id,
            created_at=moment + timedelta(microseconds=number),
            name=item.name,
            otid=item.otid or str(uuid4()),
            sender_id=item.sender_id,
            group_id=item.group_id,
            run_id=work.id,
        )
        for number, item in enumerate(plain)
    )


def parts_of(content: str | Sequence[InputPart | TextPart | ImagePart]) -> list[Part]:
    """The parts of a message as a caller writes them."""
    if isinstance(content, str):
        return [TextPart(text=content)]
    return [_part(part) for part in content]


def _part(part: InputPart | TextPart | ImagePart) -> Part:
    match part:
        case ToolCallInput():
            return ToolCallPart(
                id=part.id, name=part.name, arguments=orjson.dumps(part.input).decode(), signature=part.signature
            )
        case ToolReturnInput():
            status = "error" if part.is_error else "success"
            return ToolReturnPart(tool_call_id=part.tool_call_id, content=part.content, status=status)
        case SummarizedReasoningInput():
            texts = tuple(str(item.get("text", "")) for item in part.summary)
            return SummarizedReasoningPart(id=part.id, summary=texts, encrypted_content=part.encrypted_content)
        case TextPart() | ImagePart() | ReasoningPart() | RedactedReasoningPart() | OmittedReasoningPart():
            return part
    raise InvalidRequest(f"content of type {type(part).__name__} cannot be sent")


def unanswered(messages: Sequence[Message]) -> list[ToolCallPart]:
    """The calls of the last assistant message that nothing after it answers."""
    answered: set[str] = set()
    for message in reversed(messages):
        answered.update(result.tool_call_id for result in message.tool_returns)
        if message.role is Role.ASSISTANT:
            return [call for call in message.tool_calls if call.id not in answered]
    return []


def one_by_one(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The parts of an answer in which only the first call is to be carried out."""
    first = next((part for part in parts if isinstance(part, ToolCallPart)), None)
    return tuple(
        part.model_copy(update={"surplus": True}) if isinstance(part, ToolCallPart) and part is not first else part
        for part in parts
    )


def not_made(messages: Sequence[Message]) -> set[str]:
    """The ids of calls that count as nothing: surplus ones, and those a person denied."""
    surplus = {call.id for message in messages for call in message.tool_calls if call.surplus}
    denied = {
        part.tool_call_id
        for message in messages
        for part in message.parts
        if isinstance(part, ApprovalPart) and not part.approve
    }
    return surplus | denied


def unknown_outcomes(calls: Sequence[ToolCallPart]) -> list[ToolReturnPart]:
    """Results of calls whose outcome nobody knows, because the process that made them is gone."""
    return [ToolReturnPart(tool_call_id=call.id, name=call.name, status="error", content=INTERRUPTED) for call in calls]


def closing(calls: Sequence[ToolCallPart], last: Message, work: Work, moment: datetime) -> Message:
    """A message that answers calls whose outcome nobody knows."""
    return Message(
        id=new_id("message"),
        role=Role.TOOL,
        parts=list(unknown_outcomes(calls)),
        agent_id=work.agent_id,
        conversation_id=work.conversation_id,
        created_at=moment,
        run_id=work.id,
        step_id=last.step_id,
        data=last.data,
    )


def check(messages: Sequence[Message], answers: Collection[str] = (), stay_open: Collection[str] = ()) -> None:
    """Refuse to write a transcript that no model would accept: a step that breaks it is rolled back.

    `answers` are ids of calls written before, whose results are among the messages; those of `stay_open` come later.

    Raises:
        BrokenTranscript: a result without its call, a call without a result, or one answered twice.
    """
    open_calls = set(answers)
    for message in messages:
        if message.role is Role.TOOL:
            for result in message.tool_returns:
                if result.tool_call_id not in open_calls:
                    raise BrokenTranscript(f"the result of {result.tool_call_id} has no open call")
                open_calls.discard(result.tool_call_id)
        if message.role is Role.ASSISTANT and message.step_id is not None:
            ids = [call.id for call in message.tool_calls]
            if open_calls or len(ids) != len(set(ids)):
                raise BrokenTranscript(f"calls without a result: {', '.join(open_calls or ids)}")
            open_calls.update(ids)
    if open_calls != set(stay_open):
        raise BrokenTranscript(f"calls without a result: {', '.join(open_calls ^ set(stay_open))}")


def otid(message_id: str, index: int) -> str:
    """The id of part `index` of a message: the message's UUID with its last 7 bits replaced by the index."""
    value = UUID(message_id.partition("-")[2]).int
    return str(UUID(int=(value & ~0x7F) | (index & 0x7F)))
