"""Agents of a Letta server in the adapter's terms: what makes one, what changes one, what is told about one.

Knows nothing of messages.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from letta_client import BadRequestError, NotFoundError

from openharness.types import ModelConfig, UpdateAgentRequest
from openharness_letta.connection import Connection, url_path
from openharness_letta.errors import about
from openharness_letta.memory import OWN, block_body, standard_blocks, unattached
from openharness_letta.tools import find_tool
from openharness_letta.types import DEFAULT_EMBEDDING_MODEL, LettaAgentConfig, MemoryBlock

DEFAULT_AGENT_NAME = "openharness-default-agent"
DEFAULT_AGENT_TAG = "openharness:default"

AgentChanges = UpdateAgentRequest | Mapping[str, Any]


async def create_agent(
    connection: Connection, config: LettaAgentConfig | Mapping[str, Any], *, local_tools: set[str], tags: list[str]
) -> str:
    """Make an agent and answer its id. Tools in `local_tools` run in this process and are not asked of the server."""
    config = config if isinstance(config, LettaAgentConfig) else _config_from(config)
    blocks = config.memory_blocks or standard_blocks()
    body: dict[str, Any] = {
        "name": config.name,
        "model": config.model,
        "embedding": config.embedding_model,
        "memory_blocks": [{**block_body(block), "metadata": OWN} for block in blocks],
        "include_base_tools": config.include_base_tools,
        "tools": [tool for tool in config.tools if tool not in local_tools],
        "system": config.system_prompt,
        "metadata": config.metadata,
        "tags": tags,
    }
    body = {key: value for key, value in body.items() if value not in (None, "", [], {})}
    with about("Agent", config.name or "without a name"):
        return str((await _created(connection, body))["id"])


async def _created(connection: Connection, body: dict[str, Any]) -> dict[str, Any]:
    path = url_path("agents", "")
    try:
        return dict(await connection.send("post", path, body))
    except (NotFoundError, BadRequestError):
        # The default embedding model is nobody's wish: a server without it may take its own.
        if body.get("embedding") != DEFAULT_EMBEDDING_MODEL:
            raise
    return dict(await connection.send("post", path, {key: body[key] for key in body if key != "embedding"}))


def _config_from(given: Mapping[str, Any]) -> LettaAgentConfig:
    unknown = set(given) - {field.name for field in fields(LettaAgentConfig)}
    if unknown:
        raise ValueError(f"create_agent does not know {sorted(unknown)}; it takes the fields of LettaAgentConfig")
    values = {key: value for key, value in given.items() if value is not None}
    blocks = values.pop("memory_blocks", [])
    return LettaAgentConfig(**values, memory_blocks=[_block_from(block) for block in blocks])


def _block_from(given: Any) -> Any:
    if not isinstance(given, Mapping):
        return given
    unknown = set(given) - {field.name for field in fields(MemoryBlock)}
    if unknown or "label" not in given:
        raise ValueError(f"A memory block takes label, value, limit, template_name and template; got {sorted(given)}")
    return MemoryBlock(**{"value": "", **given})


async def agent_details(connection: Connection, agent_id: str) -> dict[str, Any]:
    """id, name, model, created_at (ISO 8601) and metadata of an agent."""
    with about("Agent", agent_id):
        return _details(await connection.get(url_path("agents", agent_id)))


async def agent_summaries(connection: Connection) -> list[dict[str, Any]]:
    """id, name and model of every agent."""
    agents = await connection.every(url_path("agents", ""))
    return [{"id": agent["id"], "name": agent.get("name"), "model": _model_of(agent)} for agent in agents]


async def update_agent(connection: Connection, agent_id: str, changes: AgentChanges) -> dict[str, Any]:
    """Change an agent and answer its details.

    Raises:
        ValueError: a change that Letta has no place for, named.
        LookupError: a tool is not on the server.
    """
    body = await _changes_body(connection, changes)
    with about("Agent", agent_id):
        return _details(await connection.send("patch", url_path("agents", agent_id), body))


async def delete_agent(connection: Connection, agent_id: str) -> None:
    """Delete an agent, and the blocks that were made with it here and that no other agent has."""
    with about("Agent", agent_id):
        blocks = await connection.every(url_path("agents", agent_id, "core-memory", "blocks"))
        await connection.send("delete", url_path("agents", agent_id))
    for block in blocks:
        if (block.get("metadata") or {}).items() >= OWN.items() and await unattached(connection, block["id"]):
            with about("Block", block["id"]):
                await connection.send("delete", url_path("blocks", block["id"]))


async def default_agent(connection: Connection) -> str:
    """The id of the server's one default agent, made if there is none.

    Two adapters may make it at the same time: the older one is kept, and the maker of the younger takes it back.
    """
    if found := await _oldest_default(connection):
        return found
    config = LettaAgentConfig(name=DEFAULT_AGENT_NAME, memory_blocks=standard_blocks())
    made = await create_agent(connection, config, local_tools=set(), tags=[DEFAULT_AGENT_TAG])
    kept = await _oldest_default(connection) or made
    if kept != made:
        await delete_agent(connection, made)
    return kept


async def _oldest_default(connection: Connection) -> str | None:
    tagged = await connection.every(
        url_path("agents", ""), name=DEFAULT_AGENT_NAME, tags=[DEFAULT_AGENT_TAG], include=["agent.tags"]
    )
    own = [agent for agent in tagged if DEFAULT_AGENT_TAG in (agent.get("tags") or [])]
    oldest = min(own, key=lambda agent: (agent.get("created_at") or "", agent["id"]), default=None)
    return oldest["id"] if oldest else None


_CHANGES = {
    "name": "name",
    "description": "description",
    "tags": "tags",
    "metadata": "metadata",
    "system_prompt": "system",
    "model": "model",
    "embedding_model": "embedding",
}


async def _changes_body(connection: Connection, changes: AgentChanges) -> dict[str, Any]:
    if isinstance(changes, UpdateAgentRequest):
        changes = {name: getattr(changes, name) for name in changes.model_fields_set}
    wanted = {name: value for name, value in changes.items() if value is not None}
    refused = set(wanted) - set(_CHANGES) - {"tools"}
    if refused:
        raise ValueError(f"update_agent cannot change {', '.join(sorted(refused))}: a Letta agent has no such field")
    body = {_CHANGES[name]: value for name, value in wanted.items() if name in _CHANGES}
    model = wanted.get("model")
    if isinstance(model, ModelConfig):
        body |= {"model": "/".join(part for part in (model.provider, model.name) if part)}
        body |= {"embedding": model.embedding} if model.embedding else {}
    if "tools" in wanted:
        body["tool_ids"] = [(await find_tool(connection, tool))["id"] for tool in wanted["tools"]]
    return body


def _details(agent: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": agent["id"],
        "name": agent.get("name"),
        "model": _model_of(agent),
        "created_at": str(agent["created_at"]) if agent.get("created_at") else None,
        "metadata": agent.get("metadata") or {},
    }


def _model_of(agent: dict[str, Any]) -> str | None:
    config = agent.get("llm_config") or {}
    return agent.get("model") or config.get("handle") or config.get("model")
