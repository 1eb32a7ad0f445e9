"""Calls of tools written in code that an agent makes: with its secrets, and its state where the tool wants it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson
from pydantic_core import to_json
from sqlalchemy import Connection

from letta.errors import InvalidRequest, ToolFailed
from letta.schemas.agents import AgentState
from letta.schemas.common import new_id
from letta.schemas.messages import ToolCallPart, ToolReturnPart
from letta.schemas.tools import Tool, ToolExecutionResult, ToolType
from letta.store import agents, conversations
from letta.store.access import Database
from letta.store.blocks import Author
from letta.store.vault import Vault
from letta.tools.builtin import BY_NAME
from letta.tools.context import Errand, ErrandRunner, ToolContext, ToolResult
from letta.tools.custom import CustomTools, ToolEnvironment, mentions
from letta.tools.rules import RuleBook
from letta.tools.toolbox import Toolbox, checked

RUN_CODE = "run_code"


class CodeCalls:
    """Carries out errands: tools made from source, and the built-in `run_code`."""

    def __init__(self, database: Database, vault: Vault, custom: CustomTools) -> None:
        self._database = database
        self._vault = vault
        self._custom = custom
        self.runners: Mapping[str, ErrandRunner] = {}
        """Who carries out the other tools that leave the process; set in `letta.app` when all of them are there."""

    async def run(self, errand: Errand) -> ToolResult:
        """Raises letta.errors.ToolFailed for a call that makes no sense."""
        tool = errand.tool
        if tool.tool_type == ToolType.CUSTOM:
            environment = await self.environment(errand.agent, tool.source_code or "")
            waiting = (*errand.asked_by, errand.conversation_id) if errand.run_id else ()
            return await self._custom.run(tool, errand.arguments, replace(environment, waiting=waiting))
        if tool.name == RUN_CODE:
            given = checked(errand.arguments, BY_NAME[RUN_CODE].schema["parameters"])
            environment = await self.environment(errand.agent, "")
            return await self._custom.run_code(given["language"], given["code"], environment)
        raise ToolFailed(f"{tool.name} is a {tool.tool_type} tool, which this server cannot run.")

    async def answer(self, agent: AgentState, tool: Tool, arguments: dict[str, Any]) -> ToolExecutionResult:
        """What comes of calling an agent's tool outside of a conversation.

        Raises:
            letta.errors.InvalidRequest: the tool is of a kind that cannot be run at all.
        """
        if tool.tool_type == ToolType.CUSTOM:
            environment = await self.environment(agent, tool.source_code or "")
            done = await self._custom.execute(tool, arguments, environment)
            value = done.value if done.ok else done.text
            return _execution(done.ok, value, done.stdout, done.stderr, done.fingerprint or None)
        if tool.tool_type.startswith("letta_") and (known := BY_NAME.get(str(tool.name))) and known.function:
            part = await self._database.write(_in_transaction, agent, tool, arguments)
            return _execution(part.status == "success", part.content, (), ())
        result = await self._errand(agent, tool, arguments)
        content = result.content if isinstance(result.content, str) else [part.model_dump() for part in result.content]
        return _execution(result.status == "success", content, result.stdout, result.stderr)

    async def _errand(self, agent: AgentState, tool: Tool, arguments: dict[str, Any]) -> ToolReturnPart:
        part = ToolCallPart(id=new_id("call"), name=str(tool.name), arguments=orjson.dumps(arguments).decode())
        toolbox = Toolbox([tool], runners=self.runners)
        if not toolbox.is_errand(part):
            raise InvalidRequest(f"{tool.name} is a {tool.tool_type} tool, which this server cannot run")

        def errand(part: ToolCallPart, tool: Tool) -> Errand:
            return Errand(tool, {}, agent, agent.id, "", "", part.id)

        return (await toolbox.run_errands([part], RuleBook(()), errand))[part.id]

    async def environment(self, agent: AgentState, source: str) -> ToolEnvironment:
        """What a tool with this source may know of an agent."""
        locked = await self._database.read(agents.secrets, agent.id)
        state = orjson.loads(to_json(agent, by_alias=True)) if mentions(source, "agent_state") else None
        return ToolEnvironment(agent.id, state, self._vault.open(locked), agent.project_id)


def _execution(
    ok: bool, value: Any, stdout: Sequence[str], stderr: Sequence[str], fingerprint: str | None = None
) -> ToolExecutionResult:
    return ToolExecutionResult(
        status="success" if ok else "error",
        func_return=value,
        stdout=list(stdout),
        stderr=list(stderr),
        sandbox_config_fingerprint=fingerprint,
    )


def _in_transaction(connection: Connection, agent: AgentState, tool: Tool, arguments: dict[str, Any]) -> ToolReturnPart:
    """Call a built-in tool that works on the database."""
    thread = conversations.thread(connection, agent.id)
    context = ToolContext(connection, agent.id, thread.id, agent.timezone or "UTC", Author("agent", agent.id))
    part = ToolCallPart(id="call", name=str(tool.name), arguments=orjson.dumps(arguments).decode())
    return Toolbox([tool]).call(context, part, [str(tool.name)], {})
