"""Anthropic's messages protocol: Claude, and servers that speak the same.

Knows nothing about agents, or where keys and addresses come from. Requests are built in `anthropic_request`, answers
read in `anthropic_answer`.
"""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from letta.errors import ModelBadRequest, ModelCutOff, ModelEmptyAnswer, ModelError, ModelServerError
from letta.models import anthropic_request as wanted
from letta.models import encoding, names
from letta.models.anthropic_answer import EventReader
from letta.models.http import Endpoint, Reply, Sleep, drain, retrying
from letta.models.protocol import ModelCard, ModelEvent, ModelRequest

_log = logging.getLogger(__name__)

VERSION = "2023-06-01"
_PAGE = 1000

# What the words of a refusal teach about a model, and whether that holds for later requests too.
_LESSONS: tuple[tuple[re.Pattern[str], str, bool], ...] = (
    (re.compile(r"bound to a different conversation|prefix_mismatch_behavior"), wanted.DROP_BOUND, True),
    (re.compile(r"thinking\.type\.enabled\W.*not supported|adaptive\W.*is required"), wanted.ONLY_ADAPTIVE, True),
    (re.compile(r"thinking\.type\.disabled\W.*not supported"), wanted.NO_OFF, True),
    (re.compile(r"adaptive.*not supported|thinking.*'adaptive'"), wanted.NO_ADAPTIVE, True),
    (re.compile(r"temperature\W.*(deprecated|not supported|unsupported)"), wanted.NO_SAMPLING, True),
    # Signatures of another account or model: this conversation's thinking is lost, not the model's.
    (re.compile(r"signature.*thinking|thinking.*(cannot be modified|signature)"), wanted.NO_THINKING_BACK, False),
)


class Anthropic:
    """One endpoint with the messages protocol.

    Args:
        base_url: with or without `/v1` and trailing slash.
        api_key: sent as `x-api-key`; None sends none.
        provider: names the endpoint in errors.
        headers: sent along with every request.
        read_seconds: how long the server may stay silent; None chooses 600 s, or 1800 s on this machine.
        tries: how often a call is made, passing errors included, as long as nothing was streamed.
        sleep: waits between tries.

    Raises:
        letta.errors.InvalidRequest: `base_url` is not a URL.
    """

    def __init__(
        self,
        base_url: str = "https://api.anthropic.com",
        api_key: str | None = None,
        *,
        provider: str = "anthropic",
        headers: Mapping[str, str] | None = None,
        read_seconds: float | None = None,
        tries: int = 3,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.provider = provider
        key = {"x-api-key": api_key} if api_key else {}
        self._endpoint = Endpoint(
            re.sub(r"(/v1)?(/messages)?/*$", "", base_url.strip()) + "/v1",
            provider,
            {"anthropic-version": VERSION, **key, **(headers or {})},
            secret=api_key,
            read_seconds=read_seconds,
        )
        self._tries = tries
        self._sleep = sleep
        self._learned: dict[str, set[str]] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._endpoint!r})"

    async def aclose(self) -> None:
        """Close connections."""
        await self._endpoint.aclose()

    async def list_models(self) -> list[ModelCard]:
        """The models the key can use, with their limits where the endpoint tells. Raises letta.errors.ModelError."""
        cards: list[ModelCard] = []
        after = ""
        while True:
            page = await self._endpoint.fetch(f"{self._endpoint.base_url}/models?limit={_PAGE}{after}")
            cards.extend(_card(item) for item in page.get("data") or [])
            if not page.get("has_more") or not page.get("last_id"):
                return cards
            after = f"&after_id={page['last_id']}"

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Yield deltas, then one `Answer`. Raises letta.errors.ModelError."""
        learned = set(self._learned.get(request.model, ()))

        def adapt(error: ModelError) -> bool:
            return self._learn(request.model, error, learned)

        return retrying(lambda: self._once(request, learned), tries=self._tries, sleep=self._sleep, adapt=adapt)

    def payload(self, request: ModelRequest) -> bytes:
        """The body of a request. Raises letta.errors.ModelBadRequest when the model cannot answer in that format."""
        return self._built(request, set(self._learned.get(request.model, ()))).body

    def _built(self, request: ModelRequest, learned: set[str]) -> wanted.Built:
        return wanted.build(request, names.provider_of(request.handle) or self.provider, learned)

    async def _once(self, request: ModelRequest, learned: set[str]) -> AsyncGenerator[ModelEvent, None]:
        built = self._built(request, learned)
        reader = EventReader(names.originals(tool.name for tool in request.tools))
        betas = {"anthropic-beta": ",".join(built.betas)} if built.betas else {}
        async with self._endpoint.post("/messages", built.body, betas) as reply:
            if reply.is_stream:
                async with aclosing(reply.events()) as arriving:
                    async for payloads in arriving:
                        for payload in payloads:
                            for event in self._event(reader, payload, reply):
                                yield event
                        if reader.done:
                            await drain(arriving)
                            break
            else:
                for event in self._whole(reader, await reply.json(), reply):
                    yield event
        if not reader.done and reader.stop is None:
            raise ModelCutOff(f"{self.provider}: the stream ended before the answer did")
        answer = reader.answer(built.body, request.model, reply.request_id)
        if not answer.parts and answer.finish_reason in ("stop", "tool_calls"):
            raise ModelEmptyAnswer(f"{self.provider}: {request.model} answered with nothing")
        yield answer

    def _event(self, reader: EventReader, payload: bytes, reply: Reply) -> list[ModelEvent]:
        try:
            event = encoding.loads(payload)
        except ValueError as error:
            raise ModelCutOff(f"{self.provider}: the stream holds something unreadable: {payload[:80]!r}") from error
        if event.get("type") == "error":
            raise reply.failure(event)
        try:
            return reader.feed(event)
        except KeyError as error:
            raise ModelServerError(
                f"{self.provider}: an event of the stream lacks {error}: {payload[:80]!r}"
            ) from error

    def _whole(self, reader: EventReader, message: Any, reply: Reply) -> list[ModelEvent]:
        if message.get("type") == "error":
            raise reply.failure(message)
        return reader.whole(message)

    def _learn(self, model: str, error: ModelError, learned: set[str]) -> bool:
        """Take a lesson from a refusal; True if the next request will differ for it."""
        if type(error) is not ModelBadRequest:
            return False
        for words, lesson, lasting in _LESSONS:
            if words.search(error.message) and lesson not in learned:
                learned.add(lesson)
                if lasting:
                    self._learned.setdefault(model, set()).add(lesson)
                _log.warning("%s: %s: %s; requests are sent accordingly", self.provider, model, lesson)
                return True
        return False


def _card(item: dict[str, Any]) -> ModelCard:
    return ModelCard(
        name=item.get("id") or "",
        context_window=item.get("max_input_tokens"),
        max_output_tokens=item.get("max_tokens"),
        display_name=item.get("display_name"),
    )
