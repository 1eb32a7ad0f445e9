"""Traces of requests that grow: stored as what they add, read as they were sent."""

from typing import Any

import orjson
from sqlalchemy import Connection, func, select
from tests.store.seeds import a_run, an_agent, at

from letta.store import traces
from letta.store.access import Database
from letta.store.tables import traces as rows
from letta.store.traces import Kept


def _request(texts: list[str]) -> bytes:
    return orjson.dumps({"model": "m", "messages": texts})


def _stored(connection: Connection, requests: list[bytes]) -> str:
    """A run with a trace for each request, each stored after the one before. Answers its id."""
    agent_id = an_agent(connection)
    run_id, before = a_run(connection, agent_id), None
    for number, request in enumerate(requests):
        given: dict[str, Any] = {"response": {"number": number}, "latency_ms": 1.0, "created_at": at(number)}
        before = traces.add(
            connection,
            step_id=f"step-{run_id}-{number}",
            agent_id=agent_id,
            run_id=run_id,
            request=request,
            before=before,
            **given,
        )
    return run_id


async def test_requests_of_a_growing_conversation_are_read_as_they_were_sent(database: Database) -> None:
    requests = [_request([f"message {part} of many" for part in range(number + 5)]) for number in range(45)]
    run_id = await database.write(_stored, requests)
    found = await database.read(traces.of_run, run_id, 100)
    assert [trace.request_json for trace in found] == [orjson.loads(request) for request in requests]
    alone = await database.read(traces.of_step, f"step-{run_id}-44")
    assert alone is not None
    assert alone.request_json == orjson.loads(requests[44])


async def test_a_request_that_begins_otherwise_is_stored_whole(database: Database) -> None:
    requests = [_request(["one prompt", "hello"]), _request(["another prompt", "hello"]), b"{}"]
    run_id = await database.write(_stored, requests)
    found = await database.read(traces.of_run, run_id, 100)
    assert [trace.request_json for trace in found] == [orjson.loads(request) for request in requests]


async def test_a_long_context_is_stored_once_and_not_in_every_step(database: Database) -> None:
    long = [f"{number * 7919 % 10007} is a number nobody can guess" for number in range(2_000)]
    run_id = await database.write(_stored, [_request([*long, *("more" for _ in range(count))]) for count in range(10)])
    query = select(func.length(rows.c.request)).where(rows.c.run_id == run_id).order_by(rows.c.created_at)
    sizes = await database.read(lambda connection: list(connection.execute(query).scalars()))
    assert sizes[0] > 5_000
    assert max(sizes[1:]) < 200


async def test_the_first_trace_needs_none_before_it(database: Database) -> None:
    def first(connection: Connection) -> Kept:
        agent_id = an_agent(connection)
        return traces.add(
            connection,
            step_id="step-1",
            agent_id=agent_id,
            run_id=a_run(connection, agent_id),
            request=b'{"model":"m"}',
            response={},
            before=None,
            latency_ms=1.0,
            created_at=at(0),
        )

    assert await database.write(first) == Kept("step-1", b'{"model":"m"}', 0)
