"""Calls that wait for a person or a client, and the messages that answer them.

Pure logic: finds what waits, checks that an answer fits, and turns it into results.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from letta.errors import Conflict, InvalidRequest
from letta.runtime import transcript
from letta.schemas.common import new_id
from letta.schemas.messages import ApprovalPart, Message, Part, Role, ToolCallPart, ToolReturnPart
from letta.schemas.sends import (
    ApprovalInput,
    Decision,
    MessageInput,
    SendRequest,
    ToolResult,
    ToolReturnMessageInput,
)
from letta.store.runs import Work

CANCELLED = "Error: the call was cancelled before anybody answered it."
EXPIRED = "Error: nobody answered this call in time. It expired and was not made."


@dataclass(frozen=True, slots=True)
class Answers:
    """What a person or client answered: `message` records it, `known` are results that need nothing to run.

    `denied` are the ids of calls a person does not want to happen.
    """

    message: Message
    known: dict[str, ToolReturnPart]
    denied: frozenset[str] = frozenset()


def is_answer(request: SendRequest) -> bool:
    """Whether a request answers waiting calls."""
    return any(isinstance(item, ApprovalInput | ToolReturnMessageInput) for item in request.inputs())


def waiting(messages: Sequence[Message]) -> Message | None:
    """The last message, if calls in it wait for an answer."""
    for message in reversed(messages):
        if message.role is Role.ASSISTANT:
            held = any(call.pending for call in message.tool_calls)
            return message if held and transcript.unanswered(messages) else None
    return None


def answer(
    request: SendRequest, asked: Message | None, shown: Sequence[Message], work: Work, moment: datetime
) -> Answers | None:
    """What a request answers to the calls of `asked`. None when the same was answered before: sending twice is no harm.

    Raises:
        letta.errors.InvalidRequest: nothing waits, or the answer names other calls, or leaves some out.
        letta.errors.Conflict: nothing waits any more, and something else happened than the answer wants.
    """
    given = _given(request, asked, shown)
    if asked is None:
        _repeats(given, shown)
        return None
    held = [call.id for call in asked.tool_calls if call.pending]
    ids = [item.tool_call_id for item in given]
    if sorted(ids) != sorted(held):
        raise InvalidRequest(
            f"messages: the calls that wait are {', '.join(held)}, the answers are for {', '.join(ids) or 'none'}: "
            "answer each of them once"
        )
    return Answers(
        _message(request, asked, given, work, moment),
        {i.tool_call_id: r for i in given if (r := _result(i, asked))},
        frozenset(item.tool_call_id for item in given if isinstance(item, Decision) and not item.approve),
    )


def _repeats(given: Sequence[Decision | ToolResult], shown: Sequence[Message]) -> None:
    """Check that answers to calls that wait no longer say what was answered then.

    Raises:
        letta.errors.InvalidRequest, letta.errors.Conflict: as `answer`.
    """
    asked = {call.id: message for message in shown for call in message.tool_calls if call.pending}
    results = {result.tool_call_id: result for message in shown for result in message.tool_returns}
    answered = {
        part.tool_call_id: part
        for message in shown
        if message.role is Role.APPROVAL
        for part in message.parts
        if isinstance(part, ApprovalPart | ToolReturnPart)
    }
    if not given or not all(item.tool_call_id in asked and item.tool_call_id in results for item in given):
        raise InvalidRequest("messages: no tool call waits for an approval or a result")
    if any(results[item.tool_call_id].content == EXPIRED for item in given):
        raise InvalidRequest("messages: these calls expired before they were answered; send a message instead")
    other = [
        f"{item.tool_call_id} {_fate(answered.get(item.tool_call_id))}"
        for item in given
        if answered.get(item.tool_call_id) != _recorded(item, asked[item.tool_call_id])
    ]
    if other:
        raise Conflict(f"messages: this answer changes nothing, these calls do not wait any more: {'; '.join(other)}")


def _fate(answered: ApprovalPart | ToolReturnPart | None) -> str:
    """What became of a call, in words."""
    if answered is None:
        return "was cancelled before it was answered, and was not made"
    if isinstance(answered, ToolReturnPart):
        return f"was answered with another result ({answered.status})"
    because = f" with the reason {answered.reason!r}" if answered.reason else ""
    return ("was approved" if answered.approve else "was denied") + because


def _given(request: SendRequest, asked: Message | None, shown: Sequence[Message]) -> list[Decision | ToolResult]:
    found: list[Decision | ToolResult] = []
    for item in request.inputs():
        if isinstance(item, ToolReturnMessageInput):
            found.extend(item.tool_returns)
        elif isinstance(item, ApprovalInput) and item.approvals is not None:
            found.extend(item.approvals)
        elif isinstance(item, ApprovalInput):
            found.extend(_for_all(item, asked or _asked_before(item.approval_request_id, shown)))
    return found


def _asked_before(request_id: str | None, shown: Sequence[Message]) -> Message | None:
    """The message with this id, or else the last, if its calls waited once."""
    for message in reversed(shown):
        if request_id in (None, message.id) and any(call.pending for call in message.tool_calls):
            return message
    return None


def _for_all(item: ApprovalInput, asked: Message | None) -> list[Decision]:
    """The older form: one word for every call of a request."""
    if item.approve is None:
        raise InvalidRequest("messages: an approval needs `approvals`, or `approve` with `approval_request_id`")
    if asked is None or item.approval_request_id not in (None, asked.id):
        raise InvalidRequest(f"approval_request_id: {item.approval_request_id} does not wait for an approval")
    calls = [call for call in asked.tool_calls if call.pending]
    return [Decision(tool_call_id=call.id, approve=item.approve, reason=item.reason) for call in calls]


def _recorded(item: Decision | ToolResult, asked: Message) -> ApprovalPart | ToolReturnPart | None:
    """An answer as its message keeps it."""
    if isinstance(item, Decision):
        return ApprovalPart(tool_call_id=item.tool_call_id, approve=item.approve, reason=item.reason)
    return _result(item, asked)


def _result(item: Decision | ToolResult, asked: Message) -> ToolReturnPart | None:
    """The result a person's or client's answer stands for; an approved call has none until it ran."""
    names = {call.id: call.name for call in asked.tool_calls}
    if isinstance(item, ToolResult):
        content: Any = item.tool_return if isinstance(item.tool_return, str) else tuple(item.tool_return)
        return ToolReturnPart(
            tool_call_id=item.tool_call_id,
            name=names[item.tool_call_id],
            status=item.status,
            content=content,
            stdout=tuple(item.stdout or ()),
            stderr=tuple(item.stderr or ()),
        )
    if item.approve:
        return None
    because = f" Reason: {item.reason}" if item.reason else ""
    text = f"Error: the user denied this call.{because}"
    return ToolReturnPart(tool_call_id=item.tool_call_id, name=names[item.tool_call_id], status="error", content=text)


def _message(
    request: SendRequest, asked: Message, given: Sequence[Decision | ToolResult], work: Work, moment: datetime
) -> Message:
    parts: list[Part] = [part for item in given if (part := _recorded(item, asked)) is not None]
    otid = next((item.otid for item in request.inputs() if not isinstance(item, MessageInput)), None)
    return Message(
        id=new_id("message"),
        role=Role.APPROVAL,
        parts=parts,
        agent_id=work.agent_id,
        conversation_id=work.conversation_id,
        created_at=moment,
        run_id=work.id,
        step_id=asked.step_id,
        otid=otid,
        data={"request_id": asked.id},
    )


def closed(calls: Sequence[ToolCallPart], why: str) -> list[ToolReturnPart]:
    """Results for calls nobody will answer any more."""
    return [ToolReturnPart(tool_call_id=call.id, name=call.name, status="error", content=why) for call in calls]
