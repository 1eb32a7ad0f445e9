"""Where this server connects to for somebody else: a guard against the addresses of its own networks.

An address that a person, an agent or another server names can point anywhere, also at this machine, its neighbours and
the metadata service of a cloud. The guard resolves a name once, refuses what is not public, and connects to exactly the
address it has checked, so that a name cannot mean something else a moment later. Redirects pass the same check, because
every request does. Knows nothing of what is fetched.
"""

import asyncio
import ipaddress
import ssl
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpx2

from letta.errors import InvalidRequest

RESOLVE_SECONDS = 10.0

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_V4_COMPATIBLE = ipaddress.ip_network("::/96")
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        (
            "169.254.169.254", "169.254.170.2", "169.254.170.23", "168.63.129.16", "100.100.100.200", "192.0.0.192",
            "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254",
        ),
    )
)  # fmt: skip
"""Where clouds hand out the keys of their machines: refused whatever the settings say."""


class AddressRefused(InvalidRequest):
    """This server does not connect to that address."""

    code = "address_refused"


class AddressUnknown(InvalidRequest):
    """The name of the address is not known."""

    code = "address_unknown"


async def check_url(url: str, *, allow_private: bool) -> tuple[str, ...]:
    """The IP addresses behind a URL, all of which may be connected to.

    `allow_private` lets addresses of this machine and of private networks pass, but never a cloud's metadata service.

    Raises:
        AddressRefused: no http(s) URL, or an address that is not public.
        AddressUnknown: the name cannot be resolved (within 10 s).
    """
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise AddressRefused(f"{url!r} is not a URL ({error})") from None
    _refuse_other_kinds(parsed)
    return await addresses_of(_host(parsed), _port(parsed), allow_private=allow_private)


def _refuse_other_kinds(url: httpx2.URL) -> None:
    if url.scheme not in ("http", "https") or not url.host:
        raise AddressRefused(f"'{url}' is not a URL that starts with http:// or https:// and names a host")


async def addresses_of(host: str, port: int, *, allow_private: bool) -> tuple[str, ...]:
    """The addresses of a host, in the order to try them. Raises as `check_url`; one bad address refuses them all."""
    if not 0 < port < 65_536:
        raise AddressRefused(f"{host}: there is no port {port}")
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=1, proto=6)
    except (OSError, ValueError, OverflowError) as error:
        raise AddressUnknown(
            f"{host}: no address is known for this name ({error or 'the resolver is silent'})"
        ) from None
    addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        if (reason := why_not(address, allow_private=allow_private)) is not None:
            shown = host if host == address else f"{host} ({address})"
            raise AddressRefused(f"{shown} is {reason}, which this server does not connect to")
    return addresses


def why_not(address: str, *, allow_private: bool) -> str | None:
    """What is wrong with an IP address; None when it may be connected to."""
    bare = ipaddress.ip_address(address.partition("%")[0])
    for one in (bare, *_inside(bare)):
        if one in _METADATA:
            return "the metadata service of a cloud"
        if not allow_private and (not one.is_global or one.is_multicast):
            return "not a public address (LETTA_ALLOW_PRIVATE_URLS=true allows it)"
    return None


def _inside(address: Address) -> list[Address]:
    """The IPv4 addresses that an IPv6 address carries, by every scheme that leads there."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found: list[Address | None] = [address.ipv4_mapped, address.sixtofour]
    found += address.teredo or ()
    if address in _NAT64 or (address in _V4_COMPATIBLE and int(address) > 1):
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in found if one is not None]


def _host(url: httpx2.URL) -> str:
    return url.raw_host.decode("ascii").strip("[]")


def _port(url: httpx2.URL) -> int:
    if url.port is not None:
        return url.port
    return 443 if url.scheme == "https" else 80


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    # Reading the certificates costs tens of milliseconds: once per process.
    return httpx2.create_ssl_context()


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Carries the requests of an `httpx2.AsyncClient`, each only to an address that was checked.

    A proxy of the environment (`HTTPS_PROXY` and the like) is used as usual. It does the connecting, so a name that
    only the proxy knows passes; one that is known here is checked here, too.

    Raises, from every request:
        AddressRefused: the address must not be connected to.
        httpx2.ConnectError: the name is not known, or nobody answers at any of its addresses.
    """

    def __init__(self, *, allow_private: bool, proxies: Mapping[str, str] | None = None) -> None:
        self._allow_private = allow_private
        self._proxies = getproxies() if proxies is None else proxies
        # One pool of connections per name: a TLS connection proves one name, also where names share an address.
        self._pools: dict[str, httpx2.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        _refuse_other_kinds(request.url)
        if (proxy := self._proxy(request.url)) is not None:
            await self._addresses(request, known_here=False)
            return await self._pool(f"proxy {proxy}", proxy).handle_async_request(request)
        host, refusal = _host(request.url), None
        for address in await self._addresses(request):
            try:
                return await self._pool(host).handle_async_request(_addressed(request, host, address))
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                refusal = error
        assert refusal is not None, "a name that is known has an address"
        refusal.request = request
        raise refusal

    async def _addresses(self, request: httpx2.Request, *, known_here: bool = True) -> tuple[str, ...]:
        host, port = _host(request.url), _port(request.url)
        try:
            return await addresses_of(host, port, allow_private=self._allow_private)
        except AddressUnknown as error:
            if known_here:
                raise httpx2.ConnectError(error.message, request=request) from error
            return ()

    def _pool(self, name: str, proxy: str | None = None) -> httpx2.AsyncHTTPTransport:
        if name not in self._pools:
            self._pools[name] = httpx2.AsyncHTTPTransport(verify=_tls(), proxy=proxy)
        return self._pools[name]

    def _proxy(self, url: httpx2.URL) -> str | None:
        proxy = self._proxies.get(url.scheme) or self._proxies.get("all")
        if proxy is None or _host(url) in ("localhost", "127.0.0.1", "::1") or proxy_bypass(_host(url)):
            return None
        return proxy if "://" in proxy else f"http://{proxy}"

    async def aclose(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()


def guarded_client(*, allow_private: bool, **options: Any) -> httpx2.AsyncClient:
    """An HTTP client that connects to checked addresses only; `options` as of `httpx2.AsyncClient`."""
    return httpx2.AsyncClient(transport=GuardedTransport(allow_private=allow_private), **options)


def _addressed(request: httpx2.Request, host: str, address: str) -> httpx2.Request:
    """The same request, sent to an address. Its `Host` header and the name to prove stay what they were."""
    extensions = {**request.extensions}
    if request.url.scheme == "https" and host != address:
        extensions["sni_hostname"] = host
    return httpx2.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions=extensions,
    )
