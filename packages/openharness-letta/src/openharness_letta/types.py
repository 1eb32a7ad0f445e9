"""What callers of the adapter hand in and get back beside the OpenHarness types. Pure data.

`MemoryBlock` here carries its text as `value`; the class of the same name in `openharness.types` calls it `content`.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

DEFAULT_MODEL = "openai/gpt-4o-mini"
DEFAULT_EMBEDDING_MODEL = "openai/text-embedding-ada-002"


class MemoryBlockLabel(str, Enum):
    """Labels every Letta model knows what to do with."""

    HUMAN = "human"
    PERSONA = "persona"
    SYSTEM = "system"


@dataclass
class MemoryBlock:
    """A labelled text the agent always sees. `limit` counts characters; the adapter sends 5000 where it is `None`."""

    label: str
    value: str
    limit: int | None = None
    template_name: str | None = None
    template: bool = False


@dataclass
class LettaAgentConfig:
    """What a new agent is made from. Models are handles, `provider/model`; `tools` are names of tools on the server."""

    name: str | None = None
    model: str = DEFAULT_MODEL
    embedding_model: str = DEFAULT_EMBEDDING_MODEL
    memory_blocks: list[MemoryBlock] = field(default_factory=list)
    tools: list[str] = field(default_factory=list)
    system_prompt: str | None = None
    include_base_tools: bool = True
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass
class LettaMessage:
    """A message in a conversation."""

    role: str
    content: str
    name: str | None = None


@dataclass
class LettaToolCall:
    """A tool call of the model."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass
class LettaResponse:
    """The messages of an answer, and its usage."""

    messages: list[LettaMessage]
    usage: dict[str, Any] | None = None
