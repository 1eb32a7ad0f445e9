"""Tools of Composio: found, described and executed through its REST API, version 3.1.

Composio signs in to hundreds of services for the people who use an agent; this server knows the name of a tool and
hands the call on. Knows nothing of HTTP routes, nor of what the tools do.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any

import httpx2
import orjson

from letta.errors import InvalidRequest, LettaError, NotFound, ToolFailed
from letta.schemas.common import storable
from letta.schemas.tools import Tool, ToolType
from letta.store import agents
from letta.store.access import Database
from letta.store.vault import Vault
from letta.tools.context import Errand, ToolResult
from letta.tools.fetch_webpage import read_within
from letta.tools.outbound import guarded_client
from letta.tools.redaction import redacted

KEY, ENTITY, ADDRESS = "COMPOSIO_API_KEY", "COMPOSIO_ENTITY", "COMPOSIO_BASE_URL"
TAG = "composio"
DEFAULT_ADDRESS = "https://backend.composio.dev"
DEFAULT_ENTITY = "default"
SECONDS = 60.0
_MAX_ANSWER = 32 * 1024 * 1024
_ATTEMPTS, _LONGEST_WAIT = 3, 10.0
_PAGE, _MAX_PAGES = 500, 20
# Model providers accept names of tools up to this length; Composio's may be longer.
_LONGEST_NAME = 64

Item = dict[str, Any]


class ComposioFailed(LettaError):
    """Composio cannot be reached, or refused the request."""

    status = 502
    code = "composio_error"


class ComposioKeyMissing(InvalidRequest):
    """No Composio API key is set: COMPOSIO_API_KEY must be in the environment of the server."""

    code = "composio_key_missing"


class Composio:
    """One account at Composio, or one per agent. `environment` has the server's key; `seconds` bounds one call."""

    def __init__(
        self, database: Database, vault: Vault, environment: Mapping[str, str], *, seconds: float = SECONDS
    ) -> None:
        self._database = database
        self._vault = vault
        self._environment = environment
        self._seconds = seconds

    async def apps(self) -> list[Item]:
        """Every toolkit, as Composio describes it. Raises ComposioKeyMissing, ComposioFailed."""
        return await self._pages("/toolkits", {})

    async def actions(self, app: str) -> list[Item]:
        """The tools of a toolkit, as Composio describes them. Raises ComposioKeyMissing, ComposioFailed."""
        return await self._pages("/tools", {"toolkit_slug": app.lower(), "toolkit_versions": "latest"})

    async def tool(self, action: str) -> dict[str, Any]:
        """The columns of the tool an action becomes, as `letta.store.tools.put` takes them.

        Raises:
            letta.errors.NotFound: Composio has no such action.
            ComposioKeyMissing, ComposioFailed
        """
        slug = action.upper()
        try:
            found = await self._ask(self._key(), "GET", f"/tools/{slug}", params={"toolkit_versions": "latest"})
        except _Refused as refused:
            if refused.answered == 404:
                raise NotFound(f"Composio has no action called {slug}") from None
            raise
        try:
            row: dict[str, Any] = storable(_row(slug, found))
        except ValueError as error:
            raise ComposioFailed(f"Composio describes {slug} in a form that cannot be stored: {error}") from None
        return row

    async def run(self, errand: Errand) -> ToolResult:
        """Execute a call. The agent's own key and entity win over the server's.

        Raises:
            letta.errors.ToolFailed: no key.
            ComposioFailed
        """
        secrets = self._vault.open(await self._database.read(agents.secrets, errand.agent.id))
        key = secrets.get(KEY) or self._environment.get(KEY)
        if not key:
            raise ToolFailed(f"{KEY} is needed, among the agent's secrets or in the environment of the server.")
        slug, version = _address_of(errand.tool)
        entity = secrets.get(ENTITY) or self._environment.get(ENTITY) or DEFAULT_ENTITY
        body = {"arguments": errand.arguments, "user_id": entity, **({"version": version} if version else {})}
        answer = await self._ask(key, "POST", f"/tools/execute/{slug}", json=body)
        ok = answer.get("successful") is True
        text = orjson.dumps(answer.get("data")).decode() if ok else f"Error: {slug} failed: {_why(answer)}"
        return ToolResult(redacted(text, {KEY: key}), ok=ok)

    def _key(self) -> str:
        key = self._environment.get(KEY)
        if not key:
            raise ComposioKeyMissing
        return key

    async def _pages(self, path: str, params: dict[str, Any]) -> list[Item]:
        key, found, cursor = self._key(), list[Item](), None
        for _ in range(_MAX_PAGES):
            page = {**params, "limit": _PAGE, **({"cursor": cursor} if cursor else {})}
            answer = await self._ask(key, "GET", path, params=page)
            items, cursor = answer.get("items"), answer.get("next_cursor")
            if not isinstance(items, list):
                raise ComposioFailed("Composio answered in a form that is not known: there is no list of items")
            found += [item for item in items if isinstance(item, dict) and isinstance(item.get("slug"), str)]
            if not cursor:
                break
        return found

    async def _ask(
        self, key: str, method: str, path: str, *, params: dict[str, Any] | None = None, json: Any = None
    ) -> dict[str, Any]:
        base = (self._environment.get(ADDRESS) or DEFAULT_ADDRESS).rstrip("/")
        try:
            # The address is the operator's, who may well have it in a private network.
            async with (
                asyncio.timeout(self._seconds),
                guarded_client(
                    allow_private=True,
                    headers={"x-api-key": key, "accept": "application/json", "accept-encoding": "gzip"},
                    timeout=self._seconds,
                ) as client,
            ):
                return await _asked(client, method, f"{base}/api/v3.1{path}", key, params, json)
        except TimeoutError:
            raise ComposioFailed(f"Composio did not answer within {self._seconds:.0f} seconds") from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise ComposioFailed(f"Composio cannot be reached: {error or type(error).__name__}") from None


class _Refused(ComposioFailed):
    """Composio answered with an error. `answered` is its HTTP status."""

    def __init__(self, message: str, answered: int) -> None:
        super().__init__(message)
        self.answered = answered


async def _asked(
    client: httpx2.AsyncClient, method: str, url: str, key: str, params: dict[str, Any] | None, json: Any
) -> dict[str, Any]:
    """One request, repeated when Composio limits the rate: then it has done nothing yet."""
    for attempt in range(1, _ATTEMPTS + 1):
        async with client.stream(method, url, params=params, json=json) as response:
            body, whole = await read_within(response, _MAX_ANSWER)
        if response.status_code != 429 or attempt == _ATTEMPTS:
            break
        await asyncio.sleep(_wait(response.headers.get("retry-after"), attempt))
    if not whole:
        raise ComposioFailed(f"Composio answered with more than {_MAX_ANSWER} bytes")
    answer = _read(body)
    if response.status_code >= 300:
        said = _why(answer) if answer else " ".join(body[:300].decode(errors="replace").split())
        hint = f" Check {KEY}." if response.status_code in (401, 403) else ""
        text = redacted(f"Composio answered {response.status_code}: {said}.{hint}", {KEY: key})
        raise _Refused(text, response.status_code)
    if answer is None:
        raise ComposioFailed("Composio answered in a form that is not known: no JSON object")
    return answer


def _read(body: bytes) -> dict[str, Any] | None:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return answer if isinstance(answer, dict) else None


def _wait(asked: str | None, attempt: int) -> float:
    """Seconds to wait before asking again: what Composio wants, within reason."""
    return min(float(asked) if asked and asked.isdigit() else 0.5 * 2**attempt, _LONGEST_WAIT)


def _why(answer: Mapping[str, Any]) -> str:
    """What Composio says went wrong, and how to mend it."""
    error = answer.get("error")
    if isinstance(error, dict):
        parts = [error.get("message"), error.get("suggested_fix")]
        said = " ".join(part.rstrip(".") + "." for part in parts if isinstance(part, str) and part).rstrip(".")
    else:
        said = str(error or "no reason was given")
    log_id = answer.get("log_id")
    return f"{said} (log {log_id})" if log_id else said


def _row(slug: str, found: Mapping[str, Any]) -> dict[str, Any]:
    name, described = _name(slug), found.get("description") or ""
    given = found.get("input_parameters")
    parameters: dict[str, Any] = {"type": "object", "properties": {}, **(given if isinstance(given, dict) else {})}
    toolkit = found.get("toolkit") or {}
    return {
        "name": name,
        "tool_type": ToolType.EXTERNAL_COMPOSIO,
        "description": described,
        "json_schema": {"name": name, "description": described, "parameters": parameters},
        "tags": [TAG],
        "metadata_": {TAG: {"slug": slug, "version": found.get("version"), "toolkit": toolkit.get("slug")}},
    }


def _name(slug: str) -> str:
    name = slug.lower()
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _address_of(tool: Tool) -> tuple[str, str | None]:
    """A tool's name at Composio, and the version its schema is of. A tool imported from elsewhere has only a name."""
    known = (tool.metadata_ or {}).get(TAG) or {}
    return str(known.get("slug") or tool.name).upper(), known.get("version")
