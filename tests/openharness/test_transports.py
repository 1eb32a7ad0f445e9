"""Transports against real servers on this machine."""

import json
import socket
from collections.abc import AsyncGenerator, Iterator

import pytest
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from tests.openharness.recorder import Recorder, event_stream, recording
from websockets.asyncio.server import ServerConnection, serve

from openharness import transports
from openharness.transports import (
    AuthenticationError,
    RateLimitError,
    RestTransport,
    TransportError,
    WebSocketTransport,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def server() -> Iterator[Recorder]:
    with recording() as recorder:
        yield recorder


@pytest.fixture
async def transport(server: Recorder) -> AsyncGenerator[RestTransport, None]:
    async with RestTransport(server.base_url + "/", api_key="key", headers={"X-Team": "a"}) as transport:
        yield transport


async def test_request_carries_key_headers_query_and_json(server: Recorder, transport: RestTransport) -> None:
    server.answer({"ok": True})
    assert await transport.request("POST", "/things", params={"all": True}, json_data={"a": 1}) == {"ok": True}
    (asked,) = server.asked
    assert (asked.method, asked.path, asked.query, asked.json) == ("POST", "/v1/things", {"all": "true"}, {"a": 1})
    assert asked.headers["authorization"] == "Bearer key"
    assert asked.headers["x-team"] == "a"
    assert asked.headers["content-type"] == "application/json"


async def test_no_content_is_none(server: Recorder, transport: RestTransport) -> None:
    server.answer(Response(status_code=204))
    assert await transport.request("DELETE", "/things/1") is None


async def test_refused_key_is_an_authentication_error(server: Recorder, transport: RestTransport) -> None:
    server.answer(JSONResponse({"detail": "no"}, 401))
    with pytest.raises(AuthenticationError) as raised:
        await transport.request("GET", "/things")
    assert (raised.value.status_code, raised.value.body) == (401, {"detail": "no"})


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7), ("Fri, 02 Jan 2026 00:00:00 GMT", None), (None, None)], ids=str
)
async def test_rate_limit_tells_when_to_come_back(
    server: Recorder, transport: RestTransport, header: str | None, seconds: int | None
) -> None:
    server.answer(JSONResponse({}, 429, {"Retry-After": header} if header else None))
    with pytest.raises(RateLimitError) as raised:
        await transport.request("GET", "/things")
    assert (raised.value.status_code, raised.value.retry_after) == (429, seconds)


async def test_other_errors_carry_the_parsed_body(server: Recorder, transport: RestTransport) -> None:
    server.answer(JSONResponse({"error": {"code": "gone"}}, 410), PlainTextResponse("oh", 502))
    with pytest.raises(TransportError) as raised:
        await transport.request("GET", "/things")
    assert (raised.value.status_code, raised.value.body) == (410, {"error": {"code": "gone"}})
    with pytest.raises(TransportError) as raised:
        await transport.request("GET", "/things")
    assert (raised.value.status_code, raised.value.body) == (502, "oh")


async def test_answer_that_is_no_json_is_a_transport_error(server: Recorder, transport: RestTransport) -> None:
    server.answer(PlainTextResponse("hello"))
    with pytest.raises(TransportError, match="not JSON"):
        await transport.request("GET", "/things")


async def test_redirects_are_followed_with_method_and_body(server: Recorder, transport: RestTransport) -> None:
    server.answer(RedirectResponse(f"{server.base_url}/things/", 307), {"ok": True})
    assert await transport.request("POST", "/things", json_data={"a": 1}) == {"ok": True}
    assert [(asked.method, asked.path, asked.json) for asked in server.asked] == [
        ("POST", "/v1/things", {"a": 1}),
        ("POST", "/v1/things/", {"a": 1}),
    ]


async def test_unreachable_server_is_a_connection_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with RestTransport(f"http://127.0.0.1:{port}") as transport:
        with pytest.raises(transports.ConnectionError, match="Failed to connect"):
            await transport.request("GET", "/things")
        with pytest.raises(transports.ConnectionError, match="Failed to connect"):
            [event async for event in transport.stream("GET", "/things")]


async def test_silent_server_is_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with RestTransport(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.05) as transport:
            with pytest.raises(TransportError, match=r"timed out: \w+Timeout"):
                await transport.request("GET", "/things")


async def test_stream_yields_json_objects_whatever_the_event_name(server: Recorder, transport: RestTransport) -> None:
    server.answer(
        event_stream(
            "event: text", 'data: {"type": "text", "content": "a"}', "", ": alive", "", "data: [DONE]", "", "data: 5"
        )
    )
    events = [event async for event in transport.stream("POST", "/execute/stream", json_data={"message": "hi"})]
    assert events == [
        {"type": "text", "content": "a"},
        {"type": "raw", "data": "[DONE]"},
        {"type": "raw", "data": "5"},
    ]
    (asked,) = server.asked
    assert (asked.headers["accept"], asked.json) == ("text/event-stream", {"message": "hi"})


@pytest.mark.parametrize(
    ("status", "error"), [(401, AuthenticationError), (429, RateLimitError), (500, TransportError)]
)
async def test_error_status_on_a_stream_is_the_same_error_as_elsewhere(
    server: Recorder, transport: RestTransport, status: int, error: type[TransportError]
) -> None:
    server.answer(JSONResponse({"detail": "no"}, status))
    with pytest.raises(error) as raised:
        [event async for event in transport.stream("POST", "/execute/stream")]
    assert (raised.value.status_code, raised.value.body) == (status, {"detail": "no"})


async def test_answer_that_is_no_event_stream_is_a_transport_error(server: Recorder, transport: RestTransport) -> None:
    server.answer({"ok": True})
    with pytest.raises(TransportError, match="not an event stream"):
        [event async for event in transport.stream("POST", "/execute/stream")]


async def test_stream_that_breaks_off_is_a_transport_error(server: Recorder, transport: RestTransport) -> None:
    async def dying() -> AsyncGenerator[bytes, None]:
        yield b'data: {"type": "text", "content": "a"}\n\n'
        raise RuntimeError("the server dies")

    server.answer(StreamingResponse(dying(), media_type="text/event-stream"))
    stream = transport.stream("POST", "/execute/stream")
    assert await anext(stream) == {"type": "text", "content": "a"}
    with pytest.raises(TransportError, match="broke off"):
        await anext(stream)


async def test_upload_is_multipart_with_its_boundary(server: Recorder, transport: RestTransport) -> None:
    server.answer({"ok": True})
    await transport.upload("/files", b"\x00zip", "a.zip", content_type="application/zip", params={"path": "/a"})
    (asked,) = server.asked
    kind, boundary = asked.headers["content-type"].split("; boundary=")
    assert kind == "multipart/form-data"
    assert asked.query == {"path": "/a"}
    assert asked.body.startswith(b"--" + boundary.encode())
    assert b'name="file"; filename="a.zip"\r\nContent-Type: application/zip\r\n\r\n\x00zip' in asked.body


async def test_download_gives_the_bytes(server: Recorder, transport: RestTransport) -> None:
    server.answer(Response(b"PK\x03"))
    assert await transport.download("/files/download", params={"path": "/a"}) == b"PK\x03"


async def test_closed_transport_may_be_used_again(server: Recorder, transport: RestTransport) -> None:
    await transport.request("GET", "/things")
    await transport.close()
    await transport.request("GET", "/things")
    assert len(server.asked) == 2


async def echo(socket: ServerConnection) -> None:
    async for message in socket:
        said = json.loads(message)
        if said.get("noise"):
            await socket.send('{"kind": "noise"}')
        if said.get("garbage"):
            await socket.send("garbage")
        if said.get("bye"):
            return
        await socket.send(
            json.dumps({**said, "auth": socket.request.headers["Authorization"] if socket.request else ""})
        )


@pytest.fixture
async def echo_url() -> AsyncGenerator[str, None]:
    async with serve(echo, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_websocket_sends_and_receives_objects_with_its_key(echo_url: str) -> None:
    transport = WebSocketTransport(echo_url, api_key="key")
    assert not transport.connected
    async with transport:
        assert transport.connected
        await transport.send({"a": 1})
        assert await transport.receive() == {"a": 1, "auth": "Bearer key"}
    assert not transport.connected


async def test_websocket_request_waits_for_the_response_it_is_for(echo_url: str) -> None:
    async with WebSocketTransport(echo_url, api_key="key") as transport:
        answer = await transport.request_response({"noise": 1, "a": 2}, lambda message: message.get("a") == 2)
        assert answer == {"noise": 1, "a": 2, "auth": "Bearer key"}
        assert await transport.request_response({"a": 3}) == {"a": 3, "auth": "Bearer key"}


async def test_websocket_listens_until_the_server_ends(echo_url: str) -> None:
    async with WebSocketTransport(echo_url, api_key="key") as transport:
        await transport.send({"a": 1})
        await transport.send({"bye": 1})
        assert [message async for message in transport.listen()] == [{"a": 1, "auth": "Bearer key"}]
        assert not transport.connected
        with pytest.raises(TransportError, match="Not connected"):
            await transport.send({})


async def test_websocket_loss_is_a_transport_error(echo_url: str) -> None:
    async with WebSocketTransport(echo_url, api_key="key") as transport:
        with pytest.raises(TransportError, match="Failed to receive"):
            await transport.request_response({"bye": 1})


async def test_websocket_message_that_is_no_json_is_a_transport_error(echo_url: str) -> None:
    async with WebSocketTransport(echo_url, api_key="key") as transport:
        await transport.send({"garbage": 1})
        with pytest.raises(TransportError, match="not JSON"):
            await transport.receive()


async def test_websocket_without_a_server_is_a_connection_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    transport = WebSocketTransport(f"ws://127.0.0.1:{port}")
    with pytest.raises(transports.ConnectionError, match="Failed to connect"):
        await transport.connect()
    with pytest.raises(TransportError, match="Not connected"):
        await transport.receive()
    await transport.disconnect()
