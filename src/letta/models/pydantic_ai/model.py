"""One provider reached through pydantic-ai's model classes: OpenAI Responses, Google, Azure, Bedrock, Mistral, Cohere.

Knows how to run one streamed call and read its events. Which classes serve a kind of provider is `kinds`' business, the
two message formats are `messages`'.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic_ai import messages as pai
from pydantic_ai.direct import model_request_stream
from pydantic_ai.models import Model, StreamedResponse

from letta.errors import LettaError, ModelCutOff, ModelEmptyAnswer
from letta.models import encoding, names
from letta.models.http import CONNECT_SECONDS, LOCAL_READ_SECONDS, READ_SECONDS, Sleep, retrying
from letta.models.protocol import (
    Answer,
    ModelCard,
    ModelEvent,
    ModelRequest,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from letta.models.pydantic_ai import kinds, listing, parameters
from letta.models.pydantic_ai.failures import translated
from letta.models.pydantic_ai.messages import answer_parts, conversation, whole, written
from letta.schemas.messages import ToolCallPart

_FINISH: dict[str, Literal["stop", "tool_calls", "length", "content_filter", "other"]] = {
    "stop": "stop",
    "tool_call": "tool_calls",
    "length": "length",
    "content_filter": "content_filter",
    "error": "other",
}
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1", "host.docker.internal")


@dataclass(slots=True)
class _Sent:
    """What went over the wire for one call, noted by the hooks of the HTTP client."""

    body: bytes = b""
    response: Any = None

    @property
    def request_id(self) -> str | None:
        return None if self.response is None else self.response.headers.get("x-request-id")


_sent: ContextVar[_Sent | None] = ContextVar("letta_pydantic_ai_sent", default=None)


class PydanticAIModel:
    """One provider of a certain kind; one object serves all of its models.

    Args:
        kind: `openai-responses`, `google`, `google-vertex`, `azure`, `azure-responses`, `bedrock`, `mistral`, `cohere`.
        api_key: the key; for Bedrock the secret access key, or a bearer token where `access_key` is not given.
        base_url: another address than the provider's own; Azure has no other.
        provider: the name error messages give; None uses the kind.
        read_seconds: how long the provider may stay silent; None chooses 600 s, or 1800 s on this machine. Bedrock
            has a transport and a limit of its own.
        tries: how often a call is made, passing errors included, as long as nothing was streamed.
        sleep: waits between tries.
        options: `api_version` (Azure), `project` and `location` (Vertex), `region`, `access_key` and `session_token`
            (Bedrock).

    Raises:
        letta.errors.InvalidRequest: the kind is unknown, its package is not installed, or the settings do not fit.
    """

    def __init__(
        self,
        kind: str,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        provider: str | None = None,
        read_seconds: float | None = None,
        tries: int = 3,
        sleep: Sleep = asyncio.sleep,
        **options: Any,
    ) -> None:
        self.kind = kind
        self._base_url = base_url
        self._api_key = api_key
        self._provider = provider or kind
        self._tries = tries
        self._sleep = sleep
        address = urlsplit(base_url or "")
        local = address.hostname in _LOCAL_HOSTS
        self._place = f"{address.scheme}://{address.netloc.rpartition('@')[2]}" if base_url else self._provider
        self._http = kinds.http_client(
            kind,
            read_seconds=read_seconds or (LOCAL_READ_SECONDS if local else READ_SECONDS),
            connect_seconds=CONNECT_SECONDS,
            trust_env=not local,
            event_hooks={"request": [_note_request], "response": [_note_response]},
        )
        self._model = kinds.maker(kind, kinds.Setup(api_key, base_url, options, self._http))
        self._row = kinds.row_of(kind)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.kind!r})"

    async def aclose(self) -> None:
        """Close connections."""
        if self._http is not None:
            await self._http.aclose()

    async def list_models(self) -> list[ModelCard]:
        """The models on offer; for Vertex and Bedrock a short list of known ones. Raises letta.errors.ModelError."""
        return await listing.cards(self.kind, self._base_url, self._api_key)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        """Yield deltas, then one `Answer`. Raises letta.errors.ModelError."""
        attempts = retrying(
            lambda: self._once(request), tries=self._tries, sleep=self._sleep, adapt=lambda error: False
        )
        async with aclosing(attempts) as events:
            async for event in events:
                yield event

    async def _once(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        started = False
        try:
            async with aclosing(self._events(request)) as events:
                async for event in events:
                    started = True
                    yield event
        except LettaError:
            raise
        except Exception as error:  # pydantic-ai and every SDK below it have their own; `translated` logs unknown ones
            raise translated(error, self._provider, self._place, self._api_key, started=started) from error

    async def _events(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        model = self._model(request.model)
        provider = names.provider_of(request.handle)
        history = conversation(request.messages, model, provider, self._row)
        opening = model_request_stream(
            model,
            history,
            model_settings=parameters.settings(request, model, self.kind),
            model_request_parameters=parameters.request_parameters(request, model),
            instrument=False,
        )
        sent = _Sent()
        token = _sent.set(sent)
        try:
            stream = await opening.__aenter__()
        finally:
            _sent.reset(token)
        renamed = names.originals(tool.name for tool in request.tools)
        try:
            async with aclosing(_deltas(stream, renamed)) as deltas:
                async for delta in deltas:
                    yield delta
        except BaseException as error:
            # Some SDKs leave their response open, or read the rest of it: closing it here drops the connection at once.
            if sent.response is not None:
                await sent.response.aclose()
            await opening.__aexit__(type(error), error, error.__traceback__)
            raise
        await opening.__aexit__(None, None, None)
        yield self._answer(request, model, stream.get(), sent, history)

    def _answer(
        self, request: ModelRequest, model: Model[Any], response: pai.ModelResponse, sent: _Sent, history: Any
    ) -> Answer:
        if response.state == "incomplete" or response.finish_reason is None:
            raise ModelCutOff(f"{self._provider}: the stream ended before the answer did")
        finish = _FINISH.get(response.finish_reason, "other")
        renamed = names.originals(tool.name for tool in request.tools)
        parts = answer_parts(response, renamed, cut_off=finish == "length")
        if not parts and finish in ("stop", "tool_calls"):
            raise ModelEmptyAnswer(f"{self._provider}: {request.model} answered with nothing")
        if finish == "stop" and any(isinstance(part, ToolCallPart) for part in parts):
            finish = "tool_calls"
        return Answer(
            parts=parts,
            usage=_usage(response),
            finish_reason=finish,
            model=response.model_name or request.model,
            request=sent.body or _rendered(model, history),
            response=pai.ModelMessagesTypeAdapter.dump_python([response], mode="json")[0],
            request_id=sent.request_id or response.provider_response_id,
        )


async def _deltas(stream: StreamedResponse, renamed: Mapping[str, str]) -> AsyncGenerator[ModelEvent]:
    """The events of a stream as ours. Kinds of events that are not known are passed over: the parts hold the answer."""
    calls: dict[int, int] = {}
    silent: dict[int, pai.ToolCallPart] = {}
    async for event in stream:
        match event:
            case pai.PartStartEvent(index=index, part=pai.TextPart(content=text)) if text:
                yield TextDelta(whole(text))
            case pai.PartDeltaEvent(delta=pai.TextPartDelta(content_delta=text)) if text:
                yield TextDelta(whole(text))
            case pai.PartStartEvent(index=index, part=pai.ThinkingPart(content=text, signature=signature)) if text:
                yield ReasoningDelta(whole(text), signature)
            case pai.PartDeltaEvent(delta=pai.ThinkingPartDelta() as thought):
                if thought.content_delta or thought.signature_delta:
                    yield ReasoningDelta(whole(thought.content_delta or ""), thought.signature_delta)
            case pai.PartStartEvent(index=index, part=pai.ToolCallPart() as call):
                calls[index] = len(calls)
                # Arguments that come as an object may still grow: they are told when the part is complete.
                told = call.args if isinstance(call.args, str) else ""
                if not told:
                    silent[index] = call
                yield ToolCallDelta(calls[index], call.tool_call_id, renamed.get(call.tool_name, call.tool_name), told)
            case pai.PartDeltaEvent(index=index, delta=pai.ToolCallPartDelta(args_delta=str() as text)) if text:
                silent.pop(index, None)
                yield ToolCallDelta(calls[index], arguments=whole(text))
            case pai.PartEndEvent(index=index, part=pai.ToolCallPart() as call) if index in silent:
                yield ToolCallDelta(calls[index], arguments=written(call.args))


def _usage(response: pai.ModelResponse) -> Usage:
    usage = response.usage
    if not (usage.input_tokens or usage.output_tokens):
        return Usage()
    details = usage.details or {}
    return Usage(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.input_tokens + usage.output_tokens,
        cached_input_tokens=usage.cache_read_tokens or None,
        cache_write_tokens=usage.cache_write_tokens or None,
        reasoning_tokens=details.get("reasoning_tokens", details.get("thoughts_tokens")),
    )


def _rendered(model: Model[Any], history: list[pai.ModelMessage]) -> bytes:
    """The conversation in pydantic-ai's words, for SDKs that do not show the bytes they send."""
    messages = pai.ModelMessagesTypeAdapter.dump_python(history, mode="json")
    return encoding.dumps({"model": model.model_name, "messages": messages})


async def _note_request(request: Any) -> None:
    if (sent := _sent.get()) is not None:
        sent.body = await request.aread()


async def _note_response(response: Any) -> None:
    if (sent := _sent.get()) is not None:
        sent.response = response
