"""Who asked to be called back is called when the run has ended, and called again until it answers."""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from tests.arrival.conftest import Gate, Serve
from tests.arrival.steps import ended, post, runs_of, said, until, waiting
from tests.serving import Served, serve

from letta.errors import InvalidRequest
from letta.store.callbacks import next_due as _due
from letta.version import __version__

SECRET = b"a secret that both sides know"


class Heard(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes


class Listener:
    """A web server that notes what it is sent and answers with the statuses it was given, then with 204."""

    def __init__(self, statuses: Iterable[int]) -> None:
        self.heard: list[Heard] = []
        self._statuses = list(statuses)
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.heard.append(Heard(start.split()[1], headers, body))
        status = self._statuses.pop(0) if self._statuses else 204
        more = "Location: http://127.0.0.1:1/\r\n" if status == 302 else ""
        writer.write(f"HTTP/1.1 {status} So\r\n{more}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@asynccontextmanager
async def listening(*statuses: int) -> AsyncIterator[Listener]:
    listener = Listener(statuses)
    server = await asyncio.start_server(listener.answer, "127.0.0.1", 0)
    async with server:
        listener.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/done?for=me"
        yield listener


async def send(served: Served, agent_id: str, url: str, text: str = "hi", **fields: Any) -> dict[str, Any]:
    body = said(text, callback_url=url, **fields)
    answer = await served.http.post(f"/v1/agents/{agent_id}/messages/async", json=body)
    assert answer.status_code == 200, answer.text
    run: dict[str, Any] = answer.json()
    return run


async def called(served: Served, run_id: str) -> dict[str, Any]:
    """The run, once somebody was called back about it."""
    run: dict[str, Any] = {}

    async def there() -> bool:
        run.update((await served.http.get(f"/v1/runs/{run_id}")).json())
        return run["callback_sent_at"] is not None

    await until(there)
    return run


async def test_end_of_a_run_is_told_once_and_signed(make_server: Serve) -> None:
    async with listening() as listener, make_server("hello", callback_secret=SECRET.decode()) as served:
        agent = await served.agent()
        accepted = await send(served, agent["id"], listener.url)
        run = await called(served, accepted["id"])
    [heard] = listener.heard
    assert (accepted["callback_url"], accepted["callback_sent_at"]) == (listener.url, None)
    assert (run["callback_status_code"], run["callback_error"]) == (204, None)
    assert heard.path == "/done?for=me"
    assert orjson.loads(heard.body) == {
        "run_id": run["id"],
        "agent_id": agent["id"],
        "conversation_id": None,
        "status": "completed",
        "stop_reason": "end_turn",
        "completed_at": run["completed_at"],
        "metadata": {"run_type": "send_message"},
    }
    assert heard.headers["content-type"] == "application/json"
    assert heard.headers["user-agent"] == f"open-letta/{__version__}"
    assert heard.headers["webhook-id"] == run["id"]
    signed = f"{run['id']}.{heard.headers['webhook-timestamp']}.".encode() + heard.body
    expected = base64.b64encode(hmac.digest(SECRET, signed, hashlib.sha256)).decode()
    assert heard.headers["webhook-signature"] == f"v1,{expected}"


async def test_secret_may_be_in_the_form_of_the_convention(tmp_path: Path) -> None:
    secret = f"whsec_{base64.b64encode(SECRET).decode()}"
    async with listening() as listener, serve(tmp_path, callback_secret=secret) as served:
        agent = await served.agent()
        await called(served, (await send(served, agent["id"], listener.url))["id"])
    [heard] = listener.heard
    signed = f"{heard.headers['webhook-id']}.{heard.headers['webhook-timestamp']}.".encode() + heard.body
    expected = base64.b64encode(hmac.digest(SECRET, signed, hashlib.sha256)).decode()
    assert heard.headers["webhook-signature"] == f"v1,{expected}"


async def test_server_does_not_start_with_a_secret_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="callback_secret: what follows whsec_ is not base64"):
        async with serve(tmp_path, callback_secret="whsec_???"):
            pass


async def test_without_a_secret_nothing_is_signed(tmp_path: Path) -> None:
    async with listening() as listener, serve(tmp_path) as served:
        agent = await served.agent()
        await called(served, (await send(served, agent["id"], listener.url))["id"])
    assert "webhook-signature" not in listener.heard[0].headers


async def test_callback_is_repeated_until_it_is_taken(make_server: Serve) -> None:
    async with listening(503, 302) as listener, make_server() as served:
        agent = await served.agent()
        run_id = (await send(served, agent["id"], listener.url))["id"]
        failed = await called(served, run_id)

        async def taken() -> bool:
            return bool((await served.http.get(f"/v1/runs/{run_id}")).json()["callback_status_code"] == 204)

        await until(taken)
        run = (await served.http.get(f"/v1/runs/{run_id}")).json()
    assert (failed["callback_status_code"], failed["callback_error"]) == (503, "the other side answered 503")
    assert run["callback_error"] is None
    assert [heard.body for heard in listener.heard] == [listener.heard[0].body] * 3
    assert {heard.headers["webhook-id"] for heard in listener.heard} == {run_id}


async def test_callback_that_failed_is_repeated_after_a_restart(make_server: Serve) -> None:
    async with listening(503) as listener:
        async with make_server() as served:
            agent = await served.agent()
            run_id = (await send(served, agent["id"], listener.url))["id"]
            await called(served, run_id)
        async with make_server() as served:

            async def taken() -> bool:
                return bool((await served.http.get(f"/v1/runs/{run_id}")).json()["callback_status_code"] == 204)

            await until(taken)
    assert len(listener.heard) == 2


async def test_run_that_ends_after_a_restart_is_told(make_server: Serve) -> None:
    gate = Gate()
    async with listening() as listener:
        async with make_server(gate, shutdown_grace=0.01) as served:
            agent = await served.agent()
            run_id = (await send(served, agent["id"], listener.url))["id"]
            await gate.reached.wait()
        before = len(listener.heard)
        async with make_server("hello") as served:
            run = await called(served, run_id)
    assert before == 0
    assert (run["status"], run["callback_status_code"]) == ("completed", 204)


async def test_callback_is_given_up_after_so_many_tries(tmp_path: Path) -> None:
    async with listening(500) as listener, serve(tmp_path, callback_attempts=1) as served:
        agent = await served.agent()
        run = await called(served, (await send(served, agent["id"], listener.url))["id"])
        due = await served.parts.database.read(_due)
    assert (run["callback_status_code"], run["callback_error"]) == (500, "the other side answered 500")
    assert due is None


async def test_side_that_is_gone_is_not_called_again(tmp_path: Path) -> None:
    async with listening(410) as listener, serve(tmp_path) as served:
        agent = await served.agent()
        run = await called(served, (await send(served, agent["id"], listener.url))["id"])
        due = await served.parts.database.read(_due)
    assert run["callback_status_code"] == 410
    assert due is None


async def test_nobody_listening_is_noted(tmp_path: Path) -> None:
    async with listening() as listener:
        url = listener.url
    async with serve(tmp_path, callback_attempts=1) as served:
        agent = await served.agent()
        run = await called(served, (await send(served, agent["id"], url))["id"])
    assert run["callback_status_code"] is None
    assert run["callback_error"].startswith("ConnectError")


async def test_failed_cancelled_and_late_runs_are_told_too(tmp_path: Path) -> None:
    gate = Gate()
    async with listening() as listener, serve(tmp_path, [gate]) as served:
        agent = await served.agent()
        first = await send(served, agent["id"], listener.url)
        await gate.reached.wait()
        second = await send(served, agent["id"], listener.url, "two", deadline_seconds=0.05)
        await ended(served, second["id"])
        third = await send(served, agent["id"], listener.url, "!error auth")
        await served.http.post(f"/v1/agents/{agent['id']}/messages/cancel", json={"run_ids": [first["id"]]})
        for run in (first, second, third):
            await called(served, run["id"])
    told = {orjson.loads(heard.body)["run_id"]: orjson.loads(heard.body) for heard in listener.heard}
    assert [told[run["id"]]["status"] for run in (first, second, third)] == ["cancelled", "failed", "failed"]
    assert told[second["id"]]["metadata"]["error"]["type"] == "deadline_exceeded"
    assert told[third["id"]]["metadata"]["error"]["type"] == "llm_authentication"


async def test_merged_requests_are_told_each(tmp_path: Path) -> None:
    gate = Gate()
    async with listening() as listener, serve(tmp_path, [gate]) as served:
        agent = await served.agent()
        first = asyncio.create_task(post(served, agent["id"], "one"))
        await gate.reached.wait()
        merged = [await send(served, agent["id"], listener.url, text, busy_policy="merge") for text in "ab"]
        await waiting(served, agent["id"], 3)
        gate.open.set()
        await first
        for run in merged:
            await called(served, run["id"])
    assert {orjson.loads(heard.body)["run_id"] for heard in listener.heard} == {run["id"] for run in merged}


async def test_background_stream_calls_back(tmp_path: Path) -> None:
    async with listening() as listener, serve(tmp_path) as served:
        agent = await served.agent()
        await post(served, agent["id"], "hi", streaming=True, background=True, callback_url=listener.url)
        [run] = await runs_of(served, agent["id"])
        await called(served, run["id"])
    assert len(listener.heard) == 1


async def test_callback_without_background_is_refused(served: Served) -> None:
    agent = await served.agent()
    answer = await post(served, agent["id"], "hi", callback_url="http://127.0.0.1:1/")
    assert answer.status_code == 422
    assert answer.json()["detail"] == (
        "callback_url: needs background=true with streaming=true, or the route .../messages/async"
    )


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://127.0.0.1:80/", "127.0.0.1 is not a public address"),
        ("http://169.254.169.254/", "169.254.169.254 is the metadata service of a cloud"),
        ("ftp://example.com/", "is not a URL that starts with http:// or https://"),
        ("nowhere", "is not a URL that starts with http:// or https://"),
    ],
)
async def test_callback_to_where_it_must_not_go_is_refused(tmp_path: Path, url: str, problem: str) -> None:
    async with serve(tmp_path, allow_private_urls=False) as served:
        agent = await served.agent()
        body = said("hi", callback_url=url)
        answer = await served.http.post(f"/v1/agents/{agent['id']}/messages/async", json=body)
        runs = await runs_of(served, agent["id"])
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("callback_url: ")
    assert problem in answer.json()["detail"]
    assert runs == []
