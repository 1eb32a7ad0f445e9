"""The system prompt: the agent's own text, its memory blocks, the rules of its tools, and facts about it.

Sections come most stable first, so that a provider's prompt cache stays warm: nothing in here changes from step to
step, only when a block, a tool rule or the window does. Knows no provider and no storage.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from letta.memory.rule_texts import rule_text
from letta.schemas.agents import AgentState, AgentType
from letta.schemas.blocks import Block
from letta.schemas.sends import ClientSkill
from letta.schemas.tool_rules import ToolRule

_LINE_NUMBERED = frozenset({AgentType.LETTA_V1_AGENT, AgentType.MEMGPT_V2_AGENT, AgentType.SLEEPTIME_AGENT})
_WITHOUT_MEMORY = frozenset({AgentType.REACT_AGENT, AgentType.WORKFLOW_AGENT})

LINE_NUMBER_NOTE = "# Line numbers are shown to help you edit. They are not part of the text: never write them."


@dataclass(frozen=True, slots=True)
class PromptFacts:
    """What the prompt says about the moment: all of it changes with memory or the window, never by itself.

    `hidden_messages` is how many earlier messages the model does not see any more.
    """

    conversation_id: str
    hidden_messages: int
    skills: tuple[ClientSkill, ...] = ()
    override: str | None = None
    line_numbers: bool = False


def compile_prompt(agent: AgentState, facts: PromptFacts) -> tuple[str, ...]:
    """The sections of the system prompt, most stable first; an override replaces them all."""
    if facts.override is not None:
        return (facts.override,)
    sections = [agent.system, tool_rules_section(agent.tool_rules or ()), skills_section(facts.skills)]
    if agent.agent_type not in _WITHOUT_MEMORY:
        sections.append(memory_section(agent.blocks, numbered=numbers_lines(agent, facts)))
    sections.append(metadata_section(agent, facts))
    return tuple(section for section in sections if section)


def numbers_lines(agent: AgentState, facts: PromptFacts) -> bool:
    """Whether blocks are shown with line numbers: where the model is good with them and the tools use them."""
    return facts.line_numbers and agent.agent_type in _LINE_NUMBERED


def memory_section(blocks: Sequence[Block], *, numbered: bool) -> str:
    """The `<memory_blocks>` element."""
    if not blocks:
        return ""
    rendered = "\n\n".join(_block(block, numbered) for block in blocks)
    return (
        "<memory_blocks>\nThe following memory blocks are currently engaged in your core memory:\n\n"
        f"{rendered}\n</memory_blocks>"
    )


def _block(block: Block, numbered: bool) -> str:
    value = block.value
    if numbered and value:
        lines = "\n".join(f"{number}→ {line}" for number, line in enumerate(value.split("\n"), 1))
        value = f"{LINE_NUMBER_NOTE}\n{lines}"
    read_only = "- read_only=true\n" if block.read_only else ""
    return (
        f"<{block.label}>\n<description>\n{block.description or ''}\n</description>\n"
        f"<metadata>\n{read_only}- chars_current={len(block.value)}\n- chars_limit={block.limit}\n</metadata>\n"
        f"<value>\n{value}\n</value>\n</{block.label}>"
    )


def tool_rules_section(rules: Sequence[ToolRule]) -> str:
    """The `<tool_usage_rules>` element: the rules in words."""
    if not rules:
        return ""
    lines = "\n".join(f"- {rule_text(rule)}" for rule in rules)
    return f"<tool_usage_rules>\nFollow these rules when you use tools:\n{lines}\n</tool_usage_rules>"


def skills_section(skills: Sequence[ClientSkill]) -> str:
    """The `<available_skills>` element: skills that live in the client."""
    if not skills:
        return ""
    lines = "\n".join(f"- {skill.name} ({skill.location}): {skill.description}" for skill in skills)
    return f"<available_skills>\n{lines}\n</available_skills>"


def metadata_section(agent: AgentState, facts: PromptFacts) -> str:
    """The `<memory_metadata>` element."""
    lines = [f"- AGENT_ID: {agent.id}"]
    if facts.conversation_id != agent.id:
        lines.append(f"- CONVERSATION_ID: {facts.conversation_id}")
    if agent.timezone:
        lines.append(f"- TIMEZONE: {agent.timezone}")
    if facts.hidden_messages:
        lines.append(
            f"- {facts.hidden_messages} earlier messages are not shown; conversation_search finds them, if you have it"
        )
    return "<memory_metadata>\n" + "\n".join(lines) + "\n</memory_metadata>"
