"""Is the server there, is it ready for work, and which one is it."""

import asyncio

from fastapi import Response

from letta import version
from letta.api import routes
from letta.api.context import Parts, Server, reply
from letta.errors import StoreUnavailable
from letta.schemas.health import Health, NotReady
from letta.store.database import REVISION, revision_of

router = routes.router(prefix="/v1", tags=["health"])

PATIENCE = 3.0
"""Seconds in which the database must answer."""


@router.get("/health", response_model=Health)
async def check_health() -> Response:
    """Answers while the process runs."""
    return reply(Health(version=version.__version__, status="ok"))


@router.get("/ready", response_model=Health, responses={503: {"model": NotReady}})
async def check_ready(parts: Parts) -> Response:
    """Whether requests should be sent here: the database answers with the right schema, and the server stays up."""
    reasons = await _reasons(parts)
    if reasons:
        return reply(NotReady(version=version.__version__, reasons=reasons), 503)
    return reply(Health(version=version.__version__, status="ok"))


async def _reasons(parts: Server) -> list[str]:
    reasons = ["the server is stopping"] if parts.runner.stopping else []
    try:
        async with asyncio.timeout(PATIENCE):
            found = await parts.database.read(revision_of)
    except (StoreUnavailable, TimeoutError):
        return [*reasons, "the database does not answer"]
    if parts.database.full:
        reasons.append("the disk that holds the database is full")
    if found != REVISION:
        reasons.append(f"the database has schema revision {found or 'none'}, this server works with {REVISION}")
    return reasons
