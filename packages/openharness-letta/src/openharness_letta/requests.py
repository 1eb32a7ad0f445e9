"""What a message to an agent carries: every field of an ExecuteRequest is honoured here, or refused by its name.

Knows nothing of what becomes of the message.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from openharness.types import ExecuteRequest, ToolCall
from openharness_letta.connection import Connection, url_path
from openharness_letta.errors import about
from openharness_letta.tools import ClientTool, SourceTool

Decision = bool | str
Approve = Callable[[ToolCall], Decision | Awaitable[Decision]]

_REFUSED = {
    "session_id": "this adapter has no sessions (capabilities.sessions is False), so any session is an invalid one;"
    " an agent keeps one continuous history",
    "max_tokens": "a Letta server takes it from the agent's model settings and not from a message",
    "temperature": "a Letta server takes it from the agent's model settings and not from a message",
}


@dataclass(frozen=True)
class RunOptions:
    """The options of `execute` and `execute_stream`.

    `approve` decides about tool calls that need approval: `True` lets a call run, `False` or a text (the reason) denies
    it. `max_steps` limits the model calls of the run.
    """

    include_thinking: bool = False
    max_steps: int | None = None
    approve: Approve | None = None

    @classmethod
    def parse(cls, options: Mapping[str, Any], *, include_thinking: bool) -> "RunOptions":
        """The options of a call, with its own default for thinking. Raises TypeError for one it does not know."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(options) - known):
            raise TypeError(f"unknown option {', '.join(unknown)}; the options are {', '.join(sorted(known))}")
        return cls(**{"include_thinking": include_thinking, **options})

    async def decide(self, call: ToolCall) -> Decision | None:
        """The decision about a call, or `None` if nobody is there to make it."""
        if self.approve is None:
            return None
        decision = self.approve(call)
        return await decision if inspect.isawaitable(decision) else decision


def refuse_unsupported(request: ExecuteRequest) -> None:
    """Raises ValueError, naming the field, if the request asks for what no Letta server can do."""
    for field, reason in _REFUSED.items():
        if getattr(request, field) is not None:
            raise ValueError(f"ExecuteRequest.{field} is not supported: {reason}")


def first_messages(request: ExecuteRequest) -> list[dict[str, Any]]:
    """The user's message, behind a system message if the request has a system prompt.

    Letta's own override would replace the compiled prompt and with it the agent's memory, so the prompt is said in
    addition, as a message that stays in the agent's history.
    """
    messages = [{"role": "user", "content": request.message}]
    if request.system_prompt:
        messages.insert(0, {"role": "system", "content": request.system_prompt})
    return messages


async def chosen_tools(
    connection: Connection,
    agent_id: str,
    names: list[str] | None,
    client_tools: Mapping[str, ClientTool],
    source_tools: Mapping[str, SourceTool],
) -> dict[str, ClientTool]:
    """The client tools to offer with a message; source tools are attached to the agent.

    Without `names` that is everything registered with the adapter. `names` choose among those; any other name or id
    must be that of a tool the agent has. (What else the agent has stays available: a message cannot take it away.)

    Raises:
        ValueError: the agent does not have a named tool.
    """
    wanted = set(names) if names is not None else {*client_tools, *source_tools}
    sources = [tool for tool in source_tools.values() if tool.name in wanted or tool.id in wanted]
    elsewhere = wanted - set(client_tools) - {tool.name for tool in sources} - {tool.id for tool in sources}
    if sources or elsewhere:
        with about("Agent", agent_id):
            attached = await connection.every(url_path("agents", agent_id, "tools"))
            had = {tool["id"] for tool in attached} | {tool.get("name") for tool in attached}
            if missing := sorted(elsewhere - had):
                raise ValueError(
                    f"ExecuteRequest.tools names {', '.join(missing)}, which agent {agent_id} does not have:"
                    " register it with the adapter, or give it to the agent with update_agent(agent_id, tools=[...])"
                )
            for tool in sources:
                if tool.id not in had:
                    await connection.send("patch", url_path("agents", agent_id, "tools", "attach", str(tool.id)))
    return {name: tool for name, tool in client_tools.items() if name in wanted}
