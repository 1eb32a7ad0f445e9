"""`ScriptedModel`: streams what a script or the rules decide, like a provider would, without a network.

It knows how to stream, count and record. What to say comes from the steps a test gave it, from a `!` command in a user
message (`letta.models.scripted.steps`), or from the rules (`letta.models.scripted.delivery`).
"""

import asyncio
import inspect
import re
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import replace
from hashlib import blake2b
from typing import Any, Literal

import orjson

from letta.models import repair
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
from letta.models.scripted.delivery import answer
from letta.models.scripted.steps import Call, Step, Think, Wait
from letta.models.scripted.turn import media_type
from letta.schemas.messages import (
    ImagePart,
    Message,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)

_FLAVOUR = "scripted"
_WORDS = re.compile(r"\S+\s*|\s+")
_FRAGMENT = 24
_BYTES_PER_TOKEN = 4
_YIELD_EVERY = 32


class ScriptedModel:
    """The deterministic model that ships with the server. It is rule-based, and says so when asked.

    `script` is played first, one step per model call, in the order the calls come (see `Step`); texts and calls of a
    script are sent exactly as written. When it is used up the rules answer. `latency` is the time to the first token in
    seconds. The last `record` requests are kept in `requests`, so that a test can look at what the model saw; a server
    passes 0.

    A token is four bytes of UTF-8, rounded up; `max_output_tokens` is counted the same way.
    """

    def __init__(self, script: Iterable[Step] = (), *, latency: float = 0.0, record: int = 1000) -> None:
        self.requests: deque[ModelRequest] = deque(maxlen=record)
        self._script: deque[Step] = deque(script)
        self._latency = latency

    def play(self, script: Iterable[Step]) -> None:
        """Follow another script from here on, and forget the requests recorded so far."""
        self._script = deque(script)
        self.requests.clear()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        """Yield word-sized deltas, then the `Answer`. Raises what the script or `!error` says, else nothing."""
        if self.requests.maxlen:
            # The caller may go on using its list of messages.
            self.requests.append(replace(request, messages=tuple(request.messages)))
        step = self._script.popleft() if self._script else answer(request)
        await asyncio.sleep(self._latency)
        writer = _Writer(request)
        async with aclosing(_items(step, request)) as items:
            async for item in items:
                for number, event in enumerate(writer.write(item), 1):
                    yield event
                    if number % _YIELD_EVERY == 0:
                        await asyncio.sleep(0)
                if writer.full:
                    break
        yield writer.answer()

    def payload(self, request: ModelRequest) -> bytes:
        """The request in readable JSON."""
        return _body(request)

    async def list_models(self) -> list[ModelCard]:
        """The one model there is."""
        return [ModelCard("scripted", context_window=128_000, display_name="Scripted (rule-based, built in)")]

    async def aclose(self) -> None:
        """Nothing is open."""


async def _items(step: Step, request: ModelRequest) -> AsyncGenerator[str | Call | Think]:
    """The texts, calls and thoughts of a step, waiting and raising on the way as it says."""
    if isinstance(step, BaseException):
        raise step
    if isinstance(step, Wait):
        await asyncio.sleep(step.seconds)
    elif isinstance(step, str | Call | Think):
        yield step
    elif callable(step):
        made = step(request)
        async for item in _items(await made if inspect.isawaitable(made) else made, request):
            yield item
    else:
        for part in step:
            async for item in _items(part, request):
                yield item


class _Writer:
    """Puts one answer together while its deltas go out, and stops at the token limit."""

    def __init__(self, request: ModelRequest) -> None:
        self._request = request
        limit = request.parameters.max_output_tokens
        self._room = None if limit is None else limit * _BYTES_PER_TOKEN
        self._written = self._thought = 0
        self._parts: list[Part] = []
        self._raw_calls: list[dict[str, str]] = []
        self.full = False

    def write(self, item: str | Call | Think) -> Iterator[ModelEvent]:
        """The deltas of one item."""
        if isinstance(item, Call):
            yield from self._call(item)
        elif isinstance(item, Think):
            before = self._written
            text = self._fitting(item.text)
            self._parts.append(ReasoningPart(reasoning=text, signature=item.signature))
            self._thought += self._written - before
            for word in _WORDS.findall(text):
                yield ReasoningDelta(word)
            if item.signature:
                yield ReasoningDelta("", item.signature)
        else:
            text = self._fitting(item)
            if text:
                self._parts.append(TextPart(text=text))
            for word in _WORDS.findall(text):
                yield TextDelta(word)

    def _call(self, call: Call) -> Iterator[ModelEvent]:
        wanted = call.args if isinstance(call.args, str) else orjson.dumps(call.args).decode()
        arguments = self._fitting(wanted)
        index = len(self._raw_calls)
        id_ = _call_id(self._request, index)
        yield ToolCallDelta(index, id_, call.name)
        for start in range(0, len(arguments), _FRAGMENT):
            yield ToolCallDelta(index, arguments=arguments[start : start + _FRAGMENT])
        read = repair.arguments(arguments or "{", cut_off=self.full)
        self._raw_calls.append({"id": id_, "name": call.name, "arguments": arguments})
        self._parts.append(ToolCallPart(id=id_, name=call.name, arguments=read.text, error=read.error))

    def _fitting(self, text: str) -> str:
        """As much of the text as the token limit leaves room for, cut between words where possible."""
        size = len(text) if text.isascii() else len(text.encode())
        if self._room is None or self._written + size <= self._room:
            self._written += size
            return text
        self.full = True
        room = self._room - self._written
        self._written = self._room
        cut = text.encode()[:room].decode(errors="ignore")
        words = cut.rsplit(None, 1)
        split = not cut[-1:].isspace() and not text[len(cut) : len(cut) + 1].isspace()
        return cut[: cut.rindex(words[1])] if split and len(words) == 2 else cut

    def answer(self) -> Answer:
        """The whole answer so far."""
        body = _body(self._request)
        prompt, completion = _tokens(len(body) + _tool_size(self._request)), _tokens(self._written)
        reason: Literal["stop", "tool_calls", "length"] = (
            "length" if self.full else "tool_calls" if self._raw_calls else "stop"
        )
        text = "".join(part.text for part in self._parts if isinstance(part, TextPart))
        return Answer(
            parts=tuple(self._parts),
            usage=Usage(prompt, completion, prompt + completion, reasoning_tokens=_tokens(self._thought)),
            finish_reason=reason,
            model=self._request.model,
            request=body,
            response={"text": text, "tool_calls": self._raw_calls},
        )


def _tokens(size: int) -> int:
    return -(-size // _BYTES_PER_TOKEN)


def _call_id(request: ModelRequest, index: int) -> str:
    """Unique in a conversation and the same for the same request: made from the id of the last message."""
    last = request.messages[-1].id if request.messages else ""
    return f"call_{blake2b(f'{last}/{index}'.encode(), digest_size=12).hexdigest()}"


def _tool_size(request: ModelRequest) -> int:
    return sum(len(tool.description) + len(orjson.dumps(tool.parameters)) for tool in request.tools)


def _body(request: ModelRequest) -> bytes:
    """The request in readable JSON, put together from the bytes kept per message."""
    head = {
        "model": request.model,
        "system": "\n\n".join(request.system),
        "tools": [tool.name for tool in request.tools],
    }
    messages = b",".join([message.encoded(_FLAVOUR) or _encode(message) for message in request.messages])
    return b'%s,"messages":[%s]}' % (orjson.dumps(head)[:-1], messages)


def _encode(message: Message) -> bytes:
    content = [_readable(part) for part in message.parts]
    return message.keep_encoding(_FLAVOUR, orjson.dumps({"role": message.role, "content": content}))


def _readable(part: Part) -> Any:
    """A part as it stands in the rendering; pictures are named, not copied."""
    if isinstance(part, TextPart):
        return part.text
    if isinstance(part, ImagePart):
        return f"[{media_type(part)}]"
    data = part.model_dump(mode="json", exclude_none=True, exclude_defaults=True) | {"type": part.type}
    if isinstance(part, ToolReturnPart) and not isinstance(part.content, str):
        data["content"] = [_readable(item) for item in part.content]
    return data
