"""The chat completions wire, with the habits of different servers as parameters."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from tests.models.wire import KEY, USAGE, Call, Heard, Say, Speech, Think, Wire
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
from letta.models import names, openai_quirks
from letta.models.http import Sleep
from letta.models.openai_chat import OpenAIChat
from letta.models.protocol import Model, Usage
from letta.schemas.messages import Part, ReasoningPart

DONE = b"data: [DONE]\n\n"
ReasoningForm = Literal["reasoning_content", "reasoning", "thinking"]


def chat_wire(
    provider: str,
    *,
    reasoning: ReasoningForm = "reasoning_content",
    whole_calls: bool = False,
    usage: Usage = USAGE,
) -> Wire:
    """A server of kind `provider`.

    `reasoning` is the field its reasoning comes in (`thinking`: typed pieces of content); `whole_calls` sends each
    call in one piece, all with index 0.
    """

    def speak(speech: Speech) -> Reply:
        return Reply(sse(*_chunks(speech, reasoning, whole_calls), end=DONE))

    def late_failure(speech: Speech) -> Reply:
        error = {"error": {"message": "The server had an error", "type": "server_error", "code": 500}}
        return Reply(sse(*_chunks(speech, reasoning, whole_calls)[:2], error, end=DONE))

    quirks = openai_quirks.of(provider)
    return Wire(
        id=provider,
        handle=f"{provider}/some-model",
        connect=_connect(provider),
        speak=speak,
        speak_whole=lambda speech: json_reply(_whole(speech, reasoning)),
        hear=_hear,
        thought=lambda think: _thought(think, reasoning),
        failures=FAILURES,
        late_failure=late_failure,
        usage=usage,
        call_id=lambda id_: names.call_id(id_, quirks.call_id),
        schema_of=lambda body: body["response_format"]["json_schema"]["schema"],
    )


def _connect(provider: str) -> Callable[[str, Sleep], Model]:
    return lambda url, sleep: OpenAIChat(url, KEY, provider=provider, sleep=sleep)


def _thought(think: Think, reasoning: ReasoningForm) -> Part:
    return ReasoningPart(reasoning=think.text, field=reasoning)


def _chunks(speech: Speech, reasoning: ReasoningForm, whole_calls: bool) -> list[Any]:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    calls = 0
    for item in speech.items:
        match item:
            case Say():
                deltas += [{"content": piece} for piece in item.pieces]
            case Think():
                deltas += [_reasoning(piece, reasoning) for piece in _halves(item.text)]
            case Call():
                deltas += _call(item, calls, whole_calls)
                calls += 1
    chunks = [_chunk([{"index": 0, "delta": delta, "finish_reason": None}]) for delta in deltas]
    chunks.append(_chunk([{"index": 0, "delta": {}, "finish_reason": speech.finish}]))
    if speech.usage:
        chunks.append({**_chunk([]), "usage": _usage(speech.usage)})
    return chunks


def _chunk(choices: list[Any]) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "some-model-0101", "choices": choices}


def _reasoning(text: str, form: ReasoningForm) -> dict[str, Any]:
    if form == "thinking":
        return {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]}
    return {form: text, "content": None}


def _call(call: Call, index: int, whole: bool) -> list[dict[str, Any]]:
    if whole:
        function = {"name": call.name, "arguments": call.arguments}
        return [{"tool_calls": [{"index": 0, "id": call.id, "type": "function", "function": function}]}]
    first = {"index": index, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
    rest = [{"index": index, "function": {"arguments": piece}} for piece in _halves(call.arguments)]
    return [{"tool_calls": [piece]} for piece in (first, *rest)]


def _halves(text: str) -> list[str]:
    return [text[: len(text) // 2], text[len(text) // 2 :]]


def _whole(speech: Speech, reasoning: ReasoningForm) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None}
    pieces: list[Any] = []
    for item in speech.items:
        match item:
            case Say():
                pieces.append({"type": "text", "text": "".join(item.pieces)})
            case Think() if reasoning == "thinking":
                pieces += _reasoning(item.text, reasoning)["content"]
            case Think():
                message[reasoning] = item.text
            case Call():
                function = {"name": item.name, "arguments": item.arguments}
                message.setdefault("tool_calls", []).append({"id": item.id, "type": "function", "function": function})
    plain = all(piece["type"] == "text" for piece in pieces)
    message["content"] = "".join(piece["text"] for piece in pieces) if plain else pieces
    choice = {"index": 0, "message": message, "finish_reason": speech.finish}
    usage = {"usage": _usage(speech.usage)} if speech.usage else {}
    return {"id": "chatcmpl-1", "model": "some-model-0101", "choices": [choice], **usage}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_input_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _hear(body: Any) -> Heard:
    first, *rest = body["messages"]
    assert first["role"] == "system"
    turns = [turn for message in rest for turn in _turns(message)]
    return Heard(first["content"], turns, [tool["function"]["name"] for tool in body.get("tools", [])])


def _turns(message: dict[str, Any]) -> list[tuple[Any, ...]]:
    if message["role"] == "tool":
        return [("result", message["tool_call_id"], message["content"])]
    content = message["content"]
    turns: list[tuple[Any, ...]] = [
        ("thinking", message[name], None) for name in ("reasoning_content", "reasoning") if message.get(name)
    ]
    for piece in content if isinstance(content, list) else [{"type": "text", "text": content}]:
        match piece["type"]:
            case "text" if piece["text"]:
                turns.append((message["role"], piece["text"]))
            case "image_url":
                turns.append(("image", piece["image_url"]["url"]))
            case "thinking":
                turns.append(("thinking", piece["thinking"][0]["text"], None))
    return turns + [
        ("call", call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
        for call in message.get("tool_calls", [])
    ]


def _error(status: int, message: str, code: str | None = None, **headers: str) -> Reply:
    return json_reply({"error": {"message": message, "type": "invalid_request_error", "code": code}}, status, **headers)


FAILURES = {
    ModelBadRequest: _error(400, "Invalid value for 'tool_choice'."),
    ContextOverflow: _error(400, "This model's maximum context length is 8192 tokens.", "context_length_exceeded"),
    ModelAuthentication: _error(401, f"Incorrect API key provided: {KEY}.", "invalid_api_key"),
    ModelCredits: _error(429, "You exceeded your current quota.", "insufficient_quota"),
    ModelNotFound: _error(404, "The model `some-model` does not exist.", "model_not_found"),
    ModelRateLimit: _error(429, "Rate limit reached.", "rate_limit_exceeded", retry_after="7"),
    ModelServerError: replace(_error(503, ""), chunks=(b"<html>upstream failed</html>",)),
    ModelTimeout: _error(504, "Gateway timeout."),
}
