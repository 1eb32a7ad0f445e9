"""E2B: sandboxes in its cloud, or in one that speaks its API, through the REST API and the code interpreter's.

Three requests make a call: a sandbox is created, the program is executed in it, and it is deleted.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import httpx2
import orjson

from letta.tools.sandbox.clouds import CloudJob, CloudKind
from letta.tools.sandbox.process import SandboxFault

KEY, ADDRESS, DOMAIN, SANDBOX_ADDRESS, TEMPLATE = (
    "E2B_API_KEY", "E2B_API_URL", "E2B_DOMAIN", "E2B_SANDBOX_URL", "E2B_TEMPLATE",
)  # fmt: skip
_DEFAULT_DOMAIN, _DEFAULT_TEMPLATE = "e2b.app", "code-interpreter-v1"
_PORT = 49999  # of the code interpreter inside a sandbox
_SPARE_SECONDS = 60.0
_LARGEST = 32 << 20


class E2B:
    """`environment` says where the API is; the key may also come with a job."""

    kind: CloudKind = "e2b"
    variables: tuple[str, ...] = (KEY,)
    installs: bool = False

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._domain = environment.get(DOMAIN) or _DEFAULT_DOMAIN
        self._api = (environment.get(ADDRESS) or f"https://api.{self._domain}").rstrip("/")
        self._sandbox_address = environment.get(SANDBOX_ADDRESS)
        self._template = environment.get(TEMPLATE) or _DEFAULT_TEMPLATE
        self._client = httpx2.AsyncClient(timeout=httpx2.Timeout(_SPARE_SECONDS))

    async def aclose(self) -> None:
        """Close connections."""
        await self._client.aclose()

    async def run(self, job: CloudJob) -> str:
        """See `letta.tools.sandbox.clouds.Cloud`."""
        key = job.keys.get(KEY)
        if not key:
            raise SandboxFault(f"E2B needs {KEY}, among the agent's secrets or in the environment of the server")
        if job.requirements and not job.network:
            raise SandboxFault(
                "in E2B a tool's packages are installed with the network of the call: allow this tool the network "
                f'(metadata_ {{"allow_network": true}}), or name a template that has them ({TEMPLATE}) and leave out '
                "pip_requirements"
            )
        try:
            made = await self._created(job, key)
            try:
                return await self._executed(job, made)
            finally:
                await asyncio.shield(self._deleted(str(made["sandboxID"]), key))
        except httpx2.HTTPError as error:
            raise SandboxFault(f"E2B cannot be reached: {error or type(error).__name__}") from error

    async def _created(self, job: CloudJob, key: str) -> dict[str, Any]:
        body = {
            "templateID": self._template,
            # It ends by itself, should this server end first.
            "timeout": int(job.seconds + _SPARE_SECONDS),
            "secure": True,
            "allow_internet_access": job.network,
            "metadata": {"made_for": "a tool call"},
        }
        answer = await self._client.post(f"{self._api}/sandboxes", json=body, headers={"X-API-Key": key})
        made = _object(answer) if answer.is_success else None
        if made is None or not isinstance(made.get("sandboxID"), str):
            hint = f" Check {KEY}." if answer.status_code in (401, 403) else ""
            raise SandboxFault(f"E2B made no sandbox: {_said(answer, key)}.{hint}")
        return made

    async def _executed(self, job: CloudJob, made: Mapping[str, Any]) -> str:
        name, domain = made["sandboxID"], made.get("domain") or self._domain
        base = self._sandbox_address or f"https://{_PORT}-{name}.{domain}"
        headers = {"E2b-Sandbox-Id": name, "E2b-Sandbox-Port": str(_PORT)}
        for header, token in (
            ("X-Access-Token", "envdAccessToken"),
            ("E2B-Traffic-Access-Token", "trafficAccessToken"),
        ):
            if made.get(token):
                headers[header] = str(made[token])
        body = {"code": job.program, "context_id": None, "language": None, "env_vars": None}
        printed, size = [], 0
        try:
            async with (
                asyncio.timeout(job.seconds + _SPARE_SECONDS / 2),
                self._client.stream(
                    "POST",
                    f"{base.rstrip('/')}/execute",
                    json=body,
                    headers=headers,
                    timeout=httpx2.Timeout(_SPARE_SECONDS, read=None),
                ) as answer,
            ):
                if not answer.is_success:
                    await answer.aread()
                    raise SandboxFault(f"E2B did not run the call: {_said(answer, '')}")
                async for line in answer.aiter_lines():
                    text = _stdout(line)
                    size += len(text)
                    if size > _LARGEST:
                        raise SandboxFault(f"the call printed more than {_LARGEST >> 20} MB")
                    printed.append(text)
        except TimeoutError:
            raise SandboxFault(f"E2B did not end the call within {job.seconds + _SPARE_SECONDS / 2:.0f} s") from None
        return "".join(printed)

    async def _deleted(self, name: str, key: str) -> None:
        """End a sandbox. If that fails it ends by itself, when its time is over."""
        with contextlib.suppress(httpx2.HTTPError):
            await self._client.delete(f"{self._api}/sandboxes/{name}", headers={"X-API-Key": key})


def _stdout(line: str) -> str:
    """The text in a line of the code interpreter's answer. Raises SandboxFault for one that tells of an error."""
    if not line.strip():
        return ""
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise SandboxFault("E2B answered in a form that is not known") from None
    if event.get("type") == "error":
        raise SandboxFault(f"the call broke off in E2B: {event.get('name')}: {str(event.get('value'))[:300]}")
    return str(event.get("text") or "") if event.get("type") == "stdout" else ""


def _object(answer: httpx2.Response) -> dict[str, Any] | None:
    try:
        found = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _said(answer: httpx2.Response, key: str) -> str:
    found = _object(answer) or {}
    text = str(found.get("message") or answer.text[:300] or "nothing").replace(key or "\0", "[key]")
    return f"it answered {answer.status_code}, {text}"
