"""The whole server in the test's own process, with a model that follows a script."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from letta.api.context import Server
from letta.app import behind_gateway, create_app
from letta.models.scripted import ScriptedModel
from letta.settings import Settings


@dataclass(frozen=True, slots=True)
class Served:
    """A server under test: `http` talks to it, `model` shows what the model saw, `parts` are its insides."""

    http: httpx2.AsyncClient
    model: ScriptedModel
    parts: Server

    async def agent(self, **fields: Any) -> dict[str, Any]:
        """A new agent."""
        answer = await self.http.post("/v1/agents/", json={"model": "letta/scripted", **fields})
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def send(self, agent_id: str, text: str, **fields: Any) -> dict[str, Any]:
        """Send one user message and return the whole JSON answer."""
        answer = await self.http.post(f"/v1/agents/{agent_id}/messages", json={"input": text, **fields})
        assert answer.status_code == 200, answer.text
        said: dict[str, Any] = answer.json()
        return said


@asynccontextmanager
async def serve(
    folder: Path, script: Iterable[Any] = (), environment: Mapping[str, str] | None = None, **settings: Any
) -> AsyncIterator[Served]:
    """Serve from `folder`. `script` is what the model does first, one `Step` per call; then its rules answer.

    `environment` stands for the environment variables of the server.
    """
    chosen = Settings(
        **{
            "data_dir": folder,
            "scripted_models": True,
            "sqlite_synchronous": "OFF",
            "discover_local": False,
            "shutdown_grace": 1.0,
            **settings,
        }
    )
    model = ScriptedModel(script)
    app = create_app(chosen, environment or {}, model)
    transport = httpx2.ASGITransport(behind_gateway(app, chosen))
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://letta.test", timeout=30) as http,
    ):
        yield Served(http, model, app.state.server)
