"""Which providers this machine offers: those its environment names, and model servers that run on it.

Reads the mapping it is given and two local ports, nothing else. Knows no model and keeps nothing.
"""

import asyncio
import hashlib
import re
import ssl
from collections.abc import Mapping, Sequence
from uuid import UUID

import httpx2

from letta.models.kinds import KINDS
from letta.models.provider import Kind, ProviderConfig, provider_type

OLLAMA_URL = "http://127.0.0.1:11434"
LM_STUDIO_URL = "http://127.0.0.1:1234"
PROBE_TIMEOUT = 0.3
"""Seconds a local server has to answer."""


def from_environment(env: Mapping[str, str]) -> tuple[list[ProviderConfig], list[str]]:
    """The providers named by usual environment variables, and sentences on what is incomplete or ignored.

    An empty variable counts as unset. Keys are never part of a sentence.
    """
    values = {name: value.strip() for name, value in env.items() if value and value.strip()}
    found: list[ProviderConfig] = []
    hints: list[str] = []
    for name, kind in KINDS.items():
        config = _special(name, values, hints) if kind.needs else _common(name, kind, values, hints)
        if config is not None:
            found.append(config)
    if not found:
        hints.append(
            "No model provider is configured, so only the built-in letta/scripted answers. Set OPENAI_API_KEY, "
            "ANTHROPIC_API_KEY, GEMINI_API_KEY, OPENROUTER_API_KEY or OLLAMA_BASE_URL, or see docs/providers.md."
        )
    return found, hints


async def local_servers(
    *, ollama: str = OLLAMA_URL, lm_studio: str = LM_STUDIO_URL, patience: float = PROBE_TIMEOUT
) -> list[ProviderConfig]:
    """Ollama and LM Studio, where they answer at these addresses within `patience` seconds; never raises.

    Run it in the background and give the result to `Registry.add`, which keeps what the environment says.
    """
    probes = (("ollama", ollama, "/api/tags", "models"), ("lmstudio_openai", lm_studio, "/v1/models", "data"))
    # No proxy stands between a process and its own machine, and no TLS: reading certificates would cost 0.1 s of start.
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    async with httpx2.AsyncClient(timeout=patience, trust_env=False, verify=bare) as client:
        answers = await asyncio.gather(*(_answers(client, url + path, key) for _, url, path, key in probes))
    return [
        _config(name, base_url=url) for (name, url, _, _), answered in zip(probes, answers, strict=True) if answered
    ]


async def _answers(client: httpx2.AsyncClient, url: str, key: str) -> bool:
    """Does something that lists models answer here? Another program may sit on the port."""
    try:
        response = await client.get(url)
        return response.status_code == 200 and isinstance(response.json().get(key), list)
    except (httpx2.HTTPError, ValueError, AttributeError):
        return False


def _common(name: str, kind: Kind, env: Mapping[str, str], hints: list[str]) -> ProviderConfig | None:
    key_name, key = _first(env, kind.keys)
    url_name, url = _first(env, kind.urls)
    base_url = _address(name, url) if url else None
    if url and base_url is None:
        hints.append(f"{url_name} is not an http(s) address and is ignored.")
    if kind.local:
        return _config(name, base_url=base_url, api_key=key) if base_url else None
    if key is None and url and not kind.optional_key:
        hints.append(f"{url_name} is set without {kind.keys[0]}: {name} stays off.")
    if key is None and not (base_url and kind.optional_key):
        return None
    ignored = [other for other in kind.keys if other in env and other != key_name and env[other] != key]
    hints += [f"{key_name} is used for {name}; {other} is ignored." for other in ignored]
    return _config(name, base_url=base_url, api_key=key)


def _special(name: str, env: Mapping[str, str], hints: list[str]) -> ProviderConfig | None:
    if name == "azure":
        return _azure(env, hints)
    return _bedrock(env, hints) if name == "bedrock" else _vertex(env, hints)


def _azure(env: Mapping[str, str], hints: list[str]) -> ProviderConfig | None:
    _, key = _first(env, ("AZURE_API_KEY", "AZURE_OPENAI_API_KEY"))
    _, url = _first(env, ("AZURE_BASE_URL", "AZURE_OPENAI_ENDPOINT"))
    _, version = _first(env, ("AZURE_API_VERSION", "AZURE_OPENAI_API_VERSION", "OPENAI_API_VERSION"))
    base_url = _address("azure", url) if url else None
    if key and base_url:
        return _config("azure", base_url=base_url, api_key=key, options={"api_version": version} if version else {})
    if key or url:
        hints.append("Azure needs AZURE_API_KEY and AZURE_BASE_URL (an https address): azure stays off.")
    return None


def _bedrock(env: Mapping[str, str], hints: list[str]) -> ProviderConfig | None:
    _, region = _first(env, ("AWS_REGION", "AWS_DEFAULT_REGION"))
    _, token = _first(env, ("AWS_BEARER_TOKEN_BEDROCK",))
    access, secret = env.get("AWS_ACCESS_KEY_ID"), env.get("AWS_SECRET_ACCESS_KEY")
    if not token and not (access and secret):
        return None
    if not region:
        hints.append("AWS keys are set without AWS_REGION: bedrock stays off.")
        return None
    options = {"region": region} if token else {"region": region, "access_key": access}
    if not token and "AWS_SESSION_TOKEN" in env:
        options["session_token"] = env["AWS_SESSION_TOKEN"]
    return _config("bedrock", api_key=token or secret, options=options)


def _vertex(env: Mapping[str, str], hints: list[str]) -> ProviderConfig | None:
    project, location = env.get("GOOGLE_CLOUD_PROJECT"), env.get("GOOGLE_CLOUD_LOCATION")
    if project and location:
        return _config("google_vertex", options={"project": project, "location": location})
    if project or location:
        missing = "GOOGLE_CLOUD_LOCATION" if project else "GOOGLE_CLOUD_PROJECT"
        hints.append(f"Vertex AI needs {missing} as well: google_vertex stays off.")
    return None


def _first(env: Mapping[str, str], names: Sequence[str]) -> tuple[str, str | None]:
    """The first of these variables that is set, and its value."""
    return next(((name, env[name]) for name in names if name in env), ("", None))


def _address(name: str, value: str) -> str | None:
    """A base URL from what people write into such variables; None if it is none.

    Ollama's OLLAMA_HOST is what its server binds to: `0.0.0.0`, `:11434` and `host` are all usual there.
    """
    if name == "ollama" and "://" not in value:
        value = f"http://{value if not value.startswith(':') else '127.0.0.1' + value}"
        if not re.search(r":\d+/?$", value):
            value = f"{value.rstrip('/')}:11434"
    value = re.sub(r"^(https?://)0\.0\.0\.0(?=[:/]|$)", r"\g<1>127.0.0.1", value)
    try:
        url = httpx2.URL(value)
    except httpx2.InvalidURL:
        return None
    return value.rstrip("/") if url.scheme in ("http", "https") and url.host else None


def _config(
    name: str,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    options: Mapping[str, str | None] | None = None,
) -> ProviderConfig:
    # The same id on every start, in the form of a random one, because clients check the form.
    number = UUID(bytes=hashlib.sha256(f"base provider {name}".encode()).digest()[:16], version=4)
    return ProviderConfig(
        name=name,
        type=provider_type(name),
        kind=name,
        base_url=base_url,
        api_key=api_key,
        id=f"provider-{number}",
        options=options or {},
    )
