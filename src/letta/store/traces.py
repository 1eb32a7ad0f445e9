"""The exact provider request and answer of every step, compressed."""

import zlib
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, insert, select

from letta.schemas.steps import ProviderTrace
from letta.store.tables import traces

# Level 1 is six times as fast as the default and a tenth larger: this runs in every step.
_LEVEL = 1


def pack(request: bytes, response: dict[str, Any]) -> tuple[bytes, bytes]:
    """Request and answer as they are stored."""
    return zlib.compress(request, _LEVEL), zlib.compress(orjson.dumps(response, default=str), _LEVEL)


def add(
    connection: Connection,
    *,
    step_id: str,
    agent_id: str,
    run_id: str,
    packed: tuple[bytes, bytes],
    latency_ms: float,
    created_at: datetime,
) -> None:
    """Store what `pack` made."""
    connection.execute(
        insert(traces),
        {
            "step_id": step_id,
            "agent_id": agent_id,
            "run_id": run_id,
            "request": packed[0],
            "response": packed[1],
            "latency_ms": latency_ms,
            "created_at": created_at,
        },
    )


def of_step(connection: Connection, step_id: str) -> ProviderTrace | None:
    """The trace, or None when none was kept."""
    row = connection.execute(select(traces).where(traces.c.step_id == step_id)).first()
    return None if row is None else _trace(row)


def of_run(connection: Connection, run_id: str, limit: int) -> list[ProviderTrace]:
    """The traces of a run's steps, oldest first."""
    query = select(traces).where(traces.c.run_id == run_id).order_by(traces.c.created_at, traces.c.step_id)
    return [_trace(row) for row in connection.execute(query.limit(limit))]


def _trace(row: Any) -> ProviderTrace:
    return ProviderTrace(
        id=row.step_id.replace("step-", "provider_trace-", 1),
        request_json=orjson.loads(zlib.decompress(row.request)),
        response_json=orjson.loads(zlib.decompress(row.response)),
        step_id=row.step_id,
        run_id=row.run_id,
        agent_id=row.agent_id,
        call_type="agent_step",
        latency_ms=round(row.latency_ms or 0),
        created_at=row.created_at,
        updated_at=row.created_at,
    )
