"""Every table. Times are UTC microseconds since 1970, JSON is text: the same on SQLite and PostgreSQL.

Rows that belong to one agent carry its id and are found by it, so that they can be sharded by agent. The thread an
agent has by itself is a row of `conversations` whose id is the agent's own id.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Timestamp(TypeDecorator[datetime]):
    """An aware datetime, stored as microseconds since the epoch."""

    impl = BigInteger
    cache_ok = True

    # These and those of `Json` stand in for `process_bind_param` and `process_result_value`: a page of rows passes
    # through thousands of them, and the functions in between would take longer than they do.
    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        return _microseconds

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        return _moment


class Json(TypeDecorator[Any]):
    """A JSON value, stored as text."""

    impl = Text
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        return _dumped

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        return _loaded


def _microseconds(value: datetime | None) -> int | None:
    return None if value is None else (value - EPOCH) // _MICROSECOND


def _moment(value: int | None) -> datetime | None:
    return None if value is None else EPOCH + timedelta(microseconds=value)


def _dumped(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def _loaded(value: str | None) -> Any:
    return None if value is None else orjson.loads(value)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> Column[str]:
    return Column("id", Text, primary_key=True)


def _times() -> tuple[Column[datetime], Column[datetime]]:
    return Column("created_at", Timestamp, nullable=False), Column("updated_at", Timestamp, nullable=False)


def _owned(owner: str, *, primary_key: bool = False, index: bool = False) -> Column[str]:
    name = {"agents": "agent_id", "blocks": "block_id", "tools": "tool_id", "identities": "identity_id"}[owner]
    return Column(
        name, Text, ForeignKey(f"{owner}.id", ondelete="CASCADE"), primary_key=primary_key, nullable=False, index=index
    )


agents = Table(
    "agents",
    metadata,
    _id(),
    Column("name", Text, nullable=False, index=True),
    Column("agent_type", Text, nullable=False),
    Column("description", Text),
    Column("system", Text, nullable=False),
    Column("model", Text),
    Column("embedding", Text),
    Column("llm_config", Json, nullable=False),
    Column("embedding_config", Json),
    Column("model_settings", Json),
    Column("context_window_limit", Integer),
    Column("response_format", Json),
    Column("tool_rules", Json),
    Column("compaction_settings", Json),
    Column("metadata", Json),
    Column("secrets", LargeBinary),
    Column("timezone", Text, nullable=False),
    Column("message_buffer_autoclear", Boolean, nullable=False),
    Column("enable_sleeptime", Boolean),
    Column("max_files_open", Integer),
    Column("per_file_view_window_char_limit", Integer),
    Column("hidden", Boolean, nullable=False),
    Column("project_id", Text),
    Column("template_id", Text),
    Column("base_template_id", Text),
    Column("deployment_id", Text),
    Column("entity_id", Text),
    Column("last_run_completion", Timestamp),
    Column("last_run_duration_ms", Integer),
    Column("last_stop_reason", Text),
    # What happens to a message that arrives while the agent is at work; None: what the route does.
    Column("busy_policy", Text),
    # Raised by every change the model can see: the agent's row, its blocks, its tools.
    Column("version", BigInteger, nullable=False),
    *_times(),
    Index("ix_agents_created", "created_at", "id"),
)

agent_tags = Table(
    "agent_tags", metadata, _owned("agents", primary_key=True), Column("tag", Text, primary_key=True, index=True)
)

blocks = Table(
    "blocks",
    metadata,
    _id(),
    Column("label", Text, nullable=False, index=True),
    Column("value", Text, nullable=False),
    Column("limit", Integer, nullable=False),
    Column("description", Text),
    Column("read_only", Boolean, nullable=False),
    Column("hidden", Boolean, nullable=False),
    Column("is_template", Boolean, nullable=False),
    Column("template_name", Text),
    Column("template_id", Text),
    Column("base_template_id", Text),
    Column("deployment_id", Text),
    Column("entity_id", Text),
    Column("preserve_on_migration", Boolean),
    Column("project_id", Text),
    Column("metadata", Json),
    Column("version", Integer, nullable=False),
    *_times(),
    Index("ix_blocks_created", "created_at", "id"),
)

block_tags = Table(
    "block_tags", metadata, _owned("blocks", primary_key=True), Column("tag", Text, primary_key=True, index=True)
)

agent_blocks = Table(
    "agent_blocks",
    metadata,
    _owned("agents", primary_key=True),
    Column("block_id", Text, ForeignKey("blocks.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("position", Integer, nullable=False),
)

block_versions = Table(
    "block_versions",
    metadata,
    _owned("blocks", primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("label", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("description", Text),
    Column("limit", Integer, nullable=False),
    Column("action", Text, nullable=False),
    # The version whose text this one shows, and the one it was edited from: what undo and redo walk along.
    Column("state", Integer, nullable=False),
    Column("parent", Integer),
    Column("author_type", Text, nullable=False),
    Column("author_id", Text),
    Column("run_id", Text),
    Column("step_id", Text),
    Column("message_id", Text),
    Column("created_at", Timestamp, nullable=False),
)

tools = Table(
    "tools",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    Column("tool_type", Text, nullable=False),
    Column("description", Text),
    Column("source_type", Text),
    Column("source_code", Text),
    Column("json_schema", Json),
    Column("args_json_schema", Json),
    Column("tags", Json, nullable=False),
    Column("return_char_limit", Integer, nullable=False),
    Column("pip_requirements", Json),
    Column("npm_requirements", Json),
    Column("default_requires_approval", Boolean),
    Column("enable_parallel_execution", Boolean),
    Column("idempotent", Boolean),
    Column("metadata", Json),
    Column("project_id", Text),
    *_times(),
    Index("ix_tools_created", "created_at", "id"),
)

agent_tools = Table(
    "agent_tools",
    metadata,
    _owned("agents", primary_key=True),
    Column("tool_id", Text, ForeignKey("tools.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("position", Integer, nullable=False),
)

identities = Table(
    "identities",
    metadata,
    _id(),
    Column("identifier_key", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("identity_type", Text, nullable=False),
    Column("properties", Json, nullable=False),
    Column("project_id", Text),
    *_times(),
    Index("ix_identities_created", "created_at", "id"),
)

agent_identities = Table(
    "agent_identities",
    metadata,
    _owned("agents", primary_key=True),
    Column("identity_id", Text, ForeignKey("identities.id", ondelete="CASCADE"), primary_key=True, index=True),
)

block_identities = Table(
    "block_identities",
    metadata,
    _owned("blocks", primary_key=True),
    Column("identity_id", Text, ForeignKey("identities.id", ondelete="CASCADE"), primary_key=True, index=True),
)

conversations = Table(
    "conversations",
    metadata,
    _id(),
    _owned("agents"),
    Column("summary", Text),
    Column("description", Text),
    Column("model", Text),
    Column("model_settings", Json),
    Column("context_window_limit", Integer),
    Column("hidden", Boolean, nullable=False),
    Column("archived_at", Timestamp),
    Column("deleted_at", Timestamp),
    Column("last_message_at", Timestamp),
    Column("last_run_completion", Timestamp),
    # A fork reads its parent's messages up to and including this position, then its own.
    Column("parent_id", Text),
    Column("parent_position", Integer),
    Column("next_position", Integer, nullable=False),
    # The model sees the summary, then every message from this position on.
    Column("window_start", Integer, nullable=False),
    Column("summary_message_id", Text),
    # The assistant message whose calls wait for a person or a client.
    Column("pending_message_id", Text),
    Column("busy_policy", Text),
    Column("version", BigInteger, nullable=False),
    *_times(),
    Index("ix_conversations_agent", "agent_id", "created_at"),
    # Agents' own threads are in no list of conversations.
    Index(
        "ix_conversations_listed",
        "created_at",
        "id",
        sqlite_where=text("id <> agent_id"),
        postgresql_where=text("id <> agent_id"),
    ),
    Index(
        "ix_conversations_waiting",
        "pending_message_id",
        sqlite_where=text("pending_message_id IS NOT NULL"),
        postgresql_where=text("pending_message_id IS NOT NULL"),
    ),
)

# A conversation's own copies of blocks, which stand in for the agent's blocks with the same labels.
conversation_blocks = Table(
    "conversation_blocks",
    metadata,
    Column("conversation_id", Text, ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True),
    Column("block_id", Text, ForeignKey("blocks.id", ondelete="CASCADE"), primary_key=True, index=True),
    _owned("agents", index=True),
    Column("position", Integer, nullable=False),
)

messages = Table(
    "messages",
    metadata,
    _id(),
    _owned("agents"),
    Column("conversation_id", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("role", Text, nullable=False),
    # The parts as JSON text, read and written as they are: see letta.store.messages.
    Column("parts", Text, nullable=False),
    Column("name", Text),
    Column("otid", Text),
    Column("sender_id", Text),
    Column("group_id", Text),
    Column("model", Text),
    Column("run_id", Text, index=True),
    Column("step_id", Text, index=True),
    Column("is_err", Boolean, nullable=False),
    Column("data", Json),
    Column("created_at", Timestamp, nullable=False),
    UniqueConstraint("conversation_id", "position"),
    Index("ix_messages_agent", "agent_id", "created_at", "id"),
    Index("ix_messages_created", "created_at", "id"),
    Index(
        "ix_messages_group",
        "group_id",
        "created_at",
        "id",
        sqlite_where=text("group_id IS NOT NULL"),
        postgresql_where=text("group_id IS NOT NULL"),
    ),
    # Where a window stood earlier on is told by the summaries, which are few.
    Index(
        "ix_messages_summaries",
        "conversation_id",
        "position",
        sqlite_where=text("role = 'summary'"),
        postgresql_where=text("role = 'summary'"),
    ),
)

runs = Table(
    "runs",
    metadata,
    _id(),
    _owned("agents"),
    Column("conversation_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("stop_reason", Text),
    Column("background", Boolean, nullable=False),
    # The whole request as it came in: what a restarted process continues from.
    Column("request", Json, nullable=False),
    Column("metadata", Json, nullable=False),
    Column("callback_url", Text),
    # When to call back next (None: no more), how often that was tried, and what came of it.
    Column("callback_due", Timestamp),
    Column("callback_attempts", Integer),
    Column("callback_sent_at", Timestamp),
    Column("callback_status_code", Integer),
    Column("callback_error", Text),
    # What says that a request is one that was sent before: its sender's own key, and a digest of what it asks for.
    Column("request_key", Text),
    Column("request_digest", Text),
    # The run that answers for this one, from which position on; whether this one answers for others, and whether
    # somebody wants to be heard during it.
    Column("answered_by", Text),
    Column("answered_from", Integer),
    Column("answers_others", Boolean),
    Column("steered", Boolean),
    Column("usage", Json),
    Column("ttft_ns", BigInteger),
    Column("total_duration_ns", BigInteger),
    # Who works on it: every write of a run carries its attempt, so that a lost owner cannot write any more.
    Column("owner", Text),
    Column("attempt", Integer, nullable=False),
    Column("lease_until", Timestamp),
    Column("cancel_requested", Boolean, nullable=False),
    Column("batch_id", Text),
    Column("created_at", Timestamp, nullable=False),
    Column("completed_at", Timestamp),
    Index("ix_runs_agent", "agent_id", "created_at", "id"),
    Index("ix_runs_created", "created_at", "id"),
    Index(
        "uq_runs_one_running",
        "conversation_id",
        unique=True,
        sqlite_where=text("status = 'running'"),
        postgresql_where=text("status = 'running'"),
    ),
    Index(
        "uq_runs_request_key",
        "agent_id",
        "conversation_id",
        "request_key",
        unique=True,
        sqlite_where=text("request_key IS NOT NULL"),
        postgresql_where=text("request_key IS NOT NULL"),
    ),
    Index(
        "ix_runs_callback_due",
        "callback_due",
        sqlite_where=text("callback_due IS NOT NULL"),
        postgresql_where=text("callback_due IS NOT NULL"),
    ),
    Index(
        "ix_runs_answered_by",
        "answered_by",
        sqlite_where=text("answered_by IS NOT NULL"),
        postgresql_where=text("answered_by IS NOT NULL"),
    ),
    Index(
        "ix_runs_open",
        "conversation_id",
        "created_at",
        sqlite_where=text("status IN ('created', 'running')"),
        postgresql_where=text("status IN ('created', 'running')"),
    ),
    # Runs that any process may take: accepted by one that does not execute, or begun by a schedule or a batch.
    Index(
        "ix_runs_unowned",
        "created_at",
        "id",
        sqlite_where=text("status = 'created' AND owner IS NULL"),
        postgresql_where=text("status = 'created' AND owner IS NULL"),
    ),
    Index(
        "ix_runs_batch",
        "batch_id",
        "created_at",
        sqlite_where=text("batch_id IS NOT NULL"),
        postgresql_where=text("batch_id IS NOT NULL"),
    ),
)

# Messages sent to many agents at once. How far a batch is, its runs say.
batches = Table(
    "batches",
    metadata,
    _id(),
    Column("size", Integer, nullable=False),
    Column("callback_url", Text),
    Column("callback_due", Timestamp),
    Column("callback_attempts", Integer),
    Column("callback_sent_at", Timestamp),
    Column("callback_status_code", Integer),
    Column("callback_error", Text),
    Column("cancelled_at", Timestamp),
    # What says that a request is one that was sent before: see letta.store.repeats.
    Column("request_key", Text),
    Column("request_digest", Text),
    Column("created_at", Timestamp, nullable=False),
    Index("ix_batches_created", "created_at", "id"),
    Index(
        "uq_batches_request_key",
        "request_key",
        unique=True,
        sqlite_where=text("request_key IS NOT NULL"),
        postgresql_where=text("request_key IS NOT NULL"),
    ),
    Index(
        "ix_batches_callback",
        "callback_due",
        sqlite_where=text("callback_url IS NOT NULL"),
        postgresql_where=text("callback_url IS NOT NULL"),
    ),
)

# What an agent is told at a time, or at the times of a cron expression.
schedules = Table(
    "schedules",
    metadata,
    _id(),
    _owned("agents"),
    Column("request", Json, nullable=False),
    Column("cron", Text),
    # In which `cron` is read; `follows_agent` says that it is the agent's and changes with it.
    Column("timezone", Text, nullable=False),
    Column("follows_agent", Boolean, nullable=False),
    Column("when_busy", Text, nullable=False),
    Column("catch_up", Text, nullable=False),
    # None: there is no next time.
    Column("next_at", Timestamp),
    # What says that a request is one that was sent before: see letta.store.repeats.
    Column("request_key", Text),
    Column("request_digest", Text),
    Column("created_at", Timestamp, nullable=False),
    Index("ix_schedules_agent", "agent_id", "created_at", "id"),
    Index(
        "uq_schedules_request_key",
        "agent_id",
        "request_key",
        unique=True,
        sqlite_where=text("request_key IS NOT NULL"),
        postgresql_where=text("request_key IS NOT NULL"),
    ),
    Index(
        "ix_schedules_next",
        "next_at",
        sqlite_where=text("next_at IS NOT NULL"),
        postgresql_where=text("next_at IS NOT NULL"),
    ),
)

# The times that have come, each once: the key is what keeps two processes from acting on the same one.
schedule_occurrences = Table(
    "schedule_occurrences",
    metadata,
    Column("schedule_id", Text, ForeignKey("schedules.id", ondelete="CASCADE"), primary_key=True),
    Column("due_at", Timestamp, primary_key=True),
    _owned("agents", index=True),
    Column("handled_at", Timestamp, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("run_id", Text),
    Column("missed", Integer, nullable=False),
    Column("detail", Text),
)

# What runs showed while messages were being written: see letta.store.run_events.
run_events = Table(
    "run_events",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("seq", Integer, primary_key=True),
    _owned("agents", index=True),
    Column("data", Text, nullable=False),
    Column("created_at", Timestamp, nullable=False, index=True),
)

steps = Table(
    "steps",
    metadata,
    _id(),
    _owned("agents"),
    Column("run_id", Text, nullable=False, index=True),
    Column("status", Text, nullable=False),
    Column("stop_reason", Text),
    Column("model", Text),
    Column("model_handle", Text),
    Column("model_endpoint", Text),
    Column("provider_name", Text),
    Column("provider_category", Text),
    Column("provider_id", Text),
    Column("context_window_limit", Integer),
    Column("prompt_tokens", Integer),
    Column("completion_tokens", Integer),
    Column("total_tokens", Integer),
    Column("cached_input_tokens", Integer),
    Column("cache_write_tokens", Integer),
    Column("reasoning_tokens", Integer),
    Column("request_id", Text),
    Column("error_type", Text),
    Column("error_data", Json),
    Column("feedback", Text),
    Column("feedback_text", Text),
    Column("tags", Json),
    Column("step_start_ns", BigInteger),
    Column("llm_request_ns", BigInteger),
    Column("tool_execution_ns", BigInteger),
    Column("step_ns", BigInteger),
    # What the agent was in this step: the digest of one of its configurations.
    Column("configuration", Text),
    Column("created_at", Timestamp, nullable=False),
    Index("ix_steps_agent", "agent_id", "created_at", "id"),
    Index("ix_steps_created", "created_at", "id"),
)

configurations = Table(
    "configurations",
    metadata,
    _owned("agents", primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("content", Json, nullable=False),
    Column("created_at", Timestamp, nullable=False),
)

traces = Table(
    "traces",
    metadata,
    Column("step_id", Text, primary_key=True),
    _owned("agents", index=True),
    Column("run_id", Text, nullable=False, index=True),
    Column("request", LargeBinary, nullable=False),
    Column("response", LargeBinary, nullable=False),
    Column("latency_ms", Float),
    Column("created_at", Timestamp, nullable=False),
)

providers = Table(
    "providers",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    Column("provider_type", Text, nullable=False),
    Column("base_url", Text),
    Column("region", Text),
    Column("api_version", Text),
    Column("secrets", LargeBinary),
    Column("last_synced", Timestamp),
    *_times(),
)

archives = Table(
    "archives",
    metadata,
    _id(),
    Column("name", Text, nullable=False, index=True),
    Column("description", Text),
    # The handle of the embedding model, and its older long form; None: searched by words only.
    Column("embedding", Text),
    Column("embedding_config", Json),
    Column("metadata", Json),
    *_times(),
    Index("ix_archives_created", "created_at", "id"),
)

agent_archives = Table(
    "agent_archives",
    metadata,
    _owned("agents", primary_key=True),
    Column("archive_id", Text, ForeignKey("archives.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("created_at", Timestamp, nullable=False),
)

passages = Table(
    "passages",
    metadata,
    _id(),
    Column("archive_id", Text, ForeignKey("archives.id", ondelete="CASCADE"), nullable=False),
    Column("text", Text, nullable=False),
    Column("tags", Json),
    Column("metadata", Json),
    Column("deleted_at", Timestamp),
    *_times(),
    Index("ix_passages_archive", "archive_id", "created_at", "id"),
)

passage_tags = Table(
    "passage_tags",
    metadata,
    Column("passage_id", Text, ForeignKey("passages.id", ondelete="CASCADE"), primary_key=True),
    Column("tag", Text, primary_key=True, index=True),
)

# What is searched: messages and passages, long ones in pieces. The words of `terms` are indexed in `piece_words`
# (SQLite) or in the column `words` (PostgreSQL), which the migrations make.
pieces = Table(
    "pieces",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("kind", Text, nullable=False),
    # Whose it is: an agent's id for messages, an archive's for passages. `owner_word` is the same as one word.
    Column("owner", Text, nullable=False),
    Column("owner_word", Text, nullable=False),
    Column("item_id", Text, nullable=False, index=True),
    Column("number", Integer, nullable=False),
    Column("thread", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("role", Text),
    Column("speaker", Text),
    Column("text", Text, nullable=False),
    Column("terms", Text, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    # The embedding model that still has to read it, until when somebody is at it, and why it cannot be read.
    Column("wanted", Text),
    Column("claimed_until", Timestamp),
    Column("failure", Text),
    Index("ix_pieces_owner", "owner", "thread", "position"),
    Index(
        "ix_pieces_wanted",
        "number",
        "id",
        sqlite_where=text("wanted IS NOT NULL"),
        postgresql_where=text("wanted IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
)

# One vector per piece: float32, little endian. Where pgvector is installed it is in the column `embedding` instead.
vectors = Table(
    "vectors",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("piece_id", BigInteger, ForeignKey("pieces.id", ondelete="CASCADE"), nullable=False, unique=True),
    Column("owner", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("data", LargeBinary),
    Index("ix_vectors_owner", "owner", "model", "id"),
    sqlite_autoincrement=True,
)

# Counters of what was added to and taken from an owner's vectors: every process sees when its copy is old.
vector_owners = Table(
    "vector_owners",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("added", BigInteger, nullable=False),
    Column("removed", BigInteger, nullable=False),
)

mcp_servers = Table(
    "mcp_servers",
    metadata,
    _id(),
    Column("server_name", Text, nullable=False, unique=True),
    Column("server_type", Text, nullable=False),
    # Without what is secret in it: that is in `secrets`, by the name of its place.
    Column("config", Json, nullable=False),
    Column("secrets", LargeBinary),
    # When its tools were last listed, and why that failed.
    Column("checked_at", Timestamp),
    Column("failure", Text),
    *_times(),
    Index("ix_mcp_servers_created", "created_at", "id"),
)

mcp_tools = Table(
    "mcp_tools",
    metadata,
    _owned("tools", primary_key=True),
    Column("server_id", Text, ForeignKey("mcp_servers.id", ondelete="CASCADE"), nullable=False),
    # The server's own name for it; the tool's name is unique among all tools.
    Column("name", Text, nullable=False),
    UniqueConstraint("server_id", "name"),
)

# Tokens got by signing in, encrypted, by the address they are for.
mcp_tokens = Table(
    "mcp_tokens",
    metadata,
    Column("server_url", Text, primary_key=True),
    Column("secrets", LargeBinary, nullable=False),
    *_times(),
)

groups = Table(
    "agent_groups",
    metadata,
    _id(),
    Column("manager_type", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("manager_agent_id", Text, ForeignKey("agents.id", ondelete="SET NULL"), index=True),
    Column("termination_token", Text),
    Column("max_turns", Integer),
    Column("sleeptime_agent_frequency", Integer),
    Column("turns_counter", Integer),
    Column("last_processed_message_id", Text),
    Column("max_message_buffer_length", Integer),
    Column("min_message_buffer_length", Integer),
    # The members have the blocks of the leading agent, always: an agent and its sleep-time agent.
    Column("shares_memory", Boolean, nullable=False),
    # How much of the talk the leading agent has heard, and who lets the group take a turn, until when.
    Column("leader_heard", BigInteger, nullable=False),
    Column("turn_owner", Text),
    Column("turn_until", Timestamp),
    Column("hidden", Boolean, nullable=False),
    Column("project_id", Text),
    *_times(),
    Index("ix_agent_groups_created", "created_at", "id"),
)


def _of_group() -> Column[str]:
    return Column("group_id", Text, ForeignKey("agent_groups.id", ondelete="CASCADE"), primary_key=True)


group_agents = Table(
    "group_agents",
    metadata,
    _of_group(),
    _owned("agents", primary_key=True, index=True),
    Column("position", Integer, nullable=False),
    Column("heard", BigInteger, nullable=False),
)

group_blocks = Table(
    "group_blocks",
    metadata,
    _of_group(),
    Column("block_id", Text, ForeignKey("blocks.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("position", Integer, nullable=False),
)

# What was said in a group lately, for those who have not heard it yet; every agent's own thread keeps what it heard.
group_lines = Table(
    "group_lines",
    metadata,
    _of_group(),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    # The agent that said it; None: whoever sent a message to the group.
    Column("speaker", Text),
    Column("message", Json, nullable=False),
    Column("created_at", Timestamp, nullable=False),
)
