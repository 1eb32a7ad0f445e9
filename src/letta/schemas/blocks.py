"""Memory blocks and their history, as they cross the wire. Knows nothing of prompts, agents or storage."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import AfterValidator, AliasChoices, Field

from letta.schemas.common import Body, JsonObject, Patch, Size, Timestamp, Wire

DEFAULT_BLOCK_LIMIT = 100_000
"""Characters a block may hold when nothing else was said."""


def usable_label(label: str) -> str:
    """A label that a path can name. Raises ValueError for an empty one, and for a slash at either end."""
    if not label or label != label.strip("/"):
        raise ValueError(f"{label!r} is no label of a block: it must not be empty, nor begin or end with a slash")
    return label


Label = Annotated[str, AfterValidator(usable_label)]


class Block(Wire):
    """A block of core memory. `limit` is in characters; `name` is the template's name, as SDK 0.1.x calls it."""

    id: str
    value: str
    label: str | None = None
    description: str | None = None
    limit: int | None = DEFAULT_BLOCK_LIMIT
    read_only: bool | None = False
    tags: list[str] | None = None
    metadata: JsonObject | None = None
    hidden: bool | None = None
    is_template: bool | None = False
    template_name: str | None = None
    name: str | None = None
    template_id: str | None = None
    base_template_id: str | None = None
    deployment_id: str | None = None
    entity_id: str | None = None
    preserve_on_migration: bool | None = False
    project_id: str | None = None
    created_by_id: str | None = None
    last_updated_by_id: str | None = None


BlockResponse = Block


class CreateBlock(Body):
    """A block to make. `name` is an older name of `template_name`."""

    never_null: ClassVar[frozenset[str]] = frozenset({"limit", "read_only", "is_template"})

    label: Label
    value: str
    limit: Size = DEFAULT_BLOCK_LIMIT
    description: str | None = None
    read_only: bool = False
    tags: list[str] | None = None
    metadata: JsonObject | None = None
    hidden: bool | None = None
    is_template: bool = False
    template_name: str | None = Field(default=None, validation_alias=AliasChoices("template_name", "name"))
    template_id: str | None = None
    base_template_id: str | None = None
    deployment_id: str | None = None
    entity_id: str | None = None
    preserve_on_migration: bool | None = False
    project_id: str | None = None


class UpdateBlock(Patch):
    """Changes to a block. Null clears, except for what a block always has."""

    never_null: ClassVar[frozenset[str]] = frozenset({"label", "value", "limit", "read_only", "is_template"})

    label: Label | None = None
    value: str | None = None
    limit: Size | None = None
    description: str | None = None
    read_only: bool | None = None
    tags: list[str] | None = None
    metadata: JsonObject | None = None
    hidden: bool | None = None
    is_template: bool | None = None
    template_name: str | None = Field(default=None, validation_alias=AliasChoices("template_name", "name"))
    template_id: str | None = None
    base_template_id: str | None = None
    deployment_id: str | None = None
    entity_id: str | None = None
    preserve_on_migration: bool | None = None
    project_id: str | None = None


class BlockAuthor(StrEnum):
    """Who wrote a version."""

    USER = "user"
    AGENT = "agent"
    SYSTEM = "system"


class BlockAction(StrEnum):
    """What made a version."""

    CREATE = "create"
    EDIT = "edit"
    UNDO = "undo"
    REDO = "redo"
    REVERT = "revert"


class BlockVersion(Wire):
    """A block as it was after one write: 1 is the first. The ids say which agent, run, step and message wrote it."""

    version: int
    value: str
    label: str | None = None
    description: str | None = None
    limit: int | None = None
    read_only: bool | None = None
    author_type: BlockAuthor
    author_id: str | None = None
    run_id: str | None = None
    step_id: str | None = None
    message_id: str | None = None
    action: BlockAction
    created_at: Timestamp


class BlockDiff(Wire):
    """What changed between two versions, as a unified diff of the values."""

    from_version: int
    to_version: int
    diff: str


class BlockRevert(Body):
    """The version whose value is to be written again, as a new version."""

    version: Size
