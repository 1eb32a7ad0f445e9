"""The guard in front of every address that somebody else names."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
import pytest

from letta.tools.outbound import (
    AddressRefused,
    AddressUnknown,
    GuardedTransport,
    check_url,
    guarded_client,
    why_not,
)

PUBLIC = "93.184.216.34"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Names:
    """A resolver that answers what a test says, in turn; addresses mean themselves."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = {name.replace("_", "."): turns for name, turns in answers.items()}

    async def __call__(self, host: str, port: int, **_: Any) -> list[Any]:
        if host in self.answers:
            turns = self.answers[host]
            found = turns.pop(0) if len(turns) > 1 else turns[0]
        elif ":" in host or host[0].isdigit():
            found = [host]
        else:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]


def resolve(monkeypatch: pytest.MonkeyPatch, **answers: list[list[str]]) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", Names(**answers))


@pytest.fixture
async def local() -> AsyncIterator[tuple[int, list[str]]]:
    """A web server on this machine: its port, and the heads of the requests it got. `/away` redirects to a cloud."""
    heads: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        heads.append(head)
        away = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest\r\nContent-Length: 0\r\n\r\n"
        writer.write(away if "/away" in head else b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], heads


PRIVATE = (
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.1.1", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "255.255.255.255", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
    "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1", "2001:db8::1",
)  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_address_that_is_not_public_passes_only_where_it_is_allowed(address: str) -> None:
    assert why_not(address, allow_private=False) is not None
    assert why_not(address, allow_private=True) is None


@pytest.mark.parametrize("address", [PUBLIC, "1.1.1.1", "2606:4700:4700::1111", "64:ff9b::101:101"])
def test_public_address_passes(address: str) -> None:
    assert why_not(address, allow_private=False) is None


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254", "100.100.100.200"])
def test_metadata_service_of_a_cloud_is_never_allowed(address: str) -> None:
    assert why_not(address, allow_private=True) == "the metadata service of a cloud"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host",
        "file:///etc/passwd",
        "gopher://host/",
        "http://",
        "https:///path",
        "http://[::1",
        "//host",
        "http://a:0",
        "http://a:70000",
    ],
)
async def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        await check_url(url, allow_private=True)


@pytest.mark.parametrize("url", ["http://127.1/", "http://2130706433/", "http://0x7f.0.0.1/", "http://localhost:80/"])
async def test_odd_spelling_of_this_machine_is_refused(url: str) -> None:
    with pytest.raises(AddressRefused, match=r"is not a public address"):
        await check_url(url, allow_private=False)


async def test_name_with_one_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, mixed_test=[[PUBLIC, "10.0.0.1"]], fine_test=[[PUBLIC]])
    with pytest.raises(AddressRefused, match=r"mixed.test \(10.0.0.1\) is not a public address"):
        await check_url("https://mixed.test/", allow_private=False)
    assert await check_url("https://fine.test/", allow_private=False) == (PUBLIC,)
    with pytest.raises(AddressUnknown, match=r"nobody.test: no address is known"):
        await check_url("https://nobody.test/", allow_private=False)


async def test_name_that_changes_its_meaning_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, rebind_test=[[PUBLIC], ["127.0.0.1"]])
    assert await check_url("http://rebind.test/", allow_private=False) == (PUBLIC,)
    async with guarded_client(allow_private=False) as client:
        with pytest.raises(AddressRefused, match=r"rebind.test \(127.0.0.1\)"):
            await client.get("http://rebind.test/")


async def test_connection_goes_to_the_checked_address_with_the_name_kept(
    monkeypatch: pytest.MonkeyPatch, local: tuple[int, list[str]]
) -> None:
    port, heads = local
    # Nobody listens at the first address: the next one is tried.
    resolve(monkeypatch, service_test=[["127.0.0.2", "127.0.0.1"]])
    async with guarded_client(allow_private=True) as client:
        answer = await client.get(f"http://service.test:{port}/path")
    assert (answer.text, str(answer.request.url)) == ("ok", f"http://service.test:{port}/path")
    assert heads[0].startswith("GET /path ")
    assert f"host: service.test:{port}" in heads[0].lower()


async def test_redirect_is_checked_like_any_request(local: tuple[int, list[str]]) -> None:
    port, heads = local
    async with guarded_client(allow_private=True, follow_redirects=True) as client:
        with pytest.raises(AddressRefused, match=r"169.254.169.254 is the metadata service of a cloud"):
            await client.get(f"http://127.0.0.1:{port}/away")
    assert len(heads) == 1


async def test_name_that_is_not_known_is_a_failed_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch)
    async with guarded_client(allow_private=True) as client:
        with pytest.raises(httpx2.ConnectError, match=r"nobody.test: no address is known"):
            await client.get("http://nobody.test/")


async def test_proxy_does_the_connecting_and_private_names_do_not_reach_it(
    monkeypatch: pytest.MonkeyPatch, local: tuple[int, list[str]]
) -> None:
    port, heads = local
    resolve(monkeypatch, inside_test=[["10.0.0.1"]])
    transport = GuardedTransport(allow_private=False, proxies={"http": f"127.0.0.1:{port}"})
    async with httpx2.AsyncClient(transport=transport) as client:
        assert (await client.get("http://known.to.the.proxy.test/x")).text == "ok"
        with pytest.raises(AddressRefused):
            await client.get("http://inside.test/")
        with pytest.raises(AddressRefused):
            await client.get("http://127.0.0.1/")
    assert [head.splitlines()[0] for head in heads] == ["GET http://known.to.the.proxy.test/x HTTP/1.1"]
