"""`/v1/ready` and `/metrics`: what a load balancer and a monitoring system are told."""

import asyncio
import re
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from tests.runtime.test_runner import Gate
from tests.serving import Served, serve

from letta.api import health
from letta.api import metrics as metrics_api
from letta.models.scripted import Call
from letta.store.database import REVISION
from letta.version import __version__

_SAMPLE = re.compile(r"^(letta_[a-z_]+)(?:\{(.*)\})? ([-+.eNa0-9]+)$", re.MULTILINE)


async def metrics(served: Served) -> dict[str, float]:
    answer = await served.http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        f"{name}{{{labels}}}" if labels else name: float(value) for name, labels, value in _SAMPLE.findall(answer.text)
    }


def _of_the_future(connection: Connection) -> None:
    connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))


async def test_a_server_is_ready_when_its_database_answers(served: Served) -> None:
    answer = await served.http.get("/v1/ready/")
    assert (answer.status_code, answer.json()) == (200, {"version": __version__, "status": "ok"})


async def test_a_server_is_not_ready_on_a_database_of_another_version(served: Served) -> None:
    await served.parts.database.write(_of_the_future)
    answer = await served.http.get("/v1/ready")
    assert (answer.status_code, answer.json()) == (
        503,
        {
            "version": __version__,
            "status": "unavailable",
            "reasons": [f"the database has schema revision 9999, this server works with {REVISION}"],
        },
    )


async def test_a_stopping_server_is_not_ready_and_still_healthy(tmp_path: Path) -> None:
    async with serve(tmp_path) as served:
        await served.parts.runner.close()
        ready, healthy = await served.http.get("/v1/ready"), await served.http.get("/v1/health")
    assert (ready.status_code, ready.json()["reasons"]) == (503, ["the server is stopping"])
    assert healthy.status_code == 200


async def test_metrics_count_runs_steps_tokens_and_waiting(tmp_path: Path) -> None:
    gate = Gate(Call("memory_insert", {"label": "human", "new_string": "Ada"}))
    async with serve(tmp_path, [gate, "Noted."]) as served:
        agent = await served.agent(memory_blocks=[{"label": "human", "value": ""}])
        for text_ in ("one", "two"):
            await served.http.post(f"/v1/agents/{agent['id']}/messages/async", json={"input": text_})
        await gate.reached.wait()
        during = await metrics(served)
        gate.open.set()
        await served.send(agent["id"], "three")
        after = await metrics(served)
        usage = [step["total_tokens"] for step in (await served.http.get("/v1/steps")).json()]
    assert (during['letta_runs_open{status="created"}'], during['letta_runs_open{status="running"}']) == (1, 1)
    assert (after['letta_runs_open{status="created"}'], after['letta_runs_open{status="running"}']) == (0, 0)
    assert after['letta_runs_total{reason="end_turn",status="completed"}'] == 3
    assert after["letta_run_wait_seconds_count"] == 3
    assert after["letta_step_overhead_seconds_count"] == len(usage) == 4
    assert after["letta_first_token_seconds_count"] == 3
    model = 'model="letta/scripted"'
    assert after[f"letta_model_seconds_count{{{model}}}"] == 4
    tokens = [after[f'letta_tokens_total{{kind="{kind}",{model}}}'] for kind in ("input", "output")]
    assert sum(tokens) == sum(usage)
    assert (after["letta_database_up"], after["letta_database_connections_limit"]) == (1, 5)
    assert after["letta_process_resident_memory_bytes"] > 1_000_000


async def test_metrics_time_the_tools_outside_and_count_their_failures(tmp_path: Path) -> None:
    call = Call("send_message_to_agent_and_wait_for_reply", {"message": "hello", "other_agent_id": "agent-nobody"})
    async with serve(tmp_path, [call, "Nobody there."]) as served:
        agent = await served.agent(tools=[call.name])
        await served.send(agent["id"], "ask somebody")
        found = await metrics(served)
    kind = 'type="letta_multi_agent_core"'
    assert (found[f"letta_tool_seconds_count{{{kind}}}"], found[f"letta_tool_failures_total{{{kind}}}"]) == (1, 1)


async def test_a_database_that_does_not_answer_is_said_and_not_waited_for(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PATIENCE", 0.05)
    monkeypatch.setattr(metrics_api, "PATIENCE", 0.05)
    hung, hanging = threading.Event(), threading.Semaphore(0)

    def hang(_: Connection) -> None:
        hanging.release()
        hung.wait(30)

    reads = [asyncio.create_task(served.parts.database.read(hang)) for _ in range(4)]
    try:
        await asyncio.gather(*(asyncio.to_thread(hanging.acquire, timeout=30) for _ in reads))
        found = await metrics(served)
        ready = await served.http.get("/v1/ready")
    finally:
        hung.set()
        await asyncio.gather(*reads)
    assert (found["letta_database_up"], found["letta_database_connections_in_use"]) == (0, 4)
    assert (ready.status_code, ready.json()["reasons"]) == (503, ["the database does not answer"])


@pytest.mark.parametrize(("public", "status"), [(False, 401), (True, 200)], ids=["default", "public"])
async def test_metrics_need_the_password_unless_they_are_public(tmp_path: Path, public: bool, status: int) -> None:
    async with serve(tmp_path, server_password="secret", metrics_public=public) as served:
        without = await served.http.get("/metrics")
        withal = await served.http.get("/metrics", headers={"Authorization": "Bearer secret"})
        agents = await served.http.get("/v1/agents")
    assert (without.status_code, withal.status_code, agents.status_code) == (status, 200, 401)
