"""What the loop asks of a model, and what a model answers: the contract every provider file implements.

A provider has one method, `stream`. It yields deltas as they arrive and ends with exactly one `Answer`; collecting the
stream is the blocking call (`collect`). The contract knows nothing about agents, memory or storage.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from letta.schemas.messages import Message, Part


@dataclass(frozen=True, slots=True)
class ToolSchema:
    """A tool as the model sees it: `parameters` is the JSON Schema of an object."""

    name: str
    description: str
    parameters: dict[str, Any]
    strict: bool = False


@dataclass(frozen=True, slots=True)
class ModelParameters:
    """Sampling and output options. None leaves the choice to the provider.

    `thinking` turns visible reasoning on or off; `thinking_budget` is in tokens; `effort` is the provider's level
    name. `response_format` is the wire object of the API: `{"type": "text" | "json_object" | "json_schema", ...}`.
    `extra` holds provider-specific settings under their own names.
    """

    temperature: float | None = None
    max_output_tokens: int | None = None
    parallel_tool_calls: bool | None = None
    thinking: bool | None = None
    thinking_budget: int | None = None
    effort: str | None = None
    verbosity: str | None = None
    frequency_penalty: float | None = None
    response_format: dict[str, Any] | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One model call.

    `model` is the provider's own name of the model (a handle without its provider). `system` holds the system prompt in
    sections, the most stable first, so that a provider can mark cache boundaries; joined by blank lines they are the
    whole prompt. `messages` never contains the system prompt; summaries arrive as role `summary` and are shown to the
    model as user text. `tool_choice` is `auto`, `required`, `none` or a tool's name. `scripted` is for tests only.
    """

    model: str
    system: tuple[str, ...]
    messages: Sequence[Message]
    tools: tuple[ToolSchema, ...] = ()
    tool_choice: str = "auto"
    parameters: ModelParameters = ModelParameters()
    handle: str = ""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More reply text."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More visible reasoning text."""

    text: str
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a tool call. `index` tells parallel calls apart; id and name come with the first piece of a call."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call. None means the provider did not say; 0 means it said zero.

    `prompt_tokens` counts all input, cached parts included.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The whole answer, the last item of every stream.

    `parts` are in the model's order. `finish_reason` is `stop`, `tool_calls`, `length`, `content_filter` or `other`;
    the parts decide whether there are calls, not this word. `request` is the exact request body sent (JSON bytes) and
    `response` the provider's answer (a JSON-able object; for a stream, the answer put together from it). `request_id`
    is the provider's own.
    """

    parts: tuple[Part, ...]
    usage: Usage = Usage()
    finish_reason: Literal["stop", "tool_calls", "length", "content_filter", "other"] = "stop"
    model: str = ""
    request: bytes = b"{}"
    response: dict[str, Any] = field(default_factory=dict)
    request_id: str | None = None


ModelEvent = TextDelta | ReasoningDelta | ToolCallDelta | Answer


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known about a model without calling it. Sizes are in tokens; None when the endpoint does not say."""

    name: str
    context_window: int | None = None
    max_output_tokens: int | None = None
    display_name: str | None = None


class Model(Protocol):
    """A provider's endpoint. One object serves all of its models and all agents at once."""

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        """Yield deltas, then one `Answer`.

        Raises:
            letta.errors.ModelError: and its leaves, when the provider refuses, fails or cannot be reached. A stream cut
                off before its end raises too: half an answer is never an `Answer`.
        """
        ...

    async def list_models(self) -> list[ModelCard]:
        """The models the endpoint offers. Raises letta.errors.ModelError."""
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...


@runtime_checkable
class ShowsRequests(Protocol):
    """A model that can tell beforehand what it would send."""

    def payload(self, request: ModelRequest) -> bytes:
        """The body of the request, a JSON object. Raises letta.errors.ModelError for one that cannot be made."""
        ...


async def collect(events: AsyncIterator[ModelEvent]) -> Answer:
    """Read a stream to its end and return the `Answer`: the blocking form of a call."""
    answer: Answer | None = None
    async for event in events:
        if isinstance(event, Answer):
            answer = event
    assert answer is not None, "a model stream ends with an Answer"
    return answer
