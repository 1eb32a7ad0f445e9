"""Anthropic's messages wire."""

import json
from typing import Any

from tests.models.wire import KEY, Call, Heard, Say, Speech, Think, Wire
from tests.models.wire_server import Reply, json_reply, sse

from letta.errors import (
    ContextOverflow,
    ModelAuthentication,
    ModelBadRequest,
    ModelCredits,
    ModelNotFound,
    ModelRateLimit,
    ModelServerError,
    ModelTimeout,
)
from letta.models.anthropic import Anthropic
from letta.models.protocol import Usage
from letta.schemas.messages import ReasoningPart

_STOP = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens", "content_filter": "refusal"}


def _speak(speech: Speech) -> Reply:
    return Reply(sse(*_events(speech)))


def _late_failure(speech: Speech) -> Reply:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    return Reply(sse(*_events(speech)[:4], ("error", error)))


def _events(speech: Speech) -> list[Any]:
    start, end = _usage(speech.usage)
    message = {**_message(speech), "content": [], "stop_reason": None, "usage": start}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": message}, {"type": "ping"}]
    for index, item in enumerate(speech.items):
        block, deltas = _block(item)
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    events.append({"type": "message_delta", "delta": {"stop_reason": _STOP[speech.finish]}, "usage": end})
    events.append({"type": "message_stop"})
    return [(event["type"], event) for event in events]


def _message(speech: Speech) -> dict[str, Any]:
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5-20251001"}


def _block(item: Say | Think | Call) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    match item:
        case Say():
            return {"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in item.pieces]
        case Think():
            return {"type": "thinking", "thinking": "", "signature": ""}, [
                {"type": "thinking_delta", "thinking": item.text},
                {"type": "signature_delta", "signature": item.signature},
            ]
        case Call():
            half = len(item.arguments) // 2
            return {"type": "tool_use", "id": item.id, "name": item.name, "input": {}}, [
                {"type": "input_json_delta", "partial_json": piece}
                for piece in ("", item.arguments[:half], item.arguments[half:])
            ]


def _speak_whole(speech: Speech) -> Reply:
    content: list[dict[str, Any]] = []
    for item in speech.items:
        match item:
            case Say():
                content.append({"type": "text", "text": "".join(item.pieces)})
            case Think():
                content.append({"type": "thinking", "thinking": item.text, "signature": item.signature})
            case Call():
                arguments = json.loads(item.arguments or "{}")
                content.append({"type": "tool_use", "id": item.id, "name": item.name, "input": arguments})
    start, end = _usage(speech.usage)
    message = {**_message(speech), "content": content, "stop_reason": _STOP[speech.finish]}
    return json_reply({**message, "usage": {**start, **end}})


def _usage(usage: Usage | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Usage at the start and at the end of a stream; the input is told without what caches held."""
    if usage is None:
        return {}, {}
    cached, written = usage.cached_input_tokens or 0, usage.cache_write_tokens or 0
    start = {
        "input_tokens": (usage.prompt_tokens or 0) - cached - written,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": written,
        "output_tokens": 1,
    }
    details = {"thinking_tokens": usage.reasoning_tokens}
    return start, {"output_tokens": usage.completion_tokens, "output_tokens_details": details}


def _hear(body: Any) -> Heard:
    system = "\n\n".join(block["text"] for block in body.get("system", []))
    turns = [turn for message in body["messages"] for turn in _turns(message)]
    return Heard(system, turns, [tool["name"] for tool in body.get("tools", [])])


def _turns(message: dict[str, Any]) -> list[tuple[Any, ...]]:
    turns: list[tuple[Any, ...]] = []
    for block in message["content"]:
        match block["type"]:
            case "text":
                turns.append((message["role"], block["text"]))
            case "image":
                source = block["source"]
                inline = source["type"] == "base64"
                url = f"data:{source['media_type']};base64,{source['data']}" if inline else source["url"]
                turns.append(("image", url))
            case "thinking":
                turns.append(("thinking", block["thinking"], block["signature"]))
            case "redacted_thinking":
                turns.append(("redacted", block["data"]))
            case "tool_use":
                turns.append(("call", block["id"], block["name"], block["input"]))
            case "tool_result":
                turns.append(("result", block["tool_use_id"], block["content"]))
    return turns


def _error(status: int, kind: str, message: str, **headers: str) -> Reply:
    return json_reply({"type": "error", "error": {"type": kind, "message": message}}, status, **headers)


ANTHROPIC = Wire(
    id="anthropic",
    handle="anthropic/claude-haiku-4-5",
    connect=lambda url, sleep: Anthropic(url, KEY, sleep=sleep),
    speak=_speak,
    speak_whole=_speak_whole,
    hear=_hear,
    thought=lambda think: ReasoningPart(reasoning=think.text, signature=think.signature),
    failures={
        ModelBadRequest: _error(400, "invalid_request_error", "tools.0.name: invalid"),
        ContextOverflow: _error(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
        ModelAuthentication: _error(401, "authentication_error", f"invalid x-api-key {KEY}"),
        ModelCredits: _error(400, "invalid_request_error", "Your credit balance is too low to access the API."),
        ModelNotFound: _error(404, "not_found_error", "model: claude-haiku-4-5"),
        ModelRateLimit: _error(429, "rate_limit_error", "Number of tokens has exceeded your limit", retry_after="7"),
        ModelServerError: _error(529, "overloaded_error", "Overloaded"),
        ModelTimeout: _error(504, "timeout_error", "Request timed out"),
    },
    late_failure=_late_failure,
    schema_of=lambda body: body["output_config"]["format"]["schema"],
)
