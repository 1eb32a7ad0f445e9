"""The Python client: the official one with this server's defaults, over HTTP or in this process."""

from letta.client.facade import AsyncLetta, Letta
from letta.client.resources import AgentNameError

__all__ = ["AgentNameError", "AsyncLetta", "Letta"]
