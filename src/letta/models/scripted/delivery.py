"""Turns a plan into one model answer: text or tool calls, in the style and within the limits the request sets.

Native agents get their reply as text; agents that speak through `send_message` get a call of it, with the thoughts
and heartbeat arguments its schema has. `tool_choice`, `parallel_tool_calls` and `response_format` are obeyed here only.
"""

import re
from typing import Any

import orjson

from letta.models.protocol import ModelRequest, ToolSchema
from letta.models.scripted.facts import home_block
from letta.models.scripted.recall import SEARCH
from letta.models.scripted.rules import Plan, plan, report
from letta.models.scripted.samples import sample
from letta.models.scripted.steps import Call, Step, Think, command
from letta.models.scripted.turn import Turn, read_turn

SEND = "send_message"
# When some call is required and none is needed, one that changes nothing is made if there is one.
_HARMLESS = ("memory_finish_edits", SEARCH)
_HEARTBEAT = "request_heartbeat"
_DEMAND = re.compile(r"\b(?:must|required?|requires|need to|cannot end)\b", re.IGNORECASE)
_TOOL_NAME = re.compile(r"[\w.-]*\w")
_THOUGHTS = ("thinking", "inner_thoughts")


def answer(request: ModelRequest) -> Step:
    """The step the rules take for this request."""
    turn = read_turn(request)
    step: Step | None = None
    if turn.text.startswith("!"):
        step, turn.text = command(turn.text, turn.steps)
        if step is not None and not turn.text.startswith("!"):
            # `!wait` goes on with what stands behind it.
            return [step, _answer(turn)]
    return _answer(turn) if step is None else step


def _answer(turn: Turn) -> Step:
    decided = plan(turn)
    thought = [Think(decided.thought)] if decided.thought else []
    calls = _calls(turn, decided)
    return [*thought, *calls] if calls else [*thought, _shaped(turn, _reply(turn, decided))]


def _calls(turn: Turn, decided: Plan) -> list[Call]:
    choice = turn.request.tool_choice
    if choice == "none":
        return []
    calls = [_completed(turn, call) for call in decided.calls] or _demanded(turn)
    if choice not in ("auto", "required"):
        return [call for call in calls if call.name == choice][:1] or [_forced(turn, decided, choice)]
    if not calls and SEND in turn.tools and not _sent(turn):
        calls = [_message(turn, decided)]
    elif not calls and choice == "required" and turn.tools:
        calls = [
            _forced(turn, decided, next((name for name in _HARMLESS if name in turn.tools), turn.request.tools[0].name))
        ]
    return calls[:1] if turn.request.parameters.parallel_tool_calls is False else calls


def _reply(turn: Turn, decided: Plan) -> str:
    if decided.calls and turn.request.tool_choice == "none":
        return (
            f"I may not call tools in this answer, so I did not call {', '.join(call.name for call in decided.calls)}."
        )
    told = "" if decided.reports else report(turn)
    return f"{told}. {decided.reply}" if told and not _sent(turn) else decided.reply or "Done."


def _sent(turn: Turn) -> bool:
    return any(call.name == SEND for call in turn.calls)


def _message(turn: Turn, decided: Plan) -> Call:
    tool = turn.tools[SEND]
    schema = (tool.parameters.get("properties") or {}).get("message") or {}
    reply = _reply(turn, decided)
    message = (
        sample(schema, reply, turn.text, tool.parameters)
        if schema.get("type", "string") != "string"
        else _shaped(turn, reply)
    )
    return _completed(turn, Call(SEND, {"message": message}))


def _demanded(turn: Turn) -> list[Call]:
    """The server may say, after a step, that a certain tool has to be called before the turn can end."""
    note = turn.notes[-1] if turn.notes and turn.steps else ""
    if not _DEMAND.search(note):
        return []
    named = set(_TOOL_NAME.findall(note)) - {call.name for call in turn.calls}
    return [_sampled(turn, tool) for tool in turn.request.tools if tool.name in named][:1]


def _forced(turn: Turn, decided: Plan, name: str) -> Call:
    if name == SEND and SEND in turn.tools:
        return _message(turn, decided)
    tool = turn.tools.get(name)
    return _sampled(turn, tool) if tool else Call(name)


def _sampled(turn: Turn, tool: ToolSchema) -> Call:
    args = sample(tool.parameters, turn.text or "hello", turn.text) if tool.parameters.get("properties") else {}
    required = set(tool.parameters.get("required") or args)
    args = {name: value for name, value in args.items() if name in required}
    home = home_block(turn)
    if "label" in args and home:
        args["label"] = home.label
    return _completed(turn, Call(tool.name, args))


def _completed(turn: Turn, call: Call) -> Call:
    """Fill in the arguments the server adds to every tool of a heartbeat agent."""
    tool = turn.tools.get(call.name)
    if tool is None or isinstance(call.args, str):
        return call
    properties = tool.parameters.get("properties") or {}
    args: dict[str, Any] = {}
    for name in _THOUGHTS:
        if name in properties and name not in call.args:
            args[name] = "I follow the rule that fits this message."
    args |= call.args
    if _HEARTBEAT in properties and _HEARTBEAT not in call.args:
        # Control has to come back after a tool, so that the result can be told.
        args[_HEARTBEAT] = call.name != SEND
    return Call(call.name, args)


def _shaped(turn: Turn, reply: str) -> str:
    """The reply as JSON when the request asks for it."""
    wanted = turn.request.parameters.response_format or {}
    kind = wanted.get("type")
    if kind == "json_object":
        return orjson.dumps({"reply": reply}).decode()
    if kind != "json_schema":
        return reply
    holder = wanted.get("json_schema") or {}
    schema = holder.get("schema") or wanted.get("schema") or holder
    return orjson.dumps(sample(schema, reply, turn.text)).decode()
