"""The tool `fetch_webpage`: one page of the web as text, within limits of time and size.

What may be connected to is decided in `letta.tools.outbound`, for every redirect again; how a page becomes text, in
`letta.tools.readable`.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

from letta.errors import ToolFailed
from letta.tools.builtin import BY_NAME
from letta.tools.context import Errand, ToolResult
from letta.tools.outbound import guarded_client
from letta.tools.readable import Page, decoded, read_html
from letta.tools.toolbox import checked
from letta.version import __version__

FETCH_WEBPAGE = "fetch_webpage"
SECONDS = 30.0
MAX_BYTES = 2 * 1024 * 1024
"""How much of a page is read, after decompression; the model is told when there was more."""

_REDIRECTS = 8
_HTML = frozenset({"text/html", "application/xhtml+xml", ""})
_TEXTS = re.compile(r"text/.+|application/(.+\+)?(json|xml|yaml|javascript|ecmascript|x-ndjson|toml)")
_HEADERS = {
    "user-agent": f"open-letta/{__version__} ({FETCH_WEBPAGE})",
    "accept": "text/html,application/xhtml+xml,text/*;q=0.9,application/json;q=0.8,*/*;q=0.1",
    # Only what is unpacked in small pieces: a page that unpacks to gigabytes ends at the limit.
    "accept-encoding": "gzip, deflate",
}


class Webpages:
    """Fetches pages. `allow_private` lets it reach this machine and private networks; `seconds` bounds one call."""

    def __init__(self, *, allow_private: bool, seconds: float = SECONDS, max_bytes: int = MAX_BYTES) -> None:
        self._allow_private = allow_private
        self._seconds = seconds
        self._max_bytes = max_bytes

    async def run(self, errand: Errand) -> ToolResult:
        """Carry out a call of `fetch_webpage`.

        Raises:
            letta.errors.ToolFailed: no page, none that is text, or none in time.
            letta.tools.outbound.AddressRefused: an address this server does not connect to.
        """
        arguments = checked(errand.arguments, BY_NAME[FETCH_WEBPAGE].schema["parameters"])
        url = arguments["url"].strip()
        url = url if "://" in url else f"https://{url}"
        try:
            async with asyncio.timeout(self._seconds):
                return ToolResult(await self._read(url))
        except TimeoutError:
            raise ToolFailed(f"{url} was not read within {self._seconds:.0f} seconds.") from None
        except httpx2.TooManyRedirects:
            raise ToolFailed(f"{url} redirects more than {_REDIRECTS} times.") from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise ToolFailed(f"{url} cannot be read: {error or type(error).__name__}.") from None

    async def _read(self, url: str) -> str:
        async with self._opened(url) as response:
            final = str(response.url)
            if response.status_code >= 400:
                raise ToolFailed(f"{final} answered {response.status_code} {response.reason_phrase}.")
            said = response.headers.get("content-type", "")
            kind = said.partition(";")[0].strip().lower()
            if kind not in _HTML and not _TEXTS.fullmatch(kind):
                raise ToolFailed(f"{final} is {kind}, which cannot be read as text.")
            if response.headers.get("content-encoding", "identity").lower() not in ("identity", "gzip", "deflate"):
                raise ToolFailed(f"{final} is packed in a way that was not asked for.")
            body, whole = await read_within(response, self._max_bytes)
        # A large page takes a while, and the server has others to serve.
        page = await asyncio.to_thread(_page, body, said, kind, final)
        return _shown(page, final, None if whole else self._max_bytes)

    @asynccontextmanager
    async def _opened(self, url: str) -> AsyncIterator[httpx2.Response]:
        async with (
            guarded_client(
                allow_private=self._allow_private,
                follow_redirects=True,
                max_redirects=_REDIRECTS,
                timeout=self._seconds,
                headers=_HEADERS,
            ) as client,
            client.stream("GET", url) as response,
        ):
            yield response


async def read_within(response: httpx2.Response, limit: int) -> tuple[bytes, bool]:
    """The body of an answer, as far as `limit` bytes, and whether that is all of it."""
    pieces, size = list[bytes](), 0
    async for piece in response.aiter_bytes(65_536):
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            return b"".join(pieces)[:limit], False
    return b"".join(pieces), True


def _page(body: bytes, content_type: str, kind: str, url: str) -> Page:
    text = decoded(body, content_type)
    if kind in _HTML and (kind or text.lstrip()[:1] == "<"):
        return read_html(text, url)
    return Page(None, text.strip())


def _shown(page: Page, url: str, cut_at: int | None) -> str:
    parts = [f"Title: {page.title}\nURL: {url}" if page.title else f"URL: {url}"]
    parts.append(page.text or "(the page has no text; it may need a browser)")
    if cut_at is not None:
        parts.append(f"[the page is longer: its first {cut_at} bytes were read]")
    if page.links:
        parts.append("Links:\n" + "\n".join(f"- {words}: {address}" for words, address in page.links))
    return "\n\n".join(parts)
