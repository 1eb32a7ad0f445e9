"""What an agent was at a step besides its memory: each configuration is kept once, under a digest of what it says.

Steps name the digest, so that an agent can be read, and made again, as it was. Keys and secrets are no part of it.
"""

from hashlib import blake2b
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from letta.schemas.agents import AgentState
from letta.store.query import now
from letta.store.tables import configurations

_FIELDS = frozenset(
    {
        "agent_type", "compaction_settings", "description", "embedding", "embedding_config", "hidden", "llm_config",
        "max_files_open", "message_buffer_autoclear", "metadata", "model", "model_settings", "name",
        "per_file_view_window_char_limit", "project_id", "response_format", "system", "tags", "timezone", "tool_rules",
    }
)  # fmt: skip


class Configuration(NamedTuple):
    """An agent's fields by name, with `tools` and `blocks` as lists of ids with names or labels; and their digest."""

    digest: str
    content: dict[str, Any]


def of(agent: AgentState) -> Configuration:
    """The configuration of an agent that was read with its blocks, tools and tags."""
    # Words that come from the database are plain strings, not members of their enumerations.
    content = agent.model_dump(mode="json", include=set(_FIELDS), exclude_none=True, warnings=False)
    content["tools"] = [{"id": tool.id, "name": tool.name} for tool in agent.tools]
    content["blocks"] = [{"id": block.id, "label": block.label} for block in agent.blocks]
    text = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    return Configuration(blake2b(text, digest_size=16).hexdigest(), content)


def keep(connection: Connection, agent_id: str, configuration: Configuration) -> None:
    """Store a configuration, unless the agent had it before."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    row = dialect.insert(configurations).values(
        agent_id=agent_id, digest=configuration.digest, content=configuration.content, created_at=now()
    )
    connection.execute(row.on_conflict_do_nothing())


def get(connection: Connection, agent_id: str, digest: str) -> dict[str, Any]:
    """What a configuration says; steps name only those that are stored."""
    query = select(configurations.c.content).where(
        configurations.c.agent_id == agent_id, configurations.c.digest == digest
    )
    content: dict[str, Any] = connection.execute(query).scalar_one()
    return content
