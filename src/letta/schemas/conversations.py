"""Conversations: separate threads of messages of one agent. Knows nothing of the messages in them."""

from enum import StrEnum
from typing import ClassVar

from letta.schemas.common import Body, Patch, Size, Timestamp, Wire
from letta.schemas.compaction import CompactionSettings
from letta.schemas.model_settings import ModelSettings


class ArchiveStatus(StrEnum):
    """Which conversations a list shows."""

    UNARCHIVED = "unarchived"
    ARCHIVED = "archived"
    ALL = "all"


class ConversationOrderBy(StrEnum):
    """What a list of conversations is sorted by."""

    CREATED_AT = "created_at"
    LAST_RUN_COMPLETION = "last_run_completion"
    LAST_MESSAGE_AT = "last_message_at"


class Conversation(Wire):
    """A conversation. `model`, its settings and the window (in tokens) are null where the agent's own apply."""

    id: str
    agent_id: str
    summary: str | None = None
    description: str | None = None
    model: str | None = None
    model_settings: ModelSettings | None = None
    context_window_limit: int | None = None
    in_context_message_ids: list[str] | None = None
    hidden: bool | None = None
    archived: bool | None = False
    archived_at: Timestamp | None = None
    last_message_at: Timestamp | None = None
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None
    created_by_id: str | None = None
    last_updated_by_id: str | None = None


class CreateConversation(Body):
    """A conversation to begin; its agent is named in the query."""

    never_null: ClassVar[frozenset[str]] = frozenset({"hidden"})

    summary: str | None = None
    description: str | None = None
    model: str | None = None
    model_settings: ModelSettings | None = None
    context_window_limit: Size | None = None
    hidden: bool = False


class UpdateConversation(Patch):
    """Changes to a conversation; a null `model` makes the agent's own apply again."""

    never_null: ClassVar[frozenset[str]] = frozenset({"archived"})

    summary: str | None = None
    description: str | None = None
    model: str | None = None
    model_settings: ModelSettings | None = None
    context_window_limit: Size | None = None
    archived: bool | None = None
    last_message_at: Timestamp | None = None


class RecompileConversation(Body):
    """A wish to render the system message anew. `agent_id` is needed where the conversation is `default`."""

    agent_id: str | None = None
    compaction_settings: CompactionSettings | None = None
