"""The vocabulary of the provider conformance suite: what a model says, and what it was told, without any protocol.

A provider joins the suite with one `Wire`: how its server would say a `Speech`, and what its request means as `Heard`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any, Literal

from tests.models.wire_server import Reply

from letta.errors import ModelError
from letta.models.http import Sleep
from letta.models.protocol import Model, ModelRequest, ToolSchema, Usage
from letta.schemas.messages import Message, Part, Role, TextPart

KEY = "sk-very-secret-key"
USAGE = Usage(
    prompt_tokens=120,
    completion_tokens=30,
    total_tokens=150,
    cached_input_tokens=100,
    cache_write_tokens=8,
    reasoning_tokens=12,
)


@dataclass(frozen=True)
class Say:
    """Text in the pieces it arrives in."""

    pieces: tuple[str, ...]

    def __init__(self, *pieces: str) -> None:
        object.__setattr__(self, "pieces", pieces)


@dataclass(frozen=True)
class Think:
    """Visible reasoning, and the provider's signature where it has such a thing."""

    text: str
    signature: str = "c2lnbmF0dXJl+/=="


@dataclass(frozen=True)
class Call:
    """A tool call; `arguments` is the text the model writes."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Speech:
    """A whole answer. `usage` None means that the server does not tell."""

    items: tuple[Say | Think | Call, ...]
    finish: Literal["stop", "tool_calls", "length", "content_filter"] = "stop"
    usage: Usage | None = field(default=USAGE)

    def __init__(
        self,
        *items: Say | Think | Call,
        finish: Literal["stop", "tool_calls", "length", "content_filter"] = "stop",
        usage: Usage | None = USAGE,
    ) -> None:
        object.__setattr__(self, "items", items)
        object.__setattr__(self, "finish", finish)
        object.__setattr__(self, "usage", usage)


@dataclass(frozen=True)
class Heard:
    """What a request told the model.

    `turns` flattens the conversation: `("user", text)`, `("image", url)`, `("assistant", text)`,
    `("thinking", text, signature)`, `("call", id, name, arguments)`, `("result", id, text)`, in order.
    """

    system: str
    turns: list[tuple[Any, ...]]
    tools: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Wire:
    """One provider in the suite.

    `connect(url, sleep)` makes the model with `KEY`. `speak` answers as a stream, `speak_whole` as one object (None
    where the client reads no such answer). `hear` reads a request. `failures` are refusals by the error they mean,
    `late_failure` is one in the middle of a stream. `thought` is the part that thinking becomes, `usage` what is known
    of `USAGE`, `call_id` and `image_of` how ids and images are written, `schema_of` where a request keeps the schema of
    the answer.
    """

    id: str
    handle: str
    connect: Callable[[str, Sleep], Model]
    speak: Callable[[Speech], Reply]
    hear: Callable[[Any], Heard]
    thought: Callable[[Think], Part]
    failures: dict[type[ModelError], Reply]
    late_failure: Callable[[Speech], Reply]
    schema_of: Callable[[Any], Any]
    speak_whole: Callable[[Speech], Reply] | None = None
    usage: Usage = USAGE
    call_id: Callable[[str], str] = lambda id_: id_
    image_of: Callable[[str, str], str] = lambda media_type, data: f"data:{media_type};base64,{data}"

    @property
    def model(self) -> str:
        return self.handle.partition("/")[2]

    def request(self, *messages: Message, **fields: Any) -> ModelRequest:
        """A request to this provider."""
        system = fields.pop("system", ("You are helpful.",))
        return ModelRequest(model=self.model, handle=self.handle, system=system, messages=messages, **fields)


_ids = (f"message-{number}" for number in count(1))


def message(role: Role, *parts: Part, model: str | None = None) -> Message:
    """A stored message."""
    return Message(
        id=next(_ids),
        role=role,
        parts=list(parts),
        agent_id="agent-1",
        conversation_id="conv-1",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        model=model,
    )


def user(text: str) -> Message:
    """What a person said."""
    return message(Role.USER, TextPart(text=text))


def assistant(model: str | None, *parts: Part) -> Message:
    """What a model said."""
    return message(Role.ASSISTANT, *parts, model=model)


def tool(name: str, **properties: str) -> ToolSchema:
    """A tool whose arguments have these types."""
    return ToolSchema(
        name=name,
        description=f"The tool {name}.",
        parameters={
            "type": "object",
            "properties": {key: {"type": kind} for key, kind in properties.items()},
            "required": list(properties),
        },
    )
