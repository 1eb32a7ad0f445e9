"""The exact provider request and answer of every step, compressed.

The requests of a conversation begin alike. So a request is stored as what it adds to the one before it, and every
twentieth, or one that begins otherwise, as a whole: packing a long context anew in each step would cost more than
everything else the step does.
"""

import re
import zlib
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, bindparam, insert, select

from letta.schemas.steps import ProviderTrace
from letta.store.tables import traces

# Level 1 is six times as fast as the default and a tenth larger.
_LEVEL = 1
_LONGEST_CHAIN = 20
# What stands before the packed rest of a request: the step whose request it continues, and from which byte on.
_AFTER = re.compile(rb"after (\S+) (\d+)\n")

_insert = insert(traces)
_by_step = select(traces).where(traces.c.step_id == bindparam("step"))


class Kept(NamedTuple):
    """A stored request that the next one of the conversation may continue; `chain` counts those it continues itself."""

    step_id: str
    request: bytes
    chain: int = 0


def add(
    connection: Connection,
    *,
    step_id: str,
    agent_id: str,
    run_id: str,
    request: bytes,
    response: dict[str, Any],
    before: Kept | None,
    latency_ms: float,
    created_at: datetime,
) -> Kept:
    """Store a trace. `before` is what this returned for the conversation's last step, if that is known."""
    packed, chain = _packed(request, before)
    connection.execute(
        _insert,
        {
            "step_id": step_id,
            "agent_id": agent_id,
            "run_id": run_id,
            "request": packed,
            "response": zlib.compress(orjson.dumps(response, default=str), _LEVEL),
            "latency_ms": latency_ms,
            "created_at": created_at,
        },
    )
    return Kept(step_id, request, chain)


def of_step(connection: Connection, step_id: str) -> ProviderTrace | None:
    """The trace, or None when none was kept."""
    row = connection.execute(_by_step, {"step": step_id}).first()
    return None if row is None else _trace(connection, row, {})


def of_run(connection: Connection, run_id: str, limit: int) -> list[ProviderTrace]:
    """The traces of a run's steps, oldest first."""
    query = select(traces).where(traces.c.run_id == run_id).order_by(traces.c.created_at, traces.c.step_id)
    unpacked: dict[str, bytes] = {}
    return [_trace(connection, row, unpacked) for row in connection.execute(query.limit(limit)).all()]


def _packed(request: bytes, before: Kept | None) -> tuple[bytes, int]:
    """The stored form of a request, and how many others it continues."""
    if before is not None and before.chain + 1 < _LONGEST_CHAIN:
        shared = _shared(before.request, request)
        if shared * 2 > len(request):
            rest = zlib.compress(request[shared:], _LEVEL)
            return b"after %s %d\n%s" % (before.step_id.encode(), shared, rest), before.chain + 1
    return zlib.compress(request, _LEVEL), 0


def _shared(one: bytes, other: bytes) -> int:
    """How many bytes two texts have in common at their start."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _unpacked(connection: Connection, row: Any, done: dict[str, bytes]) -> bytes:
    """The request of a row. `done` holds, by step, what was unpacked before."""
    if row.step_id not in done:
        after = _AFTER.match(row.request)
        if after is None:
            done[row.step_id] = zlib.decompress(row.request)
        else:
            first = connection.execute(_by_step, {"step": after[1].decode()}).one()
            start = _unpacked(connection, first, done)[: int(after[2])]
            done[row.step_id] = start + zlib.decompress(row.request[after.end() :])
    return done[row.step_id]


def _trace(connection: Connection, row: Any, unpacked: dict[str, bytes]) -> ProviderTrace:
    return ProviderTrace(
        id=row.step_id.replace("step-", "provider_trace-", 1),
        request_json=orjson.loads(_unpacked(connection, row, unpacked)),
        response_json=orjson.loads(zlib.decompress(row.response)),
        step_id=row.step_id,
        run_id=row.run_id,
        agent_id=row.agent_id,
        call_type="agent_step",
        latency_ms=round(row.latency_ms or 0),
        created_at=row.created_at,
        updated_at=row.created_at,
    )
