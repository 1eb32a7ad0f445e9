"""Chat completions: OpenAI and every server that speaks its protocol.

Ollama, LM Studio, vLLM, llama.cpp, OpenRouter, Groq, Together, DeepSeek, xAI, Mistral, Fireworks and others: what they
do their own way is data in `openai_quirks`. Knows nothing about agents, or where keys and addresses come from.
"""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from letta.errors import ModelBadRequest, ModelCutOff, ModelEmptyAnswer, ModelError, ModelServerError
from letta.models import encoding, names, openai_listing, openai_quirks
from letta.models.http import LOCAL_READ_SECONDS, Endpoint, Reply, Sleep, drain, retrying
from letta.models.openai_answer import ChunkReader
from letta.models.openai_messages import ChatEncoder
from letta.models.protocol import ModelCard, ModelEvent, ModelRequest, ToolSchema
from letta.schemas.messages import ReasoningPart

_log = logging.getLogger(__name__)

_REASONING = "(reasoning in messages)"
# Fields a server may refuse by name, and the words that mean it does not know them (rather than their value).
_OPTIONAL = ("stream_options", "parallel_tool_calls", "strict", "temperature", "frequency_penalty", "verbosity")
_UNKNOWN = re.compile(
    r"unsupported|not supported|does not support|not permitted|not allowed|unrecognized|unexpected|unknown|extra"
    r"|deprecated|additional propert",
    re.IGNORECASE,
)
_TOKENS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}


class OpenAIChat:
    """One server with the chat completions protocol.

    Args:
        base_url: with or without `/v1` and trailing slash.
        api_key: sent as a bearer token; None sends none, as local servers want it.
        provider: the kind of server (`openai`, `ollama`, `deepseek`, ...): chooses its quirks and names it in errors.
        headers: sent along with every request.
        read_seconds: how long the server may stay silent; None chooses 600 s, or 1800 s for local servers.
        tries: how often a call is made, passing errors included, as long as nothing was streamed.
        sleep: waits between tries.

    Raises:
        letta.errors.InvalidRequest: `base_url` is not a URL.
    """

    def __init__(
        self,
        base_url: str = "https://api.openai.com/v1",
        api_key: str | None = None,
        *,
        provider: str = "openai",
        headers: Mapping[str, str] | None = None,
        read_seconds: float | None = None,
        tries: int = 3,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.provider = provider
        self.quirks = openai_quirks.of(provider)
        authorization = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._endpoint = Endpoint(
            openai_quirks.base_url(base_url),
            provider,
            {**authorization, **(headers or {})},
            secret=api_key,
            read_seconds=read_seconds or (LOCAL_READ_SECONDS if self.quirks.local else None),
        )
        self._tries = tries
        self._sleep = sleep
        self._refused: dict[str, set[str]] = {}  # what the server refused before, by model
        self._encoders: dict[tuple[str, bool], ChatEncoder] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._endpoint!r})"

    async def aclose(self) -> None:
        """Close connections."""
        await self._endpoint.aclose()

    async def list_models(self) -> list[ModelCard]:
        """The models the server offers, with their context windows where it tells. Raises letta.errors.ModelError."""
        return await openai_listing.cards(self._endpoint, self.quirks)

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Yield deltas, then one `Answer`. Raises letta.errors.ModelError."""
        sent: set[str] = set()

        def adapt(error: ModelError) -> bool:
            return self._learn(request, error, sent)

        return retrying(lambda: self._once(request, sent), tries=self._tries, sleep=self._sleep, adapt=adapt)

    def payload(self, request: ModelRequest) -> bytes:
        """The body of a request."""
        return self._body(request, set())

    async def _once(self, request: ModelRequest, sent: set[str]) -> AsyncGenerator[ModelEvent, None]:
        body = self._body(request, sent)
        reader = ChunkReader(names.originals(tool.name for tool in request.tools))
        async with self._endpoint.post("/chat/completions", body) as reply:
            if reply.is_stream:
                async with aclosing(reply.events()) as arriving:
                    async for payloads in arriving:
                        for payload in payloads:
                            for event in self._payload(reader, payload, reply):
                                yield event
                        if reader.done:
                            await drain(arriving)
                            break
            else:
                for event in self._chunk(reader, await reply.json(), reply):
                    yield event
        for event in self._ended(reader, request.model):
            yield event
        yield reader.answer(body, request.model, reply.request_id)

    def _payload(self, reader: ChunkReader, payload: bytes, reply: Reply) -> list[ModelEvent]:
        if payload == b"[DONE]":
            reader.done = True
        if reader.done or not payload:
            return []
        try:
            chunk = encoding.loads(payload)
        except ValueError as error:
            raise ModelCutOff(f"{self.provider}: the stream holds something unreadable: {payload[:80]!r}") from error
        return self._chunk(reader, chunk, reply)

    def _chunk(self, reader: ChunkReader, chunk: Any, reply: Reply) -> list[ModelEvent]:
        if not isinstance(chunk, dict):
            raise ModelServerError(f"{self.provider}: the stream holds {type(chunk).__name__} instead of objects")
        if chunk.get("error"):
            raise reply.failure(chunk)
        events = reader.feed(chunk)
        if reader.finish == "error":
            raise ModelServerError(f"{self.provider}: the model behind this server failed in the middle of its answer")
        return events

    def _ended(self, reader: ChunkReader, model: str) -> list[ModelEvent]:
        if reader.finish is None and not reader.done:
            raise ModelCutOff(f"{self.provider}: the stream ended before the answer did")
        events = reader.end()
        if reader.is_empty and reader.finish in (None, "stop", "tool_calls"):
            raise ModelEmptyAnswer(f"{self.provider}: {model} answered with nothing")
        return events

    def _body(self, request: ModelRequest, sent: set[str]) -> bytes:
        """The request as bytes, `messages` last: a later request begins with the same bytes as this one."""
        refused = self._refused.get(request.model, set())
        fields: dict[str, Any] = {"model": request.model, "stream": True}
        if self.quirks.stream_options:
            fields["stream_options"] = {"include_usage": True}
        fields |= openai_quirks.options(self.quirks, request.model, request.parameters, bool(request.tools))
        if request.tools:
            strict = self.quirks.strict_tools and "strict" not in refused
            fields["tools"] = [_tool(tool, strict=strict) for tool in request.tools]
            if request.tool_choice != "auto":
                fields["tool_choice"] = _tool_choice(request.tool_choice)
        for name in refused & fields.keys():
            value = fields.pop(name)
            if name in _TOKENS:
                fields[_TOKENS[name]] = value
        fields.pop("messages", None)
        sent.clear()
        sent.update(fields)
        if any("strict" in tool["function"] for tool in fields.get("tools", ())):
            sent.add("strict")
        encoder = self._encoder(request, reasoning=_REASONING not in refused)
        messages = encoder.conversation("\n\n".join(part for part in request.system if part), request.messages)
        return b"".join((encoding.dumps(fields)[:-1], b',"messages":[', b",".join(messages), b"]}"))

    def _encoder(self, request: ModelRequest, *, reasoning: bool) -> ChatEncoder:
        provider = names.provider_of(request.handle) or self.provider
        encoder = self._encoders.get((provider, reasoning))
        if encoder is None:
            encoder = self._encoders[provider, reasoning] = ChatEncoder(self.quirks, provider, reasoning=reasoning)
        return encoder

    def _learn(self, request: ModelRequest, error: ModelError, sent: set[str]) -> bool:
        """Remember what this model's server refuses by name; True if the next request will differ for it."""
        if type(error) is not ModelBadRequest or not _UNKNOWN.search(error.message):
            return False
        refused = self._refused.setdefault(request.model, set())
        named = [name for name in (*_OPTIONAL, *_TOKENS) if name in error.message and name in sent - refused]
        if "reasoning" in error.message and _has_reasoning(request) and _REASONING not in refused:
            named.append(_REASONING)
        for name in named:
            if _TOKENS.get(name) not in refused:
                refused.add(name)
                _log.warning("%s: %s refuses %s; it is not sent any more", self.provider, request.model, name)
                return True
        return False


def _has_reasoning(request: ModelRequest) -> bool:
    return any(isinstance(part, ReasoningPart) for message in request.messages for part in message.parts)


def _tool(tool: ToolSchema, *, strict: bool) -> dict[str, Any]:
    function: dict[str, Any] = {
        "name": names.tool_name(tool.name),
        "description": tool.description,
        "parameters": tool.parameters,
    }
    if tool.strict and strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def _tool_choice(choice: str) -> Any:
    if choice in ("none", "required", "auto"):
        return choice
    return {"type": "function", "function": {"name": names.tool_name(choice)}}
