"""How a long conversation is shortened, as settings, request and answer. Knows nothing of messages or tokenizers."""

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from letta.schemas.common import Body, Size, Wire
from letta.schemas.model_settings import ModelSettings


class CompactionMode(StrEnum):
    """What is replaced by a summary, and whether the agent's own model writes it (`self_compact_...`)."""

    ALL = "all"
    SLIDING_WINDOW = "sliding_window"
    SELF_COMPACT_ALL = "self_compact_all"
    SELF_COMPACT_SLIDING_WINDOW = "self_compact_sliding_window"


class CompactionSettings(Wire):
    """Settings of compaction; what is None is decided by the server.

    `clip_chars` bounds the summary in characters, `sliding_window_percentage` is a share between 0 and 1, `model` a
    handle.
    """

    mode: CompactionMode | None = None
    model: str | None = None
    model_settings: ModelSettings | None = None
    prompt: str | None = None
    prompt_acknowledgement: bool | None = None
    clip_chars: Size | None = None
    sliding_window_percentage: float | None = Field(default=None, ge=0, le=1)


class Compact(Body):
    """A wish to compact now. `agent_id` is needed where the conversation is `default`."""

    never_null: ClassVar[frozenset[str]] = frozenset({"compaction_settings"})

    agent_id: str | None = None
    compaction_settings: CompactionSettings | None = None


class CompactionResponse(Wire):
    """What compaction did: the summary and the number of messages in the window before and after."""

    summary: str
    num_messages_before: int
    num_messages_after: int
