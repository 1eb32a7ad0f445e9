"""The transport without a network: answers in pieces, disconnects, applications that break off."""

import logging

import anyio
import httpx
import pytest

from letta.api.gateway import App, Receive, Scope, Send
from letta.client.transport import AppTransport

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}


def client_of(app: App, timeout: float | None = 30) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=AppTransport(app), base_url="http://app", timeout=timeout)


async def test_a_piece_is_read_before_the_next_one_is_made() -> None:
    read_first = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await read_first.wait()
        await send({"type": "http.response.body", "body": b"two"})

    pieces = []
    with anyio.fail_after(10):
        async with client_of(app) as client, client.stream("GET", "/") as answer:
            async for piece in answer.aiter_bytes():
                pieces.append(piece)
                read_first.set()
    assert pieces == [b"one", b"two"]


async def test_a_reader_that_leaves_disconnects() -> None:
    left = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(START)
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        assert await receive() == {"type": "http.disconnect"}
        with pytest.raises(OSError, match="left"):
            await send({"type": "http.response.body", "body": b"two"})
        left.set()

    with anyio.fail_after(10):
        async with client_of(app) as client:
            async with client.stream("GET", "/") as answer:
                assert await anext(answer.aiter_bytes()) == b"one"
            await left.wait()


async def test_a_slow_reader_holds_the_application_back() -> None:
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send(START)
        for _ in range(1000):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            sent += 1
        await send({"type": "http.response.body", "body": b""})

    async with client_of(app) as client, client.stream("GET", "/") as answer:
        await anyio.wait_all_tasks_blocked()
        assert sent < 100
        assert await answer.aread() == b"x" * 1000


async def test_the_request_reaches_the_application_whole() -> None:
    seen: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend([scope["method"], scope["path"], scope["query_string"], (await receive())["body"]])
        seen.append(dict(scope["headers"])[b"authorization"])
        await send(START)
        await send({"type": "http.response.body", "body": b"ok"})

    async with client_of(app) as client:
        answer = await client.post("/a b?x=1&x=2", content=b"body", headers={"Authorization": "Bearer k"})
    assert answer.text == "ok"
    assert seen == ["POST", "/a b", b"x=1&x=2", b"body", b"Bearer k"]


@pytest.mark.parametrize("started", [False, True])
async def test_an_application_that_breaks_off_is_an_error(started: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if started:
            await send(START)
        raise RuntimeError("broken")

    with caplog.at_level(logging.CRITICAL):
        async with client_of(app) as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get("/")


async def test_an_application_that_does_not_answer_times_out() -> None:
    gone = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await receive()
        gone.set()

    with anyio.fail_after(10):
        async with client_of(app, timeout=0.01) as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.get("/")
            await gone.wait()
