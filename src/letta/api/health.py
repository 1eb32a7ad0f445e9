"""Is the server there, and which one is it."""

from fastapi import APIRouter, Response

from letta import version
from letta.api.context import Parts, reply
from letta.schemas.health import Health
from letta.store import agents

router = APIRouter(prefix="/v1", tags=["health"])


@router.get("/health", response_model=Health)
async def check_health() -> Response:
    """Answers while the process runs."""
    return reply(Health(version=version.__version__, status="ok"))


@router.get("/ready", response_model=Health)
async def check_ready(parts: Parts) -> Response:
    """Answers when the database does, else 503."""
    await parts.database.read(agents.any_exists)
    return reply(Health(version=version.__version__, status="ok"))
