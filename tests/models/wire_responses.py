"""OpenAI's Responses wire, as far as it is spoken without storing anything at OpenAI."""

import json
from itertools import count
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
from letta.models.protocol import Usage
from letta.models.pydantic_ai import PydanticAIModel
from letta.schemas.messages import SummarizedReasoningPart

REASONING_ID = "rs_1"
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def _speak(speech: Speech) -> Reply:
    return Reply(sse(*_numbered(_events(speech))))


def _late_failure(speech: Speech) -> Reply:
    error = {"type": "error", "code": "server_error", "message": "The server had an error", "param": None}
    return Reply(sse(*_numbered([*_events(speech)[:4], error])))


def _numbered(events: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    return [(event["type"], {**event, "sequence_number": number}) for number, event in enumerate(events)]


def _events(speech: Speech) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = [{"type": "response.created", "response": _response([], "in_progress", speech)}]
    numbers = count(1)
    output = []
    for index, item in enumerate(speech.items):
        whole, steps = _item(item, next(numbers))
        empty = {**whole, "content": []} if whole["type"] == "message" else {**whole, "summary": []}
        if whole["type"] == "function_call":
            empty = {**whole, "arguments": ""}
        events.append({"type": "response.output_item.added", "output_index": index, "item": empty})
        events += [{"output_index": index, "item_id": whole["id"], **step} for step in steps]
        events.append({"type": "response.output_item.done", "output_index": index, "item": whole})
        output.append(whole)
    status = "incomplete" if speech.finish in _INCOMPLETE else "completed"
    events.append({"type": f"response.{status}", "response": _response(output, status, speech)})
    return events


def _response(output: list[Any], status: str, speech: Speech) -> dict[str, Any]:
    reason = _INCOMPLETE.get(speech.finish) if status == "incomplete" else None
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1767225600,
        "model": "gpt-5-0101",
        "status": status,
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "incomplete_details": {"reason": reason} if reason else None,
        "usage": _usage(speech.usage) if speech.usage and status != "in_progress" else None,
    }


def _item(item: Say | Think | Call, number: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    whole: dict[str, Any]
    match item:
        case Say(pieces=pieces):
            part = {"type": "output_text", "text": "".join(pieces), "annotations": [], "logprobs": []}
            whole = {"type": "message", "id": f"msg_{number}", "role": "assistant", "status": "completed"}
            steps = [{"type": "response.content_part.added", "content_index": 0, "part": {**part, "text": ""}}]
            steps += [
                {"type": "response.output_text.delta", "content_index": 0, "delta": piece, "logprobs": []}
                for piece in pieces
            ]
            steps.append(
                {"type": "response.output_text.done", "content_index": 0, "text": part["text"], "logprobs": []}
            )
            steps.append({"type": "response.content_part.done", "content_index": 0, "part": part})
            return {**whole, "content": [part]}, steps
        case Think(text=text, signature=signature):
            part = {"type": "summary_text", "text": text}
            steps = [
                {"type": "response.reasoning_summary_part.added", "summary_index": 0, "part": {**part, "text": ""}}
            ]
            steps += [
                {"type": "response.reasoning_summary_text.delta", "summary_index": 0, "delta": piece}
                for piece in _halves(text)
            ]
            steps.append({"type": "response.reasoning_summary_text.done", "summary_index": 0, "text": text})
            steps.append({"type": "response.reasoning_summary_part.done", "summary_index": 0, "part": part})
            whole = {"type": "reasoning", "id": REASONING_ID, "summary": [part], "encrypted_content": signature}
            return whole, steps
        case Call(id=id_, name=name, arguments=arguments):
            whole = {"type": "function_call", "id": f"fc_{number}", "call_id": id_, "name": name, "status": "completed"}
            steps = [{"type": "response.function_call_arguments.delta", "delta": piece} for piece in _halves(arguments)]
            steps.append({"type": "response.function_call_arguments.done", "name": name, "arguments": arguments})
            return {**whole, "arguments": arguments}, steps


def _halves(text: str) -> list[str]:
    return [text[: len(text) // 2], text[len(text) // 2 :]]


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_input_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _hear(body: Any) -> Heard:
    turns = [turn for item in body["input"] for turn in _turns(item)]
    return Heard(body["instructions"], turns, [tool["name"] for tool in body.get("tools", [])])


def _turns(item: dict[str, Any]) -> list[tuple[Any, ...]]:
    match item.get("type", "message"):
        case "reasoning":
            text = "".join(part["text"] for part in item["summary"])
            return [("thinking", text, item["encrypted_content"])]
        case "function_call":
            return [("call", item["call_id"], item["name"], json.loads(item["arguments"]))]
        case "function_call_output":
            return _result(item["call_id"], item["output"])
        case _:
            return _pieces(item["role"], item["content"])


def _result(id_: str, output: Any) -> list[tuple[Any, ...]]:
    if isinstance(output, str):
        return [("result", id_, output)]
    texts = "\n".join(piece["text"] for piece in output if piece["type"] == "input_text")
    seen = [("image", piece["image_url"]) for piece in output if piece["type"] == "input_image"]
    return [("result", id_, texts), *seen]


def _pieces(role: str, content: Any) -> list[tuple[Any, ...]]:
    if isinstance(content, str):
        return [(role, content)]
    return [
        ("image", piece["image_url"]) if piece["type"] == "input_image" else (role, piece["text"]) for piece in content
    ]


def _error(status: int, message: str, code: str | None = None, **headers: str) -> Reply:
    return json_reply({"error": {"message": message, "type": "invalid_request_error", "code": code}}, status, **headers)


RESPONSES = Wire(
    id="openai-responses",
    handle="openai/gpt-5",
    connect=lambda url, sleep: PydanticAIModel("openai-responses", KEY, f"{url}/v1", provider="openai", sleep=sleep),
    speak=_speak,
    hear=_hear,
    thought=lambda think: SummarizedReasoningPart(
        id=REASONING_ID, summary=(think.text,), encrypted_content=think.signature
    ),
    failures={
        ModelBadRequest: _error(400, "Invalid value for 'tool_choice'."),
        ContextOverflow: _error(400, "Your input exceeds the context window of this model.", "context_length_exceeded"),
        ModelAuthentication: _error(401, f"Incorrect API key provided: {KEY}.", "invalid_api_key"),
        ModelCredits: _error(429, "You exceeded your current quota.", "insufficient_quota"),
        ModelNotFound: _error(404, "The model `gpt-5` does not exist.", "model_not_found"),
        ModelRateLimit: _error(429, "Rate limit reached.", "rate_limit_exceeded", retry_after="7"),
        ModelServerError: Reply((b"<html>upstream failed</html>",), 503, {"content-type": "text/html"}),
        ModelTimeout: _error(504, "Gateway timeout."),
    },
    late_failure=_late_failure,
    schema_of=lambda body: body["text"]["format"]["schema"],
)
