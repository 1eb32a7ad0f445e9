"""The tool `web_search`: one question, asked of whichever search engine there is a key for.

Each engine is a function from a `Query` to its request and one from its answer to `Hit`s. The key comes from the
agent's secrets, else from the server's environment; addresses of engines other than one's own SearXNG can be changed in
the environment only, because the server's keys are sent there.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from html import unescape
from typing import Any

import httpx2
import orjson

from letta.errors import ToolFailed
from letta.store import agents
from letta.store.access import Database
from letta.store.vault import Vault
from letta.tools.builtin import BY_NAME
from letta.tools.context import Errand, ToolResult
from letta.tools.fetch_webpage import read_within
from letta.tools.outbound import guarded_client
from letta.tools.redaction import redacted
from letta.tools.toolbox import checked

WEB_SEARCH = "web_search"
DEFAULT_RESULTS, MAX_RESULTS = 10, 100
SECONDS = 30.0
_MAX_ANSWER = 8 * 1024 * 1024
_TEXT_LIMIT = 4_000
_ATTEMPTS, _LONGEST_WAIT = 3, 5.0


@dataclass(frozen=True, slots=True)
class Query:
    """What to search for. `location` is a country of two letters; dates are whole days, both included."""

    text: str
    count: int
    category: str | None = None
    with_text: bool = False
    include_domains: tuple[str, ...] = ()
    exclude_domains: tuple[str, ...] = ()
    since: date | None = None
    until: date | None = None
    location: str | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """One result. `text` is an excerpt, or the page's text where that was asked for."""

    title: str
    url: str
    text: str | None = None
    published: str | None = None
    author: str | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to an engine."""

    path: str
    json: dict[str, Any] | None = None
    params: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Engine:
    """A search engine: the variable that turns it on, where it is, and what of a query it cannot do."""

    name: str
    variable: str
    address: str
    address_variable: str
    headers: Callable[[str], dict[str, str]]
    ask: Callable[[Query], Ask]
    hits: Callable[[dict[str, Any], Query], list[Hit]]
    lacks: tuple[str, ...] = ()


class WebSearch:
    """Carries out calls of `web_search`. `allow_private` is for addresses that agents bring with them."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        environment: Mapping[str, str],
        *,
        allow_private: bool,
        seconds: float = SECONDS,
    ) -> None:
        self._database = database
        self._vault = vault
        self._environment = environment
        self._allow_private = allow_private
        self._seconds = seconds

    async def run(self, errand: Errand) -> ToolResult:
        """Search. Raises letta.errors.ToolFailed for everything that goes wrong, a missing key included."""
        arguments = checked(errand.arguments, BY_NAME[WEB_SEARCH].schema["parameters"])
        query = _query(arguments)
        locked = await self._database.read(agents.secrets, errand.agent.id)
        engine, key, address, trusted = self._choice(self._vault.open(locked))
        try:
            answer = await self._answer(engine, key, address, engine.ask(query), trusted=trusted)
            hits = engine.hits(answer, query)[: query.count]
        except ToolFailed as error:
            raise ToolFailed(redacted(error.message, {engine.variable: key})) from None
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ToolFailed(f"{engine.name} answered in a form that is not known.") from None
        shown = {
            "query": query.text,
            "engine": engine.name,
            "results": [{name: value for name, value in asdict(hit).items() if value} for hit in hits],
        }
        if ignored := [name for name in engine.lacks if arguments.get(name)]:
            shown["ignored"] = ignored
        return ToolResult(redacted(orjson.dumps(shown).decode(), {} if engine is _SEARXNG else {engine.variable: key}))

    def _choice(self, secrets: Mapping[str, str]) -> tuple[Engine, str, str, bool]:
        """The engine, its key, its address, and whether the address is the operator's: the first with a key."""
        for source, trusted in ((secrets, False), (self._environment, True)):
            for engine in ENGINES:
                if key := source.get(engine.variable, "").strip():
                    if engine is _SEARXNG:
                        return engine, "", key, trusted
                    return engine, key, self._environment.get(engine.address_variable) or engine.address, True
        names = ", ".join(engine.variable for engine in ENGINES)
        raise ToolFailed(
            f"no search engine is set up. One of {names} is needed, among the agent's secrets or in the environment "
            "of the server."
        )

    async def _answer(self, engine: Engine, key: str, address: str, ask: Ask, *, trusted: bool) -> dict[str, Any]:
        try:
            async with (
                asyncio.timeout(self._seconds),
                guarded_client(
                    allow_private=trusted or self._allow_private,
                    headers={"accept": "application/json", "accept-encoding": "gzip", **engine.headers(key)},
                    timeout=self._seconds,
                ) as client,
            ):
                return await _asked(client, engine, address.rstrip("/") + ask.path, ask)
        except TimeoutError:
            raise ToolFailed(f"{engine.name} did not answer within {self._seconds:.0f} seconds.") from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise ToolFailed(f"{engine.name} cannot be reached: {error or type(error).__name__}.") from None


async def _asked(client: httpx2.AsyncClient, engine: Engine, url: str, ask: Ask) -> dict[str, Any]:
    method = "GET" if ask.json is None else "POST"
    for attempt in range(1, _ATTEMPTS + 1):
        async with client.stream(method, url, json=ask.json, params=ask.params) as response:
            body, whole = await read_within(response, _MAX_ANSWER)
        if response.status_code != 429 or attempt == _ATTEMPTS:
            break
        await asyncio.sleep(_wait(response.headers.get("retry-after"), attempt))
    if response.status_code != 200:
        raise ToolFailed(_refusal(engine, response.status_code, body))
    if not whole:
        raise ToolFailed(f"{engine.name} answered with more than {_MAX_ANSWER} bytes.")
    answer: dict[str, Any] = orjson.loads(body)
    return answer


def _wait(asked: str | None, attempt: int) -> float:
    """Seconds to wait before asking again: what the engine wants, within reason."""
    wanted = float(asked) if asked and asked.isdigit() else 0.5 * 2**attempt
    return min(wanted, _LONGEST_WAIT)


def _refusal(engine: Engine, status: int, body: bytes) -> str:
    said = " ".join(body[:300].decode(errors="replace").split())
    if engine is _SEARXNG and status == 403:
        return "SearXNG does not answer in JSON: its settings.yml must list json under search.formats."
    if status in (401, 403):
        return f"{engine.name} refused the key in {engine.variable} ({status}: {said})."
    if status == 429:
        return f"{engine.name} limits how often it can be asked. Try again later ({said})."
    return f"{engine.name} answered {status}: {said}."


# -- what is asked for -------------------------------------------------------------------------------------------------


def _query(arguments: Mapping[str, Any]) -> Query:
    text, count = arguments["query"].strip(), arguments.get("num_results", DEFAULT_RESULTS)
    if not text:
        raise ToolFailed("query is empty.")
    if not 1 <= count <= MAX_RESULTS:
        raise ToolFailed(f"num_results must be between 1 and {MAX_RESULTS}.")
    return Query(
        text,
        count,
        arguments.get("category"),
        bool(arguments.get("include_text")),
        _domains(arguments, "include_domains"),
        _domains(arguments, "exclude_domains"),
        _day(arguments, "start_published_date"),
        _day(arguments, "end_published_date"),
        arguments.get("user_location"),
    )


def _domains(arguments: Mapping[str, Any], name: str) -> tuple[str, ...]:
    given = arguments.get(name) or ()
    if not all(isinstance(domain, str) for domain in given):
        raise ToolFailed(f"{name} must be a list of texts.")
    return tuple(domain.strip() for domain in given if domain.strip())


def _day(arguments: Mapping[str, Any], name: str) -> date | None:
    given = arguments.get(name)
    if not given:
        return None
    try:
        return datetime.fromisoformat(given).date()
    except ValueError:
        raise ToolFailed(f"{name} must be a date as 2026-01-31, not {given!r}.") from None


def _with_operators(query: Query) -> str:
    """The query in the words that classical engines understand."""
    wanted = " OR ".join(f"site:{domain}" for domain in query.include_domains)
    unwanted = " ".join(f"-site:{domain}" for domain in query.exclude_domains)
    return " ".join(part for part in (query.text, f"({wanted})" if wanted else "", unwanted) if part)


# -- the engines -------------------------------------------------------------------------------------------------------


def _exa_ask(query: Query) -> Ask:
    wanted = {
        "query": query.text,
        "numResults": query.count,
        "type": "auto",
        "category": query.category,
        "includeDomains": query.include_domains,
        "excludeDomains": query.exclude_domains,
        "startPublishedDate": f"{query.since}T00:00:00.000Z" if query.since else None,
        "endPublishedDate": f"{query.until}T23:59:59.999Z" if query.until else None,
        "userLocation": query.location,
        "contents": {"text": {"maxCharacters": _TEXT_LIMIT}} if query.with_text else {"highlights": True},
    }
    return Ask("/search", json={name: value for name, value in wanted.items() if value})


def _exa_hits(answer: dict[str, Any], query: Query) -> list[Hit]:
    return [
        Hit(
            one.get("title") or one["url"],
            one["url"],
            one.get("text") or one.get("summary") or " … ".join(one.get("highlights") or ()),
            one.get("publishedDate"),
            one.get("author"),
        )
        for one in answer["results"]
    ]


def _tavily_ask(query: Query) -> Ask:
    topics = {"news": "news", "financial report": "finance"}
    wanted = {
        "query": query.text,
        "max_results": min(query.count, 20),
        "topic": topics.get(query.category or "", "general"),
        "include_raw_content": query.with_text,
        "include_domains": query.include_domains,
        "exclude_domains": query.exclude_domains,
        "start_date": str(query.since) if query.since else None,
        "end_date": str(query.until) if query.until else None,
    }
    return Ask("/search", json={name: value for name, value in wanted.items() if value})


def _tavily_hits(answer: dict[str, Any], query: Query) -> list[Hit]:
    return [
        Hit(
            one.get("title") or one["url"],
            one["url"],
            ((one.get("raw_content") if query.with_text else None) or one.get("content") or "")[:_TEXT_LIMIT],
            one.get("published_date"),
        )
        for one in answer["results"]
    ]


def _brave_ask(query: Query) -> Ask:
    params: dict[str, Any] = {"q": _with_operators(query), "count": min(query.count, 20), "text_decorations": "false"}
    if query.location:
        params["country"] = query.location.upper()
    if query.since or query.until:
        params["freshness"] = f"{query.since or '1990-01-01'}to{query.until or datetime.now(UTC).date()}"
    return Ask("/res/v1/web/search", params=params)


def _brave_hits(answer: dict[str, Any], query: Query) -> list[Hit]:
    return [
        Hit(
            _plain(one.get("title") or one["url"]),
            one["url"],
            " … ".join(_plain(text) for text in (one.get("description") or "", *one.get("extra_snippets", ())) if text),
            one.get("page_age"),
        )
        for one in (answer.get("web") or {}).get("results", ())
    ]


def _searxng_ask(query: Query) -> Ask:
    categories = {"news": "news", "research paper": "science", "github": "it"}
    params = {"q": _with_operators(query), "format": "json"}
    if query.category in categories:
        params["categories"] = categories[query.category]
    if query.since:
        params["time_range"] = _time_range((datetime.now(UTC).date() - query.since).days)
    return Ask("/search", params={name: value for name, value in params.items() if value})


def _time_range(days: int) -> str:
    """The shortest of its time ranges that covers the days; nothing when none does."""
    return next((name for most, name in ((1, "day"), (31, "month"), (365, "year")) if days <= most), "")


def _searxng_hits(answer: dict[str, Any], query: Query) -> list[Hit]:
    found = [
        Hit(one.get("title") or one["url"], one["url"], one.get("content"), one.get("publishedDate"))
        for one in answer["results"]
    ]
    return [hit for hit in found if _in_time(hit.published, query)]


def _in_time(published: str | None, query: Query) -> bool:
    """Whether a result is from the days asked for; one without a date may be."""
    day = (published or "")[:10]
    return not day or ((not query.since or day >= str(query.since)) and (not query.until or day <= str(query.until)))


def _plain(text: str) -> str:
    return unescape(re.sub(r"</?\w+>", "", text))


_SEARXNG = Engine(
    "SearXNG", "SEARXNG_URL", "", "SEARXNG_URL", lambda key: {}, _searxng_ask, _searxng_hits,
    ("include_text", "user_location"),
)  # fmt: skip
ENGINES = (
    Engine("Exa", "EXA_API_KEY", "https://api.exa.ai", "EXA_BASE_URL", lambda key: {"x-api-key": key}, _exa_ask,
           _exa_hits),
    Engine("Tavily", "TAVILY_API_KEY", "https://api.tavily.com", "TAVILY_BASE_URL",
           lambda key: {"authorization": f"Bearer {key}"}, _tavily_ask, _tavily_hits, ("user_location",)),
    Engine("Brave", "BRAVE_API_KEY", "https://api.search.brave.com", "BRAVE_BASE_URL",
           lambda key: {"x-subscription-token": key}, _brave_ask, _brave_hits, ("category", "include_text")),
    _SEARXNG,
)  # fmt: skip
"""The engines there are, in the order they are looked for."""
