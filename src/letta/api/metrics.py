"""`/metrics`: what Prometheus reads."""

import asyncio

from fastapi import Response
from fastapi.responses import PlainTextResponse

from letta.api import routes
from letta.api.context import Parts
from letta.errors import StoreUnavailable
from letta.runtime.numbers import CONTENT_TYPE
from letta.store import runs

router = routes.router(tags=["health"])

PATIENCE = 3.0


@router.get(
    "/metrics", response_model=None, response_class=PlainTextResponse, responses={200: {"content": {"text/plain": {}}}}
)
async def read_metrics(parts: Parts) -> Response:
    """Metrics of this process in Prometheus's text form; `letta_runs_open` is of the whole database."""
    try:
        async with asyncio.timeout(PATIENCE):
            counted = await parts.database.read(runs.count_open)
    except (StoreUnavailable, TimeoutError):
        counted = None
    return Response(parts.numbers.text(counted, parts.database.connections()), media_type=CONTENT_TYPE)
