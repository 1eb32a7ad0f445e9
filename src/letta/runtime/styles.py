"""Ways of working. The loop is the same for all agents; a style answers its questions where they differ.

`NATIVE` agents reply with text and go on after every tool call. `HEARTBEAT` agents (MemGPT) reply with send_message,
think in a tool argument, and go on only when they ask for it.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import orjson

from letta.models.protocol import ToolSchema
from letta.schemas.agents import AgentType
from letta.schemas.messages import Message, Role, TextPart, ToolCallPart, ToolReturnPart
from letta.schemas.runs import StopReason
from letta.tools.rules import RuleBook

log = logging.getLogger(__name__)

THOUGHTS = "thinking"
HEARTBEAT_ARGUMENT = "request_heartbeat"
REPLY_TOOL = "send_message"

_THOUGHTS_SCHEMA = {"type": "string", "description": "Your private inner monologue. The user does not see it."}
_HEARTBEAT_SCHEMA = {
    "type": "boolean",
    "description": "True to go on after this tool and see its result; otherwise your turn ends.",
}
_NATIVE_TYPES = frozenset({AgentType.LETTA_V1_AGENT, AgentType.SLEEPTIME_AGENT, AgentType.VOICE_CONVO_AGENT})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step came to, for the style to judge."""

    finish_reason: str
    calls: Sequence[ToolCallPart]
    returns: Sequence[ToolReturnPart]
    rules: RuleBook
    offered: Sequence[str]

    @property
    def stuck(self) -> bool:
        """Whether the agent has tools, and its rules leave none of them for the next call."""
        if not self.offered or self.rules.permitted(self.offered).names:
            return False
        log.warning("the tool rules leave no tool after %s", ", ".join(call.name for call in self.calls) or "the reply")
        return True


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the turn ends (`stop`), and what the model is told when it does not."""

    stop: StopReason | None = None
    nudge: str | None = None


class Style(Protocol):
    """How an agent type works."""

    name: str

    def tools(
        self, schemas: Sequence[ToolSchema], *, reasons: bool, answer: dict[str, Any] | None
    ) -> tuple[ToolSchema, ...]:
        """The tools as the model is told of them.

        `reasons`: the model thinks natively. `answer` is the JSON Schema the reply has to fit, if there is one.
        """
        ...

    def show(self, message: Message, zone: ZoneInfo) -> Message:
        """A stored message as the model sees it."""
        ...

    def reply(self, calls: Sequence[ToolCallPart]) -> str | None:
        """The words for the user that are inside tool calls."""
        ...

    def judge(self, outcome: Outcome) -> Verdict:
        """Whether the turn goes on."""
        ...


class NativeStyle:
    """Free text is the reply; any tool call, also a failed one, continues."""

    name = "native"

    def tools(
        self, schemas: Sequence[ToolSchema], *, reasons: bool, answer: dict[str, Any] | None
    ) -> tuple[ToolSchema, ...]:
        return tuple(schemas)

    def show(self, message: Message, zone: ZoneInfo) -> Message:
        return message

    def reply(self, calls: Sequence[ToolCallPart]) -> str | None:
        return None

    def judge(self, outcome: Outcome) -> Verdict:
        succeeded = [call for call, result in _pairs(outcome) if result.status == "success"]
        missing = outcome.rules.still_required(outcome.offered)
        stuck = outcome.stuck
        if any(outcome.rules.ends_turn(call.name) for call in succeeded):
            return Verdict(nudge=_missing(missing)) if missing and not stuck else Verdict(StopReason.TOOL_RULE)
        if outcome.calls:
            return Verdict(nudge=_NOTHING_LEFT) if stuck else Verdict()
        if outcome.finish_reason == "length":
            return Verdict(StopReason.MAX_TOKENS_EXCEEDED)
        if missing and not stuck:
            return Verdict(nudge=_missing(missing))
        return Verdict(StopReason.END_TURN)


class HeartbeatStyle:
    """The reply is a tool call; the turn ends after a tool unless a heartbeat was asked for.

    A failed tool continues as well, so that the model can react to its own error; `max_steps` bounds it.
    """

    name = "heartbeat"

    def tools(
        self, schemas: Sequence[ToolSchema], *, reasons: bool, answer: dict[str, Any] | None
    ) -> tuple[ToolSchema, ...]:
        shaped = [_answering(schema, answer) if answer and schema.name == REPLY_TOOL else schema for schema in schemas]
        return tuple(_with_arguments(schema, thoughts=not reasons) for schema in shaped)

    def show(self, message: Message, zone: ZoneInfo) -> Message:
        if message.role is not Role.USER or (message.data or {}).get("packed"):
            return message
        moment = message.created_at.astimezone(zone).strftime("%Y-%m-%d %I:%M:%S %p %Z%z")
        texts = [_packed(part, moment) if isinstance(part, TextPart) else part for part in message.parts]
        return message.model_copy(update={"parts": texts})

    def reply(self, calls: Sequence[ToolCallPart]) -> str | None:
        said = [_argument(call, "message") for call in calls if call.name == REPLY_TOOL]
        return "\n".join(as_text(value) for value in said if value is not None) or None

    def judge(self, outcome: Outcome) -> Verdict:
        if not outcome.calls:
            reason = StopReason.NO_TOOL_CALL
            return Verdict(StopReason.MAX_TOKENS_EXCEEDED if outcome.finish_reason == "length" else reason)
        pairs = _pairs(outcome)
        missing = outcome.rules.still_required(outcome.offered)
        if outcome.stuck:
            # Such an agent can only act by tools: asked again, it could not even reply.
            return Verdict(StopReason.TOOL_RULE)
        if any(result.status == "error" for _, result in pairs):
            return Verdict(nudge="The tool call failed: look at the error and go on.")
        if any(outcome.rules.ends_turn(call.name) for call, _ in pairs):
            return Verdict(nudge=_missing(missing)) if missing else Verdict(StopReason.TOOL_RULE)
        if any(call.surplus for call in outcome.calls):
            return Verdict(nudge="Continuing: you can make one call at a time, and only the first was made.")
        if any(outcome.rules.continues(call.name) for call, _ in pairs):
            return Verdict(nudge="Continuing: a rule of the last tool says so.")
        if any(_argument(call, HEARTBEAT_ARGUMENT) is True for call, _ in pairs):
            return Verdict(nudge="Continuing: you asked for a heartbeat.")
        return Verdict(nudge=_missing(missing)) if missing else Verdict(StopReason.END_TURN)


_NOTHING_LEFT = "Your tool rules leave no tool that you could call now: answer in words."

NATIVE, HEARTBEAT = NativeStyle(), HeartbeatStyle()


def style_of(agent_type: AgentType | str) -> Style:
    """The style of an agent type."""
    return NATIVE if agent_type in _NATIVE_TYPES else HEARTBEAT


def _pairs(outcome: Outcome) -> list[tuple[ToolCallPart, ToolReturnPart]]:
    """The calls that were carried out, or should have been, with their results."""
    results = {result.tool_call_id: result for result in outcome.returns}
    return [(call, results[call.id]) for call in outcome.calls if call.id in results and not call.surplus]


def _missing(names: Sequence[str]) -> str:
    return f"Your turn cannot end yet: call {', '.join(names)} first."


def _argument(call: ToolCallPart, name: str) -> Any:
    try:
        arguments = orjson.loads(call.arguments or "{}")
    except orjson.JSONDecodeError:
        return None
    return arguments.get(name) if isinstance(arguments, dict) else None


def as_text(value: Any) -> str:
    """A reply as text: structured answers are written as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _answering(schema: ToolSchema, answer: dict[str, Any]) -> ToolSchema:
    """The reply tool, with the shape the answer has to have."""
    properties = {**schema.parameters.get("properties", {}), "message": answer}
    return replace(schema, parameters={**schema.parameters, "properties": properties})


def _with_arguments(schema: ToolSchema, *, thoughts: bool) -> ToolSchema:
    properties = dict(schema.parameters.get("properties", {}))
    required = list(schema.parameters.get("required", []))
    if thoughts:
        properties = {THOUGHTS: _THOUGHTS_SCHEMA, **properties}
        required = [THOUGHTS, *required]
    if schema.name != REPLY_TOOL:
        properties[HEARTBEAT_ARGUMENT] = _HEARTBEAT_SCHEMA
        required.append(HEARTBEAT_ARGUMENT)
    return replace(schema, parameters={**schema.parameters, "properties": properties, "required": required})


def _packed(part: TextPart, moment: str) -> TextPart:
    return TextPart(text=orjson.dumps({"type": "user_message", "message": part.text, "time": moment}).decode())


def heartbeat_text(reason: str, moment: str) -> str:
    """The synthetic user message that hands control back to the model."""
    return orjson.dumps({"type": "heartbeat", "reason": reason, "time": moment}).decode()
