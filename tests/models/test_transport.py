"""The transport under every provider, against servers that speak bytes: what HTTP allows, and what it does not."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from letta.models.http import Endpoint
from letta.models.transport import DirectTransport, Limits

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
DAY = timedelta(days=1)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"


class Place:
    """A server: what it was asked, and how many connections it saw."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.connections = 0
        self.url = ""


@asynccontextmanager
async def place(answer: bytes | Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Place]:
    """Answer every request with the same bytes, or by a function."""
    there = Place()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next((int(n[15:]) for n in head.lower().split(b"\r\n") if n.startswith(b"content-length:")), 0)
                there.asked.append(head + await reader.readexactly(length))
                if isinstance(answer, bytes):
                    writer.write(answer)
                else:
                    await answer(there.asked[-1], writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the client is done
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls)
    there.url = f"{'https' if tls else 'http'}://localhost:{server.sockets[0].getsockname()[1]}"
    try:
        yield there
    finally:
        server.close()


@asynccontextmanager
async def client(
    tls: ssl.SSLContext | None = None, limits: Limits = Limits(), **timeouts: float
) -> AsyncIterator[httpx2.AsyncClient]:
    transport = DirectTransport(tls or ssl.create_default_context(), limits)
    async with httpx2.AsyncClient(transport=transport, timeout=httpx2.Timeout(5.0, **timeouts)) as http:
        yield http


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (OK, b"hello"),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nx-after: 1\r\n\r\n",
            b"hello",
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", b"hi"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", b"hi"),
    ],
)
async def test_every_form_of_a_body_is_read(answer: bytes, body: bytes) -> None:
    async with place(answer) as there, client() as http:
        answers = [await http.post(f"{there.url}/a?b=c", content=b"{}") for _ in range(3)]
    assert [one.content for one in answers] == [body] * 3
    assert there.asked[0].startswith(b"POST /a?b=c HTTP/1.1\r\n")
    assert there.asked[0].endswith(b"\r\n\r\n{}")


async def test_body_that_ends_with_the_connection_is_whole() -> None:
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nas long as it takes")
        writer.close()

    async with place(answer) as there, client() as http:
        answers = [await http.get(there.url) for _ in range(2)]
    assert [one.text for one in answers] == ["as long as it takes"] * 2
    assert there.connections == 2


async def test_connection_serves_again_unless_somebody_says_close() -> None:
    async with place(OK) as kept, place(OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")) as closed:
        async with client() as http:
            answers = [await http.get(there.url) for there in (kept, closed) for _ in range(3)]
        assert {one.text for one in answers} == {"hello"}
    assert (kept.connections, closed.connections) == (1, 3)


async def test_old_idle_connections_are_not_used() -> None:
    async with place(OK) as there, client(limits=Limits(expiry=0.0)) as http:
        for _ in range(3):
            await http.get(there.url)
    assert there.connections == 3


async def test_answer_that_is_left_closes_its_connection() -> None:
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nfirst")

    async with place(answer) as there, client() as http:
        for _ in range(2):
            async with http.stream("GET", there.url) as left:
                assert await anext(left.aiter_bytes()) == b"first"
    assert there.connections == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"this is no HTTP\r\n\r\n", httpx2.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", httpx2.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel", httpx2.RemoteProtocolError),
        (b"", httpx2.RemoteProtocolError),
    ],
)
async def test_answer_that_breaks_off_is_an_error(answer: bytes, error: type[Exception]) -> None:
    async def broken(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with place(broken) as there, client() as http:
        with pytest.raises(error):
            await http.get(there.url)


async def test_silence_is_a_timeout_before_and_within_the_answer() -> None:
    async def silent(_: bytes, writer: asyncio.StreamWriter) -> None:
        return

    async def halting(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")

    for answer in (silent, halting):
        async with place(answer) as there, client(read=0.05) as http:
            with pytest.raises(httpx2.ReadTimeout):
                await http.get(there.url)


async def test_nobody_there_is_a_connect_error() -> None:
    async with place(OK) as there:
        pass
    async with client() as http:
        with pytest.raises(httpx2.ConnectError):
            await http.get(there.url)


async def test_large_bodies_go_both_ways_and_a_slow_reader_holds_the_server_back() -> None:
    size, sent = 40_000_000, 0

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        while sent < size:
            writer.write(b"x" * 1_000_000)
            sent += 1_000_000
            await writer.drain()

    async with (
        place(answer) as there,
        client() as http,
        http.stream("POST", there.url, content=b"y" * 8_000_000) as slow,
    ):
        before = -1
        while before != sent:  # until the server waits for us
            before = sent
            await asyncio.sleep(0.1)
        assert sent < size
        received = len(await slow.aread())
    assert (received, len(there.asked[0]) > 8_000_000) == (size, True)


def certificate(folder: Path) -> tuple[Path, Path]:
    """A key, and a certificate of `localhost` signed with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    begin = datetime.now(UTC) - timedelta(days=1)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), begin, begin + 9 * DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *plain))
    (folder / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return folder / "key.pem", folder / "certificate.pem"


async def test_certificate_is_checked_against_the_name(tmp_path: Path) -> None:
    key, signed = certificate(tmp_path)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(signed, key)
    ours = ssl.create_default_context(cafile=str(signed))
    async with place(OK, theirs) as there:
        async with client(ours) as http:
            assert [(await http.get(there.url)).text for _ in range(2)] == ["hello"] * 2
            with pytest.raises(httpx2.ConnectError):
                await http.get(there.url.replace("localhost", "127.0.0.1"))
        async with client() as http:
            with pytest.raises(httpx2.ConnectError):
                await http.get(there.url)
    assert there.connections >= 1


def test_works_on_the_event_loop_of_the_server() -> None:
    async def ask() -> list[str]:
        async with place(OK) as there, client() as http:
            return [(await http.post(there.url, content=b"{}")).text for _ in range(3)]

    asked: Coroutine[Any, Any, list[str]] = ask()
    assert uvloop.run(asked) == ["hello"] * 3


async def test_requests_side_by_side_have_connections_of_their_own() -> None:
    async with place(OK) as there, client() as http:
        answers = await asyncio.gather(*(http.get(there.url) for _ in range(20)))
        again = await asyncio.gather(*(http.get(there.url) for _ in range(20)))
    assert {one.text for one in [*answers, *again]} == {"hello"}
    assert there.connections <= 20


async def test_proxy_of_the_environment_is_asked_for_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    async with place(OK.replace(b"hello", b"proxy")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        endpoint = Endpoint("http://provider.test/v1", "far", {})
        async with endpoint.post("/chat", b"{}") as reply:
            told = [chunk async for chunk in reply.events()]
        await endpoint.aclose()
    assert proxy.asked[0].startswith(b"POST http://provider.test/v1/chat HTTP/1.1\r\n")
    assert told == []
