"""Calls of a step that was interrupted: which are made again, and what is said about the others.

Pure logic. A call that works inside the step's transaction has not happened unless its result is stored; one that
leaves the process may have, and is made again only where its tool is idempotent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from letta.runtime import approvals, transcript
from letta.schemas.messages import Message, Role, ToolCallPart, ToolReturnPart
from letta.schemas.sends import SendRequest
from letta.store.query import now
from letta.store.runs import Work
from letta.tools.toolbox import Toolbox


@dataclass(frozen=True, slots=True)
class Resumed:
    """`asked` is the message whose calls are open, `again` what is made once more, `known` results that are certain."""

    asked: Message
    again: tuple[ToolCallPart, ...]
    known: Mapping[str, ToolReturnPart]
    denied: frozenset[str]


def resumed(messages: Sequence[Message], request: SendRequest, work: Work, toolbox: Toolbox) -> Resumed | None:
    """What to do about the open calls at the end of a window. None when they are not this run's to go on with."""
    lost = transcript.unanswered(messages)
    asked = next((message for message in reversed(messages) if message.role is Role.ASSISTANT), None)
    mine = any(message.run_id == work.id for message in messages)
    answering = approvals.is_answer(request)
    if not lost or asked is None or not mine or (asked.run_id != work.id and not answering):
        return None
    known: dict[str, ToolReturnPart] = {}
    denied: frozenset[str] = frozenset()
    if answering and asked.run_id != work.id:
        answers = approvals.answer(request, asked, messages, work, now())
        known, denied = (dict(answers.known), answers.denied) if answers else (known, denied)
    left = [call for call in lost if call.id not in known and toolbox.is_errand(call)]
    again = tuple(call for call in left if toolbox.repeats(call))
    unknown = transcript.unknown_outcomes([call for call in left if call not in again])
    return Resumed(asked, again, known | {result.tool_call_id: result for result in unknown}, denied)
