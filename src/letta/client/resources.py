"""The official client's resources, with the names of older clients and agents found by name.

Every old name does what its newer one does; nothing here knows how requests travel.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Unpack, cast

import letta_client
from letta_client import AsyncStream, Stream
from letta_client.resources.agents.agents import AgentsResource, AsyncAgentsResource
from letta_client.resources.agents.blocks import AsyncBlocksResource as AsyncAgentBlocksResource
from letta_client.resources.agents.blocks import BlocksResource as AgentBlocksResource
from letta_client.resources.agents.messages import AsyncMessagesResource, MessagesResource
from letta_client.resources.blocks.blocks import AsyncBlocksResource, BlocksResource
from letta_client.resources.tools import AsyncToolsResource, ToolsResource
from letta_client.types import AgentCreateParams, AgentState
from letta_client.types.agents.letta_streaming_response import LettaStreamingResponse
from letta_client.types.agents.message_stream_params import MessageStreamParams

_AGENT_ID = re.compile(r"^agent-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
_MOST_NAMESAKES = 10


class AgentNameError(letta_client.LettaError, LookupError):
    """No agent has this name, or several have it."""


def _only(name: str, found: Sequence[AgentState]) -> str:
    """The id of the only one found. Raises AgentNameError for none and for several."""
    if not found:
        raise AgentNameError(f"There is no agent called {name!r}; agents.list() shows those there are.")
    if len(found) > 1:
        ids = ", ".join(agent.id for agent in found)
        raise AgentNameError(f"Several agents are called {name!r}: pass the id of the one you mean ({ids}).")
    return found[0].id


class Blocks(BlocksResource):
    """`client.blocks`."""

    modify = BlocksResource.update


class Tools(ToolsResource):
    """`client.tools`."""

    modify = ToolsResource.update


class AgentBlocks(AgentBlocksResource):
    """`client.agents.blocks`."""

    modify = AgentBlocksResource.update


class Messages(MessagesResource):
    """`client.agents.messages`."""

    def create_stream(self, agent_id: str, **fields: Unpack[MessageStreamParams]) -> Stream[LettaStreamingResponse]:
        """The older name of `create(..., streaming=True)`."""
        body = cast(MessageStreamParams, {**fields, "streaming": True})
        return cast(Stream[LettaStreamingResponse], self.create(agent_id, **body))


class Agents(AgentsResource):
    """`client.agents`."""

    modify = AgentsResource.update

    @cached_property
    def messages(self) -> Messages:
        return Messages(self._client)

    @cached_property
    def blocks(self) -> AgentBlocks:
        return AgentBlocks(self._client)

    def create(  # type: ignore[override]  # a field left out is the same as the official `omit`
        self, *, llm: str | None = None, **fields: Unpack[AgentCreateParams]
    ) -> AgentState:
        """Create an agent. The fields are the official client's; `llm` is an older name of `model`."""
        return super().create(**_with_model(llm, fields))

    def get(self, agent_id: str) -> AgentState:
        """An agent by its id or by its name.

        Raises:
            AgentNameError: no agent has this name, or several have it.
            letta_client.NotFoundError: no agent has this id.
        """
        if not _AGENT_ID.match(agent_id):
            agent_id = _only(agent_id, self.list(name=agent_id, limit=_MOST_NAMESAKES).items)
        return self.retrieve(agent_id)


class AsyncBlocks(AsyncBlocksResource):
    """`client.blocks`."""

    modify = AsyncBlocksResource.update


class AsyncTools(AsyncToolsResource):
    """`client.tools`."""

    modify = AsyncToolsResource.update


class AsyncAgentBlocks(AsyncAgentBlocksResource):
    """`client.agents.blocks`."""

    modify = AsyncAgentBlocksResource.update


class AsyncMessages(AsyncMessagesResource):
    """`client.agents.messages`."""

    async def create_stream(
        self, agent_id: str, **fields: Unpack[MessageStreamParams]
    ) -> AsyncStream[LettaStreamingResponse]:
        """The older name of `create(..., streaming=True)`."""
        body = cast(MessageStreamParams, {**fields, "streaming": True})
        return cast(AsyncStream[LettaStreamingResponse], await self.create(agent_id, **body))


class AsyncAgents(AsyncAgentsResource):
    """`client.agents`."""

    modify = AsyncAgentsResource.update

    @cached_property
    def messages(self) -> AsyncMessages:
        return AsyncMessages(self._client)

    @cached_property
    def blocks(self) -> AsyncAgentBlocks:
        return AsyncAgentBlocks(self._client)

    async def create(  # type: ignore[override]  # a field left out is the same as the official `omit`
        self, *, llm: str | None = None, **fields: Unpack[AgentCreateParams]
    ) -> AgentState:
        """Create an agent. The fields are the official client's; `llm` is an older name of `model`."""
        return await super().create(**_with_model(llm, fields))

    async def get(self, agent_id: str) -> AgentState:
        """An agent by its id or by its name.

        Raises:
            AgentNameError: no agent has this name, or several have it.
            letta_client.NotFoundError: no agent has this id.
        """
        if not _AGENT_ID.match(agent_id):
            agent_id = _only(agent_id, (await self.list(name=agent_id, limit=_MOST_NAMESAKES)).items)
        return await self.retrieve(agent_id)


def _with_model(llm: str | None, fields: AgentCreateParams) -> AgentCreateParams:
    """Raises TypeError for two different models."""
    if llm is None:
        return fields
    if fields.get("model", llm) != llm:
        raise TypeError("llm and model name different models: give one of them")
    return cast(AgentCreateParams, {**fields, "model": llm})
