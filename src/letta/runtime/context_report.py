"""What fills a context window: every part of the next request, as text and in tokens."""

from pydantic_core import to_json
from sqlalchemy import Connection

from letta.errors import LettaError
from letta.memory.prompt import (
    compile_prompt,
    memory_section,
    metadata_section,
    numbers_lines,
    tool_rules_section,
)
from letta.memory.tokens import count_tokens
from letta.memory.window import Window, in_window
from letta.models.registry import Registry
from letta.runtime.request import clamp_of, limit_of, prompt_facts
from letta.schemas.agents import AgentState, ContextWindowBlock, ContextWindowOverview
from letta.schemas.messages import Message, Role
from letta.store import agents, messages, moments, passages
from letta.store.access import Database
from letta.store.runs import Versions


async def context_report(
    database: Database, registry: Registry, agent_id: str, conversation_id: str
) -> ContextWindowOverview:
    """The report of one conversation. Raises letta.errors.NotFound."""
    return await database.read(_report, registry, agent_id, conversation_id)


def _report(connection: Connection, registry: Registry, agent_id: str, conversation_id: str) -> ContextWindowOverview:
    snapshot = agents.snapshot(connection, agent_id, conversation_id)
    window = Window(snapshot, Versions(snapshot.version, snapshot.thread.version))
    shown = in_window(connection, snapshot.thread)
    agent, facts = snapshot.agent, prompt_facts(window)
    limit = _limit(registry, window)
    summary = next((message for message in shown if message.role is Role.SUMMARY), None)
    # As requests are built: a summary stands elsewhere, and what a person or client answered in the results.
    apart = (Role.SUMMARY, Role.APPROVAL)
    said = [window.clamped(message, clamp_of(limit)) for message in shown if message.role not in apart]
    memory = memory_section(agent.blocks, numbered=numbers_lines(agent, facts))
    rules, metadata = tool_rules_section(agent.tool_rules or ()), metadata_section(agent, facts)
    tools = [{"type": "function", "function": tool.json_schema or {}} for tool in agent.tools]
    parts = {
        "num_tokens_system": count_tokens(agent.system),
        "num_tokens_core_memory": count_tokens(memory),
        "num_tokens_external_memory_summary": count_tokens(metadata),
        "num_tokens_tool_usage_rules": count_tokens(rules),
        "num_tokens_summary_memory": count_tokens(window.introduced(summary).text) if summary else 0,
        "num_tokens_functions_definitions": count_tokens(to_json(tools).decode()) if tools else 0,
        "num_tokens_messages": sum(count_tokens(_text(message)) for message in said),
    }
    return ContextWindowOverview(
        context_window_size_max=limit,
        context_window_size_current=sum(parts.values()),
        num_messages=len(shown) + 1,
        num_archival_memory=passages.count(connection, agent_id),
        num_recall_memory=messages.count(connection, agent_id),
        external_memory_summary=metadata,
        system_prompt="\n\n".join(compile_prompt(agent, facts)),
        core_memory=memory,
        tool_usage_rules=rules or None,
        summary_memory=summary.text if summary else None,
        functions_definitions=tools,
        messages=[
            {
                "id": message.id,
                "role": message.role.value,
                "content": _text(message),
                "tokens": count_tokens(_text(message)),
            }
            for message in said
        ],
        blocks=_blocks(connection, agent, conversation_id),
        **parts,
    )


def _blocks(connection: Connection, agent: AgentState, conversation_id: str) -> list[ContextWindowBlock]:
    seen = moments.last_seen(connection, agent.id, conversation_id, [block.id for block in agent.blocks])
    shown = []
    for block in agent.blocks:
        step_id, at = seen.get(block.id, (None, None))
        tokens = count_tokens(block.value)
        shown.append(ContextWindowBlock(label=block.label, tokens=tokens, last_seen_at=at, last_seen_step_id=step_id))
    return shown


def _limit(registry: Registry, window: Window) -> int:
    """The tokens a request of this conversation may have."""
    thread, agent = window.thread, window.agent
    if thread.model is None and thread.context_window_limit is None:
        return agent.llm_config.context_window
    try:
        return limit_of(window, registry.resolve(thread.model or agent.model or registry.default_handle()))
    except LettaError:
        # A model that is not to be had now bounds nothing.
        return thread.context_window_limit or agent.llm_config.context_window


def _text(message: Message) -> str:
    """Everything of a message that costs tokens, as text."""
    return to_json([part.model_dump(exclude_none=True, exclude={"type"}) for part in message.parts]).decode()
