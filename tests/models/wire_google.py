"""The Gemini API's wire."""

import base64
import json
from dataclasses import replace
from typing import Any

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
from letta.models.protocol import Usage
from letta.models.pydantic_ai import PydanticAIModel
from letta.schemas.messages import Part, ReasoningPart

_FINISH = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}
_PLACEHOLDER = base64.b64encode(b"skip_thought_signature_validator").decode()


def _speak(speech: Speech) -> Reply:
    return Reply(sse(*_chunks(speech)))


def _late_failure(speech: Speech) -> Reply:
    error = {"error": {"code": 500, "message": "An internal error has occurred.", "status": "INTERNAL"}}
    return Reply(sse(*_chunks(speech)[:2], error))


def _chunks(speech: Speech) -> list[dict[str, Any]]:
    chunks = [_chunk({"content": {"role": "model", "parts": [part]}}) for item in speech.items for part in _parts(item)]
    last = _chunk({"content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": _FINISH[speech.finish]})
    if speech.usage:
        last["usageMetadata"] = _usage(speech.usage)
    return [*chunks, last]


def _chunk(candidate: dict[str, Any]) -> dict[str, Any]:
    return {"candidates": [{"index": 0, **candidate}], "modelVersion": "gemini-2.5-pro-0101", "responseId": "resp-1"}


def _parts(item: Say | Think | Call) -> list[dict[str, Any]]:
    match item:
        case Say(pieces=pieces):
            return [{"text": piece} for piece in pieces]
        case Think(text=text):
            return [{"text": text, "thought": True}]
        case Call(id=id_, name=name, arguments=arguments):
            return [{"functionCall": {"id": id_, "name": name, "args": json.loads(arguments or "{}")}}]


def _usage(usage: Usage) -> dict[str, Any]:
    thoughts = usage.reasoning_tokens or 0
    return {
        "promptTokenCount": usage.prompt_tokens,
        "candidatesTokenCount": (usage.completion_tokens or 0) - thoughts,
        "thoughtsTokenCount": thoughts,
        "cachedContentTokenCount": usage.cached_input_tokens,
        "totalTokenCount": usage.total_tokens,
    }


def _hear(body: Any) -> Heard:
    system = "\n\n".join(part["text"] for part in body["systemInstruction"]["parts"])
    turns = [
        turn for content in body["contents"] for part in content["parts"] for turn in _turns(content["role"], part)
    ]
    declared = [tool for group in body.get("tools", []) for tool in group["functionDeclarations"]]
    return Heard(system, turns, [tool["name"] for tool in declared])


def _turns(role: str, part: dict[str, Any]) -> list[tuple[Any, ...]]:
    signature = part.get("thoughtSignature")
    if "functionCall" in part:
        call = part["functionCall"]
        return [("call", call["id"], call["name"], call["args"])]
    if "functionResponse" in part:
        answer = part["functionResponse"]
        value = answer["response"]
        return [("result", answer["id"], value.get("return_value") or value.get("error") or json.dumps(value))]
    if "inlineData" in part:
        blob = part["inlineData"]
        return [("image", f"data:{blob['mime_type']};base64,{_standard(blob['data'])}")]
    if part.get("thought"):
        return [("thinking", part["text"], signature)]
    return [("user" if role == "user" else "assistant", part["text"])] if part["text"] else []


def _standard(data: str) -> str:
    return data.replace("-", "+").replace("_", "/")


def _thought(think: Think) -> Part:
    return ReasoningPart(reasoning=think.text)


def _error(status: int, message: str, word: str, **headers: str) -> Reply:
    return json_reply({"error": {"code": status, "message": message, "status": word}}, status, **headers)


GOOGLE = Wire(
    id="google",
    handle="google_ai/gemini-2.5-pro",
    connect=lambda url, sleep: PydanticAIModel("google", KEY, url, provider="google_ai", sleep=sleep),
    speak=_speak,
    hear=_hear,
    thought=_thought,
    failures={
        ModelBadRequest: _error(400, "Invalid value at 'tool_config'.", "INVALID_ARGUMENT"),
        ContextOverflow: _error(
            400, "The input token count (2000000) exceeds the maximum number of tokens allowed.", "INVALID_ARGUMENT"
        ),
        ModelAuthentication: _error(400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT"),
        ModelCredits: _error(402, "Billing is disabled.", "FAILED_PRECONDITION"),
        ModelNotFound: _error(404, "models/gemini-2.5-pro is not found.", "NOT_FOUND"),
        ModelRateLimit: _error(429, "Resource has been exhausted.", "RESOURCE_EXHAUSTED", retry_after="7"),
        ModelServerError: _error(503, "The model is overloaded.", "UNAVAILABLE"),
        ModelTimeout: _error(504, "Deadline expired.", "DEADLINE_EXCEEDED"),
    },
    late_failure=_late_failure,
    usage=replace(USAGE, cache_write_tokens=None),
    schema_of=lambda body: body["generationConfig"]["responseJsonSchema"],
)
