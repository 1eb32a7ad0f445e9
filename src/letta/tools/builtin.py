"""The built-in tools: what the model is told of each, and the function behind it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from letta.errors import ToolFailed
from letta.schemas.agents import AgentType
from letta.schemas.tools import ToolType
from letta.store import tools
from letta.tools import archival, memory, recall
from letta.tools.context import ToolContext

StepTool = Callable[..., str]
"""A function of a ToolContext and the call's arguments that runs inside the step's transaction."""


@dataclass(frozen=True, slots=True)
class Builtin:
    """`parameters` maps names to JSON Schemas; those in `optional` may be left out.

    `function` runs inside the step's transaction; None for tools that run outside (see `ErrandRunner`).
    """

    name: str
    type: ToolType
    description: str
    function: StepTool | None
    parameters: dict[str, dict[str, Any]]
    optional: tuple[str, ...] = ()
    # Parameters that take any JSON value, whatever their schema tells the model to write.
    any_value: tuple[str, ...] = ()
    # Answers of searches are not clipped: they are limited by their number of results.
    return_char_limit: int = 50_000

    @property
    def accepted(self) -> dict[str, Any]:
        """The JSON Schema that arguments are checked with."""
        parameters: dict[str, Any] = self.schema["parameters"]
        free: dict[str, Any] = {name: {} for name in self.any_value}
        return {**parameters, "properties": {**self.parameters, **free}}

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema the API and the models see."""
        required = [name for name in self.parameters if name not in self.optional]
        return {
            "name": self.name,
            "description": self.description,
            "parameters": {"type": "object", "properties": self.parameters, "required": required},
        }


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _number(description: str) -> dict[str, Any]:
    return {"type": "integer", "description": description}


def _texts(description: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string"}, "description": description}


_LABEL = _text("Label of the memory block.")

BUILTINS: tuple[Builtin, ...] = (
    Builtin(
        "send_message",
        ToolType.LETTA_CORE,
        "Send a message to the user. It is the only thing the user sees.",
        recall.send_message,
        {"message": _text("What to say to the user. Any language, emoji included.")},
        any_value=("message",),
    ),
    Builtin(
        "conversation_search",
        ToolType.LETTA_CORE,
        "Search everything ever said in your conversations, also what is no longer shown to you. "
        "Without a query, the newest messages in the time span are returned.",
        None,
        {
            "query": _text("Words to look for."),
            "roles": {
                "type": "array",
                "items": {"type": "string", "enum": ["user", "assistant", "tool"]},
                "description": "Only messages of these speakers.",
            },
            "limit": _number(f"How many results at most; {recall.DEFAULT_RESULTS} if left out."),
            "start_date": _text("Only messages from then on: ISO 8601 date or time, in your timezone."),
            "end_date": _text("Only messages up to then; a date alone includes that whole day."),
        },
        optional=("query", "roles", "limit", "start_date", "end_date"),
    ),
    Builtin(
        "archival_memory_insert",
        ToolType.LETTA_CORE,
        "Keep something in your archive for later: facts, events, summaries. It is not shown to you, but you can "
        "search for it. Write it so that it can be understood by itself.",
        archival.archival_memory_insert,
        {"content": _text("What to keep."), "tags": _texts("Words to file it under.")},
        optional=("tags",),
    ),
    Builtin(
        "archival_memory_search",
        ToolType.LETTA_CORE,
        "Search your archive by meaning and by words. The best results come first.",
        None,
        {
            "query": _text("What to look for, in your own words."),
            "tags": _texts("Only what is filed under these."),
            "tag_match_mode": {
                "type": "string",
                "enum": ["any", "all"],
                "description": "Whether one of the tags is enough (any, the default) or all are needed.",
            },
            "top_k": _number(f"How many results at most; {archival.RESULTS} if left out."),
            "start_datetime": _text("Only what was kept from then on: ISO 8601 date or time, in your timezone."),
            "end_datetime": _text("Only what was kept up to then; a date alone includes that whole day."),
        },
        optional=("tags", "tag_match_mode", "top_k", "start_datetime", "end_datetime"),
    ),
    Builtin(
        "core_memory_append",
        ToolType.LETTA_CORE,
        "Add text at the end of a memory block.",
        memory.core_memory_append,
        {"label": _LABEL, "content": _text("The text to add.")},
    ),
    Builtin(
        "core_memory_replace",
        ToolType.LETTA_CORE,
        "Replace text in a memory block, wherever it occurs. An empty new_content deletes it.",
        memory.core_memory_replace,
        {
            "label": _LABEL,
            "old_content": _text("The text to replace; must match exactly."),
            "new_content": _text("The text to put in its place."),
        },
    ),
    Builtin(
        "memory_insert",
        ToolType.LETTA_SLEEPTIME_CORE,
        "Insert text into a memory block at a line. Add one fact per line.",
        memory.memory_insert,
        {
            "label": _LABEL,
            "new_string": _text("The text to insert, without line numbers."),
            "insert_line": _number("Insert after this line: 0 is the top, -1 (the default) the end."),
        },
        optional=("insert_line",),
    ),
    Builtin(
        "memory_replace",
        ToolType.LETTA_SLEEPTIME_CORE,
        "Replace one piece of text in a memory block. An empty new_string deletes it.",
        memory.memory_replace,
        {
            "label": _LABEL,
            "old_string": _text("The text to replace: must occur exactly once, without line numbers."),
            "new_string": _text("The text to put in its place, without line numbers."),
        },
    ),
    Builtin(
        "memory_rethink",
        ToolType.LETTA_SLEEPTIME_CORE,
        "Rewrite a whole memory block, for large changes. A block that does not exist is created.",
        memory.memory_rethink,
        {"label": _LABEL, "new_memory": _text("The whole new text of the block, without line numbers.")},
    ),
    Builtin(
        "memory_finish_edits",
        ToolType.LETTA_SLEEPTIME_CORE,
        "Call this when you are done editing memory.",
        memory.memory_finish_edits,
        {},
    ),
    Builtin(
        "memory_apply_patch",
        ToolType.LETTA_SLEEPTIME_CORE,
        "Change memory blocks with a simplified diff: lines to add begin with '+', lines to remove with '-', unchanged "
        "lines around them with a space. To change several blocks, begin each part with '*** Add Block: <label>', "
        "'*** Update Block: <label>', '*** Delete Block: <label>' or '*** Move Block: <old label> -> <new label>'.",
        memory.memory_apply_patch,
        {"label": _text("Label of the memory block; ignored when the patch has headers."), "patch": _text("The diff.")},
    ),
    Builtin(
        "memory",
        ToolType.LETTA_SLEEPTIME_CORE,
        "Manage memory blocks as files /memories/<label>. Commands: create (path, description, file_text), str_replace "
        "(path, old_string, new_string), insert (path, insert_line, insert_text), delete (path), rename (old_path, "
        "new_path; or path and description to change what the block is for).",
        memory.memory,
        {
            "command": {
                "type": "string",
                "enum": ["create", "str_replace", "insert", "delete", "rename"],
                "description": "What to do.",
            },
            "path": _text("The block, as /memories/<label>."),
            "file_text": _text("create: the text of the new block."),
            "description": _text("create, rename: what the block is for."),
            "old_string": _text("str_replace: the text to replace, which must occur exactly once."),
            "new_string": _text("str_replace: the text to put in its place."),
            "insert_line": _number("insert: insert after this line; 0 is the top, the end if left out."),
            "insert_text": _text("insert: the text to insert."),
            "old_path": _text("rename: the block to rename."),
            "new_path": _text("rename: its new path."),
        },
        optional=(
            "path", "file_text", "description", "old_string", "new_string", "insert_line", "insert_text", "old_path",
            "new_path",
        ),
    ),
)  # fmt: skip

ASK_GROUP = "send_message_to_all_agents_in_group"
"""The tool of an agent that supervises a group."""

_OTHER = _text("Id of the other agent, agent-...")
_TAGS = {"type": "array", "items": {"type": "string"}}

BUILTINS += (
    Builtin(
        "send_message_to_agent_async",
        ToolType.LETTA_MULTI_AGENT_CORE,
        "Send a message to another agent and go on without waiting for a reply.",
        None,
        {"message": _text("What to say to the other agent."), "other_agent_id": _OTHER},
    ),
    Builtin(
        "send_message_to_agent_and_wait_for_reply",
        ToolType.LETTA_MULTI_AGENT_CORE,
        "Send a message to another agent and wait for its reply.",
        None,
        {"message": _text("What to say to the other agent."), "other_agent_id": _OTHER},
    ),
    Builtin(
        "send_message_to_agents_matching_tags",
        ToolType.LETTA_MULTI_AGENT_CORE,
        "Send a message to every other agent with certain tags, all at once, and collect the replies.",
        None,
        {
            "message": _text("What to say to the other agents."),
            "match_all": {**_TAGS, "description": "Only agents that have all of these tags."},
            "match_some": {**_TAGS, "description": "Only agents that have at least one of these tags."},
        },
        optional=("match_all", "match_some"),
    ),
    Builtin(
        ASK_GROUP,
        ToolType.LETTA_MULTI_AGENT_CORE,
        "Send a message to all agents of the group you supervise, all at once, and collect the replies.",
        None,
        {"message": _text("What to say to the agents of the group.")},
    ),
    Builtin(
        "run_code",
        ToolType.LETTA_BUILTIN,
        "Run a program in a sandbox without network and see what it prints. Every call starts anew: no variables and "
        "files are kept.",
        None,
        {
            "code": _text("The whole program. Print what you want to see."),
            "language": {"type": "string", "enum": ["python", "js", "ts"], "description": "The program's language."},
        },
    ),
    Builtin(
        "web_search",
        ToolType.LETTA_BUILTIN,
        "Search the web. Each result has a title, an address and an excerpt; fetch_webpage reads a page whole.",
        None,
        {
            "query": _text("What to search for."),
            "num_results": _number("How many results, 1 to 100; 10 if left out."),
            "category": _text(
                "The kind of pages: company, research paper, news, pdf, github, tweet, personal site, linkedin profile "
                "or financial report."
            ),
            "include_text": {"type": "boolean", "description": "Whether to get the pages' text instead of excerpts."},
            "include_domains": _texts("Only pages of these domains."),
            "exclude_domains": _texts("No pages of these domains."),
            "start_published_date": _text("Only what was published from that day on, as 2026-01-31."),
            "end_published_date": _text("Only what was published up to that day, as 2026-01-31."),
            "user_location": _text("Country of the user as two letters, for example US."),
        },
        optional=(
            "num_results", "category", "include_text", "include_domains", "exclude_domains", "start_published_date",
            "end_published_date", "user_location",
        ),
    ),
    Builtin(
        "fetch_webpage",
        ToolType.LETTA_BUILTIN,
        "Read a page of the web as text: its title, what it says, and where it links to.",
        None,
        {"url": _text("Address of the page.")},
    ),
)  # fmt: skip

MULTI_AGENT = tuple(
    builtin.name
    for builtin in BUILTINS
    if builtin.type is ToolType.LETTA_MULTI_AGENT_CORE and builtin.name != ASK_GROUP
)
"""The tools `include_multi_agent_tools` attaches."""

BY_NAME = {builtin.name: builtin for builtin in BUILTINS}

_V2 = ("send_message", "conversation_search", "memory_insert", "memory_replace")
DEFAULT_TOOLS: dict[AgentType, tuple[str, ...]] = {
    AgentType.LETTA_V1_AGENT: ("conversation_search", "memory_insert", "memory_replace"),
    AgentType.MEMGPT_AGENT: (
        "send_message", "conversation_search", "core_memory_append", "core_memory_replace", "memory",
        "memory_apply_patch",
    ),
    AgentType.MEMGPT_V2_AGENT: _V2,
    AgentType.SLEEPTIME_AGENT: ("memory_replace", "memory_insert", "memory_rethink", "memory_finish_edits"),
    AgentType.VOICE_CONVO_AGENT: ("conversation_search",),
    AgentType.VOICE_SLEEPTIME_AGENT: ("memory_rethink", "memory_finish_edits"),
    AgentType.REACT_AGENT: (),
    AgentType.WORKFLOW_AGENT: (),
}  # fmt: skip
"""Tools an agent gets by its type; types not named here get those of `memgpt_agent`."""

TERMINAL = ("send_message", "memory_finish_edits")
"""Base tools that end a heartbeat agent's turn."""


IDEMPOTENT = frozenset({"conversation_search", "archival_memory_search", "web_search", "fetch_webpage", "run_code"})
"""Tools that leave no trace, so that a call whose outcome is unknown may be made again."""


def default_tools(agent_type: AgentType) -> tuple[str, ...]:
    return DEFAULT_TOOLS.get(agent_type, DEFAULT_TOOLS[AgentType.MEMGPT_AGENT])


def install(connection: Connection) -> None:
    """Store the built-in tools as rows, or bring their schemas to this version's."""
    known = {tool.name: tool for tool in tools.named(connection, list(BY_NAME))}
    for builtin in BUILTINS:
        stored = known.get(builtin.name)
        if stored is None or stored.json_schema != builtin.schema:
            tools.put(
                connection,
                {
                    "name": builtin.name,
                    "tool_type": builtin.type,
                    "description": builtin.description,
                    "source_type": "python",
                    "json_schema": builtin.schema,
                    "tags": [builtin.type.value],
                    "return_char_limit": builtin.return_char_limit,
                    "idempotent": builtin.name in IDEMPOTENT or None,
                },
            )


def run(builtin: Builtin, context: ToolContext, arguments: dict[str, Any]) -> str:
    """Call the function behind a tool. Raises letta.errors.LettaError for what the model should know."""
    if builtin.function is None:
        raise ToolFailed(f"{builtin.name} does not run here.")
    return builtin.function(context, **arguments)
