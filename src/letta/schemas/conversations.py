"""Conversations: separate threads of messages of one agent. Knows nothing of the messages in them."""

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from letta.schemas.common import UNLESS_SET, Body, Patch, Size, Timestamp, Wire
from letta.schemas.compaction import CompactionSettings
from letta.schemas.model_settings import ModelSettings
from letta.schemas.sends import BusyPolicy


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
    """A conversation. `model`, its settings and the window (in tokens) are null where the agent's own apply.

    `isolated_block_ids` are the blocks that belong to it alone, in the place of the agent's with the same labels.
    `busy_policy` is an own field, shown where it is set.
    """

    id: str
    agent_id: str
    summary: str | None = None
    description: str | None = None
    model: str | None = None
    model_settings: ModelSettings | None = None
    context_window_limit: int | None = None
    in_context_message_ids: list[str] | None = None
    isolated_block_ids: list[str] = Field(default_factory=list)
    busy_policy: BusyPolicy | None = UNLESS_SET
    hidden: bool | None = None
    archived: bool | None = False
    archived_at: Timestamp | None = None
    last_message_at: Timestamp | None = None
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None
    created_by_id: str | None = None
    last_updated_by_id: str | None = None


class CreateConversation(Body):
    """A conversation to begin; its agent is named in the query.

    Of the agent's blocks labelled `isolated_block_labels` it gets copies of its own.
    """

    never_null: ClassVar[frozenset[str]] = frozenset({"hidden"})

    summary: str | None = None
    description: str | None = None
    model: str | None = None
    model_settings: ModelSettings | None = None
    context_window_limit: Size | None = None
    hidden: bool = False
    isolated_block_labels: list[str] | None = None
    busy_policy: BusyPolicy | None = None


class UpdateConversation(Patch):
    """Changes to a conversation; a null `model` makes the agent's own apply again."""

    never_null: ClassVar[frozenset[str]] = frozenset({"archived"})

    summary: str | None = None
    description: str | None = None
    model: str | None = None
    model_settings: ModelSettings | None = None
    context_window_limit: Size | None = None
    archived: bool | None = None
    busy_policy: BusyPolicy | None = None
    last_message_at: Timestamp | None = None


class RecompileConversation(Body):
    """A wish to render the system message anew. `agent_id` is needed where the conversation is `default`."""

    agent_id: str | None = None
    compaction_settings: CompactionSettings | None = None
